/*
 * Suspended coroutines: stacks with live frames that no thread stands on.
 * Private to core/.
 *
 *     struct lp_parked k = {.t = target};
 *     lp_parked_search(&k);                        // while the target runs; slow, and again when it has aged
 *     target->ops->pause(target, err);
 *     lp_parked_look(&k);                          // in the pause: a few system calls
 *     for (i < k.nr) if (k.contexts.items[i].live) // its words are in .bytes until the next look
 *     target->ops->resume(target, ...);
 *     lp_parked_judge(&k, &context, slot, ...);    // settles a suspicion by unwinding the copies
 *     lp_parked_free(&k);
 *
 * parked.c tells what can be found so, and what cannot.
 */
#ifndef LP_CORE_PARKED_H
#define LP_CORE_PARKED_H

#include "core/core.h"

#define LP_CONTEXT_NEAR 8 /* words looked at on either side of a kept stack pointer */

/* A place where the program keeps the stack pointer of something suspended. */
struct lp_context {
	lp_addr at;	     /* of the word with the stack pointer */
	struct lp_range may; /* the memory around it that may be read with it */
	bool disguised;	     /* by setjmp() */
	bool has_pc;	     /* the code address is kept beside it */
	bool on_stack;	     /* it lies among return addresses: true only as long as that stack is in use itself */
	bool is_lone;	     /* one return address is all that speaks for it */
	/* as of the last look */
	bool live;
	uint64_t near[2 * LP_CONTEXT_NEAR + 1]; /* the word itself in the middle; what may not be read is 0 */
	lp_addr sp, pc;				/* pc 0 = it is on the stack */
	struct lp_range stack;			/* [sp, end) */
	const uint8_t *bytes;			/* copy of it */
};

struct lp_parked_area {
	struct lp_range range;
	bool is_stack;
};

struct lp_parked {
	struct lp_target *t;
	const volatile sig_atomic_t *interrupted; /* ends a search early; may be NULL */
	uint64_t most;				  /* bytes that are searched; 0 = LP_SEARCH_USUAL */
	LP_VEC(struct lp_context) contexts;
	bool cut;		 /* there were more contexts, or more memory, than we look at */
	uint64_t cost_ns, at_ns; /* of the last search */
	/* private */
	LP_VEC(struct lp_range) text;	  /* executable, merged */
	LP_VEC(struct lp_range) clusters; /* the same, coarser: the first question asked of each word */
	LP_VEC(struct lp_parked_area) areas;
	LP_VEC(struct lp_range) runs;  /* touched pages of the areas */
	LP_VEC(lp_addr) pages;	       /* those with return addresses, ascending */
	LP_VEC(struct lp_range) homes; /* stacks that threads stand on, as of the last look */
	struct lp_jmpbuf jmpbuf;
	bool has_jmpbuf;
	uint8_t *seen; /* 64 Ki bits: hashes of `pages` and of those before them */
	struct {
		lp_addr v;
		bool is;
	} * memo; /* what stands before an address: a call? */
	uint8_t *chunk, *arena;
	size_t arena_size;
	struct lp_range *spans; /* as many as contexts */
	uint32_t *open;
};

enum lp_verdict {
	LP_IDLE,     /* it will not return there */
	LP_GUILTY,   /* it will */
	LP_UNSETTLED /* nobody can tell */
};

/* Target memory that cannot be read is passed over; nothing here fails but by finding less. */
void lp_parked_search(struct lp_parked *k);
void lp_parked_look(struct lp_parked *k);
/* Will `c` return through the word at `slot` (0: through its own pc)?  frames is filled with the way there. */
enum lp_verdict lp_parked_judge(struct lp_parked *k, const struct lp_context *c, lp_addr slot, struct lp_frame *frames,
				size_t max, size_t *nr);
void lp_parked_free(struct lp_parked *k);

#endif
