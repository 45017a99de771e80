#include "control/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fdio.h"
#include "base/vec.h"
#include "control/json.h"
#include "control/socket.h"

#define REPLY_MAX (64u << 20)
#define STATUS_MAX 65536

/* ---- whom we talk to ---- */

/* Whose rights the process has: its effective user, which /proc/PID's own owner is not always. */
static int user_of(pid_t pid, uid_t *out, struct lp_err *err)
{
	static const char begins[] = "\nUid:"; /* real, effective, saved, of the file system */
	char path[64];
	struct lp_buf status = {0};
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	int rc = lp_read_file(path, &status, STATUS_MAX, NULL);
	const char *at = rc == 0 ? strstr(lp_buf_cstr(&status), begins) : NULL;
	if (at) {
		char *end;
		strtoul(at + strlen(begins), &end, 10);
		*out = (uid_t)strtoul(end, NULL, 10);
	} else {
		rc = lp_fail(err, ESRCH, "there is no process %d", pid);
	}
	lp_buf_free(&status);
	return rc;
}

/* Root may have made it before it became somebody else. */
static int check_node(const char *path, uid_t user, struct lp_err *err)
{
	struct stat st;
	if (lstat(path, &st) < 0) {
		int code = errno == ENOENT || errno == ENOTDIR ? errno : LP_EPERM;
		return lp_fail(err, code, "cannot look at %s: %s", path, strerror(errno));
	}
	if (!S_ISSOCK(st.st_mode))
		return lp_fail(err, LP_EPERM, "%s is no socket", path);
	if (st.st_uid != user && st.st_uid != 0)
		return lp_fail(err, LP_EPERM, "%s belongs to user %u, and the process to user %u", path, st.st_uid,
			       user);
	return 0;
}

static int check_peer(int fd, const char *path, pid_t pid, uid_t user, struct lp_err *err)
{
	struct lp_peer peer;
	int rc = lp_socket_peer(fd, &peer);
	if (rc < 0)
		return lp_fail_sys(err, -rc, "cannot tell who listens at %s", path);
	if (peer.pid != pid)
		return lp_fail(err, LP_EPERM, "process %d listens at %s, and not process %d", peer.pid, path, pid);
	if (peer.uid != user && peer.uid != 0)
		return lp_fail(err, LP_EPERM, "user %u listens at %s, and the process belongs to user %u", peer.uid,
			       path, user);
	return 0;
}

int lp_control_connect(const char *path, pid_t pid, unsigned patience_ms, struct lp_control_client *out,
		       struct lp_err *err)
{
	uid_t user = 0;
	*out = (struct lp_control_client){-1, pid};
	int rc = user_of(pid, &user, err);
	if (rc == 0)
		rc = check_node(path, user, err);
	if (rc == 0)
		rc = out->fd = lp_socket_connect(path, patience_ms, err);
	if (rc >= 0)
		rc = check_peer(out->fd, path, pid, user, err);
	if (rc < 0)
		lp_control_close(out);
	return rc;
}

void lp_control_close(struct lp_control_client *c)
{
	lp_close(c->fd);
	c->fd = -1;
}

/* ---- asking ---- */

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* 1 = ready, 0 = the time is over. */
static int wait_for(int fd, short events, uint64_t end)
{
	for (;;) {
		uint64_t now = now_ms();
		struct pollfd p = {.fd = fd, .events = events};
		int rc = now >= end ? 0 : poll(&p, 1, end - now > 60000 ? 60000 : (int)(end - now));
		if (rc > 0 || now >= end)
			return rc;
		if (rc < 0 && errno != EINTR)
			return -errno;
	}
}

static int wait_or_fail(int fd, short events, uint64_t end, struct lp_err *err)
{
	int rc = wait_for(fd, events, end);
	if (rc < 0)
		return lp_fail_sys(err, -rc, "cannot wait for the process");
	return rc ? 0 : lp_fail(err, LP_ETIMEOUT, "no answer in time");
}

