/* Who comes into a function but through its beginning: lp_self_entered(), in self.h. */
#ifndef LP_SELF_ENTERED_H
#define LP_SELF_ENTERED_H

/* For fork(), as lp_self_functions_hold(). */
void lp_self_entered_hold(void);
void lp_self_entered_release(void);

#endif
