/*
 * Code that stands in files of its own: entries of patch files name them,
 * seen from the directory that the patch file is in.
 */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/fdio.h"
#include "base/vec.h"
#include "patch/patch.h"

static char *path_beside(const char *patch_file, const char *path)
{
	const char *slash = strrchr(patch_file, '/');
	if (path[0] == '/' || !slash)
		return lp_strdup(path);
	return lp_sprintf("%.*s/%s", (int)(slash - patch_file), patch_file, path);
}

static int read_code(struct lp_op *op, const char *patch_file, struct lp_err *err)
{
	struct lp_buf code = {0};
	char *path = path_beside(patch_file, op->path);
	int rc = lp_read_regular(path, op->path, &code, LP_CODE_FILE_MAX, err);
	lp_free(path);
	if (rc == 0 && !code.len)
		rc = lp_fail(err, EINVAL, "%s is empty: code is expected", op->path);
	if (rc < 0) {
		lp_buf_free(&code);
		return lp_err_context(err, rc, "%s:%u:%u", op->where.file, op->where.line, op->where.column);
	}
	op->value = code.data;
	op->value_len = code.len;
	return 0;
}

int lp_patch_read_code(struct lp_patchset *ps, const char *path, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < ps->nr && rc == 0; i++)
		if (ps->ops[i].kind >= LP_OP_INLINE && ps->ops[i].path)
			rc = read_code(&ps->ops[i], path, err);
	return rc;
}
