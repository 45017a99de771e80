/*
 * From compared objects to files.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "build/build_private.h"
#include "patch/kpatch.h"

/* ---- the differ ---- */

static int open_object(struct lp_elf **out, const char *file, const char *name, struct lp_err *err)
{
	if (*out || !file)
		return 0;
	int rc = lp_elf_open(out, file, err);
	return rc < 0 ? lp_err_context(err, rc, "the object of %s", name) : 0;
}

static int open_linked(struct lp_build *b, const struct lp_linked *o, struct lp_elf **out, struct lp_err *err)
{
	struct lp_buf bytes = {0};
	int rc = lp_model_object(&b->before, o, &bytes, err);
	if (rc == 0)
		rc = lp_elf_from_bytes(out, bytes.data, bytes.len, lp_build_shown(b, o->file), err);
	lp_buf_free(&bytes);
	return rc;
}

static int open_units(struct lp_build *b, struct lp_changed_binary *c, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < c->uses.nr && rc == 0; i++) {
		struct lp_use *use = &c->uses.items[i];
		struct lp_affected *a = &b->units.items[use->unit];
		rc = open_object(&a->before_elf, a->before_file, a->name, err);
		if (rc == 0)
			rc = open_object(&a->after_elf, a->after_file, a->name, err);
		if (rc == 0 && use->linked)
			rc = open_linked(b, use->linked, &use->elf, err);
	}
	return rc;
}

static bool is_used(const struct lp_changed_binary *c, const struct lp_linked *o)
{
	for (size_t i = 0; i < c->uses.nr; i++)
		if (c->uses.items[i].linked == o)
			return true;
	return false;
}

/* Those that did not change say who else uses what.  One that cannot be read is left out: the differ then assumes the worst. */
static void open_others(struct lp_build *b, struct lp_changed_binary *c)
{
	for (size_t i = 0; i < c->link->objects.nr; i++) {
		struct lp_linked *o = &c->link->objects.items[i];
		struct lp_elf *elf = NULL;
		if (!o->expanded && !is_used(c, o) && open_linked(b, o, &elf, NULL) == 0)
			lp_vec_push(&c->others, elf);
	}
}

static struct lp_diff_unit *diff_units(struct lp_build *b, const struct lp_changed_binary *c)
{
	struct lp_diff_unit *units = lp_alloc(sizeof *units * c->uses.nr);
	for (size_t i = 0; i < c->uses.nr; i++) {
		const struct lp_use *use = &c->uses.items[i];
		const struct lp_affected *a = &b->units.items[use->unit];
		units[i] = (struct lp_diff_unit){
			.name = a->name,
			.before = use->linked ? a->before_elf : NULL,
			.after = a->after_elf,
			.linked = use->elf,
			.placements = use->linked ? use->linked->placements.items : NULL,
			.nr_placements = use->linked ? use->linked->placements.nr : 0,
		};
	}
	return units;
}

static void find_compiler(struct lp_build *b)
{
	char *scratch = lp_sprintf("%s/version.log", b->work);
	for (size_t i = 0; i < b->units.nr && !b->compiler; i++)
		if (b->units.items[i].after)
			b->compiler = lp_compiler_version(b->units.items[i].after, scratch, &b->watch);
	lp_free(scratch);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static int run_differ(struct lp_build *b, struct lp_changed_binary *c, struct lp_err *err)
{
	struct lp_diff_unit *units = diff_units(b, c);
	struct lp_diff_input in = {
		.units = units,
		.nr_units = c->uses.nr,
		.original = c->original,
		.target = c->target_elf,
		.target_debug = c->target_debug,
		.others = c->others.items,
		.nr_others = c->others.nr,
		.id = b->id,
		.object_name = base_name(c->target ? c->target : c->link->output),
		.compiler = b->compiler,
		.allow = b->opts.allow,
		.nr_allow = b->opts.nr_allow,
		.line_functions = b->opts.line_functions,
		.nr_line_functions = b->opts.nr_line_functions,
	};
	int rc = lp_diff_make(&c->diff, &in, err);
	lp_free(units);
	return rc < 0 ? lp_err_context(err, rc, "%s", c->name) : 0;
}

static int64_t build_time(void)
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	return epoch ? (int64_t)strtoll(epoch, NULL, 10) : (int64_t)time(NULL);
}

