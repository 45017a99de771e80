/* What a process does on each signal, as the guest sees it and as the host is told.  Private to signals. */
#ifndef LP_EMU_PROCESS_SIGNALS_H
#define LP_EMU_PROCESS_SIGNALS_H

#include <pthread.h>

#include "emu/signals.h"

enum { LP_GUEST_SIG_DFL = 0, LP_GUEST_SIG_IGN = 1 };

struct lp_process_signals {
	pthread_mutex_t lock;
	uint64_t caught; /* signals that come in even where the guest leaves them to their default */
	struct lp_sigaction action[LP_NSIG];
};

/* Takes what the guest asked for, and tells the host. */
void lp_process_signals_set(struct lp_process_signals *p, int sig, const struct lp_sigaction *act,
			    struct lp_sigaction *old);
/* The action by which a signal is to be delivered now: SA_RESETHAND has been seen to. */
void lp_process_signals_take(struct lp_process_signals *p, int sig, struct lp_sigaction *act);

bool lp_signal_is_ignored_by_default(int sig);
bool lp_signal_leaves_a_core(int sig);

/* signals.c: the host handler for what is sent. */
void lp_signals_caught(int sig, siginfo_t *info, void *context);

#endif
