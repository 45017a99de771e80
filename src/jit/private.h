/*
 * Inside the translator: its memory, slots and units.
 *
 * A slot is the entry of the code at one guest pc, and every jump to that pc goes through it: linking, unlinking and
 * patching is one store of eight bytes.  Slots are made when they are first referred to and are never freed.  One that
 * has no unit leads to its stub, which leaves translated code with that pc.
 *
 * Code is written through one mapping and executed through another.  A segment is only ever appended to, by the process
 * that made it: a forked child executes what is there, and goes on in segments of its own.  Dead units lie where they are
 * until there are so many that everything is thrown away at once, slots included, while all threads stand still.  The same
 * is done when slots or segments run out; if that does not help, nothing more is translated.
 */
#ifndef LP_JIT_PRIVATE_H
#define LP_JIT_PRIVATE_H

#include <pthread.h>

#include "emu/emu.h"
#include "jit/jit.h"
#include "jit/x86.h"

enum { LP_UNIT_MAX = 64, LP_LONG_UNIT_MAX = 256, LP_REGION_MAX = 256 }; /* guest instructions */
enum { LP_VERIFIED_MAX = 16 };	   /* of them, where all are compared whenever the unit is come to */
enum { LP_UNIT_BYTES = 48 << 10 }; /* of host code at most, cold parts included */
enum { LP_UNIT_LOOKED = 24, LP_REGION_LOOKED = 64, LP_LOOK_WORDS = 24 };
enum { LP_UNIT_REFS = 1024 };

struct lp_unit;
struct lp_tr;

struct lp_jit_slot {
	_Atomic(const void *) code;
	uint64_t pc;
	_Atomic(struct lp_unit *) unit;	    /* NULL: none; changed with the lock */
	_Atomic(struct lp_jit_slot *) next; /* in its bucket */
};

/* Code behind an exit that was looked at: were it other code, the unit would be as well. */
struct lp_look {
	struct lp_range range;
	struct lp_unit *unit;
	struct lp_look *next; /* in its page */
	uint64_t seen;	      /* what was there (lp_cache_hash()), where units are kept for another day */
};

/* What a unit's code refers to, by a distance of 4 bytes from the end of the instruction, or by 8 bytes. */
enum lp_ref_kind {
	LP_REF_SLOT,	 /* value: of the pc so far from the unit's begin */
	LP_REF_STUB,	 /* so many bytes into the first segment */
	LP_REF_CONSTANT, /* its index */
	LP_REF_UOP,	 /* 8 bytes: the pair of that number */
	LP_REF_GUEST,	 /* 8 bytes: the guest's address that is so far from the unit's begin */
	LP_REF_KINDS
};
struct lp_unit_ref {
	uint16_t at;	/* in the code */
	uint8_t behind; /* bytes of the instruction that follow it */
	uint8_t kind;	/* enum lp_ref_kind */
	int32_t value;
};
static inline size_t lp_unit_ref_size(const struct lp_unit_ref *r)
{
	return r->kind >= LP_REF_UOP ? 8 : 4;
}

/* One translation. */
struct lp_unit {
	struct lp_jit_slot *slot;
	const uint8_t *code; /* where it runs */
	uint32_t size;
	uint16_t nr_insns;
	bool is_loop;	  /* goes back to its own begin */
	bool interpreted; /* no code: the interpreter executes what stands here */
	bool is_dead;
	bool is_stored;	  /* its image's file has it */
	uint16_t image;	  /* lp_cache_image() of a unit that may be kept; else 0 */
	uint16_t nr_refs; /* only of those */
	struct lp_unit_ref *refs;
	struct lp_range range; /* of guest code */
	struct lp_look *looked;
	uint16_t nr_looked;
	struct lp_unit *next; /* in unit list of its page */
	struct lp_uop *uops;  /* what it leaves to functions of the interpreter: pairs, the second of which stops */
	uint32_t *words;      /* the instructions as they were translated */
	uint32_t *offsets;    /* in the code: where each instruction begins; ascending, hot part only */
	uint8_t *flags_at;    /* enum lp_flags, of each instruction before it is executed */
	uint32_t *v_notes;    /* from which offset on what vector register is dirty where (vector.c); ascending */
	uint16_t nr_v_notes;
	const struct lp_unit_region *region; /* NULL: it is a straight line, with registers where they always are */
	/* A loop that is not entered where these have other than zeros above 32, 64 bits: one instruction is executed then. */
	uint32_t v_narrow_s, v_narrow_d;
	uint32_t hot_size;
};

