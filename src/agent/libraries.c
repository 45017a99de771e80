/*
 * lib ...: shared libraries that clients bring in.
 *
 * dlopen() of a file that is loaded already gives the old one again, whatever
 * is in the file by now: that is refused, because nobody means it.
 */
#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/agent.h"

static LP_VEC(struct lp_library *) libraries;

struct lp_library *lp_library_named(const char *name)
{
	for (size_t i = 0; i < libraries.nr; i++) {
		if (!strcmp(libraries.items[i]->name, name))
			return libraries.items[i];
	}
	return NULL;
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

static void library_free(struct lp_library *l)
{
	lp_free(l->name);
	lp_free(l->path);
	lp_free(l);
}

static struct link_map *map_of(const struct lp_library *l)
{
	struct link_map *map = NULL;

	return dlinfo(l->handle, RTLD_DI_LINKMAP, &map) == 0 ? map : NULL;
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
			     LP_STR("path", l->path), LP_UINT("in_use", lp_library_users(l)));
	}
	return 0;
}

/* ---- lib load ---- */

static int open_library(struct lp_library *l, struct lp_err *err)
{
	struct stat st;

	/* The loader would wait for whoever writes to a FIFO, with its lock held. */
	if (strchr(l->path, '/') && stat(l->path, &st) == 0 && !S_ISREG(st.st_mode))
		return lp_fail(err, LP_EFILE, "Cannot open library: %s is no regular file", l->path);
	void *already = dlopen(l->path, RTLD_LAZY | RTLD_NOLOAD);

	if (already) {
		dlclose(already);
		return lp_fail(
			err, LP_EEXISTS,
			"%s is loaded already, and the loader would give the same again: unload it first, or load a "
			"copy under another file name",
			l->path);
	}
	l->handle = dlopen(l->path, RTLD_NOW | RTLD_LOCAL);
	return l->handle ? 0 : lp_fail(err, LP_EFILE, "Cannot open library: %s", dlerror());
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

static void load_release(void *change)
{
	struct load *load = change;

	if (!load->stays) {
		forget(load->library);
		dlclose(load->library->handle);
		library_free(load->library);
	}
	lp_free(load);
}

/* Loaded at once, so that the next command of the transaction can use it; taken out again if that fails. */
int lp_cmd_lib_load(struct lp_call *c, struct lp_err *err)
{
	const char *name = c->argv[0], *path = c->argv[1];

	if (lp_library_named(name))
		return lp_fail(err, LP_EEXISTS, "there is a library called %s already", name);
	struct lp_library *l = lp_alloc(sizeof *l);
	l->name = lp_strdup(name);
	l->path = lp_strdup(path);
	int rc = open_library(l, err);
	if (rc < 0) {
		library_free(l);
		return rc;
	}
	lp_vec_push(&libraries, l);
	struct load *load = lp_alloc(sizeof *load);
	load->library = l;
	lp_change_add(c, &(struct lp_change){.rank = LP_RANK_FLAGS,
					     .commit = load_commit,
					     .undo = load_undo,
					     .release = load_release,
					     .change = load});
	lp_reply_row(c->reply, "Try to load dynamic library: %, path: %", LP_STR("name", name), LP_STR("path", path));
	return 0;
}

/* ---- lib unload ---- */

struct segments {
	ElfW(Addr) base;
	LP_VEC(struct lp_range) code;
};

static int add_segments(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct segments *s = arg;

	if (info->dlpi_addr != s->base)
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		lp_addr at = info->dlpi_addr + p->p_vaddr;

		if (p->p_type == PT_LOAD && (p->p_flags & PF_X))
			lp_vec_push(&s->code, ((struct lp_range){at, at + p->p_memsz}));
	}
	return 1;
}

/* A thread in there now, or one that returns there, would find nothing. */
static int check_empty(const struct lp_library *l, struct lp_err *err)
{
	const struct link_map *map = map_of(l);
	struct segments s = {.base = map ? map->l_addr : 0};
	int rc = 0;

	if (!map)
		return lp_fail(err, LP_EINTERNAL, "the loader does not say where library %s is", l->name);
	dl_iterate_phdr(add_segments, &s);
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

/* The first look at all of them, then the first of them goes. */
int lp_libraries_unload(void *const *changes, size_t nr, struct lp_err *err)
{
	for (size_t i = 0; i < nr; i++) {
		struct lp_library *l = *(struct lp_library **)changes[i];
		int rc = check_empty(l, err);

		if (rc)
			return rc;
	}
	for (size_t i = 0; i < nr; i++) {
		struct lp_library **l = changes[i];

		forget(*l);
		dlclose((*l)->handle);
		library_free(*l);
		*l = NULL;
	}
	return 0;
}

static void unload_release(void *change)
{
	struct lp_library **l = change;

	if (*l)
		(*l)->leaving = false;
	lp_free(l);
}

int lp_cmd_lib_unload(struct lp_call *c, struct lp_err *err)
{
	struct lp_library *l = lp_library_named(c->argv[0]);

	if (!l || l->leaving)
		return lp_fail(err, LP_ENOLIBRARY, "there is no library called %s", c->argv[0]);
	unsigned users = lp_library_users(l);
	if (users)
		return lp_fail(err, LP_EINUSE,
			       "%u of the program's functions are in library %s now: roll them back first", users,
			       l->name);
	l->leaving = true;
	lp_change_add(c, &(struct lp_change){.rank = LP_RANK_UNLOAD,
					     .release = unload_release,
					     .change = lp_memdup(&l, sizeof(struct lp_library *))});
	lp_reply_row(c->reply, "Try to unload dynamic library: %", LP_STR("name", l->name));
	return 0;
}
