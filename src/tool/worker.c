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
#define RECOVER_SECONDS 60u

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

_Noreturn static void work(int fd, pid_t parent, unsigned seconds, worker_fn *fn, void *arg)
{
	struct answer a = {0};
	signal(SIGALRM, SIG_DFL);
	alarm(seconds); /* as if somebody had killed us: what we were doing is recovered */
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

static int start(struct worker *w, pid_t target, unsigned seconds, worker_fn *fn, void *arg, struct lp_err *err)
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
		work(ends[1], self, seconds, fn, arg);
	}
	lp_close(ends[1]);
	*w = (struct worker){.child = child, .target = target, .fd = ends[0]};
	return 0;
}

int worker_start(struct worker *w, pid_t target, worker_fn *fn, void *arg, struct lp_err *err)
{
	return start(w, target, WORKER_SECONDS, fn, arg, err);
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

static int recover_for(struct worker *w, int status, struct lp_err *err)
{
	pid_t target = w->target;
	int rc = start(w, target, RECOVER_SECONDS, recover, &target, err);
	w->lost = true;
	w->why_not = status;
	return rc < 0 ? rc : WORKER_RECOVERS;
}

static const char *why_lost(int status)
{
	if (!WIFSIGNALED(status))
		return "it ended without an answer";
	return WTERMSIG(status) == SIGALRM ? "it came to no end" : strsignal(WTERMSIG(status));
}

/* The worker that recovers is not recovered for in its turn: a process that kills two of them is left to a person. */
static int recovered(const struct worker *w, bool answered, const struct answer *a, struct lp_err *err)
{
	if (!answered || a->rc < 0)
		return lp_fail(err, LP_EUNFINISHED,
			       "the worker on process %d was lost (%s), and what it left could not be cleaned up: %s; "
			       "try livepatch recover -p %d",
			       (int)w->target, why_lost(w->why_not),
			       answered ? a->err.text : "that worker was lost too", (int)w->target);
	return lp_fail(err, LP_EUNFINISHED, "the worker on process %d was lost (%s); %s", (int)w->target,
		       why_lost(w->why_not),
		       a->done.recovered ? "what it had begun was taken back or finished"
					 : "nothing of its work was left unfinished");
}

int worker_finish(struct worker *w, struct lp_deployed *done, struct lp_err *err)
{
	struct answer a;
	bool answered = read_answer(w->fd, &a);
	lp_close(w->fd);
	int status = wait_for(w->child);
	*done = (struct lp_deployed){0};
	if (w->lost)
		return recovered(w, answered, &a, err);
	if (!answered)
		return recover_for(w, status, err);
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
	if (rc < 0)
		return rc;
	do
		rc = worker_finish(&w, done, err);
	while (rc == WORKER_RECOVERS);
	return rc;
}
