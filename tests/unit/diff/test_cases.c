/*
 * The table of differences: each file in cases/ is a source that changes with -DAFTER, and says in its comments what the
 * differ shall find.
 *
 *     // flags: -O0 | -O2 -fPIE       alternatives, each with every compiler; the default is -O2 | -O0
 *     // compiler: gcc | clang        the default is these and gcc for aarch64
 *     // link: program | shared       program, no-pie, shared, static; the default is program
 *     // allow: removed-data          passed on
 *     // expect: function-changed f   all changes, one per line, in any order; none: nothing changed
 *     // refuse: new-tls t            all refusals
 *     // why: f differs               a change of that name gives a reason with these words
 *     // bound: counter               a relocation leads to that symbol of the original
 *     // unbound: counter             ... none does: the code has a number
 *     // import: puts                 ... to that undefined symbol
 *     // absent: .kpatch.rodata       nothing of this sort travels
 *     // record: f                    .kpatch.info replaces that function
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/fdio.h"
#include "pairs.h"

#ifndef CASES
#error "CASES: the directory with the sources"
#endif

/* The last one makes objects for another machine: the differ has to be as good at those. */
static const char every_compiler[] = "gcc|clang|aarch64-linux-gnu-gcc";

typedef LP_VEC(char *) string_vec;

