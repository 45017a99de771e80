#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "profile/counts.h"

static void same_texts_are_counted_together_and_printed_in_order(void **state)
{
	struct lp_counts counts = {0};
	struct lp_buf out = {0};

	lp_counts_add(&counts, "p;main;g");
	lp_counts_add(&counts, "p;main");
	lp_counts_add(&counts, "p;main;g");
	lp_counts_print(&counts, &out);
	assert_string_equal(lp_buf_cstr(&out), "p;main 1\np;main;g 2\n");
	lp_buf_free(&out);
	lp_counts_free(&counts);
}

static void counting_goes_on_after_it_was_printed(void **state)
{
	struct lp_counts counts = {0};
	struct lp_buf out = {0};

	lp_counts_add(&counts, "b");
	lp_counts_add(&counts, "a");
	lp_counts_print(&counts, &out);
	lp_counts_add(&counts, "a");
	out.len = 0;
	lp_counts_print(&counts, &out);
	assert_string_equal(lp_buf_cstr(&out), "a 2\nb 1\n");
	lp_buf_free(&out);
	lp_counts_free(&counts);
}

static void what_comes_beyond_the_bound_is_counted_as_lost(void **state)
{
	struct lp_counts counts = {0};
	struct lp_buf out = {0};
	const char *last;
	char text[32];

	for (int round = 0; round < 2; round++)
		for (int i = 0; i < LP_COUNTS_MAX + 5; i++) {
			snprintf(text, sizeof text, "p;f%d", i);
			lp_counts_add(&counts, text);
		}
	assert_int_equal(counts.all.nr, LP_COUNTS_MAX);
	assert_int_equal(counts.lost, 10);
	for (size_t i = 0; i < counts.all.nr; i++)
		assert_int_equal(counts.all.items[i].nr, 2);
	lp_counts_print(&counts, &out);
	last = strstr(lp_buf_cstr(&out), "[too many stacks]");
	assert_string_equal(last, "[too many stacks] 10\n");
	lp_buf_free(&out);
	lp_counts_free(&counts);
}

static void nothing_counted_is_nothing_printed(void **state)
{
	struct lp_counts counts = {0};
	struct lp_buf out = {0};

	lp_counts_print(&counts, &out);
	assert_int_equal(out.len, 0);
	lp_buf_free(&out);
	lp_counts_free(&counts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_texts_are_counted_together_and_printed_in_order),
		cmocka_unit_test(counting_goes_on_after_it_was_printed),
		cmocka_unit_test(what_comes_beyond_the_bound_is_counted_as_lost),
		cmocka_unit_test(nothing_counted_is_nothing_printed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
