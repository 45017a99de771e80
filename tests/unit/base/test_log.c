#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/log.h"

static const char *const names[] = {"error", "warn", "info", "debug"};

static void collect(enum lp_log_level level, const char *line, void *arg)
{
	lp_buf_printf(arg, "[%s] %s\n", names[level], line);
}

static void levels_above_the_chosen_one_are_silent(void **state)
{
	struct lp_buf got = {0};
	lp_log_set(LP_LOG_WARN, collect, &got);
	lp_log(LP_LOG_ERROR, "one");
	lp_warn("two %d", 2);
	lp_info("three");
	lp_debug("four");
	lp_log_set(LP_LOG_DEBUG, NULL, NULL);
	assert_string_equal(lp_buf_cstr(&got), "[error] one\n[warn] two 2\n");
	lp_buf_free(&got);
}

static void arguments_of_a_silent_debug_line_are_not_computed(void **state)
{
	struct lp_buf got = {0};
	int calls = 0;
	lp_log_set(LP_LOG_INFO, collect, &got);
	lp_debug("%d", ++calls);
	assert_int_equal(calls, 0);
	lp_log_set(LP_LOG_DEBUG, collect, &got);
	lp_debug("%d", ++calls);
	assert_int_equal(calls, 1);
	lp_log_set(LP_LOG_DEBUG, NULL, NULL);
	assert_string_equal(lp_buf_cstr(&got), "[debug] 1\n");
	lp_buf_free(&got);
}

static void without_a_listener_nothing_is_on(void **state)
{
	lp_log_set(LP_LOG_DEBUG, NULL, NULL);
	assert_false(lp_log_on(LP_LOG_ERROR));
	lp_log(LP_LOG_ERROR, "nobody hears this");
}

static void a_long_line_is_cut_not_lost(void **state)
{
	struct lp_buf got = {0};
	lp_log_set(LP_LOG_INFO, collect, &got);
	lp_info("begin %0*d", 5000, 1);
	lp_log_set(LP_LOG_INFO, NULL, NULL);
	assert_memory_equal(got.data, "[info] begin 000", 16);
	assert_int_equal(got.len, strlen("[info] ") + 1023 + 1);
	lp_buf_free(&got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(levels_above_the_chosen_one_are_silent),
		cmocka_unit_test(arguments_of_a_silent_debug_line_are_not_computed),
		cmocka_unit_test(without_a_listener_nothing_is_on),
		cmocka_unit_test(a_long_line_is_cut_not_lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
