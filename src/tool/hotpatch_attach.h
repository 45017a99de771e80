/*
 * attach: the agent comes into a process that was started without it.
 * detach: it goes.
 */
#ifndef LP_TOOL_HOTPATCH_ATTACH_H
#define LP_TOOL_HOTPATCH_ATTACH_H

#include "tool/hotpatch.h"

/*
 * library NULL: the one that belongs to this program.  -LP_EEXISTS: it runs one
 * already; and what lp_visitor_enter() refuses.
 */
int attach_agent(pid_t pid, const char *library, unsigned timeout_ms, struct lp_err *err);
/*
 * The agent's thread has ended and its sockets are gone when this returns 0.
 * Functions that are upgraded are rolled back with `force`, else they are named:
 * -LP_EINUSE.
 */
int detach_agent(pid_t pid, bool force, unsigned timeout_ms, struct lp_err *err);

#endif
