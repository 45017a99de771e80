/*
 * From a source diff to live patches: the work around the object differ.
 *
 *     struct lp_build_opts opts = {.srcdir = "redis-7.0.15", .diffs = paths, .nr_diffs = 1, .command = "make -j2"};
 *     struct lp_build *b;
 *     rc = lp_build_make(&b, &opts, err);           // 0: as many patches as binaries changed; maybe none
 *     ... lp_build_patches(b, &nr), lp_build_json(b, &text) ...
 *     lp_build_free(b);                             // NULL is fine
 *
 * docs/decisions/0003 tells why, build.c how, docs/patch-author-guide.md what it means to whoever writes the diff.
 *
 * The user's tree is read and never written.  The user's build command runs in a private copy of it, in a cache directory
 * that only the user can read, with a compiler wrapper in front of PATH (wrap.c); the copy is kept for the next diff.
 *
 * A binary that is refused takes with it those that load it (verdict.c); the patches of the others are written all or none,
 * and the result is negative all the same: *out is set and can be asked which is which.  With any other error *out is NULL,
 * and nothing was written.
 * A process should have one lp_build_make() at a time; several processes with the same tree take turns.
 */
#ifndef LP_BUILD_H
#define LP_BUILD_H

#include <signal.h>

#include "base/buf.h"
#include "base/err.h"
#include "diff/diff.h"

/* What is being done, for people who wait. */
struct lp_build_progress {
	const char *stage;  /* "building the original" */
	size_t done, total; /* of `noun`; total 0 = not known */
	const char *noun;   /* "unit" */
	uint64_t ns;	    /* since the stage began */
	bool ended;	    /* the stage, well; `result` says what came of it */
	const char *result; /* "112 units, 6 binaries", or NULL */
};

struct lp_build_opts {
	const char *srcdir;	  /* NULL = "." */
	const char *out;	  /* a file, or a directory; NULL = FIRST-DIFF.kpatch in the current directory */
	const char *id;		  /* NULL = the first diff's name without its suffix */
	const char *command;	  /* a shell command line; NULL = guess from the files in srcdir */
	const char *cache;	  /* NULL = $XDG_CACHE_HOME/livepatch/build, or ~/.cache/livepatch/build */
	const char *wrapper;	  /* livepatch-cc; NULL = beside this program, or in ../libexec/livepatch */
	const char *const *diffs; /* applied in this order; at least one */
	size_t nr_diffs;
	const char *const *targets; /* the binaries to be patched, as installed; none = all that change */
	size_t nr_targets;
	const char *const
		*skip; /* without targets: patterns (fnmatch(3)) of binaries below the tree that need no patch */
	size_t nr_skip;
	const char *const *allow; /* lp_diff_input.allow */
	size_t nr_allow;
	const char *const *line_functions; /* lp_diff_input.line_functions */
	size_t nr_line_functions;
	unsigned jobs;				  /* compilers at a time; 0 = one for each processor */
	bool clean;				  /* forget what the cache holds of this tree */
	bool keep;				  /* keep the changed tree and the objects, too */
	const volatile sig_atomic_t *interrupted; /* NULL = never */
	void (*progress)(const struct lp_build_progress *p, void *arg);
	void *arg;
};

/* One binary that changed. */
struct lp_build_patch {
	const char *binary; /* what the build made: "src/redis-server" */
	const char *target; /* the file given as target, or NULL */
	const char *path;   /* of the .kpatch; NULL when it was refused */
	const char *why;    /* it was refused; NULL when it was not */
	struct lp_build_id build_id;
	const struct lp_diff *diff; /* NULL when it was not compared */
	uint64_t size;		    /* of the .kpatch */
	size_t nr_units;	    /* that were compared for it */
};

struct lp_build;

int lp_build_make(struct lp_build **out, const struct lp_build_opts *opts, struct lp_err *err);
const struct lp_build_patch *lp_build_patches(const struct lp_build *b, size_t *nr);
/* Where the trees are, when opts.keep asked for it; NULL otherwise. */
const char *lp_build_kept(const struct lp_build *b);
/* {"id":..., "command":..., "cached":..., "seconds":{...}, "patches":[...]}: one object without a newline at the end. */
void lp_build_json(const struct lp_build *b, struct lp_buf *out);
void lp_build_free(struct lp_build *b);

#endif
