/*
 * Whole reads and writes on file descriptors: short counts and EINTR handled
 * once, here.
 */
#ifndef LP_BASE_FDIO_H
#define LP_BASE_FDIO_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* Exactly len bytes or a negative error (-EIO on early end). */
int lp_pread_full(int fd, void *data, size_t len, off_t at);
int lp_pwrite_full(int fd, const void *data, size_t len, off_t at);

/* The rest of an open file, at most `limit` bytes (-EFBIG beyond). */
int lp_read_fd(int fd, struct lp_buf *out, size_t limit, struct lp_err *err);

/* A whole file; only regular files and pipes that end.  Errors name the path. */
int lp_read_file(const char *path, struct lp_buf *out, size_t limit, struct lp_err *err);

/*
 * The same file at a number beyond the standard streams: a program that has
 * closed one of those must not find something of ours there.  Negative stays
 * negative, with errno.
 */
int lp_fd_aside(int fd);

/* The same for a name that somebody else chose: a regular file, and nothing that could keep us waiting or that opening
 * has an effect on.  Errors call it `name`. */
int lp_read_regular(const char *path, const char *name, struct lp_buf *out, size_t limit, struct lp_err *err);

/* Close that keeps errno and accepts -1. */
void lp_close(int fd);

/* The first thing in main(): whichever of the descriptors 0, 1 and 2 we were started without gets one that can neither be
 * read (0) nor written (1, 2).  Otherwise the next file, pipe or socket would get its number, and what is meant for
 * people, or for a child's input, would go there.  Aborts where there is no /dev/null. */
void lp_stdio_hold(void);

#endif
