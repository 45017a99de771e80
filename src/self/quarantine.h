/*
 * Code that nothing leads to any more, but that threads may still be in.
 *
 * Whoever changes code stops the world anyway, and asks on that occasion who
 * is still in there: what nobody is in then, nobody will be in.  Code that
 * calls is kept for ever: the callee may return into it from a stack that
 * nobody can see now (a coroutine's).
 */
#ifndef LP_SELF_QUARANTINE_H
#define LP_SELF_QUARANTINE_H

#include "self/stop.h"

void lp_quarantine_add(lp_addr at, size_t size);

/* To be asked about: room for lp_quarantine_nr() at `out`. */
size_t lp_quarantine_nr(void);
void lp_quarantine_ways(struct lp_way *out);

/* What was asked about, with the answers: what was not seen is given back (lp_room_release). */
void lp_quarantine_reap(const struct lp_way *ways, size_t nr);

/* In room.c. */
void lp_room_release(lp_addr at, size_t size);

#endif