/* What a unit has besides when it is a region (region.c). */
struct lp_unit_region {
	int8_t pin[LP_NR_X];		  /* where guest registers are while it runs */
	uint64_t has[LP_REGION_MAX / 64]; /* bit i: instruction i of the range is part of it */
	uint8_t nr_behind[LP_REGION_MAX]; /* how many instructions were counted ahead, for --stats */
};

static inline bool lp_unit_region_has(const struct lp_unit_region *r, unsigned i)
{
	return r->has[i / 64] >> (i % 64) & 1;
}

/* What a thread has of the translator's. */
struct lp_jit_thread {
	struct lp_uop at; /* stands for an instruction that faulted */
	bool is_loose;	  /* has left translated code, perhaps with flags that nobody would ask for */
	char *memory;	  /* the shadow stack, and behind it the jump cache */
	uint64_t *bottom; /* of the shadow stack */
	struct lp_jump_entry *jumps;
	struct lp_jit_thread *next; /* among the idle */
};

/* Known to translated code: at fixed offsets from rbp, which points into struct lp_cpu, there is cpu->engine; what it
 * needs quickly is in cpu->jit. */
struct lp_jump_entry {
	uint64_t pc;
	struct lp_jit_slot *slot;
};
enum { LP_JUMPS_BITS = 13, LP_JUMPS = 1 << LP_JUMPS_BITS };
enum { LP_SHADOW_ROOM = 64 << 10, LP_SHADOW_SIZE = 64 << 10 }; /* room: for host signal handlers below the limit */

enum { LP_SEGMENT = 1 << 20, LP_SEGMENTS = 512 };
enum { LP_SLOTS = 1 << 20, LP_STUB = 16, LP_STUBS_AT_ONCE = 512 };
enum { LP_CONSTANTS = 1 << 15, LP_CONSTANT_BUCKETS = 1 << 12 };
enum { LP_UNIT_BUCKETS = 1 << 14, LP_SLOT_BUCKETS = 1 << 16 };
enum { LP_SEGMENT_UNITS = LP_SEGMENT / 16 };
enum { LP_SEEN_ONLY = 255, LP_SEEN_BYTES = 256 << 10 }; /* one for each instruction of a megabyte */

struct lp_segment {
	uint8_t *rx, *rw;
	size_t used, populated;
	struct lp_unit **units; /* in the order of their addresses */
	_Atomic size_t nr_units;
};

/* What translated code reads and nobody changes. */
struct lp_constant {
	uint64_t low, high;
};

/* Parts of translated code that all units share. */
struct lp_jit_stubs {
	void (*enter)(struct lp_cpu *cpu, const void *code);
	const void *exit_lookup; /* rax: the pc to go on at */
	const void *exit_left;	 /* C has said in cpu->leave why */
	const void *fallback;	 /* rsi: a uop; called.  Returns when its function went on to the next */
	const void *call_c;	 /* rsi: a uop; called.  Never returns: whatever the function says, out at cpu->pc */
	const void *miss;	 /* rax: a slot that leads nowhere */
	const void *jump;	 /* rax: where to go on, by the jump cache */
	const void *ret_miss;	 /* rax: where to; the shadow stack says otherwise */
	const void *bottom;	 /* what the shadow stack's last entry returns to */
};

