/*
 * The index of releases, as GitHub's /repos/OWNER/NAME/releases answers.
 *
 *     rc = lp_releases_read(&all, text, len, machine, err);
 *     newest = lp_releases_newest(&all, rc_channel);        // of all's; NULL: there is none
 *     lp_releases_free(&all);
 *
 * Nothing of it is trusted: what it says about an archive is held against the
 * archive's signature.  Drafts, and releases whose tag is no version, are left
 * out.
 */
#ifndef LP_UPDATE_RELEASE_H
#define LP_UPDATE_RELEASE_H

#include "base/err.h"
#include "base/vec.h"
#include "update/version.h"

#define LP_INDEX_MAX (8u << 20) /* bytes */

/* A file of a release; name NULL: it has none. */
struct lp_asset {
	char *name, *url;
	uint64_t size;
	char sha256[65]; /* hexadecimal, lower case; "" when the index does not say */
};

struct lp_release {
	struct lp_version version;
	bool is_candidate; /* by its version, or because it is called a prerelease */
	char *notes;	   /* text from outside: to be cleaned before a terminal sees it */
	char *published;   /* the same; "" when unknown */
	struct lp_asset archive, signature;
	/* The set of patches that came with it (patches.h), its signature and its own version. */
	struct lp_asset patches, patches_signature;
	struct lp_version patches_version;
};

struct lp_releases {
	struct lp_release *items;
	size_t nr, cap;
	size_t listed; /* also those that were left out */
};

/* -LP_EINDEX with what is wrong; `out` is empty then. */
int lp_releases_read(struct lp_releases *out, const char *text, size_t len, const char *machine, struct lp_err *err);
/* Those of `more`, which is empty then, come behind. */
void lp_releases_join(struct lp_releases *all, struct lp_releases *more);
/* The highest version; a candidate only where the channel takes them. */
const struct lp_release *lp_releases_newest(const struct lp_releases *all, bool rc_channel);
/* The one with the highest set of patches; NULL: none has one. */
const struct lp_release *lp_releases_patches(const struct lp_releases *all, bool rc_channel);
void lp_releases_free(struct lp_releases *all);

/* "arm64_runner-1.2.3-linux-MACHINE.tar.gz"; the caller frees it. */
char *lp_archive_name(const struct lp_version *v, const char *machine);

#endif
