/*
 * Where the agent of a process would have its sockets, as /proc tells.
 */
#ifndef LP_TOOL_HOTPATCH_WHERE_H
#define LP_TOOL_HOTPATCH_WHERE_H

#include <sys/types.h>

#include "base/err.h"

struct where {
	uid_t uid;     /* whose rights it has */
	pid_t inner;   /* its number in its own pid namespace, which the sockets are named after */
	char root[32]; /* "", or what leads into its mount namespace */
};

/* -LP_EGONE: there is no such process, it has exited, or it is a thread of another. */
int where_is(pid_t pid, struct where *out, struct lp_err *err);

#endif
