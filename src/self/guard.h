/*
 * Memory of this process that may go away while it is touched: another thread
 * unmaps it, or somebody makes shorter the file that it is of.  To ask first is
 * not enough then.
 *
 *     rc = lp_self_guard(memory, touch, arg, &where);
 *
 * While touch() runs, SIGSEGV and SIGBUS are ours: a fault of this thread ends
 * it, in the middle; so it touches `memory` and its own variables, and calls
 * nobody who takes locks or allocates.  Faults of other threads go where they
 * would have gone.
 *
 * Threads.  One at a time, under a lock that fork() waits for.
 */
#ifndef LP_SELF_GUARD_H
#define LP_SELF_GUARD_H

#include "base/addr.h"

/* -EFAULT: it could not be touched at *where.  -ENOSYS: nobody can tell here, and touch() was not called. */
int lp_self_guard(struct lp_range memory, void (*touch)(void *arg), void *arg, lp_addr *where);

#endif
