/*
 * Where threads stand, and what that means for a change.
 */
#include "core/quiesce.h"
#include "fake.h"

#define FUNC UINT64_C(0x401000)
#define FUNC_END UINT64_C(0x401080)
#define STACK UINT64_C(0x7fff0000)

static uint64_t stack[64];
static struct lp_thread thread;
static bool acted;

static int act(void *arg, struct lp_err *err)
{
	acted = true;
	return 0;
}

/* One thread, its pc and stack pointer in the middle of a stack of 64 words. */
static struct fake *target_with_thread_at(lp_addr pc)
{
	struct fake *f = fake_new();
	memset(stack, 0, sizeof stack);
	thread = (struct lp_thread){.tid = 42,
				    .pc = pc,
				    .resume_pc = pc,
				    .sp = STACK + 16 * 8,
				    .stack = {STACK, STACK + sizeof stack},
				    .stack_bytes = (const uint8_t *)stack,
				    .stack_is_whole = true,
				    .stack_len = sizeof stack};
	f->threads = &thread;
	f->nr_threads = 1;
	f->nr_frames = 1;
	f->frames[0] = pc;
	acted = false;
	return f;
}

static int run(struct fake *f, enum lp_watch_kind kind, unsigned timeout_ms, struct lp_quiesce_stats *stats,
	       struct lp_err *err)
{
	struct lp_quiesce q = {.t = &f->target, .timeout_ms = timeout_ms};
	lp_quiesce_watch(&q, (struct lp_range){FUNC, FUNC_END}, kind, "func_J");
	int rc = lp_quiesce_run(&q, act, NULL, stats, err);
	lp_quiesce_free(&q);
	fake_free(f);
	return rc;
}

static struct lp_quiesce_stats stats;
static struct lp_err err;

static void a_thread_elsewhere_is_not_in_the_way(void **state)
{
	assert_int_equal(run(target_with_thread_at(0x500000), LP_WATCH_BODY, 0, &stats, &err), 0);
	assert_true(acted);
	assert_int_equal(stats.nr_tries, 1);
}

static void a_thread_inside_the_function_is_named(void **state)
{
	assert_int_equal(run(target_with_thread_at(FUNC + 9), LP_WATCH_BODY, 0, &stats, &err), -LP_EBUSY);
	assert_false(acted);
	assert_int_equal(err.tid, 42);
	assert_string_equal(err.function, "func_J");
	assert_non_null(strstr(err.text, "thread 42"));
	assert_non_null(strstr(err.text, "#0 0x401009"));
}

static void a_thread_at_the_first_byte_has_not_begun(void **state)
{
	assert_int_equal(run(target_with_thread_at(FUNC), LP_WATCH_BODY, 0, &stats, &err), 0);
	assert_true(acted);
}

static void a_thread_that_will_restart_a_call_inside_is_inside(void **state)
{
	struct fake *f = target_with_thread_at(0x500000);
	thread.resume_pc = FUNC + 2;
	assert_int_equal(run(f, LP_WATCH_BODY, 0, &stats, &err), -LP_EBUSY);
}

static void a_return_address_that_unwinding_confirms_is_in_the_way(void **state)
{
	struct fake *f = target_with_thread_at(0x500000);
	stack[20] = FUNC + 0x20;
	f->frames[1] = FUNC + 0x20;
	f->nr_frames = 2;
	assert_int_equal(run(f, LP_WATCH_BODY, 0, &stats, &err), -LP_EBUSY);
	assert_false(acted);
	assert_non_null(strstr(err.text, "will return into func_J"));
}

static void a_stale_word_is_settled_by_unwinding_and_costs_one_more_look(void **state)
{
	struct fake *f = target_with_thread_at(0x500000);
	stack[20] = FUNC + 0x20;
	assert_int_equal(run(f, LP_WATCH_BODY, 0, &stats, &err), 0);
	assert_true(acted);
	assert_int_equal(stats.nr_tries, 2);
}

