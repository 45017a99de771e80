/*
 * Which units may have changed.  Three witnesses, any of which is enough:
 *
 *  - the build command compiled it again in the changed tree,
 *  - it was compiled from a file that the diffs changed (build systems that do not track every dependency),
 *  - its object, made by something that was not seen, has other bytes in the changed tree.
 *
 * A unit that was compiled again by the same command from the same bytes is not affected: build systems do more than they
 * must.  Whether an affected one did change is for the differ to find out.
 */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "build/build_private.h"

/* ---- the binaries ---- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* What the linker made, whatever the build did to it since. */
static int open_original(struct lp_build *b, struct lp_changed_binary *c, struct lp_err *err)
{
	char *copy = lp_model_side_file(&b->before, c->link->record, ".bin");
	int rc = lp_elf_open(&c->original, copy, err);
	lp_free(copy);
	return rc < 0 ? lp_err_context(err, rc, "%s", lp_build_shown(b, c->link->output)) : 0;
}

static bool is_library_of(const struct lp_elf *e, const char *name)
{
	const char *soname = lp_elf_soname(e);
	return soname && strcmp(soname, name) == 0;
}

/* How well a file fits as the installed form of a binary: build-ids decide, then names. */
static int fit(const struct lp_elf *target, const char *target_path, const struct lp_elf *original, const char *output)
{
	struct lp_build_id a, b;
	lp_elf_build_id(target, &a);
	lp_elf_build_id(original, &b);
	if (lp_build_id_equal(&a, &b))
		return 3;
	if (strcmp(base_name(target_path), base_name(output)) == 0)
		return 2;
	return lp_elf_soname(target) && is_library_of(original, lp_elf_soname(target)) ? 1 : 0;
}

static struct lp_changed_binary *add_binary(struct lp_build *b, struct lp_link *l, const char *target)
{
	struct lp_changed_binary *c = lp_vec_add(&b->binaries);
	c->link = l;
	c->target = target;
	c->name = lp_strdup(lp_build_shown(b, l->output));
	return c;
}

static bool matches(const struct lp_build *b, const char *pattern, const struct lp_link *l)
{
	return fnmatch(pattern, lp_build_shown(b, l->output), 0) == 0;
}

static bool is_skipped(const struct lp_build *b, const struct lp_link *l)
{
	for (size_t i = 0; i < b->opts.nr_skip; i++)
		if (matches(b, b->opts.skip[i], l))
			return true;
	return false;
}

static int add_all(struct lp_build *b, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < b->before.links.nr && rc == 0; i++)
		if (!is_skipped(b, &b->before.links.items[i]))
			rc = open_original(b, add_binary(b, &b->before.links.items[i], NULL), err);
	return rc;
}

static void list_binaries(const struct lp_build *b, struct lp_err *err)
{
	enum { SHOWN = 12 };
	for (size_t i = 0; i < b->before.links.nr && i < SHOWN; i++)
		lp_err_append(err, "%s%s", i ? ", " : " (it makes ",
			      lp_build_shown(b, b->before.links.items[i].output));
	lp_err_append(err, b->before.links.nr > SHOWN ? ", ...)" : b->before.links.nr ? ")" : "");
}

/* A pattern for nothing is a slip of the pen, and what it was meant for would get its patch. */
static int check_skip(const struct lp_build *b, const char *pattern, struct lp_err *err)
{
	for (size_t i = 0; i < b->before.links.nr; i++)
		if (matches(b, pattern, &b->before.links.items[i]))
			return 0;
	lp_fail(err, LP_EFILE, "the build makes nothing that --skip '%s' names", pattern);
	list_binaries(b, err);
	return -LP_EFILE;
}

static int add_target(struct lp_build *b, const char *target, struct lp_err *err)
{
	struct lp_elf *elf = NULL;
	struct lp_changed_binary best = {0};
	int best_fit = 0;
	int rc = lp_elf_open(&elf, target, err);
	for (size_t i = 0; i < b->before.links.nr && rc == 0; i++) {
		struct lp_changed_binary c = {.link = &b->before.links.items[i]};
		rc = open_original(b, &c, err);
		int now = rc == 0 ? fit(elf, target, c.original, c.link->output) : 0;
		if (now > best_fit) {
			lp_elf_close(best.original);
			best = c;
			best_fit = now;
		} else {
			lp_elf_close(c.original);
		}
	}
	if (rc == 0 && !best_fit) {
		rc = lp_fail(err, LP_EFILE, "the build makes nothing that %s could be", target);
		list_binaries(b, err);
	}
	if (rc == 0) {
		struct lp_changed_binary *c = add_binary(b, best.link, target);
		c->original = best.original;
		c->target_elf = elf;
		return lp_elf_open_debug(&c->target_debug, elf, target, "", err);
	}
	lp_elf_close(best.original);
	lp_elf_close(elf);
	return rc;
}

