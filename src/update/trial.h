/*
 * A program on trial: run with a time limit, without a shell, with an empty
 * environment, no input, in the root folder; it and what it started is killed
 * when it takes too long.
 */
#ifndef LP_UPDATE_TRIAL_H
#define LP_UPDATE_TRIAL_H

#include "base/buf.h"
#include "base/err.h"

/*
 * `out` gets what it says on standard output and error, 4 KiB at most; may be
 * NULL.  0: it ended with status 0.  -LP_ETRIAL with what it did instead.
 */
int lp_trial(const char *path, const char *const *argv, unsigned limit_ms, struct lp_buf *out, struct lp_err *err);

#endif