struct wanted {
	string_vec flags, compilers, links, allow, changes, refusals, whys, bound, unbound, imports, absent, records;
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_strings(string_vec *v)
{
	for (size_t i = 0; i < v->nr; i++)
		lp_free(v->items[i]);
	lp_vec_free(v);
}

static char *trimmed(const char *from, const char *to)
{
	while (from < to && *from == ' ')
		from++;
	while (to > from && to[-1] == ' ')
		to--;
	char *s = lp_alloc((size_t)(to - from) + 1);
	memcpy(s, from, (size_t)(to - from));
	return s;
}

static void take(string_vec *v, const char *value, const char *end, bool alternatives)
{
	while (value <= end) {
		const char *bar = alternatives ? memchr(value, '|', (size_t)(end - value)) : NULL;
		const char *stop = bar ? bar : end;
		lp_vec_push(v, trimmed(value, stop));
		value = stop + 1;
	}
}

static void read_wanted(struct wanted *w, const char *path)
{
	static const char *const keys[] = {"flags", "compiler", "link",	   "allow",  "expect", "refuse",
					   "why",   "bound",	"unbound", "import", "absent", "record"};
	string_vec *lists[] = {&w->flags, &w->compilers, &w->links,   &w->allow,   &w->changes, &w->refusals,
			       &w->whys,  &w->bound,	 &w->unbound, &w->imports, &w->absent,	&w->records};
	struct lp_buf text = {0};
	struct lp_err err = {0};

	*w = (struct wanted){0};
	if (lp_read_file(path, &text, 1 << 20, &err))
		fail_msg("%s", err.text);
	for (const char *line = lp_buf_cstr(&text); line && *line;) {
		const char *end = strchr(line, '\n');
		end = end ? end : line + strlen(line);
		for (size_t i = 0; i < LP_ARRAY_SIZE(keys); i++) {
			size_t len = strlen(keys[i]);
			if (!strncmp(line, "// ", 3) && !strncmp(line + 3, keys[i], len) && line[3 + len] == ':')
				take(lists[i], line + 4 + len, end, i < 3);
		}
		line = *end ? end + 1 : NULL;
	}
	lp_buf_free(&text);
	if (!w->flags.nr)
		take(&w->flags, "-O2|-O0", &"-O2|-O0"[7], true);
	if (!w->compilers.nr)
		take(&w->compilers, every_compiler, every_compiler + strlen(every_compiler), true);
	if (!w->links.nr)
		take(&w->links, "program", &"program"[7], true);
}

static void free_wanted(struct wanted *w)
{
	string_vec *lists[] = {&w->flags, &w->compilers, &w->links,   &w->allow,   &w->changes, &w->refusals,
			       &w->whys,  &w->bound,	 &w->unbound, &w->imports, &w->absent,	&w->records};

	for (size_t i = 0; i < LP_ARRAY_SIZE(lists); i++)
		free_strings(lists[i]);
}

/* ---- sets ---- */

static void print_set(const char *title, const string_vec *v)
{
	print_error("  %s:\n", title);
	for (size_t i = 0; i < v->nr; i++)
		print_error("    %s\n", v->items[i]);
}

static bool same_set(string_vec *a, string_vec *b)
{
	if (a->nr)
		qsort(a->items, a->nr, sizeof *a->items, by_text);
	if (b->nr)
		qsort(b->items, b->nr, sizeof *b->items, by_text);
	if (a->nr != b->nr)
		return false;
	for (size_t i = 0; i < a->nr; i++)
		if (strcmp(a->items[i], b->items[i]))
			return false;
	return true;
}

static void expect_set(const char *what, string_vec *wanted, string_vec *found, const char *title)
{
	if (same_set(wanted, found))
		return;
	print_set("wanted", wanted);
	print_set("found", found);
	fail_msg("%s: %s are not those wanted", title, what);
}

/* ---- the emitted object ---- */

struct emitted {
	struct lp_elf *e;
	string_vec bound, imports, records;
};

/* A relocation's place and symbol, checked as a loader would. */
static void read_reloc(struct emitted *m, const Elf64_Shdr *of, const Elf64_Rela *r, const char *title)
{
	struct lp_elf_sym s;

	if (!lp_elf_symbol(m->e, LP_SYMTAB, ELF64_R_SYM(r->r_info), &s))
		fail_msg("%s: relocation without a symbol", title);
	if (r->r_offset >= of->sh_size)
		fail_msg("%s: relocation outside of its section", title);
	if (s.shndx == SHN_UNDEF)
		lp_vec_push(&m->imports, lp_strdup(s.name));
	else if (lp_elf_section(m->e, s.shndx)->sh_type == SHT_NOBITS)
		lp_vec_push(&m->bound, lp_strdup(s.name));
	assert_int_not_equal(s.shndx, SHN_ABS);
	assert_int_not_equal(s.shndx, SHN_COMMON);
}

static void read_relocs(struct emitted *m, const char *title)
{
	for (size_t i = 1; i < lp_elf_section_count(m->e); i++) {
		const Elf64_Shdr *h = lp_elf_section(m->e, i);
		size_t len;
		const uint8_t *bytes = lp_elf_section_data(m->e, h, &len);
		for (size_t at = 0; h->sh_type == SHT_RELA && at < len; at += sizeof(Elf64_Rela)) {
			Elf64_Rela r;
			memcpy(&r, bytes + at, sizeof r);
			read_reloc(m, lp_elf_section(m->e, h->sh_info), &r, title);
		}
	}
}

static void read_records(struct emitted *m)
{
	const Elf64_Shdr *info = lp_elf_section_find(m->e, ".kpatch.info");
	const Elf64_Shdr *names = lp_elf_section_find(m->e, ".kpatch.strtab");
	size_t len, names_len;
	const uint8_t *bytes = lp_elf_section_data(m->e, info, &len);
	const char *text = (const char *)lp_elf_section_data(m->e, names, &names_len);

	assert_int_equal(len % 48, 0);
	for (size_t at = 0, name = 0; at + 48 < len; at += 48) {
		assert_true(name < names_len);
		assert_int_not_equal(lp_get32(bytes + at + 20), 0);
		if (lp_get32(bytes + at + 16))
			lp_vec_push(&m->records, lp_strdup(text + name));
		name += strlen(text + name) + 1;
	}
}

static void check_layout(const struct lp_elf *e)
{
	const Elf64_Shdr *data = lp_elf_section_find(e, ".kpatch.data");

	assert_int_equal(lp_elf_header(e)->e_phnum, 0);
	assert_non_null(lp_elf_section_find(e, ".livepatch.meta"));
	assert_non_null(lp_elf_section_find(e, ".livepatch.old"));
	if (data)
		assert_int_equal(data->sh_offset % 4096, 0);
	for (size_t i = 1; i < lp_elf_section_count(e); i++) {
		const Elf64_Shdr *s = lp_elf_section(e, i);
		bool ours = !strncmp(lp_elf_section_name(e, s), ".kpatch.", 8);
		if (ours && data && (s->sh_flags & SHF_ALLOC))
			assert_true(s->sh_offset <= data->sh_offset);
		assert_true(ours || s->sh_type == SHT_NOBITS || !(s->sh_flags & SHF_ALLOC));
		assert_false((s->sh_flags & SHF_WRITE) && (s->sh_flags & SHF_EXECINSTR));
	}
}

static void read_emitted(struct emitted *m, const struct lp_buf *bytes, const char *title)
{
	struct lp_err err = {0};

	*m = (struct emitted){0};
	if (lp_elf_from_bytes(&m->e, bytes->data, bytes->len, "emitted", &err))
		fail_msg("%s: %s", title, err.text);
	check_layout(m->e);
	read_relocs(m, title);
	read_records(m);
}

static void free_emitted(struct emitted *m)
{
	lp_elf_close(m->e);
	free_strings(&m->bound);
	free_strings(&m->imports);
	free_strings(&m->records);
}

static void expect_members(const char *what, const string_vec *wanted, const string_vec *found, const char *title)
{
	for (size_t i = 0; i < wanted->nr; i++) {
		bool any = false;
		for (size_t k = 0; k < found->nr; k++)
			any |= !strcmp(found->items[k], wanted->items[i]);
		if (any)
			continue;
		print_set("found", found);
		fail_msg("%s: no %s %s", title, what, wanted->items[i]);
	}
}

static void expect_none(const char *what, const string_vec *unwanted, const string_vec *found, const char *title)
{
	for (size_t i = 0; i < unwanted->nr; i++)
		for (size_t k = 0; k < found->nr; k++)
			if (!strcmp(found->items[k], unwanted->items[i]))
				fail_msg("%s: a %s %s", title, what, unwanted->items[i]);
}

/* ---- one case ---- */

static void collect(const struct lp_diff *d, string_vec *changes, string_vec *refusals)
{
	size_t nr;
	const struct lp_diff_change *c = lp_diff_changes(d, &nr);

	for (size_t i = 0; i < nr; i++)
		lp_vec_push(changes, lp_sprintf("%s %s", lp_diff_kind_name(c[i].kind), c[i].name));
	const struct lp_diff_refusal *r = lp_diff_refusals(d, &nr);
	for (size_t i = 0; i < nr; i++)
		lp_vec_push(refusals, lp_sprintf("%s %s", r[i].code, r[i].culprit));
}

static void expect_whys(const struct lp_diff *d, const struct wanted *w, const char *title)
{
	size_t nr;
	const struct lp_diff_change *c = lp_diff_changes(d, &nr);

	for (size_t i = 0; i < w->whys.nr; i++) {
		const char *want = w->whys.items[i], *space = strchr(want, ' ');
		bool any = false;
		for (size_t k = 0; k < nr; k++)
			any |= !strncmp(c[k].name, want, (size_t)(space - want)) && strstr(c[k].why, space + 1);
		if (any)
			continue;
		for (size_t k = 0; k < nr; k++)
			print_error("  %s: %s\n", c[k].name, c[k].why);
		fail_msg("%s: nobody says %s", title, want);
	}
}

static struct lp_diff *diff_of(const struct pair *p, const struct wanted *w, const char *title)
{
	struct lp_diff_input in = {
		.units = &p->unit,
		.nr_units = 1,
		.original = p->original,
		.id = "case",
		.object_name = "original",
		.allow = (const char *const *)w->allow.items,
		.nr_allow = w->allow.nr,
	};
	struct lp_err err = {0};
	struct lp_diff *d = NULL;
	int rc = lp_diff_make(&d, &in, &err);

