/*
 * The two signals that self/ takes.
 *
 * SIGTRAP belongs to somebody else as well: traps that are not ours go to
 * whoever had it before.  A program that sets its own handler after us is
 * noticed by the next lp_signals_take(), which puts ours in front of that one
 * (and does not go in circles when that one calls ours).
 *
 * The other is a real-time signal that nobody uses: with it threads are asked
 * to stop.
 */
#ifndef LP_SELF_SIGNALS_H
#define LP_SELF_SIGNALS_H

#include <signal.h>

#include "base/err.h"

/* Makes both ours, before each change. */
int lp_signals_take(struct lp_err *err);

/* All that a thread must not block when code changes; bit n - 1 for signal n. */
uint64_t lp_signals_needed(void);

/* Sends the second one; what arrives is lp_stop_answer(value).  -errno. */
int lp_signals_call(int tid, uint64_t value);

/* Blocks everything but what this thread raises itself, and back. */
void lp_signals_block(uint64_t *before);
void lp_signals_unblock(uint64_t before);

#endif
