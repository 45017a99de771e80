/*
 * Our descriptors in a process whose program does not know of them.
 *
 *     struct lp_owned o = lp_owned_of(socket(...));
 *     if (lp_owned_is_ours(&o))
 *             send(o.fd, ...);
 *     lp_owned_close(&o);
 *
 * A program that makes a daemon of itself may close all descriptors, and what
 * it opens next has the same numbers.  So before it is used or closed, each is
 * compared with what it was.  That is a look and no lock: a program that
 * closes it between the look and the use is not noticed.
 *
 * For sockets, of which each has an inode number of its own.
 */
#ifndef LP_CONTROL_OWNED_H
#define LP_CONTROL_OWNED_H

#include <stdbool.h>
#include <sys/types.h>

struct lp_owned {
	int fd;
	dev_t dev;
	ino_t ino;
};

#define LP_OWNED_NONE ((struct lp_owned){.fd = -1})

/* fd may be negative: then it is none. */
struct lp_owned lp_owned_of(int fd);
/* Keeps errno. */
bool lp_owned_is_ours(const struct lp_owned *o);
/* Both close it only if it is ours, and keep errno.  The first shuts it down before: a child of a fork may have it, too, and
 * nobody shall wait at it. */
void lp_owned_end(const struct lp_owned *o);
void lp_owned_close(const struct lp_owned *o);

#endif
