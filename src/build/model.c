#include "build/model.h"

#include <ctype.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "build/compdb.h"
#include "build/linkmap.h"
#include "build/tree.h"

#define MAP_MAX (1u << 30)
#define DEPS_MAX (64u << 20)
#define OBJECT_MAX (UINT64_C(1) << 31)

/* ---- files ---- */

char *lp_model_path(const struct lp_model *m, const char *path)
{
	size_t len = strlen(m->here);
	if (strncmp(path, m->here, len) == 0 && path[len] == '/')
		return lp_sprintf("%s%s", m->container, path + len);
	return lp_strdup(path);
}

static bool is_inside(const struct lp_model *m, const char *path)
{
	size_t len = strlen(m->here);
	return strncmp(path, m->here, len) == 0 && path[len] == '/';
}

char *lp_model_side_file(const struct lp_model *m, const struct lp_record *r, const char *suffix)
{
	return lp_sprintf("%s/records/%s%s", m->container, r->stem, suffix);
}

char *lp_model_unit_file(const struct lp_model *m, const struct lp_record *r, size_t unit, const char *suffix)
{
	return lp_sprintf("%s/records/%s.%zu%s", m->container, r->stem, unit, suffix);
}

/* ---- units ---- */

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

bool lp_same_unit(const struct lp_record *a, size_t unit_a, const struct lp_record *b, size_t unit_b)
{
	const struct lp_record_unit *ua = &a->units.items[unit_a], *ub = &b->units.items[unit_b];
	if (a->taken_apart != b->taken_apart)
		return false;
	if (!a->taken_apart)
		return same_text(ua->object, ub->object);
	return same_text(a->output, b->output) && same_text(a->cwd, b->cwd) && same_text(ua->source, ub->source);
}

bool lp_model_find_unit(const struct lp_model *m, const struct lp_record *like, size_t like_unit,
			const struct lp_record **r, size_t *unit)
{
	for (size_t i = m->records.nr; i-- > 0;)
		for (size_t u = 0; u < m->records.items[i].units.nr; u++)
			if (lp_same_unit(&m->records.items[i], u, like, like_unit)) {
				*r = &m->records.items[i];
				*unit = u;
				return true;
			}
	return false;
}

/* Whether a file is the same in two trees. */
struct comparison {
	char *path;
	bool same;
};

struct candidate {
	const struct lp_record *record;
	size_t unit;
};

/* The last unit that went to this path before the link. */
static bool unit_by_path(const struct lp_model *m, const char *path, uint64_t before_ns, struct candidate *out)
{
	for (size_t i = m->records.nr; i-- > 0;) {
		const struct lp_record *r = &m->records.items[i];
		for (size_t u = 0; r->began_ns <= before_ns && u < r->units.nr; u++)
			if (strcmp(r->units.items[u].object, path) == 0) {
				*out = (struct candidate){r, u};
				return true;
			}
	}
	return false;
}

static bool unit_by_hash(const struct lp_model *m, const struct lp_hash *hash, struct candidate *out)
{
	for (size_t i = m->records.nr; i-- > 0;) {
		const struct lp_record *r = &m->records.items[i];
		for (size_t u = 0; u < r->units.nr; u++)
			if (memcmp(&r->units.items[u].hash, hash, sizeof *hash) == 0) {
				*out = (struct candidate){r, u};
				return true;
			}
	}
	return false;
}

/* ---- archives ---- */

