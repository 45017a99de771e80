/*
 * What a name stands for in this program.  The files are read when they are
 * needed and let go: an agent that sits in a program for weeks keeps nothing of
 * them.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "elf/elf.h"

/* ---- what is loaded ---- */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool program_path(char *out, size_t size)
{
	ssize_t len = readlink("/proc/self/exe", out, size - 1);

	if (len > 0)
		out[len] = 0;
	return len > 0;
}

/* The agent itself, unless it was linked into something else: what it is made of are no names of the program. */
static bool is_agent(const char *path)
{
	static const char *const names[] = {"libhotpatch.so", "libpreload_hotpatch.so"};
	const char *name = base_name(path);

	for (size_t i = 0; i < LP_ARRAY_SIZE(names); i++) {
		size_t len = strlen(names[i]);

		if (!strncmp(name, names[i], len) && (!name[len] || name[len] == '.'))
			return true;
	}
	return false;
}

/* ---- one name ---- */

/* Something that is called so; outlives its file. */
struct match {
	struct lp_spot spot;
	bool is_global;
	char *label; /* for people */
};

struct search {
	const struct lp_symspec *spec;
	bool everywhere; /* in what came through the agent, too */
	bool has_module; /* one that the name wants */
	LP_VEC(struct match) matches;
	int rc; /* -ENOMEM: a file was left out */
	struct lp_err *err;
};

static bool is_usable(const struct lp_elf_sym *s)
{
	return s->type == STT_FUNC || s->type == STT_OBJECT || s->type == STT_NOTYPE;
}

static void add_match(struct search *search, const char *module, const struct lp_found *f)
{
	struct match *m = lp_vec_add(&search->matches);

	m->spot = (struct lp_spot){.at = f->addr, .size = f->sym.size, .is_function = f->sym.type == STT_FUNC};
	snprintf(m->spot.module, sizeof m->spot.module, "%s", module);
	m->is_global = f->sym.bind != STB_LOCAL;
	m->label = lp_sprintf("%s:%s%s%s at " LP_ADDR, module, f->sym.file ? f->sym.file : "", f->sym.file ? ":" : "",
			      f->sym.name, f->addr);
}

static void search_image(struct search *search, const struct lp_image *image)
{
	lp_found_vec found = {0};

	search->has_module |= lp_scope_find(image, 1, search->spec, &found, NULL) == 0;
	for (size_t i = 0; i < found.nr; i++) {
		if (is_usable(&found.items[i].sym))
			add_match(search, image->name, &found.items[i]);
	}
	lp_vec_free(&found);
}

/* One at a time: all files of a large program are more than there may be memory for. */
static void search_file(struct search *search, const char *file, const char *path, lp_addr bias)
{
	struct lp_image image = {.bias = bias, .path = path, .name = base_name(path)};
	struct lp_err why = {0};
	int rc = lp_elf_open(&image.elf, file, &why);

	if (rc == -ENOMEM) {
		search->rc = lp_fail(search->err, ENOMEM, "%s", why.text);
		return;
	}
	if (rc < 0)
		return;
	if (lp_elf_open_debug(&image.debug, image.elf, path, "", NULL) < 0)
		image.debug = NULL;
	search_image(search, &image);
	lp_elf_close(image.elf);
	lp_elf_close(image.debug);
}

/* ---- in all files ---- */

struct object {
	char *path; /* "": the program itself, or what has no file */
	lp_addr bias;
};

typedef LP_VEC(struct object) object_vec;

static int note_object(struct dl_phdr_info *info, size_t size, void *objects)
{
	struct object o = {lp_strdup(info->dlpi_name), info->dlpi_addr};

	lp_vec_push((object_vec *)objects, o);
	return 0;
}

/*
 * The loader holds a lock while it tells, and files take their time: they are read afterwards.  A fork meanwhile would
 * give a child in which nobody could ask the loader again.
 */
static object_vec all_objects(void)
{
	object_vec objects = {0};

	dl_iterate_phdr(note_object, &objects);
	return objects;
}

