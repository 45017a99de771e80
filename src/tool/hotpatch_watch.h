/*
 * watch var [TYPE] NAME: a variable whenever it has changed.
 */
#ifndef LP_TOOL_HOTPATCH_WATCH_H
#define LP_TOOL_HOTPATCH_WATCH_H

#include "tool/hotpatch.h"

/*
 * type NULL: as it is registered, or, of a global:PATH, as debug information
 * says.  Prints a line, or with `json` an object in one.  Ends with the process
 * (-LP_EGONE), with a refusal, or when what it prints cannot be written (0).
 */
int watch_variable(struct peer *p, const char *type, const char *name, unsigned delay_ms, bool json,
		   struct lp_err *err);

#endif
