/*
 * An object file as pieces and refs.  The file is hostile until it is checked here: every section's bytes, every symbol's
 * section, every relocation's place and symbol.
 */
#include "diff/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

/* ---- sections ---- */

/* Beyond these a file is not what a compiler makes, and sums of its numbers might overflow. */
#define SECTION_MAX (UINT64_C(1) << 30)
#define NUMBER_MAX (INT64_C(1) << 48)

static int refuse_sizes(const struct object *o, struct lp_err *err)
{
	for (size_t i = 0; i < o->nr_sections; i++)
		if (o->sections[i].size > SECTION_MAX)
			return lp_fail(err, LP_EELF, "%s (%s): section %s has %" PRIu64 " bytes", o->unit->name,
				       o->which, o->sections[i].name, o->sections[i].size);
	for (size_t i = 0; i < o->nr_symbols; i++) {
		const struct symbol *s = &o->symbols[i];
		if (s->shndx != SHN_ABS && (s->value > (uint64_t)NUMBER_MAX || s->size > SECTION_MAX))
			return lp_fail(err, LP_EELF, "%s (%s): symbol %s lies outside of all", o->unit->name, o->which,
				       s->name);
	}
	return 0;
}

static void read_sections(struct object *o)
{
	o->nr_sections = lp_elf_section_count(o->elf);
	o->sections = lp_alloc((o->nr_sections + 1) * sizeof *o->sections);
	for (size_t i = 0; i < o->nr_sections; i++) {
		struct section *s = &o->sections[i];
		size_t len;
		s->header = lp_elf_section(o->elf, i);
		s->name = lp_elf_section_name(o->elf, s->header);
		s->data = lp_elf_section_data(o->elf, s->header, &len);
		s->size = s->header->sh_type == SHT_NOBITS ? s->header->sh_size : len;
	}
	for (size_t i = 0; i < o->nr_sections; i++) {
		const Elf64_Shdr *h = o->sections[i].header;
		if (h->sh_type == SHT_RELA && h->sh_info < o->nr_sections)
			o->sections[h->sh_info].relocs = h;
	}
}

static int refuse_foreign(const struct object *o, struct lp_err *err)
{
	const Elf64_Ehdr *h = lp_elf_header(o->elf);

	if (h->e_type != ET_REL)
		return lp_fail(err, LP_EELF, "%s (%s): not a relocatable object", o->unit->name, o->which);
	if (!o->isa)
		return lp_fail(err, LP_EISA, "%s (%s): objects of machine %u are unknown here", o->unit->name, o->which,
			       h->e_machine);
	return 0;
}

static bool is_lto(const struct object *o)
{
	for (size_t i = 0; i < o->nr_sections; i++)
		if (!strncmp(o->sections[i].name, ".gnu.lto_", 9))
			return true;
	return false;
}

/* ---- symbols ---- */

/* SHN_XINDEX: the real index stands in a section of its own (gABI, SHT_SYMTAB_SHNDX). */
static uint32_t extended_index(const struct object *o, size_t symbol)
{
	for (size_t i = 0; i < o->nr_sections; i++) {
		const struct section *s = &o->sections[i];
		if (s->header->sh_type == SHT_SYMTAB_SHNDX && s->data && symbol < s->size / 4)
			return lp_get32(s->data + 4 * symbol);
	}
	return SHN_UNDEF;
}

static void read_symbols(struct object *o)
{
	o->nr_symbols = lp_elf_symbol_count(o->elf, LP_SYMTAB);
	o->symbols = lp_alloc((o->nr_symbols + 1) * sizeof *o->symbols);
	for (size_t i = 0; i < o->nr_symbols; i++) {
		struct lp_elf_sym s;
		lp_elf_symbol(o->elf, LP_SYMTAB, i, &s);
		o->symbols[i] = (struct symbol){
			.name = s.name,
			.value = s.value,
			.size = s.size,
			.shndx = s.shndx == SHN_XINDEX ? extended_index(o, i) : s.shndx,
			.type = s.type,
			.bind = s.bind,
			.visibility = s.visibility,
		};
	}
}

