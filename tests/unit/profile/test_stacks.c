#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "profile/stacks.h"

static struct lp_stack taken(uint64_t record)
{
	static struct lp_guest_thread t; /* larger than a stack should bear */
	struct lp_stack s;

	memset(&t, 0, sizeof t);
	t.tid = 7;
	t.state = LP_THREAD_PARKED;
	t.cpu.pc = 0x1000;
	t.cpu.x[29] = record;
	t.cpu.x[30] = UINT64_C(0x00a4000000002000); /* signed */
	lp_stack_take(&s, &t);
	return s;
}

static void records_are_followed_upwards_and_signatures_taken_off(void **state)
{
	uint64_t records[3][2] = {
		{(uint64_t)records[1], UINT64_C(0x00ff000000003000)}, {(uint64_t)records[2], 0x4000}, {0, 0}};
	struct lp_stack s = taken((uint64_t)records[0]);

	assert_int_equal(s.tid, 7);
	assert_false(s.is_waiting);
	assert_int_equal(s.pc, 0x1000);
	assert_int_equal(s.link, 0x2000);
	assert_int_equal(s.nr, 2);
	assert_int_equal(s.callers[0], 0x3000);
	assert_int_equal(s.callers[1], 0x4000);
}

static void records_in_a_circle_end(void **state)
{
	uint64_t records[2][2] = {{(uint64_t)records[1], 0x3000}, {(uint64_t)records[0], 0x4000}};
	struct lp_stack s = taken((uint64_t)records[0]);

	assert_int_equal(s.nr, 2);
}

static void a_stack_that_is_too_deep_is_cut(void **state)
{
	static uint64_t records[2 * LP_STACK_FRAMES][2];
	struct lp_stack s;

	for (size_t i = 0; i + 1 < 2 * LP_STACK_FRAMES; i++) {
		records[i][0] = (uint64_t)records[i + 1];
		records[i][1] = 0x3000;
	}
	s = taken((uint64_t)records[0]);
	assert_int_equal(s.nr, LP_STACK_FRAMES);
}

static void a_frame_pointer_that_is_none_has_no_callers(void **state)
{
	uint64_t record[2] = {0, 0x3000};

	assert_int_equal(taken(0).nr, 0);
	assert_int_equal(taken((uint64_t)record + 4).nr, 0); /* not aligned */
}

static void a_thread_on_its_way_to_a_branch_is_where_the_branch_stands(void **state)
{
	static struct lp_guest_thread t;
	struct lp_stack s;

	t.state = LP_THREAD_PARKED;
	t.cpu.pc = 0x1000;
	t.cpu.branch = 0x5000;
	lp_stack_take(&s, &t);
	assert_int_equal(s.pc, 0x5000);
	t.state = LP_THREAD_IN_HOST;
	lp_stack_take(&s, &t);
	assert_int_equal(s.pc, 0x1000);
	assert_true(s.is_waiting);
}

static void names_cannot_make_elements_or_lines(void **state)
{
	struct lp_buf out = {0};

	lp_stack_add_name(&out, "a;b\nc\x7f");
	assert_string_equal(lp_buf_cstr(&out), "a:b?c?");
	lp_buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_followed_upwards_and_signatures_taken_off),
		cmocka_unit_test(records_in_a_circle_end),
		cmocka_unit_test(a_stack_that_is_too_deep_is_cut),
		cmocka_unit_test(a_frame_pointer_that_is_none_has_no_callers),
		cmocka_unit_test(a_thread_on_its_way_to_a_branch_is_where_the_branch_stands),
		cmocka_unit_test(names_cannot_make_elements_or_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
