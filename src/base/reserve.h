/*
 * Memory for when there is no other.
 *
 * A tool ends when it runs out of memory.  What is loaded into other people's
 * programs must not: after lp_reserve_make(), lp_alloc() and its family take
 * from a reserve what the heap refuses.  That is enough to come to the end of
 * what was begun and to say why; nobody begins anything while it is low, and
 * what may be large asks lp_try_realloc(), which takes from the heap alone.
 */
#ifndef LP_BASE_RESERVE_H
#define LP_BASE_RESERVE_H

#include <stdbool.h>
#include <stddef.h>

/* Once in a process; address space until it is needed.  Without it there is none. */
void lp_reserve_make(void);
/* More than half of it is in use. */
bool lp_reserve_is_low(void);
/* In the child of a fork: another thread may have been in there, and is not here. */
void lp_reserve_forked(void);

/* ---- for vec.c ---- */

void *lp_reserve_take(size_t size);    /* zeroed; NULL: it does not hold so much */
size_t lp_reserve_size(const void *p); /* of what was taken from it; 0: this was not */
bool lp_reserve_give_back(void *p);    /* false: not taken from it */

#endif
