/*
 * What happens to the files at some paths, told by inotify.
 *
 *     struct lp_path_watch w;
 *     rc = lp_path_watch_open(&w, err);
 *     rc = lp_path_watch_add(&w, "/etc/fixes/current/fix.json", err);
 *     ... poll w.fd ...
 *     switch (lp_path_watch_read(&w)) ...
 *     lp_path_watch_close(&w);
 *
 * Not the file is watched but every name on the way to it, each in its
 * directory: a file that is renamed over it, a symbolic link on the way that is
 * switched, a directory that goes and comes again all are a name that changed.
 * One descriptor serves any number of paths.
 *
 * Nothing is told where the kernel has nothing to tell: on network file
 * systems, when another machine writes.
 */
#ifndef LP_API_WATCH_PATH_H
#define LP_API_WATCH_PATH_H

#include "base/err.h"
#include "base/vec.h"

/* A name that a path goes through. */
struct lp_path_step {
	int wd; /* its directory's watch */
	char *dir, *name;
};

struct lp_path_watch {
	int fd; /* readable when something happened */
	LP_VEC(char *) paths;
	LP_VEC(struct lp_path_step) steps;
};

int lp_path_watch_open(struct lp_path_watch *w, struct lp_err *err);
/* An absolute path, of a file that need not be there.  1, or 0 when it was added before. */
int lp_path_watch_add(struct lp_path_watch *w, const char *path, struct lp_err *err);
void lp_path_watch_remove(struct lp_path_watch *w, const char *path);

enum lp_path_event {
	LP_PATH_QUIET,	 /* nothing that concerns a path */
	LP_PATH_BEGUN,	 /* something new is there, and whoever made it may still be writing: more will come */
	LP_PATH_CHANGED, /* what a path leads to may be another file now, or a file that was written and closed */
};

/* All that happened since it was asked last; never blocks. */
enum lp_path_event lp_path_watch_read(struct lp_path_watch *w);
void lp_path_watch_close(struct lp_path_watch *w);

#endif