static struct lp_model_archive *archive_at(struct lp_model *m, const char *path)
{
	for (size_t i = 0; i < m->archives.nr; i++)
		if (strcmp(m->archives.items[i].path, path) == 0)
			return &m->archives.items[i];
	struct lp_model_archive *a = lp_vec_add(&m->archives);
	a->path = lp_strdup(path);
	if (lp_read_file(path, &a->bytes, OBJECT_MAX, NULL) < 0 ||
	    lp_archive_parse(&a->members, a->bytes.data, a->bytes.len, path, NULL) < 0)
		lp_debug("%s is not an archive that can be read", path);
	return a;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* Linkers print members of a thin archive by path, of others by name. */
static bool goes_by(const struct lp_archive_member *member, const char *name)
{
	return strcmp(member->name, name) == 0 || strcmp(base_name(member->name), base_name(name)) == 0;
}

static size_t count_members(const struct lp_model_archive *a, const char *name)
{
	size_t nr = 0;
	for (size_t i = 0; i < a->members.members.nr; i++)
		nr += goes_by(&a->members.members.items[i], name);
	return nr;
}

static const struct lp_archive_member *member_of(const struct lp_model_archive *a, const struct lp_linked *o)
{
	if (o->member_at && o->member_at <= a->members.members.nr)
		return &a->members.members.items[o->member_at - 1];
	for (size_t i = 0; i < a->members.members.nr; i++)
		if (goes_by(&a->members.members.items[i], o->member))
			return &a->members.members.items[i];
	return NULL;
}

static char *thin_path(const struct lp_model_archive *a, const struct lp_archive_member *member)
{
	char *dir = lp_sprintf("%.*s", (int)(base_name(a->path) - a->path), a->path);
	char *path = lp_path_join(dir, member->name);
	lp_free(dir);
	return path;
}

static int member_bytes(struct lp_model *m, const struct lp_linked *o, struct lp_buf *out, struct lp_err *err)
{
	char *path = lp_model_path(m, o->file);
	const struct lp_model_archive *a = archive_at(m, path);
	const struct lp_archive_member *member = member_of(a, o);
	int rc = 0;
	if (!member) {
		rc = lp_fail(err, LP_EFILE, "%s has no member %s", path, o->member);
	} else if (member->bytes) {
		lp_buf_add(out, member->bytes, member->len);
	} else {
		char *file = thin_path(a, member);
		rc = lp_read_file(file, out, OBJECT_MAX, err);
		lp_free(file);
	}
	lp_free(path);
	return rc;
}

int lp_model_object(struct lp_model *m, const struct lp_linked *o, struct lp_buf *out, struct lp_err *err)
{
	if (o->record && o->record->units.items[o->unit].has_copy) {
		char *copy = lp_model_unit_file(m, o->record, o->unit, ".o");
		int rc = lp_read_file(copy, out, OBJECT_MAX, NULL);
		lp_free(copy);
		if (rc == 0)
			return 0;
	}
	if (o->member)
		return member_bytes(m, o, out, err);
	char *path = lp_model_path(m, o->file);
	int rc = lp_read_file(path, out, OBJECT_MAX, err);
	lp_free(path);
	return rc;
}

/* ---- links ---- */

/*
 * Which compilation an object in a binary came from.  Its path says it unless it lies in an archive or was moved; then its
 * bytes do.
 */
static void find_origin(struct lp_model *m, const struct lp_record *link, struct lp_linked *o)
{
	struct candidate found;
	struct lp_buf bytes = {0};
	struct lp_hash hash;
	bool known = !o->member && unit_by_path(m, o->file, link->began_ns, &found);
	if (!known && is_inside(m, o->file) && lp_model_object(m, o, &bytes, NULL) == 0) {
		lp_hash_bytes(&hash, bytes.data, bytes.len);
		known = unit_by_hash(m, &hash, &found);
	}
	lp_buf_free(&bytes);
	if (known) {
		o->record = found.record;
		o->unit = found.unit;
	}
}

static void find_origins(struct lp_model *m, struct lp_link *l, size_t first)
{
	for (size_t i = first; i < l->objects.nr; i++)
		find_origin(m, l->record, &l->objects.items[i]);
}

struct lp_linked *lp_link_find(const struct lp_link *l, const char *file, const char *member)
{
	for (size_t i = l->objects.nr; i-- > 0;)
		if (strcmp(l->objects.items[i].file, file) == 0 && same_text(l->objects.items[i].member, member))
			return &l->objects.items[i];
	return NULL;
}

static bool has_placed(const struct lp_linked *o, const char *section)
{
	for (size_t i = 0; i < o->placements.nr; i++)
		if (strcmp(o->placements.items[i].section, section) == 0)
			return true;
	return false;
}

static bool is_twin(const struct lp_linked *o, const char *file, const char *member, unsigned twin)
{
	return o->twin == twin && strcmp(o->file, file) == 0 && same_text(o->member, member);
}

static struct lp_linked *find_twin(struct lp_link *l, const char *file, const char *member, unsigned twin)
{
	for (size_t n = 0; n < l->objects.nr; n++) {
		size_t i = (l->last + n) % l->objects.nr;
		if (is_twin(&l->objects.items[i], file, member, twin)) {
			l->last = i;
			return &l->objects.items[i];
		}
	}
	return NULL;
}

static struct lp_linked *add_object(struct lp_link *l, const char *file, const char *member, unsigned twin)
{
	struct lp_linked *o = lp_vec_add(&l->objects);
	o->file = lp_strdup(file);
	o->member = lp_strdup(member);
	o->twin = twin;
	return o;
}

static size_t count_twins(struct lp_model *m, const char *file, const char *member)
{
	if (!member || !is_inside(m, file))
		return 1;
	char *path = lp_model_path(m, file);
	size_t nr = count_members(archive_at(m, path), member);
	lp_free(path);
	return nr;
}

/* The map does not tell members of one name apart; but a section that was seen once belongs to the next of them when it is
 * seen again. */
static struct lp_linked *object_for(struct lp_model *m, struct lp_link *l, const struct lp_linkmap_row *row)
{
	char *file = lp_path_join(l->record->cwd, row->file);
	struct lp_linked *o = find_twin(l, file, row->member, 0);
	size_t twins = o && has_placed(o, row->section) ? count_twins(m, file, row->member) : 1;
	for (unsigned twin = 1; twin < twins && o && has_placed(o, row->section); twin++) {
		o = find_twin(l, file, row->member, twin);
		o = o ? o : add_object(l, file, row->member, twin);
	}
	o = o ? o : add_object(l, file, row->member, 0);
	lp_free(file);
	return o;
}

static void place(struct lp_linked *o, const char *section, uint64_t addr, uint64_t size)
{
	unsigned occurrence = 0;
	for (size_t i = 0; i < o->placements.nr; i++)
		occurrence += strcmp(o->placements.items[i].section, section) == 0;
	lp_vec_push(&o->placements, ((struct lp_placement){lp_strdup(section), occurrence, addr, size}));
}

static int read_map(const struct lp_model *m, const struct lp_record *r, struct lp_linkmap *map, struct lp_err *err)
{
	struct lp_buf text = {0};
	char *path = lp_model_side_file(m, r, ".map");
	int rc = lp_read_file(path, &text, MAP_MAX, err);
	if (rc == 0)
		rc = lp_linkmap_parse(map, lp_buf_cstr(&text), text.len, r->args.relocatable, err);
	lp_buf_free(&text);
	lp_free(path);
	return rc;
}

/* The link that made a larger object (ld -r) of smaller ones. */
static const struct lp_record *partial_link(const struct lp_model *m, const char *output, uint64_t before_ns)
{
	for (size_t i = m->records.nr; i-- > 0;) {
		const struct lp_record *r = &m->records.items[i];
		if (r->output && r->args.relocatable && r->began_ns < before_ns && strcmp(r->output, output) == 0)
			return r;
	}
	return NULL;
}

/* Where output section `name` of a larger object went in the binary. */
static bool placed_at(const struct lp_linked *o, const char *name, uint64_t *addr)
{
	for (size_t i = 0; i < o->placements.nr; i++)
		if (strcmp(o->placements.items[i].section, name) == 0) {
			*addr = o->placements.items[i].addr;
			return true;
		}
	return false;
}

/* The smaller objects take the place of the larger one; those of those are expanded in their turn. */
static void expand_partial(struct lp_model *m, struct lp_link *l, size_t index, const struct lp_record *partial)
{
	struct lp_linkmap map = {0};
	size_t first = l->objects.nr;
	if (read_map(m, partial, &map, NULL) < 0)
		return;
	for (size_t i = 0; i < map.rows.nr; i++) {
		const struct lp_linkmap_row *row = &map.rows.items[i];
		uint64_t addr;
		char *file = lp_path_join(partial->cwd, row->file);
		struct lp_linkmap_row whole = *row;
		whole.file = file;
		if (placed_at(&l->objects.items[index], row->output, &addr)) {
			struct lp_linked *part = object_for(m, l, &whole);
			place(part, row->section, addr + row->addr, row->size);
			if (!part->via)
				part->via = lp_strdup(l->objects.items[index].file);
		}
		lp_free(file);
	}
	l->objects.items[index].expanded = true;
	find_origins(m, l, first);
	lp_linkmap_free(&map);
}

bool lp_model_is_partial(const struct lp_model *m, const char *path)
{
	return partial_link(m, path, UINT64_MAX) != NULL;
}

static void expand_partials(struct lp_model *m, struct lp_link *l)
{
	for (size_t i = 0; i < l->objects.nr; i++) { /* grows on the way */
		const struct lp_linked *o = &l->objects.items[i];
		const struct lp_record *partial = o->record ? NULL : partial_link(m, o->file, l->record->began_ns);
		if (partial)
			expand_partial(m, l, i, partial);
	}
}

/* ---- members of one name ---- */

/* Where the linker put section `index` of an object, by its name and which of that name it is. */
static bool section_place(const struct lp_linked *o, const struct lp_elf *elf, size_t index, uint64_t *addr)
{
	const Elf64_Shdr *section = lp_elf_section(elf, index);
	unsigned occurrence = 0;
	if (!section)
		return false;
	const char *name = lp_elf_section_name(elf, section);
	for (size_t i = 0; i < index; i++)
		occurrence += strcmp(lp_elf_section_name(elf, lp_elf_section(elf, i)), name) == 0;
	for (size_t i = 0; i < o->placements.nr; i++)
		if (o->placements.items[i].occurrence == occurrence &&
		    strcmp(o->placements.items[i].section, name) == 0) {
			*addr = o->placements.items[i].addr;
			return true;
		}
	return false;
}

/* Do the global symbols of this member stand in the binary where the object's sections do? */
static bool fits(const struct lp_linked *o, const struct lp_elf *member, struct lp_elf *binary)
{
	size_t matched = 0;
	struct lp_elf_sym sym, there;
	for (size_t i = 0; lp_elf_symbol(member, LP_SYMTAB, i, &sym); i++) {
		uint64_t addr;
		size_t cursor = 0;
		if (sym.bind != STB_GLOBAL || sym.shndx == SHN_UNDEF || sym.shndx >= SHN_LORESERVE || !sym.name[0])
			continue;
		if (!section_place(o, member, sym.shndx, &addr) ||
		    !lp_elf_symbol_by_name(binary, LP_SYMTAB, sym.name, &cursor, &there))
			continue;
		if (there.value != addr + sym.value)
			return false;
		matched++;
	}
	return matched > 0;
}

static void find_member(struct lp_model *m, struct lp_linked *o, struct lp_elf *binary)
{
	char *path = lp_model_path(m, o->file);
	const struct lp_model_archive *a = archive_at(m, path);
	for (size_t i = 0; i < a->members.members.nr && !o->member_at; i++) {
		const struct lp_archive_member *member = &a->members.members.items[i];
		struct lp_elf *elf = NULL;
		if (!goes_by(member, o->member) || !member->bytes ||
		    lp_elf_from_bytes(&elf, member->bytes, member->len, member->name, NULL) < 0)
			continue;
		if (fits(o, elf, binary))
			o->member_at = i + 1;
		lp_elf_close(elf);
	}
	lp_free(path);
}

static void tell_twins_apart(struct lp_model *m, struct lp_link *l)
{
	struct lp_elf *binary = NULL;
	char *copy = lp_model_side_file(m, l->record, ".bin");
	for (size_t i = 0; i < l->objects.nr; i++) {
		struct lp_linked *o = &l->objects.items[i];
		if (count_twins(m, o->file, o->member) < 2)
			continue;
		if (!binary && lp_elf_open(&binary, copy, NULL) < 0)
			break;
		find_member(m, o, binary);
	}
	lp_elf_close(binary);
	lp_free(copy);
}

static int load_link(struct lp_model *m, struct lp_link *l, struct lp_err *err)
{
	struct lp_linkmap map = {0};
	int rc = read_map(m, l->record, &map, err);
	for (size_t i = 0; rc == 0 && i < map.rows.nr; i++) {
		const struct lp_linkmap_row *row = &map.rows.items[i];
		place(object_for(m, l, row), row->section, row->addr, row->size);
	}
	lp_linkmap_free(&map);
	if (rc == 0) {
		tell_twins_apart(m, l);
		find_origins(m, l, 0);
		expand_partials(m, l);
	}
	return rc < 0 ? lp_err_context(err, rc, "the linker's map of %s", l->output) : 0;
}

/* What configure scripts try out is gone, or lies elsewhere. */
static bool is_left_in_tree(const struct lp_model *m, const struct lp_record *r)
{
	if (!r->output || r->args.relocatable || !is_inside(m, r->output))
		return false;
	char *path = lp_model_path(m, r->output);
	bool there = access(path, R_OK) == 0;
	lp_free(path);
	return there;
}

static bool is_last_of_its_name(const struct lp_model *m, size_t index)
{
	for (size_t i = index + 1; i < m->records.nr; i++)
		if (same_text(m->records.items[i].output, m->records.items[index].output))
			return false;
	return true;
}

static int load_links(struct lp_model *m, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < m->records.nr && rc == 0; i++) {
		const struct lp_record *r = &m->records.items[i];
		if (!is_left_in_tree(m, r) || !is_last_of_its_name(m, i))
			continue;
		struct lp_link *l = lp_vec_add(&m->links);
		l->record = r;
		l->output = r->output;
		rc = load_link(m, l, err);
	}
	return rc;
}