/* What a deep recursion leaves behind, or is.  A checksum from the beginning for each word would take minutes. */
static void a_stack_full_of_stale_words_is_summed_and_unwound_once(void **state)
{
	static uint64_t deep[1 << 17];
	struct fake *f = target_with_thread_at(0x500000);
	struct lp_quiesce q = {.t = &f->target};
	for (size_t i = 0; i < LP_ARRAY_SIZE(deep); i++)
		deep[i] = FUNC + 0x20;
	thread.stack = (struct lp_range){STACK, STACK + sizeof deep};
	thread.stack_bytes = (const uint8_t *)deep;
	thread.stack_len = sizeof deep;
	lp_quiesce_watch(&q, (struct lp_range){FUNC, FUNC_END}, LP_WATCH_BODY, "func_J");
	assert_int_equal(lp_quiesce_run(&q, act, NULL, &stats, &err), 0);
	assert_int_equal(stats.nr_tries, 2);
	assert_int_equal(f->unwinds, 1);
	lp_quiesce_free(&q);
	fake_free(f);
}

static void new_stale_words_each_time(struct fake *f)
{
	stack[20] = FUNC + 1 + f->pauses % 0x40;
	stack[40] = f->pauses;
}

static void stale_words_that_change_all_the_time_are_settled_inside_the_pause(void **state)
{
	struct fake *f = target_with_thread_at(0x500000);
	f->move = new_stale_words_each_time;
	assert_int_equal(run(f, LP_WATCH_BODY, 1000, &stats, &err), 0);
	assert_true(acted);
	assert_in_range(stats.nr_tries, 3, 10);
}

static void words_below_the_stack_pointer_do_not_count(void **state)
{
	struct fake *f = target_with_thread_at(0x500000);
	stack[3] = FUNC + 0x20;
	assert_int_equal(run(f, LP_WATCH_BODY, 0, &stats, &err), 0);
	assert_int_equal(stats.nr_tries, 1);
}

static void a_stack_that_cannot_be_unwound_counts_as_guilty(void **state)
{
	struct fake *f = target_with_thread_at(0x500000);
	stack[20] = FUNC + 0x20;
	f->nr_frames = -1;
	assert_int_equal(run(f, LP_WATCH_BODY, 0, &stats, &err), -LP_EBUSY);
	assert_non_null(strstr(err.text, "cannot be unwound"));
}

static void a_stack_that_cannot_be_read_counts_as_guilty_unless_it_unwinds(void **state)
{
	struct fake *f = target_with_thread_at(0x500000);
	thread.stack_bytes = NULL;
	f->nr_frames = -1;
	assert_int_equal(run(f, LP_WATCH_BODY, 0, &stats, &err), -LP_EBUSY);
	f = target_with_thread_at(0x500000);
	thread.stack_bytes = NULL;
	assert_int_equal(run(f, LP_WATCH_BODY, 0, &stats, &err), 0);
}

static void a_stack_with_another_behind_it_is_unwound_inside_the_pause(void **state)
{
	struct fake *f = target_with_thread_at(0x500000);
	thread.stack_is_whole = false;
	assert_int_equal(run(f, LP_WATCH_BODY, 0, &stats, &err), 0);
	assert_int_equal(stats.nr_tries, 2); /* the first look warms up the unwinder */
	f = target_with_thread_at(0x500000);
	thread.stack_is_whole = false;
	f->frames[1] = FUNC + 0x20;
	f->nr_frames = 2;
	assert_int_equal(run(f, LP_WATCH_BODY, 0, &stats, &err), -LP_EBUSY);
	assert_false(acted);
}

static void a_coroutine_that_unwinds_to_nowhere_is_judged_by_what_it_shows(void **state)
{
	struct fake *f = target_with_thread_at(0x500000);
	thread.stack_is_whole = false;
	f->nr_frames = -1;
	assert_int_equal(run(f, LP_WATCH_BODY, 0, &stats, &err), 0);
	f = target_with_thread_at(0x500000);
	thread.stack_is_whole = false;
	stack[20] = FUNC + 0x20;
	f->nr_frames = -1;
	assert_int_equal(run(f, LP_WATCH_BODY, 0, &stats, &err), -LP_EBUSY);
}

