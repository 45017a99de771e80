/* System calls about signals. */
#include <errno.h>
#include <stddef.h>
#include <unistd.h>
#include <sys/syscall.h>

#include "emu/emu.h"
#include "emu/frame.h"
#include "emu/host_signals.h"
#include "emu/process_signals.h"
#include "emu/sys.h"

enum { SET_SIZE = sizeof(uint64_t) };

/* What the kernel keeps of sa_flags; programs probe for flags by reading them back. */
#define SA_KEPT                                                                                                     \
	((uint32_t)SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER | SA_RESETHAND | \
	 0x04000000 /* SA_RESTORER */ | 0x800 /* SA_EXPOSE_TAGBITS */)

/* A guest's set as it may be blocked. */
static int get_set(uint64_t addr, uint64_t size, uint64_t *set)
{
	if (size != SET_SIZE)
		return -EINVAL;
	if (lp_mem_get(addr, set))
		return -EFAULT;
	*set &= ~LP_SIGNALS_UNSTOPPABLE;
	return 0;
}

static bool has_deliverable(const struct lp_guest_thread *t)
{
	return atomic_load(&t->signals.pending) & ~t->signals.blocked;
}

/* A fault signal that was sent while it was blocked waits here, not in the kernel. */
static void wake_notes(struct lp_guest_thread *t)
{
	if (has_deliverable(t))
		atomic_fetch_or(&t->cpu.poll, LP_POLL_SIGNAL);
}

int64_t lp_sys_rt_sigaction(struct lp_guest_thread *t, int sig, uint64_t act, uint64_t old, uint64_t size)
{
	struct lp_sigaction new_action, old_action;

	if (size != SET_SIZE)
		return -EINVAL;
	if (act && lp_mem_get(act, &new_action))
		return -EFAULT;
	if (sig < 1 || sig > LP_NSIG || (act && LP_SIGNAL_BIT(sig) & LP_SIGNALS_UNSTOPPABLE))
		return -EINVAL;
	if (act) {
		new_action.flags &= SA_KEPT;
		new_action.mask &= ~LP_SIGNALS_UNSTOPPABLE;
	}
	lp_process_signals_set(t->signals.process, sig, act ? &new_action : NULL, &old_action);
	if (old && lp_mem_put(old, &old_action))
		return -EFAULT;
	return 0;
}

int64_t lp_sys_rt_sigprocmask(struct lp_guest_thread *t, int how, uint64_t set_at, uint64_t old_at, uint64_t size)
{
	struct lp_thread_signals *s = &t->signals;
	uint64_t old = s->blocked, blocked = old, set;
	int rc;

	if (size != SET_SIZE)
		return -EINVAL;
	if (set_at) {
		rc = get_set(set_at, size, &set);
		if (rc)
			return rc;
		if (how != SIG_BLOCK && how != SIG_UNBLOCK && how != SIG_SETMASK)
			return -EINVAL;
		blocked = how == SIG_SETMASK ? set : how == SIG_BLOCK ? old | set : old & ~set;
	}
	if (blocked != old) {
		uint64_t host = lp_host_set(blocked);
		const uint64_t args[6] = {SIG_SETMASK, (uint64_t)&host, 0, SET_SIZE};
		int64_t result = lp_safe_syscall(t, SYS_rt_sigprocmask, args);
		if (result == -LP_ERESTART || result == -LP_ERESTARTNOINTR)
			return -LP_ERESTARTNOINTR;
		s->blocked = blocked;
		wake_notes(t);
	}
	if (old_at && lp_mem_put(old_at, &old))
		return -EFAULT;
	return 0;
}

int64_t lp_sys_rt_sigpending(struct lp_guest_thread *t, uint64_t set_at, uint64_t size)
{
	uint64_t set = 0;

	if (size > SET_SIZE)
		return -EINVAL;
	syscall(SYS_rt_sigpending, &set, SET_SIZE);
	set |= atomic_load(&t->signals.pending);
	set &= t->signals.blocked;
	return lp_mem_write(set_at, &set, size) ? -EFAULT : 0;
}

int64_t lp_sys_sigaltstack(struct lp_guest_thread *t, uint64_t stack, uint64_t old)
{
	struct lp_guest_stack new_stack, old_stack;
	int rc;

	lp_altstack_get(t, &old_stack);
	if (stack) {
		if (lp_mem_get(stack, &new_stack))
			return -EFAULT;
		rc = lp_altstack_set(t, &new_stack);
		if (rc)
			return rc;
	}
	return old && lp_mem_put(old, &old_stack) ? -EFAULT : 0;
}

int64_t lp_sys_rt_sigreturn(struct lp_guest_thread *t)
{
	struct lp_thread_signals *s = &t->signals;
	uint64_t mask;

	if (!lp_frame_pop(t, &mask)) {
		uint64_t sp = t->cpu.x[LP_SP];
		int code = lp_mem_area(t->cpu.emu, sp, &(struct lp_guest_area){0}) ? SEGV_ACCERR : SEGV_MAPERR;
		t->cpu.fault = (struct lp_fault){.signal = SIGSEGV, .code = code, .addr = sp};
		lp_signals_fault(t);
		return (int64_t)t->cpu.x[0];
	}
	s->blocked = mask & ~LP_SIGNALS_UNSTOPPABLE;
	wake_notes(t);
	/* With a note pending everything is kept out until its delivery, which sets the mask. */
	if (!(atomic_load(&t->cpu.poll) & LP_POLL_SIGNAL)) {
		uint64_t host = lp_host_set(s->blocked);
		lp_safe_syscall(t, SYS_rt_sigprocmask, (const uint64_t[6]){SIG_SETMASK, (uint64_t)&host, 0, SET_SIZE});
	}
	return (int64_t)t->cpu.x[0];
}