struct lp_link *lp_model_find_link(const struct lp_model *m, const char *output)
{
	for (size_t i = 0; i < m->links.nr; i++)
		if (strcmp(m->links.items[i].output, output) == 0)
			return &m->links.items[i];
	return NULL;
}

int lp_model_load(struct lp_model *out, const char *container, const char *here, const char *compdb_tree,
		  struct lp_err *err)
{
	*out = (struct lp_model){.container = lp_strdup(container), .here = lp_strdup(here)};
	char *dir = lp_sprintf("%s/records", container);
	int rc = lp_records_load(&out->records, dir, err);
	lp_free(dir);
	if (rc == 0 && compdb_tree)
		lp_compdb_load(&out->records, compdb_tree);
	for (size_t i = 0; i < out->records.nr; i++) {
		out->nr_units += out->records.items[i].units.nr;
		out->lto |= out->records.items[i].args.lto;
	}
	return rc < 0 ? rc : load_links(out, err);
}

static void free_link(struct lp_link *l)
{
	for (size_t i = 0; i < l->objects.nr; i++) {
		struct lp_linked *o = &l->objects.items[i];
		lp_free(o->file);
		lp_free(o->member);
		lp_free(o->via);
		for (size_t k = 0; k < o->placements.nr; k++)
			lp_free((char *)o->placements.items[k].section);
		lp_vec_free(&o->placements);
	}
	lp_vec_free(&l->objects);
}

