/*
 * Code of other functions that goes on in the middle of one: glibc's mempcpy()
 * does in memcpy(), behind its first instruction.  Private to core/.
 */
#ifndef LP_CORE_JOINED_H
#define LP_CORE_JOINED_H

#include "core/plan.h"

/* The branch of another function with the lowest target in `bytes`, a part of the one that begins at at->addr; false
 * when there is none, or nobody can tell. */
bool lp_joined_find(struct lp_plan *p, const struct lp_place *at, struct lp_range bytes, struct lp_branch *out);

/* A branch from elsewhere, this function or another, to an instruction among `bytes` where none begins once they are `now`;
 * other than one that the plan changes itself. */
bool lp_joined_cut(struct lp_plan *p, struct lp_range bytes, const uint8_t *now, struct lp_branch *out);

#endif
