/*
 * Child processes: the user's build, patch(1), compilers.
 *
 *     struct lp_run run = {.argv = argv, .cwd = tree, .env = env, .log = "build.log"};
 *     rc = lp_run_all(&run, 1, 1, &watch, err);     // 0: it ran; run.status is its exit status
 *
 * Each runs in a process group of its own with /dev/null for input and its output in the log.  When *watch->interrupted becomes
 * true, or the call fails, all groups are ended (SIGTERM, after a while SIGKILL) before it returns.  No shell is involved;
 * programs without a slash are searched for in the PATH of this process.  When this process is killed, they are ended all the
 * same (guardian.h); their temporary files go with them, for they are given a directory that ends with the call.
 */
#ifndef LP_BUILD_RUN_H
#define LP_BUILD_RUN_H

#include <signal.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

struct lp_run {
	const char *const *argv; /* ended by NULL */
	const char *cwd;	 /* NULL = ours */
	const char *const *env;	 /* ended by NULL; NULL = ours */
	const char *log;	 /* appended to; NULL = nowhere */
	const char *temporary;	 /* the variable that names the directory for temporary files; NULL = TMPDIR */
	int status;		 /* out: exit status, 128 + signal when killed */
	pid_t pid, group;	 /* private */
	int pidfd;		 /* private */
};

struct lp_watch {
	const volatile sig_atomic_t *interrupted; /* NULL = never */
	void (*tick)(void *arg);		  /* now and then, a few times a second; NULL = nobody asks */
	void *arg;
};

/* Ticks.  -LP_EINTERRUPTED once that is so: also of what was run only to be asked something, and gave no answer. */
int lp_watch_look(const struct lp_watch *watch, struct lp_err *err);

/* Runs all, at most `jobs` at a time.  0 when all ran to an end, whatever their statuses. */
int lp_run_all(struct lp_run *runs, size_t nr, unsigned jobs, const struct lp_watch *watch, struct lp_err *err);

/* A copy of an environment with some variables set ("NAME=value") or removed ("NAME"); items and array are the caller's. */
typedef LP_VEC(char *) lp_env_vec;
void lp_env_copy(lp_env_vec *out, char *const *from);
void lp_env_set(lp_env_vec *env, const char *name, const char *value); /* value NULL: remove */
void lp_env_end(lp_env_vec *env);				       /* add the NULL */
void lp_env_free(lp_env_vec *env);

/* The last `lines` lines of a log, to be shown to people; "" when it cannot be read. */
void lp_log_tail(struct lp_buf *out, const char *log, size_t lines);

#endif
