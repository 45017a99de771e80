/*
 * What the small tools of the kpatch family share: files in, files out, complaints.
 */
#ifndef LP_KPATCH_TOOL_H
#define LP_KPATCH_TOOL_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* "tool: sentence" on standard error; returns the exit status. */
int kpatch_complain(const char *tool, const struct lp_err *err);

/* A whole file, "-" for standard input. */
int kpatch_read(const char *path, struct lp_buf *out, struct lp_err *err);
/* Written beside and renamed into place, so that there is the old file or the new one; "-" or NULL for standard output. */
int kpatch_write(const char *path, const struct lp_buf *data, mode_t mode, struct lp_err *err);

#endif
