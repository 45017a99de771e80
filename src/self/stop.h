/*
 * A moment in which no other thread executes code that is about to change.
 *
 *     rc = lp_stop_prepare(err);              // may allocate; nothing is stopped yet
 *     rc = lp_stop_begin();                   // who runs is parked, who sleeps is left alone
 *     ... breakpoints are put on the sites ...
 *     rc = lp_stop_settle(ways, nr);          // who is parked in the way is moved; who sleeps is not in the way
 *     ... the code is changed ...
 *     lp_stop_end();                          // always, also after a failure
 *     if (rc) rc = lp_stop_explain(rc, err);
 *
 * Running threads are asked by a signal, and wait in its handler.  Threads
 * that sleep in the kernel are not signalled: it would cut short calls that
 * cannot be restarted.  What makes this sound:
 *
 *   1. Once the breakpoints stand, nobody gets into the way any more: a thread
 *      seen outside of it stays outside.  So sleepers are looked at (pc, and
 *      what handlers on their stacks return to) after that, not before.
 *   2. A sleeper that wakes meanwhile meets a breakpoint, which is harmless
 *      unless it blocks SIGTRAP (the kernel kills it then): such sleepers are
 *      parked as well, or the change is refused.
 *   3. Between begin and end the caller takes no lock, allocates nothing, and
 *      calls nobody else's code: a parked thread may hold any lock.
 *
 *   4. Running threads are parked before the breakpoints are put: one that runs
 *      with SIGTRAP blocked for a moment cannot meet them.
 *
 * Where /proc cannot tell who sleeps, a debugger is attached (it would take our
 * breakpoints for its own), or the kernel cannot synchronise cores, everybody
 * is parked.
 */
#ifndef LP_SELF_STOP_H
#define LP_SELF_STOP_H

#include <ucontext.h>

#include "self/self.h"

/* Code that must not be executed when the moment comes.  Sorted by address, without overlap. */
struct lp_way {
	struct lp_range range;
	const struct lp_self_edit *edit; /* its moves tell where to go on; NULL: only asked about (seen) */
	bool returns;			 /* a call in the old code returns into the range */
	bool seen;			 /* out, edit NULL: somebody is in there, or may be */
};

int lp_stop_setup(struct lp_err *err);
int lp_stop_prepare(struct lp_err *err);
int lp_stop_begin(void);
int lp_stop_settle(struct lp_way *ways, size_t nr);
void lp_stop_end(void);
int lp_stop_explain(int rc, struct lp_err *err);

/* The child of a fork has one thread: this one. */
void lp_stop_forked(void);

/* In handlers. */
void lp_stop_answer(uint64_t value, ucontext_t *uc);
void lp_stop_wait_moment(void);

#endif
