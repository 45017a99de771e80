/* Sets of patches: the newest one of the channel into a folder, by the rules of programs. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "update/patches.h"
#include "update/private.h"

#define HIGHEST "patches" /* beside the memory: the highest set that came with a good signature */

/* ---- which was seen ---- */

static struct lp_version read_highest(const struct lp_update *u)
{
	struct lp_buf text = {0};
	struct lp_version v = {0};
	char *line;

	if (lp_update_memory_get(&u->memory, HIGHEST, &text, 256, NULL) == 0) {
		line = (char *)lp_buf_cstr(&text);
		line[strcspn(line, "\n")] = 0;
		lp_version_read(line, &v);
	}
	lp_buf_free(&text);
	return v;
}

static int remember(struct lp_update *u, const struct lp_version *v, struct lp_err *err)
{
	struct lp_version before = read_highest(u);
	char shown[LP_VERSION_TEXT], *line;
	int rc;

	if (lp_version_compare(v, &before) <= 0)
		return 0;
	line = lp_sprintf("%s\n", lp_version_text(v, shown));
	rc = lp_update_memory_put(&u->memory, HIGHEST, line, strlen(line), err);
	lp_free(line);
	return rc;
}

static int refuse_older(const struct lp_update *u, const struct lp_version *offered, struct lp_err *err)
{
	struct lp_version highest = read_highest(u);
	char a[LP_VERSION_TEXT], b[LP_VERSION_TEXT];

	if (lp_version_compare(offered, &highest) >= 0)
		return 0;
	return lp_fail(err, LP_EDOWNGRADE,
		       "patches %s are older than %s, which were offered with a good signature before: not taken",
		       lp_version_text(offered, a), lp_version_text(&highest, b));
}

/* ---- pulling ---- */

static int find(struct lp_update *u, const struct lp_release **out, struct lp_err *err)
{
	int rc = u->all.listed ? 0 : lp_update_may_ask(u, err);

	if (rc == 0 && !u->all.listed) {
		rc = lp_update_ask_index(u, err);
		lp_update_memory_save(&u->memory, NULL);
	}
	*out = rc ? NULL : lp_releases_patches(&u->all, u->o.rc_channel);
	return rc;
}

static int take(struct lp_update *u, struct lp_patches *p, const struct lp_release *r, struct lp_update_pulled *out,
		struct lp_err *err)
{
	const struct lp_signed what = {&r->patches, &r->patches_signature, &r->patches_version};
	char *top = lp_sprintf("%.*s", (int)(strlen(r->patches.name) - strlen(".tar.gz")), r->patches.name);
	struct lp_patches_placed placed = {0};
	struct lp_buf data = {0};
	int rc = lp_update_get(u, &what, &data, &out->was_signed, err);

	if (rc == 0 && out->was_signed)
		rc = remember(u, &r->patches_version, err);
	rc = rc ? rc : lp_patches_place(p, &r->patches_version, top, data.data, data.len, &placed, err);
	if (rc == -LP_EARCHIVE)
		lp_err_context(err, rc, "%s", r->patches.name);
	out->changed = placed.changed;
	out->removed = placed.removed;
	out->all = placed.all;
	lp_buf_free(&data);
	lp_free(top);
	return rc;
}

int lp_update_pull(struct lp_update *u, const char *folder, bool looks_only, struct lp_update_pulled *out,
		   struct lp_err *err)
{
	const struct lp_release *newest;
	struct lp_patches *p = NULL;
	int rc = find(u, &newest, err);

	*out = (struct lp_update_pulled){0};
	rc = rc ? rc : lp_patches_open(&p, folder, err);
	if (rc == 0) {
		out->from = out->to = lp_patches_version(p);
		out->is_newer = newest && lp_version_compare(&newest->patches_version, &out->from) > 0;
	}
	if (rc == 0 && out->is_newer)
		rc = refuse_older(u, &newest->patches_version, err);
	if (rc == 0 && out->is_newer) {
		out->to = newest->patches_version;
		rc = looks_only ? 0 : take(u, p, newest, out, err);
	}
	lp_patches_close(p);
	return rc;
}

/* ---- what an update leaves behind ---- */

void lp_update_stale_patches(const char *folder, const struct lp_update_done *done, lp_update_sentences *out)
{
	static const char *const kinds[] = {"kpatch", "json"};
	char from[LP_VERSION_TEXT], to[LP_VERSION_TEXT];

	if (!*done->old_id || !strcmp(done->old_id, done->new_id))
		return;
	for (size_t i = 0; i < LP_ARRAY_SIZE(kinds); i++) {
		char *path = lp_sprintf("%s/%s.%s", folder, done->old_id, kinds[i]);
		if (access(path, F_OK) == 0)
			lp_vec_push(out,
				    lp_sprintf("%s is for version %s, and is not applied to version %s", path,
					       lp_version_text(&done->from, from), lp_version_text(&done->to, to)));
		lp_free(path);
	}
}
