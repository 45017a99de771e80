/*
 * What a ref of patch code is to be: a piece of the patch, a place in the original, or a name for the dynamic linker.
 *
 *     changed or unchanged function of the original    the original's entry: there the jump to the newest version stands, so that
 *                                                      pointers to functions compare equal and later patches take effect here too
 *     the middle, or a separate part, of a function    the patch's
 *     variable that exists                             the original's, never a copy
 *     strings, literals, tables without a name         copied
 *     constant that changed                            the patch's
 *     new                                              the patch's; unless the original has a global symbol of that name (an
 *                                                      inline function that other units brought along)
 *
 * Local symbols of the original are found by the linker's placements; without them, by name and source file.
 */
#include "diff/model.h"

#include <stdlib.h>
#include <string.h>

/* ---- the globals of the units ---- */

static int by_name(const void *a, const void *b)
{
	const struct name_entry *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	if (c)
		return c;
	if (x->piece->changed != y->piece->changed)
		return x->piece->changed ? -1 : 1;
	if (x->piece->obj->unit_index != y->piece->obj->unit_index)
		return x->piece->obj->unit_index < y->piece->obj->unit_index ? -1 : 1;
	return x->piece->order < y->piece->order ? -1 : x->piece->order > y->piece->order;
}

void lp_diff_list_globals(struct lp_diff *d)
{
	d->globals.nr = 0;
	for (size_t i = 0; i < d->units.nr; i++) {
		struct object *o = d->units.items[i].after;
		for (size_t k = 1; o && k < o->nr_symbols; k++) {
			const struct symbol *s = &o->symbols[k];
			if (s->bind != STB_LOCAL && s->piece)
				lp_vec_push(&d->globals, ((struct name_entry){s->name, s->piece}));
		}
	}
	if (d->globals.nr)
		qsort(d->globals.items, d->globals.nr, sizeof *d->globals.items, by_name);
}

