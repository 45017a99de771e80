/*
 * Two indexes over the symbols, each built when first asked for.
 *
 * By name: a hash table with one word per bucket and one per symbol, so that a
 * million symbols cost 12 MB.  By address: the defined symbols of both tables
 * sorted by value.  Nested and overlapping symbols are looked through from the
 * highest start down; `reach` says when no earlier one can matter any more.
 */
#include "elf/elf.h"

#include <stdlib.h>
#include <string.h>

#include "elf/elf_private.h"

/* ---- by name ---- */

static uint32_t hash_name(const char *name)
{
	uint32_t h = 5381;
	for (; *name; name++)
		h = h * 33 + (unsigned char)*name;
	return h ^ h >> 16;
}

/* Prepending from the end leaves every chain ascending. */
static bool build_names(struct lp_elf *e, enum lp_symtab table)
{
	struct lp_elf_symtab *t = &e->symtabs[table];
	size_t nr_buckets = 16;
	while (nr_buckets < t->raw.count)
		nr_buckets *= 2;
	uint32_t *all = lp_try_realloc(NULL, (nr_buckets + t->raw.count) * sizeof *all);
	if (!all)
		return false;
	memset(all, 0, (nr_buckets + t->raw.count) * sizeof *all);
	t->mask = (uint32_t)nr_buckets - 1;
	t->buckets = all;
	t->next = all + nr_buckets;
	for (size_t i = t->raw.count; i-- > 0;) {
		struct lp_elf_sym s;
		lp_elf_symbol(e, table, i, &s);
		uint32_t *bucket = &t->buckets[hash_name(s.name) & t->mask];
		if (!*s.name)
			continue;
		t->next[i] = *bucket;
		*bucket = (uint32_t)i + 1;
	}
	return true;
}

/* Where there is no memory for an index. */
static bool look_through(const struct lp_elf *e, enum lp_symtab table, const char *name, size_t *cursor,
			 struct lp_elf_sym *out)
{
	while (*cursor < e->symtabs[table].raw.count) {
		lp_elf_symbol(e, table, (*cursor)++, out);
		if (!strcmp(out->name, name))
			return true;
	}
	return false;
}

/* Where to look on: behind the symbol that the last call found, else at the head of the chain. */
static uint32_t chain_from(const struct lp_elf *e, enum lp_symtab table, const char *name, size_t cursor)
{
	const struct lp_elf_symtab *t = &e->symtabs[table];
	struct lp_elf_sym last;
	if (cursor && lp_elf_symbol(e, table, cursor - 1, &last) && !strcmp(last.name, name))
		return t->next[cursor - 1];
	return t->buckets[hash_name(name) & t->mask];
}

bool lp_elf_symbol_by_name(struct lp_elf *e, enum lp_symtab table, const char *name, size_t *cursor,
			   struct lp_elf_sym *out)
{
	struct lp_elf_symtab *t = &e->symtabs[table];
	if (!t->raw.count || !*name)
		return false;
	if (!t->buckets && !build_names(e, table))
		return look_through(e, table, name, cursor, out);
	for (uint32_t at = chain_from(e, table, name, *cursor); at; at = t->next[at - 1]) {
		if (at <= *cursor)
			continue;
		lp_elf_symbol(e, table, at - 1, out);
		if (strcmp(out->name, name))
			continue;
		*cursor = at;
		return true;
	}
	return false;
}

/* ---- by address ---- */

/* "$x", "$d.12": AAELF64 section 5.5.4 marks runs of code and data with local symbols that name nothing. */
static bool is_mapping_symbol(const struct lp_elf_sym *s)
{
	return s->bind == STB_LOCAL && s->type == STT_NOTYPE && s->name[0] == '$' && s->name[1] &&
	       (!s->name[2] || s->name[2] == '.');
}

static bool has_place(const struct lp_elf_sym *s)
{
	if (s->shndx == SHN_UNDEF || s->shndx == SHN_ABS || s->shndx == SHN_COMMON)
		return false;
	return s->type == STT_FUNC || s->type == STT_OBJECT || s->type == STT_NOTYPE || s->type == STT_GNU_IFUNC;
}

static uint8_t rank(const struct lp_elf_sym *s)
{
	unsigned type = s->type == STT_OBJECT ? 1 : s->type == STT_NOTYPE ? 0 : 2;
	unsigned bind = s->bind == STB_LOCAL ? 0 : s->bind == STB_WEAK ? 1 : 2;
	return (uint8_t)(type << 3 | bind << 1 | (s->table == LP_SYMTAB));
}