int lp_build_find_targets(struct lp_build *b, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < b->opts.nr_skip && rc == 0; i++)
		rc = check_skip(b, b->opts.skip[i], err);
	if (rc == 0 && !b->opts.nr_targets)
		return add_all(b, err);
	for (size_t i = 0; i < b->opts.nr_targets && rc == 0; i++)
		rc = add_target(b, b->opts.targets[i], err);
	return rc;
}

/* ---- the units ---- */

static bool same_linked(const struct lp_linked *a, const struct lp_linked *b)
{
	if (a->record && b->record)
		return lp_same_unit(a->record, a->unit, b->record, b->unit);
	return strcmp(a->file, b->file) == 0 &&
	       (a->member == b->member || (a->member && b->member && strcmp(a->member, b->member) == 0));
}

static bool is_in_link(const struct lp_link *l, const struct lp_linked *o)
{
	for (size_t i = 0; i < l->objects.nr; i++)
		if (same_linked(&l->objects.items[i], o))
			return true;
	return false;
}

static char *unit_name(const struct lp_build *b, const struct lp_linked *o)
{
	const char *file = lp_build_shown(b, o->file);
	if (o->record && o->record->taken_apart)
		return lp_strdup(o->record->units.items[o->unit].source);
	return o->member ? lp_sprintf("%s(%s)", file, o->member) : lp_strdup(file);
}

static bool is_in_tree(const struct lp_build *b, const char *path)
{
	return strncmp(path, b->tree, strlen(b->tree)) == 0;
}

/* An object that nobody was seen making: other bytes now? */
static bool bytes_differ(struct lp_build *b, const struct lp_linked *o)
{
	struct lp_buf before = {0}, after = {0};
	bool differ = is_in_tree(b, o->file) && lp_model_object(&b->before, o, &before, NULL) == 0 &&
		      lp_model_object(&b->after, o, &after, NULL) == 0 &&
		      (before.len != after.len || memcmp(before.data, after.data, after.len) != 0);
	lp_buf_free(&before);
	lp_buf_free(&after);
	return differ;
}

static bool is_affected(struct lp_build *b, struct lp_linked *o, struct lp_affected *a)
{
	*a = (struct lp_affected){.linked = o};
	if (!o->record)
		return bytes_differ(b, o);
	if (lp_model_find_unit(&b->after, o->record, o->unit, &a->after, &a->after_unit))
		return !lp_same_compilation(&b->before, o->record, o->unit, &b->after, a->after, a->after_unit);
	if (!lp_model_depends(&b->before, o->record, o->unit, b->changes.items, b->changes.nr) &&
	    !(o->record->unseen && bytes_differ(b, o)))
		return false;
	a->after = o->record; /* the command is the same; the files are not */
	a->after_unit = o->unit;
	a->compile_after = true;
	return true;
}

/* Index into units; SIZE_MAX when it is not there yet. */
static size_t find_affected(const struct lp_build *b, const struct lp_linked *o)
{
	for (size_t i = 0; i < b->units.nr; i++)
		if (b->units.items[i].linked && same_linked(b->units.items[i].linked, o))
			return i;
	return SIZE_MAX;
}

static size_t add_unit(struct lp_build *b, struct lp_affected a, const struct lp_linked *o)
{
	a.name = unit_name(b, o);
	a.compile_before = a.linked && a.linked->record && !lp_compile_is_needless(a.linked->record, a.linked->unit);
	lp_vec_push(&b->units, a);
	return b->units.nr - 1;
}

static void use_unit(struct lp_changed_binary *c, size_t unit, struct lp_linked *linked)
{
	lp_vec_push(&c->uses, ((struct lp_use){.unit = unit, .linked = linked}));
}

/* A larger object that was not made again still stands for its parts. */
static bool is_removed(const struct lp_build *b, const struct lp_linked *o, const struct lp_link *after)
{
	if (!after || (!o->record && !is_in_tree(b, o->file)) || is_in_link(after, o))
		return false;
	return !o->via || !lp_link_find(after, o->via, NULL);
}

/* Which objects of a binary are affected; `after`: the same binary in the changed tree, or NULL when it was not linked again. */
static void find_changed(struct lp_build *b, struct lp_changed_binary *c, const struct lp_link *after)
{
	for (size_t i = 0; i < c->link->objects.nr; i++) {
		struct lp_linked *o = &c->link->objects.items[i];
		struct lp_affected a;
		size_t known = find_affected(b, o);
		if (o->expanded)
			continue;
		if (is_removed(b, o, after)) {
			a = (struct lp_affected){.linked = o, .is_removed = true};
			use_unit(c, add_unit(b, a, o), o);
		} else if (known != SIZE_MAX && !b->units.items[known].is_removed) {
			use_unit(c, known, o);
		} else if (is_affected(b, o, &a)) {
			use_unit(c, add_unit(b, a, o), o);
		}
	}
}

