/*
 * Where private copies live.
 *
 *     <root>/<key>/lock        held while anybody works here
 *                  bin/        links to the compiler wrapper
 *                  here/       { complete, tree/NAME/, records/, build.log }   the tree that builds: always at this path
 *                  original/   the same, while a changed tree stands at here/
 *                  changed/    the same, of a changed tree
 *
 * Build systems write absolute paths into what they generate, so a tree is only ever built at here/tree/NAME: for a diff the
 * original steps aside, a changed copy takes its place, and they change places again (renames).  Whoever finds `original`
 * after a crash puts it back.  A here/ without `complete` is a build that did not end; it is removed.
 *
 *     rc = lp_cache_open(&c, root, key, interrupted, err);    // waits for the lock
 *     if (c.hit) ... c.here holds the complete original ...
 *     lp_cache_close(&c);
 */
#ifndef LP_BUILD_CACHE_H
#define LP_BUILD_CACHE_H

#include <signal.h>

#include "base/err.h"
#include "build/record.h"

struct lp_cache {
	char *dir; /* <root>/<key> */
	char *here, *original, *changed, *bin;
	int lock;
	bool hit;
};

/* The directory that all builds share, made when it is not there.  Refused when somebody else could write to it. */
int lp_cache_root(char **out, const char *wish, struct lp_err *err);
int lp_cache_open(struct lp_cache *out, const char *root, const struct lp_hash *key,
		  const volatile sig_atomic_t *interrupted, struct lp_err *err);
/* Forget what is there. */
int lp_cache_clear(struct lp_cache *c, struct lp_err *err);
/* here/ is a whole original from now on. */
int lp_cache_complete(struct lp_cache *c, struct lp_err *err);
/* The original steps aside (-> original/), and comes back (here/ -> changed/). */
int lp_cache_set_aside(struct lp_cache *c, struct lp_err *err);
int lp_cache_bring_back(struct lp_cache *c, struct lp_err *err);
/* Puts everything back as a next run wants to find it and gives up the lock. */
void lp_cache_close(struct lp_cache *c, bool keep_changed);
/* Removes builds that were never finished and those that nobody has used for a month. */
void lp_cache_sweep(const char *root, const char *but);

#endif
