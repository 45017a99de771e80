#include "update/trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static int shell(const char *script, unsigned limit_ms, struct lp_buf *out, struct lp_err *err)
{
	const char *const argv[] = {"sh", "-c", script, NULL};

	return lp_trial("/bin/sh", argv, limit_ms, out, err);
}

static void what_it_says_on_both_streams_is_kept(void **state)
{
	struct lp_buf out = {0};

	assert_int_equal(shell("echo one; echo two >&2", 10000, &out, NULL), 0);
	assert_string_equal(lp_buf_cstr(&out), "one\ntwo\n");
	lp_buf_free(&out);
}

static void much_of_it_is_forgotten(void **state)
{
	struct lp_buf out = {0};

	assert_int_equal(shell("i=0; while [ $i -lt 5000 ]; do echo 0123456789; i=$((i+1)); done", 30000, &out, NULL),
			 0);
	assert_int_equal(out.len, 4096);
	lp_buf_free(&out);
}

static void a_status_and_a_signal_are_told(void **state)
{
	struct lp_err err = {0};

	assert_int_equal(shell("exit 3", 10000, NULL, &err), -LP_ETRIAL);
	assert_non_null(strstr(err.text, "status 3"));
	assert_int_equal(shell("kill -SEGV $$", 10000, NULL, &err), -LP_ETRIAL);
	assert_non_null(strstr(err.text, "SEGV"));
}

static time_t seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static void what_does_not_end_is_ended_with_its_children(void **state)
{
	time_t began = seconds();
	struct lp_err err = {0};

	assert_int_equal(shell("sleep 1000 & sleep 1000", 300, NULL, &err), -LP_ETRIAL);
	assert_non_null(strstr(err.text, "did not end"));
	assert_true(seconds() - began < 60);
}

static void who_keeps_the_pipe_open_is_not_waited_for(void **state)
{
	time_t began = seconds();

	assert_int_equal(shell("sleep 1000 & exit 0", 100000, NULL, NULL), 0);
	assert_true(seconds() - began < 60);
}

static void it_has_no_environment_and_no_input(void **state)
{
	struct lp_buf out = {0};

	assert_int_equal(shell("cat; echo $LC_ALL $HOME; pwd", 10000, &out, NULL), 0);
	assert_string_equal(lp_buf_cstr(&out), "C\n/\n");
	lp_buf_free(&out);
}

static void what_is_no_program_is_told(void **state)
{
	const char *const argv[] = {"x", NULL};
	struct lp_err err = {0};

	assert_int_equal(lp_trial("/nonexistent/x", argv, 1000, NULL, &err), -LP_ETRIAL);
	assert_non_null(strstr(err.text, "cannot be run"));
	assert_int_equal(lp_trial("/etc/passwd", argv, 1000, NULL, &err), -LP_ETRIAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_it_says_on_both_streams_is_kept),
		cmocka_unit_test(much_of_it_is_forgotten),
		cmocka_unit_test(a_status_and_a_signal_are_told),
		cmocka_unit_test(what_does_not_end_is_ended_with_its_children),
		cmocka_unit_test(who_keeps_the_pipe_open_is_not_waited_for),
		cmocka_unit_test(it_has_no_environment_and_no_input),
		cmocka_unit_test(what_is_no_program_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