static int wrap_up(struct lp_build *b, struct lp_changed_binary *c, struct lp_err *err)
{
	struct lp_buf elf = {0};
	struct lp_kpatch_meta meta = {
		.id = b->id, .object = base_name(c->target ? c->target : c->link->output), .build_time = build_time()};
	lp_elf_build_id(c->target_elf ? c->target_elf : c->original, &meta.build_id);
	if (!meta.build_id.len)
		return lp_fail(err, LP_EBUILDID,
			       "%s has no build-id, by which its processes are found; link it with -Wl,--build-id",
			       c->target ? c->target : c->name);
	int rc = lp_diff_emit(c->diff, &elf, err);
	if (rc == 0)
		rc = lp_kpatch_write(&meta, elf.data, elf.len, &c->kpatch, err);
	lp_buf_free(&elf);
	return rc < 0 ? lp_err_context(err, rc, "%s", c->name) : 0;
}

static int compare_one(struct lp_build *b, struct lp_changed_binary *c, struct lp_err *err)
{
	int rc = open_units(b, c, err);
	if (rc == 0) {
		open_others(b, c);
		rc = run_differ(b, c, err);
	}
	if (rc == 0 && !lp_diff_empty(c->diff))
		rc = wrap_up(b, c, err);
	return rc;
}

static bool has_changed(const struct lp_changed_binary *c)
{
	return c->why.code || (c->diff && !lp_diff_empty(c->diff));
}

static size_t count_changed(const struct lp_build *b)
{
	size_t nr = 0;
	for (size_t i = 0; i < b->binaries.nr; i++)
		nr += has_changed(&b->binaries.items[i]);
	return nr;
}

static size_t count_refused(const struct lp_build *b)
{
	size_t nr = 0;
	for (size_t i = 0; i < b->binaries.nr; i++)
		nr += b->binaries.items[i].why.code != 0;
	return nr;
}

/* A refusal does not keep the other binaries from being looked at. */
void lp_build_compare(struct lp_build *b)
{
	size_t compared = 0;
	lp_build_begin(b, STAGE_COMPARE);
	find_compiler(b);
	for (size_t i = 0; i < b->binaries.nr; i++) {
		struct lp_changed_binary *c = &b->binaries.items[i];
		if (c->uses.nr && !c->why.code) {
			compare_one(b, c, &c->why);
			compared++;
		}
		lp_build_tell(b, i + 1, b->binaries.nr, "binary");
	}
	lp_build_end(b, "%zu %s compared, %zu changed, %zu refused", compared, compared == 1 ? "binary" : "binaries",
		     count_changed(b), count_refused(b));
}

/* ---- files ---- */

