/*
 * The signals that self/ takes.
 *
 * SIGTRAP belongs to somebody else as well: traps that are not ours go to
 * whoever had it before.  A program that sets its own handler after us is
 * noticed by the next lp_signals_take(), which puts ours in front of that one
 * (and does not go in circles when that one calls ours).
 *
 * Another is a real-time signal that nobody uses: with it threads are asked
 * to stop.
 *
 * A thread that blocks that one too (many programs block everything, in all
 * threads but one) is asked with the signal by which the C library has every
 * thread change its user: the library sees to it that nobody blocks it.  What
 * is not ours goes on to the library.
 */
#ifndef LP_SELF_SIGNALS_H
#define LP_SELF_SIGNALS_H

#include <signal.h>

#include "base/err.h"

/* Makes them ours, before each change. */
int lp_signals_take(struct lp_err *err);

/* All that a thread must not block that is not stopped when code changes; bit n - 1 for signal n. */
uint64_t lp_signals_needed(void);

/* Does a thread that blocks these not hear the usual call? */
bool lp_signals_deaf(uint64_t blocked);

/* Asks the thread to stop, a deaf one by the library's signal; what arrives is lp_stop_answer(value).  -errno. */
int lp_signals_call(int tid, uint64_t value, bool deaf);

/* In a handler: does with the signal what it would have done under `before`.  */
void lp_signals_pass_on(const struct sigaction *before, int sig, siginfo_t *info, void *context);

/* Blocks everything but what this thread raises itself, and back. */
void lp_signals_block(uint64_t *before);
void lp_signals_unblock(uint64_t before);

#endif
