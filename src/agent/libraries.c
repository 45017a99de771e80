/*
 * lib ...: shared libraries that clients bring in.
 *
 * dlopen() of a file that is loaded already gives the old one again, whatever
 * is in the file by now: that is refused, because nobody means it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/agent.h"

static LP_VEC(struct lp_library *) libraries;

static struct lp_library *library_named(const char *name)
{
	for (size_t i = 0; i < libraries.nr; i++) {
		if (!strcmp(libraries.items[i]->name, name))
			return libraries.items[i];
	}
	return NULL;
}

int lp_library_find(lp_open txn, const char *name, struct lp_library **out, struct lp_err *err)
{
	struct lp_library *l = library_named(name);

	if (l && l->owner && l->owner != txn)
		return lp_fail(err, EBUSY, "another client's open transaction %s library %s: wait for its end",
			       l->leaving ? "unloads" : "has loaded", name);
	if (!l || l->leaving)
		return lp_fail(err, LP_ENOLIBRARY, "there is no library called %s; lib load NAME PATH loads one", name);
	*out = l;
	return 0;
}

static void forget(struct lp_library *l)
{
	for (size_t i = 0; i < libraries.nr; i++) {
		if (libraries.items[i] == l) {
			memmove(&libraries.items[i], &libraries.items[i + 1], (libraries.nr - i - 1) * sizeof l);
			libraries.nr--;
			return;
		}
	}
}

void lp_libraries_forked(void)
{
	for (size_t i = 0; i < libraries.nr; i++) {
		libraries.items[i]->owner = NULL;
		libraries.items[i]->leaving = false;
	}
}

static struct lp_library *hold(struct lp_library *l)
{
	l->holders++;
	return l;
}

static void drop(struct lp_library *l)
{
	if (--l->holders)
		return;
	lp_free(l->name);
	lp_free(l->path);
	lp_free(l);
}

static struct link_map *map_of(const struct lp_library *l)
{
	struct link_map *map = NULL;

	return dlinfo(l->handle, RTLD_DI_LINKMAP, &map) == 0 ? map : NULL;
}

struct segments {
	ElfW(Addr) base;
	struct lp_range all;
	LP_VEC(struct lp_range) code;
};

static int add_segments(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct segments *s = arg;

	if (info->dlpi_addr != s->base)
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		struct lp_range r = {info->dlpi_addr + p->p_vaddr, info->dlpi_addr + p->p_vaddr + p->p_memsz};

		if (p->p_type != PT_LOAD)
			continue;
		s->all.start = s->all.end && s->all.start < r.start ? s->all.start : r.start;
		s->all.end = s->all.end > r.end ? s->all.end : r.end;
		if (p->p_flags & PF_X)
			lp_vec_push(&s->code, r);
	}
	return 1;
}

/* To be freed: its code.  Nothing, when the loader does not know the library any more. */
static struct segments segments_at(ElfW(Addr) base)
{
	struct segments s = {.base = base};

	dl_iterate_phdr(add_segments, &s);
	return s;
}

static struct lp_range extent_at(ElfW(Addr) base)
{
	struct segments s = segments_at(base);

	lp_vec_free(&s.code);
	return s.all;
}

/* What it has registered and does not take back itself goes with it. */
static void close_library(struct lp_library *l)
{
	const struct link_map *map = map_of(l);
	ElfW(Addr) base = map ? map->l_addr : 0;
	struct lp_range memory = map ? extent_at(base) : (struct lp_range){0};

	forget(l);
	dlclose(l->handle);
	l->handle = NULL;
	if (map && !extent_at(base).end) {
		lp_variables_forget(memory);
		lp_functions_forget(memory);
	}
	drop(l);
}

bool lp_library_is_at(lp_addr base)
{
	for (size_t i = 0; i < libraries.nr; i++) {
		const struct link_map *map = map_of(libraries.items[i]);

		if (map && map->l_addr == base)
			return true;
	}
	return false;
}

