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

#include "victims.h"

/* Maps a page, writes to it through the file, unmaps it: the whole round trip of a room. */
static void map_and_unmap(struct lp_proc *p)
{
	const struct lp_sysno *nr = lp_proc_sysno(p);
	struct lp_call map = {nr->mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0}, 0};
	assert_ok(lp_inject(p, &map, 1, &last_error));
	assert_true(map.result > 0);
	uint64_t mark = 0x1122334455667788, seen = 0;
	assert_ok(lp_mem_write(p, (lp_addr)map.result, &mark, sizeof mark, &last_error));
	assert_ok(lp_mem_read(p, (lp_addr)map.result, &seen, sizeof seen, &last_error));
	assert_int_equal(seen, mark);
	struct lp_call unmap = {nr->munmap, {(uint64_t)map.result, 4096}, 0};
	assert_ok(lp_inject(p, &unmap, 1, &last_error));
	assert_int_equal(unmap.result, 0);
	assert_refused(lp_mem_read(p, (lp_addr)map.result, &seen, sizeof seen, &last_error), LP_EUNMAPPED);
}

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
	static const char *const kinds[] = {"nanosleep", "poll", "futex",  "epoll",  "semop",
					    "sigtimedwait", "recv", "read", "inotify"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(kinds); i++)
		inject_into(ROUNDS / 4, 2, (const char *[]){"blockers", kinds[i], "2", NULL});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_busy_thread_makes_calls_and_keeps_its_registers),
		cmocka_unit_test(one_of_many_busy_threads_makes_calls),
		cmocka_unit_test(a_thread_under_a_storm_of_signals_makes_calls),
		cmocka_unit_test(a_process_that_churns_threads_makes_calls),
		cmocka_unit_test(a_blocked_thread_makes_calls_and_sees_no_eintr),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
