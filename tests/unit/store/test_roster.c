#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/roster.h"

#define DAY (24 * 3600 * 1000)

static int new_roster(void **state)
{
	*state = lp_roster_new();
	return 0;
}

static int free_roster(void **state)
{
	lp_roster_free(*state);
	return 0;
}

/* Until nobody is due any more before `end`; returns how often somebody was. */
static int look_until(struct lp_roster *r, int64_t from, int64_t end, uint64_t fingerprint)
{
	int looks = 0;
	for (int64_t now = from; now < end;) {
		struct lp_roster_entry *e = lp_roster_due(r, now);
		if (e) {
			lp_roster_settled(r, e, fingerprint, now);
			looks++;
			continue;
		}
		int wait = lp_roster_wait(r, now);
		if (wait < 0)
			break;
		assert_true(wait > 0);
		now += wait;
	}
	return looks;
}

static void a_program_that_begins_is_looked_at_a_few_times_and_then_no_more(void **state)
{
	lp_roster_begin(*state, 100, 0);
	assert_null(lp_roster_due(*state, 0)); /* it has loaded nothing yet */
	int looks = look_until(*state, 0, DAY, 0);
	assert_in_range(looks, 3, 6);
	assert_int_equal(lp_roster_wait(*state, DAY), -1);
}

static void one_who_is_handed_out_is_not_handed_out_again(void **state)
{
	lp_roster_begin(*state, 100, 0);
	struct lp_roster_entry *e = lp_roster_due(*state, 1000);
	assert_non_null(e);
	assert_null(lp_roster_due(*state, 1000));
	assert_int_equal(lp_roster_wait(*state, 1000), -1);
	lp_roster_settled(*state, e, 7, 1000);
	assert_int_equal(e->settled, 7);
}

static void a_refusal_is_tried_again_with_growing_pauses_up_to_a_bound(void **state)
{
	int64_t now = 10, last = 0, pause = 0;
	lp_roster_begin(*state, 100, 0);
	for (int i = 0; i < 20; i++) {
		struct lp_roster_entry *e = lp_roster_due(*state, now);
		assert_non_null(e);
		pause = lp_roster_refused(*state, e, now);
		assert_true(pause >= last);
		assert_null(lp_roster_due(*state, now + pause - 1));
		last = pause;
		now += pause;
	}
	assert_int_equal(pause, 300000);
}

static void a_changed_store_does_not_cut_a_pause_short(void **state)
{
	lp_roster_begin(*state, 100, 0);
	int64_t pause = lp_roster_refused(*state, lp_roster_due(*state, 10), 10);
	lp_roster_look_again(*state, 20);
	assert_null(lp_roster_due(*state, 20));
	assert_non_null(lp_roster_due(*state, 10 + pause));
}

static void a_changed_store_has_everybody_looked_at_again(void **state)
{
	lp_roster_begin(*state, 100, 0);
	lp_roster_begin(*state, 50, 0);
	look_until(*state, 0, DAY, 3);
	lp_roster_look_again(*state, DAY);
	struct lp_roster_entry *first = lp_roster_due(*state, DAY), *second = lp_roster_due(*state, DAY);
	assert_non_null(first);
	assert_non_null(second);
	assert_int_equal(first->pid, 50);
	assert_int_equal(first->settled, 3); /* what was tried is remembered */
	assert_null(lp_roster_due(*state, DAY));
}

static void another_process_with_the_same_number_is_a_new_one(void **state)
{
	lp_roster_meet(*state, 100, 1, 1, 0);
	look_until(*state, 0, DAY, 3);
	lp_roster_meet(*state, 100, 1, 1, DAY); /* the same */
	assert_null(lp_roster_due(*state, DAY + 100));
	lp_roster_meet(*state, 100, 2, 1, DAY);
	struct lp_roster_entry *e = lp_roster_due(*state, DAY + 100);
	assert_non_null(e);
	assert_int_equal(e->settled, 0);
}

static void another_program_in_the_same_process_is_a_new_one(void **state)
{
	lp_roster_meet(*state, 100, 1, 1, 0);
	look_until(*state, 0, DAY, 3);
	lp_roster_meet(*state, 100, 1, 9, DAY);
	assert_non_null(lp_roster_due(*state, DAY + 100));
}

static void meeting_one_that_the_kernel_announced_is_no_news(void **state)
{
	lp_roster_begin(*state, 100, 0);
	look_until(*state, 0, DAY, 3);
	lp_roster_meet(*state, 100, 5, 6, DAY);
	assert_null(lp_roster_due(*state, DAY + 100));
	assert_int_equal(lp_roster_find(*state, 100)->start_time, 5);
}

static void a_round_forgets_those_who_were_not_met(void **state)
{
	lp_roster_begin(*state, 100, 0);
	lp_roster_begin(*state, 200, 0);
	lp_roster_begin_round(*state);
	lp_roster_meet(*state, 200, 1, 1, 0);
	lp_roster_meet(*state, 300, 1, 1, 0);
	lp_roster_end_round(*state);
	assert_int_equal(lp_roster_count(*state), 2);
	assert_null(lp_roster_find(*state, 100));
	assert_non_null(lp_roster_find(*state, 200));
	lp_roster_gone(*state, 200);
	lp_roster_gone(*state, 200);
	assert_int_equal(lp_roster_count(*state), 1);
}

static void a_program_that_begins_while_its_process_is_handed_out_is_looked_at_afterwards(void **state)
{
	lp_roster_begin(*state, 100, 0);
	struct lp_roster_entry *e = lp_roster_due(*state, 10);
	int64_t began = e->began;
	lp_roster_begin(*state, 100, 500);
	e = lp_roster_find(*state, 100);
	assert_true(e->busy);
	assert_int_not_equal(e->began, began);
	assert_null(lp_roster_due(*state, 600));
	e->busy = false;
	assert_non_null(lp_roster_due(*state, 600));
}

static void thousands_are_kept_in_order(void **state)
{
	for (int i = 0; i < 5000; i++)
		lp_roster_meet(*state, 1 + i * 7919 % 5003, 1, 1, 0);
	assert_int_equal(lp_roster_count(*state), 5000);
	pid_t last = 0;
	struct lp_roster_entry *e;
	while ((e = lp_roster_due(*state, 100))) {
		assert_true(e->pid > last);
		last = e->pid;
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, new_roster, free_roster)
	const struct CMUnitTest tests[] = {
		TEST(a_program_that_begins_is_looked_at_a_few_times_and_then_no_more),
		TEST(one_who_is_handed_out_is_not_handed_out_again),
		TEST(a_refusal_is_tried_again_with_growing_pauses_up_to_a_bound),
		TEST(a_changed_store_does_not_cut_a_pause_short),
		TEST(a_changed_store_has_everybody_looked_at_again),
		TEST(another_process_with_the_same_number_is_a_new_one),
		TEST(another_program_in_the_same_process_is_a_new_one),
		TEST(meeting_one_that_the_kernel_announced_is_no_news),
		TEST(a_round_forgets_those_who_were_not_met),
		TEST(a_program_that_begins_while_its_process_is_handed_out_is_looked_at_afterwards),
		TEST(thousands_are_kept_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
