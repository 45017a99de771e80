#include "base/fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int lp_pread_full(int fd, void *data, size_t len, off_t at)
{
	char *p = data;
	while (len) {
		ssize_t n = pread(fd, p, len, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int lp_pwrite_full(int fd, const void *data, size_t len, off_t at)
{
	const char *p = data;
	while (len) {
		ssize_t n = pwrite(fd, p, len, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

int lp_read_fd(int fd, struct lp_buf *out, size_t limit, struct lp_err *err)
{
	char chunk[65536];
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof chunk);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return lp_fail_sys(err, errno, "read failed");
		if (n == 0)
			return 0;
		if ((size_t)n > limit - out->len)
			return lp_fail(err, EFBIG, "larger than %zu bytes", limit);
		if (!lp_buf_has_room(out, (size_t)n))
			return lp_fail(err, ENOMEM, "there is no memory for it");
		lp_buf_add(out, chunk, (size_t)n);
	}
}

int lp_read_file(const char *path, struct lp_buf *out, size_t limit, struct lp_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return lp_fail_sys(err, errno, "cannot open %s", path);
	struct stat st;
	int rc = 0;
	if (fstat(fd, &st) < 0)
		rc = lp_fail_sys(err, errno, "cannot stat %s", path);
	else if (S_ISDIR(st.st_mode))
		rc = lp_fail(err, EISDIR, "%s is a directory", path);
	else if (lp_read_fd(fd, out, limit, err) < 0)
		rc = lp_err_context(err, err ? err->code : -EIO, "%s", path);
	lp_close(fd);
	return rc;
}

static int read_if_regular(int fd, const char *name, struct lp_buf *out, size_t limit, struct lp_err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return lp_fail_sys(err, errno, "cannot stat %s", name);
	if (!S_ISREG(st.st_mode))
		return lp_fail(err, S_ISDIR(st.st_mode) ? EISDIR : EINVAL, "%s is not a regular file", name);
	int rc = lp_read_fd(fd, out, limit, err);
	return rc < 0 ? lp_err_context(err, rc, "%s", name) : 0;
}

int lp_read_regular(const char *path, const char *name, struct lp_buf *out, size_t limit, struct lp_err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return lp_fail_sys(err, errno, "cannot open %s", name);
	int rc = read_if_regular(fd, name, out, limit, err);
	lp_close(fd);
	return rc;
}

void lp_close(int fd)
{
	int saved = errno;
	if (fd >= 0)
		close(fd);
	errno = saved;
}

int lp_fd_aside(int fd)
{
	if (fd < 0 || fd > STDERR_FILENO)
		return fd;
	int aside = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	lp_close(fd);
	return aside;
}

void lp_stdio_hold(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		int mode = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY; /* whoever uses it gets EBADF, as before */
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", mode) != fd)
			abort();
	}
}