struct lp_jit {
	struct lp_emu *emu;
	unsigned host; /* enum lp_host_feature */
	pthread_mutex_t lock;
	/* Within reach of each other: */
	struct lp_jit_slot *slot_array;
	struct lp_constant *constants;	     /* LP_CONSTANTS of them */
	_Atomic int32_t *counts;	     /* of each slot: how often it was gone back to; INT32_MAX: never mind */
	uint8_t *slot_stubs, *slot_stubs_rw; /* of each, LP_STUB bytes: the slot's address to rax, and to `miss` */
	uint8_t *segment_area;
	struct lp_segment segments[LP_SEGMENTS];
	_Atomic size_t nr_segments;
	size_t nr_slots, nr_stubs, nr_constants;
	uint16_t constant_buckets[LP_CONSTANT_BUCKETS], next_constant[LP_CONSTANTS]; /* numbers from 1 on; 0: none */
	size_t max_slots, max_segments;
	uint64_t max_dead;
	struct lp_cache *cache; /* cache.c; NULL: nothing is kept for another day */
	/* LP_SEEN_BYTES, shared with children, by the hash of a pc: 0, or it was come to, and so many instructions were executed
	 * there (LP_SEEN_ONLY: not known).  NULL: all is translated at once. */
	_Atomic uint8_t *seen;
	bool checks; /* check.c: no slot leads to a unit */
	enum lp_jit_tier tier;
	int32_t hot; /* the count from which on a region is worth its while */
	_Atomic uint64_t nr_compared;
	_Atomic(struct lp_jit_slot *) slots[LP_SLOT_BUCKETS];
	_Atomic bool slots_used[LP_SLOT_BUCKETS * sizeof(void *) / LP_GUEST_PAGE]; /* pages of them that have any */
	struct lp_unit *pages[LP_UNIT_BUCKETS];
	struct lp_look *looks[LP_UNIT_BUCKETS];
	char *kept, *kept_end; /* memory for units */
	struct lp_kept *kept_chunks;
	_Atomic uint64_t dead_bytes;
	_Atomic uint64_t nr_invalidations;
	struct lp_jit_stubs stubs;
	struct lp_jit_stats stats;
	_Atomic bool is_full;  /* of slots or of code: everything is to be flushed */
	_Atomic bool gives_up; /* and that has not helped: what is not translated is interpreted from now on */
	uint64_t nr_since;     /* units made since the last flush */
	bool has_dead_loops;   /* in which threads may be that have not been asked to leave; with the lock */
	void (*made)(const struct lp_jit_made *made, void *arg); /* NULL: nobody asks */
	void *made_arg;
	struct lp_tr *tr;	       /* the translation under way; with the lock */
	struct lp_tr *before;	       /* one instruction back; only where it may have to be taken back (translate.c) */
	struct lp_jit_cold_part *cold; /* of the unit that is being made; only when somebody asks */
	size_t nr_cold;
	struct lp_jit_thread *idle; /* what ended threads had; with the lock */
	unsigned nr_idle;
	struct lp_reports *reports, *parents_reports; /* by our children, and of our parent's; NULL: none */
	unsigned nr_reported;
	bool (*emit[A64_OP_COUNT])(struct lp_tr *t, uint32_t word); /* NULL: the interpreter's function */
};

static inline bool lp_jit_is_full(const struct lp_jit *jit)
{
	return atomic_load_explicit(&jit->is_full, memory_order_relaxed);
}

static inline void lp_jit_set_full(struct lp_jit *jit)
{
	atomic_store_explicit(&jit->is_full, true, memory_order_relaxed);
}

/* ---- host.c ---- */

/* Everything that translated code relies on. */
bool lp_host_can(void);
unsigned lp_host_features(void); /* enum lp_host_feature */
/* Where the kernel puts xmm16 and above of who gets a signal: bytes from the begin of fpregs; 0: nowhere.
 * Async-signal-safe. */
unsigned lp_host_high_at(void);
/* Of these what is of use where the others are missing. */
unsigned lp_host_usable(unsigned features);

/* ---- code.c ---- */

/* Address space for everything, and the first segment, which is for the stubs that all share. */
int lp_code_make(struct lp_jit *jit, struct lp_err *err);
/* A segment with that much room, as what runs and what is written; NULL: there is no more.  With the lock. */
struct lp_segment *lp_code_room(struct lp_jit *jit, size_t size);
/* From now on code goes into a new one; the stubs stay. */
void lp_code_freeze(struct lp_jit *jit);
/* The opposite of lp_code_make(). */
void lp_code_unmake(struct lp_jit *jit);
/* The unit that holds a host address; NULL: none.  Safe in signal handlers. */
struct lp_unit *lp_code_find(struct lp_jit *jit, uint64_t rip);
bool lp_code_has(const struct lp_jit *jit, uint64_t rip);
/* What belongs to units: room for so many bytes, of which those up to `end` are used then; freed all at once.  NULL: there is
 * no memory.  With the lock. */
void *lp_keep_room(struct lp_jit *jit, size_t size);
void lp_keep_used(struct lp_jit *jit, void *end);
void lp_keep_nothing(struct lp_jit *jit);
/* Pages that are about to be touched one after the other. */
void lp_code_populate(void *start, size_t size, bool write);
/* Nobody is in there any more, in this process. */
void lp_code_release(struct lp_jit *jit, struct lp_segment *s);

/* ---- children.c ---- */

/* Before a fork, without a lock: translates what earlier children had to. */
void lp_children_expect(struct lp_jit *jit);
/* In a child that has translated what stands at pc, for its parent.  With the lock. */
void lp_children_report(struct lp_jit *jit, uint64_t pc);
/* In the child. */
void lp_children_forked(struct lp_jit *jit);

/* ---- constants.c ---- */

/* Where those 16 bytes stand, aligned, for good, within reach of translated code; NULL: there are too many.  With the
 * lock. */
const struct lp_constant *lp_constant_of(struct lp_jit *jit, uint64_t low, uint64_t high);

/* ---- slots.c ---- */

