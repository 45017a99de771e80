/* Commands without a connection: the caller is the program itself. */
#include "control/session.h"

#include <errno.h>
#include <string.h>

/* Each line that the reply has between its first one and its end. */
static void hand_over(char *rows, void (*row)(const char *line, void *arg), void *arg)
{
	for (char *end; *rows && (end = strchr(rows, '\n')); rows = end + 1) {
		*end = 0;
		if (row)
			row(rows, arg);
	}
}

int lp_control_run(const struct lp_control_options *o, const char *commands, void (*row)(const char *line, void *arg),
		   void *arg, struct lp_err *err)
{
	struct lp_service service = {.options = *o};
	struct lp_session session;
	struct lp_buf rows = {0};
	service.options.limits.line_max = SIZE_MAX / 2;
	service.table = (struct lp_table){lp_own_commands, o->commands, lp_nr_own_commands, o->nr_commands};
	lp_session_init(&session, &service);
	int rc = lp_session_run(&session, commands, &rows, err);
	if (rc == 0 && rows.len)
		hand_over((char *)rows.data, row, arg);
	lp_session_free(&session);
	lp_buf_free(&rows);
	return rc;
}
