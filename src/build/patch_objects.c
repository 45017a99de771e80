#include "build/patch_objects.h"
#include "build/kpatch_bind.h"
#include "build/kpatch_object.h"
#include "build/libcare_cc.h"
#include "build/linkmap.h"
#include "diff/diff.h"

#include <errno.h>
#include <fts.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"

#define TEXT_MAX (512u << 20)

static const char original_object[] = ".original.o", patched_object[] = ".patched.o";
static const char original_link[] = ".original.link", patched_link[] = ".patched.link";

/* One .link file: what was linked, and in which directory. */
struct link {
	char *path; /* of the .link file */
	struct lp_build_id build_id;
	char *cwd;
};

struct lp_patch_objects {
	char *prefix;
	LP_VEC(char *) originals;  /* kept objects of stage original */
	LP_VEC(struct link) links; /* of stage original */
};

/* ---- names ---- */

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n >= m && !strcmp(s + n - m, end);
}

/* The same name with another end; NULL when it does not end so. */
static char *with_end(const char *path, const char *from, const char *to)
{
	return ends_with(path, from) ? lp_sprintf("%.*s%s", (int)(strlen(path) - strlen(from)), path, to) : NULL;
}

static bool is_kept(const struct lp_patch_objects *p, const char *path)
{
	return !strncmp(base_of(path), p->prefix, strlen(p->prefix));
}

/* Where an object "dir/foo.o" is kept: "dir/.kpatch_foo.original.o".  Those of a command that links in one go are linked as kept. */
static char *kept_name(const struct lp_patch_objects *p, const char *object, const char *end)
{
	const char *base = base_of(object), *dot = strrchr(base, '.');
	int stem = (int)(dot && dot > base ? (size_t)(dot - base) : strlen(base));
	if (is_kept(p, object)) {
		char *other = with_end(object, original_object, end);
		return other ? other : with_end(object, patched_object, end);
	}
	return lp_sprintf("%.*s%s%.*s%s", (int)(base - object), object, p->prefix, stem, base, end);
}

/* ---- the tree ---- */

static int read_link(struct lp_patch_objects *p, const char *path, struct lp_err *err)
{
	struct lp_buf text = {0};
	int rc = lp_read_file(path, &text, TEXT_MAX, err);
	char *line = rc ? NULL : lp_strdup(lp_buf_cstr(&text));
	char *end = line ? strchr(line, '\n') : NULL;
	if (end) {
		*end = 0;
		struct link *l = lp_vec_add(&p->links);
		l->path = lp_strdup(path);
		l->cwd = lp_sprintf("%.*s", (int)strcspn(end + 1, "\n"), end + 1);
		lp_build_id_parse(line, &l->build_id); /* none: it is not the link of any binary */
	}
	lp_free(line);
	lp_buf_free(&text);
	return rc;
}

typedef int visitor(void *arg, const char *path, struct lp_err *err);

static int walk(const char *tree, const char *prefix, visitor *visit, void *arg, struct lp_err *err)
{
	char *roots[] = {lp_strdup(tree), NULL};
	FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	int rc = fts ? 0 : lp_fail_sys(err, errno, "cannot read %s", tree);
	for (FTSENT *e; fts && !rc && (e = fts_read(fts));)
		if (e->fts_info == FTS_F && !strncmp(e->fts_name, prefix, strlen(prefix)))
			rc = visit(arg, e->fts_path, err);
	if (fts)
		fts_close(fts);
	lp_free(roots[0]);
	return rc;
}

static int note_file(void *arg, const char *path, struct lp_err *err)
{
	struct lp_patch_objects *p = arg;
	if (ends_with(path, original_object))
		lp_vec_push(&p->originals, lp_strdup(path));
	return ends_with(path, original_link) ? read_link(p, path, err) : 0;
}

int lp_patch_objects_scan(struct lp_patch_objects **out, const char *tree, const char *prefix, struct lp_err *err)
{
	struct lp_patch_objects *p = lp_alloc(sizeof *p);
	char *absolute = realpath(tree, NULL);
	p->prefix = lp_strdup(prefix);
	*out = p;
	int rc = absolute ? walk(absolute, prefix, note_file, p, err) : lp_fail_sys(err, errno, "cannot read %s", tree);
	free(absolute);
	if (rc < 0) {
		lp_patch_objects_free(p);
		*out = NULL;
	}
	return rc;
}

