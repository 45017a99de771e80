/*
 * State machines as tables: each state lists its lawful successors, and every
 * move is checked against the table.
 *
 *     static const struct lp_sm_state txn_states[] = {
 *         [OPEN]     = {"open",     LP_SM(PREPARED) | LP_SM(ABORTED)},
 *         ...
 *     };
 */
#ifndef LP_BASE_SM_H
#define LP_BASE_SM_H

#include "base/addr.h"

#define LP_SM(state) (1u << (state))

struct lp_sm_state {
	const char *name;
	uint32_t next; /* bit set of lawful successors; 0 = final */
};

struct lp_sm {
	const char *what; /* for the message when a move is unlawful */
	const struct lp_sm_state *states;
	unsigned now;
};

bool lp_sm_may(const struct lp_sm *sm, unsigned to);
/* An unlawful move is a programming error: says so and aborts. */
void lp_sm_move(struct lp_sm *sm, unsigned to);

#endif
