/* What the files that make up an update share. */
#ifndef LP_UPDATE_PRIVATE_H
#define LP_UPDATE_PRIVATE_H

#include "base/buf.h"
#include "base/vec.h"
#include "update/http.h"
#include "update/minisign.h"
#include "update/release.h"
#include "update/state.h"
#include "update/update.h"

struct lp_update {
	struct lp_update_options o;
	char *program; /* without links */
	struct lp_update_memory memory;
	LP_VEC(struct lp_key) keys;
	struct lp_releases all;
	enum lp_update_stage stage;
};

/* ---- get.c ---- */

void lp_update_progress(struct lp_update *u, enum lp_update_stage stage, uint64_t done, uint64_t total);
struct lp_http_options lp_update_http_options(struct lp_update *u);

/* What is signed: a file of a release, its signature, and what the trusted comment has to say. */
struct lp_signed {
	const struct lp_asset *archive, *signature;
	const struct lp_version *version;
};
/* Fetched and verified; all of it is in `out`, the caller's to free also after a refusal. */
int lp_update_get(struct lp_update *u, const struct lp_signed *what, struct lp_buf *out, bool *was_signed,
		  struct lp_err *err);

/* ---- index.c ---- */
/* Fills in u->all. */
int lp_update_ask_index(struct lp_update *u, struct lp_err *err);

/* ---- update.c ---- */
/* Whether the server wants to be left alone still, and whether it is known who that is. */
int lp_update_may_ask(const struct lp_update *u, struct lp_err *err);

#endif