static bool is_in_section(const struct object *o, const struct symbol *s)
{
	return s->shndx && s->shndx < o->nr_sections && s->value <= o->sections[s->shndx].size &&
	       s->size <= o->sections[s->shndx].size - s->value;
}

/* "$d", "$x.12": where code and data begin in a section (AAELF64 5.5.4); nobody's name. */
static bool is_mark(const struct symbol *s)
{
	return s->bind == STB_LOCAL && s->name[0] == '$' && s->name[1] && (!s->name[2] || s->name[2] == '.');
}

/* A name by which a piece may go: not that of a section or a file. */
static bool names_something(const struct symbol *s)
{
	return *s->name && s->type != STT_SECTION && s->type != STT_FILE && !is_mark(s);
}

/* ---- pieces ---- */

struct piece_list {
	LP_VEC(const struct symbol *) names; /* of one section, by value */
};

/* At one place: the name that others can see first, then typed ones, then as they stand in the table. */
static int by_value(const void *a, const void *b)
{
	const struct symbol *x = *(const struct symbol *const *)a, *y = *(const struct symbol *const *)b;

	if (x->value != y->value)
		return x->value < y->value ? -1 : 1;
	if ((x->type == STT_NOTYPE) != (y->type == STT_NOTYPE))
		return x->type == STT_NOTYPE ? 1 : -1;
	if ((x->bind == STB_LOCAL) != (y->bind == STB_LOCAL))
		return x->bind == STB_LOCAL ? 1 : -1;
	return x < y ? -1 : x > y;
}

static struct piece *add_piece(struct object *o, uint32_t section, enum piece_kind kind, uint64_t start)
{
	struct piece *p = lp_alloc(sizeof *p);

	p->obj = o;
	p->section = section;
	p->kind = kind;
	p->start = p->end = p->limit = start;
	p->name = section ? o->sections[section].name : "";
	p->order = o->pieces.nr;
	lp_vec_push(&o->pieces, p);
	if (section)
		lp_vec_push(&o->sections[section].pieces, p);
	return p;
}

static void add_entry(struct piece *p, struct symbol *s)
{
	s->piece = p;
	lp_vec_push(&p->entries, s);
	if (!p->sym) {
		p->sym = s;
		p->name = s->name;
	}
}

/* Sized symbols say where a piece ends; without them, it ends where the next begins. */
static void close_piece(struct piece *p, uint64_t limit)
{
	bool sized = p->entries.nr != 0;

	p->limit = limit;
	p->end = p->start;
	for (size_t i = 0; i < p->entries.nr; i++) {
		const struct symbol *s = p->entries.items[i];
		if (s->value + s->size > p->end)
			p->end = s->value + s->size;
		sized = sized && (s->size || s->value < p->end);
	}
	if (!sized || p->end > limit || p->end == p->start)
		p->end = limit;
}

/* Does a new piece begin with this symbol?  Not inside of a sized one: that is another entry of the same. */
static bool cuts(const struct symbol *s, uint64_t covered)
{
	return s->value >= covered;
}

/*
 * Compilers put nameless constants and tables between named ones, when all of them share a section.  Behind a symbol that says how
 * long it is begins a piece of its own; of padding nobody will ask.
 */
static void close_before(struct object *o, struct piece *p, uint64_t covered, uint64_t limit)
{
	const struct symbol *last = p->entries.nr ? p->entries.items[p->entries.nr - 1] : NULL;
	bool known = last && (last->size || last->value < covered);

	if (p->kind != PIECE_CONST || !known || covered >= limit) {
		close_piece(p, limit);
		return;
	}
	close_piece(p, covered);
	close_piece(add_piece(o, p->section, p->kind, covered), limit);
}

static void cut_section(struct object *o, uint32_t section, enum piece_kind kind, const struct symbol *const *names,
			size_t nr)
{
	uint64_t covered = 0, size = o->sections[section].size;
	bool cuttable = kind != PIECE_STRINGS && kind != PIECE_LITERALS && kind != PIECE_UNWIND;
	struct piece *p = NULL;

	for (size_t i = 0; i < nr; i++) {
		struct symbol *s = o->symbols + (names[i] - o->symbols);
		if (!p || (cuttable && s->value > p->start && cuts(s, covered))) {
			if (p)
				close_before(o, p, covered, s->value);
			if (!p && s->value && cuttable && kind != PIECE_LSDA)
				close_piece(add_piece(o, section, kind, 0), s->value);
			p = add_piece(o, section, kind, cuttable && kind != PIECE_LSDA ? s->value : 0);
		}
		add_entry(p, s);
		if (s->value + s->size > covered)
			covered = s->value + s->size;
	}
	if (!p)
		p = add_piece(o, section, kind, 0);
	close_before(o, p, covered, size);
	if (!cuttable)
		p->end = p->limit = size;
}

