/*
 * Breakpoints that stand in code for a moment, and where a thread that runs
 * into one goes on.
 *
 * The handler may come late: a thread can be on its way into it while the
 * breakpoint is taken away.  So an address that once had a breakpoint stays
 * known for ever, and the handler decides by the byte that stands there now.
 *
 * Signal handlers read while the holder of the lock writes; memory is never
 * given back (a table that grew leaves its smaller self behind).
 */
#ifndef LP_SELF_TRAPS_H
#define LP_SELF_TRAPS_H

#include "base/addr.h"

/* Makes room for a breakpoint at `at`.  Allocates; not between stop and resume. */
void lp_traps_prepare(lp_addr at);

/* From now on one stands there; whoever meets it goes on at `to`, or (0) waits for it to go. */
void lp_traps_arm(lp_addr at, lp_addr to);
void lp_traps_disarm(lp_addr at);

enum lp_trap_answer {
	LP_TRAP_FOREIGN, /* not ours */
	LP_TRAP_GO,	 /* on at *to */
	LP_TRAP_WAIT,	 /* for it to go, then at the same place */
};

/* For the handler, between enter and leave. */
enum lp_trap_answer lp_traps_ask(lp_addr at, lp_addr *to);
void lp_traps_enter(void);
void lp_traps_leave(void);

/* Some thread is between lp_traps_enter() and _leave(): it may hold a `to` that nobody else knows. */
bool lp_traps_busy(void);

/* The child of a fork: those who were in there stayed in the parent. */
void lp_traps_forked(void);

#endif
