#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proc/state.h"
#include "victims.h"

static void inject_into(unsigned rounds, unsigned threads, const char *const argv[])
{
	struct victim *v = victim_start(threads, argv);
	struct lp_proc *p = open_locked(v->pid);
	for (unsigned i = 0; i < rounds; i++)
		map_and_unmap(p);
	lp_proc_close(p);
	victim_is_well(v, threads);
	victim_end(v);
}

#define ROUNDS 1000

static void a_busy_thread_makes_calls_and_keeps_its_registers(void **state)
{
	inject_into(ROUNDS, 1, (const char *[]){"spin", "1", NULL});
}

static void one_of_many_busy_threads_makes_calls(void **state)
{
	inject_into(ROUNDS, 8, (const char *[]){"spin", "8", NULL});
}

static void a_thread_under_a_storm_of_signals_makes_calls(void **state)
{
	inject_into(ROUNDS, 1, (const char *[]){"sigstorm", NULL});
}

static void a_process_that_churns_threads_makes_calls(void **state)
{
	inject_into(ROUNDS, 2, (const char *[]){"churn", NULL});
}

static void a_blocked_thread_makes_calls_and_sees_no_eintr(void **state)
{
	static const char *const kinds[] = {"nanosleep",    "poll", "futex", "epoll",  "semop",
					    "sigtimedwait", "recv", "read",  "inotify"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(kinds); i++)
		inject_into(ROUNDS / 4, 2, (const char *[]){"blockers", kinds[i], "2", NULL});
}

/* Threads with a shadow stack need the variant that jumps through a slot; it must work without one too. */
static void the_variant_for_shadow_stacks_works_as_well(void **state)
{
	struct victim *v = victim_start(2, (const char *[]){"spin", "2", NULL});
	struct lp_proc *p = open_locked(v->pid);
	p->force_stub = p->arch->stubs[1];
	assert_true(p->force_stub->tail_len > 0);
	for (unsigned i = 0; i < ROUNDS / 4; i++)
		map_and_unmap(p);
	lp_proc_close(p);
	victim_is_well(v, 2);
	victim_end(v);
}

static bool is_stopped(void *arg)
{
	return task_state(*(pid_t *)arg) == 'T';
}

static void a_process_stopped_by_job_control_makes_calls_and_stays_stopped(void **state)
{
	static const char *const kinds[][4] = {
		{"spin", "3"}, {"blockers", "nanosleep", "3"}, {"blockers", "poll", "3"}};
	for (size_t i = 0; i < LP_ARRAY_SIZE(kinds); i++) {
		struct victim *v = victim_start(3, kinds[i]);
		struct lp_proc *p = open_locked(v->pid);
		kill(v->pid, SIGSTOP);
		for (unsigned round = 0; round < 100; round++) {
			wait_until(is_stopped, &v->pid, "the victim to be stopped by job control");
			map_and_unmap(p);
		}
		wait_until(is_stopped, &v->pid, "the victim to be stopped again");
		uint64_t beats = v->page->slots[1].beats;
		lp_proc_close(p);
		assert_int_equal(v->page->slots[1].beats, beats);
		kill(v->pid, SIGCONT);
		victim_is_well(v, 3);
		victim_end(v);
	}
}

static bool all_arrived(void *arg)
{
	struct victim *v = arg;
	return v->page->slots[1].extra >= 2000;
}

static void no_signal_is_lost_or_doubled(void **state)
{
	struct victim *v = victim_start(1, (const char *[]){"sigstorm", NULL});
	struct lp_proc *p = open_locked(v->pid);
	for (unsigned i = 0; i < 200; i++) {
		for (unsigned k = 0; k < 10; k++)
			assert_int_equal(sigqueue(v->pid, SIGRTMIN, (union sigval){0}), 0);
		map_and_unmap(p);
	}
	wait_until(all_arrived, v, "2000 queued signals to be handled");
	assert_int_equal(v->page->slots[1].extra, 2000);
	lp_proc_close(p);
	victim_is_well(v, 1);
	victim_end(v);
}

static void a_batch_hands_the_first_result_on_and_knows_its_text(void **state)
{
	struct victim *v = victim_start(1, (const char *[]){"spin", NULL});
	struct lp_proc *p = open_locked(v->pid);
	const struct lp_sysno *nr = lp_proc_sysno(p);
	struct lp_call calls[] = {
		{nr->memfd_create, {LP_CALL_TEXT, 0}, 0},
		{nr->ftruncate, {LP_CALL_FIRST_RESULT, 8192}, 0},
		{nr->mmap, {0, 8192, PROT_READ, MAP_PRIVATE, LP_CALL_FIRST_RESULT, 4096}, 0},
		{nr->close, {LP_CALL_FIRST_RESULT}, 0},
		{nr->close, {LP_CALL_FIRST_RESULT}, 0},
	};
	assert_ok(patiently(lp_inject_text(p, calls, 5, "a name", &last_error)));
	assert_true(calls[0].result >= 0);
	assert_int_equal(calls[1].result, 0);
	assert_int_equal(calls[3].result, 0);
	assert_int_equal(calls[4].result, -EBADF);
	struct lp_maps maps;
	assert_ok(lp_maps_read(p, &maps, &last_error));
	const struct lp_map *m = lp_maps_find(&maps, (lp_addr)calls[2].result);
	assert_non_null(m);
	assert_string_equal(m->path, "/memfd:a name");
	assert_int_equal(m->offset, 4096);
	assert_int_equal(m->prot, LP_MAP_READ);
	lp_maps_free(&maps);
	assert_refused(lp_inject(p, calls, 0, &last_error), LP_EINTERNAL);
	assert_refused(lp_inject(p, calls, LP_CALLS_MAX + 1, &last_error), LP_EINTERNAL);
	lp_proc_close(p);
	victim_is_well(v, 1);
	victim_end(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_busy_thread_makes_calls_and_keeps_its_registers),
		cmocka_unit_test(one_of_many_busy_threads_makes_calls),
		cmocka_unit_test(a_thread_under_a_storm_of_signals_makes_calls),
		cmocka_unit_test(a_process_that_churns_threads_makes_calls),
		cmocka_unit_test(a_blocked_thread_makes_calls_and_sees_no_eintr),
		cmocka_unit_test(the_variant_for_shadow_stacks_works_as_well),
		cmocka_unit_test(a_process_stopped_by_job_control_makes_calls_and_stays_stopped),
		cmocka_unit_test(no_signal_is_lost_or_doubled),
		cmocka_unit_test(a_batch_hands_the_first_result_on_and_knows_its_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
