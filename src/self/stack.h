/*
 * What lies on the stack of a thread that does not run: addresses of code that
 * is about to vanish.
 *
 * A pc that the kernel saved before it entered a signal handler is recognised
 * for certain; every other word may be a return address or just a number.
 */
#ifndef LP_SELF_STACK_H
#define LP_SELF_STACK_H

#include "self/maps.h"

/* Frames of signal handlers farther from the stack pointer than this are not seen. */
#define LP_STACK_SEEN (1u << 20)

struct lp_stack_word {
	lp_addr at;    /* where it lies */
	lp_addr value; /* within `span` */
	bool is_frame; /* a saved pc of the kernel's */
};

/*
 * `maps` tell where a stack ends; one that is newer than they ends where nothing can be read.  Not two scans at a time
 * (there is one buffer); safe between stop and resume.  False: the stack did not end
 * in sight, or there were more of them (of handlers that interrupted each other) than anybody has.
 */
bool lp_stack_scan(lp_addr sp, const struct lp_self_maps *maps, struct lp_range span,
		   void (*found)(void *arg, const struct lp_stack_word *w), void *arg);

#endif