static void list_names(struct object *o, struct piece_list *by_section)
{
	for (size_t i = 1; i < o->nr_symbols; i++) {
		const struct symbol *s = &o->symbols[i];
		if (is_in_section(o, s) && names_something(s))
			lp_vec_push(&by_section[s->shndx].names, s);
	}
}

/* -fcommon: tentative definitions, which the linker makes room for. */
static void add_commons(struct object *o)
{
	for (size_t i = 1; i < o->nr_symbols; i++) {
		struct symbol *s = &o->symbols[i];
		if (s->shndx != SHN_COMMON)
			continue;
		struct piece *p = add_piece(o, 0, s->type == STT_TLS ? PIECE_TLS : PIECE_DATA, 0);
		add_entry(p, s);
		p->entries.nr = 1;
		p->end = p->limit = s->size;
	}
}

/* Pointers that unwind tables go through; every unit brings its own, and the linker keeps one. */
static bool is_unwinders(const struct piece *p)
{
	return p->sym && !strncmp(p->name, "DW.ref.", 7);
}

/* clang puts pointers to type information for exception tables into .data, without names. */
static bool is_pointers_alone(const struct piece *p)
{
	uint64_t covered = 0;

	if (p->kind != PIECE_DATA || p->sym || !lp_piece_bytes(p))
		return false;
	for (size_t i = 0; i < p->refs.nr; i++)
		covered += p->refs.items[i].howto->formula == LP_RELOC_ABS ? p->refs.items[i].howto->width : 0;
	return covered == lp_piece_size(p);
}

static bool has_no_identity(const struct piece *p)
{
	if (p->kind == PIECE_STRINGS || p->kind == PIECE_LITERALS || p->kind == PIECE_LSDA)
		return true;
	if (p->kind != PIECE_CONST)
		return false;
	return !p->sym || is_unwinders(p) || (p->sym->bind == STB_LOCAL && lp_diff_is_compilers(p->name));
}

static void describe(struct object *o)
{
	for (size_t i = 0; i < o->pieces.nr; i++) {
		struct piece *p = o->pieces.items[i];
		if (p->kind == PIECE_DATA && (is_unwinders(p) || is_pointers_alone(p)))
			p->kind = PIECE_CONST;
		p->by_content = has_no_identity(p);
		if (p->kind == PIECE_UNWIND)
			o->unwind = p;
	}
}

static void read_pieces(struct object *o)
{
	struct piece_list *lists = lp_alloc((o->nr_sections + 1) * sizeof *lists);

	list_names(o, lists);
	for (uint32_t i = 1; i < o->nr_sections; i++) {
		struct section *s = &o->sections[i];
		enum piece_kind kind;
		if (lists[i].names.nr)
			qsort(lists[i].names.items, lists[i].names.nr, sizeof *lists[i].names.items, by_value);
		s->used = lp_diff_section_kind(s->name, s->header, &kind) && (s->size || lists[i].names.nr) &&
			  (s->data || s->header->sh_type == SHT_NOBITS);
		if (s->used)
			cut_section(o, i, kind, lists[i].names.items, lists[i].names.nr);
		lp_vec_free(&lists[i].names);
	}
	lp_free(lists);
	add_commons(o);
}

struct piece *lp_diff_piece_at(const struct object *o, uint32_t section, int64_t at)
{
	const struct section *s = section < o->nr_sections ? &o->sections[section] : NULL;
	size_t low = 0, high;

	if (!s || !s->pieces.nr)
		return NULL;
	/* the last that begins at or before `at`; the first when none does */
	high = s->pieces.nr;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (at >= 0 && s->pieces.items[middle]->start <= (uint64_t)at)
			low = middle;
		else
			high = middle;
	}
	return s->pieces.items[low];
}

