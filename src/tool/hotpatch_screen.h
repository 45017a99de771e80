/*
 * top on a terminal: the table again and again, keys, a window that changes
 * its size.  Drawn by ncurses.
 */
#ifndef LP_TOOL_HOTPATCH_SCREEN_H
#define LP_TOOL_HOTPATCH_SCREEN_H

#include "tool/hotpatch.h"

/* Standard input and output are a terminal that says what it is. */
bool screen_is_there(void);
/*
 * Until q or ^C (0), or until the process or its agent ends (-LP_EGONE).  The
 * terminal is as it was then; also when SIGTERM, SIGHUP or SIGQUIT came, by
 * which this process then ends.  -LP_EUSAGE when nobody knows that terminal.
 */
int screen_run(struct peer *p, const char *name, unsigned delay_ms, struct lp_err *err);

#endif
