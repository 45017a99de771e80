/*
 * Where functions begin and end.
 */
#ifndef LP_CORE_FUNCTIONS_H
#define LP_CORE_FUNCTIONS_H

#include "core/target.h"

/*
 * The function, or separate part of one (.cold), around `at`: from the unwind
 * tables, which every compiler writes and strip keeps, else from the symbol
 * that covers it.  False when neither tells.
 */
bool lp_function_around(struct lp_target *t, lp_addr at, struct lp_range *out);

#endif