const uint8_t *lp_piece_bytes(const struct piece *p)
{
	const struct section *s = p->section ? &p->obj->sections[p->section] : NULL;

	return s && s->data ? s->data + p->start : NULL;
}

static uint64_t string_size(const uint8_t *at, uint64_t rest, uint64_t unit)
{
	static const uint8_t zeros[8];

	for (uint64_t n = 0; n + unit <= rest; n += unit)
		if (!memcmp(at + n, zeros, unit))
			return n + unit;
	return 0;
}

uint64_t lp_diff_fragment_size(const struct piece *p, int64_t anchor)
{
	const struct section *s = &p->obj->sections[p->section];
	uint64_t unit = s->header->sh_entsize;

	if (anchor < 0 || (uint64_t)anchor >= s->size || !s->data)
		return 0;
	if (p->kind == PIECE_STRINGS)
		return unit && unit <= 8 ? string_size(s->data + anchor, s->size - (uint64_t)anchor, unit) : 0;
	return unit && s->size - (uint64_t)anchor >= unit ? unit : 0;
}

/* ---- relocations ---- */

static int add_ref(struct object *o, uint32_t section, const Elf64_Rela *raw, struct lp_err *err)
{
	struct section *s = &o->sections[section];
	const struct lp_reloc_howto *howto = o->isa->howto(ELF64_R_TYPE(raw->r_info));
	uint64_t symbol = ELF64_R_SYM(raw->r_info);

	if (!howto || symbol >= o->nr_symbols)
		return lp_fail(err, LP_ERELOC, "%s (%s): relocation of type %u in %s is unknown", o->unit->name,
			       o->which, (unsigned)ELF64_R_TYPE(raw->r_info), s->name);
	if (raw->r_offset > s->size || howto->width > s->size - raw->r_offset)
		return lp_fail(err, LP_EELF, "%s (%s): relocation outside of %s", o->unit->name, o->which, s->name);
	if (raw->r_addend > NUMBER_MAX || raw->r_addend < -NUMBER_MAX)
		return lp_fail(err, LP_EELF, "%s (%s): addend out of all proportion in %s", o->unit->name, o->which,
			       s->name);
	if (howto->formula == LP_RELOC_NONE)
		return 0;
	struct piece *p = lp_diff_piece_at(o, section, (int64_t)raw->r_offset);
	struct ref r = {
		.at = raw->r_offset - p->start,
		.howto = howto,
		.addend = raw->r_addend,
		.sym = symbol ? &o->symbols[symbol] : NULL,
	};
	lp_vec_push(&p->refs, r);
	return 0;
}

static int read_relocs(struct object *o, uint32_t section, struct lp_err *err)
{
	const Elf64_Shdr *h = o->sections[section].relocs;
	size_t len;
	const uint8_t *bytes = h ? lp_elf_section_data(o->elf, h, &len) : NULL;

	if (!bytes || h->sh_entsize != sizeof(Elf64_Rela))
		return h && h->sh_size ? lp_fail(err, LP_EELF, "%s (%s): malformed relocations of %s", o->unit->name,
						 o->which, o->sections[section].name)
				       : 0;
	for (size_t i = 0; i < len / sizeof(Elf64_Rela); i++) {
		Elf64_Rela raw;
		memcpy(&raw, bytes + i * sizeof raw, sizeof raw);
		int rc = add_ref(o, section, &raw, err);
		if (rc)
			return rc;
	}
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct ref *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->howto->type < y->howto->type ? -1 : x->howto->type > y->howto->type;
}

static int read_all_relocs(struct object *o, struct lp_err *err)
{
	int rc;

	for (uint32_t i = 1; i < o->nr_sections; i++) {
		if (o->sections[i].used && (rc = read_relocs(o, i, err)))
			return rc;
	}
	for (size_t i = 0; i < o->pieces.nr; i++) {
		struct piece *p = o->pieces.items[i];
		if (p->refs.nr)
			qsort(p->refs.items, p->refs.nr, sizeof *p->refs.items, by_place);
	}
	return 0;
}

/* ---- what refs mean ---- */