static void leaves_at_the_third_look(struct fake *f)
{
	thread.pc = thread.resume_pc = f->frames[0] = f->pauses < 3 ? FUNC + 4 : 0x500000;
}

static void a_busy_function_is_waited_for(void **state)
{
	struct fake *f = target_with_thread_at(FUNC + 4);
	f->move = leaves_at_the_third_look;
	assert_int_equal(run(f, LP_WATCH_BODY, 5000, &stats, &err), 0);
	assert_true(acted);
	assert_int_equal(stats.nr_tries, 3);
}

static void an_island_minds_only_who_stands_in_it(void **state)
{
	struct fake *f = target_with_thread_at(0x500000);
	stack[20] = FUNC + 0x20;
	assert_int_equal(run(f, LP_WATCH_PC, 0, &stats, &err), 0);
	assert_int_equal(run(target_with_thread_at(FUNC), LP_WATCH_PC, 0, &stats, &err), -LP_EBUSY);
}

static void vanishing_memory_may_not_even_be_pointed_to(void **state)
{
	struct fake *f = target_with_thread_at(0x500000);
	stack[20] = FUNC;
	assert_int_equal(run(f, LP_WATCH_ROOM, 0, &stats, &err), -LP_EBUSY);

	static uint64_t regs[2] = {1, FUNC + 3};
	f = target_with_thread_at(0x500000);
	thread.regs = regs;
	thread.nr_regs = 2;
	assert_int_equal(run(f, LP_WATCH_ROOM, 0, &stats, &err), -LP_EBUSY);
}

static void a_request_to_stop_ends_the_wait(void **state)
{
	static volatile sig_atomic_t stop = 1;
	struct fake *f = target_with_thread_at(FUNC + 4);
	struct lp_quiesce q = {.t = &f->target, .timeout_ms = 60000, .interrupted = &stop};
	lp_quiesce_watch(&q, (struct lp_range){FUNC, FUNC_END}, LP_WATCH_BODY, "func_J");
	assert_int_equal(lp_quiesce_run(&q, act, NULL, &stats, &err), -LP_EINTERRUPTED);
	lp_quiesce_free(&q);
	fake_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thread_elsewhere_is_not_in_the_way),
		cmocka_unit_test(a_thread_inside_the_function_is_named),
		cmocka_unit_test(a_thread_at_the_first_byte_has_not_begun),
		cmocka_unit_test(a_thread_that_will_restart_a_call_inside_is_inside),
		cmocka_unit_test(a_return_address_that_unwinding_confirms_is_in_the_way),
		cmocka_unit_test(a_stale_word_is_settled_by_unwinding_and_costs_one_more_look),
		cmocka_unit_test(a_stack_full_of_stale_words_is_summed_and_unwound_once),
		cmocka_unit_test(stale_words_that_change_all_the_time_are_settled_inside_the_pause),
		cmocka_unit_test(words_below_the_stack_pointer_do_not_count),
		cmocka_unit_test(a_stack_that_cannot_be_unwound_counts_as_guilty),
		cmocka_unit_test(a_stack_that_cannot_be_read_counts_as_guilty_unless_it_unwinds),
		cmocka_unit_test(a_stack_with_another_behind_it_is_unwound_inside_the_pause),
		cmocka_unit_test(a_coroutine_that_unwinds_to_nowhere_is_judged_by_what_it_shows),
		cmocka_unit_test(a_busy_function_is_waited_for),
		cmocka_unit_test(an_island_minds_only_who_stands_in_it),
		cmocka_unit_test(vanishing_memory_may_not_even_be_pointed_to),
		cmocka_unit_test(a_request_to_stop_ends_the_wait),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
