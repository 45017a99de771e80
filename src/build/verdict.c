/*
 * When some binaries are refused and others are not: which patches may go out.
 *
 * A test program that cannot be patched is no reason to leave the server as it is; but code of one process that belongs
 * together does.  So a refused library holds back what is linked against it, directly or through other libraries: the new
 * code of a program may count on what only the new library does.  Not the other way round: a library has to serve
 * programs that were not built again with it.  What is loaded by dlopen() is not seen here.
 *
 * Something refused is a failure, whatever was written: nobody shall believe a fix to be everywhere that is not.
 */
#include <string.h>

#include "build/build_private.h"

static const char *name_as_library(const struct lp_changed_binary *c)
{
	const char *soname = lp_elf_soname(c->original), *slash = strrchr(c->link->output, '/');
	return soname ? soname : slash ? slash + 1 : c->link->output;
}

static bool loads(const struct lp_changed_binary *c, const struct lp_changed_binary *library)
{
	const char *wanted = name_as_library(library), *needed;
	for (size_t i = 0; (needed = lp_elf_needed(c->original, i)); i++)
		if (strcmp(needed, wanted) == 0)
			return true;
	return false;
}

typedef LP_VEC(struct lp_changed_binary *) binary_vec;

static bool contains(const binary_vec *list, const struct lp_changed_binary *c)
{
	for (size_t i = 0; i < list->nr; i++)
		if (list->items[i] == c)
			return true;
	return false;
}

/* The refused library itself, and whatever leads to it. */
static void find_users(struct lp_build *b, struct lp_changed_binary *library, binary_vec *users)
{
	lp_vec_push(users, library);
	for (size_t at = 0; at < users->nr; at++)
		for (size_t i = 0; i < b->binaries.nr; i++) {
			struct lp_changed_binary *c = &b->binaries.items[i];
			if (!contains(users, c) && loads(c, users->items[at]))
				lp_vec_push(users, c);
		}
}

static void hold_back_users(struct lp_build *b, struct lp_changed_binary *library)
{
	binary_vec users = {0};
	find_users(b, library, &users);
	for (size_t i = 1; i < users.nr; i++) {
		struct lp_changed_binary *c = users.items[i];
		if (!c->why.code && c->kpatch.len)
			lp_fail(&c->why, LP_EDIFF, "%s is held back: its processes load %s, which was refused", c->name,
				library->name);
	}
	lp_vec_free(&users);
}

/* Those that are held back hold nobody back: who loads them loads what was refused, too. */
void lp_build_hold_back(struct lp_build *b)
{
	binary_vec refused = {0};
	for (size_t i = 0; i < b->binaries.nr; i++)
		if (b->binaries.items[i].why.code)
			lp_vec_push(&refused, &b->binaries.items[i]);
	for (size_t i = 0; i < refused.nr; i++)
		hold_back_users(b, refused.items[i]);
	lp_vec_free(&refused);
}

/* "a, b and 3 others" */
static void list_names(const struct lp_build *b, bool refused, const char *before, struct lp_err *err)
{
	enum { SHOWN = 6 };
	size_t nr = 0;
	for (size_t i = 0; i < b->patches.nr; i++) {
		const struct lp_build_patch *p = &b->patches.items[i];
		if (!p->why == refused)
			continue;
		if (nr < SHOWN)
			lp_err_append(err, "%s%s", nr ? ", " : before, p->binary);
		nr++;
	}
	if (nr > SHOWN)
		lp_err_append(err, " and %zu more", nr - SHOWN);
}

int lp_build_verdict(const struct lp_build *b, struct lp_err *err)
{
	const struct lp_err *first = NULL;
	bool written = false;
	for (size_t i = 0; i < b->binaries.nr; i++) {
		const struct lp_changed_binary *c = &b->binaries.items[i];
		first = first || !c->why.code ? first : &c->why;
		written = written || c->path;
	}
	if (!first || !err)
		return first ? first->code : 0;
	*err = *first;
	if (b->patches.nr > 1) {
		list_names(b, true, "\nno live patch was made of ", err);
		list_names(b, false, "\nlive patches were made of ", err);
		if (written && !b->opts.nr_targets)
			lp_err_append(err, "\n--skip NAME leaves out what need not be patched");
	}
	return err->code;
}
