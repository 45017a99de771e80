/*
 * livepatch.h: change code while it runs.
 *
 * One handle, three kinds of target: memory that the caller owns and whose
 * instructions are AArch64 (the memory of an emulator, an image being made),
 * the caller's own process, another process.
 *
 *     LivePatchSystem *s = livepatch_init(memory, size, base);   // or livepatch_init_self(), livepatch_init_process(pid)
 *     if (livepatch_apply(s, base + 0x1000, 0xD503201F, "NOP patch") < 0)
 *             fprintf(stderr, "%s\n", livepatch_last_error()->text);
 *     livepatch_revert(s, base + 0x1000);
 *     livepatch_cleanup(s);                                      // reverts nothing; memory stays the caller's
 *
 * Several changes as one:
 *
 *     livepatch_begin(s);
 *     livepatch_apply(s, ...);  livepatch_create_branch(s, ...);  livepatch_load_json(s, ...);
 *     livepatch_commit(s);                                       // all of them, or none
 *
 * Return values.  Functions that return int return -1 when they refuse, and
 * then nothing was changed; 0 or a count otherwise.  livepatch_last_error()
 * says why: it belongs to the calling thread, as errno does.
 *
 * Addresses are the target's own: for livepatch_init() those in
 * [base_addr, base_addr + mem_size), else virtual addresses of the process.
 * Sizes are bytes.  Strings are copied.
 *
 * Threads.  Every function may be called from any thread, for the same system
 * too, except livepatch_cleanup(), which must be the last.  Whoever executes
 * or reads patched memory meanwhile sees the old instruction or the new one.
 */
#ifndef LIVEPATCH_H
#define LIVEPATCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define LIVEPATCH_VERSION_MAJOR 0
#define LIVEPATCH_VERSION_MINOR 1
#define LIVEPATCH_VERSION_PATCH 0

typedef struct LivePatchSystem LivePatchSystem;

typedef enum LivePatchType {
	PATCH_REPLACE = 0,	     /* INLINE: one or more instructions replaced */
	PATCH_INSERT = 1,	     /* new code runs before an instruction, which still runs; nothing moves */
	PATCH_NEW_FUNC = 2,	     /* a function in new memory */
	PATCH_FUNCTION_REDIRECT = 3, /* calls of one function go to another */
	PATCH_NOP = 4,		     /* as PATCH_REPLACE, by livepatch_create_nop() */
	PATCH_BRANCH = 5,	     /* as PATCH_REPLACE, by livepatch_create_branch() */
} LivePatchType;

/* ---- errors ---- */

typedef struct livepatch_error {
	int code; /* 0 = the last call did not fail; else negative: an errno value or one of the toolkit's own */
	const char *name; /* for programs: "overlap", "out-of-range", ... ("errno" for the system's) */
	const char *text; /* for people: one sentence that names the culprit */
	uint64_t addr;	  /* culprit address, 0 = none */
	const char *file; /* patch file that is at fault, with its place in it; NULL, 0 = none */
	unsigned line, column;
} livepatch_error;

/* Of the calling thread's last call; never NULL, valid until its next call. */
const livepatch_error *livepatch_last_error(void);
/* What a code means in general; never NULL. */
const char *livepatch_strerror(int code);
const char *livepatch_version(void);

/* ---- systems ---- */

/*
 * Over memory of the caller's, which must stay valid until livepatch_cleanup().
 * Its first byte has the address base_addr; `memory` and base_addr are
 * multiples of 4, mem_size at least 4, and base_addr + mem_size less than 2^64:
 * the last word of the address space cannot be part of it.  NULL when not.
 */
LivePatchSystem *livepatch_init(void *memory, size_t mem_size, uint64_t base_addr);
/* Over the calling process.  There is one such system: further calls return the same, and count. */
LivePatchSystem *livepatch_init_self(void);
/* Over another process, which needs the right to trace it.  Not traced between calls.  NULL when it cannot be. */
LivePatchSystem *livepatch_init_process(pid_t pid);
/* Stops watching and frees the system; patches stay as they are (livepatch_revert_all() first, if they shall not). */
void livepatch_cleanup(LivePatchSystem *system);

/* The system that other parts of the program ask for; NULL when there is none, also after its cleanup. */
void livepatch_set_system(LivePatchSystem *system);
LivePatchSystem *livepatch_get_system(void);

/* While disabled (0) nothing can be applied; what is applied stays, and can be reverted. */
void livepatch_set_enabled(LivePatchSystem *system, int enabled);

enum {
	LIVEPATCH_ALLOW_UNALLOCATED = 1u << 0, /* accept words that no AArch64 instruction has */
	LIVEPATCH_ALLOW_ACTIVE = 1u << 1,      /* process, self: replace functions that threads are inside of */
};
void livepatch_set_flags(LivePatchSystem *system, unsigned flags);
unsigned livepatch_get_flags(LivePatchSystem *system);

