#include "store/scripts.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"

static int reap(pid_t child)
{
	int status = 0;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}

/* True when it ended by itself. */
static bool ends_within(pid_t child, unsigned timeout_ms)
{
	int fd = (int)syscall(SYS_pidfd_open, child, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n;
	do
		n = fd < 0 ? 1 : poll(&p, 1, (int)timeout_ms);
	while (n < 0 && errno == EINTR); /* a signal to us is none to it; the time begins anew, which is all right */
	lp_close(fd);
	return n != 0;
}

int lp_script_run(const char *path, pid_t pid, unsigned timeout_ms, struct lp_err *err)
{
	char number[16];
	snprintf(number, sizeof number, "%d", (int)pid);
	char *argv[] = {(char *)(uintptr_t)path, number, NULL};
	pid_t child;
	int rc = posix_spawn(&child, path, NULL, NULL, argv, environ);
	if (rc)
		return lp_fail(err, LP_EHOOK, "cannot run %s: %s", path, strerror(rc));
	bool ended = ends_within(child, timeout_ms);
	if (!ended)
		kill(child, SIGKILL);
	int status = reap(child);
	if (!ended)
		return lp_fail(err, LP_EHOOK, "%s %s did not end within %u seconds and was killed", path, number,
			       timeout_ms / 1000);
	if (WIFSIGNALED(status))
		return lp_fail(err, LP_EHOOK, "%s %s was killed (%s)", path, number, strsignal(WTERMSIG(status)));
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return lp_fail(err, LP_EHOOK, "%s %s ended with status %d", path, number,
			       WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	return 0;
}
