/*
 * Sets of live patches, put into a folder as a whole set: the folder of a
 * store that `livepatch watch` or a runner looks into.
 *
 *     livepatch-patches-12.tar.gz        a release's file, signed as archives of programs are; 12 is a version
 *     livepatch-patches-12/BUILDID.kpatch
 *     livepatch-patches-12/BUILDID.json  BUILDID, in hexadecimal, is that of the program or library it is for
 *
 * A later set stands in for the earlier one: what it has no more goes. Files
 * that others have put there are never touched; one of a name that the set has
 * refuses the set.
 *
 * FOLDER/.pulled lists what came with the last set; FOLDER/.pull is where
 * another is unpacked, and the lock.  Each file is replaced by one rename(2);
 * killed between, the next one goes on from there.
 */
#ifndef LP_UPDATE_PATCHES_H
#define LP_UPDATE_PATCHES_H

#include "base/err.h"
#include "base/vec.h"
#include "update/version.h"

#define LP_PATCHES "livepatch-patches"

/* "livepatch-patches-12.tar.gz": the version. */
bool lp_patches_is_archive(const char *name, struct lp_version *out);

struct lp_patches;

/* The folder has to be ours, or root's and we are, and nobody else's to write.  -LP_ELOCKED: another is at work. */
int lp_patches_open(struct lp_patches **out, const char *folder, struct lp_err *err);
void lp_patches_close(struct lp_patches *p); /* NULL is fine */

/* Of the set that is there; 0.0.0: none. */
struct lp_version lp_patches_version(const struct lp_patches *p);

struct lp_patches_placed {
	unsigned changed, removed, all; /* files */
};

/* An archive that has been verified. */
int lp_patches_place(struct lp_patches *p, const struct lp_version *version, const char *top, const void *data,
		     size_t size, struct lp_patches_placed *out, struct lp_err *err);

#endif
