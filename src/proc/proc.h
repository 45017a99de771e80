/*
 * Another process, seen through ptrace and /proc.  Knows nothing of patches.
 *
 *     struct lp_proc *p;
 *     rc = lp_proc_open(&p, pid, err);              // rights, ISA, namespaces checked; nothing touched
 *     lp_proc_lock(p, 5000, err);                   // keeps other livepatches away
 *     lp_mem_read(p, ...), lp_mem_write(p, ...)     // /proc/PID/mem and process_vm_readv
 *     lp_inject(p, calls, n, err)                   // system calls made by a borrowed thread
 *     lp_stop_all(p, err) ... lp_resume_all(p)      // the pause
 *     lp_proc_close(p);
 *
 * One lp_proc belongs to one host thread (ptrace binds tracees to the thread
 * that seized them).  At every instant, if we are killed, the target goes on
 * as itself: no breakpoints, no PTRACE_ATTACH, no signal masks, no EXITKILL;
 * docs/safety.md says why each step is so.
 */
#ifndef LP_PROC_H
#define LP_PROC_H

#include <sys/types.h>

#include "base/err.h"
#include "base/vec.h"
#include "elf/elf.h"

struct lp_proc;

int lp_proc_open(struct lp_proc **out, pid_t pid, struct lp_err *err);
/* This process, to be looked at: memory, maps, images, the lock.  Nothing that would stop or borrow a thread works. */
int lp_proc_open_own(struct lp_proc **out, struct lp_err *err);
void lp_proc_close(struct lp_proc *p);
pid_t lp_proc_pid(const struct lp_proc *p);
const char *lp_proc_comm(const struct lp_proc *p);
uint16_t lp_proc_machine(const struct lp_proc *p); /* e_machine of the running program */
/* Still the same process (pid not reused, not exited)?  0, -LP_EGONE or -LP_EEXECED. */
int lp_proc_check(struct lp_proc *p, struct lp_err *err);

/* flock on /proc/PID/mem: released by the kernel when we die.  -LP_ELOCKED after timeout_ms. */
int lp_proc_lock(struct lp_proc *p, unsigned timeout_ms, struct lp_err *err);
void lp_proc_unlock(struct lp_proc *p);

/* ---- maps ---- */

struct lp_map {
	struct lp_range range;
	unsigned prot; /* LP_MAP_* */
	bool is_private;
	uint64_t offset;
	uint32_t dev_major, dev_minor;
	uint64_t inode;
	char *path; /* owned; "" for anonymous; as the kernel prints it, octal escapes undone, " (deleted)" stripped */
	bool deleted;
};
enum { LP_MAP_READ = 1, LP_MAP_WRITE = 2, LP_MAP_EXEC = 4 };

struct lp_maps {
	struct lp_map *items; /* sorted by address */
	size_t nr, cap;
};

/* Pure parser of the text of /proc/PID/maps (hostile input: fuzzed). */
int lp_maps_parse(struct lp_maps *out, const char *text, size_t len, struct lp_err *err);
int lp_maps_read(struct lp_proc *p, struct lp_maps *out, struct lp_err *err);
void lp_maps_free(struct lp_maps *m);
const struct lp_map *lp_maps_find(const struct lp_maps *m, lp_addr at); /* NULL when unmapped */
/* Unmapped page-aligned range of `size`, every byte within `reach` of every address in `near` (reach 0: anywhere),
 * a guard page away from neighbours, below no [stack] guard gap (1 MiB), above vm.mmap_min_addr.  Prefers close to
 * `near`.  `taken` ranges count as mapped.  0 when none. */
lp_addr lp_maps_hole(const struct lp_maps *m, struct lp_range near, uint64_t reach, uint64_t size,
		     const struct lp_range *taken, size_t nr_taken);

/* ---- memory ---- */

int lp_mem_read(struct lp_proc *p, lp_addr at, void *data, size_t len, struct lp_err *err);
int lp_mem_read_many(struct lp_proc *p, const struct lp_range *ranges, void *const *data, size_t nr,
		     struct lp_err *err);
/* Through /proc/PID/mem with FOLL_FORCE: one pwrite; falls back to PTRACE_POKEDATA when the kernel forbids forcing
 * (proc_mem.force_override) and a thread is stopped. */
