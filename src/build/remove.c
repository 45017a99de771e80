#include "build/remove.h"

#include <errno.h>
#include <fts.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/vec.h"

/* A directory without write permission (tests of some packages leave such) keeps its entries. */
static int remove_entry(const FTSENT *e)
{
	switch (e->fts_info) {
	case FTS_D:
		if ((e->fts_statp->st_mode & S_IRWXU) != S_IRWXU)
			return chmod(e->fts_path, S_IRWXU) < 0 ? -errno : 0;
		return 0;
	case FTS_DP:
		return rmdir(e->fts_path) < 0 && errno != ENOENT ? -errno : 0;
	default:
		return unlink(e->fts_path) < 0 && errno != ENOENT ? -errno : 0;
	}
}

int lp_tree_remove(const char *path, struct lp_err *err)
{
	char *roots[] = {lp_strdup(path), NULL};
	FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	int rc = walk ? 0 : lp_fail_sys(err, errno, "cannot read %s", path);
	for (FTSENT *e; rc == 0 && (e = fts_read(walk));)
		if ((rc = remove_entry(e)) < 0)
			rc = lp_fail_sys(err, rc, "cannot remove %s", e->fts_path);
	if (walk)
		fts_close(walk);
	lp_free(roots[0]);
	return rc;
}
