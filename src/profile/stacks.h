/* Who called whom at one moment.  Private to profile. */
#ifndef LP_PROFILE_STACKS_H
#define LP_PROFILE_STACKS_H

#include "base/buf.h"
#include "emu/sites.h"
#include "emu/thread.h"

enum { LP_STACK_FRAMES = 128 };

struct lp_stack {
	int tid;
	bool is_waiting; /* in a system call */
	uint64_t pc, link;
	uint64_t callers[LP_STACK_FRAMES]; /* by the frame records, the innermost first */
	size_t nr;
};

/* While the thread stands still: copies what will be gone afterwards. */
void lp_stack_take(struct lp_stack *s, const struct lp_guest_thread *t);
/* While the guest runs, and none of our locks is held: forgets callers that are no code. */
void lp_stack_check(struct lp_stack *s, struct lp_emu *emu);
/* "main;f;g" behind what is in out already; true for each function that is told, with where it is. */
typedef void lp_stack_told(const struct lp_site *site, void *arg);
void lp_stack_name(const struct lp_stack *s, struct lp_sites *sites, struct lp_buf *out, lp_stack_told *told,
		   void *arg);
/* A name as an element of a line: without what the format means something by. */
void lp_stack_add_name(struct lp_buf *out, const char *name);

#endif
