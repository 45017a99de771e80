/*
 * From the objects that libcare-cc kept of two builds in one tree to the patch of one binary, by the object differ.
 *
 *     struct lp_patch_objects *p;
 *     rc = lp_patch_objects_scan(&p, ".", ".kpatch_", err);
 *     rc = lp_patch_objects_make(p, original, "foo", "0001", told, arg, &elf, err);     // for each binary that was installed
 *     lp_patch_objects_free(p);
 *
 * A binary is known by its build-id among the links of stage *original*, without one by its name; the linker's map says which objects it is made
 * of and where they are in it.  Kept objects: see libcare_cc.h.
 */
#ifndef LP_BUILD_PATCH_OBJECTS_H
#define LP_BUILD_PATCH_OBJECTS_H

#include "base/buf.h"
#include "elf/elf.h"

struct lp_patch_objects;

int lp_patch_objects_scan(struct lp_patch_objects **out, const char *tree, const char *prefix, struct lp_err *err);
void lp_patch_objects_free(struct lp_patch_objects *p);

/* Does the tree know how this binary was linked? */
bool lp_patch_objects_know(const struct lp_patch_objects *p, const struct lp_elf *original, const char *name);

typedef void lp_patch_told(void *arg, const char *line);

/* 1 = the patch's object is in `out`, 0 = nothing in this binary changed.  `patched` is what the second build linked: it says which
 * versions of library functions are meant. */
int lp_patch_objects_make(struct lp_patch_objects *p, struct lp_elf *original, struct lp_elf *patched, const char *name,
			  const char *id, lp_patch_told *told, void *arg, struct lp_buf *out, struct lp_err *err);

/* After a run that was killed: what make would take for up to date, although nothing was kept of it, is removed. */
int lp_patch_objects_mend(const char *tree, const char *prefix, struct lp_err *err);
/* Forgets what an earlier run has kept of stage *patched*. */
int lp_patch_objects_forget(const char *tree, const char *prefix, struct lp_err *err);

#endif
