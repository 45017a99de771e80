/* Who comes into a function but through its beginning. */
#ifndef LP_SELF_ENTERED_H
#define LP_SELF_ENTERED_H

#include "base/addr.h"

struct lp_entered {
	lp_addr from; /* of the branch */
	lp_addr to;
};

/* The first address in `window`, a part of the function `own`, that a branch of another function of the same object leads
 * to.  False: none does, or nobody can tell; also where one instruction is all that a jump replaces.  Asks the loader, so
 * not under our lock. */
bool lp_self_entered(struct lp_range own, struct lp_range window, struct lp_entered *out);

/* For fork(), as lp_self_functions_hold(). */
void lp_self_entered_hold(void);
void lp_self_entered_release(void);

#endif
