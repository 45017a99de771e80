/*
 * Waiting for the moment in which no thread is in the way.  Private to core/.
 *
 *     struct lp_quiesce q = {.t = target, ...};
 *     lp_quiesce_watch(&q, range, LP_WATCH_BODY, "func_J");     // as often as needed
 *     rc = lp_quiesce_run(&q, act, arg, &stats, err);           // act() runs inside the pause
 *     lp_quiesce_free(&q);
 */
#ifndef LP_CORE_QUIESCE_H
#define LP_CORE_QUIESCE_H

#include "core/parked.h"

enum lp_watch_kind {
	LP_WATCH_BYTES, /* bytes about to change: nobody may stand in or return into their middle, ever */
	LP_WATCH_BODY,	/* a function being replaced: nobody may be in it beyond its first byte, nor return into it */
	LP_WATCH_PC,	/* code without calls (an island): nobody may stand in it */
	LP_WATCH_ROOM,	/* memory about to vanish: no pc, return address, stack word or register may point into it */
};

struct lp_watch {
	struct lp_range range;
	enum lp_watch_kind kind;
	const char *symbol; /* for the message; lives as long as the quiesce */
};

struct lp_quiesce {
	struct lp_target *t;
	unsigned timeout_ms;
	const volatile sig_atomic_t *interrupted;
	uint64_t search_most; /* as in struct lp_apply_opts */
	LP_VEC(struct lp_watch) watches;
	struct lp_range hull; /* all watches lie in it */
	uint64_t widest;
	LP_VEC(struct lp_suspect) suspects; /* of the last look */
	bool unseen;			    /* ... one of them could not be looked at as a whole */
	bool settled;			    /* they were unwound inside the pause, and one is guilty */
	bool warm;			    /* unwinding has been done once */
	LP_VEC(struct lp_stale) stale;	    /* suspicions that unwinding has refuted */
	struct lp_parked parked;
};

/* A stack word that looks like a return address into a watch. */
struct lp_suspect {
	int tid;
	lp_addr pc, sp;
	lp_addr slot, value; /* slot 0: pc or a register */
	const char *symbol;
	lp_addr symbol_at;
	bool certain;
	bool visible; /* unseen, but all that is on the mapping of its sp was looked at, and is clean or suspected by itself */
	bool unseen; /* there is more of the stack than could be looked at: only unwinding it while it stands still counts */
	uint32_t stack_crc;		  /* of the live stack up to and with the slot */
	const struct lp_context *context; /* not a thread's but a suspended coroutine's; until the next look */
};

/* Of a coroutine: tid 0, and pc is where its stack pointer is kept. */
struct lp_stale {
	int tid;
	lp_addr pc, sp, slot;
	uint32_t stack_crc;
};

struct lp_quiesce_stats {
	uint64_t pause_ns; /* of the pause in which act() succeeded */
	unsigned nr_tries;
	size_t nr_threads;
	bool late; /* act() was done, and a coroutine is suspended in a watch all the same: it was told in the log */
};

void lp_quiesce_watch(struct lp_quiesce *q, struct lp_range range, enum lp_watch_kind kind, const char *symbol);
int lp_quiesce_run(struct lp_quiesce *q, int (*act)(void *arg, struct lp_err *err), void *arg,
		   struct lp_quiesce_stats *stats, struct lp_err *err);
void lp_quiesce_free(struct lp_quiesce *q);

#endif
