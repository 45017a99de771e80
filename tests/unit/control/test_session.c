#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "commands.h"
#include "control/session.h"

static struct lp_service service;
static struct lp_session session;
static struct lp_buf taken; /* from it, last */

static int open_session(void **state)
{
	service = (struct lp_service){.options = test_options};
	service.options.limits.line_max = 65536;
	service.table =
		(struct lp_table){lp_own_commands, test_commands, lp_nr_own_commands, LP_ARRAY_SIZE(test_commands)};
	lp_session_init(&session, &service);
	atomic_store(&number, 10);
	atomic_store(&releases, 0);
	return 0;
}

static int close_session(void **state)
{
	lp_session_free(&session);
	lp_buf_free(&taken);
	return 0;
}

/* What the client has got since it was asked last. */
static const char *got(void)
{
	lp_buf_free(&taken);
	taken = session.out;
	session.out = (struct lp_buf){0};
	return lp_buf_cstr(&taken);
}

static const char *say(const char *bytes)
{
	lp_control_wire_feed(&session.wire, bytes, strlen(bytes));
	while (lp_session_step(&session))
		;
	return got();
}

/* ---- commands ---- */

static void a_command_is_answered_with_its_rows(void **state)
{
	assert_string_equal(say("get\n"), "Success to run\n10\n");
	assert_string_equal(say("echo a 'b c'\n"), "Success to run\na\nb c\n");
}

static void a_request_of_json_is_answered_in_json(void **state)
{
	assert_string_equal(say("{\"cmd\": \"get\", \"id\": \"x\"}\n{\"cmd\": [\"echo\", \"a;b\"]}\n"),
			    "{\"id\": \"x\", \"ok\": true, \"data\": [{\"value\": 10}]}\n"
			    "{\"ok\": true, \"data\": [{\"word\": \"a;b\"}]}\n");
	assert_string_equal(say("{\"cmd\": \"set 7\", \"text\": true}\n"), "{\"ok\": true, \"data\": [\"10 -> 7\"]}\n");
	assert_string_equal(
		say("{\"cmd\": \"got\"}\n"),
		"{\"ok\": false, \"error\": {\"code\": \"usage\", \"message\": \"unknown command: got; did you "
		"mean \\\"get\\\"?\"}}\n");
}

static void refusals_say_why_and_the_session_goes_on(void **state)
{
	assert_string_equal(say("\n"), "Error: usage: a command is missing; \"help\" lists them\n");
	assert_string_equal(say("'x\n"), "Error: parse: column 3: the closing ' is missing\n");
	assert_string_equal(say("set\n"), "Error: usage: too few operands; usage: set N\n");
	assert_string_equal(say("set 1 2 3\n"), "Error: usage: too many operands; usage: set N\n");
	assert_string_equal(say("set x\n"), "Error: range: x is no number\n");
	assert_string_equal(say("get\n"), "Success to run\n10\n");
}

static void commands_above_the_level_do_not_run(void **state)
{
	assert_string_equal(say("forbidden\n"),
			    "Error: permission: forbidden is a command of level code, and this program "
			    "allows no more than write\n");
	service.options.allow = LP_LEVEL_READ;
	assert_string_equal(
		say("set 5\n"),
		"Error: permission: set is a command of level write, and this program allows no more than read\n");
	assert_string_equal(say("get\n"), "Success to run\n10\n");
}

static void the_server_knows_its_commands(void **state)
{
	assert_string_equal(say("help set\n"),
			    "Success to run\n"
			    "set N                              set the number\n"
			    "set quiet N                        set the number where nobody reads it\n");
	assert_non_null(strstr(say("help\n"), "json [on|off]"));
	assert_string_equal(say("help set loud\n"), "Error: usage: no command begins with set loud\n");
	assert_string_equal(say("version\n"),
			    "Success to run\ntester 1.2, protocol 1: text json lines prompt transactions\n");
	assert_non_null(strstr(say("stats\n"), "requests: 5\ncommands: 5\nerrors: 1\n"));
}

static void help_in_json_has_what_completion_needs(void **state)
{
	assert_string_equal(
		say("{\"cmd\": \"help fill\"}\n"),
		"{\"ok\": true, \"data\": [{\"summary\": \"a long row\", \"command\": \"fill\", \"operands\": "
		"\"BYTES\", \"level\": \"read\"}]}\n");
}

static void a_prompt_ends_each_reply_with_an_empty_line(void **state)
{
	assert_string_equal(say("prompt\n"), "Success to run\n\n");
	assert_string_equal(say("get\nnonsense\n"),
			    "Success to run\n10\n\nError: usage: unknown command: nonsense; \"help\" "
			    "lists them\n\n");
	assert_string_equal(say("echo ''\n"), "Success to run\n\"\"\n\n");
}

