/*
 * The table of contents; build_private.h says which file has which step.
 *
 * A tree is compiled three times at most, and never where the user keeps it: the original once (and kept); in a copy with
 * the diffs applied, what the build command compiles again, with one section per function; and of the original those same
 * units, the same way.
 */
#include "build/build.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "build/build_private.h"

static int make(struct lp_build *b, struct lp_err *err)
{
	lp_build_begin(b, STAGE_READ);
	int rc = lp_build_settle(b, err);
	if (rc == 0)
		rc = lp_build_open_cache(b, err);
	if (rc == 0)
		lp_build_end(b, "%s%s%s", b->command, b->guessed ? " (guessed)" : "",
			     b->cached ? ", built before" : "");
	if (rc == 0)
		rc = lp_build_original(b, err);
	if (rc == 0)
		rc = lp_build_find_targets(b, err);
	if (rc == 0)
		rc = lp_build_apply(b, err);
	if (rc == 0)
		rc = lp_build_changed(b, err);
	if (rc == 0)
		rc = lp_build_find_affected(b, err);
	if (rc == 0)
		rc = lp_build_compile_after(b, err);
	if (rc == 0)
		rc = lp_build_compile_before(b, err);
	if (rc < 0)
		return rc;
	lp_build_compare(b);
	lp_build_hold_back(b);
	rc = lp_watch_look(&b->watch, err); /* a compiler that was ended has not told its version, or its options */
	if (rc == 0)
		rc = lp_build_write(b, err);
	return rc < 0 ? rc : lp_build_verdict(b, err);
}

/* Leaves the cache as the next one wants to find it, also after a failure. */
static void clean_up(struct lp_build *b)
{
	if (b->work && !b->opts.keep)
		lp_tree_remove(b->work, NULL);
	if (b->opts.keep && b->cache.dir)
		b->kept = lp_strdup(b->cache.dir);
	lp_cache_close(&b->cache, b->opts.keep);
}

int lp_build_make(struct lp_build **out, const struct lp_build_opts *opts, struct lp_err *err)
{
	struct lp_err local = {0};
	struct lp_build *b = lp_alloc(sizeof *b);
	err = err ? err : &local;
	*out = NULL;
	b->opts = *opts;
	b->cache.lock = -1;
	b->watch = (struct lp_watch){.interrupted = opts->interrupted};
	int rc = make(b, err);
	clean_up(b);
	if (rc == 0 || b->patches.nr) /* which are listed once the files are there */
		*out = b;
	else
		lp_build_free(b);
	return rc;
}

/* ---- answers ---- */

const struct lp_build_patch *lp_build_patches(const struct lp_build *b, size_t *nr)
{
	*nr = b->patches.nr;
	return b->patches.items;
}

const char *lp_build_kept(const struct lp_build *b)
{
	return b->kept;
}

static json_t *patch_json(const struct lp_build_patch *p)
{
	struct lp_buf text = {0};
	char hex[2 * LP_BUILD_ID_MAX + 1];
	lp_build_id_hex(&p->build_id, hex);
	if (p->diff)
		lp_diff_json(p->diff, &text);
	else
		lp_buf_str(&text, "{\"changes\": [], \"refusals\": []}");
	json_t *object = json_loadb(lp_buf_cstr(&text), text.len, 0, NULL);
	lp_buf_free(&text);
	object = object ? object : json_object();
	json_object_set_new(object, "binary", json_string(p->binary));
	json_object_set_new(object, "target", p->target ? json_string(p->target) : json_null());
	json_object_set_new(object, "path", p->path ? json_string(p->path) : json_null());
	json_object_set_new(object, "refused", p->why ? json_string(p->why) : json_null());
	json_object_set_new(object, "build_id", json_string(hex));
	json_object_set_new(object, "size", json_integer((json_int_t)p->size));
	json_object_set_new(object, "units", json_integer((json_int_t)p->nr_units));
	return object;
}

static json_t *seconds_json(const struct lp_build *b)
{
	json_t *seconds = json_object();
	for (int i = 0; i < STAGE_COUNT; i++)
		json_object_set_new(seconds, lp_build_stage_name((enum lp_build_stage)i),
				    json_real((double)b->stage_ns[i] / 1e9));
	return seconds;
}

void lp_build_json(const struct lp_build *b, struct lp_buf *out)
{
	json_t *patches = json_array();
	for (size_t i = 0; i < b->patches.nr; i++)
		json_array_append_new(patches, patch_json(&b->patches.items[i]));
	json_t *whole = json_pack("{s:s, s:s, s:b, s:b, s:o, s:o}", "id", b->id, "command", b->command, "guessed",
				  b->guessed, "cached", b->cached, "seconds", seconds_json(b), "patches", patches);
	char *text = whole ? json_dumps(whole, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6)) : NULL;
	lp_buf_str(out, text ? text : "{}");
	free(text);
	json_decref(whole);
}

static void free_binary(struct lp_changed_binary *c)
{
	for (size_t i = 0; i < c->uses.nr; i++)
		lp_elf_close(c->uses.items[i].elf);
	for (size_t i = 0; i < c->others.nr; i++)
		lp_elf_close(c->others.items[i]);
	lp_diff_free(c->diff);
	lp_vec_free(&c->uses);
	lp_vec_free(&c->others);
	lp_elf_close(c->original);
	lp_elf_close(c->target_elf);
	lp_elf_close(c->target_debug);
	lp_buf_free(&c->kpatch);
	lp_free(c->path);
	lp_free(c->name);
}

static void free_units(struct lp_build *b)
{
	for (size_t i = 0; i < b->units.nr; i++) {
		struct lp_affected *a = &b->units.items[i];
		lp_elf_close(a->before_elf);
		lp_elf_close(a->after_elf);
		lp_free(a->before_file);
		lp_free(a->after_file);
		lp_free(a->name);
	}
	lp_vec_free(&b->units);
}

void lp_build_free(struct lp_build *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->binaries.nr; i++)
		free_binary(&b->binaries.items[i]);
	lp_vec_free(&b->binaries);
	free_units(b);
	lp_vec_free(&b->patches);
	lp_paths_free(&b->changes);
	for (size_t i = 0; i < b->renames.nr; i++) {
		lp_free(b->renames.items[i].from);
		lp_free(b->renames.items[i].to);
	}
	lp_vec_free(&b->renames);
	lp_model_free(&b->before);
	lp_model_free(&b->after);
	lp_free(b->srcdir);
	lp_free(b->name);
	lp_free(b->command);
	lp_free(b->id);
	lp_free(b->wrapper);
	lp_free(b->root);
	lp_free(b->tree);
	lp_free(b->work);
	lp_free(b->map);
	lp_free(b->include);
	lp_free(b->epoch);
	lp_free(b->compiler);
	lp_free(b->kept);
	lp_free(b);
}