static bool is_directory(const char *path)
{
	struct stat st;
	size_t len = strlen(path);
	return (len && path[len - 1] == '/') || (stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

/* "x/y.kpatch" without its suffix. */
static char *stem_of(const char *path)
{
	const char *base = base_name(path), *dot = strrchr(base, '.');
	return lp_sprintf("%.*s", (int)(dot && dot > base ? (size_t)(dot - path) : strlen(path)), path);
}

static bool is_unique_name(const struct lp_build *b, const struct lp_changed_binary *c)
{
	for (size_t i = 0; i < b->binaries.nr; i++) {
		const struct lp_changed_binary *other = &b->binaries.items[i];
		if (other != c && has_changed(other) && strcmp(base_name(other->name), base_name(c->name)) == 0)
			return false;
	}
	return true;
}

/* What tells this binary's file from the others'. */
static char *file_name(const struct lp_build *b, const struct lp_changed_binary *c)
{
	char *name = lp_strdup(is_unique_name(b, c) ? base_name(c->name) : c->name);
	for (char *p = name; *p; p++)
		if (*p == '/')
			*p = '-';
	return name;
}

static char *path_for(const struct lp_build *b, const struct lp_changed_binary *c)
{
	const char *out = b->opts.out;
	char *name = file_name(b, c), *stem = stem_of(out ? out : base_name(b->opts.diffs[0])), *path;
	if (out && is_directory(out))
		path = lp_sprintf("%s%s%s.kpatch", out, out[strlen(out) - 1] == '/' ? "" : "/", name);
	else if (count_changed(b) > 1) /* also when others were refused: OUT would look like all there is */
		path = lp_sprintf("%s-%s.kpatch", stem, name);
	else
		path = out ? lp_strdup(out) : lp_sprintf("%s.kpatch", stem);
	lp_free(stem);
	lp_free(name);
	return path;
}

/* In the cache: killed now, we leave nothing where the user looks. */
static char *draft_of(const struct lp_build *b, size_t i)
{
	return lp_sprintf("%s/draft-%zu.kpatch", b->work, i);
}

static int write_drafts(struct lp_build *b, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < b->binaries.nr && rc == 0; i++) {
		struct lp_changed_binary *c = &b->binaries.items[i];
		if (!c->kpatch.len || c->why.code)
			continue;
		c->path = path_for(b, c);
		char *draft = draft_of(b, i);
		rc = lp_write_file(draft, c->kpatch.data, c->kpatch.len, err);
		lp_free(draft);
	}
	return rc;
}

/* To another file system, by way of a file beside it. */
static int carry_over(const char *draft, const char *path, struct lp_err *err)
{
	char *beside = lp_sprintf("%s.%d.tmp", path, (int)getpid());
	int rc = lp_copy_file(draft, beside, err);
	if (rc == 0 && rename(beside, path) < 0)
		rc = lp_fail_sys(err, errno, "cannot rename %s", beside);
	if (rc < 0)
		unlink(beside);
	lp_free(beside);
	return rc;
}

static int settle_draft(const char *draft, const char *path, struct lp_err *err)
{
	if (rename(draft, path) == 0)
		return 0;
	return errno == EXDEV ? carry_over(draft, path, err) : lp_fail_sys(err, errno, "cannot write %s", path);
}

/* When all could be written; the drafts go with the rest of what was worked on. */
static int settle_drafts(struct lp_build *b, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < b->binaries.nr && rc == 0; i++) {
		const char *path = b->binaries.items[i].path;
		char *draft = path ? draft_of(b, i) : NULL;
		if (draft)
			rc = settle_draft(draft, path, err);
		lp_free(draft);
	}
	return rc;
}

/* What the user built in his tree is most likely what runs. */
static void warn_of_other_build(const struct lp_build *b, const struct lp_changed_binary *c)
{
	struct lp_build_id ours, theirs = {0};
	struct lp_elf *elf = NULL;
	char *path = lp_sprintf("%s/%s", b->srcdir, c->name);
	if (access(path, R_OK) == 0 && lp_elf_open(&elf, path, NULL) == 0) {
		lp_elf_build_id(elf, &theirs);
		lp_elf_build_id(c->original, &ours);
		if (theirs.len && !lp_build_id_equal(&ours, &theirs))
			lp_warn("%s is another build of %s than ours and has another build-id; if it is the one that "
				"runs, name it with --target",
				path, c->name);
	}
	lp_elf_close(elf);
	lp_free(path);
}

static void list_patches(struct lp_build *b)
{
	for (size_t i = 0; i < b->binaries.nr; i++) {
		struct lp_changed_binary *c = &b->binaries.items[i];
		if (!has_changed(c))
			continue;
		if (!c->target && c->path)
			warn_of_other_build(b, c);
		struct lp_build_patch *p = lp_vec_add(&b->patches);
		*p = (struct lp_build_patch){.binary = c->name,
					     .target = c->target,
					     .path = c->path,
					     .why = c->why.code ? c->why.text : NULL,
					     .diff = c->diff,
					     .size = c->kpatch.len,
					     .nr_units = c->uses.nr};
		lp_elf_build_id(c->target_elf ? c->target_elf : c->original, &p->build_id);
	}
}

int lp_build_write(struct lp_build *b, struct lp_err *err)
{
	size_t len = b->opts.out ? strlen(b->opts.out) : 0;
	if (len && b->opts.out[len - 1] == '/' && count_changed(b) > count_refused(b) && mkdir(b->opts.out, 0777) < 0 &&
	    errno != EEXIST)
		return lp_fail_sys(err, errno, "cannot create the directory %s", b->opts.out);
	int rc = write_drafts(b, err);
	rc = rc < 0 ? rc : settle_drafts(b, err);
	if (rc == 0)
		list_patches(b);
	return rc;
}
