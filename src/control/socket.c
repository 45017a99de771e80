#include "control/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/vec.h"
#include "control/control.h"

#define BACKLOG 128
#define TRIES 4 /* to get the name: others may come and go */

static int address_of(const char *path, struct sockaddr_un *out, struct lp_err *err)
{
	size_t n = strlen(path);
	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (path[0] != '/')
		return lp_fail(err, EINVAL, "the name of a socket must begin with a slash: %s", path);
	if (n >= sizeof out->sun_path)
		return lp_fail(err, ENAMETOOLONG, "the name of a socket has at most %zu bytes: %s",
			       sizeof out->sun_path - 1, path);
	memcpy(out->sun_path, path, n);
	return 0;
}

int lp_socket_peer(int fd, struct lp_peer *out)
{
	struct ucred cred;
	socklen_t len = sizeof cred;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*out = (struct lp_peer){cred.pid, cred.uid};
	return 0;
}

/* A patience of 0 would be an endless one to the kernel. */
int lp_socket_connect(const char *path, unsigned patience_ms, struct lp_err *err)
{
	const struct timeval patience = {patience_ms / 1000, patience_ms % 1000 * 1000};
	struct sockaddr_un a;
	int rc = address_of(path, &a, err);
	if (rc < 0)
		return rc;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (patience_ms ? 0 : SOCK_NONBLOCK), 0);
	if (fd < 0)
		return lp_fail_sys(err, errno, "cannot make a socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (connect(fd, (const struct sockaddr *)&a, sizeof a) == 0)
		return fd;
	rc = lp_fail_sys(err, errno, "cannot connect to %s", path);
	lp_close(fd);
	return rc;
}

/* ---- who has the name ---- */

static bool is_dead(const char *path)
{
	struct sockaddr_un a;
	if (address_of(path, &a, NULL) < 0)
		return false;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool dead = fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof a) < 0 && errno == ECONNREFUSED;
	lp_close(fd);
	return dead;
}

/* 0 when it may be taken from who has it: nobody, any more. */
static int check_dead_and_ours(const char *path, struct stat *st, struct lp_err *err)
{
	if (lstat(path, st) < 0)
		return errno == ENOENT ? 0 : lp_fail_sys(err, errno, "cannot look at %s", path);
	if (!S_ISSOCK(st->st_mode))
		return lp_fail(err, EADDRINUSE, "%s is there already, and is no socket", path);
	if (st->st_uid != geteuid())
		return lp_fail(err, EADDRINUSE, "%s is there already, and belongs to user %u", path, st->st_uid);
	if (!is_dead(path))
		return lp_fail(err, EADDRINUSE, "somebody listens at %s", path);
	return 0;
}

/* ---- making ---- */

/* What lies in the private directory, while there is one. */
struct nursery {
	char *directory, *fresh, *old;
};

static int open_nursery(struct nursery *n, const char *path, struct lp_err *err)
{
	int len = (int)(strrchr(path, '/') - path);
	*n = (struct nursery){.directory = lp_sprintf("%.*s/.control-XXXXXX", len, path)};
	/* An umask can leave even the owner nothing. */
	if (!mkdtemp(n->directory) || chmod(n->directory, 0700) < 0) {
		int rc = lp_fail_sys(err, errno, "cannot make a directory beside %s", path);
		lp_free(n->directory);
		return rc;
	}
	n->fresh = lp_sprintf("%s/s", n->directory);
	n->old = lp_sprintf("%s/o", n->directory);
	return 0;
}

static void close_nursery(struct nursery *n)
{
	unlink(n->fresh);
	rmdir(n->directory);
	lp_free(n->directory);
	lp_free(n->fresh);
	lp_free(n->old);
}

/*
 * The mode of the descriptor, less the umask, becomes that of the node: there is no moment in which others could connect.
 * What the umask took from the owner is given back.
 */
