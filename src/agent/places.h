/*
 * Where the sockets of an agent are.
 *
 * The primary one is PID.sock in a directory that only its user can look into:
 * the first of $XDG_RUNTIME_DIR/hotpatch, /run/user/UID/hotpatch,
 * /run/hotpatch (root's) and /tmp/hotpatch-UID that there is or can be made.
 * Anybody can take that last name: then it is /tmp/hotpatch-UID.XXXXXX, with
 * six letters that nobody could know before.  The second, for programs written
 * for the first HotPatch, is /tmp/PID.socket.
 */
#ifndef LP_AGENT_PLACES_H
#define LP_AGENT_PLACES_H

#include <sys/types.h>

#include "base/err.h"

#define LP_PLACE_MAX 108 /* sun_path */
#define LP_PLACE_LEGACY "/tmp/%d.socket"

/* The agent's side: the directory is made, 0700.  False: nowhere. */
bool lp_place_make(uid_t uid, pid_t pid, char out[LP_PLACE_MAX]);
/* Removes the sockets that processes of the same user have left beside this one, and in /tmp; sweep.c. */
void lp_place_sweep(const char *primary);
/*
 * The client's side: the i-th place where the agent of such a process could be,
 * seen through `root` ("" or "/proc/PID/root").  False: no more.
 */
bool lp_place_candidate(unsigned i, const char *root, uid_t uid, pid_t pid, char *out, size_t size);

#endif
