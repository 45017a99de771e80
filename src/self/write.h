/*
 * How bytes of code are written, and how every core comes to see them.
 *
 *     rc = lp_writer_open(&w, err);             // before the stop
 *     rc = lp_writer_write(&w, at, bytes, len);
 *     rc = lp_writer_sync(&w);                  // every core has left what was there before
 *     lp_writer_close(&w);
 *
 * Two ways, found out once by trying on a page of our own:
 *
 *   memory  /proc/self/mem writes to any private page, whatever its protection
 *   pages   where that is forbidden, or not noticed by what executes the code
 *           (an emulator): a copy of the page is changed while it is plain
 *           data, made executable, and moved over the original in one go
 *
 * Either way no page is ever writable and executable.  A page that was
 * exchanged is anonymous afterwards.
 */
#ifndef LP_SELF_WRITE_H
#define LP_SELF_WRITE_H

#include "base/err.h"

struct lp_writer {
	int memory; /* of /proc/self/mem: belongs to the memory it was opened in, so never kept over a fork */
};

int lp_writer_setup(struct lp_err *err); /* once in a process */

int lp_writer_open(struct lp_writer *w, struct lp_err *err);
void lp_writer_close(struct lp_writer *w);

/* -errno; safe between stop and resume. */
int lp_writer_write(const struct lp_writer *w, lp_addr at, const void *bytes, size_t len);
int lp_writer_sync(void);
bool lp_writer_syncs(void); /* false: this kernel cannot; then nobody but the writer may run meanwhile */

#endif
