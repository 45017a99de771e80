/* What the process does on each signal. */
#include "emu/process_signals.h"

#include <string.h>

#include "base/vec.h"
#include "emu/emu.h"
#include "emu/fault_signals.h"
#include "emu/host_signals.h"

static const uint64_t signals_of_cores = LP_SIGNALS_OF_FAULTS | LP_SIGNAL_BIT(SIGQUIT) | LP_SIGNAL_BIT(SIGABRT) |
					 LP_SIGNAL_BIT(SIGXCPU) | LP_SIGNAL_BIT(SIGXFSZ) | LP_SIGNAL_BIT(SIGSYS);

bool lp_signal_is_ignored_by_default(int sig)
{
	return sig == SIGCHLD || sig == SIGCONT || sig == SIGURG || sig == SIGWINCH;
}

static bool stops_by_default(int sig)
{
	return sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

/* But for those that the C library keeps to itself. */
static uint64_t signals_that_end(void)
{
	uint64_t set = 0;

	for (int sig = 1; sig <= LP_NSIG; sig++)
		if (!lp_signal_is_ignored_by_default(sig) && !stops_by_default(sig) &&
		    (sig < LP_SIGRTMIN || sig >= SIGRTMIN))
			set |= LP_SIGNAL_BIT(sig);
	return set & ~(LP_SIGNALS_OF_FAULTS | LP_SIGNALS_UNSTOPPABLE);
}

bool lp_signal_leaves_a_core(int sig)
{
	return signals_of_cores & LP_SIGNAL_BIT(sig);
}

static bool is_a_handler(uint64_t handler)
{
	return handler != LP_GUEST_SIG_DFL && handler != LP_GUEST_SIG_IGN;
}

/* The host does what it can do itself: ending, stopping, ignoring. */
static void tell_host(const struct lp_process_signals *p, int sig)
{
	const struct lp_sigaction *act = &p->action[sig - 1];
	uint64_t flags = act->flags & (SA_NOCLDSTOP | SA_NOCLDWAIT);
	struct lp_host_action plain = {.handler = act->handler, .flags = flags};

	if (LP_SIGNAL_BIT(sig) & (LP_SIGNALS_OF_FAULTS | LP_SIGNALS_UNSTOPPABLE))
		return;
	if (is_a_handler(act->handler) || (act->handler == LP_GUEST_SIG_DFL && p->caught & LP_SIGNAL_BIT(sig)))
		lp_host_catch(sig, lp_signals_caught, flags | SA_RESTART, ~LP_SIGNALS_OF_FAULTS);
	else
		lp_host_action(sig, &plain, NULL);
}

void lp_process_signals_set(struct lp_process_signals *p, int sig, const struct lp_sigaction *act,
			    struct lp_sigaction *old)
{
	pthread_mutex_lock(&p->lock);
	if (old)
		*old = p->action[sig - 1];
	if (act) {
		p->action[sig - 1] = *act;
		tell_host(p, sig);
	}
	pthread_mutex_unlock(&p->lock);
}

void lp_process_signals_take(struct lp_process_signals *p, int sig, struct lp_sigaction *act)
{
	pthread_mutex_lock(&p->lock);
	*act = p->action[sig - 1];
	if (is_a_handler(act->handler) && act->flags & SA_RESETHAND) {
		p->action[sig - 1].handler = LP_GUEST_SIG_DFL;
		tell_host(p, sig);
	}
	pthread_mutex_unlock(&p->lock);
}

void lp_signals_action(struct lp_guest_thread *t, int sig, struct lp_sigaction *out)
{
	lp_process_signals_set(t->signals.process, sig, NULL, out);
}

struct lp_process_signals *lp_process_signals_copy(struct lp_process_signals *p)
{
	struct lp_process_signals *copy = lp_alloc(sizeof *copy);

	pthread_mutex_lock(&p->lock);
	memcpy(copy->action, p->action, sizeof copy->action);
	copy->caught = p->caught;
	pthread_mutex_unlock(&p->lock);
	pthread_mutex_init(&copy->lock, NULL);
	return copy;
}

void lp_process_signals_free(struct lp_process_signals *p)
{
	if (!p)
		return;
	pthread_mutex_destroy(&p->lock);
	lp_free(p);
}

void lp_signals_init(struct lp_emu *emu)
{
	struct lp_process_signals *p = lp_alloc(sizeof *p);
	struct lp_host_action inherited;

	lp_host_let_libc_begin();
	pthread_mutex_init(&p->lock, NULL);
	p->caught = emu->options.caught | (emu->options.core ? signals_of_cores : 0) |
		    (emu->options.sees_end ? signals_that_end() : 0);
	for (int sig = 1; sig <= LP_NSIG; sig++) {
		if (lp_host_action(sig, NULL, &inherited) == 0 && inherited.handler == LP_GUEST_SIG_IGN)
			p->action[sig - 1].handler = LP_GUEST_SIG_IGN;
		if (LP_SIGNAL_BIT(sig) & LP_SIGNALS_OF_FAULTS)
			lp_host_catch(sig, lp_fault_caught, SA_NODEFER, 0);
		else if (p->caught & LP_SIGNAL_BIT(sig) || is_a_handler(inherited.handler)) /* the C library's, of 33 */
			tell_host(p, sig);
	}
	emu->signals = p;
}

/* ---- execve ---- */

/* Faults are always caught here; what is ignored must be so in the new program as well. */
static void tell_host_of_faults(struct lp_process_signals *p, bool exec)
{
	static const struct lp_host_action ignore = {.handler = LP_GUEST_SIG_IGN};

	for (int sig = 1; sig <= LP_NSIG; sig++) {
		if (!(LP_SIGNAL_BIT(sig) & LP_SIGNALS_OF_FAULTS) || p->action[sig - 1].handler != LP_GUEST_SIG_IGN)
			continue;
		if (exec)
			lp_host_action(sig, &ignore, NULL);
		else
			lp_host_catch(sig, lp_fault_caught, SA_NODEFER, 0);
	}
}

void lp_signals_exec_begin(struct lp_guest_thread *t)
{
	struct lp_process_signals *p = t->signals.process;

	pthread_mutex_lock(&p->lock);
	tell_host_of_faults(p, true);
	pthread_mutex_unlock(&p->lock);
	lp_host_mask(t->signals.blocked);
}

void lp_signals_exec_failed(struct lp_guest_thread *t)
{
	struct lp_process_signals *p = t->signals.process;

	pthread_mutex_lock(&p->lock);
	tell_host_of_faults(p, false);
	pthread_mutex_unlock(&p->lock);
	lp_host_mask(lp_host_set(t->signals.blocked));
}

/* ---- fork ---- */

void lp_signals_fork_lock(struct lp_guest_thread *t)
{
	pthread_mutex_lock(&t->signals.process->lock);
}

void lp_signals_fork_unlock(struct lp_guest_thread *t)
{
	pthread_mutex_unlock(&t->signals.process->lock);
}

static void clear_handlers(struct lp_process_signals *p)
{
	pthread_mutex_lock(&p->lock);
	for (int sig = 1; sig <= LP_NSIG; sig++) {
		if (!is_a_handler(p->action[sig - 1].handler))
			continue;
		p->action[sig - 1] = (struct lp_sigaction){0};
		tell_host(p, sig);
	}
	pthread_mutex_unlock(&p->lock);
}

void lp_signals_forked(struct lp_guest_thread *t, bool clear)
{
	atomic_store(&t->signals.pending, 0);
	atomic_fetch_and(&t->cpu.poll, ~(uint32_t)LP_POLL_SIGNAL);
	t->signals.restart = LP_RESTART_NONE;
	if (clear)
		clear_handlers(t->signals.process);
}