static void objects_free(object_vec *objects)
{
	for (size_t i = 0; i < objects->nr; i++)
		lp_free(objects->items[i].path);
	lp_vec_free(objects);
}

/* The program itself has no name, and comes first; what was deleted or is no file (the vDSO) is left out. */
static void search_object(struct search *search, const struct object *o, bool first)
{
	bool is_program = !o->path[0] && first;
	const char *file = is_program ? "/proc/self/exe" : o->path, *path = file;
	char target[4096];

	if (!file[0] || is_agent(file) || (!search->everywhere && lp_library_is_at(o->bias)))
		return;
	if (is_program && program_path(target, sizeof target))
		path = target;
	search_file(search, file, path, o->bias);
}

static void search_objects(struct search *search)
{
	object_vec objects = all_objects();

	for (size_t i = 0; i < objects.nr && search->rc == 0; i++)
		search_object(search, &objects.items[i], i == 0);
	objects_free(&objects);
}

static int ambiguous(const char *name, const struct search *search)
{
	lp_fail(search->err, LP_EAMBIGUOUS, "%zu symbols are called %s:", search->matches.nr, name);
	for (size_t i = 0; i < search->matches.nr; i++)
		lp_err_append(search->err, "%s%s", i ? ", " : " ", search->matches.items[i].label);
	return -LP_EAMBIGUOUS;
}

/* Several are one name too many, unless only one of them is what others would be bound to. */
static const struct match *choose(const struct search *search)
{
	const struct match *global = NULL, *all = search->matches.items;
	size_t globals = 0;

	for (size_t i = 0; i < search->matches.nr; i++) {
		if (all[i].is_global)
			global = globals++ ? global : &all[i];
	}
	return search->matches.nr == 1 ? &all[0] : globals == 1 ? global : NULL;
}

static int take(const char *name, const struct search *search, struct lp_spot *out)
{
	const struct match *m = choose(search);

	if (search->rc < 0)
		return search->rc;
	if (search->spec->module && !search->has_module)
		return lp_fail(search->err, LP_ENOSYM, "no module named %s is loaded", search->spec->module);
	if (!search->matches.nr)
		return lp_fail(search->err, LP_ENOSYM, "the program has no symbol %s, nor have its libraries", name);
	if (!m)
		return ambiguous(name, search);
	*out = m->spot;
	return 0;
}

static void matches_free(struct search *search)
{
	for (size_t i = 0; i < search->matches.nr; i++)
		lp_free(search->matches.items[i].label);
	lp_vec_free(&search->matches);
}

static int find_in_files(const char *name, struct lp_spot *out, struct lp_err *err)
{
	struct lp_symspec spec;
	struct search search = {.spec = &spec, .everywhere = strchr(name, ':') != NULL, .err = err};
	int rc = lp_symspec_parse(&spec, name, err);

	if (rc < 0)
		return rc;
	search_objects(&search);
	rc = take(name, &search, out);
	matches_free(&search);
	lp_symspec_free(&spec);
	return rc;
}

/* What the loader would bind the name to is what the program calls by it. */
static bool find_by_loader(const char *name, struct lp_spot *out)
{
	const ElfW(Sym) *sym = NULL;
	Dl_info info;
	void *at = strchr(name, ':') || strchr(name, '@') ? NULL : dlsym(RTLD_DEFAULT, name);

	if (!at || !dladdr1(at, &info, (void **)&sym, RTLD_DL_SYMENT) || !sym || info.dli_saddr != at ||
	    is_agent(info.dli_fname))
		return false;
	*out = (struct lp_spot){.at = (lp_addr)(uintptr_t)at,
				.size = sym->st_size,
				.is_function = ELF64_ST_TYPE(sym->st_info) == STT_FUNC ||
					       ELF64_ST_TYPE(sym->st_info) == STT_GNU_IFUNC};
	snprintf(out->module, sizeof out->module, "%s", base_name(info.dli_fname));
	return true;
}

int lp_symbol_find(const char *name, struct lp_spot *out, struct lp_err *err)
{
	return find_by_loader(name, out) ? 0 : find_in_files(name, out, err);
}
