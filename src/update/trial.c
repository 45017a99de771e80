#include "update/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"

#define SAID_MAX 4096

static const char *const nothing[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

/* ---- starting ---- */

static void set_files(posix_spawn_file_actions_t *files, int to)
{
	posix_spawn_file_actions_init(files);
	posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(files, to, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(files, to, STDERR_FILENO);
	posix_spawn_file_actions_addchdir_np(files, "/");
}

/* A group of its own, and signals as if nobody had touched them. */
static void set_attributes(posix_spawnattr_t *attr)
{
	sigset_t all, none;

	sigfillset(&all);
	sigemptyset(&none);
	posix_spawnattr_init(attr);
	posix_spawnattr_setpgroup(attr, 0);
	posix_spawnattr_setsigdefault(attr, &all);
	posix_spawnattr_setsigmask(attr, &none);
	posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
}

static int start(const char *path, const char *const *argv, int to, pid_t *pid)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	int rc;

	set_files(&files, to);
	set_attributes(&attr);
	rc = posix_spawn(pid, path, &files, &attr, (char *const *)argv, (char *const *)nothing);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	return rc;
}

/* ---- waiting ---- */

/* What does not fit is read and forgotten.  False: nobody writes any more. */
static bool take_output(int from, struct lp_buf *out)
{
	char chunk[SAID_MAX];
	ssize_t n = read(from, chunk, sizeof chunk);
	size_t room = out ? SAID_MAX - out->len : 0;

	if (n > 0 && room)
		lp_buf_add(out, chunk, (size_t)n < room ? (size_t)n : room);
	return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

/* Until it has ended: whoever else holds the pipe is not waited for.  False: it has not, in time. */
static bool wait_for_end(int pidfd, int from, int64_t deadline, struct lp_buf *out)
{
	struct pollfd fds[] = {{.fd = pidfd, .events = POLLIN}, {.fd = from, .events = POLLIN}};

	for (;;) {
		int64_t left = deadline - now_ms();
		if (left <= 0)
			return false;
		if (poll(fds, 2, (int)left) < 0) {
			if (errno != EINTR)
				return false;
			continue;
		}
		if (fds[1].revents && !take_output(from, out))
			fds[1].fd = -1;
		else if (!fds[1].revents && (fds[0].revents & POLLIN))
			return true;
		if (fds[1].fd < 0 && (fds[0].revents & POLLIN))
			return true;
	}
}

static int judge(const char *path, int status, bool in_time, unsigned limit_ms, struct lp_err *err)
{
	if (!in_time)
		return lp_fail(err, LP_ETRIAL, "%s did not end within %u s", path, limit_ms / 1000);
	if (WIFSIGNALED(status))
		return lp_fail(err, LP_ETRIAL, "%s was ended by signal %d (%s)", path, WTERMSIG(status),
			       sigabbrev_np(WTERMSIG(status)));
	if (WEXITSTATUS(status))
		return lp_fail(err, LP_ETRIAL, "%s ended with status %d", path, WEXITSTATUS(status));
	return 0;
}

static int watch(const char *path, pid_t pid, int from, unsigned limit_ms, struct lp_buf *out, struct lp_err *err)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), status = 0;
	bool in_time = pidfd >= 0 && wait_for_end(pidfd, from, now_ms() + limit_ms, out);

	kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	lp_close(pidfd);
	return judge(path, status, in_time, limit_ms, err);
}

int lp_trial(const char *path, const char *const *argv, unsigned limit_ms, struct lp_buf *out, struct lp_err *err)
{
	int ends[2], rc;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return lp_fail_sys(err, errno, "no pipe");
	rc = start(path, argv, ends[1], &pid);
	lp_close(ends[1]);
	if (rc == 0)
		rc = watch(path, pid, ends[0], limit_ms, out, err);
	else
		rc = lp_fail(err, LP_ETRIAL, "%s cannot be run: %s", path, strerrordesc_np(rc));
	lp_close(ends[0]);
	return rc;
}
