/*
 * The threads of this process, as /proc tells.  Everything here works between
 * stop and resume: plain system calls, no memory of its own.
 *
 *     rc = lp_threads_open(&t, err);
 *     lp_threads_first(&t);
 *     while ((tid = lp_threads_next(&t)) > 0) ...;
 *     all = lp_threads_seen_all(&t);
 *     lp_threads_close(&t);
 */
#ifndef LP_SELF_THREADS_H
#define LP_SELF_THREADS_H

#include "base/err.h"

#define LP_THREADS_BUFFER 16384

struct lp_threads {
	int dir;
	size_t begin, end; /* of what is left in buffer */
	unsigned listed;   /* since first() */
	unsigned before;   /* how many the kernel counted at first() */
	uint8_t buffer[LP_THREADS_BUFFER] __attribute__((aligned(8)));
};

int lp_threads_setup(void); /* once in a process; finds out whether lp_thread_rests() can be believed */

int lp_threads_open(struct lp_threads *t, struct lp_err *err);
void lp_threads_close(struct lp_threads *t);

void lp_threads_first(struct lp_threads *t);
int lp_threads_next(struct lp_threads *t); /* 0: no more */
/* The last walk listed as many as the kernel counted before and after it: an exit may have hidden one otherwise. */
bool lp_threads_seen_all(const struct lp_threads *t);

/*
 * The thread sleeps in the kernel, and will go on at *pc with *sp when it wakes; false when it runs or is about to.
 * (0, 0) for one that has ended.  True is true for that moment only.
 */
bool lp_thread_rests(const struct lp_threads *t, int tid, lp_addr *pc, lp_addr *sp);

/* Whether lp_thread_rests() ever says true here. */
bool lp_threads_tell_rest(void);

struct lp_thread_ways {
	uint64_t blocked; /* signals (bit n - 1 for signal n): all of them when nobody can tell */
	bool strict;	  /* seccomp's first mode: a signal handler that makes a call is its end */
};
struct lp_thread_ways lp_thread_ways(const struct lp_threads *t, int tid);

/* This thread's system calls go through a filter (seccomp). */
bool lp_thread_filtered(void);

/*
 * An emulator of user-mode programs has threads of its own (qemu one, for its garbage).  They execute no code of this
 * program, and block everything but what a fault raises.
 */
bool lp_thread_is_the_emulators(const struct lp_threads *t, int tid);

/* A debugger or another tracer sees our signals before we do. */
bool lp_threads_traced(const struct lp_threads *t);

bool lp_thread_exists(int tid);

int lp_thread_self(void);

#endif
