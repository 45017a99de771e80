/*
 * Members of ar archives, GNU's long names and thin archives included.  Bounds-checked views into the file's bytes.
 */
#ifndef LP_BUILD_ARCHIVE_H
#define LP_BUILD_ARCHIVE_H

#include "base/err.h"
#include "base/vec.h"

struct lp_archive_member {
	char *name;
	const uint8_t *bytes; /* NULL in a thin archive: name is a path, relative to the archive's directory */
	size_t len;
};

struct lp_archive {
	LP_VEC(struct lp_archive_member) members; /* without symbol tables and the table of names */
};

bool lp_is_archive(const void *bytes, size_t len);
/* `bytes` must live as long as the archive. */
int lp_archive_parse(struct lp_archive *out, const uint8_t *bytes, size_t len, const char *name, struct lp_err *err);
void lp_archive_free(struct lp_archive *a);

#endif
