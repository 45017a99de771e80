#include "tool/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "tool/tool.h"

#define RECOVER_MS 5000

struct answer {
	int rc;
	struct lp_deployed done;
	struct lp_err err;
};

static bool write_answer(int fd, const struct answer *a)
{
	const char *p = (const char *)a;
	for (size_t at = 0; at < sizeof *a;) {
		ssize_t n = write(fd, p + at, sizeof *a - at);
		if (n < 0 && errno != EINTR)
			return false;
		at += n > 0 ? (size_t)n : 0;
	}
	return true;
}

static bool read_answer(int fd, struct answer *a)
{
	char *p = (char *)a;
	for (size_t at = 0; at < sizeof *a;) {
		ssize_t n = read(fd, p + at, sizeof *a - at);
		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
		at += n > 0 ? (size_t)n : 0;
	}
	return true;
}

_Noreturn static void work(int fd, pid_t parent, worker_fn *fn, void *arg)
{
	struct answer a = {0};
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(EXIT_REFUSED);
	/* What our parent listens to, or holds open for somebody, must end with our parent. */
	close_range(STDERR_FILENO + 1, (unsigned)fd - 1, 0);
	close_range((unsigned)fd + 1, ~0u, 0);
	signals_default();
	signals_catch();
	a.rc = fn(arg, &a.done, &a.err);
	_exit(write_answer(fd, &a) ? EXIT_DONE : EXIT_REFUSED);
}

int worker_start(struct worker *w, pid_t target, worker_fn *fn, void *arg, struct lp_err *err)
{
	int ends[2];
	pid_t self = getpid();
	if (pipe2(ends, O_CLOEXEC) < 0)
		return lp_fail_sys(err, errno, "cannot make a pipe");
	out_flush(); /* or both of us would print it */
	pid_t child = fork();
	if (child < 0) {
		int rc = lp_fail_sys(err, errno, "cannot start a worker");
		lp_close(ends[0]);
		lp_close(ends[1]);
		return rc;
	}
	if (child == 0) {
		lp_close(ends[0]);
		work(ends[1], self, fn, arg);
	}
	lp_close(ends[1]);
	*w = (struct worker){child, target, ends[0]};
	return 0;
}

/* ---- when it did not come back ---- */

static int recover(void *arg, struct lp_deployed *done, struct lp_err *err)
{
	const pid_t *target = arg;
	struct lp_target *t = NULL;
	struct lp_apply_opts opts = {.timeout_ms = RECOVER_MS, .interrupted = &interrupted};
	struct lp_result result = {0};
	int rc = lp_target_open_process(&t, *target, NULL, err);
	rc = rc ? rc : lp_recover(t, &opts, &result, err);
	done->recovered = result.recovered;
	lp_target_close(t);
	return rc;
}

static int wait_for(pid_t child)
{
	int status;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return 0;
	return status;
}

/* The worker that recovers is not recovered for in its turn: a process that kills two of them is left to a person. */
static int recover_for(pid_t target, int status, struct lp_err *err)
{
	struct worker w;
	struct answer a;
	const char *why = WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "it ended without an answer";
	int rc = worker_start(&w, target, recover, &target, err);
	if (rc < 0)
		return rc;
	bool answered = read_answer(w.fd, &a);
	lp_close(w.fd);
	wait_for(w.child);
	if (!answered || a.rc < 0)
		return lp_fail(err, LP_EUNFINISHED,
			       "the worker on process %d was lost (%s), and what it left could not be cleaned up: %s; "
			       "try livepatch recover -p %d",
			       (int)target, why, answered ? a.err.text : "that worker was lost too", (int)target);
	return lp_fail(err, LP_EUNFINISHED, "the worker on process %d was lost (%s); %s", (int)target, why,
		       a.done.recovered ? "what it had begun was taken back or finished"
					: "nothing of its work was left unfinished");
}

int worker_finish(struct worker *w, struct lp_deployed *done, struct lp_err *err)
{
	struct answer a;
	bool answered = read_answer(w->fd, &a);
	lp_close(w->fd);
	int status = wait_for(w->child);
	*done = (struct lp_deployed){0};
	if (!answered)
		return recover_for(w->target, status, err);
	*done = a.done;
	if (a.rc < 0 && err)
		*err = a.err;
	return a.rc;
}

int worker_run(pid_t target, worker_fn *fn, void *arg, struct lp_deployed *done, struct lp_err *err)
{
	struct worker w;
	*done = (struct lp_deployed){0};
	int rc = worker_start(&w, target, fn, arg, err);
	return rc < 0 ? rc : worker_finish(&w, done, err);
}