void lp_patch_objects_free(struct lp_patch_objects *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->originals.nr; i++)
		lp_free(p->originals.items[i]);
	for (size_t i = 0; i < p->links.nr; i++) {
		lp_free(p->links.items[i].path);
		lp_free(p->links.items[i].cwd);
	}
	lp_vec_free(&p->originals);
	lp_vec_free(&p->links);
	lp_free(p->prefix);
	lp_free(p);
}

static int mend_file(void *arg, const char *path, struct lp_err *err)
{
	struct lp_buf made = {0};
	(void)arg;
	bool mark = ends_with(path, LP_KEPT_UNFINISHED);
	int rc = mark ? lp_read_file(path, &made, PATH_MAX, err) : 0;
	struct stat st; /* a device that a command wrote to is not its to remove */
	bool is_file = !rc && made.len && lstat(lp_buf_cstr(&made), &st) == 0 && S_ISREG(st.st_mode);
	if (is_file && unlink(lp_buf_cstr(&made)) < 0 && errno != ENOENT)
		rc = lp_fail_sys(err, errno, "cannot remove %s, whose making was interrupted", lp_buf_cstr(&made));
	if (!rc && (mark || ends_with(path, LP_KEPT_DRAFT)))
		unlink(path);
	lp_buf_free(&made);
	return rc;
}

int lp_patch_objects_mend(const char *tree, const char *prefix, struct lp_err *err)
{
	return walk(tree, prefix, mend_file, NULL, err);
}

static int forget_file(void *arg, const char *path, struct lp_err *err)
{
	static const char *const ends[] = {".patched.o", ".patched.link", ".patched.map", ".patched.s"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(ends); i++)
		if (ends_with(path, ends[i]) && unlink(path) < 0)
			return lp_fail_sys(err, errno, "cannot remove %s", path);
	return 0;
}

int lp_patch_objects_forget(const char *tree, const char *prefix, struct lp_err *err)
{
	return walk(tree, prefix, forget_file, NULL, err);
}

static bool is_link_of(const struct lp_patch_objects *p, const struct link *l, const struct lp_build_id *id,
		       const char *name)
{
	if (id->len)
		return lp_build_id_equal(&l->build_id, id);
	char *link = kept_name(p, name, original_link);
	bool same = !l->build_id.len && !strcmp(base_of(l->path), link);
	lp_free(link);
	return same;
}

static const struct link *find_link(const struct lp_patch_objects *p, const struct lp_elf *original, const char *name)
{
	struct lp_build_id id;
	lp_elf_build_id(original, &id);
	for (size_t i = 0; i < p->links.nr; i++)
		if (is_link_of(p, &p->links.items[i], &id, name))
			return &p->links.items[i];
	return NULL;
}

bool lp_patch_objects_know(const struct lp_patch_objects *p, const struct lp_elf *original, const char *name)
{
	return find_link(p, original, name);
}

/* ---- one binary ---- */

/* One object in it. */
struct object {
	char *file, *member;	/* as the map names it; file absolute */
	char *original, *after; /* kept forms; NULL = none */
	struct lp_elf *before_elf, *after_elf;
	LP_VEC(struct lp_placement) placements; /* sections' names belong to the map */
	bool changed;
};

struct binary {
	struct lp_patch_objects *p;
	struct lp_linkmap map, patched_map;
	LP_VEC(struct object) objects;
	struct lp_err *err;
};

