/* Files of a release: fetched, and held against what the index and the signature say of them. */
#include <errno.h>
#include <string.h>

#include "update/private.h"
#include "update/sha256.h"

#define ARCHIVE_MAX ((size_t)256 << 20)
#define SIGNATURE_MAX 16384

/* ---- fetching ---- */

void lp_update_progress(struct lp_update *u, enum lp_update_stage stage, uint64_t done, uint64_t total)
{
	u->stage = stage;
	if (u->o.progress)
		u->o.progress(stage, done, total, u->o.arg);
}

static void on_transfer(uint64_t done, uint64_t total, void *arg)
{
	struct lp_update *u = arg;

	lp_update_progress(u, u->stage, done, total);
}

struct lp_http_options lp_update_http_options(struct lp_update *u)
{
	return (struct lp_http_options){.agent = u->o.agent,
					.ca_file = u->o.ca_file,
					.stall_s = u->o.stall_s,
					.progress = on_transfer,
					.arg = u};
}

/* A list from elsewhere must not have this machine's own servers asked for things. */
static int check_address(const struct lp_update *u, const char *url, struct lp_err *err)
{
	if (!lp_http_is_at_home(url) || lp_http_is_at_home(u->o.url))
		return 0;
	return lp_fail(err, LP_EINDEX, "the list of releases leads from %s to %s: only https:// is asked", u->o.url,
		       url);
}

static int fetch(struct lp_update *u, const char *url, size_t limit, struct lp_buf *out, struct lp_err *err)
{
	struct lp_http_options o = lp_update_http_options(u);
	struct lp_http_reply r = {0};
	int rc = check_address(u, url, err);

	rc = rc ? rc : lp_http_get(&o, &(struct lp_http_request){.url = url, .limit = limit}, &r, err);
	if (r.not_before > u->memory.state.not_before) {
		u->memory.state.not_before = r.not_before;
		lp_update_memory_save(&u->memory, NULL);
	}
	*out = r.body;
	return rc;
}

/* ---- whose it is ---- */

static int check_asset(const struct lp_asset *a, const struct lp_buf *data, struct lp_err *err)
{
	char hex[65];

	if (data->len != a->size)
		return lp_fail(err, LP_ECHECKSUM, "%s has %zu bytes; the list of releases says %" PRIu64, a->name,
			       data->len, a->size);
	if (!*a->sha256)
		return 0;
	lp_sha256_hex(data->data, data->len, hex);
	if (strcmp(hex, a->sha256) != 0)
		return lp_fail(err, LP_ECHECKSUM, "%s is not what the list of releases says: its SHA-256 is %s, not %s",
			       a->name, hex, a->sha256);
	return 0;
}

/* A signature that is there has to hold, whatever the command line says: who has not signed is one thing, who forges another. */
static int check_signature(struct lp_update *u, const struct lp_signed *what, const struct lp_buf *data,
			   bool *was_signed, struct lp_err *err)
{
	struct lp_buf signature = {0};
	char *comment = NULL;
	int rc;

	if (u->o.takes_unsigned && (!u->keys.nr || !what->signature->name))
		return 0;
	if (!u->keys.nr)
		return lp_fail(err, LP_EKEY,
			       "no key says whose updates are good: none is compiled in; write \"keys = RW...\" below "
			       "[update] in "
			       "arm64runner.conf");
	if (!what->signature->name)
		return lp_fail(err, LP_ESIGNATURE, "%s has no signature (%s.minisig)", what->archive->name,
			       what->archive->name);
	rc = fetch(u, what->signature->url, SIGNATURE_MAX, &signature, err);
	rc = rc ? rc
		: lp_minisign_verify(u->keys.items, u->keys.nr, lp_buf_cstr(&signature), data->data, data->len,
				     &comment, err);
	rc = rc ? rc : lp_comment_names(comment, what->archive->name, what->version, err);
	if (rc == -LP_ESIGNATURE)
		lp_err_context(err, rc, "%s", what->archive->name);
	lp_buf_free(&signature);
	lp_free(comment);
	*was_signed = rc == 0;
	return rc;
}

static int check_promise(const struct lp_asset *a, struct lp_err *err)
{
	if (a->size > ARCHIVE_MAX)
		return lp_fail(err, LP_EINDEX, "%s is said to have %" PRIu64 " bytes; %zu are believable", a->name,
			       a->size, ARCHIVE_MAX);
	if (!*a->url)
		return lp_fail(err, LP_EINDEX, "the list of releases does not say where %s is", a->name);
	return 0;
}

int lp_update_get(struct lp_update *u, const struct lp_signed *what, struct lp_buf *out, bool *was_signed,
		  struct lp_err *err)
{
	size_t limit = (size_t)what->archive->size;
	int rc = check_promise(what->archive, err);

	if (rc)
		return rc;
	lp_update_progress(u, LP_UPDATE_FETCHES, 0, what->archive->size);
	rc = fetch(u, what->archive->url, limit, out, err);
	if (rc == -EFBIG)
		rc = lp_fail(err, LP_ECHECKSUM, "%s is larger than %zu bytes, as the list of releases says",
			     what->archive->name, limit);
	lp_update_progress(u, LP_UPDATE_VERIFIES, 0, 0);
	rc = rc ? rc : check_asset(what->archive, out, err);
	return rc ? rc : check_signature(u, what, out, was_signed, err);
}