int lp_library_symbol(const struct lp_library *l, const char *name, lp_addr *out, struct lp_err *err)
{
	struct link_map *owner = NULL;
	Dl_info info;
	void *at = dlsym(l->handle, name);

	if (!at)
		return lp_fail(err, LP_ENOSYM, "library %s (%s) has no symbol %s", l->name, l->path, name);
	if (!dladdr1(at, &info, (void **)&owner, RTLD_DL_LINKMAP) || owner != map_of(l))
		return lp_fail(err, LP_ENOSYM, "library %s (%s) has no symbol %s of its own; %s has", l->name, l->path,
			       name, info.dli_fname ? info.dli_fname : "another one");
	*out = (lp_addr)(uintptr_t)at;
	return 0;
}

/* ---- lib list ---- */

int lp_cmd_lib_list(struct lp_call *c, struct lp_err *err)
{
	for (size_t i = 0; i < libraries.nr; i++) {
		const struct lp_library *l = libraries.items[i];
		const struct link_map *map = map_of(l);

		lp_reply_row(c->reply, "Get library: %, pointer: %, path: %, functions in use: %",
			     LP_STR("name", l->name), LP_ADDRESS("pointer", map ? map->l_addr : 0),
			     LP_STR("path", l->path), LP_UINT("in_use", lp_library_users(l, c->changes, NULL)));
	}
	return 0;
}

/* ---- lib load ---- */

static const struct lp_library *library_of_handle(const void *handle)
{
	for (size_t i = 0; i < libraries.nr; i++) {
		if (libraries.items[i]->handle == handle)
			return libraries.items[i];
	}
	return NULL;
}

static int refuse_loaded(const char *path, const struct lp_library *l, struct lp_err *err)
{
	if (l)
		return lp_fail(err, LP_EEXISTS,
			       "%s is loaded already, as %s, and the loader would give the same again: lib unload %s "
			       "first, or load a copy under another file name",
			       path, l->name, l->name);
	return lp_fail(err, LP_EEXISTS,
		       "the program has loaded %s itself, and the loader would give the same again: load a copy under "
		       "another file name",
		       path);
}

static int open_library(struct lp_library *l, struct lp_err *err)
{
	struct stat st;

	/* The loader would wait for whoever writes to a FIFO, with its lock held. */
	if (strchr(l->path, '/') && stat(l->path, &st) == 0 && !S_ISREG(st.st_mode))
		return lp_fail(err, LP_EFILE, "Cannot open library: %s is no regular file", l->path);
	void *already = dlopen(l->path, RTLD_LAZY | RTLD_NOLOAD);

	if (already) {
		dlclose(already);
		return refuse_loaded(l->path, library_of_handle(already), err);
	}
	l->handle = dlopen(l->path, RTLD_NOW | RTLD_LOCAL);
	if (!l->handle)
		return lp_fail(err, LP_EFILE, "Cannot open library: %s", dlerror());
	if (!library_named(l->name))
		return 0;
	dlclose(l->handle); /* a constructor of it has loaded another one */
	return lp_fail(err, LP_EEXISTS, "there is a library called %s by now", l->name);
}

struct load {
	struct lp_library *library;
	bool stays;
};

static int load_commit(void *change, struct lp_err *err)
{
	((struct load *)change)->stays = true;
	return 0;
}

static void load_undo(void *change)
{
	((struct load *)change)->stays = false;
}

/* It stays, too, when the loading was taken back and a function could not be: what calls go to must be there. */
static void load_release(void *change)
{
	struct load *load = change;
	struct lp_library *l = load->library;

	l->owner = NULL;
	if (l->handle && !load->stays && !lp_library_is_live(l))
		close_library(l);
	drop(l);
	lp_free(load);
}

