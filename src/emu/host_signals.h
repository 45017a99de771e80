/*
 * The host's signals, past its C library: that keeps 32 and 33 for itself, and the guest's wants them too.
 * Private to the files of emu/ that deal in signals and threads.
 */
#ifndef LP_EMU_HOST_SIGNALS_H
#define LP_EMU_HOST_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "emu/signals.h"

struct lp_process_signals;

/* struct sigaction of the x86-64 kernel. */
struct lp_host_action {
	union {
		uint64_t handler;
		void (*catch)(int sig, siginfo_t *info, void *context);
	};
	uint64_t flags;
	void (*restorer)(void);
	uint64_t mask;
};

#define LP_SIGNAL_BIT(sig) (UINT64_C(1) << ((sig)-1))

/* Faults, where they are the guest's, come as these: the host never blocks them and always catches them. */
#define LP_SIGNALS_OF_FAULTS                                                                              \
	(LP_SIGNAL_BIT(SIGSEGV) | LP_SIGNAL_BIT(SIGBUS) | LP_SIGNAL_BIT(SIGILL) | LP_SIGNAL_BIT(SIGFPE) | \
	 LP_SIGNAL_BIT(SIGTRAP))
#define LP_SIGNALS_UNSTOPPABLE (LP_SIGNAL_BIT(SIGKILL) | LP_SIGNAL_BIT(SIGSTOP))

/* The host's mask of a thread of which the guest has `blocked` blocked. */
static inline uint64_t lp_host_set(uint64_t blocked)
{
	return blocked & ~LP_SIGNALS_OF_FAULTS;
}

/* NULL: leave it, or do not ask.  0 or -errno. */
int lp_host_action(int sig, const struct lp_host_action *set, struct lp_host_action *old);
/* The handler is called with everything else kept out; system calls are made again where the kernel can. */
void lp_host_catch(int sig, void (*catch)(int, siginfo_t *, void *), uint64_t flags, uint64_t mask);
/* The signal again, as it came, for this thread or for whichever takes it. */
void lp_host_send_again(int sig, const siginfo_t *info, bool to_this_thread);
/* Ends the process by it, whatever its disposition is. */
void lp_host_die(int sig) __attribute__((noreturn));

/* The C library takes signal 33 when it makes its first thread.  After this it has done so, and does not again. */
void lp_host_let_libc_begin(void);

/* The calling thread's kernel number. */
int lp_host_tid(void);

#endif
