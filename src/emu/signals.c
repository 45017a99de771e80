/* From the host's handler to the guest's: signals are noted as they come, and delivered at an instruction boundary. */
#include "emu/strace.h"
#include "emu/signals.h"

#include <errno.h>
#include <string.h>
#include <ucontext.h>

#include "emu/crash.h"
#include "emu/emu.h"
#include "emu/fault_signals.h"
#include "emu/frame.h"
#include "emu/host_signals.h"
#include "emu/process_signals.h"
#include "emu/safe_syscall.h"

/* ---- noting: in the host's handler ---- */

/* Until what has been noted is delivered, the kernel keeps the rest: its queue has the right order, and no bounds. */
static void keep_out_until_delivered(ucontext_t *context)
{
	uint64_t mask = ~LP_SIGNALS_OF_FAULTS;

	memcpy(&context->uc_sigmask, &mask, sizeof mask);
}

static void note(struct lp_guest_thread *t, int sig, const siginfo_t *info)
{
	struct lp_thread_signals *s = &t->signals;
	uint64_t bit = LP_SIGNAL_BIT(sig);

	if (atomic_load(&s->pending) & bit) {
		/* Only where the mask was set behind our back: a second one of the same number. */
		if (sig >= LP_SIGRTMIN)
			lp_host_send_again(sig, info, true);
		return;
	}
	s->note[sig - 1].info = *info;
	atomic_fetch_or(&s->pending, bit);
	if (!(s->blocked & bit & LP_SIGNALS_OF_FAULTS))
		atomic_fetch_or(&t->cpu.poll, LP_POLL_SIGNAL);
}

void lp_signals_caught(int sig, siginfo_t *info, void *context)
{
	struct lp_guest_thread *t = lp_guest_self();
	int saved = errno;

	if (t)
		note(t, sig, info);
	else
		lp_host_send_again(sig, info, false); /* a thread of ours that should have kept out */
	keep_out_until_delivered(context);
	lp_safe_syscall_interrupt(context);
	errno = saved;
}

/* ---- delivering: at an instruction boundary ---- */

/* Faults first, then the lowest, as the kernel dequeues them.  0: none. */
static int take_note(struct lp_thread_signals *s, siginfo_t *info)
{
	uint64_t ready = atomic_load(&s->pending) & ~s->blocked;
	int sig;

	if (!ready)
		return 0;
	if (ready & LP_SIGNALS_OF_FAULTS)
		ready &= LP_SIGNALS_OF_FAULTS;
	sig = __builtin_ctzll(ready) + 1;
	*info = s->note[sig - 1].info;
	atomic_fetch_and(&s->pending, ~LP_SIGNAL_BIT(sig));
	return sig;
}

/* Notes of signals that the guest has blocked meanwhile: back to the kernel, where sigwait and signalfd find them. */
static void return_blocked(struct lp_thread_signals *s)
{
	uint64_t back = atomic_load(&s->pending) & s->blocked & ~LP_SIGNALS_OF_FAULTS;

	for (; back; back &= back - 1) {
		int sig = __builtin_ctzll(back) + 1;
		lp_host_send_again(sig, &s->note[sig - 1].info, true);
		atomic_fetch_and(&s->pending, ~LP_SIGNAL_BIT(sig));
	}
}

static void forced_segv(struct lp_guest_thread *t, int sig);

/* A frame for the handler; a stack that is not there is SIGSEGV. */
static void call_handler(struct lp_guest_thread *t, const siginfo_t *info, const struct lp_sigaction *act)
{
	struct lp_thread_signals *s = &t->signals;
	int sig = info->si_signo;
	uint64_t mask = s->has_before_suspend ? s->before_suspend : s->blocked;

	/* What a call's own mask let in ends the call, however early it came. */
	if (s->has_before_suspend && s->restart != LP_RESTART_NONE)
		s->restart = LP_RESTART_NOHAND;
	lp_syscall_handler(t, act->flags);
	s->has_before_suspend = false;
	if (!lp_frame_push(t, info, act, mask)) {
		s->blocked = mask;
		forced_segv(t, sig);
		return;
	}
	s->blocked |= act->mask | (act->flags & SA_NODEFER ? 0 : LP_SIGNAL_BIT(sig));
	s->blocked &= ~LP_SIGNALS_UNSTOPPABLE;
}

static void deliver_one(struct lp_guest_thread *t, const siginfo_t *info)
{
	int sig = info->si_signo;
	struct lp_sigaction act;

	lp_process_signals_take(t->signals.process, sig, &act);
	if (act.handler == LP_GUEST_SIG_IGN)
		return;
	if (t->cpu.emu->options.strace)
		lp_strace_signal(t, info);
	if (act.handler != LP_GUEST_SIG_DFL) {
		call_handler(t, info, &act);
		return;
	}
	if (lp_signal_is_ignored_by_default(sig))
		return;
	if (lp_signal_leaves_a_core(sig)) {
		lp_crash_core(t, info);
		lp_process_kill(t, sig);
	}
	if (t->signals.process->caught & LP_SIGNAL_BIT(sig))
		lp_process_kill(t, sig);
	/* The handler has gone between the host's handler and here: the host's default action is in place by now. */
	lp_host_send_again(sig, info, true);
}

