/*
 * How libcare-client and the execve preload talk to libcare-server.
 *
 * A stream socket of the local machine carries one request: words, each ended
 * by a NUL, and one more NUL at the end.  The answer is text for people until
 * the end of the stream.
 *
 *     patch\0-p\0004711\0/var/lib/livepatch\0\0
 *
 * A request whose first word is "--status" is answered with text, a NUL, and
 * the exit status in decimal; libcare-client asks so, other clients need not
 * know of it.
 *
 *     fd = lp_wire_listen("/run/libcare.sock", err);      // or "@abstract", or "&3": an inherited one
 *     conn = accept4(fd, ...);
 *     rc = lp_wire_peer(conn, &peer, err);
 *     rc = lp_wire_take(&request, conn, err);             // as often as it is readable, until 1
 *     rc = lp_wire_words(&request, &words, err);
 *
 * Whatever comes is hostile: a request has LP_WIRE_MAX bytes and LP_WIRE_WORDS words at most.
 */
#ifndef LP_STORE_WIRE_H
#define LP_STORE_WIRE_H

#include <sys/types.h>

#include "base/err.h"

#define LP_WIRE_MAX 16384
#define LP_WIRE_WORDS 128

struct lp_wire_request {
	size_t len;
	char bytes[LP_WIRE_MAX];
};

struct lp_wire_words {
	size_t nr;
	bool wants_status;		/* "--status" led; it is not among the words */
	char *items[LP_WIRE_WORDS + 1]; /* NULL-terminated, in the request's bytes */
};

struct lp_wire_peer {
	pid_t pid;
	uid_t uid;
	int pidfd; /* readable when he has ended, and the number may be somebody else's; -1 = not known; to be closed */
};

/* A listening descriptor, close-on-exec.  A socket that is made is the owner's alone (0600); one that a dead server
 * left is replaced, one at which somebody listens is -EADDRINUSE. */
int lp_wire_listen(const char *name, struct lp_err *err);
/* Removes what lp_wire_listen() made in the file system. */
void lp_wire_unlink(const char *name);
int lp_wire_connect(const char *name, struct lp_err *err);

int lp_wire_peer(int fd, struct lp_wire_peer *out, struct lp_err *err);

/* Reads what is there.  1 = the request is complete, 0 = more is to come, negative = it will never be one. */
int lp_wire_take(struct lp_wire_request *r, int fd, struct lp_err *err);
/* Splits a complete request; -EBADMSG when it has no word, or too many. */
int lp_wire_words(struct lp_wire_request *r, struct lp_wire_words *out, struct lp_err *err);

int lp_wire_send(int fd, char *const *words, size_t nr, struct lp_err *err);

#endif
