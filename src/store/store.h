/*
 * A store of live patches: a directory in which a patch is found by the
 * build-id of the object it is for.
 *
 *     BUILDID/latest/kpatch.bin    `latest` is a symbolic link to a number, the patch level; a patch of a higher
 *     BUILDID/2/kpatch.bin         level stands in for one of a lower level
 *     BUILDID/2/description        text for people; may be missing
 *     BUILDID.kpatch               one patch, without a level
 *     anything.kpatch              read for its build-id; all of them count, in the order of their names
 *     before, after                programs that are run around a change with the process id as argument
 *
 * For one build-id the first of these forms that is there is taken.  An empty
 * kpatch.bin of level 0 says "known to be vulnerable, no patch yet".  A single
 * .kpatch file is a store with one patch in it.
 *
 *     struct lp_store *s;
 *     rc = lp_store_open(&s, "/var/lib/livepatch", err);
 *     rc = lp_store_find(s, hex, &found, err);       // 0, also with found.nr == 0
 *     lp_store_found_free(&found);
 *     lp_store_close(s);
 *
 * lp_store_open() reads the freely named files once, and what lies under a
 * build-id is looked up at each lp_store_find(): a daemon opens the store anew
 * when the directory changes.  Nothing is cached between two stores.
 *
 * Whoever can write to a store owns the processes that are patched from it: lp_store_open_trusted() is for those who apply
 * patches that nobody watches.
 */
#ifndef LP_STORE_H
#define LP_STORE_H

#include <sys/types.h>

#include "elf/elf.h"

struct lp_store;

/* `path` is a directory or a .kpatch file.  -LP_EFILE and the readers' codes; a file in a directory that cannot be
 * read is not the directory's fault: it is skipped with a warning in the log. */
int lp_store_open(struct lp_store **out, const char *path, struct lp_err *err);
/* The same, and nothing of a store is read that lp_store_trusted() would refuse. */
int lp_store_open_trusted(struct lp_store **out, const char *path, struct lp_err *err);
void lp_store_close(struct lp_store *s); /* NULL is fine */
const char *lp_store_path(const struct lp_store *s);
bool lp_store_is_directory(const struct lp_store *s);

struct lp_store_patch {
	char *path;	       /* of the patch file; owned */
	char *description;     /* file with a text, or NULL; owned */
	unsigned level;	       /* 0 = none */
	bool only_description; /* the file is empty: known to be vulnerable, not patched yet */
};

struct lp_store_found {
	struct lp_store_patch *items;
	size_t nr, cap;
};

/* What the store has for an object with this build-id (lower-case hex). */
int lp_store_find(const struct lp_store *s, const char *build_id, struct lp_store_found *out, struct lp_err *err);
void lp_store_found_free(struct lp_store_found *f);

/* The directories below a store in which something may change: BUILDID and BUILDID/N, without links.  Each is to be
 * freed. */
typedef LP_VEC(char *) lp_name_vec;
void lp_store_directories(const char *path, lp_name_vec *out);

/* "before" or "after": its path when the store has such a program, else NULL.  Owned by the store. */
const char *lp_store_script(const struct lp_store *s, const char *name);

/* 0, or -LP_EUNTRUSTED naming the first directory or file that somebody else than root and us may write.  Links are
 * followed; one that leads nowhere is refused, too. */
int lp_store_trusted(const struct lp_store *s, struct lp_err *err);

#endif
