/*
 * What a name stands for in this program.  The files are read when they are
 * needed and let go: an agent that sits in a program for weeks keeps nothing of
 * them.
 */
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "elf/elf.h"

/* ---- what is loaded ---- */

struct images {
	LP_VEC(struct lp_image) all;
};

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

struct search {
	struct images images;
	bool everywhere; /* in what came through the agent, too */
};

/* The program itself has no name here; what was deleted or is no file (the vDSO) is left out. */
static int add_image(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct search *search = arg;
	struct images *images = &search->images;
	bool is_program = !info->dlpi_name[0] && !images->all.nr;
	const char *path = is_program ? "/proc/self/exe" : info->dlpi_name;
	struct lp_image image = {.bias = info->dlpi_addr};
	char target[4096];

	if (!path[0] || (!search->everywhere && lp_library_is_at(image.bias)) ||
	    lp_elf_open(&image.elf, path, NULL) < 0)
		return 0;
	if (is_program && program_path(target, sizeof target))
		path = target;
	image.path = lp_strdup(path);
	image.name = base_name(image.path);
	if (lp_elf_open_debug(&image.debug, image.elf, image.path, "", NULL) < 0)
		image.debug = NULL;
	lp_vec_push(&images->all, image);
	return 0;
}

static void images_free(struct images *images)
{
	for (size_t i = 0; i < images->all.nr; i++) {
		lp_elf_close(images->all.items[i].elf);
		lp_elf_close(images->all.items[i].debug);
		lp_free((char *)images->all.items[i].path);
	}
	lp_vec_free(&images->all);
}

/* ---- one name ---- */

static int ambiguous(const char *name, const struct images *images, const lp_found_vec *found, struct lp_err *err)
{
	lp_fail(err, LP_EAMBIGUOUS, "%zu symbols are called %s:", found->nr, name);
	for (size_t i = 0; i < found->nr; i++) {
		const struct lp_found *f = &found->items[i];

		lp_err_append(err, "%s:%s%s%s at " LP_ADDR, images->all.items[f->image].name,
			      f->sym.file ? f->sym.file : "", f->sym.file ? ":" : "", f->sym.name, f->addr);
	}
	return -LP_EAMBIGUOUS;
}

static bool is_usable(const struct lp_found *f)
{
	return f->sym.type == STT_FUNC || f->sym.type == STT_OBJECT || f->sym.type == STT_NOTYPE;
}

static void drop_unusable(lp_found_vec *found)
{
	size_t kept = 0;

	for (size_t i = 0; i < found->nr; i++) {
		if (is_usable(&found->items[i]))
			found->items[kept++] = found->items[i];
	}
	found->nr = kept;
}

/* Several are one name too many, unless only one of them is what others would be bound to. */
static const struct lp_found *choose(const lp_found_vec *found)
{
	const struct lp_found *global = NULL;
	size_t globals = 0;

	for (size_t i = 0; i < found->nr; i++) {
		if (found->items[i].sym.bind != STB_LOCAL) {
			global = globals++ ? global : &found->items[i];
		}
	}
	return found->nr == 1 ? &found->items[0] : globals == 1 ? global : NULL;
}

static int take(const char *name, const struct images *images, lp_found_vec *found, struct lp_spot *out,
		struct lp_err *err)
{
	drop_unusable(found);
	if (!found->nr)
		return lp_fail(err, LP_ENOSYM, "the program has no symbol %s, nor have its libraries", name);
	const struct lp_found *f = choose(found);
	if (!f)
		return ambiguous(name, images, found, err);
	*out = (struct lp_spot){.at = f->addr, .size = f->sym.size, .is_function = f->sym.type == STT_FUNC};
	snprintf(out->module, sizeof out->module, "%s", images->all.items[f->image].name);
	return 0;
}

static int find_in_files(const char *name, struct lp_spot *out, struct lp_err *err)
{
	struct search search = {.everywhere = strchr(name, ':') != NULL};
	struct images *images = &search.images;
	struct lp_symspec spec;
	lp_found_vec found = {0};
	int rc = lp_symspec_parse(&spec, name, err);

	if (rc < 0)
		return rc;
	dl_iterate_phdr(add_image, &search);
	rc = lp_scope_find(images->all.items, images->all.nr, &spec, &found, err);
	rc = rc < 0 ? rc : take(name, images, &found, out, err);
	lp_vec_free(&found);
	lp_symspec_free(&spec);
	images_free(images);
	return rc;
}

/* What the loader would bind the name to is what the program calls by it. */
static bool find_by_loader(const char *name, struct lp_spot *out)
{
	const ElfW(Sym) *sym = NULL;
	Dl_info info;
	void *at = strchr(name, ':') || strchr(name, '@') ? NULL : dlsym(RTLD_DEFAULT, name);

	if (!at || !dladdr1(at, &info, (void **)&sym, RTLD_DL_SYMENT) || !sym || info.dli_saddr != at)
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