/* A debugger may have another signal delivered, or none. */
static void deliver_as_watched(struct lp_guest_thread *t, siginfo_t *info)
{
	struct lp_emu *emu = t->cpu.emu;

	for (size_t i = 0; i < emu->nr_events; i++) {
		int sig = emu->events[i].signal ? emu->events[i].signal(t, info, emu->events[i].arg) : info->si_signo;
		if (sig == 0)
			return;
		if (sig != info->si_signo)
			*info = (siginfo_t){.si_signo = sig, .si_code = SI_USER};
	}
	deliver_one(t, info);
}

void lp_signals_deliver(struct lp_guest_thread *t)
{
	struct lp_thread_signals *s = &t->signals;
	siginfo_t info;

	do {
		atomic_fetch_and(&t->cpu.poll, ~(uint32_t)LP_POLL_SIGNAL);
		while (take_note(s, &info))
			deliver_as_watched(t, &info);
		if (s->has_before_suspend) {
			s->blocked = s->before_suspend;
			s->has_before_suspend = false;
			if (atomic_load(&s->pending) & ~s->blocked)
				atomic_fetch_or(&t->cpu.poll, LP_POLL_SIGNAL);
		}
		return_blocked(s);
		lp_host_mask(lp_host_set(s->blocked));
	} while (atomic_load(&t->cpu.poll) & LP_POLL_SIGNAL);
}

/* ---- faults ---- */

/* A signal that cannot wait: where it is blocked or ignored, it ends the process. */
static void force(struct lp_guest_thread *t, const siginfo_t *info)
{
	struct lp_thread_signals *s = &t->signals;
	int sig = info->si_signo;
	struct lp_sigaction act;

	if (t->cpu.emu->options.strace)
		lp_strace_signal(t, info);
	lp_process_signals_take(s->process, sig, &act);
	if (act.handler == LP_GUEST_SIG_DFL || act.handler == LP_GUEST_SIG_IGN || s->blocked & LP_SIGNAL_BIT(sig)) {
		lp_crash_report(t, info);
		lp_crash_core(t, info);
		lp_process_kill(t, sig);
	}
	call_handler(t, info, &act);
}

/* The frame of `sig` found no stack. */
static void forced_segv(struct lp_guest_thread *t, int sig)
{
	siginfo_t info = {.si_signo = SIGSEGV, .si_code = SI_KERNEL};
	struct lp_sigaction none = {0};

	if (sig == SIGSEGV)
		lp_process_signals_set(t->signals.process, SIGSEGV, &none, NULL);
	force(t, &info);
}

/* What this frame, and those of signals that come later, say of the last fault; as in arch/arm64/kernel/traps.c a breakpoint
 * leaves it alone, and an undefined instruction clears it. */
static void remember(struct lp_thread_signals *s, const struct lp_cpu *cpu)
{
	const struct lp_fault *fault = &cpu->fault;

	if (fault->signal == SIGTRAP)
		return;
	s->fault_code = fault->esr ? fault->esr : lp_fault_syndrome(cpu);
	s->fault_address = fault->signal == SIGILL || cpu->pc & 3 ? 0 : fault->addr;
}

void lp_signals_fault(struct lp_guest_thread *t)
{
	struct lp_thread_signals *s = &t->signals;
	struct lp_fault *fault = &t->cpu.fault;
	siginfo_t info = {.si_signo = fault->signal, .si_code = fault->code, .si_addr = (void *)fault->addr};
	struct lp_guest_area area;
	uint64_t before = s->blocked;

	/* The host told the runner's own memory from a hole; to the guest both are holes. */
	if (fault->signal == SIGSEGV && fault->code == SEGV_ACCERR && !lp_mem_area(t->cpu.emu, fault->addr, &area))
		info.si_code = SEGV_MAPERR;
	remember(s, &t->cpu);
	force(t, &info);
	/* With a note pending everything is kept out until its delivery. */
	if (s->blocked != before && !(atomic_load(&s->pending) & ~s->blocked))
		lp_host_mask(lp_host_set(s->blocked));
}

/* ---- masks ---- */

void lp_signals_thread_begin(struct lp_guest_thread *t)
{
	lp_host_mask(lp_host_set(t->signals.blocked));
}

void lp_signals_thread_end(struct lp_guest_thread *t)
{
	struct lp_thread_signals *s = &t->signals;
	uint64_t left;

	lp_signals_keep_out();
	/* What the kernel gave to this thread, another may take. */
	left = atomic_exchange(&s->pending, 0);
	for (; left; left &= left - 1) {
		int sig = __builtin_ctzll(left) + 1;
		if (s->note[sig - 1].info.si_code != SI_TKILL)
			lp_host_send_again(sig, &s->note[sig - 1].info, false);
	}
}
