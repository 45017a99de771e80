/*
 * The first two steps of kpatch_strip: leave out what is the program's, and bind the patch to the original.
 */
#include "build/kpatch_strip.h"
#include "base/bits.h"
#include "build/kpatch_bind.h"
#include "build/kpatch_object.h"
#include "isa/isa.h"
#include "isa/linked.h"
#include "patch/kpatch.h"

#include <string.h>

bool lp_kpatch_is_linked(const struct lp_elf *e)
{
	return lp_elf_section_find(e, ".kpatch.info");
}

/* ---- strip ---- */

static bool keeps_content(const struct lp_ksection *s, bool eh_frame)
{
	static const char *const tables[] = {".symtab", ".strtab", ".shstrtab", ".symtab_shndx"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(tables); i++)
		if (!strcmp(s->name, tables[i]))
			return true;
	/* The relocations of .eh_frame make strip(1) keep the symbol of the exception handlers' personality. */
	if (!strncmp(s->name, ".rela", 5))
		return is_patch_section(s->name + 5) || (eh_frame && !strcmp(s->name, ".rela.eh_frame"));
	return is_patch_section(s->name) || (eh_frame && !strcmp(s->name, ".eh_frame"));
}

static int check_records(struct lp_ksection *info, struct lp_err *err)
{
	if (!info->data)
		return lp_fail(err, LP_EKPATCH, ".kpatch.info has no contents");
	if (info->header.sh_size % LP_KPATCH_RECORD_SIZE)
		return lp_fail(err, LP_EKPATCH, ".kpatch.info has %llu bytes, which is not a whole number of records",
			       (unsigned long long)info->header.sh_size);
	return 0;
}

/* A record of zeros ends them. */
static void end_records(struct lp_ksection *info)
{
	struct lp_buf bytes = {0};
	lp_buf_add(&bytes, info->data, info->header.sh_size);
	lp_buf_fill(&bytes, 0, LP_KPATCH_RECORD_SIZE);
	lp_ksection_set(info, bytes.data, bytes.len);
	lp_buf_free(&bytes);
}

int lp_kpatch_strip(const struct lp_elf *linked, struct lp_buf *out, struct lp_err *err)
{
	struct lp_kobject *o;
	if (!lp_kpatch_is_linked(linked))
		return lp_fail(err, LP_EKPATCH, "%s has no section .kpatch.info: nothing of a patch was linked into it",
			       lp_elf_name(linked));
	if (!lp_elf_section_find(linked, ".rela.kpatch.info"))
		return lp_fail(err, LP_EKPATCH, "%s has no relocations left: link it with -Wl,-q", lp_elf_name(linked));
	int rc = lp_kobject_open(&o, linked, err);
	if (rc < 0)
		return rc;
	rc = check_records(lp_kobject_section(o, ".kpatch.info"), err);
	if (!rc) {
		bool text = lp_kobject_section(o, ".kpatch.text");
		end_records(lp_kobject_section(o, ".kpatch.info"));
		for (size_t i = 1; i < o->sections.nr; i++) {
			struct lp_ksection *s = &o->sections.items[i];
			if (keeps_content(s, text))
				continue;
			lp_free(s->data);
			s->data = NULL;
			s->header.sh_type = SHT_NOBITS;
		}
		lp_kobject_write(o, out);
	}
	lp_kobject_free(o);
	return rc;
}

/* ---- fixup ---- */

struct fixup {
	struct binder b;
	const struct lp_isa *isa;
	uint32_t pc32; /* the relocation that stores S + A - P in four bytes */
	struct lp_kobject *o;
	lp_kpatch_told *told;
	void *arg;
	struct lp_err *err;
	LP_VEC(uint64_t) gone; /* offsets of relocations that have lost their instruction */
};

static void tell(struct fixup *f, const struct lp_elf_sym *s, int64_t addend)
{
	if (!f->told)
		return;
	char *line = lp_sprintf("Fixing up relocation %s%s%s+%llx", s->name, s->version ? "@@" : "",
				s->version ? s->version : "", (unsigned long long)addend);
	f->told(f->arg, line);
	lp_free(line);
}

static uint32_t pc32_type(const struct lp_isa *isa)
{
	for (uint32_t type = 1; type < 64; type++) {
		const struct lp_reloc_howto *h = isa->howto(type);
		if (h && h->formula == LP_RELOC_PC && h->width == 4)
			return type;
	}
	return 0;
}

/* The section symbol of the patch for a section; 0 = none. */
static size_t section_symbol(const struct lp_elf *e, const char *name)
{
	struct lp_elf_sym s;
	for (size_t i = 1; i < lp_elf_symbol_count(e, LP_SYMTAB); i++)
		if (lp_elf_symbol(e, LP_SYMTAB, i, &s) && s.type == STT_SECTION && lp_elf_section(e, s.shndx) &&
		    !strcmp(lp_elf_section_name(e, lp_elf_section(e, s.shndx)), name))
			return i;
	return 0;
}

