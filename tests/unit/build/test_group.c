#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build/group.h"

/* A process that only waits, in this group; 0: in one of its own. */
static pid_t begin(pid_t group)
{
	pid_t pid = fork();
	if (pid == 0) {
		setpgid(0, group);
		for (;;)
			pause();
	}
	setpgid(pid, group ? group : pid);
	return pid;
}

static void assert_ended(pid_t pid)
{
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
}

static void all_of_all_groups_are_told(void **state)
{
	pid_t groups[2] = {begin(0), begin(0)}, other = begin(groups[1]);
	(void)state;
	lp_groups_terminate(groups, 2);
	assert_ended(groups[0]);
	assert_ended(groups[1]);
	assert_ended(other);
}

static void one_who_was_stopped_hears_it(void **state)
{
	pid_t group = begin(0);
	int status;
	(void)state;
	kill(group, SIGSTOP);
	assert_int_equal(waitpid(group, &status, WUNTRACED), group);
	lp_groups_terminate(&group, 1);
	assert_ended(group);
}

static void groups_that_are_gone_are_no_failure(void **state)
{
	pid_t group = begin(0);
	(void)state;
	kill(group, SIGKILL);
	assert_int_equal(waitpid(group, NULL, 0), group);
	lp_groups_terminate(&group, 1);
	lp_groups_terminate(NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_all_groups_are_told),
		cmocka_unit_test(one_who_was_stopped_hears_it),
		cmocka_unit_test(groups_that_are_gone_are_no_failure),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