int lp_mem_write(struct lp_proc *p, lp_addr at, const void *data, size_t len, struct lp_err *err);
/* Runs of pages in `within` (page aligned) that the program has made its own: private ones that are in memory or swapped
 * out, but not those of a file or the shared page of zeros.  Appended in order; reading others would make pages. */
typedef LP_VEC(struct lp_range) lp_range_vec;
int lp_touched(struct lp_proc *p, struct lp_range within, lp_range_vec *out);
/* Reads a C string of at most max-1 bytes. */
int lp_mem_read_string(struct lp_proc *p, lp_addr at, char *out, size_t max, struct lp_err *err);

/* ---- calls made by a borrowed thread ---- */

#define LP_CALLS_MAX 6
/* Value of an argument that means "what the first call of this batch returned". */
#define LP_CALL_FIRST_RESULT UINT64_C(0x6c70666972737400)

struct lp_call {
	uint64_t nr; /* system call number of the target's ISA */
	uint64_t args[6];
	int64_t result; /* out: as the kernel returned it (-errno on failure) */
};

/*
 * Run up to LP_CALLS_MAX system calls on one thread of the running target.
 * That thread is stopped, sent to a stub that makes the calls and then
 * returns to its own state *without our help*: killed at any instant, the
 * batch completes and the thread goes on as if a signal with SA_RESTART had
 * come and gone.  Other threads keep running.  0 when all calls were made,
 * whatever each returned; on any other return either none or all were made and
 * results are unknown (-LP_ETIMEDOUT kinds say so).
 */
int lp_inject(struct lp_proc *p, struct lp_call *calls, size_t nr, struct lp_err *err);

/* After a failed injection: wait until nothing of it is still to happen.  0 at once when there was none. */
int lp_inject_settle(struct lp_proc *p, struct lp_err *err);

/* Value of an argument that means "the address of `text`", which lies beside the records while the calls are made. */
#define LP_CALL_TEXT UINT64_C(0x6c70746578740000)
#define LP_CALL_TEXT_MAX 56 /* with its NUL */
int lp_inject_text(struct lp_proc *p, struct lp_call *calls, size_t nr, const char *text, struct lp_err *err);

/*
 * Call a C function (up to 6 integer arguments) on one thread of the target,
 * for dlopen and dlclose: a thread that stands outside the dynamic loader and
 * the allocator is chosen (frames checked by unwinding), its full state
 * (general and vector registers) is kept and restored by us, or, if we die, by
 * an rt_sigreturn frame prepared on its stack.  -LP_ENOTHREAD when no thread
 * is at such a place before the deadline.
 */
int lp_call_function(struct lp_proc *p, lp_addr fn, const uint64_t args[6], uint64_t *result, unsigned timeout_ms,
		     struct lp_err *err);

/* System call numbers of the target's ISA that callers need. */
struct lp_sysno {
	uint64_t mmap, munmap, mprotect, memfd_create, ftruncate, close, prctl;
	uint64_t ppoll; /* 0: inject.c does not end a batch with it */
};
const struct lp_sysno *lp_proc_sysno(const struct lp_proc *p);

/* Soft RLIMIT_FSIZE in bytes, UINT64_MAX when unlimited: a call that makes a larger file would kill the target. */
int lp_proc_file_size_limit(struct lp_proc *p, uint64_t *out, struct lp_err *err);

/* ---- the pause ---- */

struct lp_tregs {
	uint64_t words[64]; /* general registers as the kernel's NT_PRSTATUS lays them out */
	size_t nr;
};

struct lp_stopped {
	int tid;
	lp_addr pc, sp, lr;
	lp_addr resume_pc;
	struct lp_tregs regs;
	struct lp_range stack; /* what stack_bytes covers: from below the red zone up */
	uint8_t *stack_bytes;  /* NULL when unreadable; valid until the next lp_stop_all */
	bool whole;	       /* that is all there is: not a signal or coroutine stack with another one behind it */
	size_t stack_len;
	char state; /* 'R' running, 'T' group-stopped before we came, as we shall leave it */
};

/*
 * Seize every thread (also those being created meanwhile), interrupt all, wait
 * for all, read registers and live stacks.  Either all threads stand still on
 * return 0, or none is held.
 */
