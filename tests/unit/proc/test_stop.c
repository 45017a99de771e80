#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proc/state.h"
#include "victims.h"

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static uint64_t sum_of_beats(const struct victim *v)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < VICTIM_SLOTS; i++)
		sum += v->page->slots[i].beats;
	return sum;
}

static void stop_and_go(unsigned rounds, unsigned threads, const char *const argv[])
{
	struct victim *v = victim_start(threads, argv);
	struct lp_proc *p = open_locked(v->pid);
	uint64_t *ns = calloc(rounds, sizeof *ns);
	size_t most = 0;
	for (unsigned i = 0; i < rounds; i++) {
		size_t nr;
		assert_ok(lp_stop_all(p, PATIENCE_MS, &last_error));
		const struct lp_stopped *t = lp_stopped_threads(p, &nr);
		assert_true(nr >= 1);
		uint64_t beats = sum_of_beats(v);
		most = nr > most ? nr : most;
		for (size_t k = 0; k < nr; k++)
			assert_true(t[k].pc != 0 && t[k].sp != 0 && t[k].stack_bytes &&
				    lp_range_has(t[k].stack, t[k].sp));
		assert_int_equal(sum_of_beats(v), beats); /* nobody runs */
		lp_resume_all(p, &ns[i]);
	}
	qsort(ns, rounds, sizeof *ns, by_value);
	print_message("%s %s: %zu threads, pause median %.1f us, worst %.1f us\n", argv[0], argv[1] ? argv[1] : "",
		      most, (double)ns[rounds / 2] / 1e3, (double)ns[rounds - 1] / 1e3);
	free(ns);
	lp_proc_close(p);
	victim_is_well(v, threads);
	victim_end(v);
}

#define ROUNDS 400

static void busy_threads_stop_and_go_on_unharmed(void **state)
{
	stop_and_go(ROUNDS, 1, (const char *[]){"spin", "1", NULL});
	stop_and_go(ROUNDS, 8, (const char *[]){"spin", "8", NULL});
	stop_and_go(ROUNDS / 20, 100, (const char *[]){"spin", "100", NULL});
}

static void threads_under_a_storm_of_signals_stop_and_go(void **state)
{
	stop_and_go(ROUNDS, 1, (const char *[]){"sigstorm", NULL});
}

static void threads_that_come_and_go_are_all_stopped(void **state)
{
	stop_and_go(ROUNDS, 2, (const char *[]){"churn", NULL});
}

static void blocked_threads_stop_and_see_no_eintr(void **state)
{
	static const char *const kinds[] = {"nanosleep",    "poll", "futex", "epoll",  "semop",
					    "sigtimedwait", "recv", "read",  "inotify"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(kinds); i++)
		stop_and_go(ROUNDS / 4, 2, (const char *[]){"blockers", kinds[i], "2", NULL});
}

struct expected_signals {
	const struct victim *v;
	uint64_t nr;
};

static bool are_taken(void *arg)
{
	const struct expected_signals *e = arg;
	return e->v->page->slots[0].extra >= e->nr;
}

/*
 * The leader gets its start by the clock, and a busy machine may keep it from the CPU for longer (docs/safety.md): here it
 * comes before the other threads of the victim, on the only CPU that any of them may use.
 */
static void leader_always_gets_the_cpu(struct lp_proc *p)
{
	lp_tid_vec tids = {0};
	cpu_set_t all, one;
	int cpu = 0;
	assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(lp_tasks_list(p, &tids, &last_error), 4);
	for (size_t i = 0; i < tids.nr; i++)
		assert_int_equal(sched_setaffinity(tids.items[i], sizeof one, &one), 0);
	lp_vec_free(&tids);
	if (sched_setscheduler(lp_proc_pid(p), SCHED_RR, &(struct sched_param){.sched_priority = 1}) < 0)
		skip(); /* needs CAP_SYS_NICE */
}

static void let_victim_take_signals(struct lp_proc *p, struct expected_signals *taken, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		assert_ok(lp_stop_all(p, PATIENCE_MS, &last_error));
		kill(taken->v->pid, SIGUSR1);
		taken->nr++;
		lp_resume_all(p, NULL);
		wait_until(are_taken, taken, "the signal to be taken");
	}
}

