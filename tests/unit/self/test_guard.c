/*
 * Memory that is not there, touched under guard; and the program's own handlers meanwhile.
 */
#include "own.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "self/guard.h"

#define PAGE 4096u
#define DISTINCT_STATUS 7

static uint8_t *const volatile nowhere = (uint8_t *)24;

struct bytes {
	uint8_t *at;
	size_t size;
	unsigned touched;
};

/* Somebody maps and unmaps it meanwhile, as shall be. */
__attribute__((no_sanitize("thread"))) static void write_all(void *arg)
{
	struct bytes *b = arg;

	for (size_t i = 0; i < b->size; i += PAGE, b->touched++)
		*(volatile uint8_t *)(b->at + i) = 1;
}

static int guard(struct bytes *b, lp_addr *where)
{
	return lp_self_guard((struct lp_range){addr_of(b->at), addr_of(b->at) + b->size}, write_all, b, where);
}

static uint8_t *pages(size_t nr)
{
	uint8_t *at = mmap(NULL, nr * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	return at;
}

/* What becomes of a child that does that. */
static int status_of(void (*act)(void))
{
	int status;
	pid_t child = fork();

	if (!child) {
		signal(SIGSEGV, SIG_DFL); /* the test library has handlers of its own */
		act();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

#define EMULATOR_FAILED 127 /* qemu 7 trips over itself when its program ends so */

static bool died_of_a_fault(int status)
{
	return WIFSIGNALED(status) ? WTERMSIG(status) == SIGSEGV : WEXITSTATUS(status) == EMULATOR_FAILED;
}

static void what_is_there_is_touched(void **state)
{
	struct bytes b = {pages(2), 2 * PAGE, 0};
	lp_addr where;

	assert_int_equal(guard(&b, &where), 0);
	assert_int_equal(b.touched, 2);
	assert_int_equal(b.at[PAGE], 1);
	munmap(b.at, b.size);
}

static void what_is_not_there_ends_it_and_where_is_said(void **state)
{
	struct bytes b = {pages(3), 3 * PAGE, 0};
	lp_addr where = 0;

	for (int i = 0; i < 3; i++) {
		b.touched = 0;
		assert_int_equal(i ? mprotect(b.at + 2 * PAGE, PAGE, i == 1 ? PROT_READ : PROT_NONE)
				   : munmap(b.at + 2 * PAGE, PAGE),
				 0);
		assert_int_equal(guard(&b, &where), -EFAULT);
		assert_int_equal(b.touched, 2);
		assert_int_equal(where, addr_of(b.at) + 2 * PAGE);
		if (!i)
			assert_ptr_equal(
				mmap(b.at + 2 * PAGE, PAGE, PROT_NONE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
				b.at + 2 * PAGE);
	}
	munmap(b.at, b.size);
}

static void what_lies_behind_the_end_of_its_file_ends_it(void **state)
{
	FILE *file = tmpfile();
	struct bytes b = {.size = 2 * PAGE};
	lp_addr where = 0;

	assert_int_equal(ftruncate(fileno(file), PAGE), 0);
	b.at = mmap(NULL, b.size, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(file), 0);
	assert_int_equal(guard(&b, &where), -EFAULT); /* SIGBUS */
	assert_int_equal(where, addr_of(b.at) + PAGE);
	munmap(b.at, b.size);
	fclose(file);
}

static void no_address_at_all_ends_it(void **state)
{
	struct bytes b = {(uint8_t *)UINT64_C(0x8000000000000000), 1, 0};
	lp_addr where = 0;

	assert_int_equal(guard(&b, &where), -EFAULT);
	assert_int_equal(where, addr_of(b.at));
}

static void a_thread_that_blocks_the_signals_is_guarded_and_blocks_them_afterwards(void **state)
{
	struct bytes b = {nowhere, 1, 0};
	sigset_t all, before, after;
	lp_addr where = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	assert_int_equal(guard(&b, &where), -EFAULT);
	pthread_sigmask(SIG_SETMASK, &before, &after);
	assert_true(sigismember(&after, SIGSEGV) && sigismember(&after, SIGBUS) && sigismember(&after, SIGUSR1));
}

/* ---- the program's own ---- */

static void end_here(int sig, siginfo_t *info, void *context)
{
	_exit(sig == SIGSEGV && info->si_addr == nowhere && context ? DISTINCT_STATUS : 1);
}

static void set(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction a = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	sigaddset(&a.sa_mask, SIGUSR2);
	assert_int_equal(sigaction(sig, &a, NULL), 0);
}

static void handlers_are_what_they_were_afterwards(void **state)
{
	struct bytes b = {nowhere, 1, 0};
	struct sigaction before, now, bus;
	lp_addr where;

	sigaction(SIGBUS, NULL, &bus);
	sigaction(SIGSEGV, NULL, &before);
	set(SIGBUS, end_here, SA_NODEFER);
	assert_int_equal(guard(&b, &where), -EFAULT);
	sigaction(SIGSEGV, NULL, &now);
	assert_ptr_equal(now.sa_handler, before.sa_handler);
	sigaction(SIGBUS, &bus, &now);
	assert_ptr_equal(now.sa_sigaction, end_here);
	assert_true(now.sa_flags & SA_NODEFER && sigismember(&now.sa_mask, SIGUSR2));
}

static void *fault(void *arg)
{
	*nowhere = 1;
	return NULL;
}

static void while_another_thread_faults(void *arg)
{
	pthread_t t;

	pthread_create(&t, NULL, fault, NULL);
	pthread_join(t, NULL);
}

static void guard_against_another(void)
{
	lp_addr where;

	lp_self_guard((struct lp_range){0, PAGE}, while_another_thread_faults, NULL, &where);
}

static void guard_against_another_with_a_handler(void)
{
	set(SIGSEGV, end_here, 0);
	guard_against_another();
}

static void ignore_and_guard_against_another(void)
{
	signal(SIGSEGV, SIG_IGN); /* what code raises cannot be ignored */
	guard_against_another();
}

static void the_fault_of_another_thread_goes_where_it_would_have_gone(void **state)
{
	int status = status_of(guard_against_another);

	if (!died_of_a_fault(status))
		fail_msg("it ended with status %#x", (unsigned)status);
	status = status_of(ignore_and_guard_against_another);
	if (!died_of_a_fault(status))
		fail_msg("it ended with status %#x", (unsigned)status);
	assert_int_equal(WEXITSTATUS(status_of(guard_against_another_with_a_handler)), DISTINCT_STATUS);
}

static void sent_meanwhile(void *arg)
{
	raise(SIGSEGV);
}

static void guard_and_be_sent_one(void)
{
	lp_addr where;

	set(SIGSEGV, end_here, 0);
	lp_self_guard((struct lp_range){0, PAGE}, sent_meanwhile, NULL, &where);
}

static void guard_and_ignore_one(void)
{
	lp_addr where;

	signal(SIGSEGV, SIG_IGN);
	if (lp_self_guard((struct lp_range){0, PAGE}, sent_meanwhile, NULL, &where))
		_exit(1);
}

static void what_is_sent_is_not_taken_for_a_fault(void **state)
{
	assert_int_equal(WEXITSTATUS(status_of(guard_and_be_sent_one)), 1); /* with no such address */
	assert_int_equal(status_of(guard_and_ignore_one), 0);
}

static struct sigaction replaced;

static void call_the_replaced(int sig, siginfo_t *info, void *context)
{
	replaced.sa_sigaction(sig, info, context);
}

static void take_the_signal(void *arg)
{
	struct sigaction a = {.sa_sigaction = call_the_replaced, .sa_flags = SA_SIGINFO};

	sigaction(SIGSEGV, &a, &replaced);
}

/* The replaced one is ours; ours must never come to call the program's, which calls ours. */
static void guard_while_the_signal_is_taken(void)
{
	struct bytes b = {nowhere, 1, 0};
	struct sigaction now;
	lp_addr where;

	if (lp_self_guard((struct lp_range){0, PAGE}, take_the_signal, NULL, &where))
		_exit(1);
	sigaction(SIGSEGV, NULL, &now);
	if (now.sa_sigaction != call_the_replaced)
		_exit(2);
	if (guard(&b, &where) != -ENOSYS || b.touched)
		_exit(3);
	fault(NULL); /* ends by the default that was there at first */
}

static void who_sets_a_handler_meanwhile_keeps_it(void **state)
{
	int status = status_of(guard_while_the_signal_is_taken);

	if (!died_of_a_fault(status))
		fail_msg("it ended with status %#x", (unsigned)status);
}

static void look_at_the_signal(void *arg)
{
	sigaction(SIGSEGV, NULL, &replaced);
}

/* What it looked at was ours, and it calls that from a handler that it sets when ours is gone again. */
static void guard_before_and_behind_a_handler_that_calls_what_was_seen(void)
{
	struct sigaction a = {.sa_sigaction = call_the_replaced, .sa_flags = SA_SIGINFO};
	struct bytes b = {nowhere, 1, 0};
	lp_addr where;

	if (lp_self_guard((struct lp_range){0, PAGE}, look_at_the_signal, NULL, &where))
		_exit(1);
	sigaction(SIGSEGV, &a, NULL);
	if (guard(&b, &where) != -EFAULT)
		_exit(2);
	guard_against_another(); /* ends by the default that was there at first */
}

static void who_looks_meanwhile_and_calls_what_he_saw_comes_to_an_end(void **state)
{
	int status = status_of(guard_before_and_behind_a_handler_that_calls_what_was_seen);

	if (!died_of_a_fault(status))
		fail_msg("it ended with status %#x", (unsigned)status);
}

static void handler_of_number(int sig, siginfo_t *info, void *context)
{
}

/* More handlers than there are of ours: then nobody can tell, and nobody is harmed. */
static void guard_behind_many_handlers(void)
{
	struct bytes b = {nowhere, 1, 0};
	lp_addr where;
	int rc = -EFAULT;

	for (int i = 1; i < 20 && rc == -EFAULT; i++) {
		struct sigaction a = {.sa_sigaction = handler_of_number, .sa_flags = SA_SIGINFO};

		sigaddset(&a.sa_mask, SIGRTMIN + i);
		sigaction(SIGSEGV, &a, NULL);
		rc = guard(&b, &where);
	}
	_exit(rc == -ENOSYS && !b.touched ? DISTINCT_STATUS : 1);
}

static void who_changes_his_handler_all_the_time_is_left_alone(void **state)
{
	assert_int_equal(WEXITSTATUS(status_of(guard_behind_many_handlers)), DISTINCT_STATUS);
}

/* ---- a race ---- */

static _Atomic bool over;

static void *come_and_go(void *page)
{
	while (!over) {
		mmap(page, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		     0); /* nobody else maps there */
		mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	}
	return NULL;
}

static void memory_that_comes_and_goes_is_touched_or_not(void **state)
{
	struct bytes b = {pages(1), PAGE, 0};
	unsigned there = 0, gone = 0;
	pthread_t t;
	lp_addr where;

	assert_int_equal(pthread_create(&t, NULL, come_and_go, b.at), 0);
	while (there < 1000 || gone < 1000) {
		int rc = guard(&b, &where);

		assert_true(rc == 0 || rc == -EFAULT);
		there += rc == 0;
		gone += rc != 0;
	}
	over = true;
	pthread_join(t, NULL);
	munmap(b.at, PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_there_is_touched),
		cmocka_unit_test(what_is_not_there_ends_it_and_where_is_said),
		cmocka_unit_test(what_lies_behind_the_end_of_its_file_ends_it),
		cmocka_unit_test(no_address_at_all_ends_it),
		cmocka_unit_test(a_thread_that_blocks_the_signals_is_guarded_and_blocks_them_afterwards),
		cmocka_unit_test(handlers_are_what_they_were_afterwards),
		cmocka_unit_test(the_fault_of_another_thread_goes_where_it_would_have_gone),
		cmocka_unit_test(what_is_sent_is_not_taken_for_a_fault),
		cmocka_unit_test(who_sets_a_handler_meanwhile_keeps_it),
		cmocka_unit_test(who_looks_meanwhile_and_calls_what_he_saw_comes_to_an_end),
		cmocka_unit_test(who_changes_his_handler_all_the_time_is_left_alone),
		cmocka_unit_test(memory_that_comes_and_goes_is_touched_or_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
