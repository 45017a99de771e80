/*
 * Bells: what wakes a thread that polls, also out of a signal handler.
 *
 *     struct lp_bell *b = lp_bell_take(err);
 *     rc = lp_bell_on_signal(b, SIGHUP, err);       // the handler that was there is called after ringing
 *     ... poll lp_bell_fd(b) ...
 *     bool by_signal = lp_bell_answer(b);           // silent again
 *     lp_bell_give(b);                              // the handler that was there is back
 *
 * A signal handler that runs just now may still hold a bell that its owner has
 * given back.  So bells are never closed but handed on; the next owner may be
 * woken once for nothing.
 */
#ifndef LP_API_BELL_H
#define LP_API_BELL_H

#include "base/err.h"

struct lp_bell;

/* For fork(): nobody is in the middle of taking or giving one while they are held. */
void lp_bells_hold(void);
void lp_bells_release(void);

/* NULL: too many of them, or of open files. */
struct lp_bell *lp_bell_take(struct lp_err *err);
void lp_bell_give(struct lp_bell *b);

int lp_bell_on_signal(struct lp_bell *b, int signo, struct lp_err *err);

int lp_bell_fd(const struct lp_bell *b);
void lp_bell_ring(struct lp_bell *b);
/* Was one of the rings since the last answer a signal's? */
bool lp_bell_answer(struct lp_bell *b);

#endif
