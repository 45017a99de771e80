/*
 * A .tar.gz in memory to files in a folder of ours, by libarchive, which reads
 * it; what is written where is decided here.
 *
 * Every entry has to be a file or a folder below TOP/: no absolute path, no
 * "..", no link, no device, no set-user-ID, nothing twice.  One that is not so
 * refuses the whole archive; all of it is read before anything counts.
 */
#ifndef LP_UPDATE_UNPACK_H
#define LP_UPDATE_UNPACK_H

#include "base/err.h"

struct lp_unpack_limits {
	unsigned entries;
	uint64_t bytes; /* of all files, unpacked */
	unsigned ratio; /* of these to those of the archive, from a mebibyte on */
};
extern const struct lp_unpack_limits lp_unpack_usual;

/*
 * Of the files directly in TOP those whose name `wants` are written into the
 * folder: 0755 when the archive lets anybody execute them, else 0644, durable.
 * -LP_EARCHIVE, naming the entry; -errno when they cannot be written.  What was
 * written until then stays: the folder is private, and the caller's to empty.
 */
int lp_unpack(const void *data, size_t size, const char *top, int folder, bool (*wants)(const char *name),
	      const struct lp_unpack_limits *limits, struct lp_err *err);

#endif
