/*
 * --strace: each system call of the guest as strace(1) shows it, one line when
 * it is over (before, where it does not come back), in one write.
 */
#ifndef LP_EMU_STRACE_H
#define LP_EMU_STRACE_H

#include "emu/sys.h"

void lp_strace_enter(struct lp_guest_thread *t, const struct lp_call_row *row, const uint64_t a[6]);
void lp_strace_leave(struct lp_guest_thread *t, const struct lp_call_row *row, const uint64_t a[6], int64_t result);
/* A signal that a handler is about to be told of, or that ends the process. */
void lp_strace_signal(struct lp_guest_thread *t, const siginfo_t *info);
/* The process ends by a signal. */
void lp_strace_killed(struct lp_guest_thread *t, int signal);

#endif