/* An object that the changed binary has and the original has not: new source, or a member that nobody needed before. */
static void add_new(struct lp_build *b, struct lp_changed_binary *c, struct lp_linked *o)
{
	struct lp_affected a = {0};
	if (!o->record && !is_in_tree(b, o->file))
		return; /* the system's: what it offers is bound at run time, or refused by the differ */
	if (o->record) {
		a.after = o->record;
		a.after_unit = o->unit;
	}
	size_t unit = add_unit(b, a, o);
	if (!o->record) {
		char *path = lp_sprintf("%s/new-%zu.o", b->work, unit);
		struct lp_buf bytes = {0};
		if (lp_model_object(&b->after, o, &bytes, NULL) == 0 &&
		    lp_write_file(path, bytes.data, bytes.len, NULL) == 0)
			b->units.items[unit].after_file = path;
		else
			lp_free(path);
		lp_buf_free(&bytes);
	}
	use_unit(c, unit, NULL);
}

static void find_new(struct lp_build *b, struct lp_changed_binary *c, struct lp_link *after)
{
	for (size_t i = 0; i < after->objects.nr; i++) {
		struct lp_linked *o = &after->objects.items[i];
		if (!o->expanded && !is_in_link(c->link, o) && !lp_model_is_partial(&b->before, o->file))
			add_new(b, c, o);
	}
}

/* The linker's map then names objects that nobody compiled; only the commands tell. */
static int refuse_lto(const struct lp_build *b, struct lp_err *err)
{
	for (size_t i = 0; i < b->after.records.nr; i++) {
		const struct lp_record *r = &b->after.records.items[i];
		if (r->args.lto && r->units.nr)
			return lp_fail(err, LP_ELTO,
				       "%s is compiled for link-time optimisation (-flto): its code is only made when "
				       "everything is linked, and cannot be compared by units; a live patch needs a "
				       "binary that was built without it",
				       r->units.items[0].source);
	}
	return 0;
}

/* A binary was linked again from an object that is gone and that nobody was seen making: whether it changed cannot be told. */
static int refuse_unseen(struct lp_build *b, const struct lp_link *after, struct lp_err *err)
{
	for (size_t i = 0; i < after->objects.nr; i++) {
		const struct lp_linked *o = &after->objects.items[i];
		char *path = lp_model_path(&b->after, o->file);
		bool there = o->record || access(path, R_OK) == 0;
		lp_free(path);
		if (!there)
			return lp_fail(err, LP_EUNRECORDED,
				       "%s is linked from %s, which is gone and was not seen being compiled; compile "
				       "to an object (-c) first, then link",
				       lp_build_shown(b, after->output), o->file);
	}
	return 0;
}

int lp_build_find_affected(struct lp_build *b, struct lp_err *err)
{
	int rc = refuse_lto(b, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < b->binaries.nr; i++) {
		struct lp_changed_binary *c = &b->binaries.items[i];
		struct lp_link *after = lp_model_find_link(&b->after, c->link->output);
		if (after && refuse_unseen(b, after, &c->why) < 0)
			continue;
		find_changed(b, c, after);
		if (after)
			find_new(b, c, after);
	}
	return 0;
}

/* ---- their objects ---- */

/* The record lies in the changed tree's records when the changed build made it. */
static bool is_of(const struct lp_model *m, const struct lp_record *r)
{
	return m->records.nr && r >= m->records.items && r < m->records.items + m->records.nr;
}

static void after_from_record(struct lp_build *b, struct lp_affected *a, size_t index)
{
	if (!a->after || a->after_file)
		return;
	const struct lp_model *m = is_of(&b->after, a->after) ? &b->after : &b->before;
	if (m == &b->after && a->after->units.items[a->after_unit].has_copy) {
		char *from = lp_model_unit_file(m, a->after, a->after_unit, ".o");
		a->after_file = lp_sprintf("%s/after-%zu.o", b->work, index);
		if (lp_copy_file(from, a->after_file, NULL) == 0) {
			lp_free(from);
			return;
		}
		lp_free(from);
		lp_free(a->after_file);
		a->after_file = NULL;
	}
	a->compile_after = true;
}