/* Who goes on first takes it; whoever slept then would see EINTR. */
static void a_signal_that_comes_in_the_pause_is_the_leaders(void **state)
{
	struct victim *v = victim_start(4, (const char *[]){"blockers", "bystander", "4", NULL});
	struct lp_proc *p = open_locked(v->pid);
	leader_always_gets_the_cpu(p);
	struct expected_signals taken = {v, 0};
	let_victim_take_signals(p, &taken, 100);
	lp_proc_close(p);
	victim_is_well(v, 4);
	victim_end(v);
}

/* signalfd(2), sigwait(3): such a signal waits for as long as the program likes, and nobody must wait for it. */
static void a_blocked_signal_is_nobodys(void **state)
{
	struct victim *v = victim_start(4, (const char *[]){"blockers", "bystander", "4", NULL});
	struct lp_proc *p = open_locked(v->pid);
	leader_always_gets_the_cpu(p);
	struct expected_signals taken = {v, 0};
	const uint64_t usr2 = lp_signal_bit(SIGUSR2);
	uint64_t blocked;
	size_t nr;

	kill(v->pid, SIGUSR2);
	assert_ok(lp_stop_all(p, PATIENCE_MS, &last_error));
	pid_t other = lp_stopped_threads(p, &nr)[1].tid;
	assert_int_equal(lp_trace_sigmask(v->pid, &blocked), 0);
	assert_true(blocked & usr2);
	assert_int_equal(lp_trace_queued(other, PTRACE_PEEKSIGINFO_SHARED, 0), 1);
	assert_int_equal(lp_trace_queued(other, PTRACE_PEEKSIGINFO_SHARED, blocked), 0);
	assert_int_equal(lp_trace_queued(other, 0, 0), 0);
	kill(v->pid, SIGUSR1); /* behind the blocked one */
	assert_int_equal(lp_trace_queued(other, PTRACE_PEEKSIGINFO_SHARED, blocked), 1);
	lp_resume_all(p, NULL);
	taken.nr++;
	let_victim_take_signals(p, &taken, 20);
	lp_proc_close(p);
	victim_is_well(v, 4);
	victim_end(v);
}

static bool is_stopped(void *arg)
{
	return task_state(*(pid_t *)arg) == 'T';
}

static void a_job_control_stop_survives_the_pause(void **state)
{
	struct victim *v = victim_start(3, (const char *[]){"blockers", "nanosleep", "3", NULL});
	struct lp_proc *p = open_locked(v->pid);
	kill(v->pid, SIGSTOP);
	for (unsigned i = 0; i < 200; i++) {
		size_t nr;
		wait_until(is_stopped, &v->pid, "the victim to be stopped by job control");
		assert_ok(lp_stop_all(p, PATIENCE_MS, &last_error));
		const struct lp_stopped *t = lp_stopped_threads(p, &nr);
		assert_int_equal(nr, 3);
		for (size_t k = 0; k < nr; k++)
			assert_int_equal(t[k].state, 'T');
		lp_resume_all(p, NULL);
	}
	wait_until(is_stopped, &v->pid, "the victim to be stopped again");
	lp_proc_close(p);
	kill(v->pid, SIGCONT);
	victim_is_well(v, 3);
	victim_end(v);
}

/* A vfork() parent waits uninterruptibly for as long as its child likes. */
static void a_thread_that_cannot_stop_ends_the_pause_in_time(void **state)
{
	struct victim *v = victim_start(2, (const char *[]){"vforker", NULL});
	struct lp_proc *p = open_locked(v->pid);
	assert_refused(lp_stop_all(p, 200, &last_error), LP_ETIMEOUT);
	assert_int_not_equal(last_error.tid, 0);
	v->page->slots[2].extra = 1; /* the child may go */
	victim_is_well(v, 2);
	assert_ok(lp_stop_all(p, PATIENCE_MS, &last_error));
	lp_resume_all(p, NULL);
	lp_proc_close(p);
	victim_is_well(v, 2);
	victim_end(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(busy_threads_stop_and_go_on_unharmed),
		cmocka_unit_test(threads_under_a_storm_of_signals_stop_and_go),
		cmocka_unit_test(threads_that_come_and_go_are_all_stopped),
		cmocka_unit_test(blocked_threads_stop_and_see_no_eintr),
		cmocka_unit_test(a_signal_that_comes_in_the_pause_is_the_leaders),
		cmocka_unit_test(a_blocked_signal_is_nobodys),
		cmocka_unit_test(a_job_control_stop_survives_the_pause),
		cmocka_unit_test(a_thread_that_cannot_stop_ends_the_pause_in_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
