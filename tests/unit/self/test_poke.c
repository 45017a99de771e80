#include "own.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "self/private.h"
#include "self/threads.h"

static int thousand_more(int x)
{
	return 2 * x + 1000;
}

static struct lp_self_edit edit_of(struct lp_self_hook *h, int (*fn)(int))
{
	struct lp_self_edit edits[2];
	struct lp_err err = {0};

	*h = (struct lp_self_hook){.fn = FN(fn), .replacement = FN(thousand_more)};
	assert_int_equal(lp_self_prepare(h, &err), 0);
	assert_int_equal(lp_self_hook_edits(h, edits), 1);
	return edits[0];
}

static struct lp_self_edit turned(struct lp_self_edit e)
{
	const uint8_t *old = e.old_bytes;

	e.old_bytes = e.new_bytes;
	e.new_bytes = old;
	return e;
}

static void several_places_change_together_and_back(void **state)
{
	struct lp_self_hook push, line;
	struct lp_self_edit e[] = {edit_of(&push, victim_push), edit_of(&line, victim_line)};
	struct lp_self_edit back[] = {turned(e[0]), turned(e[1])};

	assert_int_equal(lp_self_poke(e, 2, NULL), 0);
	assert_int_equal(victim_push(5), 1010);
	assert_int_equal(victim_line(6), 1012);
	assert_int_equal(lp_self_poke(back, 2, NULL), 0);
	assert_int_equal(victim_push(5), 10);
	assert_int_equal(victim_line(6), 12);
	lp_self_release(&push);
	lp_self_release(&line);
}

static void nothing_changes_when_one_place_is_not_as_expected(void **state)
{
	struct lp_self_hook push, line;
	struct lp_self_edit e[] = {edit_of(&push, victim_push), edit_of(&line, victim_line)};
	struct lp_err err = {0};

	e[1].old_bytes = e[1].new_bytes;
	assert_int_equal(lp_self_poke(e, 2, &err), -LP_ECHANGED);
	assert_int_equal(err.addr, e[1].at);
	assert_int_equal(victim_push(5), 10);
	lp_self_release(&push);
	lp_self_release(&line);
}

static void changes_that_overlap_are_refused(void **state)
{
	struct lp_self_hook push;
	struct lp_self_edit e = edit_of(&push, victim_push), both[] = {e, e};

	assert_int_equal(lp_self_poke(both, 2, NULL), -LP_EOVERLAP);
	assert_int_equal(victim_push(5), 10);
	lp_self_release(&push);
}

