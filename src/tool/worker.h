/*
 * Work on a process, done by a child of ours.
 *
 *     rc = worker_start(&w, pid, fn, arg, err);
 *     ... poll worker_fd(&w) ...
 *     rc = worker_finish(&w, &done, err);      // what fn returned
 *
 * The child may be killed, or fall over what it finds in a hostile process;
 * then we recover the process at once (supervise.c says why) and go on with
 * the next one.  When we die, the child is told by SIGTERM and stops, unless it
 * is past the point of no return: then it finishes.
 */
#ifndef LP_TOOL_WORKER_H
#define LP_TOOL_WORKER_H

#include "store/deploy.h"

typedef int worker_fn(void *arg, struct lp_deployed *done, struct lp_err *err);

struct worker {
	pid_t child, target;
	int fd; /* readable when the answer is there, or the child has ended */
};

int worker_start(struct worker *w, pid_t target, worker_fn *fn, void *arg, struct lp_err *err);
/* Waits for it. */
int worker_finish(struct worker *w, struct lp_deployed *done, struct lp_err *err);
/* Both. */
int worker_run(pid_t target, worker_fn *fn, void *arg, struct lp_deployed *done, struct lp_err *err);

#endif
