#include "update/release.h"

#include <jansson.h>
#include <string.h>

#include "update/names.h"
#include "update/patches.h"

#define RELEASES_MAX 1000
#define ASSETS_MAX 500
#define NOTES_MAX (64u << 10) /* bytes of one release's notes that are kept */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* ---- assets ---- */

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && !strcmp(text + len - end_len, end);
}

char *lp_archive_name(const struct lp_version *v, const char *machine)
{
	char text[LP_VERSION_TEXT];

	return lp_sprintf(LP_PRODUCT "-%s-linux-%s.tar.gz", lp_version_text(v, text), machine);
}

/* However the version is spelled, it is the release's. */
static bool is_archive(const char *name, const struct lp_version *v, const char *machine)
{
	static const char head[] = LP_PRODUCT "-";
	char *tail = lp_sprintf("-linux-%s.tar.gz", machine), text[LP_VERSION_TEXT];
	size_t len = strlen(name), around = strlen(head) + strlen(tail);
	struct lp_version named;
	bool yes = len > around && len - around < sizeof text && !strncmp(name, head, strlen(head)) &&
		   ends_with(name, tail);

	if (yes) {
		memcpy(text, name + strlen(head), len - around);
		text[len - around] = 0;
		yes = lp_version_read(text, &named) && lp_version_compare(&named, v) == 0;
	}
	lp_free(tail);
	return yes;
}

static bool is_there(const json_t *asset)
{
	const char *state = text_of(asset, "state");

	return !*state || !strcmp(state, "uploaded");
}

static void read_digest(const char *text, char out[65])
{
	static const char head[] = "sha256:", digits[] = "0123456789abcdef";

	if (strncmp(text, head, strlen(head)) != 0)
		return;
	text += strlen(head);
	if (strlen(text) == 64 && strspn(text, digits) == 64)
		memcpy(out, text, 65);
}

static void take_asset(struct lp_asset *out, const json_t *asset)
{
	json_int_t size = json_integer_value(json_object_get(asset, "size"));

	if (out->name)
		return;
	out->name = lp_strdup(text_of(asset, "name"));
	out->url = lp_strdup(text_of(asset, "browser_download_url"));
	out->size = size > 0 ? (uint64_t)size : 0;
	read_digest(text_of(asset, "digest"), out->sha256);
}

/* ARCHIVE.minisig */
static void take_signature(struct lp_asset *out, const struct lp_asset *archive, const json_t *assets)
{
	char *name = lp_sprintf("%s.minisig", archive->name);

	for (size_t i = 0; i < json_array_size(assets) && i < ASSETS_MAX; i++) {
		const json_t *asset = json_array_get(assets, i);
		if (is_there(asset) && !strcmp(text_of(asset, "name"), name))
			take_asset(out, asset);
	}
	lp_free(name);
}

static void free_asset(struct lp_asset *a)
{
	lp_free(a->name);
	lp_free(a->url);
	*a = (struct lp_asset){0};
}

/* The highest of several. */
static void read_patches(struct lp_release *r, const json_t *assets)
{
	for (size_t i = 0; i < json_array_size(assets) && i < ASSETS_MAX; i++) {
		const json_t *asset = json_array_get(assets, i);
		struct lp_version v;
		if (!is_there(asset) || !lp_patches_is_archive(text_of(asset, "name"), &v) ||
		    (r->patches.name && lp_version_compare(&v, &r->patches_version) <= 0))
			continue;
		free_asset(&r->patches);
		take_asset(&r->patches, asset);
		r->patches_version = v;
	}
	if (r->patches.name)
		take_signature(&r->patches_signature, &r->patches, assets);
}

static void read_assets(struct lp_release *r, const json_t *assets, const char *machine)
{
	for (size_t i = 0; i < json_array_size(assets) && i < ASSETS_MAX; i++) {
		const json_t *asset = json_array_get(assets, i);
		if (is_there(asset) && is_archive(text_of(asset, "name"), &r->version, machine))
			take_asset(&r->archive, asset);
	}
	if (r->archive.name)
		take_signature(&r->signature, &r->archive, assets);
	read_patches(r, assets);
}

/* ---- releases ---- */

static void read_release(struct lp_releases *out, const json_t *object, const char *machine)
{
	struct lp_version version;
	struct lp_release *r;
	const char *notes = text_of(object, "body");

	if (json_is_true(json_object_get(object, "draft")) || !lp_version_read(text_of(object, "tag_name"), &version))
		return;
	r = lp_vec_add(out);
	r->version = version;
	r->is_candidate = version.is_candidate || json_is_true(json_object_get(object, "prerelease"));
	r->notes = strlen(notes) > NOTES_MAX ? lp_sprintf("%.*s", (int)NOTES_MAX, notes) : lp_strdup(notes);
	r->published = lp_strdup_line(text_of(object, "published_at"));
	read_assets(r, json_object_get(object, "assets"), machine);
}

int lp_releases_read(struct lp_releases *out, const char *text, size_t len, const char *machine, struct lp_err *err)
{
	json_error_t why;
	json_t *all = json_loadb(text, len, 0, &why);
	int rc = 0;

	*out = (struct lp_releases){0};
	if (!all)
		return lp_fail(err, LP_EINDEX, "the list of releases is no JSON: line %d, column %d: %s", why.line,
			       why.column, why.text);
	if (!json_is_array(all))
		rc = lp_fail(err, LP_EINDEX, "the list of releases is no list");
	else if (json_array_size(all) > RELEASES_MAX)
		rc = lp_fail(err, LP_EINDEX, "the list of releases has %zu; %d are believable", json_array_size(all),
			     RELEASES_MAX);
	out->listed = rc == 0 ? json_array_size(all) : 0;
	for (size_t i = 0; rc == 0 && i < json_array_size(all); i++)
		read_release(out, json_array_get(all, i), machine);
	json_decref(all);
	return rc;
}

void lp_releases_join(struct lp_releases *all, struct lp_releases *more)
{
	for (size_t i = 0; i < more->nr; i++)
		lp_vec_push(all, more->items[i]);
	all->listed += more->listed;
	lp_vec_free(more);
	more->listed = 0;
}

const struct lp_release *lp_releases_newest(const struct lp_releases *all, bool rc_channel)
{
	const struct lp_release *newest = NULL;

	for (size_t i = 0; i < all->nr; i++) {
		const struct lp_release *r = &all->items[i];
		if ((rc_channel || !r->is_candidate) &&
		    (!newest || lp_version_compare(&r->version, &newest->version) > 0))
			newest = r;
	}
	return newest;
}

const struct lp_release *lp_releases_patches(const struct lp_releases *all, bool rc_channel)
{
	const struct lp_release *newest = NULL;

	for (size_t i = 0; i < all->nr; i++) {
		const struct lp_release *r = &all->items[i];
		if (r->patches.name && (rc_channel || !r->is_candidate) &&
		    (!newest || lp_version_compare(&r->patches_version, &newest->patches_version) > 0))
			newest = r;
	}
	return newest;
}

void lp_releases_free(struct lp_releases *all)
{
	for (size_t i = 0; i < all->nr; i++) {
		lp_free(all->items[i].notes);
		lp_free(all->items[i].published);
		free_asset(&all->items[i].archive);
		free_asset(&all->items[i].signature);
		free_asset(&all->items[i].patches);
		free_asset(&all->items[i].patches_signature);
	}
	lp_vec_free(all);
}
