/*
 * The names of sockets in the file system, and who is at the other end.
 *
 *     rc = lp_node_make("/tmp/4711.socket", &node, err);   // listens; 0600 from its first moment
 *     fd = accept4(node.socket.fd, ...);
 *     lp_node_remove(&node);                               // the name goes when it is still ours
 *
 * A node is made in a directory that nobody else can enter, bound and
 * listened on there, and then renamed to a name that must be free.  A node of
 * ours at which nobody listens any more is moved out of the way first, looked
 * at once more, and removed.  Whatever else has the name keeps it.
 */
#ifndef LP_CONTROL_SOCKET_H
#define LP_CONTROL_SOCKET_H

#include <sys/types.h>

#include "base/err.h"
#include "control/owned.h"

struct lp_node {
	struct lp_owned socket; /* non-blocking, close-on-exec, listening */
	char *path;
	dev_t dev; /* of the node in the file system */
	ino_t ino;
};

/* -EADDRINUSE: somebody has that name; -EINVAL, -ENAMETOOLONG, or what the system says. */
int lp_node_make(const char *path, struct lp_node *out, struct lp_err *err);
/* The name alone. */
void lp_node_unlink(const struct lp_node *n);
void lp_node_remove(struct lp_node *n);

struct lp_peer {
	pid_t pid;
	uid_t uid;
};

int lp_socket_peer(int fd, struct lp_peer *out);

/* Connected, close-on-exec, or negative; -EAGAIN when nobody takes clients from a full queue for so long. */
int lp_socket_connect(const char *path, unsigned patience_ms, struct lp_err *err);

#endif
