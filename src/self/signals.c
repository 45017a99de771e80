#include "self/signals.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "base/vec.h"
#include "self/private.h"
#include "self/stop.h"
#include "self/threads.h"
#include "self/traps.h"

#define RAISED_BY_CODE (bit(SIGTRAP) | bit(SIGSEGV) | bit(SIGBUS) | bit(SIGILL) | bit(SIGFPE) | bit(SIGSYS))
/* Two below SIGRTMIN are the C library's own: it waits for every thread to take them (setuid), and cancels with them. */
#define OF_THE_LIBRARY (bit(32) | bit(33))

static uint64_t bit(int sig)
{
	return UINT64_C(1) << (sig - 1);
}

static void block_most(sigset_t *set)
{
	sigfillset(set);
	for (int sig = 1; sig < SIGRTMIN; sig++) {
		if (RAISED_BY_CODE & bit(sig))
			sigdelset(set, sig);
	}
}

/* ---- SIGTRAP ---- */

/*
 * Each time somebody put a handler of his own in place of ours, a fresh one of ours goes in front of it: each knows
 * one predecessor, so that a handler which calls what it replaced comes to an end.
 */
#define LEVELS 8

static struct sigaction before[LEVELS];
static _Atomic bool spent[LEVELS]; /* SA_RESETHAND: was called once */
static unsigned levels;
static const struct sigaction by_default = {.sa_handler = SIG_DFL};

static void die_of(int sig, siginfo_t *info)
{
	sigaction(sig, &by_default, NULL);
	/* Blocked until this handler returns; then the process ends by it, as it would have without us. */
	lp_raw(SYS_rt_tgsigqueueinfo, lp_raw(SYS_getpid, 0, 0, 0, 0, 0, 0), lp_thread_self(), sig, info, 0, 0);
}

/* What would be blocked in its handler; ours blocks everything. */
static void block_as(const struct sigaction *b, int sig, const ucontext_t *uc)
{
	uint64_t interrupted = *(const uint64_t *)&uc->uc_sigmask, its_own = *(const uint64_t *)&b->sa_mask;

	lp_signals_unblock(interrupted | its_own | (b->sa_flags & SA_NODEFER ? 0 : bit(sig)));
}

static bool has_handler(const struct sigaction *b)
{
	return b->sa_flags & SA_SIGINFO || (b->sa_handler != SIG_DFL && b->sa_handler != SIG_IGN);
}

void lp_signals_pass_on(const struct sigaction *b, int sig, siginfo_t *info, void *context)
{
	bool by_code = info->si_code > 0; /* not sent by anybody: cannot be ignored */

	if (!has_handler(b)) {
		if (by_code || b->sa_handler != SIG_IGN)
			die_of(sig, info);
		return;
	}
	block_as(b, sig, context);
	if (b->sa_flags & SA_SIGINFO)
		b->sa_sigaction(sig, info, context);
	else
		b->sa_handler(sig);
}

static void pass_trap_on(unsigned level, int sig, siginfo_t *info, void *context)
{
	const struct sigaction *b = &before[level];

	if (has_handler(b) && b->sa_flags & SA_RESETHAND && atomic_exchange(&spent[level], true))
		b = &by_default;
	lp_signals_pass_on(b, sig, info, context);
}

static void on_trap(unsigned level, int sig, siginfo_t *info, ucontext_t *uc)
{
	enum lp_trap_answer answer = LP_TRAP_FOREIGN;
	lp_addr at, to;

	lp_traps_enter();
	if (lp_self_arch.trapped(info, uc, &at))
		answer = lp_traps_ask(at, &to);
	if (answer != LP_TRAP_FOREIGN)
		lp_self_arch.set_pc(uc, to);
	lp_traps_leave();
	if (answer == LP_TRAP_WAIT)
		lp_stop_wait_moment();
	else if (answer == LP_TRAP_FOREIGN)
		pass_trap_on(level, sig, info, uc);
}

#define ON_TRAP(n)                                                       \
	static void on_trap_##n(int sig, siginfo_t *info, void *context) \
	{                                                                \
		on_trap(n, sig, info, context);                          \
	}
ON_TRAP(0)
ON_TRAP(1)
ON_TRAP(2)
ON_TRAP(3)
ON_TRAP(4)
ON_TRAP(5)
ON_TRAP(6)
ON_TRAP(7)

static void (*const handlers[LEVELS])(int, siginfo_t *, void *) = {
	on_trap_0, on_trap_1, on_trap_2, on_trap_3, on_trap_4, on_trap_5, on_trap_6, on_trap_7,
};

static bool is_ours(const struct sigaction *a)
{
	for (size_t i = 0; i < LEVELS; i++) {
		if (a->sa_flags & SA_SIGINFO && a->sa_sigaction == handlers[i])
			return true;
	}
	return false;
}