static void text_can_be_answered_in_json(void **state)
{
	assert_string_equal(say("json\n"), "Success to run\n");
	assert_string_equal(say("get\n"), "{\"ok\": true, \"data\": [{\"value\": 10}]}\n");
	assert_string_equal(say("json off\n"), "{\"ok\": true, \"data\": []}\n");
	assert_string_equal(say("get\n"), "Success to run\n10\n");
	assert_string_equal(say("json perhaps\n"), "Error: usage: json is on or off, not perhaps\n");
}

/* ---- transactions ---- */

static void a_line_is_a_transaction(void **state)
{
	assert_string_equal(say("set 1; set 2\n"), "Success to run\n10 -> 1\n10 -> 2\n");
	assert_int_equal(atomic_load(&number), 2);
	assert_string_equal(say("set 3; nonsense; set 4\n"),
			    "Error: usage: command 2 of the line (nonsense): unknown command: nonsense; \"help\" lists "
			    "them\n");
	assert_int_equal(atomic_load(&number), 2);
	assert_string_equal(say("set 3; doom\n"), "Error: busy: doomed\n");
	assert_int_equal(atomic_load(&number), 2);
	assert_int_equal(atomic_load(&releases), 4);
}

static void what_a_line_reads_is_what_stood_before_it(void **state)
{
	assert_string_equal(say("set 1; get\n"), "Success to run\n10 -> 1\n10\n");
	assert_string_equal(say("get\n"), "Success to run\n1\n");
}

static void a_transaction_is_committed_as_a_whole(void **state)
{
	assert_string_equal(say("begin\nset 5\nset 6\n"),
			    "Success to run\nSuccess to run\n10 -> 5\nSuccess to run\n10 -> "
			    "6\n");
	assert_int_equal(atomic_load(&number), 10);
	assert_int_equal(atomic_load(&releases), 0);
	assert_string_equal(say("commit\n"), "Success to run\n");
	assert_int_equal(atomic_load(&number), 6);
	assert_int_equal(atomic_load(&releases), 2);
	assert_string_equal(say("begin; set 7; commit\n"), "Success to run\n6 -> 7\n");
	assert_int_equal(atomic_load(&number), 7);
}

static void an_aborted_transaction_changes_nothing(void **state)
{
	say("begin\nset 5\n");
	assert_string_equal(say("abort\n"), "Success to run\n");
	assert_int_equal(atomic_load(&number), 10);
	assert_int_equal(atomic_load(&releases), 1);
	assert_string_equal(say("commit\n"), "Error: transaction: no transaction is open\n");
}

static void a_refused_command_spoils_its_transaction(void **state)
{
	say("begin\nset 5\n");
	assert_string_equal(say("set x\n"), "Error: range: x is no number\n");
	say("set 6\n");
	assert_string_equal(say("commit\n"),
			    "Error: transaction: nothing was changed, because a command was refused: x is no number\n");
	assert_int_equal(atomic_load(&number), 10);
	assert_int_equal(atomic_load(&releases), 2);
	assert_string_equal(say("set 6\n"), "Success to run\n10 -> 6\n");
	assert_int_equal(atomic_load(&number), 6);
}

static void a_spoilt_transaction_can_be_aborted_and_begun_again(void **state)
{
	say("begin\nnonsense\n");
	assert_string_equal(say("begin\n"), "Error: transaction: a transaction is open already\n");
	assert_string_equal(say("abort\n"), "Success to run\n");
	assert_string_equal(say("begin; set 3; commit\n"), "Success to run\n10 -> 3\n");
}

static void a_commit_that_fails_ends_the_transaction(void **state)
{
	say("begin\nset 5\ndoom\n");
	assert_string_equal(say("commit\n"), "Error: busy: doomed\n");
	assert_int_equal(atomic_load(&number), 10);
	assert_string_equal(say("commit\n"), "Error: transaction: no transaction is open\n");
}

static void a_line_that_begins_and_is_refused_leaves_no_transaction(void **state)
{
	say("begin; set 5; nonsense; commit\n");
	assert_int_equal(atomic_load(&number), 10);
	assert_string_equal(say("abort\n"), "Error: transaction: no transaction is open\n");
}

static void a_session_that_ends_aborts(void **state)
{
	say("begin\nset 5\n");
	lp_session_free(&session);
	lp_session_init(&session, &service);
	assert_int_equal(atomic_load(&number), 10);
	assert_int_equal(atomic_load(&releases), 1);
}

static void changes_of_a_transaction_have_a_bound(void **state)
{
	struct lp_buf line = {0};
	lp_buf_str(&line, "set 1");
	for (int i = 1; i < LP_REQUEST_COMMANDS_MAX; i++)
		lp_buf_str(&line, ";set 1");
	lp_buf_str(&line, "\n");
	say("begin\n");
	for (int i = 0; i < LP_TXN_CHANGES_MAX / LP_REQUEST_COMMANDS_MAX; i++)
		assert_non_null(strstr(say(lp_buf_cstr(&line)), "Success"));
	assert_string_equal(say("set 2\n"), "Error: transaction: more than 4096 changes in one transaction\n");
	lp_buf_free(&line);
}