/* What the original's GOT has to say for an access to thread-local data. */
struct wanted_slot {
	enum lp_reloc_formula formula; /* of the dynamic relocation that fills it */
	const char *name;	       /* of the variable; NULL = one by name is none of ours */
	bool placed;		       /* `offset` is known: it need not have the name */
	uint64_t offset;	       /* in the block of the original's thread-local data */
};

static struct wanted_slot wanted_slot(const struct fixup *f, const struct binding *bound, enum lp_reloc_formula access)
{
	struct wanted_slot w = {LP_RELOC_DTPMOD, NULL, true, 0};
	if (access == LP_RELOC_TLSLD) /* the block's beginning, whichever variable the code goes on to */
		return w;
	w.formula = access == LP_RELOC_GOTTP ? LP_RELOC_TPOFF : LP_RELOC_DTPMOD;
	w.name = bound->sym.name;
	w.placed = bound->kind == BOUND_ORIGINAL;
	if (w.placed)
		w.offset = lp_elf_section(f->b.original, bound->section)->sh_addr + bound->offset - f->b.tls;
	return w;
}

/* The offset that a slot without a symbol is for.  Of a pair, the loader fills the first word alone, with the module. */
static bool slot_offset(const struct lp_elf *original, const struct lp_elf_rela *r, enum lp_reloc_formula formula,
			uint64_t *out)
{
	if (formula != LP_RELOC_DTPMOD) {
		*out = (uint64_t)r->addend;
		return true;
	}
	const uint8_t *second = lp_elf_bytes_at_vaddr(original, r->offset + 8, 8);
	if (second)
		*out = lp_get64(second);
	return second;
}

static bool is_wanted_slot(const struct lp_elf *original, const struct lp_elf_rela *r, const struct wanted_slot *w)
{
	struct lp_elf_sym s;
	uint64_t offset;
	if (r->sym)
		return w->name && !r->addend && lp_elf_symbol(original, LP_DYNSYM, r->sym, &s) &&
		       !strcmp(s.name, w->name);
	return w->placed && slot_offset(original, r, w->formula, &offset) && offset == w->offset;
}

/* The original's GOT slot that the loader fills for such an access, the first of two for a general one; 0 = none. */
static uint64_t got_slot(const struct fixup *f, const struct wanted_slot *w)
{
	struct lp_elf_rela_iter it = {0};
	struct lp_elf_rela r;
	while (lp_elf_rela_next(f->b.original, &it, &r, NULL) == 1) {
		const struct lp_reloc_howto *h = f->isa->howto(r.type);
		if (h && h->formula == w->formula && is_wanted_slot(f->b.original, &r, w))
			return r.offset;
	}
	return 0;
}

static bool same_tls_layout(struct fixup *f)
{
	static const char *const names[] = {".tdata", ".tbss"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(names); i++) {
		const Elf64_Shdr *a = lp_elf_section_find(f->b.original, names[i]);
		const Elf64_Shdr *b = lp_elf_section_find(f->b.patch, names[i]);
		if (!a != !b || (a && (a->sh_size != b->sh_size || a->sh_addralign != b->sh_addralign)))
			return false;
	}
	return true;
}

/* The code holds the variable's offset, which the linker worked out for the patched program. */
static int keep_constant(struct fixup *f, struct lp_linked_reloc *r, const struct binding *bound)
{
	const Elf64_Shdr *there = bound->kind == BOUND_ORIGINAL ? lp_elf_section(f->b.original, bound->section) : NULL;
	uint64_t offset = there ? there->sh_addr + bound->offset - f->b.tls : 0;
	if (!there || !same_tls_layout(f) || (bound->sym.type == STT_TLS && offset != bound->sym.value))
		return lp_fail(f->err, LP_ERELOC,
			       "TLS symbol %s has different offset in the original and in the patched program: a patch "
			       "cannot add "
			       "thread-local variables",
			       bound->sym.name);
	r->type = 0;
	return 0;
}

/* An access through a slot of the GOT: the original's own, where it has one.  Otherwise livepatch makes one. */
static void through_original_slot(struct fixup *f, struct lp_linked_reloc *r, size_t *symbol,
				  const struct binding *bound, enum lp_reloc_formula access)
{
	struct wanted_slot w = wanted_slot(f, bound, access);
	uint64_t slot = got_slot(f, &w);
	const Elf64_Shdr *got = lp_elf_section_find(f->b.original, ".got");
	size_t got_symbol = section_symbol(f->b.patch, ".got");
	if (!slot || !got || !got_symbol || slot < got->sh_addr || slot - got->sh_addr >= got->sh_size || !f->pc32)
		return;
	r->type = f->pc32;
	r->addend = (int64_t)((uint64_t)r->addend + (slot - got->sh_addr));
	*symbol = got_symbol;
}