/*
 * Where INSERT and NEW_FUNC put code in a system of livepatch_init(): inside of
 * its memory, unused by anybody.  Without it, the middle of the largest run of
 * zero bytes is taken, as far as possible from what grows at both ends.  May be
 * called again to add more.  The other systems map memory of their own.  What a
 * reverted patch leaves there keeps its content, since somebody may still be
 * executing it, and is used again when there is nothing else.
 */
int livepatch_set_room(LivePatchSystem *system, uint64_t addr, size_t size);

/* ---- one change ---- */

/* Replaces the instruction word at target_addr. */
int livepatch_apply(LivePatchSystem *system, uint64_t target_addr, uint32_t new_instr, const char *description);
/* Replaces whole instructions: `size` bytes of code at addr.  `expect`: what must be there now, or NULL. */
int livepatch_apply_code(LivePatchSystem *system, uint64_t addr, const void *code, size_t size, const void *expect,
			 const char *description);
/* Has `code` run before the instruction at addr.  It goes on at that instruction when it runs out of its end. */
int livepatch_insert(LivePatchSystem *system, uint64_t addr, const void *code, size_t size, const char *description);
/*
 * A function in new memory, of position-independent code.  Its address is the
 * key for livepatch_revert(); `name` (NULL = none; letters, digits and _, no
 * digit first) is what patch files call it.
 */
int livepatch_new_func(LivePatchSystem *system, const char *name, const void *code, size_t size, uint64_t *addr,
		       const char *description);
/*
 * Puts a function of the caller's in the place of the one at addr.  Self: as
 * livepatch_redirect_function().  Memory of livepatch_init(): the machine code
 * at `func` is AArch64; it is copied to new memory (its end is found by
 * following its branches; it must not refer to anything outside) and addr
 * branches to it.
 */
int livepatch_insert_func(LivePatchSystem *system, uint64_t addr, void *func, const char *description);
int livepatch_create_nop(LivePatchSystem *system, uint64_t addr, const char *description);
/* An unconditional branch; through an island where to_addr is beyond its reach (128 MiB on AArch64).  It may lead out
 * of the memory of livepatch_init(): what cannot be changed can still be executed. */
int livepatch_create_branch(LivePatchSystem *system, uint64_t from_addr, uint64_t to_addr, const char *description);
/* Calls of func_addr go to new_func_addr. */
int livepatch_redirect_function(LivePatchSystem *system, uint64_t func_addr, uint64_t new_func_addr,
				const char *description);

/* Takes back the patch whose address this is; refused when somebody else wrote over it ("memory-changed"). */
int livepatch_revert(LivePatchSystem *system, uint64_t target_addr);
/* All of them; returns how many. */
int livepatch_revert_all(LivePatchSystem *system);
/*
 * Gives up the patch whose address this is, when somebody else wrote over it:
 * what is there now stays, and is what the next patch finds.  Nothing is
 * written; memory that the patch had for its code stays as it is, since what
 * came over it may lead there.  Done at once, also by a thread that has a
 * transaction open.  Refused while the patch stands as it was made, and for
 * other processes, whose ledger remembers what was done to them.
 */
int livepatch_forget(LivePatchSystem *system, uint64_t target_addr);

/* 1 for the AArch64 instructions that do nothing: NOP, and the hints that are one. */
int is_nop_instruction(uint32_t instr);

/* ---- several changes as one ---- */

/*
 * From begin to commit or abort, what the calling thread asks of this system is
 * checked at once and done at commit: all of it or, when one part cannot be,
 * none.  Other threads' calls are not part of it.  A thread has one open
 * transaction at a time.
 */
int livepatch_begin(LivePatchSystem *system);
int livepatch_commit(LivePatchSystem *system);
int livepatch_abort(LivePatchSystem *system);

/* ---- hooks in the calling process ---- */

/*
 * For the declaration of a function that shall be hooked and is called in its
 * own file too: there the compiler knows its inside, inlines it, and computes
 * its answer beforehand, unless it is told not to.  Not for static functions.
 */
#ifdef __has_attribute
#if __has_attribute(noipa)
#define LIVEPATCH_HOOKABLE __attribute__((noipa))
#endif
#endif
#ifndef LIVEPATCH_HOOKABLE
#define LIVEPATCH_HOOKABLE __attribute__((weak)) /* what might be another function at run time is not looked into */
#endif

/*
 * Calls of fn go to `replacement`; *original (NULL allowed) calls what fn was.
 * Safe while other threads run through fn.  Inside livepatch_begin() of the
 * livepatch_init_self() system hooks are part of that transaction, and
 * *original is valid at once.  A function has one hook; hook the replacement to
 * build a chain.  Not from a signal handler.
 */
