/*
 * The backups of patch(1), and the tree as it was; private to patch_*.c.
 */
#ifndef LP_BUILD_PATCH_BACKUP_H
#define LP_BUILD_PATCH_BACKUP_H

#include "base/buf.h"
#include "base/err.h"

#define BACKUP_SUFFIX ".lpmakeorig" /* behind a dot and the number of the patch */

/*
 * Paths of the empty files below `dir`, each ended by a NUL: to be kept before the first patch is applied.  The backup of a file
 * that was not there is an empty one, too.
 */
int backups_note_empty(const char *dir, struct lp_buf *out, struct lp_err *err);

/* Every file below `dir` that has a backup is what it was before the first patch; *count files.  `empty` as above. */
int backups_restore(const char *dir, const struct lp_buf *empty, size_t *count, struct lp_err *err);

/* Names of files that exist only because a patch made them, absolute, with : between. */
int backups_added(const char *dir, const struct lp_buf *empty, struct lp_buf *out, struct lp_err *err);

#endif
