/*
 * Where the sockets of a family of programs are ("hotpatch": agents).
 *
 * The primary one is PID.sock in a directory that only its user can look into:
 * the first of $XDG_RUNTIME_DIR/FAMILY, /run/user/UID/FAMILY, /run/FAMILY
 * (root's) and /tmp/FAMILY-UID that there is or can be made.  Anybody can take
 * that last name: then it is /tmp/FAMILY-UID.XXXXXX, with six letters that
 * nobody could know before.  The second, of those who were written for the
 * first HotPatch, is /tmp/PID.socket.
 */
#ifndef LP_CONTROL_PLACES_H
#define LP_CONTROL_PLACES_H

#include <sys/types.h>

#include "base/err.h"

#define LP_PLACE_MAX 108 /* sun_path */
#define LP_PLACE_LEGACY "/tmp/%d.socket"

struct lp_family {
	const char *name;
	bool has_legacy; /* the second socket, too */
};

/* The program's side: the directory is made, 0700.  False: nowhere. */
bool lp_place_make(const struct lp_family *f, uid_t uid, pid_t pid, char out[LP_PLACE_MAX]);
/* Removes the sockets that processes of the same user have left beside this one, and in /tmp; sweep.c. */
void lp_place_sweep(const struct lp_family *f, const char *primary);
/*
 * The client's side: the i-th place where the socket of such a process could be,
 * seen through `root` ("" or "/proc/PID/root").  False: no more.
 */
bool lp_place_candidate(const struct lp_family *f, unsigned i, const char *root, uid_t uid, pid_t pid, char *out,
			size_t size);
/* The i-th directory that primary sockets of this user's can be in, "" when there is none of that kind; false: no more. */
bool lp_place_directory(const struct lp_family *f, unsigned i, uid_t uid, char out[LP_PLACE_MAX]);
/*
 * Each primary socket of the user's, by its name: nobody need live there any more.  sweep.c.  Who has set an
 * $XDG_RUNTIME_DIR of his own has a session of his own, and finds those of that alone.
 */
void lp_place_each(const struct lp_family *f, uid_t uid, void (*found)(pid_t pid, const char *path, void *arg),
		   void *arg);

#endif
