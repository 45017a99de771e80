/*
 * Trees of files: private copies, comparison.
 *
 *     lp_tree_copy(&how, err);             // the user's tree into a place of ours; never the other way round
 *     lp_tree_changes(&list, old, new, err);
 *
 * Copies keep permission bits and times to the nanosecond, because that is what make and ninja decide by.  Files are
 * copied, never hard linked (compilers and linkers write into existing files); where the file system can share the blocks
 * of a copy, it does.  The one exception are git's own objects, which git never changes.
 *
 * Sockets, devices and named pipes are left out.
 */
#ifndef LP_BUILD_TREE_H
#define LP_BUILD_TREE_H

#include <signal.h>

#include "base/err.h"
#include "build/record.h"

struct lp_tree_rename {
	char *from, *to;
};

struct lp_tree_copy {
	const char *from, *to; /* directories; `to` must not exist */
	const char *leave_out; /* a directory inside `from` that is not copied, or NULL */
	/* What compilers made of an earlier build in `from` is given a time long ago: make and ninja then build it anew,
	 * and what they do not build (a library that comes as a file) is still there. */
	bool age_objects;
	/* Makefiles and generated build files (CMake's, libtool's, config.status) that name `from` absolutely name `to` in the copy:
	 * built as they are, they would write into the user's tree.  Likewise these paths, where they stand as a word.  Meson's build
	 * directories cannot be moved and are left out. */
	bool move_build_files;
	const struct lp_tree_rename *renames;
	size_t nr_renames;
	const volatile sig_atomic_t *interrupted; /* NULL = never */
	size_t nr_files;
	uint64_t nr_bytes; /* out */
};

int lp_tree_copy(struct lp_tree_copy *how, struct lp_err *err);
/* Content, permissions and times.  `to` is replaced. */
int lp_copy_file(const char *from, const char *to, struct lp_err *err);
/* A new file of these bytes; one that is there is replaced. */
int lp_write_file(const char *path, const void *bytes, size_t len, struct lp_err *err);

/* A hash over names, kinds and contents; of files that compilers made, over size and time; of .git only what says which
 * commit this is. */
int lp_tree_hash(struct lp_hash *out, const char *root, const char *leave_out, const volatile sig_atomic_t *interrupted,
		 struct lp_err *err);

/* Paths below `after` (absolute) of files that are not as in `before`, by size, time and kind; and those of `before` that are
 * gone. */
typedef LP_VEC(char *) lp_path_vec;
int lp_tree_changes(lp_path_vec *out, const char *before, const char *after, struct lp_err *err);
void lp_paths_free(lp_path_vec *paths);

/* Gives what compilers made in a tree a time long ago, so that it is made anew. */
int lp_tree_age(const char *root, struct lp_err *err);
/* Have two files the same bytes?  false when one cannot be read. */
bool lp_same_content(const char *a, const char *b);

/* Like mkdir -p, with mode 0700 for what is made. */
int lp_make_dirs(const char *path, struct lp_err *err);

#endif