static void add_places(struct lp_elf *e, enum lp_symtab table)
{
	for (size_t i = 0; i < e->symtabs[table].raw.count; i++) {
		struct lp_elf_sym s;
		uint64_t end;
		lp_elf_symbol(e, table, i, &s);
		if (!has_place(&s))
			continue;
		if (__builtin_add_overflow(s.value, s.size, &end))
			end = UINT64_MAX;
		struct lp_elf_place place = {
			.value = s.value,
			.end = end,
			.index = (uint32_t)i,
			.table = (uint8_t)table,
			.rank = rank(&s),
			.nameless = !*s.name || is_mapping_symbol(&s),
		};
		lp_vec_push(&e->places, place);
	}
}

/* Ascending; the best name for a value comes last, where the search from above meets it first. */
static int compare_places(const void *va, const void *vb)
{
	const struct lp_elf_place *a = va, *b = vb;
	if (a->value != b->value)
		return a->value < b->value ? -1 : 1;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return a->index > b->index ? -1 : a->index < b->index;
}

static void build_places(struct lp_elf *e)
{
	e->places_built = true;
	if (e->header.e_type == ET_REL) /* values are offsets in sections, not addresses */
		return;
	add_places(e, LP_SYMTAB);
	add_places(e, LP_DYNSYM);
	if (e->places.nr)
		qsort(e->places.items, e->places.nr, sizeof *e->places.items, compare_places);
	uint64_t reach = 0;
	for (size_t i = 0; i < e->places.nr; i++) {
		reach = e->places.items[i].end > reach ? e->places.items[i].end : reach;
		e->places.items[i].reach = reach;
	}
}

/* How many places start at or below vaddr. */
static size_t places_up_to(struct lp_elf *e, uint64_t vaddr)
{
	if (!e->places_built)
		build_places(e);
	size_t low = 0, high = e->places.nr;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (e->places.items[middle].value <= vaddr)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The section that holds vaddr, else the segment.  .tbss takes no room: its addresses belong to what follows. */
static bool covering(const struct lp_elf *e, uint64_t vaddr, struct lp_range *out)
{
	for (size_t i = 0; i < e->sections.nr; i++) {
		const Elf64_Shdr *s = &e->sections.items[i];
		bool tbss = (s->sh_flags & SHF_TLS) && s->sh_type == SHT_NOBITS;
		if (!(s->sh_flags & SHF_ALLOC) || tbss || vaddr < s->sh_addr || vaddr - s->sh_addr >= s->sh_size)
			continue;
		*out = (struct lp_range){s->sh_addr, s->sh_addr + s->sh_size};
		return out->end > out->start;
	}
	for (size_t i = 0; i < e->phdrs.nr; i++) {
		const Elf64_Phdr *p = &e->phdrs.items[i];
		if (p->p_type != PT_LOAD || vaddr < p->p_vaddr || vaddr - p->p_vaddr >= p->p_memsz)
			continue;
		*out = (struct lp_range){p->p_vaddr, p->p_vaddr + p->p_memsz};
		return out->end > out->start;
	}
	return false;
}

static const struct lp_elf_place *holder(const struct lp_elf *e, size_t below, uint64_t vaddr)
{
	for (size_t i = below; i-- > 0 && e->places.items[i].reach > vaddr;)
		if (e->places.items[i].end > vaddr && !e->places.items[i].nameless)
			return &e->places.items[i];
	return NULL;
}

/* Hand-written assembly gives no sizes: its labels reach to the next symbol, but not out of their section. */
static const struct lp_elf_place *unsized_below(const struct lp_elf *e, size_t below, uint64_t vaddr)
{
	struct lp_range around;
	while (below && e->places.items[below - 1].nameless)
		below--;
	const struct lp_elf_place *p = below ? &e->places.items[below - 1] : NULL;
	if (!p || p->end != p->value || !covering(e, vaddr, &around) || !lp_range_has(around, p->value))
		return NULL;
	return p;
}

bool lp_elf_symbol_at(struct lp_elf *e, uint64_t vaddr, struct lp_elf_sym *out)
{
	size_t below = places_up_to(e, vaddr);
	const struct lp_elf_place *p = holder(e, below, vaddr);
	if (!p)
		p = unsized_below(e, below, vaddr);
	return p && lp_elf_symbol(e, p->table, p->index, out);
}

uint64_t lp_elf_next_boundary(struct lp_elf *e, uint64_t vaddr)
{
	struct lp_range around;
	if (e->header.e_type == ET_REL || !covering(e, vaddr, &around))
		return 0;
	size_t next = places_up_to(e, vaddr);
	if (next < e->places.nr && e->places.items[next].value < around.end)
		return e->places.items[next].value;
	return around.end;
}