/* ---- quiescence ---- */

static void what_must_wait_waits_with_all_of_its_transaction(void **state)
{
	assert_string_equal(say("set 5; set quiet 6\nget\n"), "");
	assert_true(session.waiting);
	assert_int_equal(atomic_load(&number), 10);
	lp_session_quiesce(&session);
	assert_string_equal(say(""), "Success to run\n10 -> 5\n10 -> 6\nSuccess to run\n6\n");
	assert_int_equal(atomic_load(&number), 6);
}

static void who_waits_for_too_long_is_refused(void **state)
{
	service.options.limits.quiesce_ms = 77;
	say("begin\nset quiet 6\n");
	assert_false(session.waiting);
	assert_string_equal(say("commit\n"), "");
	assert_true(session.waiting);
	lp_session_give_up(&session);
	assert_string_equal(got(),
			    "Error: timeout: the program did not say within 77 ms that nobody reads what is to be "
			    "changed\n");
	assert_int_equal(atomic_load(&number), 10);
	assert_int_equal(atomic_load(&releases), 1);
	assert_string_equal(say("commit\n"), "Error: transaction: no transaction is open\n");
}

static void a_commit_refused_at_the_quiet_point_is_said(void **state)
{
	say("set quiet 6; doom\n");
	lp_session_quiesce(&session);
	assert_string_equal(got(), "Error: busy: doomed\n");
	assert_int_equal(atomic_load(&number), 10);
}

/* ---- the program itself ---- */

static int depth, most_depth;

static void count_lock(void)
{
	most_depth = ++depth > most_depth ? depth : most_depth;
}

static void count_unlock(void)
{
	depth--;
}

static void the_programs_lock_is_held_around_commands_and_given_back(void **state)
{
	service.options.lock = count_lock;
	service.options.unlock = count_unlock;
	depth = most_depth = 0;
	say("set 1\nnonsense\nbegin\nset quiet 2\ncommit\n");
	lp_session_quiesce(&session);
	assert_int_equal(depth, 0);
	assert_int_equal(most_depth, 1);
	service.options.lock = service.options.unlock = NULL;
}

static void collect(const char *line, void *arg)
{
	lp_buf_printf(arg, "<%s>", line);
}

static void a_program_runs_commands_itself(void **state)
{
	struct lp_buf rows = {0};
	struct lp_err err = {0};
	assert_int_equal(lp_control_run(&test_options, "set 4; echo a ''", collect, &rows, &err), 0);
	assert_string_equal(lp_buf_cstr(&rows), "<10 -> 4><a><>");
	assert_int_equal(atomic_load(&number), 4);
	assert_int_equal(lp_control_run(&test_options, "get", NULL, NULL, &err), 0);
	assert_int_equal(lp_control_run(&test_options, "set 4; nonsense", collect, &rows, &err), -LP_EUSAGE);
	assert_int_equal(lp_control_run(&test_options, "", collect, &rows, &err), -LP_EUSAGE);
	assert_int_equal(lp_control_run(&test_options, "{\"cmd\": \"get\"}", collect, &rows, &err), -LP_EPARSE);
	assert_int_equal(lp_control_run(&test_options, "forbidden", collect, &rows, &err), -LP_EPERM);
	assert_int_equal(lp_control_run(&test_options, "set quiet 5", collect, &rows, &err), -EBUSY);
	assert_string_equal(lp_buf_cstr(&rows), "<10 -> 4><a><>");
	assert_int_equal(atomic_load(&number), 4);
	lp_buf_free(&rows);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_session, close_session)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_command_is_answered_with_its_rows),
		TEST(a_request_of_json_is_answered_in_json),
		TEST(refusals_say_why_and_the_session_goes_on),
		TEST(commands_above_the_level_do_not_run),
		TEST(the_server_knows_its_commands),
		TEST(help_in_json_has_what_completion_needs),
		TEST(a_prompt_ends_each_reply_with_an_empty_line),
		TEST(text_can_be_answered_in_json),
		TEST(a_line_is_a_transaction),
		TEST(what_a_line_reads_is_what_stood_before_it),
		TEST(a_transaction_is_committed_as_a_whole),
		TEST(an_aborted_transaction_changes_nothing),
		TEST(a_refused_command_spoils_its_transaction),
		TEST(a_spoilt_transaction_can_be_aborted_and_begun_again),
		TEST(a_commit_that_fails_ends_the_transaction),
		TEST(a_line_that_begins_and_is_refused_leaves_no_transaction),
		TEST(a_session_that_ends_aborts),
		TEST(changes_of_a_transaction_have_a_bound),
		TEST(what_must_wait_waits_with_all_of_its_transaction),
		TEST(who_waits_for_too_long_is_refused),
		TEST(a_commit_refused_at_the_quiet_point_is_said),
		TEST(the_programs_lock_is_held_around_commands_and_given_back),
		TEST(a_program_runs_commands_itself),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
