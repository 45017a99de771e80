/*
 * The backups of patch(1), and the tree as it was; private to patch_*.c.
 */
#ifndef LP_BUILD_PATCH_BACKUP_H
#define LP_BUILD_PATCH_BACKUP_H

#include "base/buf.h"
#include "base/err.h"

#define BACKUP_SUFFIX ".lpmakeorig" /* behind a dot and the number of the patch */

/* Every file below `dir` that has a backup is what it was before the first patch; *count files.  Rejects of the patches go. */
int backups_restore(const char *dir, size_t *count, struct lp_err *err);
/* Names of files that exist only because a patch made them, absolute, with : between. */
int backups_added(const char *dir, struct lp_buf *out, struct lp_err *err);

#endif
