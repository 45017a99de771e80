/*
 * libcare-patch-make: from a tree that make builds and installs, and source patches, to .kpatch files, in the tree itself.
 *
 *     struct lp_patch_make_opts o = {.id = "0001", .patches = paths, .nr_patches = 1, ...};
 *     rc = lp_patch_make(&o, err);
 *
 * make runs twice, with libcare-cc as compiler: for the original, and with the patches applied.  The objects of both builds are
 * compared (patch_objects.h).  With `assembly`, the code of the patch is merged into the objects of the second build instead
 * (gensrc.h), and taken out of what was installed again, as LibcarePlus does it.
 *
 * The sources are put back whatever happens: patch(1) leaves a backup NAME.N.lpmakeorig of each file that it changes, and
 * the backup is the file again when this returns, fails, or is interrupted.  After a SIGKILL the next run does it first.
 * Files that were put back are newer than what was made of the changed ones, so that make makes it again.
 */
#ifndef LP_BUILD_PATCH_MAKE_H
#define LP_BUILD_PATCH_MAKE_H

#include <signal.h>

#include "base/err.h"

enum lp_patch_make_line { LP_MAKE_STAGE, LP_MAKE_APPLYING, LP_MAKE_PLAIN, LP_MAKE_WARNING };

struct lp_patch_make_opts {
	const char *id;
	const char *tools;    /* directory of libcare-cc and kpatch_gensrc */
	const char *srcdir;   /* where patches are applied; NULL = here */
	const char *destdir;  /* the name of make's variable; NULL = DESTDIR */
	const char *build_id; /* instead of the binaries' own; NULL = theirs */
	const char *jobs;     /* of make -j; NULL = as make does */
	bool assembly;
	bool clean, update;				     /* make clean first; only make the patches anew */
	const char *original_dir, *patched_dir, *patch_root; /* absolute */
	const char *const *patches;
	size_t nr_patches;
	const volatile sig_atomic_t *interrupted; /* the signal, or 0 */
	void (*say)(void *arg, enum lp_patch_make_line kind, const char *line);
	void *arg;
};

int lp_patch_make(const struct lp_patch_make_opts *o, struct lp_err *err);

#endif