static int bind_and_listen(int fd, const char *path, struct lp_err *err)
{
	struct sockaddr_un a;
	int rc = address_of(path, &a, err);
	if (rc < 0)
		return rc;
	if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&a, sizeof a) < 0 || chmod(path, 0600) < 0)
		return lp_fail_sys(err, errno, "cannot bind a socket to %s", path);
	return listen(fd, BACKLOG) < 0 ? lp_fail_sys(err, errno, "cannot listen at %s", path) : 0;
}

/* What was looked at is what is removed: it is moved to where nobody can exchange it, and looked at again. */
static int remove_stale(const struct nursery *n, const char *path, const struct stat *seen, struct lp_err *err)
{
	struct stat st;
	if (renameat2(AT_FDCWD, path, AT_FDCWD, n->old, RENAME_NOREPLACE) < 0)
		return errno == ENOENT ? 0 : lp_fail_sys(err, errno, "cannot move the dead socket %s away", path);
	if (lstat(n->old, &st) == 0 && st.st_dev == seen->st_dev && st.st_ino == seen->st_ino && is_dead(n->old)) {
		unlink(n->old);
		return 0;
	}
	if (renameat2(AT_FDCWD, n->old, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
		unlink(n->old); /* the name has a new owner */
	return lp_fail(err, EADDRINUSE, "somebody else was faster at %s", path);
}

int lp_control_bury(const char *path, struct lp_err *err)
{
	struct stat seen = {0};
	struct nursery n;
	int rc = check_dead_and_ours(path, &seen, err);
	if (rc < 0 || !seen.st_ino || (rc = open_nursery(&n, path, err)) < 0)
		return rc;
	rc = remove_stale(&n, path, &seen, err);
	close_nursery(&n);
	return rc;
}

static int take_name(const struct nursery *n, const char *path, struct lp_err *err)
{
	for (int i = 0; i < TRIES; i++) {
		struct stat seen = {0};
		if (renameat2(AT_FDCWD, n->fresh, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return lp_fail_sys(err, errno, "cannot name a socket %s", path);
		int rc = check_dead_and_ours(path, &seen, err);
		if (rc == 0 && seen.st_ino)
			rc = remove_stale(n, path, &seen, err);
		if (rc < 0)
			return rc;
	}
	return lp_fail(err, EADDRINUSE, "others take the name %s again and again", path);
}

static int make_in(const struct nursery *n, const char *path, struct lp_node *out, struct lp_err *err)
{
	struct stat st = {0};
	out->socket = lp_owned_of(lp_fd_aside(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)));
	if (out->socket.fd < 0)
		return lp_fail_sys(err, errno, "cannot make a socket");
	int rc = bind_and_listen(out->socket.fd, n->fresh, err);
	if (rc == 0 && lstat(n->fresh, &st) < 0)
		rc = lp_fail_sys(err, errno, "cannot look at %s", n->fresh);
	if (rc == 0)
		rc = take_name(n, path, err);
	if (rc < 0) {
		lp_owned_close(&out->socket);
		return rc;
	}
	out->path = lp_strdup(path);
	out->dev = st.st_dev;
	out->ino = st.st_ino;
	return 0;
}

int lp_node_make(const char *path, struct lp_node *out, struct lp_err *err)
{
	struct sockaddr_un a;
	struct nursery n = {0};
	*out = (struct lp_node){.socket = LP_OWNED_NONE};
	int rc = address_of(path, &a, err);
	if (rc < 0 || (rc = open_nursery(&n, path, err)) < 0)
		return rc;
	rc = make_in(&n, path, out, err);
	close_nursery(&n);
	if (rc < 0)
		*out = (struct lp_node){.socket = LP_OWNED_NONE};
	return rc;
}

void lp_node_unlink(const struct lp_node *n)
{
	struct stat st;
	if (n->path && lstat(n->path, &st) == 0 && st.st_dev == n->dev && st.st_ino == n->ino)
		unlink(n->path);
}

void lp_node_remove(struct lp_node *n)
{
	lp_node_unlink(n);
	lp_owned_end(&n->socket);
	lp_free(n->path);
	*n = (struct lp_node){.socket = LP_OWNED_NONE};
}
