#include "self/guard.h"

#include <errno.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/vec.h"
#include "self/private.h"
#include "self/signals.h"
#include "self/threads.h"

/* What a signal did before it was ours.  Never freed: a handler of ours that another thread is in may come to it late. */
struct former {
	struct sigaction action;
	struct former *next;
};

static const int signals[] = {SIGSEGV, SIGBUS};
static struct former *_Atomic formers[LP_ARRAY_SIZE(signals)]; /* the one that counts first */

/* Somebody set a handler of his own while ours was there, and may call ours for what it replaced: it is never set again. */
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

static void on_fault(int sig, siginfo_t *info, void *context)
{
	lp_addr at = (lp_addr)(uintptr_t)info->si_addr;

	if (is_guarded(info)) {
		guard.where = lp_range_has(guard.memory, at) ? at : guard.memory.start;
		lp_self_arch.divert(context, leave);
		return;
	}
	lp_signals_pass_on(&atomic_load(&formers[sig == SIGBUS])->action, sig, info, context);
}

/* ---- taking them, and giving them back ---- */

static bool is_ours(const struct sigaction *a)
{
	return a->sa_flags & SA_SIGINFO && a->sa_sigaction == on_fault;
}

static bool same_action(const struct sigaction *a, const struct sigaction *b)
{
	return a->sa_handler == b->sa_handler && a->sa_flags == b->sa_flags &&
	       !memcmp(&a->sa_mask, &b->sa_mask, sizeof a->sa_mask);
}

/* Few programs change it, so there are few. */
static void remember(size_t i, const struct sigaction *now)
{
	struct former *f = atomic_load(&formers[i]);

	if (f && same_action(&f->action, now))
		return;
	f = lp_alloc(sizeof *f);
	f->action = *now;
	f->next = atomic_load(&formers[i]);
	atomic_store(&formers[i], f);
}

static bool take(size_t i)
{
	struct sigaction now = {0}, ours;

	if (sigaction(signals[i], NULL, &now) || is_ours(&now))
		return false;
	remember(i, &now);
	ours = now; /* what it blocks, and the stack it wants */
	ours.sa_sigaction = on_fault;
	ours.sa_flags = (now.sa_flags | SA_SIGINFO) & ~(int)SA_RESETHAND;
	return !sigaction(signals[i], &ours, NULL);
}

static void give_back(size_t i)
{
	struct sigaction now = {0};

	if (sigaction(signals[i], &atomic_load(&formers[i])->action, &now) || is_ours(&now))
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
