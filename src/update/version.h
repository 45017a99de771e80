/*
 * Versions of releases: MAJOR[.MINOR[.BUILD]], and of candidates -rcN behind it.
 *
 * "v1.2.3-rc2", "1.2.3-rc.2", "1.2.3rc2", "1.2.3~rc2" are the same.  A
 * candidate is older than the release that it is a candidate for.
 */
#ifndef LP_UPDATE_VERSION_H
#define LP_UPDATE_VERSION_H

#include "base/addr.h"

struct lp_version {
	uint32_t major, minor, build, rc;
	bool is_candidate; /* and only then rc counts */
};

#define LP_VERSION_TEXT 64

/* False: it is none; *out is 0.0.0 then. */
bool lp_version_read(const char *text, struct lp_version *out);
/* As strcmp(3). */
int lp_version_compare(const struct lp_version *a, const struct lp_version *b);
/* Writes into out and returns it: "1.2.3", "1.2.3-rc2". */
const char *lp_version_text(const struct lp_version *v, char out[LP_VERSION_TEXT]);

#endif