static int take_trap(struct lp_err *err)
{
	struct sigaction now, ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};

	if (sigaction(SIGTRAP, NULL, &now))
		return lp_fail_sys(err, errno, "cannot look at the handler of SIGTRAP");
	if (is_ours(&now))
		return 0;
	if (levels == LEVELS)
		return lp_fail(err, LP_EBUSY, "SIGTRAP was taken from us %u times: somebody else needs it more",
			       LEVELS);
	before[levels] = now;
	atomic_store(&spent[levels], false);
	ours.sa_sigaction = handlers[levels];
	/*
	 * Whoever is in here has not arrived yet: it is asked to stop when its pc says where it goes on, by whatever
	 * signal.  And no handler of the program's may run on top, where SIGTRAP is blocked: it could meet a breakpoint.
	 */
	block_most(&ours.sa_mask);
	*(uint64_t *)&ours.sa_mask |= OF_THE_LIBRARY;
	if (sigaction(SIGTRAP, &ours, NULL))
		return lp_fail_sys(err, errno, "cannot take SIGTRAP");
	levels++;
	return 0;
}

/* ---- the signal that asks a thread to stop ---- */

static int call_signal; /* 0: none yet */

static void on_call(int sig, siginfo_t *info, void *context)
{
	if (info->si_code == SI_QUEUE && info->si_pid == lp_raw(SYS_getpid, 0, 0, 0, 0, 0, 0))
		lp_stop_answer((uint64_t)(uintptr_t)info->si_value.sival_ptr, context);
}

static bool still_called(int sig)
{
	struct sigaction now;

	return sig && !sigaction(sig, NULL, &now) && now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_call;
}

static bool nobody_has(int sig)
{
	struct sigaction now;

	return !sigaction(sig, NULL, &now) && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL;
}

static int take_call(struct lp_err *err)
{
	struct sigaction ours = {.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART, .sa_sigaction = on_call};

	if (still_called(call_signal))
		return 0;
	block_most(&ours.sa_mask);
	for (int sig = SIGRTMAX - 2; sig > SIGRTMIN; sig--) { /* the ends are what programs take first */
		if (!nobody_has(sig) || sigaction(sig, &ours, NULL))
			continue;
		call_signal = sig;
		return 0;
	}
	return lp_fail(err, LP_EBUSY, "every real-time signal is in use: no way to ask threads to stop");
}

/* ---- the same for those who block it ---- */

#define LIBRARYS_SIGNAL 33 /* SIGSETXID, which sigaction() and sigprocmask() say does not exist */

/* What rt_sigaction() takes; where the flags, the mask and the way back stand in it differs. */
struct kernel_action {
	void (*handler)(int, siginfo_t *, void *);
	uint64_t rest[3];
};

static struct kernel_action librarys; /* its handler, NULL when it had none yet */
static bool has_librarys;

static long kernel_action(int sig, const struct kernel_action *set, struct kernel_action *get)
{
	return lp_raw(SYS_rt_sigaction, sig, set, get, sizeof(uint64_t), 0, 0);
}

/* Where the library has none yet, nobody but us sends it. */
static void on_librarys(int sig, siginfo_t *info, void *context)
{
	if (info->si_code == SI_QUEUE)
		on_call(sig, info, context);
	else if (librarys.handler)
		librarys.handler(sig, info, context);
}

/* As the call is taken: the way back from a handler is the C library's secret.  Without it the deaf cannot be stopped.
 */
static void take_librarys(void)
{
	struct kernel_action now, ours;

	has_librarys = !kernel_action(LIBRARYS_SIGNAL, NULL, &now) && !kernel_action(call_signal, NULL, &ours);
	if (!has_librarys || now.handler == on_librarys)
		return;
	librarys = now;
	ours.handler = on_librarys;
	has_librarys = !kernel_action(LIBRARYS_SIGNAL, &ours, NULL);
}

int lp_signals_take(struct lp_err *err)
{
	int rc = take_call(err);

	if (!rc)
		take_librarys();
	return rc ? rc : take_trap(err);
}

uint64_t lp_signals_needed(void)
{
	return bit(SIGTRAP);
}

bool lp_signals_deaf(uint64_t blocked)
{
	return blocked & bit(call_signal) && has_librarys;
}

int lp_signals_call(int tid, uint64_t value, bool deaf)
{
	long pid = lp_raw(SYS_getpid, 0, 0, 0, 0, 0, 0);
	int sig = deaf ? LIBRARYS_SIGNAL : call_signal;
	siginfo_t info = {.si_signo = sig};

	info.si_code = SI_QUEUE;
	info.si_pid = (pid_t)pid;
	info.si_value.sival_ptr = (void *)(uintptr_t)value;
	return (int)lp_raw(SYS_rt_tgsigqueueinfo, pid, tid, sig, &info, 0, 0);
}

void lp_signals_block(uint64_t *was)
{
	uint64_t most = ~(RAISED_BY_CODE | OF_THE_LIBRARY);

	lp_raw(SYS_rt_sigprocmask, SIG_SETMASK, &most, was, sizeof most, 0, 0);
}

void lp_signals_unblock(uint64_t was)
{
	lp_raw(SYS_rt_sigprocmask, SIG_SETMASK, &was, 0, sizeof was, 0, 0);
}
