#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static void a_refusal_carries_code_and_sentence(void **state)
{
	struct lp_err err = {.tid = 7, .function = "stale"};
	assert_int_equal(lp_fail(&err, LP_ENOSYM, "%s: no symbol %s", "libc.so.6", "mallocc"), -LP_ENOSYM);
	assert_int_equal(err.code, -LP_ENOSYM);
	assert_string_equal(err.text, "libc.so.6: no symbol mallocc");
	assert_int_equal(err.tid, 0); /* a culprit of an earlier failure does not stay */
	assert_string_equal(err.function, "");
}

static void a_code_of_either_sign_is_taken(void **state)
{
	assert_int_equal(lp_fail(NULL, LP_EBUSY, "busy"), -LP_EBUSY);
	assert_int_equal(lp_fail(NULL, -LP_EBUSY, "busy"), -LP_EBUSY);
	assert_string_equal(lp_err_name(LP_EBUSY), lp_err_name(-LP_EBUSY));
}

static void a_system_error_ends_with_its_own_sentence(void **state)
{
	struct lp_err err = {0};
	assert_int_equal(lp_fail_sys(&err, ENOENT, "cannot open %s", "patch.so"), -ENOENT);
	assert_string_equal(err.text, "cannot open patch.so: No such file or directory");
}

static void context_stands_before_the_sentence_and_keeps_the_culprit(void **state)
{
	struct lp_err err = {0};
	int rc = lp_fail(&err, LP_EBUSY, "thread 12 is inside");
	err.tid = 12;
	assert_int_equal(lp_err_context(&err, rc, "jmp %s", "func_J"), -LP_EBUSY);
	assert_string_equal(err.text, "jmp func_J: thread 12 is inside");
	assert_int_equal(err.tid, 12);
}

static void context_of_a_failure_without_a_sentence_says_what_the_code_means(void **state)
{
	struct lp_err err = {0};
	lp_err_context(&err, -LP_EBUSY, "apply");
	assert_string_equal(err.text, "apply: a thread is inside the code being replaced");
}

static void more_lines_can_follow_until_the_text_is_full(void **state)
{
	struct lp_err err = {0};
	lp_fail(&err, LP_EAMBIGUOUS, "init is ambiguous");
	for (int i = 0; i < 1000; i++)
		lp_err_append(&err, "\n  candidate %d", i);
	assert_int_equal(strlen(err.text), sizeof err.text - 1);
	assert_memory_equal(err.text, "init is ambiguous\n  candidate 0\n", 32);
}

static void nobody_has_to_listen(void **state)
{
	assert_int_equal(lp_fail_sys(NULL, EPERM, "no"), -EPERM);
	assert_int_equal(lp_err_context(NULL, -EPERM, "x"), -EPERM);
	lp_err_append(NULL, "more");
}

static void every_code_has_a_name_of_its_own_and_a_sentence(void **state)
{
	for (int a = LP_E_BASE; a < LP_E_BASE + LP_ERR_COUNT; a++) {
		assert_true(lp_strerror(a)[0]);
		for (int b = LP_E_BASE; b < a; b++)
			assert_string_not_equal(lp_err_name(a), lp_err_name(b));
	}
}

static void codes_of_the_system_keep_their_names(void **state)
{
	assert_string_equal(lp_err_name(-EPERM), "EPERM");
	assert_string_equal(lp_strerror(-EPERM), strerror(EPERM));
	assert_string_equal(lp_err_name(LP_E_BASE + LP_ERR_COUNT), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refusal_carries_code_and_sentence),
		cmocka_unit_test(a_code_of_either_sign_is_taken),
		cmocka_unit_test(a_system_error_ends_with_its_own_sentence),
		cmocka_unit_test(context_stands_before_the_sentence_and_keeps_the_culprit),
		cmocka_unit_test(context_of_a_failure_without_a_sentence_says_what_the_code_means),
		cmocka_unit_test(more_lines_can_follow_until_the_text_is_full),
		cmocka_unit_test(nobody_has_to_listen),
		cmocka_unit_test(every_code_has_a_name_of_its_own_and_a_sentence),
		cmocka_unit_test(codes_of_the_system_keep_their_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
