/*
 * What the files of self/ share.
 *
 * One lock for all of self/: whoever changes code, makes room for code or
 * keeps books about it holds it.  fork() takes it too, so that a child never
 * begins in the middle of a change.  Nothing that runs between stop and resume
 * (stop.h) takes a lock or allocates.  The dynamic loader's locks come before
 * this one: nobody asks the loader while holding it.
 */
#ifndef LP_SELF_PRIVATE_H
#define LP_SELF_PRIVATE_H

#include "self/arch/arch.h"
#include "self/self.h"

/* Takes the lock; the first call also finds out what this system lets us do. */
int lp_self_enter(struct lp_err *err);
void lp_self_leave(void);

/* Below: with the lock held. */

int lp_self_poke_locked(const struct lp_self_edit *edits, size_t nr, struct lp_err *err);
int lp_self_alloc_locked(lp_addr near, bool reach, size_t size, lp_addr *out, struct lp_err *err);
int lp_self_fill_locked(lp_addr at, const void *bytes, size_t len, struct lp_err *err);
void lp_self_free_locked(lp_addr at, size_t size);

/* The islands that lead into that range, of hooks that are installed and of those that are not; `out` may be NULL. */
struct lp_way;
size_t lp_hook_islands(struct lp_range into, struct lp_way *out);

/* The executable part of the loaded object that `at` is in; `loads` changes when objects come or go. */
bool lp_self_object(lp_addr at, struct lp_range *code, uint64_t *loads);

/* For fork(): nobody is in the middle of asking for a function while it is held. */
void lp_self_functions_hold(void);
void lp_self_functions_release(void);

/* How long a change waits for threads that do not answer or are in the way; 1000 unless a test says otherwise. */
extern unsigned lp_self_patience_ms;

/* Bytes of our own memory, as many as can be read: no fault at addresses that are not there. */
size_t lp_self_read(lp_addr at, void *data, size_t len);
/* Before anything is read: not by calls that a filter of this thread may forbid.  The lock's holder has done so. */
void lp_self_look_for_filters(void);

#define lp_raw(nr, a, b, c, d, e, f) \
	lp_self_syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif
