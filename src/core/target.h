/*
 * A target as the core sees it: memory at numbered addresses, modules with
 * symbols, rooms that can be made, and the one moment in which every thread
 * stands still.  space/ fills this in (process today; buffer, self and guest
 * later); the core never learns which.
 *
 * Who calls what, in order:
 *
 *     lock                                   nobody else changes this target meanwhile
 *     read, modules, lookup, bind, near_hole   while the target runs, as often as needed
 *     make_rooms, write                      while it runs: only memory that nothing refers to yet
 *     pause -> threads, read, write -> resume   the pause: nothing slow, no allocation of target memory
 *     unlock
 *
 * All calls return 0 or a negative code and fill in err.
 */
#ifndef LP_CORE_TARGET_H
#define LP_CORE_TARGET_H

#include "base/err.h"
#include "elf/elf.h"
#include "isa/isa.h"

struct lp_target;

/* Bits of a mapping's protection. */
enum { LP_PROT_READ = 1, LP_PROT_WRITE = 2, LP_PROT_EXEC = 4 };

/* One mapped area of the target. */
struct lp_area {
	struct lp_range range;
	unsigned prot;
	bool is_private;
	char name[64]; /* basename of the file, "[stack]", ""; clipped */
};

/* Memory to be made at an address that near_hole() chose. */
struct lp_room_request {
	struct lp_range range; /* page aligned */
	/* Protections by page run: pieces cover the range in order without gaps. */
	struct {
		struct lp_range range;
		unsigned prot;
	} pieces[8];
	size_t nr_pieces;
};

/* The last bytes of a room that holds code with unwind tables: so whoever unwinds finds them without the ledger. */
#define LP_ROOM_TRAILER_MAGIC UINT64_C(0x2e656d617266706c) /* "lpframe." */
struct lp_room_trailer {
	uint64_t magic;
	lp_addr eh_frame; /* in the room */
	uint64_t len;
};

/* A thread as it stands in the pause. */
struct lp_thread {
	int tid;
	lp_addr pc, sp;
	lp_addr resume_pc;     /* where it will really go on (a restarted syscall, an rseq abort); often == pc */
	struct lp_range stack; /* live part: [sp - red zone, end of the mapping), clipped */
	bool stack_is_whole;   /* all frames lie there: not a signal or coroutine stack with another one behind it */
	const uint8_t *stack_bytes; /* copy of it, valid until resume; NULL when unreadable */
	size_t stack_len;
	lp_addr lr; /* link register (aarch64), else 0 */
	const uint64_t
		*regs; /* all general registers as words (a function pointer may be in flight), nr_regs of them */
	size_t nr_regs;
};

/* Memory that the program has written, or may have: a private writable area, and the runs of pages in it that are its own. */
struct lp_own_memory {
	struct lp_area area;
	bool is_stack;		     /* by its shape: the kernel's, or one with a guard page below it */
	const struct lp_range *runs; /* in order; anything else in the area is zeros */
	size_t nr_runs;
};

/* A stack that no thread stands on: what is known of the registers that belong to it, and a copy of it. */
struct lp_suspended {
	lp_addr pc, sp, fp;    /* fp (frame pointer) 0 = not known */
	struct lp_range stack; /* all of it is in `bytes` */
	const uint8_t *bytes;
	lp_addr missed; /* out: where the walk would have gone on, outside of the copy; 0 = nowhere */
};
struct lp_frame {
	lp_addr pc, sp;
};

/* How the C library disguises the addresses that setjmp() stores: rotated right by `rotate`, the word is the address
 * exclusive-or `key`; the code address is `pc_at` words behind the stack pointer. */
struct lp_jmpbuf {
	uint64_t key;
	unsigned rotate;
	int pc_at;
};

struct lp_pause_stats {
	uint64_t ns; /* first stop request to last resume */
	size_t nr_threads;
};

struct lp_target_ops {
	/* `timeout_ms` bounds the wait for another livepatch to finish. */
	int (*lock)(struct lp_target *t, unsigned timeout_ms, struct lp_err *err);
	void (*unlock)(struct lp_target *t);

	int (*read)(struct lp_target *t, lp_addr at, void *data, size_t len, struct lp_err *err);
	/* Many small reads in one go; all or nothing. */
	int (*read_many)(struct lp_target *t, const struct lp_range *ranges, void *const *data, size_t nr,
			 struct lp_err *err);
	/* Writes whatever the protection is (the target's page protections do not change). */
	int (*write)(struct lp_target *t, lp_addr at, const void *data, size_t len, struct lp_err *err);

	/* The area that holds `at`; -LP_EUNMAPPED when none. */
	int (*area)(struct lp_target *t, lp_addr at, struct lp_area *out, struct lp_err *err);
	/* The first area that ends behind `from`: starts a walk over all of them; -LP_EUNMAPPED at the end. */
	int (*next_area)(struct lp_target *t, lp_addr from, struct lp_area *out, struct lp_err *err);
	/* Page-aligned unmapped range of `size` bytes, all of it within `reach` of every address of `near`
	 * (reach 0: anywhere).  Ranges in `taken` count as mapped. */
	int (*near_hole)(struct lp_target *t, struct lp_range near, uint64_t reach, uint64_t size,
			 const struct lp_range *taken, size_t nr_taken, lp_addr *out, struct lp_err *err);
	/* Map every room, all or none (undoes what it made on failure), marked as made for patch `id`.
	 * -EEXIST: an address was taken meanwhile. */
	int (*make_rooms)(struct lp_target *t, uint64_t id, const struct lp_room_request *rooms, size_t nr,
			  struct lp_err *err);
	/* Unmap what make_rooms made for patch `id` in these ranges; whatever else is mapped there now stays. */
	int (*drop_rooms)(struct lp_target *t, uint64_t id, const struct lp_range *ranges, size_t nr,
			  struct lp_err *err);

