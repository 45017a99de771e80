#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/vec.h"
#include "dies.h"

struct pair {
	uint64_t a, b;
};

static void new_items_are_zero_and_at_the_end(void **state)
{
	LP_VEC(struct pair) v = {0};
	for (uint64_t i = 0; i < 1000; i++) {
		assert_int_equal(v.nr, i);
		assert_int_equal(lp_vec_add(&v)->a, 0);
		assert_int_equal(v.items[i].b, 0);
		v.items[i].a = i;
		v.items[i].b = ~i;
	}
	for (uint64_t i = 0; i < 1000; i++) {
		assert_int_equal(v.items[i].a, i);
		assert_int_equal(v.items[i].b, ~i);
	}
	lp_vec_free(&v);
}

static void a_line_has_no_end_but_its_own(void **state)
{
	char *line = lp_strdup_line("prog\nPid: 1\n\x1b[2J \xc3\xa9");
	assert_string_equal(line, "prog?Pid: 1?\x1b[2J \xc3\xa9");
	assert_null(lp_strdup_line(NULL));
	lp_free(line);
}

static void pushing_keeps_what_was_pushed(void **state)
{
	LP_VEC(const char *) v = {0};
	lp_vec_push(&v, "one");
	lp_vec_push(&v, "two");
	assert_int_equal(v.nr, 2);
	assert_string_equal(v.items[0], "one");
	assert_string_equal(v.items[1], "two");
	lp_vec_free(&v);
	assert_null(v.items);
	assert_int_equal(v.nr, 0);
	lp_vec_push(&v, "again");
	assert_string_equal(v.items[0], "again");
	lp_vec_free(&v);
}

static void many_items_cost_few_moves(void **state)
{
	LP_VEC(int) v = {0};
	size_t moves = 0, cap = 0;
	for (int i = 0; i < 100000; i++) {
		lp_vec_push(&v, i);
		moves += v.cap != cap;
		cap = v.cap;
	}
	assert_true(moves < 20);
	lp_vec_free(&v);
}

static void allocated_memory_is_zero_and_never_null(void **state)
{
	uint8_t *p = lp_alloc(1000);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(p[i], 0);
	lp_free(p);
	p = lp_alloc(0);
	assert_non_null(p);
	p = lp_realloc(p, 0);
	assert_non_null(p);
	lp_free(p);
	lp_free(NULL);
}

static void copies_are_copies(void **state)
{
	char text[] = "text";
	char *s = lp_strdup(text);
	char *m = lp_memdup(text, sizeof text);
	char *f = lp_sprintf("%s-%d", text, 7);
	text[0] = 'n';
	assert_string_equal(s, "text");
	assert_string_equal(m, "text");
	assert_string_equal(f, "text-7");
	assert_null(lp_strdup(NULL));
	lp_free(s);
	lp_free(m);
	lp_free(f);
}

static void array_size_counts_elements(void **state)
{
	static const uint64_t words[] = {1, 2, 3};
	assert_int_equal(LP_ARRAY_SIZE(words), 3);
}

static void ask_for_too_much(void)
{
	lp_alloc(SIZE_MAX / 2);
}

static void ask_for_more_than_there_are_numbers(void)
{
	size_t nr = SIZE_MAX / 4, cap = SIZE_MAX / 4;
	lp_vec_grow(NULL, &nr, &cap, 64);
}

static void out_of_memory_ends_the_program(void **state)
{
	char said[4096];
	assert_true(dies(ask_for_too_much, said, sizeof said));
	assert_true(dies(ask_for_more_than_there_are_numbers, said, sizeof said));
	assert_non_null(strstr(said, "out of memory"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_items_are_zero_and_at_the_end),
		cmocka_unit_test(a_line_has_no_end_but_its_own),
		cmocka_unit_test(pushing_keeps_what_was_pushed),
		cmocka_unit_test(many_items_cost_few_moves),
		cmocka_unit_test(allocated_memory_is_zero_and_never_null),
		cmocka_unit_test(copies_are_copies),
		cmocka_unit_test(array_size_counts_elements),
		cmocka_unit_test(out_of_memory_ends_the_program),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