static bool is_merged(const struct piece *p)
{
	return p->kind == PIECE_STRINGS || p->kind == PIECE_LITERALS;
}

/*
 * Through a section's symbol, the sum says where; through any other, the symbol does, and the rest is an offset from it (which may
 * lead outside: the address of a[-1]).
 */
static void aim(struct object *o, struct ref *r)
{
	const struct symbol *s = r->sym;
	int64_t rest = r->addend + r->bias;

	if (!s || s->shndx == SHN_UNDEF || s->shndx == SHN_ABS) {
		r->off = rest;
		return;
	}
	int64_t at = (int64_t)(s->value + (uint64_t)rest);
	if (s->shndx == SHN_COMMON) {
		r->to = s->piece;
		r->off = rest;
		return;
	}
	r->to = lp_diff_piece_at(o, s->shndx, s->type == STT_SECTION ? at : (int64_t)s->value);
	if (!r->to) {
		r->off = rest;
		return;
	}
	r->off = at - (int64_t)r->to->start;
	r->anchor = s->type == STT_SECTION ? at : (int64_t)s->value;
	if (r->to->kind == PIECE_LITERALS && r->anchor > 0) {
		uint64_t unit = o->sections[r->to->section].header->sh_entsize;
		r->anchor -= (int64_t)((uint64_t)r->anchor % unit);
	}
	if (!is_merged(r->to))
		r->anchor = 0;
}

static void aim_all(struct object *o)
{
	for (size_t i = 0; i < o->pieces.nr; i++) {
		struct piece *p = o->pieces.items[i];
		for (size_t k = 0; k < p->refs.nr; k++)
			aim(o, &p->refs.items[k]);
	}
}

static bool refers_into(const struct piece *p, const struct piece *to)
{
	for (size_t i = 0; i < p->refs.nr; i++)
		if (p->refs.items[i].to == to)
			return true;
	return false;
}

/*
 * The end of an array is the place where the next thing begins.  When that has no name, who uses the array means its end: a loop
 * over an array that stays in the original must not end at what travels with the patch.
 */
static void keep_ends(struct object *o)
{
	for (size_t i = 0; i < o->pieces.nr; i++) {
		const struct piece *p = o->pieces.items[i];
		for (size_t k = 0; k < p->refs.nr; k++) {
			struct ref *r = &p->refs.items[k];
			if (!r->to || r->to->sym || r->to->kind != PIECE_CONST || r->off || !r->to->start)
				continue;
			struct piece *array = lp_diff_piece_at(o, r->to->section, (int64_t)r->to->start - 1);
			if (array == r->to || !refers_into(p, array))
				continue;
			r->to = array;
			r->off = (int64_t)(array->limit - array->start);
		}
	}
}

/* ---- marks ---- */

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void sort_marks(struct piece *p)
{
	size_t kept = 0;

	if (p->marks.nr)
		qsort(p->marks.items, p->marks.nr, sizeof *p->marks.items, by_number);
	for (size_t i = 0; i < p->marks.nr; i++)
		if (!kept || p->marks.items[kept - 1] != p->marks.items[i])
			p->marks.items[kept++] = p->marks.items[i];
	p->marks.nr = kept;
}

static void mark_targets(struct object *o)
{
	for (size_t i = 0; i < o->pieces.nr; i++) {
		const struct piece *p = o->pieces.items[i];
		for (size_t k = 0; k < p->refs.nr; k++) {
			const struct ref *r = &p->refs.items[k];
			if (r->to && r->to->by_content && r->off > 0)
				lp_vec_push(&r->to->marks, (uint64_t)r->off);
		}
	}
	for (size_t i = 0; i < o->pieces.nr; i++)
		sort_marks(o->pieces.items[i]);
}

/* ---- parts ---- */

struct piece *lp_diff_code_named(const struct object *o, const char *name, size_t len)
{
	for (size_t i = 0; i < o->pieces.nr; i++) {
		struct piece *p = o->pieces.items[i];
		for (size_t k = 0; p->kind == PIECE_CODE && k < p->entries.nr; k++)
			if (!strncmp(p->entries.items[k]->name, name, len) && !p->entries.items[k]->name[len])
				return p;
	}
	return NULL;
}

