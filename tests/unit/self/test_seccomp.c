/*
 * Code is changed where filters of system calls end whoever makes unusual ones.
 */
#include "own.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define DONE 7
#define NO_SECCOMP 8 /* an emulator has none */

static int other(int x)
{
	return -x;
}

static int hook_and_unhook(struct lp_err *err)
{
	struct lp_self_hook h = {.fn = FN(victim_push), .replacement = FN(other)};
	struct lp_self_hook *hooks[] = {&h};
	int rc = lp_self_prepare(&h, err);

	rc = rc ? rc : lp_self_commit(hooks, 1, err);
	if (!rc && victim_push(3) != -3)
		rc = 1;
	rc = rc ? rc : lp_self_remove(hooks, 1, err);
	if (!rc && victim_push(3) != 6)
		rc = 2;
	lp_self_release(&h);
	return rc;
}

/* What becomes of a child that does that. */
static int status_of(void (*act)(void))
{
	int status;
	pid_t child = fork();

	if (!child) {
		act();
		_exit(1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static bool kill_who_reads_memory_of_processes(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {LP_ARRAY_SIZE(code), code};

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void filter_and_hook(void)
{
	if (!kill_who_reads_memory_of_processes())
		_exit(NO_SECCOMP);
	_exit(hook_and_unhook(NULL) ? 2 : DONE);
}

/* Set up before there was a filter. */
static void hook_filter_and_hook(void)
{
	if (hook_and_unhook(NULL))
		_exit(2);
	filter_and_hook();
}

static void where_a_filter_kills_code_is_changed_all_the_same(void **state)
{
	int status = status_of(filter_and_hook);

	if (WEXITSTATUS(status) == NO_SECCOMP)
		skip();
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), DONE);
	status = status_of(hook_filter_and_hook);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), DONE);
}

static _Atomic int strict_tid;
static _Atomic unsigned beats;

static void *be_strict(void *arg)
{
	int tid = (int)syscall(SYS_gettid);

	strict_tid = prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) ? -1 : tid;
	for (;;)
		beats++;
	return NULL;
}

static void hook_beside_a_strict_thread(void)
{
	struct lp_err err = {0};
	pthread_t t;

	if (pthread_create(&t, NULL, be_strict, NULL))
		_exit(2);
	while (!strict_tid)
		sched_yield();
	if (strict_tid < 0)
		_exit(NO_SECCOMP);
	if (hook_and_unhook(&err) != -LP_ESECCOMP || err.tid != strict_tid || victim_push(3) != 6)
		_exit(3);
	for (unsigned before = beats; beats == before;) /* it lives */
		sched_yield();
	_exit(DONE);
}

static void a_thread_in_strict_mode_is_named_and_lives(void **state)
{
	int status = status_of(hook_beside_a_strict_thread);

	if (WEXITSTATUS(status) == NO_SECCOMP)
		skip();
	assert_int_equal(WEXITSTATUS(status), DONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(where_a_filter_kills_code_is_changed_all_the_same),
		cmocka_unit_test(a_thread_in_strict_mode_is_named_and_lives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