struct piece *lp_diff_global(const struct lp_diff *d, const char *name)
{
	size_t low = 0, high = d->globals.nr;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (strcmp(d->globals.items[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < d->globals.nr && !strcmp(d->globals.items[low].name, name) ? d->globals.items[low].piece : NULL;
}

/* ---- symbols of the original ---- */

static uint64_t tls_start(const struct lp_elf *e)
{
	const Elf64_Phdr *h = lp_elf_phdr_find(e, PT_TLS);

	return h ? h->p_vaddr : 0;
}

static bool is_defined(const struct lp_elf_sym *s)
{
	return s->shndx != SHN_UNDEF && s->shndx != SHN_COMMON && s->type != STT_SECTION && s->type != STT_FILE;
}

/* Linkers make hidden globals local: lld leaves them their visibility, ld puts them behind all files' own. */
static bool was_global(const struct lp_elf_sym *s)
{
	return s->bind != STB_LOCAL || s->visibility == STV_HIDDEN || s->visibility == STV_INTERNAL || !s->file;
}

static bool is_code_at(const struct lp_elf *e, const struct lp_elf_sym *s)
{
	const Elf64_Shdr *h = lp_elf_section(e, s->shndx);

	return h && (h->sh_flags & SHF_EXECINSTR);
}

static struct origin origin_from(const struct lp_elf *e, const struct lp_elf_sym *s)
{
	struct origin o = {.addr = s->value, .size = s->size, .type = s->type, .name = s->name};

	if (s->type == STT_TLS)
		o.addr += tls_start(e);
	else if (s->type == STT_NOTYPE)
		o.type = is_code_at(e, s) ? STT_FUNC : STT_OBJECT;
	return o;
}

static bool find_global(struct lp_elf *e, const char *name, struct origin *out)
{
	struct lp_elf_sym s;

	for (int pass = 0; pass < 2; pass++) /* what is global still, before what was */
		for (size_t at = 0; lp_elf_symbol_by_name(e, LP_SYMTAB, name, &at, &s);)
			if (is_defined(&s) && s.shndx != SHN_ABS && (pass ? was_global(&s) : s.bind != STB_LOCAL)) {
				*out = origin_from(e, &s);
				return true;
			}
	for (size_t at = 0; lp_elf_symbol_by_name(e, LP_DYNSYM, name, &at, &s);)
		if (is_defined(&s) && s.shndx != SHN_ABS) {
			*out = origin_from(e, &s);
			return true;
		}
	return false;
}

/* ---- local symbols: by the linker's map ---- */

static size_t occurrence_of(const struct object *o, uint32_t section)
{
	size_t n = 0;

	for (uint32_t i = 1; i < section; i++)
		n += !strcmp(o->sections[i].name, o->sections[section].name);
	return n;
}

static const struct lp_placement *placement_of(const struct object *o, uint32_t section)
{
	size_t n = occurrence_of(o, section);

	for (size_t i = 0; i < o->unit->nr_placements; i++) {
		const struct lp_placement *p = &o->unit->placements[i];
		if (p->occurrence == n && !strcmp(p->section, o->sections[section].name))
			return p;
	}
	return NULL;
}

/* Which of the object's symbols of that name this one is. */
static size_t rank_of(const struct object *o, const struct symbol *s)
{
	size_t n = 0;

	for (const struct symbol *other = o->symbols; other < s; other++)
		n += other->shndx != SHN_UNDEF && !strcmp(other->name, s->name);
	return n;
}

static const struct symbol *symbol_ranked(const struct object *o, const char *name, size_t rank)
{
	for (size_t i = 1; i < o->nr_symbols; i++)
		if (o->symbols[i].shndx != SHN_UNDEF && !strcmp(o->symbols[i].name, name) && !rank--)
			return &o->symbols[i];
	return NULL;
}

/* A map that belongs to another link would send us anywhere: the original's symbol table has to agree. */
static bool is_confirmed(struct lp_elf *e, const char *name, const struct origin *o)
{
	struct lp_elf_sym s;
	bool any = false;

	if (!lp_elf_symbol_count(e, LP_SYMTAB))
		return true;
	for (size_t at = 0; lp_elf_symbol_by_name(e, LP_SYMTAB, name, &at, &s);) {
		any = true;
		if (is_defined(&s) && origin_from(e, &s).addr == o->addr)
			return true;
	}
	return !any; /* stripped of its local symbols, maybe */
}

static enum origin_state find_placed(struct lp_diff *d, const struct object *before, const struct object *linked,
				     const struct symbol *s, struct origin *out)
{
	const struct symbol *t = symbol_ranked(linked, s->name, rank_of(before, s));
	const struct lp_placement *place = t && t->shndx < linked->nr_sections ? placement_of(linked, t->shndx) : NULL;

	if (!place)
		return ORIGIN_ABSENT;
	*out = (struct origin){.addr = place->addr + t->value, .size = t->size, .type = t->type, .name = s->name};
	return is_confirmed(d->in.original, s->name, out) ? ORIGIN_FOUND : ORIGIN_AMBIGUOUS;
}

/* ---- local symbols: by name and file ---- */

/* Of the STT_FILEs of the object, the one that its compiler put there first. */
static const char *source_of(const struct object *o)
{
	for (size_t i = 1; i < o->nr_symbols; i++)
		if (o->symbols[i].type == STT_FILE)
			return o->symbols[i].name;
	return NULL;
}

static enum origin_state find_in_file(struct lp_elf *e, const char *name, const char *file, struct origin *out)
{
	enum origin_state state = ORIGIN_ABSENT;
	struct lp_elf_sym s;

	for (size_t at = 0; lp_elf_symbol_by_name(e, LP_SYMTAB, name, &at, &s);) {
		if (!is_defined(&s) || s.bind != STB_LOCAL || (file && (!s.file || strcmp(s.file, file))))
			continue;
		if (state != ORIGIN_ABSENT)
			return ORIGIN_AMBIGUOUS;
		*out = origin_from(e, &s);
		state = ORIGIN_FOUND;
	}
	return state;
}

static void complete(const struct piece *p, const struct symbol *s, struct origin *o)
{
	if (p->kind == PIECE_TLS)
		o->type = STT_TLS;
	else if (p->kind == PIECE_CODE)
		o->type = s->type == STT_GNU_IFUNC ? STT_GNU_IFUNC : STT_FUNC;
	else
		o->type = STT_OBJECT;
	if (!o->size && p->kind != PIECE_CODE)
		o->size = s->size ? s->size : p->end - s->value;
}

enum origin_state lp_diff_origin_of(struct lp_diff *d, const struct piece *p, const struct symbol *entry,
				    struct origin *out)
{
	const struct symbol *s = entry ? entry : p->sym;
	const struct object *linked = d->units.items[p->obj->unit_index].linked;
	enum origin_state state = ORIGIN_ABSENT;

	if (!s)
		return ORIGIN_ABSENT;
	if (s->bind != STB_LOCAL)
		state = find_global(d->in.original, s->name, out) ? ORIGIN_FOUND : ORIGIN_ABSENT;
	if (state == ORIGIN_ABSENT && linked)
		state = find_placed(d, p->obj, linked, s, out);
	else if (state == ORIGIN_ABSENT && s->bind == STB_LOCAL)
		state = find_in_file(d->in.original, s->name, source_of(p->obj), out);
	if (state == ORIGIN_FOUND)
		complete(p, s, out);
	return state;
}

/* ---- imports ---- */

static uint8_t type_by_use(const struct ref *r)
{
	if (r->howto->formula == LP_RELOC_PLT || r->is_call)
		return STT_FUNC;
	return STT_OBJECT;
}

/* Symbols of a TLS model are thread-local whoever defines them. */
static bool is_tls_formula(unsigned formula)
{
	switch (formula) {
	case LP_RELOC_TPOFF:
	case LP_RELOC_DTPOFF:
	case LP_RELOC_GOTTP:
	case LP_RELOC_GOTTP_PAGE:
	case LP_RELOC_GOTTP_ABS:
	case LP_RELOC_GOTTP_OFF:
	case LP_RELOC_TLSGD:
	case LP_RELOC_TLSGD_PAGE:
	case LP_RELOC_TLSGD_ABS:
	case LP_RELOC_TLSGD_OFF:
	case LP_RELOC_TLSDESC_PC:
	case LP_RELOC_TLSDESC_PAGE:
	case LP_RELOC_TLSDESC_ABS:
	case LP_RELOC_TLSDESC_OFF:
		return true;
	default:
		return false;
	}
}

static struct target import(struct lp_diff *d, const struct piece *from, const struct ref *r, const char *name,
			    int64_t off, bool weak)
{
	struct target t = {.kind = TARGET_IMPORT, .name = name, .off = off, .type = type_by_use(r), .weak = weak};
	struct lp_elf_sym s;

	for (size_t at = 0; lp_elf_symbol_by_name(d->in.original, LP_DYNSYM, name, &at, &s);) {
		t.version = s.version;
		if (s.type != STT_NOTYPE)
			t.type = s.type == STT_GNU_IFUNC ? STT_FUNC : s.type;
		break;
	}
	if (is_tls_formula(r->howto->formula))
		t.type = STT_TLS;
	if (!d->is_dynamic && !weak) {
		lp_diff_refuse(d, REFUSE_UNDEFINED, name, from->obj->unit->name,
			       "%s needs %s, which is not in the statically linked original", from->name, name);
		t.kind = TARGET_NONE;
	}
	return t;
}

/* Does the original let others define this symbol first? */
static bool is_interposed(struct lp_diff *d, const struct ref *r, const char *name)
{
	struct lp_elf_sym s;

	if (!d->interposable || (r->sym && (r->sym->visibility != STV_DEFAULT || r->sym->bind == STB_LOCAL)))
		return false;
	if (r->sym && r->sym->type == STT_SECTION)
		return false;
	for (size_t at = 0; lp_elf_symbol_by_name(d->in.original, LP_DYNSYM, name, &at, &s);)
		if (is_defined(&s) && s.visibility == STV_DEFAULT)
			return r->howto->formula != LP_RELOC_PC;
	return false;
}

/* ---- refs ---- */

static struct target in_patch(enum target_kind kind, struct piece *p, int64_t off)
{
	return (struct target){.kind = kind, .piece = p, .off = off};
}

static struct target none(struct lp_diff *d, const struct piece *from, const struct piece *to, enum origin_state state)
{
	if (state == ORIGIN_AMBIGUOUS)
		lp_diff_refuse(d, REFUSE_AMBIGUOUS, to->name, to->obj->unit->name,
			       "%s refers to %s, and the original has several of that name", from->name, to->name);
	else
		lp_diff_refuse(d, REFUSE_NOT_FOUND, to->name, to->obj->unit->name,
			       "%s refers to %s, which was not found in the original", from->name, to->name);
	return (struct target){.kind = TARGET_NONE};
}

static bool is_entry(const struct piece *p, int64_t off)
{
	for (size_t i = 0; i < p->entries.nr; i++)
		if ((int64_t)(p->entries.items[i]->value - p->start) == off)
			return true;
	return false;
}

static const struct symbol *entry_at(const struct piece *p, int64_t off)
{
	for (size_t i = 0; i < p->entries.nr; i++)
		if ((int64_t)(p->entries.items[i]->value - p->start) == off)
			return p->entries.items[i];
	return p->sym;
}

static const struct symbol *entry_named(const struct piece *p, const char *name)
{
	for (size_t i = 0; i < p->entries.nr; i++)
		if (!strcmp(p->entries.items[i]->name, name))
			return p->entries.items[i];
	return NULL;
}

/* The same place in the original.  Through the entry that is at that offset, when there is one; else from the first. */
static enum origin_state origin_place(struct lp_diff *d, const struct piece *to, int64_t off, struct target *t)
{
	const struct symbol *entry = to->sym ? entry_at(to, off) : NULL;
	const struct symbol *old = entry ? entry_named(to->twin, entry->name) : NULL;
	const struct symbol *from = old ? old : to->twin->sym;
	enum origin_state state = lp_diff_origin_of(d, to->twin, from, &t->origin);

	t->kind = TARGET_ORIGIN;
	t->off = off - (int64_t)(old ? entry->value - to->start : from ? from->value - to->twin->start : 0);
	return state;
}

/* Inline functions, vtables and the like: other units of the original may have brought it along. */
static bool elsewhere_in_original(struct lp_diff *d, const struct piece *to, int64_t off, struct target *t)
{
	if (!to->sym || to->sym->bind == STB_LOCAL || !find_global(d->in.original, to->sym->name, &t->origin))
		return false;
	t->kind = TARGET_ORIGIN;
	t->off = off - (int64_t)(to->sym->value - to->start);
	return true;
}

/* Unwind tables, and the distances in jump tables, lead into the function that travels with them. */
static bool belongs_to_code(const struct piece *from, const struct ref *r)
{
	if (from->kind == PIECE_UNWIND || from->kind == PIECE_LSDA)
		return true;
	return from->by_content && r->howto->formula == LP_RELOC_PC;
}

static struct target code_target(struct lp_diff *d, const struct piece *from, const struct ref *r, struct piece *to,
				 int64_t off)
{
	struct target t = {0};
	enum origin_state state;

	if (to->parent || (to->changed && (belongs_to_code(from, r) || !is_entry(to, off))))
		return in_patch(TARGET_PIECE, to, off);
	if (!to->twin)
		return elsewhere_in_original(d, to, off, &t) ? t : in_patch(TARGET_PIECE, to, off);
	state = origin_place(d, to, off, &t);
	if (state == ORIGIN_FOUND)
		return t;
	return state == ORIGIN_ABSENT ? in_patch(TARGET_PIECE, to, off) : none(d, from, to, state);
}

static struct target data_target(struct lp_diff *d, const struct piece *from, struct piece *to, int64_t off)
{
	struct target t = {0};
	enum origin_state state;

	if (!to->twin)
		return elsewhere_in_original(d, to, off, &t) ? t : in_patch(TARGET_PIECE, to, off);
	if (to->kind == PIECE_CONST && to->changed)
		return in_patch(TARGET_PIECE, to, off);
	state = origin_place(d, to, off, &t);
	if (state == ORIGIN_FOUND)
		return t;
	if (state == ORIGIN_ABSENT && to->kind == PIECE_CONST)
		return in_patch(TARGET_PIECE, to, off);
	return none(d, from, to, state);
}

static struct target tls_target(struct lp_diff *d, const struct piece *from, struct piece *to, int64_t off)
{
	struct target t = {0};

	if (!to->twin) {
		if (elsewhere_in_original(d, to, off, &t))
			return t;
		lp_diff_refuse(d, REFUSE_NEW_TLS, to->name, to->obj->unit->name, "%s is a new thread-local variable",
			       to->name);
		return (struct target){.kind = TARGET_NONE};
	}
	enum origin_state state = origin_place(d, to, off, &t);
	return state == ORIGIN_FOUND ? t : none(d, from, to, state);
}

static struct target piece_target(struct lp_diff *d, const struct piece *from, const struct ref *r, struct piece *to,
				  int64_t off)
{
	switch (to->kind) {
	case PIECE_STRINGS:
	case PIECE_LITERALS:
		if (lp_diff_fragment_size(to, r->anchor))
			return in_patch(TARGET_FRAGMENT, to, off);
		return in_patch(TARGET_PIECE, to, off);
	case PIECE_CODE:
		return code_target(d, from, r, to, off);
	case PIECE_LSDA:
		return in_patch(TARGET_PIECE, to, off);
	case PIECE_TLS:
		return tls_target(d, from, to, off);
	case PIECE_DATA:
	case PIECE_CONST:
		return to->by_content ? in_patch(TARGET_PIECE, to, off) : data_target(d, from, to, off);
	default:
		return none(d, from, to, ORIGIN_ABSENT);
	}
}

static struct target name_target(struct lp_diff *d, const struct piece *from, const struct ref *r, const char *name,
				 int64_t off)
{
	struct piece *p = lp_diff_global(d, name);
	struct target t = {.kind = TARGET_ORIGIN, .off = off};

	if (is_interposed(d, r, name))
		return import(d, from, r, name, off, r->sym->bind == STB_WEAK);
	if (p) {
		const struct symbol *s = entry_named(p, name);
		return piece_target(d, from, r, p, off + (int64_t)((s ? s->value : p->start) - p->start));
	}
	if (find_global(d->in.original, name, &t.origin))
		return t;
	return import(d, from, r, name, off, r->sym->bind == STB_WEAK);
}

struct target lp_diff_target_of(struct lp_diff *d, const struct piece *from, const struct ref *r)
{
	if (!r->sym && !r->to) {
		lp_diff_refuse(d, REFUSE_ABSOLUTE, from->name, from->obj->unit->name,
			       "%s refers to an absolute address at +0x%" PRIx64, from->name, r->at);
		return (struct target){.kind = TARGET_NONE};
	}
	if (r->sym && r->sym->shndx == SHN_ABS) {
		lp_diff_refuse(d, REFUSE_ABSOLUTE, r->sym->name, from->obj->unit->name,
			       "%s uses the absolute symbol %s", from->name, r->sym->name);
		return (struct target){.kind = TARGET_NONE};
	}
	if (!r->to)
		return name_target(d, from, r, r->sym->name, r->off);
	/* One of several copies of an inline function stands for all. */
	const struct symbol *s = r->to->sym;
	if (s && s->bind != STB_LOCAL && !r->to->by_content && r->to != from && !belongs_to_code(from, r)) {
		if (r->sym && is_interposed(d, r, s->name))
			return import(d, from, r, s->name, r->off - (int64_t)(s->value - r->to->start), false);
		struct piece *first = lp_diff_global(d, s->name);
		if (first && first != r->to && first->obj != r->to->obj && first->changed && is_entry(r->to, r->off))
			return piece_target(d, from, r, first, r->off);
	}
	return piece_target(d, from, r, r->to, r->off);
}
