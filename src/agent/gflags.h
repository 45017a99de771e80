/*
 * The gflags library of the program, if it has one: found at run time, shared
 * or static, by the names of its functions.  Without it, glog's own (glog.h).
 */
#ifndef LP_AGENT_GFLAGS_H
#define LP_AGENT_GFLAGS_H

#include "base/buf.h"
#include "base/err.h"

struct lp_flag {
	const char *name, *type, *value, *default_value, *description, *file;
};

/* -LP_ENOFLAG: the program has no gflags. */
int lp_gflags_each(void (*fn)(void *arg, const struct lp_flag *flag), void *arg, struct lp_err *err);
/* The flag's type and value, appended.  -LP_ENOFLAG. */
int lp_gflags_get(const char *name, struct lp_buf *type, struct lp_buf *value, struct lp_err *err);
/* Through its validator.  -LP_EREJECTED. */
int lp_gflags_set(const char *name, const char *value, struct lp_err *err);

#endif
