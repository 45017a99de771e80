/*
 * Patches that LibcarePlus or libcare have applied to the target, found in its
 * memory.  Private to core/; docs/format-kpatch.md, "In a process", has the
 * format.
 */
#ifndef LP_CORE_FOREIGN_H
#define LP_CORE_FOREIGN_H

#include "core/plan.h"

/* Everything that can be found.  What only looks like a patch is passed over; all of it is the target's word. */
int lp_foreign_scan(struct lp_target *t, struct lp_foreign_list *out, struct lp_err *err);

/* Writes that take a foreign patch back, in the plan.  op->mem is its id, or the number of its memory's address. */
int lp_plan_undo_foreign(struct lp_plan *p, const struct lp_op *op, struct lp_err *err);
/* data, read at `at`, as it was before foreign patches. */
int lp_foreign_take_off(struct lp_plan *p, lp_addr at, uint8_t *data, size_t len, struct lp_err *err);

#endif
