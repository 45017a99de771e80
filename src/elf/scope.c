/*
 * Symbols across all images of a process: what a user means by a name, and
 * what the dynamic linker would bind it to.
 *
 * The two differ.  A user may mean any symbol, also local ones, and gets all
 * that fit so that an ambiguity can be shown; the dynamic linker knows only
 * exported ones and takes the first.
 */
#include "elf/elf.h"

#include <stdlib.h>
#include <string.h>

#include "elf/elf_private.h"

/* ---- symbol specifications ---- */

static char *dup_range(const char *from, const char *to)
{
	return lp_sprintf("%.*s", (int)(to - from), from);
}

/* "name", "name@VER", "name@@VER"; an '@' in front belongs to the name. */
static bool parse_name(struct lp_symspec *out, const char *text)
{
	const char *at = *text ? strchr(text + 1, '@') : NULL;
	if (!*text)
		return false;
	if (!at) {
		out->name = lp_strdup(text);
		return true;
	}
	out->name = dup_range(text, at);
	out->version_default = at[1] == '@';
	out->version = lp_strdup(at + 1 + out->version_default);
	return *out->version && !strchr(out->version, '@');
}

static bool parse_prefix(struct lp_symspec *out, const char *text, const char *end)
{
	const char *colon = memchr(text, ':', (size_t)(end - text));
	if (!colon) {
		out->prefix = dup_range(text, end);
		return *out->prefix;
	}
	out->module = dup_range(text, colon);
	out->file = dup_range(colon + 1, end);
	return *out->module && *out->file && !strchr(out->file, ':');
}

int lp_symspec_parse(struct lp_symspec *out, const char *text, struct lp_err *err)
{
	const char *colon = strrchr(text, ':');
	*out = (struct lp_symspec){0};
	if (strlen(text) <= INT16_MAX && (!colon || parse_prefix(out, text, colon)) &&
	    parse_name(out, colon ? colon + 1 : text))
		return 0;
	lp_symspec_free(out);
	return lp_fail(err, LP_EPARSE,
		       "'%.200s' is not a symbol: write name, name@VERSION, file.c:name, module:name or "
		       "module:file.c:name",
		       text);
}

void lp_symspec_free(struct lp_symspec *s)
{
	lp_free(s->module);
	lp_free(s->file);
	lp_free(s->prefix);
	lp_free(s->name);
	lp_free(s->version);
	*s = (struct lp_symspec){0};
}

/* ---- what a user means ---- */

static bool same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

static const char *base_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	return slash ? slash + 1 : path;
}

static bool image_is(const struct lp_image *image, const char *module)
{
	return same(image->name, module) || same(image->path, module) || same(base_name(image->path), module) ||
	       (image->elf && same(lp_elf_soname(image->elf), module));
}

static bool any_image_is(const struct lp_image *images, size_t nr, const char *module)
{
	for (size_t i = 0; i < nr; i++)
		if (image_is(&images[i], module))
			return true;
	return false;
}

/* STT_FILE holds what the compiler wrote: "foo.c" (gcc and clang) or a path (others).  The user may leave out leading
 * directories, but may not add any: then it would be a guess which of two "foo.c" is meant. */
static bool file_fits(const char *recorded, const char *wanted)
{
	size_t has = recorded ? strlen(recorded) : 0, wants = strlen(wanted);
	if (has < wants || strcmp(recorded + has - wants, wanted))
		return false;
	return has == wants || recorded[has - wants - 1] == '/';
}

static bool version_fits(const struct lp_elf_sym *s, const struct lp_symspec *spec)
{
	if (!spec->version)
		return true;
	return same(s->version, spec->version) && !(spec->version_default && s->version_hidden);
}

static bool is_defined(const struct lp_elf_sym *s)
{
	return s->shndx != SHN_UNDEF && s->shndx != SHN_COMMON && s->type != STT_SECTION && s->type != STT_FILE;
}

/* ld.so adds the load address to everything but TLS offsets and absolute values (glibc, SYMBOL_ADDRESS). */
static lp_addr address_of(const struct lp_image *image, const struct lp_elf_sym *s)
{
	return s->type == STT_TLS || s->shndx == SHN_ABS ? s->value : image->bias + s->value;
}

/* Candidates of one image, each with its place in the order of discovery. */
struct candidate {
	struct lp_found found;
	size_t order;
};

typedef LP_VEC(struct candidate) candidate_vec;

static void collect(const struct lp_image *images, size_t image, struct lp_elf *e, enum lp_symtab table,
		    const struct lp_symspec *spec, const char *file, candidate_vec *out)
{
	size_t cursor = 0;
	struct lp_elf_sym s;
	while (lp_elf_symbol_by_name(e, table, spec->name, &cursor, &s)) {
		if (!is_defined(&s) || !version_fits(&s, spec) || (file && !file_fits(s.file, file)))
			continue;
		struct candidate *c = lp_vec_add(out);
		c->found = (struct lp_found){.image = image, .sym = s, .addr = address_of(&images[image], &s)};
		c->order = out->nr;
	}
}

static bool same_thing(const struct lp_found *a, const struct lp_found *b)
{
	return a->addr == b->addr && (a->sym.type == STT_TLS) == (b->sym.type == STT_TLS);
}