/* Whoever was turned away is told why, which can be read all the same. */
static int send_all(int fd, const struct lp_buf *request, uint64_t end, struct lp_err *err)
{
	size_t sent = 0;
	while (sent < request->len) {
		ssize_t n = send(fd, request->data + sent, request->len - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EPIPE)
			return 0;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return lp_fail_sys(err, errno, "cannot send the request");
		int rc = n < 0 ? wait_or_fail(fd, POLLOUT, end, err) : 0;
		if (rc < 0)
			return rc;
		sent += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int receive_line(int fd, uint64_t end, struct lp_buf *line, struct lp_err *err)
{
	char data[16384];
	while (line->len == 0 || line->data[line->len - 1] != '\n') {
		int rc = wait_or_fail(fd, POLLIN, end, err);
		if (rc < 0)
			return rc;
		ssize_t n = recv(fd, data, sizeof data, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return lp_fail(err, ECONNRESET, "the process has ended the connection without an answer");
		if (memchr(data, '\n', (size_t)n - 1) || line->len + (size_t)n > REPLY_MAX)
			return lp_fail(err, EPROTO, "the process answers with what is no reply");
		lp_buf_add(line, data, (size_t)n);
	}
	line->data[--line->len] = 0;
	return 0;
}

/* A command is an array of its words, and the request an array of commands. */
static void write_request(struct lp_buf *b, const char *const *words, size_t nr, bool lines)
{
	const char *separator = "";
	lp_buf_str(b, "{\"cmd\": [[");
	for (size_t i = 0; i < nr; i++) {
		bool ends = strcmp(words[i], ";") == 0;
		lp_buf_str(b, ends ? "], [" : separator);
		if (!ends)
			lp_json_put_string(b, words[i], LP_JSON_ESCAPED);
		separator = ends ? "" : ", ";
	}
	lp_buf_str(b, lines ? "]], \"text\": true}\n" : "]]}\n");
}

static int receive_reply(int fd, uint64_t end, struct lp_buf *out, struct lp_err *err)
{
	struct lp_buf reply = {0};
	int rc = receive_line(fd, end, &reply, err);
	if (rc == 0 && reply.data[0] != '{')
		rc = lp_fail(err, EPROTO, "the process says: %.200s", lp_buf_cstr(&reply));
	if (rc == 0)
		lp_buf_add(out, reply.data, reply.len);
	lp_buf_free(&reply);
	return rc;
}

/* What was sent, or a part of it, may be read yet. */
static int told_in_time(const struct lp_control_client *c, int rc, unsigned timeout_ms, struct lp_err *err)
{
	if (rc != -LP_ETIMEOUT)
		return rc;
	return lp_fail(err, rc, "process %d has not answered within %g s", (int)c->pid, timeout_ms / 1000.0);
}

int lp_control_send(struct lp_control_client *c, const char *const *words, size_t nr, bool lines, unsigned timeout_ms,
		    struct lp_err *err)
{
	struct lp_buf request = {0};
	write_request(&request, words, nr, lines);
	int rc = send_all(c->fd, &request, now_ms() + timeout_ms, err);
	lp_buf_free(&request);
	return told_in_time(c, rc, timeout_ms, err);
}

int lp_control_receive(struct lp_control_client *c, unsigned timeout_ms, struct lp_buf *out, struct lp_err *err)
{
	return told_in_time(c, receive_reply(c->fd, now_ms() + timeout_ms, out, err), timeout_ms, err);
}

int lp_control_ask(struct lp_control_client *c, const char *const *words, size_t nr, bool lines, unsigned timeout_ms,
		   struct lp_buf *out, struct lp_err *err)
{
	uint64_t end = now_ms() + timeout_ms;
	int rc = lp_control_send(c, words, nr, lines, timeout_ms, err);
	return rc < 0 ? rc : told_in_time(c, receive_reply(c->fd, end, out, err), timeout_ms, err);
}
