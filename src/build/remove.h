/* Removes a tree of files.  Private to build/. */
#ifndef LP_BUILD_REMOVE_H
#define LP_BUILD_REMOVE_H

#include "base/err.h"

/* Everything below path, and path; nothing on other file systems.  Nothing there is no failure. */
int lp_tree_remove(const char *path, struct lp_err *err);

#endif
