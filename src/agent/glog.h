/*
 * glog of a program that has no gflags.  As gflags.h; its flags have no
 * validators, and a number is checked against its type alone.
 */
#ifndef LP_AGENT_GLOG_H
#define LP_AGENT_GLOG_H

#include "agent/gflags.h"

int lp_glog_each(void (*fn)(void *arg, const struct lp_flag *flag), void *arg, struct lp_err *err);
int lp_glog_get(const char *name, struct lp_buf *type, struct lp_buf *value, struct lp_err *err);
int lp_glog_set(const char *name, const char *value, struct lp_err *err);

#endif
