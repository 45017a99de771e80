#include "self/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "base/vec.h"
#include "self/private.h"
#include "self/signals.h"
#include "self/threads.h"

/*
 * What a signal did before it was ours.  Whoever looks at its handler while it is ours may set one of his own later
 * that calls ours for what he saw: so ours is another one then (signals.c does so with SIGTRAP), and each knows one
 * predecessor.
 */
#define LEVELS 8

static const int signals[] = {SIGSEGV, SIGBUS};
static struct sigaction formers[LP_ARRAY_SIZE(signals)][LEVELS];
static unsigned levels[LP_ARRAY_SIZE(signals)], current[LP_ARRAY_SIZE(signals)];

/* Somebody set a handler of his own while ours was there, or often others: ours is never set again. */
static bool entangled;

static struct {
	_Atomic int tid; /* of the thread in there; 0: nobody */
	struct lp_range memory;
	lp_addr where;
	sigjmp_buf way_out;
} guard;

/* ---- the handler, in any thread ---- */

/* Not sent by anybody.  Of an address that no memory can have the kernel does not say where it was. */
static bool is_guarded(const siginfo_t *info)
{
	return info->si_code > 0 && atomic_load(&guard.tid) == lp_thread_self();
}

/* Not from within the handler: returning from it gives back all that the kernel changed (protection keys, too). */
static void leave(void)
{
	siglongjmp(guard.way_out, 1);
}

static void on_fault(unsigned level, int sig, siginfo_t *info, void *context)
{
	lp_addr at = (lp_addr)(uintptr_t)info->si_addr;

	if (is_guarded(info)) {
		guard.where = lp_range_has(guard.memory, at) ? at : guard.memory.start;
		lp_self_arch.divert(context, leave);
		return;
	}
	lp_signals_pass_on(&formers[sig == SIGBUS][level], sig, info, context);
}

#define ON_FAULT(n)                                                       \
	static void on_fault_##n(int sig, siginfo_t *info, void *context) \
	{                                                                 \
		on_fault(n, sig, info, context);                          \
	}
ON_FAULT(0)
ON_FAULT(1)
ON_FAULT(2)
ON_FAULT(3)
ON_FAULT(4)
ON_FAULT(5)
ON_FAULT(6)
ON_FAULT(7)

typedef void handler_fn(int, siginfo_t *, void *);

static handler_fn *const handlers[LEVELS] = {
	on_fault_0, on_fault_1, on_fault_2, on_fault_3, on_fault_4, on_fault_5, on_fault_6, on_fault_7,
};

/* ---- taking them, and giving them back ---- */

static bool is_ours(const struct sigaction *a)
{
	for (size_t i = 0; i < LEVELS; i++) {
		if (a->sa_flags & SA_SIGINFO && a->sa_sigaction == handlers[i])
			return true;
	}
	return false;
}

/* The kernel's part of the mask; behind it the C library leaves what was on its stack. */
static bool same_action(const struct sigaction *a, const struct sigaction *b)
{
	return a->sa_handler == b->sa_handler && a->sa_flags == b->sa_flags &&
	       *(const uint64_t *)&a->sa_mask == *(const uint64_t *)&b->sa_mask;
}

/* The level of that action; LEVELS when there is none left. */
static unsigned level_of(size_t i, const struct sigaction *now)
{
	for (unsigned level = 0; level < levels[i]; level++) {
		if (same_action(&formers[i][level], now))
			return level;
	}
	if (levels[i] < LEVELS)
		formers[i][levels[i]++] = *now;
	else
		return LEVELS;
	return levels[i] - 1;
}

/* sigaction() may be somebody's who only notes what he is asked for: another runtime's, or a sanitizer's. */
static bool is_set(int sig, handler_fn *handler)
{
	struct {
		handler_fn *handler; /* first in what the kernel takes */
		uint64_t rest[3];
	} now = {0};

	return !lp_raw(SYS_rt_sigaction, sig, NULL, &now, sizeof(uint64_t), 0, 0) && now.handler == handler;
}

static bool take(size_t i)
{
	struct sigaction now = {0}, ours, was = {0};

	if (sigaction(signals[i], NULL, &now) || is_ours(&now))
		return false;
	unsigned level = current[i] = level_of(i, &now);
	if (level == LEVELS)
		return false;
	ours = now; /* what it blocks, and the stack it wants */
	ours.sa_sigaction = handlers[level];
	ours.sa_flags = (now.sa_flags | SA_SIGINFO) & ~(int)SA_RESETHAND;
	if (sigaction(signals[i], &ours, &was))
		return false;
	if (same_action(&was, &now) && is_set(signals[i], ours.sa_sigaction))
		return true;
	sigaction(signals[i], &was, NULL); /* the program set it between our look and this */
	return false;
}

static void give_back(size_t i)
{
	struct sigaction now = {0};

	if (sigaction(signals[i], &formers[i][current[i]], &now) || is_ours(&now))
		return;
	sigaction(signals[i], &now, NULL);
	entangled = true;
}

static bool take_all(size_t *taken)
{
	for (*taken = 0; !entangled && *taken < LP_ARRAY_SIZE(signals) && take(*taken); ++*taken)
		;
	return *taken == LP_ARRAY_SIZE(signals);
}

/* A fault that is blocked would end the process. */
static uint64_t unblock(void)
{
	uint64_t faults = UINT64_C(1) << (SIGSEGV - 1) | UINT64_C(1) << (SIGBUS - 1), before = 0;

	lp_raw(SYS_rt_sigprocmask, SIG_UNBLOCK, &faults, &before, sizeof before, 0, 0);
	return before;
}

/* ---- the call ---- */

static int call(void (*touch)(void *arg), void *arg)
{
	if (sigsetjmp(guard.way_out, 0))
		return -EFAULT;
	atomic_store(&guard.tid, lp_thread_self());
	touch(arg);
	return 0;
}

int lp_self_guard(struct lp_range memory, void (*touch)(void *arg), void *arg, lp_addr *where)
{
	uint64_t blocked = unblock();
	size_t taken;
	int rc = -ENOSYS;

	guard.memory = memory;
	if (take_all(&taken))
		rc = call(touch, arg);
	atomic_store(&guard.tid, 0);
	while (taken)
		give_back(--taken);
	lp_signals_unblock(blocked);
	if (rc == -EFAULT)
		*where = guard.where;
	return rc;
}
