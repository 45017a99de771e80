/*
 * ps: who runs an agent.  names: what there is to be named in a process.
 */
#ifndef LP_TOOL_HOTPATCH_LIST_H
#define LP_TOOL_HOTPATCH_LIST_H

#include "tool/hotpatch.h"
#include "tool/hotpatch_wish.h"

int list_processes(const struct wish *w, struct lp_err *err);
int list_names(struct peer *p, const struct wish *w, struct lp_err *err);

#endif