static void free_comparison(void *node)
{
	struct comparison *c = node;
	lp_free(c->path);
	lp_free(c);
}

void lp_model_free(struct lp_model *m)
{
	tdestroy(m->compared, free_comparison);
	for (size_t i = 0; i < m->links.nr; i++)
		free_link(&m->links.items[i]);
	lp_vec_free(&m->links);
	for (size_t i = 0; i < m->archives.nr; i++) {
		lp_free(m->archives.items[i].path);
		lp_buf_free(&m->archives.items[i].bytes);
		lp_archive_free(&m->archives.items[i].members);
	}
	lp_vec_free(&m->archives);
	lp_records_free(&m->records);
	lp_free(m->container);
	lp_free(m->here);
	*m = (struct lp_model){0};
}

/* ---- dependencies ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_among(const char *cwd, const char *file, char *const *paths, size_t nr)
{
	char *path = lp_path_join(cwd, file);
	bool found = nr && bsearch(&path, paths, nr, sizeof *paths, by_text);
	lp_free(path);
	return found;
}

/* make's syntax: blanks separate, "\ " is one inside a name, "\" at the end of a line goes on, "$$" is a dollar. */
static const char *next_dependency(const char *p, struct lp_buf *word)
{
	while (isspace((unsigned char)*p) || (*p == '\\' && (p[1] == '\n' || p[1] == '\r')))
		p++;
	if (!*p)
		return NULL;
	for (; *p && !isspace((unsigned char)*p); p++) {
		if ((*p == '\\' && (p[1] == ' ' || p[1] == '#' || p[1] == '\\')) || (*p == '$' && p[1] == '$'))
			p++;
		lp_buf_add(word, p, 1);
	}
	return p;
}