	/* Named memory for the ledger: found again by name, survives us, a forked child gets its own copy.
	 * find returns 0 with out->start == 0 when there is none.  `index` numbers the ledger's extents from 0. */
	int (*ledger_find)(struct lp_target *t, unsigned index, struct lp_range *out, struct lp_err *err);
	int (*ledger_make)(struct lp_target *t, unsigned index, uint64_t size, struct lp_range *out,
			   struct lp_err *err);

	/* Images in the dynamic linker's search order; lives until the target is closed or refresh(). */
	int (*images)(struct lp_target *t, const struct lp_image **images, size_t *nr, struct lp_err *err);
	/* Thread-pointer offset of a TLS symbol of images[image]; -LP_ERELOC when not static TLS. */
	int (*tls_offset)(struct lp_target *t, size_t image, uint64_t sym_value, int64_t *out, struct lp_err *err);
	/* Ask the target's own loader; handle is dlopen's result, image its new index after a refresh. */
	int (*dlopen)(struct lp_target *t, const char *path, unsigned timeout_ms, lp_addr *handle, size_t *image,
		      struct lp_err *err);
	int (*dlclose)(struct lp_target *t, lp_addr handle, unsigned timeout_ms, struct lp_err *err);
	/* Have a thread call a C function that takes up to six integers; it stands outside of allocator and loader then.
	 * -LP_ENOTHREAD: no thread was fit, nothing ran; -LP_ETIMEOUT: it may be running still.  NULL: cannot be done. */
	int (*call)(struct lp_target *t, lp_addr fn, const uint64_t args[6], uint64_t *result, unsigned timeout_ms,
		    struct lp_err *err);
	/* Forget cached areas and images. */
	void (*refresh)(struct lp_target *t);

	/* Before a pause, to make it shorter: brings into caches what it will read and write.  Changes nothing; may be NULL. */
	void (*expect)(struct lp_target *t, const struct lp_range *ranges, size_t nr);
	/* All threads stand still from a successful pause() to resume(). */
	int (*pause)(struct lp_target *t, struct lp_err *err);
	const struct lp_thread *(*threads)(struct lp_target *t, size_t *nr);
	void (*resume)(struct lp_target *t, struct lp_pause_stats *stats);

	/* Settle a suspicion: unwind thread `tid` from the copies taken in the last pause (legal after resume, until
	 * the next pause).  Return addresses innermost first, frames[0] = pc.  Returns the count, or negative. */
	int (*unwind)(struct lp_target *t, int tid, lp_addr *frames, size_t max, struct lp_err *err);

	/* For stacks that no thread stands on; all three NULL where there cannot be any.
	 * Calls found() for every area of own memory as it is now, lowest first. */
	int (*own_memory)(struct lp_target *t, void (*found)(void *arg, const struct lp_own_memory *m), void *arg,
			  struct lp_err *err);
	/* frames[0] is where s stands; reads no other stack.  Returns the count when the walk came to its end, negative
	 * when it broke off (-ENOENT: at once, for want of an unwind table); *nr is the count in either case. */
	int (*unwind_suspended)(struct lp_target *t, struct lp_suspended *s, struct lp_frame *frames, size_t max,
				size_t *nr, struct lp_err *err);
	bool (*jmpbuf)(struct lp_target *t, struct lp_jmpbuf *out); /* false: nothing is disguised, or not known how */

	void (*close)(struct lp_target *t);
};

struct lp_target {
	const struct lp_target_ops *ops;
	const struct lp_isa *isa;
	char *label;	   /* "process 4711 (redis-server)" for messages; owned */
	bool tells_absent; /* a symbol of a library that is not there is -LP_ENOTLOADED, not -LP_ENOSYM: it may come yet */
	bool shares_fate; /* who changes it ends when it ends: a change that is broken off is never found by anybody */
	const char *if_busy; /* what to do about a thread in the way; NULL: the options of the livepatch tool */
};

void lp_target_close(struct lp_target *t); /* NULL is fine */
/* Closest symbol for messages: "func_J+0x12 (target)" or "0x7f..". Writes to out, returns out. */
char *lp_target_describe(struct lp_target *t, lp_addr at, char *out, size_t out_size);
/* The image whose mapping holds `at`, with `at` as a link-time address of it; NULL when none does. */
const struct lp_image *lp_target_image_at(struct lp_target *t, lp_addr at, uint64_t *vaddr, size_t *index);
/* The symbol that covers `at` (debug file, .symtab, .dynsym); addr is its run-time start.  false when none. */
bool lp_target_symbol_at(struct lp_target *t, lp_addr at, struct lp_found *out);

#endif
