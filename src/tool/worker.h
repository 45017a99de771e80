/*
 * Work on a process, done by a child of ours.
 *
 *     rc = worker_start(&w, pid, fn, arg, err);
 *     do ... poll w.fd ...
 *     while ((rc = worker_finish(&w, &done, err)) == WORKER_RECOVERS);   // else what fn returned
 *
 * The child may be killed, or fall over what it finds in a hostile process, or
 * be kept busy by it: after WORKER_SECONDS it is no more.  Then another child
 * recovers the process at once (supervise.c says why), and is waited for in the
 * same way.  When we die, the child is told by SIGTERM and stops, unless it is
 * past the point of no return: then it finishes.
 */
#ifndef LP_TOOL_WORKER_H
#define LP_TOOL_WORKER_H

#include "store/deploy.h"

typedef int worker_fn(void *arg, struct lp_deployed *done, struct lp_err *err);

#define WORKER_SECONDS 900u /* a hundred gigabytes are searched for coroutines in a fifth of it */
#define WORKER_RECOVERS 1   /* the child was lost; w->fd is that of the one that cleans up after it */

struct worker {
	pid_t child, target;
	int fd;	     /* readable when the answer is there, or the child has ended */
	bool lost;   /* the first child was, and this is the second */
	int why_not; /* how the first one ended, waitpid(2) */
};

int worker_start(struct worker *w, pid_t target, worker_fn *fn, void *arg, struct lp_err *err);
/* Waits for it.  0, a negative code, or WORKER_RECOVERS. */
int worker_finish(struct worker *w, struct lp_deployed *done, struct lp_err *err);
/* Both. */
int worker_run(pid_t target, worker_fn *fn, void *arg, struct lp_deployed *done, struct lp_err *err);

#endif
