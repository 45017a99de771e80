/*
 * What happens to the target when we are killed at any instant.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "proc/state.h"
#include "victims.h"

#define KILLS 300
#define MOST_US 2000

static void inject_forever(pid_t victim)
{
	struct lp_proc *p;
	if (lp_proc_open(&p, victim, NULL) < 0 || lp_proc_lock(p, PATIENCE_MS, NULL) < 0)
		return;
	for (;;)
		map_and_unmap(p);
}

static void inject_through_a_slot_forever(pid_t victim)
{
	struct lp_proc *p;
	if (lp_proc_open(&p, victim, NULL) < 0 || lp_proc_lock(p, PATIENCE_MS, NULL) < 0)
		return;
	p->force_stub = p->arch->stubs[1];
	for (;;)
		map_and_unmap(p);
}

static void stop_forever(pid_t victim)
{
	struct lp_proc *p;
	if (lp_proc_open(&p, victim, NULL) < 0 || lp_proc_lock(p, PATIENCE_MS, NULL) < 0)
		return;
	while (lp_stop_all(p, PATIENCE_MS, NULL) == 0)
		lp_resume_all(p, NULL);
}

static void outlive(void (*work)(pid_t), unsigned threads, const char *const argv[])
{
	struct victim *v = victim_start(threads, argv);
	kill_workers(KILLS, MOST_US, work, v->pid);
	victim_is_well(v, threads);
	struct lp_proc *p = open_locked(v->pid);
	map_and_unmap(p);
	lp_proc_close(p);
	victim_is_well(v, threads);
	victim_end(v);
}

static void busy_threads_outlive_killed_injectors(void **state)
{
	outlive(inject_forever, 3, (const char *[]){"spin", "3", NULL});
	outlive(inject_through_a_slot_forever, 3, (const char *[]){"spin", "3", NULL});
}

static void signal_stormed_threads_outlive_killed_injectors(void **state)
{
	outlive(inject_forever, 1, (const char *[]){"sigstorm", NULL});
}

static void sleeping_threads_outlive_killed_injectors_without_eintr(void **state)
{
	outlive(inject_forever, 2, (const char *[]){"blockers", "nanosleep", "2", NULL});
	outlive(inject_forever, 2, (const char *[]){"blockers", "poll", "2", NULL});
	outlive(inject_forever, 2, (const char *[]){"blockers", "futex", "2", NULL});
	outlive(inject_forever, 2, (const char *[]){"blockers", "read", "2", NULL});
}

static void busy_and_churning_threads_outlive_killed_stoppers(void **state)
{
	outlive(stop_forever, 8, (const char *[]){"spin", "8", NULL});
	outlive(stop_forever, 2, (const char *[]){"churn", NULL});
	outlive(stop_forever, 1, (const char *[]){"sigstorm", NULL});
}

static void sleeping_threads_outlive_killed_stoppers_without_eintr(void **state)
{
	outlive(stop_forever, 8, (const char *[]){"blockers", "nanosleep", "8", NULL});
	outlive(stop_forever, 8, (const char *[]){"blockers", "futex", "8", NULL});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(busy_threads_outlive_killed_injectors),
		cmocka_unit_test(signal_stormed_threads_outlive_killed_injectors),
		cmocka_unit_test(sleeping_threads_outlive_killed_injectors_without_eintr),
		cmocka_unit_test(busy_and_churning_threads_outlive_killed_stoppers),
		cmocka_unit_test(sleeping_threads_outlive_killed_stoppers_without_eintr),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