static char *absolute_path(const char *cwd, const char *file)
{
	return file[0] == '/' ? lp_strdup(file) : lp_sprintf("%s/%s", cwd, file);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static struct object *object_of(struct binary *b, const char *cwd, const struct lp_linkmap_row *row)
{
	char *file = absolute_path(cwd, row->file);
	/* Rows of one object mostly stand together, but for its sections of other kinds. */
	for (size_t i = b->objects.nr; i; i--)
		if (same_text(b->objects.items[i - 1].file, file) &&
		    same_text(b->objects.items[i - 1].member, row->member)) {
			lp_free(file);
			return &b->objects.items[i - 1];
		}
	struct object *o = lp_vec_add(&b->objects);
	o->file = file;
	o->member = lp_strdup(row->member);
	return o;
}

static void place(struct object *o, const struct lp_linkmap_row *row)
{
	unsigned occurrence = 0;
	for (size_t i = 0; i < o->placements.nr; i++)
		occurrence += !strcmp(o->placements.items[i].section, row->section);
	lp_vec_push(&o->placements,
		    ((struct lp_placement){
			    .section = row->section, .occurrence = occurrence, .addr = row->addr, .size = row->size}));
}

static int read_map(struct lp_linkmap *map, const char *link, const char *end, struct lp_err *err)
{
	char *path = with_end(link, ".link", end);
	struct lp_buf text = {0};
	int rc = lp_read_file(path, &text, TEXT_MAX, err);
	if (!rc)
		rc = lp_linkmap_parse(map, lp_buf_cstr(&text), text.len, false, err);
	lp_buf_free(&text);
	lp_free(path);
	return rc;
}

/* ---- which kept object a member of an archive is ---- */

static size_t section_size(const struct lp_elf *e, const char *name, unsigned occurrence)
{
	for (size_t i = 1; i < lp_elf_section_count(e); i++) {
		const Elf64_Shdr *s = lp_elf_section(e, i);
		if (!strcmp(lp_elf_section_name(e, s), name) && !occurrence--)
			return s->sh_size;
	}
	return SIZE_MAX;
}

/* Every section that the linker placed is there in its size; those of strings shrink when equal ones are merged. */
static bool placements_fit(const struct object *o, const char *path)
{
	struct lp_elf *e;
	bool fits = true;
	if (lp_elf_open(&e, path, NULL) < 0)
		return false;
	for (size_t i = 0; i < o->placements.nr && fits; i++) {
		const struct lp_placement *p = &o->placements.items[i];
		size_t size = section_size(e, p->section, p->occurrence);
		fits = size != SIZE_MAX &&
		       (size == p->size || !strncmp(p->section, ".rodata.", 8) || !strncmp(p->section, ".eh_frame", 9));
	}
	lp_elf_close(e);
	return fits;
}

static char *find_member(struct binary *b, const struct object *o)
{
	char *name = kept_name(b->p, o->member, original_object), *found = NULL;
	for (size_t i = 0; i < b->p->originals.nr; i++) {
		const char *path = b->p->originals.items[i];
		if (!strcmp(base_of(path), name) && placements_fit(o, path)) {
			bool second = found;
			lp_free(found);
			found = second ? NULL : lp_strdup(path);
			if (second)
				break; /* cannot be told apart: as if it were unknown */
		}
	}
	lp_free(name);
	return found;
}

static char *existing(char *path)
{
	if (path && !access(path, R_OK))
		return path;
	lp_free(path);
	return NULL;
}

/* ---- units ---- */

static int open_object(struct binary *b, struct object *o)
{
	int rc = o->original ? lp_elf_open(&o->before_elf, o->original, b->err) : 0;
	if (!rc && o->after)
		rc = lp_elf_open(&o->after_elf, o->after, b->err);
	return rc;
}

static bool same_files(const char *a, const char *b)
{
	struct lp_buf x = {0}, y = {0};
	bool same = !lp_read_file(a, &x, TEXT_MAX, NULL) && !lp_read_file(b, &y, TEXT_MAX, NULL) && x.len == y.len &&
		    !memcmp(x.data, y.data, x.len);
	lp_buf_free(&x);
	lp_buf_free(&y);
	return same;
}

/* What an object was in stage patched, when stage original has none of it.  Members are mostly made where their archive is. */
static char *only_patched(const struct binary *b, const char *cwd, const char *file, const char *member)
{
	char *path = absolute_path(cwd, file);
	char *object = member ? lp_sprintf("%.*s%s", (int)(base_of(path) - path), path, member) : lp_strdup(path);
	char *after = existing(kept_name(b->p, object, patched_object));
	char *original = after ? existing(with_end(after, patched_object, original_object)) : NULL;
	lp_free(path);
	lp_free(object);
	if (original) {
		lp_free(original);
		lp_free(after);
		after = NULL;
	}
	return after;
}

/* The original was linked with it, and nobody has seen how it was compiled: a unit that is not new, and cannot be compared. */
static int check_unseen(const struct binary *b, const struct object *o)
{
	char *after = only_patched(b, "/", o->file, o->member);
	int rc = after ? lp_fail(b->err, LP_EUNRECORDED,
				 "%s is compiled with the source patches, and what it was before is not known: it lay "
				 "there when the original was built, or a run was killed; build all of it anew with "
				 "--clean",
				 o->member ? o->member : o->file)
		       : 0;
	lp_free(after);
	return rc;
}

static int find_objects(struct binary *b, const struct link *l)
{
	int rc = 0;
	for (size_t i = 0; i < b->map.rows.nr; i++)
		place(object_of(b, l->cwd, &b->map.rows.items[i]), &b->map.rows.items[i]);
	for (size_t i = 0; i < b->objects.nr && !rc; i++) {
		struct object *o = &b->objects.items[i];
		o->original = o->member ? find_member(b, o) : existing(kept_name(b->p, o->file, original_object));
		if (!o->original) {
			rc = check_unseen(b, o);
			continue;
		}
		o->after = existing(with_end(o->original, original_object, patched_object));
		o->changed = o->after && !same_files(o->original, o->after);
		rc = open_object(b, o);
	}
	return rc;
}

static bool have_object(const struct binary *b, const char *after)
{
	for (size_t i = 0; i < b->objects.nr; i++)
		if (b->objects.items[i].after && !strcmp(b->objects.items[i].after, after))
			return true;
	return false;
}

/* A new unit, by the patched program's map: kept in stage patched, and not in stage original. */
static char *new_object(struct binary *b, const char *cwd, const struct lp_linkmap_row *row)
{
	char *after = only_patched(b, cwd, row->file, row->member);
	if (after && have_object(b, after)) {
		lp_free(after);
		after = NULL;
	}
	return after;
}

static int find_new_objects(struct binary *b, const struct link *l)
{
	char *link = with_end(l->path, original_link, patched_link);
	int rc = 0;
	if (!access(link, R_OK))
		rc = read_map(&b->patched_map, link, ".map", b->err);
	for (size_t i = 0; i < b->patched_map.rows.nr && !rc; i++) {
		char *after = new_object(b, l->cwd, &b->patched_map.rows.items[i]);
		if (!after)
			continue;
		struct object *o = lp_vec_add(&b->objects);
		o->after = after;
		o->file = lp_strdup(after);
		o->changed = true;
		rc = open_object(b, o);
	}
	lp_free(link);
	return rc;
}

/* ---- what it refers to, for people ---- */

static void tell_one(const struct lp_elf *e, const Elf64_Rela *r, lp_patch_told *told, void *arg)
{
	struct lp_elf_sym s;
	if (!lp_elf_symbol(e, LP_SYMTAB, ELF64_R_SYM(r->r_info), &s) || s.type == STT_SECTION || !s.name[0])
		return;
	const Elf64_Shdr *section = s.shndx == SHN_UNDEF ? NULL : lp_elf_section(e, s.shndx);
	if (section && is_patch_section(lp_elf_section_name(e, section)))
		return;
	char *line = lp_sprintf("Fixing up relocation %s%s%s+%llx", s.name, s.version ? "@@" : "",
				s.version ? s.version : "", (unsigned long long)r->r_addend);
	told(arg, line);
	lp_free(line);
}

static void tell(const struct lp_buf *elf, lp_patch_told *told, void *arg)
{
	static const char *const told_of[] = {".kpatch.text", ".kpatch.rodata", ".kpatch.data", ".kpatch.info"};
	struct lp_elf *e;
	if (!told || lp_elf_from_bytes(&e, elf->data, elf->len, "the patch", NULL) < 0)
		return;
	for (size_t k = 0; k < LP_ARRAY_SIZE(told_of); k++)
		for (size_t i = 1; i < lp_elf_section_count(e); i++) {
			size_t nr, target;
			const uint8_t *data = patch_relocations(e, i, &nr, &target);
			if (!data || strcmp(lp_elf_section_name(e, lp_elf_section(e, target)), told_of[k]) != 0)
				continue;
			for (size_t r = 0; r < nr; r++) {
				Elf64_Rela rela;
				memcpy(&rela, data + r * sizeof rela, sizeof rela);
				tell_one(e, &rela, told, arg);
			}
		}
	lp_elf_close(e);
}

/* ---- versions ---- */

static const char *version_of(struct lp_elf *patched, const char *name)
{
	struct lp_elf_sym s;
	size_t cursor = 0;
	while (lp_elf_symbol_by_name(patched, LP_DYNSYM, name, &cursor, &s))
		if (s.shndx == SHN_UNDEF && s.version)
			return s.version;
	return NULL;
}

/* Objects do not know which version of a library's function they mean; the linker did. */
static int add_versions(struct lp_buf *elf, struct lp_elf *patched, struct lp_err *err)
{
	struct lp_kobject *o = NULL;
	struct lp_elf *e = NULL;
	int rc = lp_elf_from_bytes(&e, elf->data, elf->len, "the patch", err);
	if (!rc)
		rc = lp_kobject_open(&o, e, err);
	struct lp_ksection *symtab = rc ? NULL : lp_kobject_section(o, ".symtab");
	struct lp_ksection *strtab =
		symtab && symtab->header.sh_link < o->sections.nr ? &o->sections.items[symtab->header.sh_link] : NULL;
	struct lp_buf names = {0};
	if (strtab)
		lp_buf_add(&names, strtab->data, strtab->header.sh_size);
	for (size_t i = 1; strtab && i < lp_elf_symbol_count(e, LP_SYMTAB); i++) {
		struct lp_elf_sym s;
		const char *version;
		if (!lp_elf_symbol(e, LP_SYMTAB, i, &s) || s.shndx != SHN_UNDEF || s.version ||
		    !(version = version_of(patched, s.name)))
			continue;
		uint32_t at = (uint32_t)names.len;
		lp_buf_printf(&names, "%s@%s", s.name, version);
		lp_buf_fill(&names, 0, 1);
		memcpy(symtab->data + i * sizeof(Elf64_Sym) + offsetof(Elf64_Sym, st_name), &at, sizeof at);
	}
	if (strtab) {
		lp_ksection_set(strtab, names.data, names.len);
		elf->len = 0;
		lp_kobject_write(o, elf);
	}
	lp_buf_free(&names);
	lp_kobject_free(o);
	lp_elf_close(e);
	return rc;
}

/* ---- the comparison ---- */

static int compare(struct binary *b, struct lp_elf *original, const char *name, const char *id, struct lp_buf *out)
{
	LP_VEC(struct lp_diff_unit) units = {0};
	LP_VEC(struct lp_elf *) others = {0};
	for (size_t i = 0; i < b->objects.nr; i++) {
		struct object *o = &b->objects.items[i];
		if (o->changed)
			lp_vec_push(&units, ((struct lp_diff_unit){
						    .name = base_of(o->member ? o->member : o->file),
						    .before = o->before_elf,
						    .after = o->after_elf,
						    .linked = o->before_elf,
						    .placements = o->placements.items,
						    .nr_placements = o->placements.nr,
					    }));
		else if (o->before_elf)
			lp_vec_push(&others, o->before_elf);
	}
	struct lp_diff_input in = {
		.units = units.items,
		.nr_units = units.nr,
		.original = original,
		.others = others.items,
		.nr_others = others.nr,
		.id = id,
		.object_name = name,
	};
	struct lp_diff *d = NULL;
	int rc = units.nr ? lp_diff_make(&d, &in, b->err) : 0;
	if (!rc && d && !lp_diff_empty(d))
		rc = lp_diff_emit(d, out, b->err);
	lp_diff_free(d);
	lp_vec_free(&units);
	lp_vec_free(&others);
	return rc ? rc : out->len > 0;
}

static void binary_free(struct binary *b)
{
	for (size_t i = 0; i < b->objects.nr; i++) {
		struct object *o = &b->objects.items[i];
		lp_elf_close(o->before_elf);
		lp_elf_close(o->after_elf);
		lp_free(o->file);
		lp_free(o->member);
		lp_free(o->original);
		lp_free(o->after);
		lp_vec_free(&o->placements);
	}
	lp_vec_free(&b->objects);
	lp_linkmap_free(&b->map);
	lp_linkmap_free(&b->patched_map);
}

int lp_patch_objects_make(struct lp_patch_objects *p, struct lp_elf *original, struct lp_elf *patched, const char *name,
			  const char *id, lp_patch_told *told, void *arg, struct lp_buf *out, struct lp_err *err)
{
	const struct link *l = find_link(p, original, name);
	struct binary b = {.p = p, .err = err};
	if (!l)
		return lp_fail(err, LP_ENOSYM, "nothing is known of how %s was linked", name);
	int rc = read_map(&b.map, l->path, ".map", err);
	if (!rc)
		rc = find_objects(&b, l);
	if (!rc)
		rc = find_new_objects(&b, l);
	if (!rc)
		rc = compare(&b, original, name, id, out);
	if (rc == 1) {
		int versioned = add_versions(out, patched, err);
		rc = versioned < 0 ? versioned : 1;
	}
	if (rc == 1)
		tell(out, told, arg);
	binary_free(&b);
	return rc < 0 ? lp_err_context(err, rc, "%s", name) : rc;
}
