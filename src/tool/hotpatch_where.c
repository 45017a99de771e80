#include "tool/hotpatch_where.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdio.h"

#define STATUS_MAX 65536

static bool same_root(pid_t pid)
{
	char path[64];
	struct stat theirs, ours;

	snprintf(path, sizeof path, "/proc/%d/root", pid);
	return stat(path, &theirs) < 0 || stat("/proc/self/root", &ours) < 0 ||
	       (theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino);
}

/* What stands behind "NAME:" in /proc/PID/status; NULL. */
static const char *field(const char *status, const char *name)
{
	const char *at = strstr(status, name);

	return at ? at + strlen(name) : NULL;
}

static pid_t number(const char *status, const char *name)
{
	const char *at = field(status, name);

	return at ? (pid_t)strtol(at, NULL, 10) : 0;
}

/* The last of a line of numbers. */
static pid_t inner_number(const char *status, pid_t pid)
{
	const char *at = field(status, "\nNSpid:");
	char *end;

	while (at && *at && *at != '\n') {
		long inner = strtol(at, &end, 10);

		if (end == at)
			break;
		pid = (pid_t)inner;
		at = end + strspn(end, " \t");
	}
	return pid;
}

/* The second of a line of numbers: real, effective, saved, of the file system. */
static uid_t effective_user(const char *uids)
{
	char *end;

	strtoul(uids, &end, 10);
	return (uid_t)strtoul(end, NULL, 10);
}

/* Its first thread may have ended before others, which go on. */
static bool has_exited(const char *status)
{
	const char *state = field(status, "\nState:\t");

	return state && strchr("ZX", *state) && number(status, "\nThreads:") <= 1;
}

static int understand_status(const char *status, pid_t pid, struct where *out, struct lp_err *err)
{
	const char *uids = field(status, "\nUid:");
	pid_t process = number(status, "\nTgid:");

	if (!uids)
		return lp_fail(err, LP_EGONE, "there is no process %d", pid);
	if (process != pid)
		return lp_fail(err, LP_EGONE, "%d is a thread of process %d: name the process", pid, process);
	if (has_exited(status))
		return lp_fail(err, LP_EGONE, "process %d has exited already; its parent has not asked how", pid);
	*out = (struct where){.uid = effective_user(uids), .inner = inner_number(status, pid)};
	return 0;
}

int where_is(pid_t pid, struct where *out, struct lp_err *err)
{
	char path[64];
	struct lp_buf status = {0};

	snprintf(path, sizeof path, "/proc/%d/status", pid);
	lp_read_file(path, &status, STATUS_MAX, NULL);
	int rc = understand_status(lp_buf_cstr(&status), pid, out, err);
	lp_buf_free(&status);
	if (rc == 0 && !same_root(pid))
		snprintf(out->root, sizeof out->root, "/proc/%d/root", pid);
	return rc;
}
