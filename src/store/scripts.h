/*
 * The programs of a store, `before` and `after`, run with one argument.
 * Private to store/.
 */
#ifndef LP_STORE_SCRIPTS_H
#define LP_STORE_SCRIPTS_H

#include <sys/types.h>

#include "base/err.h"

/* Runs `path` PID and waits, at most timeout_ms, then kills it.  -LP_EHOOK when it does not end with status 0. */
int lp_script_run(const char *path, pid_t pid, unsigned timeout_ms, struct lp_err *err);

#endif