static bool deps_name(const char *text, const char *cwd, char *const *paths, size_t nr)
{
	struct lp_buf word = {0};
	bool found = false;
	while (!found && (text = next_dependency(text, &word))) {
		found = is_among(cwd, lp_buf_cstr(&word), paths, nr);
		lp_buf_free(&word);
	}
	return found;
}

/* ---- the same from both trees ---- */

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct comparison *)a)->path, ((const struct comparison *)b)->path);
}

/* Files outside of the trees are the same by nature. */
static bool same_in_both(struct lp_model *before, struct lp_model *after, const char *path)
{
	struct comparison key = {.path = (char *)path};
	if (!is_inside(before, path))
		return true;
	struct comparison *const *known = tfind(&key, &after->compared, by_path);
	if (known)
		return (*known)->same;
	char *left = lp_model_path(before, path), *right = lp_model_path(after, path);
	struct comparison *c = lp_alloc(sizeof *c);
	*c = (struct comparison){.path = lp_strdup(path), .same = lp_same_content(left, right)};
	tsearch(c, &after->compared, by_path);
	lp_free(left);
	lp_free(right);
	return c->same;
}

static bool same_words(const struct lp_record *a, const struct lp_record *b)
{
	if (a->words.nr != b->words.nr)
		return false;
	for (size_t i = 0; i < a->words.nr; i++)
		if (strcmp(a->words.items[i], b->words.items[i]) != 0)
			return false;
	return true;
}