static int by_thing(const void *va, const void *vb)
{
	const struct candidate *a = va, *b = vb;
	if (a->found.addr != b->found.addr)
		return a->found.addr < b->found.addr ? -1 : 1;
	int tls_a = a->found.sym.type == STT_TLS, tls_b = b->found.sym.type == STT_TLS;
	if (tls_a != tls_b)
		return tls_a - tls_b;
	return a->order < b->order ? -1 : a->order > b->order;
}

static int by_order(const void *va, const void *vb)
{
	const struct candidate *a = va, *b = vb;
	return a->order < b->order ? -1 : a->order > b->order;
}

/* Two descriptions of one thing: keep the larger, and what only the other one knows. */
static void merge(struct lp_elf_sym *keep, struct lp_elf_sym other)
{
	if (other.size > keep->size) {
		struct lp_elf_sym smaller = *keep;
		*keep = other;
		other = smaller;
	}
	if (other.version && (!keep->version || (keep->version_hidden && !other.version_hidden))) {
		keep->version = other.version;
		keep->version_hidden = other.version_hidden;
	}
	if (!keep->file)
		keep->file = other.file;
}

static void fold(candidate_vec *c)
{
	size_t kept = 0;
	if (!c->nr)
		return;
	qsort(c->items, c->nr, sizeof *c->items, by_thing);
	for (size_t i = 1; i < c->nr; i++) {
		if (same_thing(&c->items[kept].found, &c->items[i].found))
			merge(&c->items[kept].found.sym, c->items[i].found.sym);
		else
			c->items[++kept] = c->items[i];
	}
	c->nr = kept + 1;
	qsort(c->items, c->nr, sizeof *c->items, by_order);
}

static void find_in_image(const struct lp_image *images, size_t i, const struct lp_symspec *spec, const char *file,
			  lp_found_vec *found)
{
	candidate_vec c = {0};
	struct lp_elf *elves[] = {images[i].elf, images[i].debug};
	for (size_t n = 0; n < LP_ARRAY_SIZE(elves); n++) {
		if (!elves[n])
			continue;
		collect(images, i, elves[n], LP_SYMTAB, spec, file, &c);
		collect(images, i, elves[n], LP_DYNSYM, spec, file, &c);
	}
	fold(&c);
	for (size_t n = 0; n < c.nr; n++)
		lp_vec_push(found, c.items[n].found);
	lp_vec_free(&c);
}

int lp_scope_find(const struct lp_image *images, size_t nr, const struct lp_symspec *spec, lp_found_vec *found,
		  struct lp_err *err)
{
	const char *module = spec->module, *file = spec->file;
	if (spec->prefix && any_image_is(images, nr, spec->prefix))
		module = spec->prefix;
	else if (spec->prefix)
		file = spec->prefix;
	if (module && !any_image_is(images, nr, module))
		return lp_fail(err, LP_ENOSYM, "no module named %s is loaded", module);
	for (size_t i = 0; i < nr; i++)
		if (!module || image_is(&images[i], module))
			find_in_image(images, i, spec, file, found);
	return 0;
}

/* ---- what ld.so would bind ---- */

/* The symbols that other objects can see (glibc, elf/dl-lookup.c, check_match and do_lookup_x). */
static bool is_exported(const struct lp_elf_sym *s)
{
	const unsigned types = 1u << STT_NOTYPE | 1u << STT_OBJECT | 1u << STT_FUNC | 1u << STT_COMMON | 1u << STT_TLS |
			       1u << STT_GNU_IFUNC;
	if (s->shndx == SHN_UNDEF || !(types & 1u << s->type))
		return false;
	if (!s->value && s->shndx != SHN_ABS && s->type != STT_TLS)
		return false;
	if (s->visibility == STV_HIDDEN || s->visibility == STV_INTERNAL)
		return false;
	return s->bind == STB_GLOBAL || s->bind == STB_WEAK || s->bind == STB_GNU_UNIQUE;
}

enum fit { NO_FIT, FIT, DEFAULT_VERSION };

/*
 * A reference with a version takes that version, hidden or not, or a
 * definition without any version.  One without takes a definition without
 * version, or the default version when the object has exactly one of that name
 * (what dlsym does; for relocations glibc would rather take the oldest
 * version, for the sake of programs from before 1999).
 */
static enum fit fit_of(const struct lp_elf_sym *s, const char *version)
{
	if (version)
		return same(s->version, version) || (!s->version && !s->version_hidden) ? FIT : NO_FIT;
	if (!s->version)
		return FIT;
	return s->version_hidden ? NO_FIT : DEFAULT_VERSION;
}

static bool bind_in_image(struct lp_elf *e, const char *name, const char *version, struct lp_elf_sym *out)
{
	size_t cursor = 0, nr_defaults = 0;
	struct lp_elf_sym s;
	while (lp_elf_symbol_by_name(e, LP_DYNSYM, name, &cursor, &s)) {
		enum fit fit = is_exported(&s) ? fit_of(&s, version) : NO_FIT;
		if (fit == NO_FIT || (fit == DEFAULT_VERSION && nr_defaults++))
			continue;
		*out = s;
		if (fit == FIT)
			return true;
	}
	return nr_defaults == 1;
}

bool lp_scope_bind(const struct lp_image *images, size_t nr, const char *name, const char *version,
		   struct lp_found *out)
{
	for (size_t i = 0; i < nr; i++) {
		struct lp_elf_sym s;
		if (!images[i].elf || !bind_in_image(images[i].elf, name, version, &s))
			continue;
		*out = (struct lp_found){.image = i, .sym = s, .addr = address_of(&images[i], &s)};
		return true;
	}
	return false;
}
