#include "store/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "base/vec.h"

#define BACKLOG 64

/* ---- addresses ---- */

static int address_of(const char *name, struct sockaddr_un *out, socklen_t *len, struct lp_err *err)
{
	size_t n = strlen(name);
	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (n < 2 && (n == 0 || name[0] == '@'))
		return lp_fail(err, EINVAL, "the name of a socket is missing");
	if (n >= sizeof out->sun_path)
		return lp_fail(err, ENAMETOOLONG, "the name of the socket %s is longer than %zu bytes", name,
			       sizeof out->sun_path - 1);
	memcpy(out->sun_path, name, n);
	if (name[0] == '@')
		out->sun_path[0] = 0;
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + (name[0] != '@'));
	return 0;
}

static int option_of(int fd, int option)
{
	int value = 0;
	socklen_t len = sizeof value;
	return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? -1 : value;
}

/* "&3": a socket that whoever started us made. */
static int inherited(const char *name, struct lp_err *err)
{
	char *end;
	errno = 0;
	long fd = strtol(name + 1, &end, 10);
	if (name[1] < '0' || name[1] > '9' || *end || errno || fd > INT_MAX)
		return lp_fail(err, EINVAL, "%s is not the number of a descriptor, such as &3", name);
	if (option_of((int)fd, SO_DOMAIN) != AF_UNIX || option_of((int)fd, SO_TYPE) != SOCK_STREAM ||
	    option_of((int)fd, SO_ACCEPTCONN) != 1)
		return lp_fail(err, ENOTSOCK, "descriptor %ld is no local stream socket that listens", fd);
	return (int)fd;
}

static int open_socket(struct lp_err *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return fd < 0 ? lp_fail_sys(err, errno, "cannot make a socket") : fd;
}

static bool somebody_listens(const struct sockaddr_un *a, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool yes = fd >= 0 && (connect(fd, (const struct sockaddr *)a, len) == 0 || errno == EAGAIN);
	lp_close(fd);
	return yes;
}

/* Removed only when it is a socket, ours, and nobody's. */
static void remove_stale(const char *name, const struct sockaddr_un *a, socklen_t len)
{
	struct stat st;
	if (name[0] != '@' && lstat(name, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_uid == geteuid() &&
	    !somebody_listens(a, len))
		unlink(name);
}

static int bind_and_listen(int fd, const char *name, const struct sockaddr_un *a, socklen_t len, struct lp_err *err)
{
	remove_stale(name, a, len);
	mode_t mask = umask(0177);
	int rc = bind(fd, (const struct sockaddr *)a, len);
	int error = errno;
	umask(mask);
	if (rc < 0)
		return lp_fail_sys(err, error, "cannot bind the socket %s", name);
	return listen(fd, BACKLOG) < 0 ? lp_fail_sys(err, errno, "cannot listen on the socket %s", name) : 0;
}

int lp_wire_listen(const char *name, struct lp_err *err)
{
	struct sockaddr_un a;
	socklen_t len = 0;
	if (name[0] == '&')
		return inherited(name, err);
	int rc = address_of(name, &a, &len, err);
	if (rc < 0)
		return rc;
	int fd = open_socket(err);
	if (fd < 0)
		return fd;
	rc = bind_and_listen(fd, name, &a, len, err);
	if (rc < 0)
		lp_close(fd);
	return rc < 0 ? rc : fd;
}

void lp_wire_unlink(const char *name)
{
	if (name[0] != '@' && name[0] != '&')
		unlink(name);
}

int lp_wire_connect(const char *name, struct lp_err *err)
{
	struct sockaddr_un a;
	socklen_t len = 0;
	int rc = address_of(name, &a, &len, err);
	if (rc < 0)
		return rc;
	int fd = open_socket(err);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, len) < 0) {
		rc = lp_fail_sys(err, errno, "cannot connect to the server at %s", name);
		lp_close(fd);
		return rc;
	}
	return fd;
}

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

/* Who connected; before Linux 6.5 whoever has his number now. */
static int peer_pidfd(int fd, pid_t pid)
{
	int pidfd = -1;
	socklen_t len = sizeof pidfd;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) < 0)
		pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (pidfd >= 0)
		fcntl(pidfd, F_SETFD, FD_CLOEXEC);
	return pidfd;
}

int lp_wire_peer(int fd, struct lp_wire_peer *out, struct lp_err *err)
{
	struct ucred cred;
	socklen_t len = sizeof cred;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return lp_fail_sys(err, errno, "cannot tell who is at the other end");
	*out = (struct lp_wire_peer){cred.pid, cred.uid, peer_pidfd(fd, cred.pid)};
	return 0;
}

/* ---- requests ---- */

static bool is_complete(const struct lp_wire_request *r)
{
	return r->len >= 2 && !r->bytes[r->len - 1] && !r->bytes[r->len - 2];
}

int lp_wire_take(struct lp_wire_request *r, int fd, struct lp_err *err)
{
	if (r->len == sizeof r->bytes)
		return lp_fail(err, EMSGSIZE, "the request is longer than %d bytes", LP_WIRE_MAX);
	ssize_t n = recv(fd, r->bytes + r->len, sizeof r->bytes - r->len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return lp_fail_sys(err, errno, "cannot read the request");
	if (n == 0)
		return lp_fail(err, ECONNRESET, "the connection ended in the middle of the request");
	r->len += (size_t)n;
	return is_complete(r);
}

int lp_wire_words(struct lp_wire_request *r, struct lp_wire_words *out, struct lp_err *err)
{
	*out = (struct lp_wire_words){0};
	if (!is_complete(r))
		return lp_fail(err, EBADMSG, "the request does not end with two NULs");
	for (size_t at = 0; at < r->len && r->bytes[at]; at += strlen(r->bytes + at) + 1) {
		if (out->nr == LP_WIRE_WORDS)
			return lp_fail(err, EBADMSG, "the request has more than %d words", LP_WIRE_WORDS);
		if (at == 0 && strcmp(r->bytes, "--status") == 0)
			out->wants_status = true;
		else
			out->items[out->nr++] = r->bytes + at;
	}
	return out->nr ? 0 : lp_fail(err, EBADMSG, "the request has no word");
}

int lp_wire_send(int fd, char *const *words, size_t nr, struct lp_err *err)
{
	struct lp_buf text = {0};
	int rc = 0;
	for (size_t i = 0; i < nr; i++) {
		if (!words[i][0])
			rc = lp_fail(err, EINVAL, "an empty word cannot be sent");
		lp_buf_add(&text, words[i], strlen(words[i]) + 1);
	}
	lp_buf_add(&text, "", 1);
	if (rc == 0 && text.len > LP_WIRE_MAX)
		rc = lp_fail(err, EMSGSIZE, "the request is longer than %d bytes", LP_WIRE_MAX);
	for (size_t at = 0; rc == 0 && at < text.len;) {
		ssize_t n = send(fd, text.data + at, text.len - at, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			rc = lp_fail_sys(err, errno, "cannot send the request");
		at += n > 0 ? (size_t)n : 0;
	}
	lp_buf_free(&text);
	return rc;
}
