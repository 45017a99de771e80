/*
 * What callers believe a function leaves alone.  Private to core/.
 *
 *     rc = lp_keep_find(plan, &at, &to, &keep, err);   // keep.regs == 0: a plain jump will do
 *     ... isa->regs->preserve(out, where, to.addr, keep.regs, keep.vector_bytes) ...
 *     lp_keep_free(&keep);
 */
#ifndef LP_CORE_PRESERVE_H
#define LP_CORE_PRESERVE_H

#include "core/contract.h"

struct lp_keep {
	lp_regs regs;	       /* callers of the old function rely on them, and the new one may change them */
	unsigned vector_bytes; /* how much of the vector registers among them */
	char *text;	       /* "rcx rdx for main+0x31 (target)"; NULL when regs is 0 */
};

/* -LP_ECONTRACT when something must be kept and cannot be. */
int lp_keep_find(struct lp_plan *p, const struct lp_place *at, const struct lp_place *to, struct lp_keep *out,
		 struct lp_err *err);
void lp_keep_free(struct lp_keep *k);

#endif
