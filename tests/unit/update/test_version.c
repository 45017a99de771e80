#include "update/version.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct lp_version version(const char *text)
{
	struct lp_version v;

	if (!lp_version_read(text, &v))
		fail_msg("%s is a version", text);
	return v;
}

static void is_less(const char *a, const char *b)
{
	struct lp_version x = version(a), y = version(b);

	if (lp_version_compare(&x, &y) >= 0 || lp_version_compare(&y, &x) <= 0)
		fail_msg("%s is older than %s", a, b);
}

static void is_same(const char *a, const char *b)
{
	struct lp_version x = version(a), y = version(b);

	if (lp_version_compare(&x, &y) || lp_version_compare(&y, &x))
		fail_msg("%s is the same as %s", a, b);
}

static void the_tenth_candidate_is_newer_than_the_second(void **state)
{
	is_less("1.2.3-rc2", "1.2.3-rc10");
	is_less("1.2.3-rc.2", "1.2.3-rc.10");
	is_less("1.2.3-rc9", "1.2.3-rc10");
}

static void a_release_is_newer_than_its_candidates_and_older_than_those_of_the_next(void **state)
{
	is_less("1.2.3-rc10", "1.2.3");
	is_less("1.2.3", "1.2.4-rc1");
	is_less("1.2.3-rc0", "1.2.3-rc1");
}

static void numbers_are_compared_as_numbers_from_the_left(void **state)
{
	is_less("1.9.9", "1.10.0");
	is_less("1.99.99", "2.0.0");
	is_less("0.9", "0.10");
	is_less("1.2.3", "1.2.10");
}

static void what_is_missing_is_zero_and_spellings_are_one(void **state)
{
	is_same("v1.2", "1.2.0");
	is_same("1", "1.0.0");
	is_same("1.2.3-rc2", "v1.2.3rc2");
	is_same("1.2.3~rc2", "1.2.3.rc2");
	is_same("1.2.3-rc.2", "1.2.3-rc-2");
	is_same("1.02.3", "1.2.3");
}

static void what_is_no_version_is_refused(void **state)
{
	static const char *const bad[] = {"",		"v",	      "vv1",	   "1.",	  "1..2",
					  "1.2.3.4",	"1.2.3-",     "1.2.3-rc",  "1.2.3-beta1", "1.2.3 ",
					  " 1.2.3",	"1.2.3-rc1x", "-1.2.3",	   "1.2.3-rc-",	  "4294967296.0.0",
					  "1000000000", "1.2.3\n",    "1.2.3-RC1", "1.2.3+b1"};
	struct lp_version v;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (lp_version_read(bad[i], &v))
			fail_msg("\"%s\" is no version", bad[i]);
	assert_false(lp_version_read(NULL, &v));
}

/* ---- properties, over many ---- */

static unsigned seed = 1;

static uint32_t some(uint32_t below)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 8) % below;
}

static struct lp_version any(void)
{
	struct lp_version v = {some(3), some(3), some(3), 0, some(2)};

	v.rc = v.is_candidate ? some(12) : 0;
	return v;
}

static uint64_t rank(const struct lp_version *v)
{
	return ((uint64_t)v->major * 100 + v->minor) * 10000 + (uint64_t)v->build * 100 +
	       (v->is_candidate ? v->rc : 99);
}

static void the_order_is_that_of_one_number(void **state)
{
	for (int i = 0; i < 20000; i++) {
		struct lp_version a = any(), b = any();
		int expected = rank(&a) < rank(&b) ? -1 : rank(&a) > rank(&b);
		assert_int_equal(lp_version_compare(&a, &b), expected);
	}
}

static void what_is_written_is_read_as_the_same(void **state)
{
	for (int i = 0; i < 20000; i++) {
		struct lp_version a = any(), b;
		char text[LP_VERSION_TEXT];
		assert_true(lp_version_read(lp_version_text(&a, text), &b));
		assert_int_equal(lp_version_compare(&a, &b), 0);
		assert_int_equal(a.is_candidate, b.is_candidate);
	}
}

static void no_text_is_read_beyond_its_end(void **state)
{
	static const char letters[] = "0129.-~_rcv x";

	for (int i = 0; i < 50000; i++) {
		size_t len = some(12);
		char *text = malloc(len + 1); /* its very end, for sanitizers */
		struct lp_version v;
		for (size_t k = 0; k < len; k++)
			text[k] = letters[some(sizeof letters - 1)];
		text[len] = 0;
		if (lp_version_read(text, &v))
			assert_true(v.major <= 999999999 && v.rc <= 999999999 && strpbrk(text, " xe") == NULL);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tenth_candidate_is_newer_than_the_second),
		cmocka_unit_test(a_release_is_newer_than_its_candidates_and_older_than_those_of_the_next),
		cmocka_unit_test(numbers_are_compared_as_numbers_from_the_left),
		cmocka_unit_test(what_is_missing_is_zero_and_spellings_are_one),
		cmocka_unit_test(what_is_no_version_is_refused),
		cmocka_unit_test(the_order_is_that_of_one_number),
		cmocka_unit_test(what_is_written_is_read_as_the_same),
		cmocka_unit_test(no_text_is_read_beyond_its_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