/* Any thread, no lock; NULL: there is none. */
struct lp_jit_slot *lp_jit_slot_find(struct lp_jit *jit, uint64_t pc);
/* Made if need be, with the lock; NULL: there are no more. */
struct lp_jit_slot *lp_jit_slot_of(struct lp_jit *jit, uint64_t pc);
static inline _Atomic int32_t *lp_jit_count_of(const struct lp_jit *jit, const struct lp_jit_slot *slot)
{
	return &jit->counts[slot - jit->slot_array];
}
/* Where nothing is counted no page of them is touched. */
static inline void lp_jit_count_anew(const struct lp_jit *jit, const struct lp_jit_slot *slot)
{
	if (jit->tier == LP_JIT_BOTH)
		atomic_store_explicit(lp_jit_count_of(jit, slot), 0, memory_order_relaxed);
}
static inline bool lp_jit_is_hot(const struct lp_jit *jit, const struct lp_jit_slot *slot)
{
	return jit->tier == LP_JIT_BOTH &&
	       atomic_load_explicit(lp_jit_count_of(jit, slot), memory_order_relaxed) == jit->hot;
}
/* Back to its stub. */
void lp_jit_slot_empty(struct lp_jit *jit, struct lp_jit_slot *slot);
/* No slot has a pc any more; nobody refers to one. */
void lp_jit_slots_forget(struct lp_jit *jit);

/* ---- stubs.c ---- */

int lp_stubs_make(struct lp_jit *jit);

/* ---- translate.c ---- */

/* What stands at pc, put into its slot, which may be NULL: not known; NULL: nothing can be fetched there, or no room is left.
 * Takes the lock. */
struct lp_jit_slot *lp_translate(struct lp_jit *jit, uint64_t pc, struct lp_jit_slot *slot);
/* The loop at the slot has been gone through so often that it is to be a region; now or never.  Takes the lock. */
void lp_translate_hot(struct lp_jit *jit, struct lp_jit_slot *slot);
/* Nothing behind an instruction of that row is reached from it. */
bool lp_jit_ends(enum lp_a64_op op, uint32_t word);
/* The same, and branches whose condition always holds. */
bool lp_jit_goes_elsewhere(enum lp_a64_op op, uint32_t word);

/* ---- region.c ---- */

/* Guest code about a pc, so far as its loops may become a region. */
enum { LP_WINDOW = 2 * LP_REGION_MAX - 1 };
struct lp_window {
	uint64_t pc; /* of words[LP_REGION_MAX - 1] */
	uint32_t words[LP_WINDOW];
	unsigned begin, end; /* those that have been fetched */
};
/* Without the lock. */
void lp_region_fetch(struct lp_jit *jit, uint64_t pc, struct lp_window *w);
/* t->insns: the instructions from which one comes back to where the window was fetched for, by direct branches alone.  False:
 * there is no loop, or it is too long. */
bool lp_region_form(struct lp_tr *t, const struct lp_window *w);

/* ---- live_flags.c ---- */

/* Who has come to pc from translated code may have the flags as they were some time ago, because nobody asks for them
 * before they are written. */
bool lp_jit_flags_are_unasked(struct lp_jit *jit, uint64_t pc);
/* Where a direct branch goes; false: it is none. */
bool lp_jit_branch_target(uint64_t pc, uint32_t word, uint64_t *target);

/* ---- units.c ---- */

/* Its code stands where the segment is free; from now on it is taken.  With the lock. */
void lp_unit_append(struct lp_segment *s, struct lp_unit *u);
/* From now on the slot leads to it.  With the lock. */
void lp_unit_publish(struct lp_jit *jit, struct lp_unit *u, struct lp_jit_slot *slot);
/* Another one takes its place in the slot; who is in it goes on. */
void lp_unit_replace(struct lp_jit *jit, struct lp_unit *u);
/* Code in the range is other code now. */
void lp_jit_invalidate(struct lp_jit *jit, struct lp_range range);
/* That is near: brings into caches what it will look at of the range's first page. */
void lp_jit_expect(struct lp_jit *jit, struct lp_range range);
/* Everything is thrown away; nobody is in translated code, nor has it on his shadow stack. */
void lp_jit_flush(struct lp_jit *jit);

/* ---- check.c ---- */

/* A unit at cpu->pc, and what it does is what the interpreter does; else the process ends. */
void lp_check_run(struct lp_jit *jit, struct lp_cpu *cpu, const struct lp_unit *unit);

/* ---- jit.c ---- */

/* How many instructions at pc were executed the first time, up to a branch that was taken; 0: not known. */
unsigned lp_jit_executed(const struct lp_jit *jit, uint64_t pc);
/* What a uop is followed by, when the one alone is to be executed: returns, and not NULL. */
extern const struct lp_uop lp_jit_stop;

#endif