/* The target, "foo.o:", is no file that was read. */
static bool is_target(const char *word)
{
	size_t len = strlen(word);
	return len && word[len - 1] == ':';
}

static bool same_dependencies(struct lp_model *before, struct lp_model *after, const char *text, const char *cwd)
{
	struct lp_buf word = {0};
	bool same = true;
	while (same && (text = next_dependency(text, &word))) {
		char *path = lp_path_join(cwd, lp_buf_cstr(&word));
		same = is_target(lp_buf_cstr(&word)) || same_in_both(before, after, path);
		lp_free(path);
		lp_buf_free(&word);
	}
	lp_buf_free(&word);
	return same;
}

/* Assembler takes in files (.incbin) of which no list of dependencies tells; so may assembler inside C. */
static bool takes_in_files(const struct lp_model *m, const struct lp_record *r, size_t unit)
{
	struct lp_buf text = {0};
	char *at_here = lp_path_join(r->cwd, r->units.items[unit].source), *path = lp_model_path(m, at_here);
	bool takes = lp_read_file(path, &text, DEPS_MAX, NULL) < 0 || memmem(lp_buf_cstr(&text), text.len, "incbin", 6);
	lp_buf_free(&text);
	lp_free(at_here);
	lp_free(path);
	return takes;
}

bool lp_same_compilation(struct lp_model *before, const struct lp_record *a, size_t unit_a, struct lp_model *after,
			 const struct lp_record *b, size_t unit_b)
{
	struct lp_buf text = {0};
	if (strcmp(a->cwd, b->cwd) != 0 || strcmp(a->compiler, b->compiler) != 0 || !same_words(a, b) ||
	    strcmp(a->units.items[unit_a].source, b->units.items[unit_b].source) != 0)
		return false;
	char *file = lp_model_unit_file(after, b, unit_b, ".d");
	bool same = lp_read_file(file, &text, DEPS_MAX, NULL) == 0 && text.len &&
		    same_dependencies(before, after, lp_buf_cstr(&text), b->cwd) && !takes_in_files(after, b, unit_b);
	lp_free(file);
	lp_buf_free(&text);
	return same;
}

bool lp_model_depends(const struct lp_model *m, const struct lp_record *r, size_t unit, char *const *paths, size_t nr)
{
	struct lp_buf text = {0};
	if (is_among(r->cwd, r->units.items[unit].source, paths, nr))
		return true;
	char *file = lp_model_unit_file(m, r, unit, ".d");
	bool named = lp_read_file(file, &text, DEPS_MAX, NULL) == 0 && deps_name(lp_buf_cstr(&text), r->cwd, paths, nr);
	lp_free(file);
	lp_buf_free(&text);
	return named;
}