static int fix_type(struct fixup *f, struct lp_ksection *target, struct lp_linked_reloc *r, size_t *symbol,
		    const struct binding *bound)
{
	const struct lp_reloc_howto *h = f->isa->howto(r->type);
	if (!h)
		return lp_fail(f->err, LP_ERELOC, "relocation type %u in %s is not known", r->type, target->name);
	switch (h->formula) {
	case LP_RELOC_TPOFF:
	case LP_RELOC_DTPOFF:
		return bound->kind == BOUND_DYNAMIC ? 0 : keep_constant(f, r, bound);
	case LP_RELOC_GOTTP:
	case LP_RELOC_TLSGD:
	case LP_RELOC_TLSLD:
		through_original_slot(f, r, symbol, bound, h->formula);
		return 0;
	default:
		r->type = f->isa->relax(r->type, target->data, r->offset, r->addend,
					bound->kind == BOUND_OWN || bound->kind == BOUND_ORIGINAL);
		return 0;
	}
}

static bool is_gone(const struct fixup *f, uint64_t offset)
{
	for (size_t i = 0; i < f->gone.nr; i++)
		if (f->gone.items[i] == offset)
			return true;
	return false;
}

static int fix_one(struct fixup *f, struct lp_ksection *target, Elf64_Rela *rela)
{
	struct binding bound;
	size_t symbol = ELF64_R_SYM(rela->r_info);
	struct lp_linked_reloc r = {ELF64_R_TYPE(rela->r_info), rela->r_offset - target->header.sh_addr,
				    rela->r_addend};
	const struct lp_reloc_howto *h = f->isa->howto(r.type);
	if (!h || rela->r_offset < target->header.sh_addr || r.offset > target->header.sh_size ||
	    h->width > target->header.sh_size - r.offset)
		return lp_fail(f->err, LP_EELF, "%s: a relocation of %s lies outside of it", lp_elf_name(f->b.patch),
			       target->name);
	int rc = binder_bind(&f->b, symbol, !strcmp(target->name, ".kpatch.info"), &bound, f->err);
	if (rc < 0)
		return rc;
	if (bound.kind != BOUND_OWN && bound.kind != BOUND_NOWHERE && bound.sym.type != STT_SECTION)
		tell(f, &bound.sym, r.addend);
	uint64_t gone = UINT64_MAX;
	if (is_gone(f, r.offset))
		r.type = 0;
	else
		lp_linked_tls(f->isa->elf_machine, target->data, target->header.sh_size, f->b.program, &r, &gone);
	if (gone != UINT64_MAX)
		lp_vec_push(&f->gone, gone);
	if (r.type && bound.kind != BOUND_NOWHERE)
		rc = fix_type(f, target, &r, &symbol, &bound);
	rela->r_offset = r.offset + target->header.sh_addr;
	rela->r_addend = r.type ? r.addend : 0;
	rela->r_info = r.type ? ELF64_R_INFO(symbol, r.type) : 0;
	return rc;
}

static int fix_section(struct fixup *f, size_t section)
{
	size_t nr, target;
	if (!patch_relocations(f->b.patch, section, &nr, &target))
		return 0;
	struct lp_ksection *s = &f->o->sections.items[section], *t = &f->o->sections.items[target];
	f->gone.nr = 0;
	for (size_t i = 0; i < nr; i++) {
		Elf64_Rela rela;
		memcpy(&rela, s->data + i * sizeof rela, sizeof rela);
		if (!ELF64_R_TYPE(rela.r_info))
			continue;
		if (!t->data)
			return lp_fail(f->err, LP_EELF, "%s: section %s has relocations and no contents",
				       lp_elf_name(f->b.patch), t->name);
		int rc = fix_one(f, t, &rela);
		if (rc < 0)
			return lp_err_context(f->err, rc, "%s+0x%llx", t->name,
					      (unsigned long long)(rela.r_offset - t->header.sh_addr));
		memcpy(s->data + i * sizeof rela, &rela, sizeof rela);
	}
	return 0;
}

int lp_kpatch_fixup(struct lp_elf *original, struct lp_elf *patch, lp_kpatch_told *told, void *arg, struct lp_buf *out,
		    struct lp_err *err)
{
	struct fixup f = {.told = told, .arg = arg, .err = err, .isa = lp_isa_of(lp_elf_header(patch)->e_machine)};
	if (!f.isa || lp_elf_header(original)->e_machine != f.isa->elf_machine)
		return lp_fail(err, LP_EISA, "%s and %s are not for the same instruction set, or it is not supported",
			       lp_elf_name(original), lp_elf_name(patch));
	int rc = lp_kobject_open(&f.o, patch, err);
	if (rc < 0)
		return rc;
	f.pc32 = pc32_type(f.isa);
	binder_init(&f.b, original, patch);
	for (size_t i = 1; i < f.o->sections.nr && !rc; i++)
		rc = fix_section(&f, i);
	if (!rc)
		lp_kobject_write(f.o, out);
	lp_vec_free(&f.gone);
	lp_kobject_free(f.o);
	return rc;
}
