/*
 * Translated code as Linux's perf wants to be told of it: a map file, and a jitdump.
 *
 *     struct lp_perf *perf = lp_perf_open(&options, &err);
 *     lp_perf_add(perf, &(struct lp_perf_code){.address = ..., .size = ..., .name = "main+0x10"});
 *
 * Map: /tmp/perf-PID.map, "START SIZE name" in hexadecimal for each piece of code, where perf report looks for it.  The name
 * is perf's own convention, and everybody can foresee it in a folder that is everybody's: the file is made (0600), no link is
 * followed, and one that exists is refused.
 *
 * Dump: jit-PID.dump in $JITDUMPDIR or the current folder, for `perf inject --jit`: the code's bytes too, and when they came.
 * perf learns of the file by a mapping of it, so it has to be recording by then, with `-k mono`.  Source: the Linux kernel's
 * tools/perf/Documentation/jitdump-specification.txt.
 *
 * A forked child has files of its own, with what its parent had made: lp_perf_close() and lp_perf_open() again.  The
 * descriptors are kept from the guest.  Not thread-safe.
 */
#ifndef LP_PROFILE_PERF_H
#define LP_PROFILE_PERF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct lp_perf;

struct lp_perf_options {
	bool map, dump;
	/* This process was another program a moment ago, whose files they were: the map is gone on with, the dump is made anew. */
	bool is_next;
};

struct lp_perf_code {
	const void *address; /* where it runs, and can be read */
	size_t size;
	const char *name; /* one line */
};

/* NULL: a file is there already, or cannot be made. */
struct lp_perf *lp_perf_open(const struct lp_perf_options *options, struct lp_err *err);
/* False: a file cannot be written any more, for the first time; nothing goes there from then on. */
bool lp_perf_add(struct lp_perf *perf, const struct lp_perf_code *code);
void lp_perf_close(struct lp_perf *perf);

#endif