/* ---- waiting ---- */

static void swap_in(struct lp_guest_thread *t, uint64_t set)
{
	struct lp_thread_signals *s = &t->signals;

	/* A call that is made again finds what it left. */
	if (!s->has_before_suspend)
		s->before_suspend = s->blocked;
	s->has_before_suspend = true;
	s->blocked = set;
	wake_notes(t);
}

static void swap_out(struct lp_guest_thread *t)
{
	struct lp_thread_signals *s = &t->signals;

	if (!s->has_before_suspend)
		return;
	s->blocked = s->before_suspend;
	s->has_before_suspend = false;
}

static bool is_restart(int64_t result)
{
	return result == -LP_ERESTART || result == -LP_ERESTARTNOINTR || result == -LP_ERESTARTNOHAND;
}

int64_t lp_sys_rt_sigsuspend(struct lp_guest_thread *t, uint64_t set_at, uint64_t size)
{
	uint64_t set, host;
	int64_t result;
	int rc = get_set(set_at, size, &set);

	if (rc)
		return rc;
	swap_in(t, set);
	host = lp_host_set(set);
	lp_call_waits(t, SYS_rt_sigsuspend);
	lp_thread_enter_host(t);
	result = lp_safe_syscall(t, SYS_rt_sigsuspend, (const uint64_t[6]){(uint64_t)&host, SET_SIZE});
	lp_thread_leave_host(t);
	return lp_signals_swap_end(t, result == -EINTR ? -LP_ERESTARTNOHAND : result);
}

/* One that the guest waits for and that came in as a note (a fault signal that was sent, and is blocked). */
static int take_waited_note(struct lp_guest_thread *t, uint64_t set, siginfo_t *info)
{
	struct lp_thread_signals *s = &t->signals;
	uint64_t ready = atomic_load(&s->pending) & set & s->blocked;
	int sig;

	if (!ready)
		return 0;
	sig = __builtin_ctzll(ready) + 1;
	*info = s->note[sig - 1].info;
	atomic_fetch_and(&s->pending, ~LP_SIGNAL_BIT(sig));
	return sig;
}

int64_t lp_sys_rt_sigtimedwait(struct lp_guest_thread *t, uint64_t set_at, uint64_t info_at, uint64_t timeout_at,
			       uint64_t size)
{
	struct {
		int64_t seconds, nanoseconds;
	} timeout;
	siginfo_t info;
	uint64_t set;
	int64_t sig;
	int rc = get_set(set_at, size, &set);

	if (rc)
		return rc;
	if (timeout_at && lp_mem_get(timeout_at, &timeout))
		return -EFAULT;
	sig = take_waited_note(t, set, &info);
	if (sig == 0) {
		const uint64_t args[6] = {(uint64_t)&set, (uint64_t)&info, timeout_at ? (uint64_t)&timeout : 0,
					  SET_SIZE};
		lp_call_waits(t, SYS_rt_sigtimedwait);
		lp_thread_enter_host(t);
		sig = lp_safe_syscall(t, SYS_rt_sigtimedwait, args);
		lp_thread_leave_host(t);
		if (sig < 0 && !has_deliverable(t)) {
			int noted = take_waited_note(t, set, &info);
			sig = noted ? noted : sig;
		}
	}
	if (sig < 0)
		return sig;
	return info_at && lp_mem_put(info_at, &info) ? -EFAULT : sig;
}

/* A fault signal that was sent while it was blocked, and that the call's own mask lets in. */
static bool lets_in_a_note(const struct lp_thread_signals *s)
{
	return atomic_load(&s->pending) & LP_SIGNALS_OF_FAULTS & ~s->blocked & s->before_suspend;
}

int lp_signals_swap_begin(struct lp_guest_thread *t, uint64_t guest_set, uint64_t size, uint64_t *host_set)
{
	uint64_t set;
	int rc = get_set(guest_set, size, &set);

	if (rc)
		return rc;
	swap_in(t, set);
	*host_set = lp_host_set(set);
	return 0;
}

int64_t lp_signals_swap_end(struct lp_guest_thread *t, int64_t result)
{
	struct lp_thread_signals *s = &t->signals;

	/* What was there before the call is delivered with the mask of before; then the call is made. */
	if (result == -LP_ERESTARTNOINTR && !lets_in_a_note(s)) {
		swap_out(t);
		return result;
	}
	/* With a handler to run its frame brings the mask back. */
	if (is_restart(result))
		return -LP_ERESTARTNOHAND;
	if (result == -EINTR && atomic_load(&t->cpu.poll) & LP_POLL_SIGNAL)
		return result;
	swap_out(t);
	wake_notes(t);
	return result;
}
