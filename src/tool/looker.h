/*
 * A child that looks at processes for us: what do they run, and has the store something for them?
 *
 * To look is to read a process's memory, and memory may be a file of a FUSE or network file system that does not answer:
 * who reads it waits, for as long as the process's owner likes, and takes no signal but SIGKILL, some not even that.  So
 * somebody else reads, one process after the other, and is given up when it takes too long.
 *
 *     struct looker l = LOOKER_NONE;
 *     if (!looker_is_worn_out(&l, pid, uid))
 *             rc = looker_ask(&l, store, pid, uid, err);       // one at a time
 *     ... poll l.fd until l.deadline ...
 *     rc = looker_answer(&l, &look, err);                      // readable; or
 *     rc = looker_give_up(&l, err);                            // the time is over: always negative
 *     ...
 *     looker_stop(&l);                                         // at the end, and when the store has changed
 *
 * Each user can have a few lookers lost in his processes; then no more are sent there for a while.  Root's processes are
 * refused only when the one before is still in that very process.  Not for threads.
 */
#ifndef LP_TOOL_LOOKER_H
#define LP_TOOL_LOOKER_H

#include "base/vec.h"
#include "store/store.h"

#define LOOKER_MS 3000 /* a process with a hundred thousand mappings takes a tenth of it */

/* What it saw of a process. */
struct look {
	uint64_t start_time, image, fits; /* as in struct lp_seen; of lp_deploy_fits() */
	char comm[17];
	bool kernel, store_failed; /* store_failed: the error is lp_deploy_fits()'s */
};

/* A child that was given up, until it is no more and its user has paid for it. */
struct lost_looker {
	pid_t child, pid; /* child 0: has ended */
	uid_t uid;
	int64_t until;
};

struct looker {
	pid_t child, pid; /* pid: who is being looked at; 0 = nobody */
	uid_t uid;
	int fd;		  /* readable when the answer is there, or the child has ended; -1 = no child */
	int64_t deadline; /* milliseconds of CLOCK_MONOTONIC */
	LP_VEC(struct lost_looker) lost;
};

#define LOOKER_NONE      \
	{                \
		.fd = -1 \
	}

bool looker_is_worn_out(struct looker *l, pid_t pid, uid_t uid);
int looker_ask(struct looker *l, const struct lp_store *s, pid_t pid, uid_t uid, struct lp_err *err);
/* 0, or why lp_scan_process() or lp_deploy_fits() failed.  -LP_EUNFINISHED: the looker died over it. */
int looker_answer(struct looker *l, struct look *out, struct lp_err *err);
int looker_give_up(struct looker *l, struct lp_err *err);
void looker_stop(struct looker *l);

#endif
