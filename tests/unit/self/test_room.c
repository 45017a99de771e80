#include "own.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int thousand(int x)
{
	return 1000;
}

/* Stops the world once, which is when memory comes out of quarantine. */
static void change_something(void)
{
	struct lp_self_hook h = {.fn = FN(victim_wide), .replacement = FN(thousand)};
	struct lp_self_hook *hooks[] = {&h};

	assert_int_equal(lp_self_prepare(&h, NULL), 0);
	assert_int_equal(lp_self_commit(hooks, 1, NULL), 0);
	assert_int_equal(lp_self_remove(hooks, 1, NULL), 0);
	lp_self_release(&h);
}

static void code_memory_lies_within_reach_and_runs_what_it_is_filled_with(void **state)
{
	uint8_t code[LP_ISLAND_MAX];
	lp_addr at;
	size_t len;

	assert_int_equal(lp_self_code_alloc(FN(victim_push), true, sizeof code, &at, NULL), 0);
	assert_in_range(at > FN(victim_push) ? at - FN(victim_push) : FN(victim_push) - at, 0, lp_self_isa()->reach);
	len = lp_self_isa()->island(code, at, FN(victim_push));
	assert_int_equal(lp_self_code_fill(at, code, len, NULL), 0);
	assert_int_equal(((int (*)(int))(uintptr_t)at)(21), 42);
	lp_self_code_free(at, sizeof code);
}

static void near_a_library_it_lies_within_reach_too(void **state)
{
	lp_addr at;

	assert_int_equal(lp_self_code_alloc(FN(qsort), true, 64, &at, NULL), 0);
	assert_in_range(at > FN(qsort) ? at - FN(qsort) : FN(qsort) - at, 0, lp_self_isa()->reach);
	lp_self_code_free(at, 64);
}

static void only_code_memory_is_filled(void **state)
{
	static uint8_t data[64];
	lp_addr at;

	assert_int_equal(lp_self_code_fill(addr_of(data), "x", 1, NULL), -LP_EOUTSIDE);
	assert_int_equal(lp_self_code_fill(FN(victim_push), "x", 1, NULL), -LP_EOUTSIDE);
	assert_int_equal(lp_self_code_alloc(0, false, 0, &at, NULL), -LP_ERANGE);
	assert_int_equal(lp_self_code_alloc(0, false, SIZE_MAX, &at, NULL), -LP_ERANGE);
	assert_int_equal(lp_self_code_alloc(0, false, 300000, &at, NULL), 0); /* more than a chunk */
	assert_int_equal(lp_self_code_fill(at, "x", 1, NULL), 0);
	lp_self_code_free(at, 300000);
}

#define MANY 8
#define BIG 40000 /* not two of them in what is mapped at once */

/* One of the next `nr` that are asked for. */
static bool comes_again(lp_addr freed, size_t size, size_t nr)
{
	lp_addr got[MANY];
	bool again = false;

	for (size_t i = 0; i < nr; i++) {
		assert_int_equal(lp_self_code_alloc(0, false, size, &got[i], NULL), 0);
		again = again || (got[i] < freed + size && freed < got[i] + size);
	}
	for (size_t i = 0; i < nr; i++)
		lp_self_code_free(got[i], size);
	change_something();
	return again;
}

static void freed_code_comes_again_when_nobody_can_be_in_it(void **state)
{
	size_t size = addr_of(victim_loop_end) - FN(victim_loop);
	struct looper l = {0};
	lp_addr at;

	assert_int_equal(lp_self_code_alloc(0, false, BIG, &at, NULL), 0);
	assert_int_equal(lp_self_code_fill(at, (void *)(uintptr_t)FN(victim_loop), size, NULL), 0);
	l.fn = at;
	looper_start(&l);
	lp_self_code_free(at, BIG);
	change_something();
	assert_false(comes_again(at, BIG, MANY / 2)); /* the looper is in there */
	looper_end(&l);
	change_something();
	assert_true(comes_again(at, BIG, MANY));
}

static void functions_are_found_by_what_their_object_tells(void **state)
{
	struct lp_range r;

	assert_true(lp_self_function(FN(victim_push) + 3, &r));
	assert_int_equal(r.start, FN(victim_push));
	assert_in_range(r.end, r.start + 8, r.start + 40);
	assert_true(lp_self_function(FN(change_something), &r));
	assert_int_equal(r.start, FN(change_something));
	assert_true(lp_self_function(FN(qsort) + 1, &r));
	assert_int_equal(r.start, FN(qsort));
	assert_true(r.end > r.start + 1);
}

static void where_there_is_no_function_none_is_found(void **state)
{
	static int data;
	struct lp_range r;

	assert_false(lp_self_function(0, &r));
	assert_false(lp_self_function(UINT64_MAX, &r));
	assert_false(lp_self_function(addr_of(&r), &r));
	assert_false(lp_self_function(addr_of(&data), &r));
	assert_false(lp_self_function(addr_of(&environ), &r)); /* has a symbol, but not of a function */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(freed_code_comes_again_when_nobody_can_be_in_it),
		cmocka_unit_test(code_memory_lies_within_reach_and_runs_what_it_is_filled_with),
		cmocka_unit_test(near_a_library_it_lies_within_reach_too),
		cmocka_unit_test(only_code_memory_is_filled),
		cmocka_unit_test(functions_are_found_by_what_their_object_tells),
		cmocka_unit_test(where_there_is_no_function_none_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