int lp_stop_all(struct lp_proc *p, unsigned timeout_ms, struct lp_err *err);
const struct lp_stopped *lp_stopped_threads(const struct lp_proc *p, size_t *nr);
/* Let all go exactly as they were: restartable calls restarted, EINTR we caused undone, group stop kept, pending
 * signals delivered.  ns (may be NULL) receives first interrupt .. last detach. */
void lp_resume_all(struct lp_proc *p, uint64_t *ns);

/* Frames of a thread from the copies that the last lp_stop_all took (legal after resume, until the next stop):
 * libdw over registers + stack copy + the target's text.  Returns the number of return addresses, frames[0] = pc,
 * or negative when the stack cannot be unwound to its end. */
int lp_unwind(struct lp_proc *p, int tid, lp_addr *frames, size_t max, struct lp_err *err);

/* ---- a program that starts (exec.c says how) ---- */

/* Seize a single-threaded process that is about to execute another program.  It runs on. */
int lp_exec_catch(pid_t pid, struct lp_err *err);
/*
 * Wait until it does, then see to it that the new program, when it comes to
 * its entry point, sends a byte on its descriptor `fd` (a stream socket that it
 * inherits) and waits for a byte or the end of the stream before it goes on.
 * Whatever is returned, the process is let go and runs.  watch_fd: our end of
 * that socket (-1 = none); when it becomes readable before the exec, the exec
 * has failed.
 */
int lp_exec_hold(pid_t pid, int fd, int watch_fd, unsigned timeout_ms, struct lp_err *err);

/* A stack that no thread stands on, and what is known of the registers that belong to it. */
struct lp_walk_from {
	lp_addr pc, sp, fp;    /* fp (frame pointer) 0 = not known */
	struct lp_range stack; /* what `bytes` is a copy of */
	const uint8_t *bytes;
	lp_addr missed; /* out: where it would have gone on, outside of the copy; 0 = nowhere */
};
struct lp_walk_frame {
	lp_addr pc, sp;
};
/* As lp_unwind(), from there: frames[0] is pc and sp themselves, each next one where the one before returns to.  Reads no
 * other stack.  Returns the count, or negative when the walk breaks off (-ENOENT: at once, for want of an unwind table);
 * `nr` counts what was found in either case. */
int lp_unwind_from(struct lp_proc *p, struct lp_walk_from *from, struct lp_walk_frame *frames, size_t max, size_t *nr,
		   struct lp_err *err);

/* How the C library disguises the stack pointer and code address that setjmp() stores: rotated right by `rotate`, the
 * word is the address exclusive-or `key`.  False when that is not known. */
struct lp_disguise {
	uint64_t key;
	unsigned rotate;
	int pc_at; /* words from the stack pointer to the code address */
};
bool lp_jmpbuf_disguise(struct lp_proc *p, struct lp_disguise *out);

/* Code that no image holds, and its unwind tables (.eh_frame). */
struct lp_known_code {
	struct lp_range code, tables;
};
/* All that there is, from now on: stacks are unwound through it, and a thread that stands in it may be borrowed for a
 * call.  Not in a pause: tables are read. */
void lp_unwind_know(struct lp_proc *p, const struct lp_known_code *codes, size_t nr);

/* ---- modules ---- */

/* Images in link_map order (r_debug), the vDSO last; static programs: just the program.  Files are opened by
 * /proc/PID/exe, map_files, /proc/PID/root + path, and checked against the build-id in memory; an image whose file is
 * gone or different is read from the target's memory (dynamic symbols only).  exe_file (may be NULL) is the user's
 * unstripped copy of the main program; it must have the same build-id or the same text, else -LP_EBUILDID.
 * The list and its strings belong to p until lp_images_forget or close. */
int lp_images(struct lp_proc *p, const char *exe_file, const struct lp_image **images, size_t *nr, struct lp_err *err);
void lp_images_forget(struct lp_proc *p);
/* Static TLS offset from the thread pointer of a TLS symbol in the main program. */
int lp_tls_offset(struct lp_proc *p, size_t image, uint64_t sym_value, int64_t *out, struct lp_err *err);

#endif