static void what_is_not_code_is_refused(void **state)
{
	static uint8_t data[16];
	void *nothing = mmap(NULL, LP_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t zeros[8] = {0};
	struct lp_self_edit e = {.at = lp_align_up(addr_of(data), 8), .len = 8, .old_bytes = zeros, .new_bytes = zeros};

	assert_int_equal(lp_self_poke(&e, 1, NULL), -LP_ENOTCODE);
	munmap(nothing, LP_PAGE);
	e.at = addr_of(nothing);
	assert_int_equal(lp_self_poke(&e, 1, NULL), -LP_EUNMAPPED);
}

static void a_thread_in_the_middle_goes_on_in_the_copy(void **state)
{
	struct looper l = {.fn = FN(victim_loop)};
	struct vanishing v;

	vanish(&v, FN(victim_loop), victim_loop_end);
	looper_start(&l);
	assert_int_equal(lp_self_poke(&v.edit, 1, NULL), 0);
	looper_end(&l); /* it would have died in the new bytes */
	reappear(&v);
}

static void who_is_inside_of_code_is_seen(void **state)
{
	struct looper l = {.fn = FN(victim_loop)};
	struct lp_range ranges[] = {{FN(victim_loop), addr_of(victim_loop_end)},
				    {FN(victim_fault), addr_of(victim_fault_end)}};
	bool inside[2];

	assert_int_equal(lp_self_look(ranges, inside, 2, NULL), 0);
	assert_false(inside[0] || inside[1]);
	looper_start(&l);
	assert_int_equal(lp_self_look(ranges, inside, 2, NULL), 0);
	assert_true(inside[0]);
	assert_false(inside[1]);
	looper_end(&l);
	assert_int_equal(lp_self_look(ranges, inside, 2, NULL), 0);
	assert_false(inside[0] || inside[1]);
}

static void a_thread_in_the_middle_with_nowhere_to_go_is_a_refusal_that_names_it(void **state)
{
	struct looper l = {.fn = FN(victim_loop)};
	struct lp_err err = {0};
	struct vanishing v;

	vanish(&v, FN(victim_loop), victim_loop_end);
	v.edit.nr_moves = 0;
	looper_start(&l);
	lp_self_patience_ms = 50;
	assert_int_equal(lp_self_poke(&v.edit, 1, &err), -LP_EBUSY);
	lp_self_patience_ms = OWN_PATIENCE_MS;
	assert_int_equal(err.tid, l.tid);
	assert_in_range(err.addr, FN(victim_loop) + 1, addr_of(victim_loop_end) - 1);
	looper_end(&l);
	assert_memory_equal((void *)(uintptr_t)FN(victim_loop), v.old, v.edit.len);
	assert_int_equal(lp_self_poke(&v.edit, 1, NULL), 0); /* now it may */
	reappear(&v);
}

static void a_thread_that_does_not_answer_is_a_refusal_that_names_it(void **state)
{
	struct looper l = {.fn = FN(victim_loop), .stone_deaf = true};
	struct lp_self_hook push;
	struct lp_self_edit e = edit_of(&push, victim_push);
	struct lp_err err = {0};

	looper_start(&l);
	lp_self_patience_ms = 50;
	assert_int_equal(lp_self_poke(&e, 1, &err), -LP_EBUSY);
	lp_self_patience_ms = OWN_PATIENCE_MS;
	assert_int_equal(err.tid, l.tid);
	assert_int_equal(victim_push(5), 10);
	looper_end(&l);
	assert_int_equal(lp_self_poke(&e, 1, NULL), 0);
	e = turned(e);
	assert_int_equal(lp_self_poke(&e, 1, NULL), 0);
	lp_self_release(&push);
}

static void a_thread_that_blocks_every_signal_goes_on_where_its_instruction_stands_now(void **state)
{
	struct looper l = {.fn = FN(victim_loop), .deaf = true};
	struct lp_err err = {0};
	struct vanishing v;

	vanish(&v, FN(victim_loop), victim_loop_end);
	looper_start(&l);
	assert_int_equal(lp_self_poke(&v.edit, 1, &err), 0);
	looper_end(&l);
	reappear(&v);
}

/* Waits for any signal at all, as the one thread of many a program that takes them. */
static void *wait_for_a_signal(void *tid)
{
	sigset_t all;
	int sig;

	go_deaf();
	sigfillset(&all);
	atomic_store((_Atomic int *)tid, gettid());
	return (void *)(intptr_t)(sigwait(&all, &sig) ? -1 : sig);
}

static bool sleeps(int tid)
{
	char path[64], stat[512] = "";
	FILE *f;

	snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
	f = fopen(path, "r");
	if (f && !fgets(stat, sizeof stat, f))
		stat[0] = 0;
	if (f)
		fclose(f);
	return strstr(stat, ") S");
}

static void a_thread_that_waits_for_every_signal_gets_none_of_ours(void **state)
{
	struct lp_self_hook push;
	struct lp_self_edit e = edit_of(&push, victim_push);
	struct lp_err err = {0};
	_Atomic int tid = 0;
	pthread_t t;
	void *got;

	assert_int_equal(pthread_create(&t, NULL, wait_for_a_signal, &tid), 0);
	while (!atomic_load(&tid) || !sleeps(tid))
		sched_yield();
	for (int i = 0; i < 20; i++) {
		assert_int_equal(lp_self_poke(&e, 1, &err), 0);
		e = turned(e);
	}
	assert_int_equal(pthread_kill(t, SIGUSR1), 0);
	assert_int_equal(pthread_join(t, &got), 0);
	assert_int_equal((intptr_t)got, SIGUSR1);
	assert_int_equal(victim_push(5), 10);
	lp_self_release(&push);
}

/* ---- in a signal handler that returns into the middle ---- */

static long *cell;
static _Atomic bool in_handler, handler_may_go;
static bool handler_sleeps;
static int gate[2];

static void on_fault(int sig)
{
	char c;

	atomic_store(&in_handler, true);
	if (handler_sleeps && read(gate[0], &c, 1) != 1)
		abort();
	while (!atomic_load(&handler_may_go))
		;
	mprotect(cell, LP_PAGE, PROT_READ);
}

static void *call_fault(void *arg)
{
	stack_t stack = {.ss_size = 65536, .ss_sp = arg}, before;
	int result;

	if (arg)
		sigaltstack(&stack, &before);
	result = victim_fault(21, cell);
	if (arg)
		sigaltstack(&before, NULL); /* a sanitizer's, that it wants to find again */
	return (void *)(intptr_t)result;
}

static void change_under_a_handler(bool sleeps, void *stack)
{
	struct sigaction a = {.sa_handler = on_fault, .sa_flags = stack ? SA_ONSTACK : 0};
	struct sigaction before;
	struct vanishing v;
	pthread_t t;
	void *result;

	vanish(&v, FN(victim_fault), victim_fault_end);
	cell = mmap(NULL, LP_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	in_handler = handler_may_go = false;
	handler_sleeps = sleeps;
	assert_int_equal(pipe(gate), 0);
	sigaction(SIGSEGV, &a, &before);
	assert_int_equal(pthread_create(&t, NULL, call_fault, stack), 0);
	while (!in_handler)
		sched_yield();
	assert_int_equal(lp_self_poke(&v.edit, 1, NULL), 0);
	handler_may_go = true;
	assert_int_equal(write(gate[1], "", 1), 1);
	pthread_join(t, &result);
	assert_int_equal((intptr_t)result, 42);
	sigaction(SIGSEGV, &before, NULL);
	reappear(&v);
	munmap(cell, LP_PAGE);
	close(gate[0]);
	close(gate[1]);
}

static void a_running_handler_returns_to_the_copy(void **state)
{
	change_under_a_handler(false, NULL);
}

static void a_sleeping_handler_returns_to_the_copy(void **state)
{
	change_under_a_handler(true, NULL);
}

static void a_handler_on_a_stack_of_its_own_returns_to_the_copy(void **state)
{
	void *stack = lp_alloc(65536);

	change_under_a_handler(false, stack);
	change_under_a_handler(true, stack);
	lp_free(stack);
}

/* ---- sleepers ---- */

static int quiet[2];

static void *sleep_in_poll(void *arg)
{
	struct pollfd p = {.fd = quiet[0], .events = POLLIN};

	atomic_store((_Atomic int *)arg, gettid());
	return (void *)(intptr_t)poll(&p, 1, -1);
}

static void calls_of_sleeping_threads_are_not_cut_short(void **state)
{
	struct lp_self_hook push;
	struct lp_self_edit e = edit_of(&push, victim_push);
	pthread_t t[4];
	_Atomic int tids[4] = {0};
	void *result;

	if (!lp_threads_tell_rest())
		skip(); /* an emulator: everybody is signalled */
	assert_int_equal(pipe(quiet), 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, sleep_in_poll, &tids[i]), 0);
	for (size_t i = 0; i < 4; i++) {
		while (!atomic_load(&tids[i]) || !sleeps(tids[i]))
			sched_yield();
	}
	for (int i = 0; i < 100; i++) {
		assert_int_equal(lp_self_poke(&e, 1, NULL), 0);
		e = turned(e);
	}
	close(quiet[1]);
	for (size_t i = 0; i < 4; i++) {
		pthread_join(t[i], &result);
		assert_int_equal((intptr_t)result, 1);
	}
	close(quiet[0]);
	lp_self_release(&push);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(several_places_change_together_and_back),
		cmocka_unit_test(nothing_changes_when_one_place_is_not_as_expected),
		cmocka_unit_test(changes_that_overlap_are_refused),
		cmocka_unit_test(what_is_not_code_is_refused),
		cmocka_unit_test(a_thread_in_the_middle_goes_on_in_the_copy),
		cmocka_unit_test(who_is_inside_of_code_is_seen),
		cmocka_unit_test(a_thread_in_the_middle_with_nowhere_to_go_is_a_refusal_that_names_it),
		cmocka_unit_test(a_thread_that_does_not_answer_is_a_refusal_that_names_it),
		cmocka_unit_test(a_thread_that_blocks_every_signal_goes_on_where_its_instruction_stands_now),
		cmocka_unit_test(a_thread_that_waits_for_every_signal_gets_none_of_ours),
		cmocka_unit_test(a_running_handler_returns_to_the_copy),
		cmocka_unit_test(a_sleeping_handler_returns_to_the_copy),
		cmocka_unit_test(a_handler_on_a_stack_of_its_own_returns_to_the_copy),
		cmocka_unit_test(calls_of_sleeping_threads_are_not_cut_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
