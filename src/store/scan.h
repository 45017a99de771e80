/*
 * Which processes run which objects, without touching anybody.
 *
 *     struct lp_seen seen;
 *     rc = lp_scan_process(pid, &seen, err);          // one process
 *     ... seen.objects.items[i].build_id ...
 *     lp_seen_free(&seen);
 *
 *     rc = lp_scan_pids(&pids, err);                  // everybody, in ascending order
 *
 * Read are /proc/PID/maps and, of each object that has an executable mapping,
 * the notes in the process's own memory: so a library that was replaced on
 * disk, a file in another mount namespace or a deleted program is told by what
 * runs.  No thread is stopped.  A process costs about as much as printing its
 * maps; nothing is cached because nothing needs to be.
 *
 * What the process says of itself is its own affair: all of it is checked
 * before use, and a process that lies gets no patch.
 */
#ifndef LP_STORE_SCAN_H
#define LP_STORE_SCAN_H

#include <sys/types.h>

#include "elf/elf.h"

struct lp_seen_object {
	char *path; /* as maps has it, less " (deleted)"; owned */
	char build_id[2 * LP_BUILD_ID_MAX + 1];
	lp_addr start; /* of its first mapping */
};

struct lp_seen {
	pid_t pid;
	uint64_t start_time; /* field 22 of stat: tells a process from the next one with its number */
	uint64_t image;	     /* changes when the process executes a program anew */
	uid_t uid;	     /* the real one, of who started it; not by lp_scan_identity() */
	char comm[17];
	bool kernel;  /* a kernel thread, or exited: it has no memory */
	bool ledger;  /* it maps something called like a ledger */
	bool foreign; /* it maps anonymous executable memory, where another tool's patches would lie */
	LP_VEC(struct lp_seen_object) objects;
};

typedef LP_VEC(pid_t) lp_pid_vec;

/* The basename that people know an object by. */
const char *lp_seen_name(const struct lp_seen_object *o);

/* Only what tells a process from another one (pid, start_time, image, comm, kernel); -LP_EGONE when there is none. */
int lp_scan_identity(pid_t pid, struct lp_seen *out, struct lp_err *err);
/* Who started it, the real uid. */
int lp_scan_owner(pid_t pid, uid_t *out, struct lp_err *err);
/* All of it.  May wait for what the process has mapped (tool/looker.h).  -LP_EPERM when we may not look.  On failure nothing is to be freed. */
int lp_scan_process(pid_t pid, struct lp_seen *out, struct lp_err *err);
void lp_seen_free(struct lp_seen *s);

/* All process ids but 1 and our own. */
int lp_scan_pids(lp_pid_vec *out, struct lp_err *err);

/* The pure half: the text of maps to objects without build-ids, and the two flags.  -EBADMSG when it makes no sense. */
int lp_scan_maps(struct lp_seen *s, const char *text, size_t len, struct lp_err *err);

#endif