int livepatch_hook(void *fn, void *replacement, void **original);
/* *original stays callable: a thread that is in the replacement may be about to. */
int livepatch_unhook(void *fn);
/* Another replacement for a hooked fn, with no moment in between at which it has none. */
int livepatch_rehook(void *fn, void *replacement);

/* ---- patch files ---- */

/*
 * Formats: text ("ADDR INSTR description", '#' comments), JSON, and the patch
 * script ("jmp func_J $foo:func1"); told apart by content.  docs/library.md
 * describes them.  A file is applied whole or not at all; the count of its
 * patches is returned.  Loaded files are remembered for livepatch_reload().
 */
int livepatch_load_from_file(LivePatchSystem *system, const char *filename);
/* The same, for files that must be JSON. */
int livepatch_load_json(LivePatchSystem *system, const char *filename);
int livepatch_load_from_json(LivePatchSystem *system, const char *filename);
/*
 * Writes the active patches, atomically: JSON when the name ends in ".json",
 * else text, which has no way to say INSERT, NEW_FUNC and REDIRECT (refused).
 * Loading it gives the same patches.  Returns their count.
 */
int livepatch_save_to_file(LivePatchSystem *system, const char *filename);

/*
 * Reads the files that were loaded again, and applies the difference in one
 * transaction: patches that are the same stay untouched.  On any error all
 * stays as it is, and the error is kept for livepatch_stats().  Returns how
 * many patches changed.
 */
int livepatch_reload(LivePatchSystem *system);
/* The same, with this one file (JSON when is_json) in place of all that were loaded. */
int livepatch_reload_patches(LivePatchSystem *system, const char *filename, int is_json);
/*
 * Loads the file, and reloads it whenever it changes (also by rename or by a
 * symbolic link that is switched), from a thread of the library's.
 */
int livepatch_watch(LivePatchSystem *system, const char *filename);
int livepatch_unwatch(LivePatchSystem *system);
/* Has a watched system reload on this signal too (SIGHUP); the handler that was there is called afterwards. */
int livepatch_watch_signal(LivePatchSystem *system, int signo);

/* ---- what is there ---- */

typedef struct livepatch_info {
	uint64_t addr; /* what livepatch_revert() takes */
	LivePatchType type;
	size_t size;			   /* of the bytes that were replaced; 0 for PATCH_NEW_FUNC */
	const uint8_t *original, *patched; /* those bytes before and now; NULL when size is 0 */
	const uint8_t *code;		   /* PATCH_INSERT, PATCH_NEW_FUNC: as it was given */
	size_t code_size;
	uint64_t
		target; /* PATCH_BRANCH, PATCH_FUNCTION_REDIRECT: where it leads; else where the code was put, 0 = nowhere */
	const char *name;	 /* "" = none */
	const char *description; /* "" = none */
	const char *file;	 /* patch file it came from, "" = none */
	uint64_t generation;	 /* of the system when it was applied */
	time_t applied;
} livepatch_info;

/*
 * Calls fn for every active patch by rising address, until it returns non-zero;
 * returns what fn returned last.  What info points to is valid during the call.
 * fn may use the system: patches that go meanwhile are not told, nor those that
 * come.
 */
int livepatch_foreach(LivePatchSystem *system, int (*fn)(const livepatch_info *info, void *arg), void *arg);
/* The patch that covers addr.  Returns 1 and the answer of fn in *result (NULL allowed), 0 when there is none. */
int livepatch_find(LivePatchSystem *system, uint64_t addr, int (*fn)(const livepatch_info *info, void *arg), void *arg,
		   int *result);

typedef struct livepatch_counts {
	size_t active, of_type[6];
	uint64_t applied, reverted, refused; /* since the system was made */
	uint64_t generation;		     /* rises by one with every commit */
	uint64_t reloads, reload_errors;
	size_t bytes; /* that the library uses for this system, without room in the target */
	char last_reload_error[512];
} livepatch_counts;
int livepatch_get_counts(LivePatchSystem *system, livepatch_counts *counts);

/* Tables on standard output. */
void livepatch_list(LivePatchSystem *system);
void livepatch_stats(LivePatchSystem *system);
/* Applies and reverts a few patches in the system's memory, and says what it does on standard output. */
void livepatch_demo(LivePatchSystem *system);

/* ---- debugging ---- */

/* Tells on standard error what is done; also by the environment, LIVEPATCH_DEBUG=1. */
void livepatch_set_debug(int on);

/* A program that is compiled with LIVEPATCH_DEBUG set to 1 has it on from its first livepatch_init() on. */
#if defined(LIVEPATCH_DEBUG) && LIVEPATCH_DEBUG
#define livepatch_init(memory, mem_size, base_addr) \
	(livepatch_set_debug(1), livepatch_init((memory), (mem_size), (base_addr)))
#define livepatch_init_self() (livepatch_set_debug(1), livepatch_init_self())
#define livepatch_init_process(pid) (livepatch_set_debug(1), livepatch_init_process(pid))
#endif

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
