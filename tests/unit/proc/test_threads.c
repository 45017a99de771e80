/*
 * What /proc says of threads, as text: the parsers alone.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proc/state.h"
#include "victims.h"

static void a_name_with_parentheses_does_not_confuse_the_state(void **state)
{
	struct lp_task_stat st;
	assert_int_equal(
		lp_task_stat_parse("7 (a) R (b)) S 1 2 3 4 5 4194304 7 8 9 10 11 12 13 14 15 16 17 18 4711 20\n", &st),
		0);
	assert_int_equal(st.state, 'S');
	assert_int_equal(st.flags, 4194304);
	assert_int_equal(st.start_time, 4711);
}

static void a_cut_off_stat_is_refused(void **state)
{
	struct lp_task_stat st;
	assert_int_equal(lp_task_stat_parse("", &st), -EBADMSG);
	assert_int_equal(lp_task_stat_parse("7 (a)", &st), -EBADMSG);
	assert_int_equal(lp_task_stat_parse("7 (a) ", &st), -EBADMSG);
	assert_int_equal(lp_task_stat_parse("7 (a) R 1 2 3", &st), -EBADMSG);
}

static void a_name_cannot_forge_a_line_of_status(void **state)
{
	struct lp_task_status s;
	/* The kernel writes a newline in a name as \n; fields are taken from the start of lines only. */
	lp_task_status_parse(
		"Name:\tx\\nTracerPid: 9\nTgid:\t12\nTracerPid:\t0\nUid:\t1\t2\t3\t4\nSigPnd:\t00000000000000ff\n"
		"SigCgt:\tfffffffe7ffbfeff\nSeccomp:\t2\n",
		&s);
	assert_int_equal(s.tgid, 12);
	assert_int_equal(s.tracer, 0);
	assert_int_equal(s.uid, 1);
	assert_int_equal(s.euid, 2);
	assert_int_equal(s.pending, 0xff);
	assert_true(s.caught == UINT64_C(0xfffffffe7ffbfeff));
	assert_int_equal(s.seccomp, 2);
}

static void where_a_thread_is_has_three_forms(void **state)
{
	struct lp_task_where w;
	assert_int_equal(lp_task_where_parse("running\n", &w), 0);
	assert_true(w.running);
	assert_int_equal(lp_task_where_parse("-1 0x7ffd1 0x55d2\n", &w), 0);
	assert_false(w.running);
	assert_int_equal(w.syscall, -1);
	assert_int_equal(w.sp, 0x7ffd1);
	assert_int_equal(w.pc, 0x55d2);
	assert_int_equal(lp_task_where_parse("230 0x0 0x1 0x2 0x3 0x4 0x5 0x7ffd2 0x7f01\n", &w), 0);
	assert_int_equal(w.syscall, 230);
	assert_int_equal(w.sp, 0x7ffd2);
	assert_int_equal(w.pc, 0x7f01);
	assert_int_equal(lp_task_where_parse("230\n", &w), -EBADMSG);
	assert_int_equal(lp_task_where_parse("", &w), -EBADMSG);
}

static void threads_are_listed_once_and_counted(void **state)
{
	lp_tid_vec tids = {0};
	struct victim *v = victim_start(50, (const char *[]){"blockers", "nanosleep", "50", NULL});
	struct lp_proc *p = open_locked(v->pid);
	assert_int_equal(lp_tasks_list(p, &tids, &last_error), 50);
	assert_int_equal(lp_tasks_list(p, &tids, &last_error), 0); /* nobody new */
	assert_int_equal(tids.nr, 50);
	assert_int_equal(lp_tasks_count(p), 50);
	lp_vec_free(&tids);
	lp_proc_close(p);
	victim_end(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_with_parentheses_does_not_confuse_the_state),
		cmocka_unit_test(a_cut_off_stat_is_refused),
		cmocka_unit_test(a_name_cannot_forge_a_line_of_status),
		cmocka_unit_test(where_a_thread_is_has_three_forms),
		cmocka_unit_test(threads_are_listed_once_and_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
