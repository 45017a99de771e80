#include "base/sm.h"

#include <stdio.h>
#include <stdlib.h>

bool lp_sm_may(const struct lp_sm *sm, unsigned to)
{
	return to < 32 && (sm->states[sm->now].next & LP_SM(to));
}

void lp_sm_move(struct lp_sm *sm, unsigned to)
{
	if (!lp_sm_may(sm, to)) {
		fprintf(stderr, "livepatch: %s may not go from %s to %s\n", sm->what, sm->states[sm->now].name,
			sm->states[to].name);
		abort();
	}
	sm->now = to;
}
