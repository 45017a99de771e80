/*
 * A tree's own side: which command builds it, and what a diff does to it.
 */
#ifndef LP_BUILD_SOURCES_H
#define LP_BUILD_SOURCES_H

#include "build/run.h"

/* The command that builds a tree, by the files at its top; NULL when none of them says it. */
char *lp_guess_command(const char *tree, unsigned jobs);

/*
 * Applies a diff to a tree with patch(1), by the number of leading directories to strip (-p) with which all of it fits.
 * Refused when a hunk does not (-LP_EHUNK, naming file and hunk); the tree, a copy of ours, is then good for nothing.
 */
int lp_apply_diff(const char *tree, const char *diff, const char *log, const struct lp_watch *watch,
		  struct lp_err *err);

#endif