/* Loaded at once, so that the next command of the transaction can use it; taken out again if that fails. */
int lp_cmd_lib_load(struct lp_call *c, struct lp_err *err)
{
	const char *name = c->argv[0], *path = c->argv[1];

	/* To the loader an empty path is the program itself. */
	if (!*name || !*path)
		return lp_fail(err, LP_EUSAGE, "a library has a name and a path, and neither is empty");
	if (library_named(name))
		return lp_fail(err, LP_EEXISTS, "there is a library called %s already", name);
	struct lp_library *l = hold(lp_alloc(sizeof *l));
	l->name = lp_strdup(name);
	l->path = lp_strdup(path);
	int rc = open_library(l, err);
	if (rc < 0) {
		drop(l);
		return rc;
	}
	l->owner = c->changes;
	lp_vec_push(&libraries, l);
	struct load *load = lp_alloc(sizeof *load);
	load->library = hold(l);
	lp_change_add(c, &(struct lp_change){.rank = LP_RANK_FLAGS,
					     .commit = load_commit,
					     .undo = load_undo,
					     .release = load_release,
					     .change = load});
	lp_reply_row(c->reply, "Try to load dynamic library: %, path: %", LP_STR("name", name), LP_STR("path", path));
	return 0;
}

/* ---- lib unload ---- */

/* A thread in there now, or one that returns there, would find nothing. */
static int check_empty(const struct lp_library *l, struct lp_err *err)
{
	const struct link_map *map = map_of(l);
	int rc = 0;

	if (!map)
		return lp_fail(err, LP_EINTERNAL, "the loader does not say where library %s is", l->name);
	struct segments s = segments_at(map->l_addr);
	bool *inside = lp_alloc(s.code.nr + 1);
	rc = lp_self_look(s.code.items, inside, s.code.nr, err);
	for (size_t i = 0; i < s.code.nr && !rc; i++) {
		if (inside[i])
			rc = lp_fail(err, LP_EINUSE,
				     "library %s cannot be unloaded now: a thread is inside of it, or may return there",
				     l->name);
	}
	lp_free(inside);
	lp_vec_free(&s.code);
	return rc;
}

#define NAMES_MAX 300 /* bytes, in a sentence */

static int refuse_used(const struct lp_library *l, lp_open txn, struct lp_err *err)
{
	struct lp_buf names = {0};
	unsigned nr = lp_library_users(l, txn, &names);
	const char *more = names.len > NAMES_MAX ? "..." : "";

	if (nr)
		lp_fail(err, LP_EINUSE,
			"%u of the program's functions are in library %s now, or would be after a rollback: %.*s%s; "
			"func rollback FUNCTION 0 takes one back to the original",
			nr, l->name, NAMES_MAX, lp_buf_cstr(&names), more);
	lp_buf_free(&names);
	return nr ? -LP_EINUSE : 0;
}

/* Its own functions, and not those that lead into it. */
static int refuse_changed(const struct lp_library *l, lp_open txn, struct lp_err *err)
{
	const struct link_map *map = map_of(l);
	const char *name = map ? lp_function_changed_in(extent_at(map->l_addr), txn) : NULL;

	return name ? lp_fail(err, LP_EINUSE,
			      "function %s of library %s is upgraded, or about to be; func rollback %s 0 takes it back",
			      name, l->name, name)
		    : 0;
}

static int refuse_unload(const struct lp_library *l, struct lp_err *err)
{
	int rc = lp_library_is_live(l) ? refuse_used(l, NULL, err) : 0;

	rc = rc < 0 ? rc : refuse_changed(l, l->owner, err);
	return rc < 0 ? rc : check_empty(l, err);
}

/* The first look at all of them, then the first of them goes. */
int lp_libraries_unload(void *const *changes, size_t nr, struct lp_err *err)
{
	for (size_t i = 0; i < nr; i++) {
		int rc = refuse_unload(changes[i], err);

		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; i < nr; i++)
		close_library(changes[i]);
	return 0;
}

static void unload_release(void *change)
{
	struct lp_library *l = change;

	l->leaving = false;
	l->owner = NULL;
	drop(l);
}

int lp_cmd_lib_unload(struct lp_call *c, struct lp_err *err)
{
	struct lp_library *l;
	int rc = lp_library_find(c->changes, c->argv[0], &l, err);

	rc = rc < 0 ? rc : refuse_used(l, c->changes, err);
	if (rc < 0)
		return rc;
	l->leaving = true;
	l->owner = c->changes;
	lp_change_add(c, &(struct lp_change){.rank = LP_RANK_UNLOAD, .release = unload_release, .change = hold(l)});
	lp_reply_row(c->reply, "Try to unload dynamic library: %", LP_STR("name", l->name));
	return 0;
}
