/*
 * The folder of the translation cache: $XDG_CACHE_HOME/livepatch/arm64, or ~/.cache/livepatch/arm64.
 *
 * What stands there is executed.  So it is used only when it is this user's and nobody else can write to it or read it,
 * and so are its files; and not at all by who has other rights than the user who started him.  Errors say which it was.
 */
#ifndef LP_JIT_CACHE_DIR_H
#define LP_JIT_CACHE_DIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { LP_CACHE_NAME_MAX = 160 };

/* A descriptor for the calls below, or -errno.  `makes`: the folder is made when there is none, else that is -ENOENT. */
int lp_cache_dir_open(bool makes, struct lp_err *err);
/* Whether the first of these will find a folder that is good, or one that may be made: 0, or -errno. */
int lp_cache_dir_look(struct lp_err *err);
/* The file of that name to be read, or -errno: -EPERM when it may be somebody else's.  It is young from then on. */
int lp_cache_dir_file(int dir, const char *name);
/* The same in as few system calls as can be, of a folder that lp_cache_dir_open() has found good: the file is looked at as
 * closely. */
int lp_cache_dir_read(const char *name);
/* A new file, which has no name that anybody looks for; its own name into `temporary`. */
int lp_cache_dir_new(int dir, char temporary[LP_CACHE_NAME_MAX]);
/* It gets that name, in place of who had it.  On failure it is gone. */
int lp_cache_dir_rename(int dir, const char *temporary, const char *name);
void lp_cache_dir_remove(int dir, const char *name);
/* Removes the oldest files until all of them together are not larger than that. */
void lp_cache_dir_limit(int dir, uint64_t bytes);

#endif
