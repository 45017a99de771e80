/*
 * Spaces join the core's target interface to one backend each.
 */
#ifndef LP_SPACE_H
#define LP_SPACE_H

#include <sys/types.h>

#include "core/target.h"

/* Another process.  exe_file: the user's unstripped copy of its program, or NULL. */
int lp_target_open_process(struct lp_target **out, pid_t pid, const char *exe_file, struct lp_err *err);
void lp_target_close(struct lp_target *t); /* NULL is fine */

#endif
