/*
 * Commands for the tests of sessions and servers: a number that is read and
 * set, and what else a client may want of a server.
 *
 *     get                 the number
 *     set N               sets it when committed
 *     set quiet N         the same, where nobody reads
 *     doom                prepares well, and refuses to be committed (last of its transaction)
 *     echo WORD...        one row a word
 *     fill BYTES          a row of that many bytes
 *     forbidden           of level CODE
 *     hold                writes a byte into hold_begun, and returns when it has read one from hold_ends
 */
#ifndef LP_TESTS_CONTROL_COMMANDS_H
#define LP_TESTS_CONTROL_COMMANDS_H

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/vec.h"
#include "control/control.h"

#define UNFINISHED -12345

static atomic_int number, releases;
static int hold_begun[2] = {-1, -1}, hold_ends[2] = {-1, -1}; /* pipes */

struct assignment {
	int value, before;
};

static int assignment_commit(void *change, struct lp_err *err)
{
	struct assignment *a = change;
	a->before = atomic_exchange(&number, a->value);
	return 0;
}

/* Where nobody reads there is time, and nobody sees what stands there meanwhile. */
static int assignment_commit_slowly(void *change, struct lp_err *err)
{
	struct assignment *a = change;
	a->before = atomic_exchange(&number, UNFINISHED);
	for (int i = 0; i < 100; i++)
		sched_yield();
	atomic_store(&number, a->value);
	return 0;
}

static void assignment_undo(void *change)
{
	atomic_store(&number, ((struct assignment *)change)->before);
}

static void assignment_release(void *change)
{
	atomic_fetch_add(&releases, 1);
	lp_free(change);
}

static int prepare_assignment(struct lp_call *c, bool quiescent, struct lp_err *err)
{
	char *end;
	long value = strtol(c->argv[0], &end, 10);
	if (*end || end == c->argv[0])
		return lp_fail(err, LP_ERANGE, "%s is no number", c->argv[0]);
	struct assignment *a = lp_alloc(sizeof *a);
	a->value = (int)value;
	lp_change_add(c, &(struct lp_change){.rank = 1,
					     .commit = quiescent ? assignment_commit_slowly : assignment_commit,
					     .undo = assignment_undo,
					     .release = assignment_release,
					     .change = a,
					     .quiescent = quiescent});
	lp_reply_row(c->reply, "% -> %", LP_INT("before", atomic_load(&number)), LP_INT("value", value));
	return 0;
}

static int run_set(struct lp_call *c, struct lp_err *err)
{
	return prepare_assignment(c, false, err);
}

static int run_set_quiet(struct lp_call *c, struct lp_err *err)
{
	return prepare_assignment(c, true, err);
}

static int doom_commit(void *change, struct lp_err *err)
{
	return lp_fail(err, LP_EBUSY, "doomed");
}

static int run_doom(struct lp_call *c, struct lp_err *err)
{
	lp_change_add(c, &(struct lp_change){.rank = 9, .commit = doom_commit});
	return 0;
}

static int run_get(struct lp_call *c, struct lp_err *err)
{
	lp_reply_row(c->reply, "%", LP_INT("value", atomic_load(&number)));
	return 0;
}

static int run_echo(struct lp_call *c, struct lp_err *err)
{
	for (int i = 0; i < c->argc; i++)
		lp_reply_row(c->reply, "%", LP_STR("word", c->argv[i]));
	return 0;
}

static int run_fill(struct lp_call *c, struct lp_err *err)
{
	struct lp_buf text = {0};
	lp_buf_fill(&text, 'x', strtoull(c->argv[0], NULL, 10));
	lp_reply_row(c->reply, "%", LP_STR("text", lp_buf_cstr(&text)));
	lp_buf_free(&text);
	return 0;
}

static int run_forbidden(struct lp_call *c, struct lp_err *err)
{
	return lp_fail(err, LP_EINTERNAL, "this must not run");
}

static int run_hold(struct lp_call *c, struct lp_err *err)
{
	char byte = 0;
	if (write(hold_begun[1], &byte, 1) != 1 || read(hold_ends[0], &byte, 1) != 1)
		return lp_fail(err, LP_EINTERNAL, "the pipe of the test is gone");
	return 0;
}

static const struct lp_command test_commands[] = {
	{"get", "", LP_LEVEL_READ, run_get, "the number"},
	{"set", "N", LP_LEVEL_WRITE, run_set, "set the number"},
	{"set quiet", "N", LP_LEVEL_WRITE, run_set_quiet, "set the number where nobody reads it"},
	{"doom", "", LP_LEVEL_WRITE, run_doom, "refuse to be committed"},
	{"echo", "[WORD...]", LP_LEVEL_READ, run_echo, "one row a word"},
	{"fill", "BYTES", LP_LEVEL_READ, run_fill, "a long row"},
	{"forbidden", "", LP_LEVEL_CODE, run_forbidden, "more than is allowed"},
	{"hold", "", LP_LEVEL_READ, run_hold, "keep the server's thread"},
};

static const struct lp_control_options test_options = {
	.commands = test_commands,
	.nr_commands = LP_ARRAY_SIZE(test_commands),
	.program = "tester",
	.version = "1.2",
	.allow = LP_LEVEL_WRITE,
};

#endif
