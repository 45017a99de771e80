/*
 * Who calls or jumps to a function directly.  Private to core/.
 */
#ifndef LP_CORE_CALLERS_H
#define LP_CORE_CALLERS_H

#include "core/contract.h"

typedef LP_VEC(struct lp_branch) lp_branch_vec;

/*
 * What may be a direct branch into the range, somewhere in the code of that
 * image; appended to out.  Bytes inside of other instructions can look like one:
 * lp_caller_is_real() tells.
 */
void lp_callers_find(struct lp_contracts *c, size_t image, struct lp_range into, lp_branch_vec *out);
/* Do instructions, read from the start of the function around it, come to this branch?  Doubt counts as yes. */
bool lp_caller_is_real(struct lp_contracts *c, struct lp_range function, const struct lp_branch *b);
void lp_callers_free(struct lp_contracts *c);

#endif