static void find_parents(struct object *o)
{
	for (size_t i = 0; i < o->pieces.nr; i++) {
		struct piece *p = o->pieces.items[i];
		size_t len = p->kind == PIECE_CODE && p->sym ? lp_diff_part_of(p->name) : 0;
		struct piece *parent = len ? lp_diff_code_named(o, p->name, len) : NULL;
		if (parent != p)
			p->parent = parent;
	}
}

/* ---- jump tables ---- */

static bool refers_to(const struct piece *code, const struct piece *table, uint64_t base)
{
	for (size_t i = 0; i < code->refs.nr; i++)
		if (code->refs.items[i].to == table && code->refs.items[i].off == (int64_t)base)
			return true;
	return false;
}

/* Where what stands at `at` begins: the last mark before. */
static uint64_t begin_of(const struct piece *p, uint64_t at)
{
	size_t low = 0, high = p->marks.nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (p->marks.items[middle] <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? p->marks.items[low - 1] : 0;
}

/*
 * An entry of a table of distances counts from the table's beginning, its relocation from the entry: the sum is beyond what is meant
 * by how far into the table it stands, and in a section of many functions that is another function.  It is such an entry when
 * the code that is meant then is the code that uses the table.
 */
static void aim_entry(struct object *o, struct piece *table, struct ref *r)
{
	uint64_t base = begin_of(table, r->at);
	int64_t into = (int64_t)(r->at - base);

	if (r->howto->formula != LP_RELOC_PC || !into || !r->sym || r->sym->type != STT_SECTION || !r->to ||
	    r->to->kind != PIECE_CODE)
		return;
	int64_t at = r->off + (int64_t)r->to->start - into;
	const struct piece *code = lp_diff_piece_at(o, r->to->section, at);
	if (at < 0 || !(refers_to(code, table, base) || (code->parent && refers_to(code->parent, table, base))))
		return;
	r->bias = -into;
	aim(o, r);
}

static void aim_tables(struct object *o)
{
	for (size_t i = 0; i < o->pieces.nr; i++) {
		struct piece *p = o->pieces.items[i];
		for (size_t k = 0; p->kind == PIECE_CONST && p->by_content && k < p->refs.nr; k++)
			aim_entry(o, p, &p->refs.items[k]);
	}
}

int lp_diff_read_object(struct object **out, const struct lp_diff_unit *unit, size_t unit_index, struct lp_elf *elf,
			const char *which, struct lp_err *err)
{
	struct object *o = lp_alloc(sizeof *o);
	int rc;

	o->elf = elf;
	o->unit = unit;
	o->unit_index = unit_index;
	o->which = which;
	o->isa = lp_isa_of(lp_elf_header(elf)->e_machine);
	rc = refuse_foreign(o, err);
	if (!rc) {
		read_sections(o);
		if (is_lto(o))
			rc = lp_fail(err, LP_EDIFF, "lto");
	}
	if (!rc) {
		read_symbols(o);
		rc = refuse_sizes(o, err);
	}
	if (!rc) {
		read_pieces(o);
		rc = read_all_relocs(o, err);
	}
	if (!rc) {
		describe(o);
		lp_diff_decode_biases(o);
		lp_diff_join_code(o);
		aim_all(o);
		keep_ends(o);
		mark_targets(o);
		lp_diff_decode_branches(o);
		find_parents(o);
		aim_tables(o);
		rc = lp_diff_read_unwind(o, err);
	}
	if (rc) {
		lp_diff_free_object(o);
		return rc;
	}
	*out = o;
	return 0;
}

static void free_piece(struct piece *p)
{
	lp_vec_free(&p->entries);
	lp_vec_free(&p->refs);
	lp_vec_free(&p->marks);
	lp_free(p->why);
	lp_free(p);
}

void lp_diff_free_object(struct object *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->pieces.nr; i++)
		free_piece(o->pieces.items[i]);
	for (size_t i = 0; i < o->nr_sections; i++)
		lp_vec_free(&o->sections[i].pieces);
	lp_vec_free(&o->pieces);
	lp_vec_free(&o->unwind_entries);
	lp_free(o->sections);
	lp_free(o->symbols);
	lp_free(o);
}
