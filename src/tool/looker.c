#include "tool/looker.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "store/deploy.h"
#include "tool/tool.h"

#define LOST_OF_USER 2 /* of an ordinary user */
#define WEARY_MS 30000 /* how long a lost one counts, when it ended at once: a tenth of our time for a user's tricks */

struct answer {
	int rc;
	struct look look;
	struct lp_err err;
};

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the child ---- */

static void look(const struct lp_store *s, pid_t pid, struct answer *a)
{
	struct lp_seen seen;
	a->rc = lp_scan_process(pid, &seen, &a->err);
	if (a->rc < 0)
		return;
	a->look = (struct look){.start_time = seen.start_time, .image = seen.image, .kernel = seen.kernel};
	memcpy(a->look.comm, seen.comm, sizeof a->look.comm);
	if (!seen.kernel)
		a->rc = lp_deploy_fits(s, &seen, &a->look.fits, &a->err);
	a->look.store_failed = a->rc < 0;
	lp_seen_free(&seen);
}

/* Until the other end is closed.  It changes nothing anywhere, so it may be killed whenever somebody likes. */
_Noreturn static void serve(int fd, pid_t parent, const struct lp_store *s)
{
	pid_t pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_REFUSED);
	close_range(STDERR_FILENO + 1, (unsigned)fd - 1, 0);
	close_range((unsigned)fd + 1, ~0u, 0);
	signals_default();
	signal(SIGINT, SIG_IGN); /* the terminal's, for our parent: it ends us */
	while (recv(fd, &pid, sizeof pid, 0) == (ssize_t)sizeof pid) {
		struct answer a = {0};
		look(s, pid, &a);
		if (send(fd, &a, sizeof a, MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(EXIT_DONE);
}

static int start(struct looker *l, const struct lp_store *s, struct lp_err *err)
{
	int ends[2];
	pid_t self = getpid();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return lp_fail_sys(err, errno, "cannot make a socket");
	out_flush(); /* or both of us would print it */
	pid_t child = fork();
	if (child == 0)
		serve(ends[1], self, s);
	int rc = child < 0 ? lp_fail_sys(err, errno, "cannot start a child") : 0;
	lp_close(ends[1]);
	if (rc < 0) {
		lp_close(ends[0]);
		return rc;
	}
	l->child = child;
	l->fd = ends[0];
	return 0;
}

/* ---- those that were lost ---- */

static bool has_ended(pid_t child)
{
	return !child || waitpid(child, NULL, WNOHANG) != 0;
}

static void count_lost(struct looker *l)
{
	size_t kept = 0;
	int64_t now = now_ms();
	for (size_t i = 0; i < l->lost.nr; i++) {
		struct lost_looker *lost = &l->lost.items[i];
		if (has_ended(lost->child))
			lost->child = 0;
		if (lost->child || now < lost->until)
			l->lost.items[kept++] = *lost;
	}
	l->lost.nr = kept;
}

bool looker_is_worn_out(struct looker *l, pid_t pid, uid_t uid)
{
	size_t of_user = 0;
	count_lost(l);
	for (size_t i = 0; i < l->lost.nr; i++) {
		const struct lost_looker *lost = &l->lost.items[i];
		if (lost->child && lost->pid == pid)
			return true;
		of_user += lost->pid && lost->uid == uid;
	}
	return uid != 0 && of_user >= LOST_OF_USER;
}

/* Whatever it is doing.  One that hangs in the kernel for good is not waited for. */
static void lose(struct looker *l, int64_t until)
{
	kill(l->child, SIGKILL);
	lp_close(l->fd);
	lp_vec_push(&l->lost, ((struct lost_looker){.child = l->child, .pid = l->pid, .uid = l->uid, .until = until}));
	l->child = l->pid = 0;
	l->fd = -1;
}

/* ---- questions and answers ---- */

int looker_ask(struct looker *l, const struct lp_store *s, pid_t pid, uid_t uid, struct lp_err *err)
{
	int rc = l->fd < 0 ? start(l, s, err) : 0;
	if (rc < 0)
		return rc;
	l->pid = pid;
	l->uid = uid;
	l->deadline = now_ms() + LOOKER_MS;
	send(l->fd, &pid, sizeof pid, MSG_NOSIGNAL); /* when that fails there is no child, as the answer will tell */
	return 0;
}

int looker_answer(struct looker *l, struct look *out, struct lp_err *err)
{
	struct answer a;
	pid_t pid = l->pid;
	if (recv(l->fd, &a, sizeof a, 0) != (ssize_t)sizeof a) {
		lose(l, now_ms() + WEARY_MS);
		return lp_fail(err, LP_EUNFINISHED, "the child that looked at process %d was lost", (int)pid);
	}
	l->pid = 0;
	*out = a.look;
	if (a.rc < 0 && err)
		*err = a.err;
	return a.rc;
}

int looker_give_up(struct looker *l, struct lp_err *err)
{
	pid_t pid = l->pid;
	lose(l, now_ms() + WEARY_MS);
	return lp_fail(err, LP_ETIMEOUT,
		       "process %d could not be looked at within %d s: a file that it has mapped may lie on a file "
		       "system that does not answer",
		       (int)pid, LOOKER_MS / 1000);
}

void looker_stop(struct looker *l)
{
	if (l->fd >= 0)
		lose(l, 0);
	count_lost(l);
}
