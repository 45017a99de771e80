/*
 * What is found on stacks: of a handler on a stack of its own, which lies in
 * the middle of other memory, and of the code that it interrupted.  All of it
 * happens in the test's one thread: it scans its own stack.
 */
#include "own.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "self/stack.h"

#define STACK (256u << 10)
#define NESTED 8 /* more than are followed */
#define ALL ((size_t)NESTED * 2 * STACK)
#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

/* Addresses of nothing: who has them on his stack is to be found. */
#define INTERRUPTED UINT64_C(0x7e57c0de0010)
#define IN_HANDLER UINT64_C(0x7e57c0de0020)
#define BEHIND UINT64_C(0x7e57c0de0030)
static const struct lp_range span = {UINT64_C(0x7e57c0de0000), UINT64_C(0x7e57c0de1000)};

static struct {
	bool interrupted, in_handler, behind, whole;
	int depth;
	uint8_t *stacks; /* of STACK bytes, and as many behind each of them */
} seen;

static void on_word(void *arg, const struct lp_stack_word *w)
{
	seen.interrupted |= w->value == INTERRUPTED;
	seen.in_handler |= w->value == IN_HANDLER;
	seen.behind |= w->value == BEHIND;
}

static void scan_from_here(void)
{
	struct lp_self_maps maps;
	volatile uint64_t here = IN_HANDLER;

	assert_int_equal(lp_self_maps_read(&maps, NULL), 0);
	seen.whole = lp_stack_scan(addr_of((const void *)&here), &maps, span, on_word, NULL);
	lp_self_maps_free(&maps);
}

static void take_signal(int number, void (*handler)(int), int flags)
{
	struct sigaction a = {.sa_handler = handler, .sa_flags = flags | SA_NODEFER};

	assert_int_equal(sigaction(number, &a, NULL), 0);
}

static bool use_stack(int i, int flags)
{
	stack_t s = {.ss_sp = seen.stacks + (size_t)i * 2 * STACK, .ss_size = STACK, .ss_flags = flags};

	return sigaltstack(&s, NULL) == 0;
}

static int make_stacks(void **state)
{
	uint8_t *all = mmap(NULL, ALL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(&seen, 0, sizeof seen);
	seen.stacks = all;
	return all == MAP_FAILED ? -1 : 0;
}

static int unmake_stacks(void **state)
{
	stack_t none = {.ss_flags = SS_DISABLE};

	return sigaltstack(&none, NULL) || munmap(seen.stacks, ALL);
}

static void scan_in_handler(int number)
{
	scan_from_here();
}

/* Two words, so that one of them is below what the red zone of an instrumented frame begins with. */
static __attribute__((noinline)) void interrupted_by(int number)
{
	volatile uint64_t words[2] = {INTERRUPTED, INTERRUPTED};

	raise(number);
	assert_true(words[0] == words[1]);
}

/* In no register as a whole, which may be saved on the stack that is scanned, too. */
static void write_by_bytes(volatile uint8_t *at, uint64_t value)
{
	for (size_t i = 0; i < sizeof value; i++)
		at[i] = (uint8_t)(value >> 8 * i);
}

static void a_stack_for_handlers_ends_where_it_was_said_to(void **state)
{
	write_by_bytes(seen.stacks + STACK, BEHIND);
	assert_true(use_stack(0, 0));
	take_signal(SIGUSR1, scan_in_handler, SA_ONSTACK);
	interrupted_by(SIGUSR1);
	assert_true(seen.in_handler && seen.interrupted);
	assert_false(seen.behind);
	assert_true(seen.whole);
}

static void nest(int number)
{
	if (++seen.depth == NESTED) {
		scan_from_here();
		return;
	}
	assert_true(use_stack(seen.depth, (int)SS_AUTODISARM));
	raise(number);
}

/* Each on a stack of its own: some of them are not looked at, and what is there is not known. */
static void more_stacks_than_are_followed_are_not_all_of_them(void **state)
{
	for (int i = 0; i < NESTED; i++)
		assert_int_equal(mprotect(seen.stacks + (size_t)(2 * i + 1) * STACK, STACK, PROT_NONE), 0);
	if (!use_stack(0, (int)SS_AUTODISARM) && errno == EINVAL)
		skip(); /* an emulator that does not know the flag */
	take_signal(SIGUSR1, nest, SA_ONSTACK);
	interrupted_by(SIGUSR1);
	assert_int_equal(seen.depth, NESTED);
	assert_true(seen.in_handler);
	assert_true(seen.interrupted || !seen.whole);
}

static void nest_here(int number)
{
	if (++seen.depth == NESTED)
		scan_from_here();
	else
		raise(number);
}

static void many_handlers_on_one_stack_are_one_stack(void **state)
{
	take_signal(SIGUSR1, nest_here, 0);
	interrupted_by(SIGUSR1);
	assert_int_equal(seen.depth, NESTED);
	assert_true(seen.in_handler && seen.interrupted && seen.whole);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_stacks, unmake_stacks)
	const struct CMUnitTest tests[] = {
		TEST(a_stack_for_handlers_ends_where_it_was_said_to),
		TEST(more_stacks_than_are_followed_are_not_all_of_them),
		TEST(many_handlers_on_one_stack_are_one_stack),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
