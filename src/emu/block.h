/*
 * Translations: blocks of uops, found by guest pc.
 *
 * A block is a run of instructions within one page: up to the first that always
 * goes elsewhere, at most LP_BLOCK_MAX.  It is built by the thread that comes to
 * it first, published by one store to its slot, and immutable from then on.
 *
 * lp_block_invalidate() takes blocks out of their slots: nobody enters them any
 * more.  Threads that are inside go on to their next branch; who wants them out
 * parks all threads (thread.h).  The memory of a dead block is freed when every
 * thread has stood still since.
 */
#ifndef LP_EMU_BLOCK_H
#define LP_EMU_BLOCK_H

#include "emu/uop.h"

enum { LP_BLOCK_MAX = 64 };

struct lp_blocks;

/* What --stats prints. */
struct lp_block_stats {
	uint64_t built, insns, invalidated, bytes, slots;
};

struct lp_blocks *lp_blocks_new(struct lp_emu *emu);
void lp_blocks_free(struct lp_blocks *b);

/* The slot of a pc, made when there is none yet.  Never NULL, never moves. */
struct lp_slot *lp_slot_of(struct lp_blocks *b, uint64_t pc);

/* The first uop at cpu->pc, translated now if need be; enters it in the cpu's jump cache.  NULL: the fetch faulted,
 * cpu->fault says how. */
const struct lp_uop *lp_block_enter(struct lp_blocks *b, struct lp_cpu *cpu);

/* One instruction at cpu->pc, and then out: `uops` is the caller's room for it (2).  NULL: the fetch faulted. */
const struct lp_uop *lp_block_single(struct lp_blocks *b, struct lp_cpu *cpu, struct lp_uop uops[2]);

/* A block that is executed once: nobody else knows of it, and nothing is kept.  It is made a piece at a time, up to the
 * next branch, as what stands behind a branch is often not come to. */
struct lp_block_once {
	uint32_t words[LP_BLOCK_MAX];
	size_t nr, next; /* of words: those that there are, the first of the next piece */
	uint64_t pc;	 /* of words[0] */
	bool guarded;
	struct lp_slot slot; /* of the branch */
	struct lp_uop uops[2 * LP_BLOCK_MAX + 1];
};
/* What stands at cpu->pc, and then out, while LP_POLL_ALONE is set; NULL as above. */
const struct lp_uop *lp_block_once(struct lp_blocks *b, struct lp_cpu *cpu, struct lp_block_once *room);

/* Code in [start, end) has changed, or is no longer there. */
void lp_block_invalidate(struct lp_blocks *b, struct lp_range range);
/* The guest said so: ic ivau at addr.  All aliases of the same file page as well. */
void lp_block_icache_line(struct lp_blocks *b, uint64_t addr);

/* Who comes to pc leaves with LP_LEAVE_BREAKPOINT before its instruction; lp_block_single() does not mind. */
void lp_block_breakpoint(struct lp_blocks *b, uint64_t pc, bool on);
bool lp_block_is_breakpoint(struct lp_blocks *b, uint64_t pc);
/* Any at all: a short way to the answer for many pcs. */
bool lp_block_breakpoints_exist(const struct lp_blocks *b);
/* Any instruction in the range, which is aligned to 4. */
bool lp_block_has_breakpoint(struct lp_blocks *b, struct lp_range range);

/* All threads stand still at a branch: dead blocks can be freed. */
void lp_blocks_reclaim(struct lp_blocks *b);
/* Dead blocks have become so many that it pays to stop all threads for them. */
bool lp_blocks_are_littered(const struct lp_blocks *b);
void lp_blocks_stats(struct lp_blocks *b, struct lp_block_stats *out);
/* A forked child has one thread; locks that others held are free again.  Call lp_blocks_lock() before the fork. */
void lp_blocks_lock(struct lp_blocks *b);
void lp_blocks_unlock(struct lp_blocks *b);

/* lower.c: nothing behind an instruction of that row is reached from it. */
bool lp_lower_ends(enum lp_a64_op op);
/* Fills in uop for the instruction at pc; true when it is one of those. */
bool lp_lower(struct lp_blocks *b, struct lp_uop *uop, uint32_t word, uint64_t pc);
/* The same for a uop that goes to no other block: `slot` is the caller's for what a direct branch refers to, whose pc is put
 * there, and the answer true for every direct branch as well. */
bool lp_lower_once(struct lp_slot *slot, struct lp_uop *uop, uint32_t word, uint64_t pc);
/* Features that the guest may use: rows of others are UNDEFINED. */
bool lp_cpu_offers(enum lp_a64_feature feature);

#endif
