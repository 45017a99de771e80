/*
 * The original is checked, not assumed.  With one build-id, the rebuilt original and the target are the same by construction.
 * Without, whatever the patch replaces or refers to must lie at the same address with the same bytes in both: same source,
 * compiler and flags give the same code, whatever else (paths in debug information, say) made the build-ids differ.
 */
#include "diff/model.h"

#include <string.h>

static bool is_code_or_constant(const struct lp_elf *e, uint64_t addr)
{
	for (size_t i = 1; i < lp_elf_section_count(e); i++) {
		const Elf64_Shdr *s = lp_elf_section(e, i);
		if ((s->sh_flags & SHF_ALLOC) && !(s->sh_flags & SHF_TLS) && addr >= s->sh_addr &&
		    addr - s->sh_addr < s->sh_size)
			return !(s->sh_flags & SHF_WRITE);
	}
	return false;
}

static void refuse(struct lp_diff *d, const char *name, const char *unit, const char *what)
{
	lp_diff_refuse(d, REFUSE_ORIGINAL, name, unit, "%s of %s in %s is not what was rebuilt", what, name,
		       lp_elf_name(d->target));
}

/* ---- bytes ---- */

static void check_bytes(struct lp_diff *d, const struct origin *o, const char *unit)
{
	const uint8_t *ours, *theirs;

	if (!o->size || !is_code_or_constant(d->in.original, o->addr))
		return;
	ours = lp_elf_bytes_at_vaddr(d->in.original, o->addr, o->size);
	theirs = lp_elf_bytes_at_vaddr(d->target, o->addr, o->size);
	if (!ours || !theirs || memcmp(ours, theirs, o->size))
		refuse(d, o->name, unit, o->type == STT_FUNC ? "the code" : "the data");
}

/* ---- places ---- */

static struct lp_elf *with_symbols(const struct lp_diff *d)
{
	if (lp_elf_symbol_count(d->target, LP_SYMTAB))
		return d->target;
	return d->in.target_debug && lp_elf_symbol_count(d->in.target_debug, LP_SYMTAB) ? d->in.target_debug : NULL;
}

static uint64_t value_of(const struct lp_elf *e, const struct origin *o)
{
	const Elf64_Phdr *tls = o->type == STT_TLS ? lp_elf_phdr_find(e, PT_TLS) : NULL;

	return o->addr - (tls ? tls->p_vaddr : 0);
}

static void check_symbol(struct lp_diff *d, const struct origin *o, const char *unit)
{
	struct lp_elf *e = with_symbols(d);
	struct lp_elf_sym s;
	bool any = false;

	if (!e)
		return;
	for (size_t at = 0; lp_elf_symbol_by_name(e, LP_SYMTAB, o->name, &at, &s);) {
		if (s.value == value_of(e, o))
			return;
		any = true;
	}
	if (any)
		refuse(d, o->name, unit, "the address");
}

/* Sections survive stripping: data lies where it lay when theirs begin where ours do. */
static const Elf64_Shdr *section_at(const struct lp_elf *e, uint64_t addr, bool tls)
{
	for (size_t i = 1; i < lp_elf_section_count(e); i++) {
		const Elf64_Shdr *s = lp_elf_section(e, i);
		if ((s->sh_flags & SHF_ALLOC) && !(s->sh_flags & SHF_TLS) == !tls && addr >= s->sh_addr &&
		    addr - s->sh_addr < s->sh_size)
			return s;
	}
	return NULL;
}

static void check_section(struct lp_diff *d, const struct origin *o, const char *unit)
{
	const Elf64_Shdr *ours = section_at(d->in.original, o->addr, o->type == STT_TLS), *theirs;

	if (!ours || !lp_elf_section_count(d->target))
		return;
	theirs = lp_elf_section_find(d->target, lp_elf_section_name(d->in.original, ours));
	if (!theirs || theirs->sh_addr != ours->sh_addr || theirs->sh_size != ours->sh_size)
		refuse(d, o->name, unit, "the section");
}

static void check_origin(struct lp_diff *d, const struct origin *o, const char *unit)
{
	if (d->same_build)
		return;
	check_section(d, o, unit);
	check_symbol(d, o, unit);
	check_bytes(d, o, unit);
}

/* ---- one function, two names ---- */

static bool has_entry(const struct piece *p, const char *name)
{
	for (size_t i = 0; i < p->entries.nr; i++)
		if (!strcmp(p->entries.items[i]->name, name))
			return true;
	return false;
}

/* The compiler folded them before, and keeps them apart now. */
static void check_split(struct lp_diff *d, const struct replacement *r)
{
	struct object *after = r->piece->obj;

	for (size_t i = 0; i < r->before->entries.nr; i++) {
		const struct symbol *s = r->before->entries.items[i];
		const struct piece *p = lp_diff_code_named(after, s->name, strlen(s->name));
		if (p && p != r->piece && strcmp(s->name, r->entry->name))
			lp_diff_refuse(d, REFUSE_SHARED_CODE, r->piece->name, after->unit->name,
				       "%s and %s are one function in the original", r->piece->name, s->name);
	}
}

static void check_shared(struct lp_diff *d, const struct replacement *r)
{
	struct lp_elf_sym s;

	for (size_t i = 0; lp_elf_symbol(d->in.original, LP_SYMTAB, i, &s); i++)
		if (s.type == STT_FUNC && s.value == r->origin.addr && s.shndx != SHN_UNDEF && *s.name &&
		    strcmp(s.name, r->origin.name) && !has_entry(r->before, s.name))
			lp_diff_refuse(d, REFUSE_SHARED_CODE, r->piece->name, r->piece->obj->unit->name,
				       "%s and %s are one function in the original", r->piece->name, s.name);
}

void lp_diff_check_original(struct lp_diff *d)
{
	for (size_t i = 0; i < d->replaced.nr; i++) {
		struct replacement *r = &d->replaced.items[i];
		check_origin(d, &r->origin, r->piece->obj->unit->name);
		check_shared(d, r);
		check_split(d, r);
	}
	for (size_t i = 0; !d->same_build && i < d->included.nr; i++) {
		const struct piece *p = d->included.items[i];
		for (size_t k = 0; k < p->refs.nr; k++) {
			struct target t = lp_diff_target_of(d, p, &p->refs.items[k]);
			if (t.kind == TARGET_ORIGIN)
				check_origin(d, &t.origin, p->obj->unit->name);
		}
	}
}
