#include "own.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "self/private.h"

#define DISTINCT_STATUS 7
#define NOBODY_TO_WAIT_FOR_MS 100 /* who has one thread gets no answer from others */

static int other(int x)
{
	return -x;
}

/* Has self/ take its signals, whoever has them now. */
static void hook_and_unhook(void)
{
	struct lp_self_hook h = {.fn = FN(victim_push), .replacement = FN(other)};
	struct lp_self_hook *hooks[] = {&h};

	if (lp_self_prepare(&h, NULL) || lp_self_commit(hooks, 1, NULL) || victim_push(3) != -3 ||
	    lp_self_remove(hooks, 1, NULL) || victim_push(3) != 6)
		abort();
	lp_self_release(&h);
}

/* What becomes of a child that does that. */
static int status_of(void (*act)(void))
{
	int status;
	pid_t child = fork();

	if (!child) {
		act();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void set(int sig, void (*simple)(int), void (*with_info)(int, siginfo_t *, void *), int flags)
{
	struct sigaction a = {.sa_flags = flags | (with_info ? SA_SIGINFO : 0)};

	if (with_info)
		a.sa_sigaction = with_info;
	else
		a.sa_handler = simple;
	if (sigaction(sig, &a, NULL))
		abort();
}

static volatile int seen;

static void end_here(int sig)
{
	_exit(sig == SIGTRAP ? DISTINCT_STATUS : 1);
}

static void end_here_with_info(int sig, siginfo_t *info, void *context)
{
	_exit(sig == SIGTRAP && info->si_signo == SIGTRAP && context ? DISTINCT_STATUS : 1);
}

static void count(int sig)
{
	seen++;
}

static void breakpoint_by_default(void)
{
	hook_and_unhook();
	victim_trap();
}

static void breakpoint_ignored(void)
{
	set(SIGTRAP, SIG_IGN, NULL, 0);
	hook_and_unhook();
	victim_trap();
}

static void breakpoint_for_a_handler(void)
{
	set(SIGTRAP, end_here, NULL, 0);
	hook_and_unhook();
	victim_trap();
}

static void breakpoint_for_a_handler_with_info(void)
{
	set(SIGTRAP, NULL, end_here_with_info, 0);
	hook_and_unhook();
	victim_trap();
}

static void a_breakpoint_of_the_program_goes_where_it_went_before(void **state)
{
	int status = status_of(breakpoint_by_default);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTRAP);
	status = status_of(breakpoint_ignored); /* what code raises cannot be ignored */
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTRAP);
	assert_int_equal(WEXITSTATUS(status_of(breakpoint_for_a_handler)), DISTINCT_STATUS);
	assert_int_equal(WEXITSTATUS(status_of(breakpoint_for_a_handler_with_info)), DISTINCT_STATUS);
}

static void sent_and_ignored(void)
{
	set(SIGTRAP, SIG_IGN, NULL, 0);
	hook_and_unhook();
	raise(SIGTRAP);
}

static void sent_to_a_handler_for_once(void)
{
	set(SIGTRAP, count, NULL, SA_RESETHAND);
	hook_and_unhook();
	raise(SIGTRAP);
	if (seen != 1)
		_exit(1);
	raise(SIGTRAP);
}

static void a_trap_that_was_sent_is_treated_as_before(void **state)
{
	int status;

	assert_int_equal(status_of(sent_and_ignored), 0);
	status = status_of(sent_to_a_handler_for_once);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTRAP);
}

static struct sigaction replaced;

static void call_the_replaced(int sig, siginfo_t *info, void *context)
{
	seen++;
	replaced.sa_sigaction(sig, info, context);
}

static void takes_the_signal_afterwards(void)
{
	struct sigaction ours = {.sa_sigaction = call_the_replaced, .sa_flags = SA_SIGINFO};

	set(SIGTRAP, count, NULL, 0);
	hook_and_unhook();
	sigaction(SIGTRAP, &ours, &replaced);
	hook_and_unhook(); /* ours is in front again, ... */
	raise(SIGTRAP);	   /* ... and both of the program's are called, once each */
	_exit(seen == 2 ? DISTINCT_STATUS : seen);
}

