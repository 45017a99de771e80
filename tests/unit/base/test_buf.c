#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void an_empty_buffer_is_an_empty_string(void **state)
{
	struct lp_buf b = {0};
	assert_string_equal(lp_buf_cstr(&b), "");
	lp_buf_add(&b, NULL, 0);
	assert_int_equal(b.len, 0);
	assert_string_equal(lp_buf_cstr(&b), "");
	lp_buf_free(&b);
}

static void every_kind_of_addition_goes_to_the_end(void **state)
{
	struct lp_buf b = {0};
	lp_buf_str(&b, "one ");
	lp_buf_add(&b, "two", 3);
	lp_buf_fill(&b, '.', 3);
	lp_buf_printf(&b, " %d %s ", 42, "three");
	lp_buf_hex(&b, "\x48\x89\xe5", 3);
	assert_string_equal(lp_buf_cstr(&b), "one two... 42 three 48 89 e5");
	assert_int_equal(b.len, strlen(lp_buf_cstr(&b)));
	lp_buf_free(&b);
}

/* The NUL behind the bytes must have room at every fill level, whatever the capacity happens to be. */
static void a_nul_follows_at_every_length(void **state)
{
	struct lp_buf b = {0};
	for (size_t len = 1; len <= 2000; len++) {
		lp_buf_fill(&b, 'x', 1);
		assert_int_equal(b.len, len);
		assert_true(b.cap > len);
		assert_int_equal(b.data[len], 0);
	}
	lp_buf_free(&b);
}

static void formatting_grows_by_more_than_the_buffer_holds(void **state)
{
	struct lp_buf b = {0};
	lp_buf_printf(&b, "%0*d", 100000, 7);
	assert_int_equal(b.len, 100000);
	assert_int_equal(b.data[99999], '7');
	assert_int_equal(b.data[100000], 0);
	lp_buf_free(&b);
}

static void bytes_may_be_zero(void **state)
{
	struct lp_buf b = {0};
	lp_buf_add(&b, "a\0b", 3);
	lp_buf_str(&b, "c");
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.data, "a\0bc", 5);
	lp_buf_free(&b);
}

static void a_freed_buffer_can_be_used_again(void **state)
{
	struct lp_buf b = {0};
	lp_buf_str(&b, "first");
	lp_buf_free(&b);
	lp_buf_free(&b);
	lp_buf_str(&b, "second");
	assert_string_equal(lp_buf_cstr(&b), "second");
	lp_buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_buffer_is_an_empty_string),
		cmocka_unit_test(every_kind_of_addition_goes_to_the_end),
		cmocka_unit_test(a_nul_follows_at_every_length),
		cmocka_unit_test(formatting_grows_by_more_than_the_buffer_holds),
		cmocka_unit_test(bytes_may_be_zero),
		cmocka_unit_test(a_freed_buffer_can_be_used_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
