/*
 * Resource limits of another process, from /proc/PID/limits: prlimit(2) would
 * need CAP_SYS_RESOURCE for a process of another user, reading needs nothing
 * that tracing does not.
 */
#include <stdlib.h>
#include <string.h>

#include "base/fdio.h"
#include "proc/state.h"

static const char file_size[] = "\nMax file size";

int lp_proc_file_size_limit(struct lp_proc *p, uint64_t *out, struct lp_err *err)
{
	char path[64];
	struct lp_buf b = {0};
	int rc = lp_read_file(lp_proc_path(p, "limits", path, sizeof path), &b, 1u << 16, err);
	const char *at = rc == 0 ? strstr(lp_buf_cstr(&b), file_size) : NULL;
	if (at) {
		at += sizeof file_size - 1;
		at += strspn(at, " ");
		*out = strncmp(at, "unlimited", 9) == 0 ? UINT64_MAX : strtoull(at, NULL, 10);
	} else if (rc == 0) {
		rc = lp_fail(err, LP_EINTERNAL, "%s has no line \"Max file size\"", path);
	}
	lp_buf_free(&b);
	return rc < 0 ? lp_proc_why(p, rc, err) : 0;
}
