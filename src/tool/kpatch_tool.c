#include "tool/kpatch_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/vec.h"

#define FILE_LIMIT (UINT64_C(4) << 30)

int kpatch_complain(const char *tool, const struct lp_err *err)
{
	fprintf(stderr, "%s: %s\n", tool, err->text);
	return EXIT_FAILURE;
}

int kpatch_read(const char *path, struct lp_buf *out, struct lp_err *err)
{
	return strcmp(path, "-") ? lp_read_file(path, out, FILE_LIMIT, err)
				 : lp_read_fd(STDIN_FILENO, out, FILE_LIMIT, err);
}

static int write_all(int fd, const struct lp_buf *data)
{
	for (size_t done = 0; done < data->len;) {
		ssize_t n = write(fd, data->data + done, data->len - done);
		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* What is there keeps its mode; devices and pipes are written to, not replaced. */
static bool is_special(const char *path, mode_t *mode)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return false;
	if (!S_ISREG(st.st_mode))
		return true;
	*mode = st.st_mode & 0777;
	return false;
}

static int write_in_place(const char *path, const struct lp_buf *data, struct lp_err *err)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int rc = fd < 0 ? -errno : write_all(fd, data);
	lp_close(fd);
	return rc < 0 ? lp_fail_sys(err, -rc, "cannot write %s", path) : 0;
}

int kpatch_write(const char *path, const struct lp_buf *data, mode_t mode, struct lp_err *err)
{
	if (!path || !strcmp(path, "-")) {
		int rc = write_all(STDOUT_FILENO, data);
		return rc < 0 ? lp_fail_sys(err, -rc, "cannot write to standard output") : 0;
	}
	mode_t mask = umask(0);
	umask(mask);
	mode &= ~mask;
	if (is_special(path, &mode))
		return write_in_place(path, data, err);
	char *temporary = lp_sprintf("%s.%d.tmp", path, (int)getpid());
	int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	int rc = fd < 0 ? -errno : write_all(fd, data);
	if (!rc && fchmod(fd, mode) < 0)
		rc = -errno;
	if (fd >= 0 && close(fd) < 0 && !rc)
		rc = -errno;
	if (!rc && rename(temporary, path) < 0)
		rc = -errno;
	if (rc < 0 && fd >= 0)
		unlink(temporary);
	lp_free(temporary);
	return rc < 0 ? lp_fail_sys(err, -rc, "cannot write %s", path) : 0;
}
