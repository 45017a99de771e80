#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/capability.h>

#include <cmocka.h>

#include "victims.h"

/* memfd_create: what the victim's filter has something against. */
static int forbidden_call(struct lp_proc *p, int64_t *result)
{
	struct lp_call calls[] = {
		{lp_proc_sysno(p)->memfd_create, {LP_CALL_TEXT, 0}, 0},
		{lp_proc_sysno(p)->close, {LP_CALL_FIRST_RESULT}, 0},
	};
	int rc = patiently(lp_inject_text(p, calls, 2, "x", &last_error));
	*result = calls[0].result;
	return rc;
}

static void stop_and_go(struct lp_proc *p)
{
	for (unsigned i = 0; i < 20; i++) {
		assert_ok(lp_stop_all(p, PATIENCE_MS, &last_error));
		lp_resume_all(p, NULL);
	}
}

static void a_filter_that_makes_calls_fail_is_suspended_for_ours(void **state)
{
	int64_t result;
	if (geteuid() != 0)
		skip();
	struct victim *v = victim_start(2, (const char *[]){"seccomp", "deny", NULL});
	struct lp_proc *p = open_locked(v->pid);
	for (unsigned i = 0; i < 50; i++) {
		assert_ok(forbidden_call(p, &result));
		assert_true(result >= 0);
	}
	stop_and_go(p);
	lp_proc_close(p);
	victim_is_well(v, 2);
	victim_end(v);
}

/* Suspended or not: if we died before the call was made, the filter would be back for it. */
static void calls_that_a_filter_kills_for_are_not_made(void **state)
{
	int64_t result;
	if (geteuid() != 0)
		skip();
	struct victim *v = victim_start(2, (const char *[]){"seccomp", "kill", NULL});
	struct lp_proc *p = open_locked(v->pid);
	assert_refused(forbidden_call(p, &result), LP_ESECCOMP);
	map_and_unmap(p); /* which it does not mind */
	stop_and_go(p);
	lp_proc_close(p);
	victim_is_well(v, 2);
	victim_end(v);
}

static void under_strict_seccomp_nothing_is_called_and_stopping_works(void **state)
{
	int64_t result;
	struct victim *v = victim_start(1, (const char *[]){"seccomp", "strict", NULL});
	struct lp_proc *p = open_locked(v->pid);
	assert_refused(forbidden_call(p, &result), LP_ESECCOMP);
	stop_and_go(p);
	lp_proc_close(p);
	victim_is_well(v, 1);
	victim_end(v);
}

static void drop(unsigned capability)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2];
	if (syscall(SYS_capget, &head, data))
		_exit(2);
	data[capability / 32].effective &= ~(1u << capability % 32);
	if (syscall(SYS_capset, &head, data))
		_exit(3);
}

/* What a livepatch without CAP_SYS_ADMIN makes of it: its error code, or 0. */
static int without_sys_admin(pid_t pid)
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		struct lp_proc *p;
		int64_t result = -1;
		drop(CAP_SYS_ADMIN);
		if (lp_proc_open(&p, pid, NULL) < 0 || lp_proc_lock(p, PATIENCE_MS, NULL) < 0)
			_exit(4);
		int rc = forbidden_call(p, &result);
		_exit(rc == 0 && result >= 0 ? 0 : rc == -LP_ESECCOMP ? 100 : 5);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void without_the_right_to_suspend_the_filter_nothing_is_called(void **state)
{
	if (geteuid() != 0)
		skip();
	struct victim *v = victim_start(2, (const char *[]){"seccomp", "kill", NULL});
	assert_int_equal(without_sys_admin(v->pid), 100);
	victim_is_well(v, 2);
	victim_end(v);
}

static void a_thread_without_the_filter_is_asked_instead(void **state)
{
	if (geteuid() != 0)
		skip();
	struct victim *v = victim_start(2, (const char *[]){"seccomp", "half", NULL});
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(without_sys_admin(v->pid), 0);
	victim_is_well(v, 2);
	victim_end(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_filter_that_makes_calls_fail_is_suspended_for_ours),
		cmocka_unit_test(calls_that_a_filter_kills_for_are_not_made),
		cmocka_unit_test(under_strict_seccomp_nothing_is_called_and_stopping_works),
		cmocka_unit_test(without_the_right_to_suspend_the_filter_nothing_is_called),
		cmocka_unit_test(a_thread_without_the_filter_is_asked_instead),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