static int save_raw(struct lp_build *b, struct lp_model *m, const struct lp_linked *o, const char *what, size_t index,
		    char **out, struct lp_err *err)
{
	struct lp_buf bytes = {0};
	char *path = lp_sprintf("%s/%s-%zu.o", b->work, what, index);
	int rc = lp_model_object(m, o, &bytes, err);
	if (rc == 0)
		rc = lp_write_file(path, bytes.data, bytes.len, err);
	lp_buf_free(&bytes);
	if (rc == 0)
		*out = path;
	else
		lp_free(path);
	return rc;
}

typedef LP_VEC(struct lp_compile) compile_vec;

static void add_compile(struct lp_build *b, compile_vec *list, const struct lp_record *r, size_t unit, const char *what,
			size_t index, char **object)
{
	lp_free(*object);
	*object = lp_sprintf("%s/%s-%zu.o", b->work, what, index);
	char *log = lp_sprintf("%s/%s-%zu.log", b->work, what, index);
	lp_vec_push(list, ((struct lp_compile){.record = r,
					       .unit = unit,
					       .indirect = b->units.items[index].indirect,
					       .object = *object,
					       .log = log}));
}

static int compile_list(struct lp_build *b, compile_vec *list, struct lp_err *err)
{
	struct lp_compile_how how = {.map = b->map, .include = b->include, .epoch = b->epoch, .jobs = b->jobs};
	int rc = list->nr ? lp_compile_all(list->items, list->nr, &how, &b->watch, err) : 0;
	for (size_t i = 0; i < list->nr; i++)
		lp_free(list->items[i].log);
	lp_vec_free(list);
	return rc;
}

static bool refers_far(struct lp_build *b, size_t unit)
{
	struct lp_elf *e = NULL;
	bool far = false;
	if (!b->units.items[unit].after_file || lp_elf_open(&e, b->units.items[unit].after_file, NULL) < 0)
		return false;
	for (size_t i = 0; i < b->binaries.nr && !far; i++) {
		const struct lp_changed_binary *c = &b->binaries.items[i];
		for (size_t k = 0; k < c->uses.nr && !far; k++)
			far = c->uses.items[k].unit == unit && lp_build_refers_far(e, c->original);
	}
	lp_elf_close(e);
	return far;
}

/* Once more, through the GOT, while the changed tree is still in its place. */
static int compile_far(struct lp_build *b, struct lp_err *err)
{
	compile_vec list = {0};
	char *scratch = lp_sprintf("%s/indirect.log", b->work);
	for (size_t i = 0; i < b->units.nr; i++) {
		struct lp_affected *a = &b->units.items[i];
		if (!a->after || a->is_removed || !refers_far(b, i))
			continue;
		a->indirect = lp_compiler_indirect(a->after, scratch, &b->watch);
		if (!a->indirect)
			continue;
		add_compile(b, &list, a->after, a->after_unit, "after", i, &a->after_file);
		a->compile_before = a->linked && a->linked->record;
	}
	lp_free(scratch);
	return compile_list(b, &list, err);
}

int lp_build_compile_after(struct lp_build *b, struct lp_err *err)
{
	compile_vec list = {0};
	int rc = 0;
	lp_build_begin(b, STAGE_COMPILE);
	for (size_t i = 0; i < b->units.nr && rc == 0; i++) {
		struct lp_affected *a = &b->units.items[i];
		if (a->is_removed)
			continue;
		if (!a->compile_after)
			after_from_record(b, a, i);
		if (a->compile_after)
			add_compile(b, &list, a->after, a->after_unit, "after", i, &a->after_file);
		else if (!a->after && a->linked)
			rc = save_raw(b, &b->after, a->linked, "after", i, &a->after_file, err);
	}
	int compiled = compile_list(b, &list, err);
	rc = rc < 0 ? rc : compiled;
	return rc < 0 ? rc : compile_far(b, err);
}

int lp_build_compile_before(struct lp_build *b, struct lp_err *err)
{
	compile_vec list = {0};
	int rc = lp_cache_bring_back(&b->cache, err);
	if (rc < 0)
		return rc;
	lp_free(b->before.container);
	b->before.container = lp_strdup(b->cache.here);
	lp_free(b->after.container);
	b->after.container = lp_strdup(b->cache.changed);
	for (size_t i = 0; i < b->units.nr && rc == 0; i++) {
		struct lp_affected *a = &b->units.items[i];
		if (a->compile_before)
			add_compile(b, &list, a->linked->record, a->linked->unit, "before", i, &a->before_file);
		else if (a->linked)
			rc = save_raw(b, &b->before, a->linked, "before", i, &a->before_file, err);
	}
	size_t nr = list.nr;
	int compiled = compile_list(b, &list, err);
	if (rc == 0 && compiled == 0)
		lp_build_end(b, "%zu affected, %zu compiled once more", b->units.nr, nr);
	return rc < 0 ? rc : compiled;
}
