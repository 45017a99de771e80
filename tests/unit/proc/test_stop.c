#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "victims.h"

static int by_value(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static void stop_and_go(unsigned rounds, unsigned threads, const char *const argv[])
{
	struct victim *v = victim_start(threads, argv);
	struct lp_proc *p = open_locked(v->pid);
	uint64_t *ns = calloc(rounds, sizeof *ns);
	size_t most = 0;
	for (unsigned i = 0; i < rounds; i++) {
		size_t nr;
		assert_ok(lp_stop_all(p, 2000, &last_error));
		const struct lp_stopped *t = lp_stopped_threads(p, &nr);
		assert_true(nr >= 1);
		most = nr > most ? nr : most;
		for (size_t k = 0; k < nr; k++)
			assert_true(t[k].pc != 0 && t[k].sp != 0);
		lp_resume_all(p, &ns[i]);
	}
	qsort(ns, rounds, sizeof *ns, by_value);
	print_message("%s %s: %zu threads, pause median %.1f us, worst %.1f us\n", argv[0], argv[1] ? argv[1] : "", most,
		      (double)ns[rounds / 2] / 1e3, (double)ns[rounds - 1] / 1e3);
	free(ns);
	lp_proc_close(p);
	victim_is_well(v, threads);
	victim_end(v);
}

#define ROUNDS 1000

static void busy_threads_stop_and_go_on_unharmed(void **state)
{
	stop_and_go(ROUNDS, 1, (const char *[]){"spin", "1", NULL});
	stop_and_go(ROUNDS, 8, (const char *[]){"spin", "8", NULL});
	stop_and_go(ROUNDS / 4, 100, (const char *[]){"spin", "100", NULL});
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
	static const char *const kinds[] = {"nanosleep", "poll", "futex",  "epoll",  "semop",
					    "sigtimedwait", "recv", "read", "inotify"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(kinds); i++)
		stop_and_go(ROUNDS / 4, 2, (const char *[]){"blockers", kinds[i], "2", NULL});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(busy_threads_stop_and_go_on_unharmed),
		cmocka_unit_test(threads_under_a_storm_of_signals_stop_and_go),
		cmocka_unit_test(threads_that_come_and_go_are_all_stopped),
		cmocka_unit_test(blocked_threads_stop_and_see_no_eintr),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
