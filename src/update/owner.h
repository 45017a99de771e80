/* Whether a package manager put a file where it is, and would not know that another changed it. */
#ifndef LP_UPDATE_OWNER_H
#define LP_UPDATE_OWNER_H

#include "base/err.h"

/* -LP_EOWNED, naming the package.  `path` is absolute and without links; `root` is "" but for tests. */
int lp_owner_check(const char *path, const char *root, struct lp_err *err);

#endif
