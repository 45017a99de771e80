/*
 * top: flags, variables and functions of a process as they are now.
 */
#ifndef LP_TOOL_HOTPATCH_TOP_H
#define LP_TOOL_HOTPATCH_TOP_H

#include "tool/hotpatch.h"

/*
 * json: an object a look, each on its own line, until somebody ends us; else on
 * a terminal as hotpatch_screen.h has it, and elsewhere, or with `once`, one
 * table.
 */
int top(struct peer *p, bool once, bool json, unsigned delay_ms, struct lp_err *err);

#endif