	if (!d)
		fail_msg("%s: %s", title, err.text);
	assert_int_equal(rc != 0, w->refusals.nr != 0 || rc == -LP_EDIFF);
	return d;
}

static void expect_emitted(const struct pair *p, struct lp_diff *d, const struct wanted *w, const char *title)
{
	struct lp_buf first = {0}, second = {0};
	struct lp_err err = {0};
	struct emitted m;

	if (lp_diff_emit(d, &first, &err))
		fail_msg("%s: %s", title, err.text);
	read_emitted(&m, &first, title);
	expect_members("relocation to the original's", &w->bound, &m.bound, title);
	expect_none("relocation to the original's", &w->unbound, &m.bound, title);
	expect_members("import of", &w->imports, &m.imports, title);
	for (size_t i = 0; i < w->absent.nr; i++)
		if (lp_elf_section_find(m.e, w->absent.items[i]))
			fail_msg("%s: there is a section %s", title, w->absent.items[i]);
	expect_members("record of", &w->records, &m.records, title);
	struct lp_diff *again = diff_of(p, w, title);
	assert_int_equal(lp_diff_emit(again, &second, &err), 0);
	assert_int_equal(first.len, second.len);
	assert_memory_equal(first.data, second.data, first.len);
	lp_diff_free(again);
	free_emitted(&m);
	lp_buf_free(&first);
	lp_buf_free(&second);
}

static void check_variant(const char *path, struct wanted *w, const struct pair_options *o)
{
	string_vec changes = {0}, refusals = {0};
	struct pair p;
	char title[512];

	snprintf(title, sizeof title, "%s (%s %s %s%s)", strrchr(path, '/') + 1, o->compiler, o->flags, o->link,
		 o->without_map ? ", no map" : "");
	if (!have_compiler(o->compiler, path))
		return;
	pair_make(&p, path, o);
	struct lp_diff *d = diff_of(&p, w, title);
	collect(d, &changes, &refusals);
	expect_set("refusals", &w->refusals, &refusals, title);
	expect_set("changes", &w->changes, &changes, title);
	expect_whys(d, w, title);
	if (!w->refusals.nr && !lp_diff_empty(d))
		expect_emitted(&p, d, w, title);
	lp_diff_free(d);
	free_strings(&changes);
	free_strings(&refusals);
	pair_free(&p);
}

static void the_case_holds_with_every_compiler_and_flag(void **state)
{
	const char *path = *state;
	struct wanted w;

	read_wanted(&w, path);
	for (size_t c = 0; c < w.compilers.nr; c++)
		for (size_t f = 0; f < w.flags.nr; f++)
			for (size_t l = 0; l < w.links.nr; l++) {
				struct pair_options o = {
					.compiler = w.compilers.items[c],
					.flags = w.flags.items[f],
					.link = w.links.items[l],
					.without_map = f == 1, /* names and files have to do as well */
				};
				check_variant(path, &w, &o);
			}
	free_wanted(&w);
}

static int is_source(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	return dot && (!strcmp(dot, ".c") || !strcmp(dot, ".cc") || !strcmp(dot, ".S"));
}

int main(int argc, char **argv)
{
	struct dirent **found;
	int n = scandir(CASES, &found, is_source, alphasort);
	struct CMUnitTest *tests = lp_alloc((size_t)(n > 0 ? n : 1) * sizeof *tests);
	size_t nr = 0;

	for (int i = 0; i < n; i++) {
		if (argc > 1 && !strstr(found[i]->d_name, argv[1]))
			continue;
		tests[nr++] = (struct CMUnitTest){
			.name = lp_strdup(found[i]->d_name),
			.test_func = the_case_holds_with_every_compiler_and_flag,
			.initial_state = lp_sprintf("%s/%s", CASES, found[i]->d_name),
		};
	}
	if (!nr)
		return 1;
	for (int i = 0; i < n; i++)
		free(found[i]);
	free(found);
	return _cmocka_run_group_tests("diff cases", tests, nr, NULL, NULL);
}