static void a_program_that_takes_the_signal_later_is_noticed(void **state)
{
	assert_int_equal(WEXITSTATUS(status_of(takes_the_signal_afterwards)), DISTINCT_STATUS);
}

static void takes_it_too_often(void)
{
	struct lp_self_hook h = {.fn = FN(victim_push), .replacement = FN(other)};
	int rc = lp_self_prepare(&h, NULL);

	lp_self_patience_ms = NOBODY_TO_WAIT_FOR_MS;
	for (int i = 0; i < 100 && !rc; i++) {
		set(SIGTRAP, count, NULL, 0);
		rc = lp_self_commit((struct lp_self_hook *[]){&h}, 1, NULL);
		rc = rc ? rc : lp_self_remove((struct lp_self_hook *[]){&h}, 1, NULL);
	}
	_exit(rc == -LP_EBUSY && victim_push(3) == 6 ? DISTINCT_STATUS : 1);
}

static void a_fight_over_the_signal_ends_with_a_refusal(void **state)
{
	assert_int_equal(WEXITSTATUS(status_of(takes_it_too_often)), DISTINCT_STATUS);
}

static void all_real_time_signals_taken(void)
{
	struct lp_self_hook h = {.fn = FN(victim_push), .replacement = FN(other)};

	lp_self_patience_ms = NOBODY_TO_WAIT_FOR_MS;
	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		set(sig, count, NULL, 0);
	_exit(!lp_self_prepare(&h, NULL) && lp_self_commit((struct lp_self_hook *[]){&h}, 1, NULL) == -LP_EBUSY &&
			      victim_push(3) == 6
		      ? DISTINCT_STATUS
		      : 1);
}

static void without_a_real_time_signal_left_changes_are_refused(void **state)
{
	assert_int_equal(WEXITSTATUS(status_of(all_real_time_signals_taken)), DISTINCT_STATUS);
}

/* ---- the C library's own ---- */

static int gate[2];

/* The user that this thread is, which the library changes in every thread by a signal. */
static void *tell_user(void *arg)
{
	char c;

	while (read(gate[0], &c, 1) < 0)
		;
	return (void *)(intptr_t)syscall(SYS_getuid);
}

static void changes_its_user(void)
{
	const uid_t other_user = geteuid() ? getuid() : 65534;
	pthread_t t;
	void *user;

	if (pipe(gate) || pthread_create(&t, NULL, tell_user, NULL))
		abort();
	hook_and_unhook();
	if (setuid(other_user) || write(gate[1], "", 1) != 1 || pthread_join(t, &user))
		abort();
	_exit((uid_t)(intptr_t)user == other_user ? DISTINCT_STATUS : 1);
}

static void the_library_changes_the_user_of_every_thread_as_before(void **state)
{
	assert_int_equal(WEXITSTATUS(status_of(changes_its_user)), DISTINCT_STATUS);
}

/* Its pc says later where it goes on: a thread that is stopped before that would be led from the wrong place. */
static void a_thread_on_its_way_from_a_breakpoint_cannot_be_stopped(void **state)
{
	const uint64_t of_the_library = UINT64_C(3) << 31; /* 32 and 33, which sigismember() does not know */
	struct sigaction now;

	hook_and_unhook();
	assert_int_equal(sigaction(SIGTRAP, NULL, &now), 0);
	assert_int_equal(*(const uint64_t *)&now.sa_mask & of_the_library, of_the_library);
	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		assert_int_equal(sigismember(&now.sa_mask, sig), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_breakpoint_of_the_program_goes_where_it_went_before),
		cmocka_unit_test(a_trap_that_was_sent_is_treated_as_before),
		cmocka_unit_test(a_program_that_takes_the_signal_later_is_noticed),
		cmocka_unit_test(a_fight_over_the_signal_ends_with_a_refusal),
		cmocka_unit_test(without_a_real_time_signal_left_changes_are_refused),
		cmocka_unit_test(the_library_changes_the_user_of_every_thread_as_before),
		cmocka_unit_test(a_thread_on_its_way_from_a_breakpoint_cannot_be_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
