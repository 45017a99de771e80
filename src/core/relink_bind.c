/*
 * What the symbols of a .kpatch object are bound to, and what each relocation
 * needs of the room: a slot of a GOT, an island, a stub.
 *
 * A symbol in a section of the patch or of the original is just an address.
 * An undefined one is, in this order,
 *
 *  1. what the target's dynamic linker would bind it to;
 *  2. a global symbol of a patch that is applied, the newest first;
 *  3. a global symbol that the target has but does not export (a static
 *     program exports nothing): the image's own before that of others;
 *
 * and then 0 when it is weak, and a refusal when not.  A weak variable that the
 * patch itself defines gives way to the same symbol of an earlier patch: so
 * patches that bring the same run-time support share its variables.
 *
 * Thread-local variables of the program are at a distance from the thread
 * pointer that is known.  Those of libraries are where the dynamic linker has
 * put them: its answer is read from a slot of a GOT in the target that it has
 * filled for the same variable, or for the same module.
 */
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "core/link_private.h"
#include "core/relink_private.h"

/* The program is TLS module 1 in every libc (glibc, rtld_setup_main_map; musl, __init_tls). */
#define TLS_MODULE_OF_PROGRAM 1

/* ---- needs ---- */

static void need_slot(struct lp_relink *r, uint32_t sym, enum lp_relink_slot_kind kind)
{
	struct lp_relink_symbol *s = &r->body->symbols[sym];
	if (s->slots[kind])
		return;
	lp_vec_push(&r->body->got, ((struct lp_relink_slot){kind, sym, r->body->nr_words}));
	s->slots[kind] = r->body->nr_words + 1;
	r->body->nr_words += kind == LP_SLOT_TLS_VAR || kind == LP_SLOT_TLS_MODULE ? 2 : 1;
}

static void need_island(struct lp_relink *r, uint32_t sym, const struct lp_elf_sym *elf)
{
	struct lp_relink_symbol *s = &r->body->symbols[sym];
	if (s->island || s->kind != LP_RELINK_OUTSIDE || !s->value || elf->type == STT_OBJECT)
		return;
	lp_vec_push(&r->body->islands, sym);
	s->island = (uint32_t)r->body->islands.nr;
}

/* A load of a library's variable, of which there may be no copy in reach. */
static void need_load(struct lp_relink *r, const struct lp_kpatch_rela *rela, const struct lp_elf_sym *elf)
{
	const struct lp_relink_symbol *s = &r->body->symbols[rela->sym];
	if (s->kind != LP_RELINK_OUTSIDE || !s->value || elf->type != STT_OBJECT || !r->t->isa->far_load ||
	    !(lp_elf_section(r->k->elf, rela->section)->sh_flags & SHF_EXECINSTR))
		return;
	need_slot(r, rela->sym, LP_SLOT_ADDRESS);
	r->body->nr_loads++;
}

static uint64_t stub_for(struct lp_relink *r, lp_addr resolver)
{
	for (size_t i = 0; i < r->body->resolvers.nr; i++)
		if (r->body->resolvers.items[i] == resolver)
			return i;
	lp_vec_push(&r->body->resolvers, resolver);
	return r->body->resolvers.nr - 1;
}

/* ---- one symbol ---- */

static int bind_tls(struct lp_relink *r, struct lp_relink_symbol *s, const struct lp_elf_sym *elf, struct lp_err *err)
{
	const struct lp_image *images;
	size_t nr;
	int rc = r->t->ops->images(r->t, &images, &nr, err);
	if (rc < 0)
		return rc;
	const Elf64_Phdr *tls = lp_elf_phdr_find(images[r->image].elf, PT_TLS);
	uint64_t at = lp_elf_section(r->k->elf, elf->shndx)->sh_addr + elf->value;
	if (!tls || at < tls->p_vaddr || at - tls->p_vaddr > tls->p_memsz)
		return lp_fail(err, LP_EKPATCH, "%s: %s is not in the thread-local storage of %s", r->k->path,
			       elf->name, images[r->image].name);
	s->kind = LP_RELINK_TLS;
	s->image = r->image;
	s->value = at - tls->p_vaddr;
	return 0;
}

static int bind_earlier(struct lp_relink *r, const char *name, struct lp_relink_symbol *s, struct lp_err *err)
{
	if (!name[0])
		return 0;
	int rc = r->body->earlier.find(r->body->earlier.arg, name, &s->value, &s->size, err);
	if (rc == 1)
		s->kind = LP_RELINK_OUTSIDE;
	return rc;
}

static int bind_defined(struct lp_relink *r, struct lp_relink_symbol *s, const struct lp_elf_sym *elf,
			struct lp_err *err)
{
	bool own = lp_kpatch_is_own_section(r->k, elf->shndx);
	bool gives_way = own && elf->bind == STB_WEAK && elf->type == STT_OBJECT &&
			 (lp_elf_section(r->k->elf, elf->shndx)->sh_flags & SHF_WRITE);
	int rc = gives_way ? bind_earlier(r, elf->name, s, err) : 0;
	if (rc)
		return rc < 0 ? rc : 0;
	s->size = elf->size;
	if (elf->type == STT_GNU_IFUNC)
		return lp_fail(err, LP_ERELOC,
			       "%s: %s is an IFUNC, which a patch cannot bring: let one of its "
			       "implementations replace one of the original's",
			       r->k->path, elf->name);
	if (elf->type == STT_TLS || (lp_elf_section(r->k->elf, elf->shndx)->sh_flags & SHF_TLS))
		return bind_tls(r, s, elf, err);
	s->kind = own ? LP_RELINK_OWN : LP_RELINK_ORIGINAL;
	s->section = elf->shndx;
	s->value = own ? elf->value : r->bias + lp_elf_section(r->k->elf, elf->shndx)->sh_addr + elf->value;
	return 0;
}

static void take_bound(struct lp_relink *r, struct lp_relink_symbol *s, const struct lp_link_bound *b)
{
	s->size = b->size;
	s->pointer = b->pointer;
	s->value = b->addr;
	s->kind = LP_RELINK_OUTSIDE;
	if (b->tls) {
		s->kind = LP_RELINK_TLS;
		s->image = b->image;
	} else if (b->resolver) {
		s->kind = LP_RELINK_STUB;
		s->value = stub_for(r, b->resolver);
	}
}

static int refuse_undefined(struct lp_relink *r, const struct lp_elf_sym *elf, struct lp_err *err)
{
	int rc = lp_fail(err, LP_ENOSYM,
			 "%s: undefined symbol %s%s%s: nothing in %s defines it, and no patch that is "
			 "applied",
			 r->k->path, elf->name, elf->version ? "@" : "", elf->version ? elf->version : "", r->t->label);
	if (err)
		snprintf(err->function, sizeof err->function, "%s", elf->name);
	return rc;
}

static int bind_undefined(struct lp_relink *r, struct lp_relink_symbol *s, const struct lp_elf_sym *elf,
			  struct lp_err *err)
{
	struct lp_link_bound b;
	int rc = lp_link_bind_name(r->t, elf->name, elf->version, &b, err);
	if (rc == 1)
		take_bound(r, s, &b);
	rc = rc ? rc : bind_earlier(r, elf->name, s, err);
	if (rc == 0) {
		rc = lp_link_bind_unexported(r->t, r->image, elf->name, &b, err);
		if (rc == 1)
			take_bound(r, s, &b);
	}
	if (rc)
		return rc < 0 ? lp_err_context(err, rc, "%s", r->k->path) : 0;
	if (elf->bind != STB_WEAK)
		return refuse_undefined(r, elf, err);
	s->kind = LP_RELINK_OUTSIDE;
	s->value = 0;
	return 0;
}

static int bind_symbol(struct lp_relink *r, uint32_t sym, const struct lp_elf_sym *elf, struct lp_err *err)
{
	struct lp_relink_symbol *s = &r->body->symbols[sym];
	if (s->kind != LP_RELINK_UNUSED)
		return 0;
	if (!sym || elf->shndx == SHN_ABS) { /* no symbol: 0 */
		s->kind = LP_RELINK_OUTSIDE;
		s->value = sym ? elf->value : 0;
		return 0;
	}
	int rc = elf->shndx == SHN_UNDEF ? bind_undefined(r, s, elf, err) : bind_defined(r, s, elf, err);
	if (rc == 0 && s->kind == LP_RELINK_STUB && s->value >= LP_RELINK_IFUNCS_MAX)
		rc = lp_fail(err, LP_EKPATCH, "%s uses more than %u IFUNCs", r->k->path, LP_RELINK_IFUNCS_MAX);
	return rc;
}

/* ---- one relocation ---- */

static bool wants_tls(unsigned formula)
{
	switch (formula) {
	case LP_RELOC_TPOFF:
	case LP_RELOC_DTPMOD:
	case LP_RELOC_DTPOFF:
	case LP_RELOC_GOTTP:
	case LP_RELOC_GOTTP_PAGE:
	case LP_RELOC_GOTTP_ABS:
	case LP_RELOC_TLSGD:
	case LP_RELOC_TLSLD:
		return true;
	default:
		return false;
	}
}

static int note_needs(struct lp_relink *r, const struct lp_reloc_howto *h, const struct lp_kpatch_rela *rela,
		      const struct lp_elf_sym *elf, struct lp_err *err)
{
	switch (h->formula) {
	case LP_RELOC_ABS:
	case LP_RELOC_SYM:
	case LP_RELOC_PAGEPC:
	case LP_RELOC_GOTBASE:
	case LP_RELOC_GOTREL:
	case LP_RELOC_PLTOFF:
	case LP_RELOC_SIZE:
	case LP_RELOC_TPOFF:
	case LP_RELOC_DTPMOD:
	case LP_RELOC_DTPOFF:
		return 0;
	case LP_RELOC_PC:
	case LP_RELOC_PLT:
		need_island(r, rela->sym, elf);
		need_load(r, rela, elf);
		return 0;
	case LP_RELOC_GOTPC:
	case LP_RELOC_GOTPAGE:
	case LP_RELOC_GOTABS:
	case LP_RELOC_GOTOFF:
		need_slot(r, rela->sym, LP_SLOT_ADDRESS);
		return 0;
	case LP_RELOC_GOTTP:
		if (rela->addend == -4) /* else a slot of the original: relink.c */
			need_slot(r, rela->sym, LP_SLOT_TPOFF);
		return 0;
	case LP_RELOC_GOTTP_PAGE:
	case LP_RELOC_GOTTP_ABS:
		need_slot(r, rela->sym, LP_SLOT_TPOFF);
		return 0;
	case LP_RELOC_TLSGD:
		need_slot(r, rela->sym, LP_SLOT_TLS_VAR);
		return 0;
	case LP_RELOC_TLSLD:
		need_slot(r, rela->sym, LP_SLOT_TLS_MODULE);
		return 0;
	case LP_RELOC_TLSDESC:
	case LP_RELOC_TLSDESC_PC:
	case LP_RELOC_TLSDESC_PAGE:
	case LP_RELOC_TLSDESC_ABS:
	case LP_RELOC_TLSDESC_OFF:
		return lp_fail(
			err, LP_ERELOC,
			"%s: %s reaches %s through a TLS descriptor, which only the dynamic linker can make: compile "
			"the patch with -mtls-dialect=gnu",
			r->k->path, h->name, elf->name);
	default:
		return lp_fail(err, LP_ERELOC, "%s: %s cannot be applied in a running process", r->k->path, h->name);
	}
}

static int check_tls_use(struct lp_relink *r, const struct lp_reloc_howto *h, const struct lp_kpatch_rela *rela,
			 const struct lp_elf_sym *elf, struct lp_err *err)
{
	bool wants = wants_tls(h->formula), is = r->body->symbols[rela->sym].kind == LP_RELINK_TLS;
	/* Module relocations may name nothing: the original's own module. */
	if (wants == is || (h->formula == LP_RELOC_GOTTP && rela->addend != -4))
		return 0;
	return lp_fail(err, LP_ERELOC, "%s: %s is used as if it were %sthread-local (%s)", r->k->path,
		       elf->name[0] ? elf->name : "a symbol", is ? "not " : "", h->name);
}

/* A module's number asked for without a variable. */
static bool is_own_module(const struct lp_reloc_howto *h, const struct lp_kpatch_rela *rela)
{
	return !rela->sym && (h->formula == LP_RELOC_DTPMOD || h->formula == LP_RELOC_TLSLD);
}

static int bind_rela(struct lp_relink *r, const struct lp_kpatch_rela *rela, struct lp_err *err)
{
	const struct lp_reloc_howto *h = r->t->isa->howto(rela->type);
	const Elf64_Shdr *section = lp_elf_section(r->k->elf, rela->section);
	struct lp_elf_sym elf = {.name = ""};
	if (!h)
		return lp_fail(err, LP_ERELOC, "%s: relocation type %u in %s is unknown on %s", r->k->path, rela->type,
			       lp_elf_section_name(r->k->elf, section), r->t->isa->name);
	if (h->formula == LP_RELOC_NONE)
		return 0;
	if (h->width > section->sh_size - rela->offset)
		return lp_fail(err, LP_EKPATCH, "%s: %s reaches behind the end of %s", r->k->path, h->name,
			       lp_elf_section_name(r->k->elf, section));
	if (rela->sym && !lp_elf_symbol(r->k->elf, LP_SYMTAB, rela->sym, &elf))
		return lp_fail(err, LP_EKPATCH, "%s: there is no symbol %u", r->k->path, rela->sym);
	if (is_own_module(h, rela))
		r->body->symbols[0] = (struct lp_relink_symbol){.kind = LP_RELINK_TLS, .image = r->image};
	int rc = bind_symbol(r, rela->sym, &elf, err);
	rc = rc ? rc : check_tls_use(r, h, rela, &elf, err);
	return rc ? rc : note_needs(r, h, rela, &elf, err);
}

int lp_relink_bind(struct lp_relink *r, struct lp_err *err)
{
	struct lp_kpatch_rela_iter it = {0};
	struct lp_kpatch_rela rela;
	int rc = 0;
	while (rc == 0 && lp_kpatch_rela_next(r->k, &it, &rela))
		if (lp_kpatch_is_own_section(r->k, rela.section) || (r->k->hooks && rela.section == r->k->hooks))
			rc = bind_rela(r, &rela, err);
	return rc;
}

/* ---- thread-local storage ---- */

/* Does this dynamic relocation of images[owner] stand for offset `value` of images[image]'s block? */
static bool is_about(const struct lp_image *images, size_t nr, size_t owner, const struct lp_elf_rela *rela,
		     const struct lp_relink_symbol *s, bool module_only)
{
	struct lp_elf_sym sym;
	struct lp_found f;
	if (!rela->sym)
		return owner == s->image && (module_only || (uint64_t)rela->addend == s->value);
	if (!lp_elf_symbol(images[owner].elf, LP_DYNSYM, rela->sym, &sym))
		return false;
	if (sym.shndx != SHN_UNDEF && sym.bind == STB_LOCAL)
		return owner == s->image && (module_only || sym.value + (uint64_t)rela->addend == s->value);
	return lp_scope_bind(images, nr, sym.name, sym.version, &f) && f.image == s->image &&
	       (module_only || f.sym.value + (uint64_t)rela->addend == s->value);
}

/* What the dynamic linker has stored in the target for a relocation of that formula; 1 = found. */
static int stored_for(struct lp_relink *r, const struct lp_relink_symbol *s, unsigned formula, uint64_t *out,
		      struct lp_err *err)
{
	const struct lp_image *images;
	size_t nr;
	int rc = r->t->ops->images(r->t, &images, &nr, err);
	for (size_t i = 0; rc >= 0 && i < nr; i++) {
		struct lp_elf_rela_iter it = {0};
		struct lp_elf_rela rela;
		while (images[i].elf && lp_elf_rela_next(images[i].elf, &it, &rela, NULL) == 1) {
			const struct lp_reloc_howto *h = r->t->isa->howto(rela.type);
			uint8_t word[8];
			if (!h || h->formula != formula ||
			    !is_about(images, nr, i, &rela, s, formula == LP_RELOC_DTPMOD))
				continue;
			rc = r->t->ops->read(r->t, images[i].bias + rela.offset, word, sizeof word, err);
			*out = lp_get64(word);
			return rc < 0 ? rc : 1;
		}
	}
	return rc;
}

static int refuse_tls(struct lp_relink *r, const struct lp_relink_symbol *s, const char *what, struct lp_err *err)
{
	const struct lp_image *images;
	size_t nr;
	r->t->ops->images(r->t, &images, &nr, NULL);
	return lp_fail(err, LP_ERELOC,
		       "%s of a thread-local variable of %s (offset 0x%" PRIx64
		       ") is known to the dynamic linker alone: nothing in %s uses it in that way",
		       what, images[s->image].name, s->value, r->t->label);
}

static int thread_pointer_offset(struct lp_relink *r, const struct lp_relink_symbol *s, uint64_t *out,
				 struct lp_err *err)
{
	int64_t offset;
	if (r->t->ops->tls_offset(r->t, s->image, s->value, &offset, NULL) == 0) {
		*out = (uint64_t)offset;
		return 0;
	}
	int rc = stored_for(r, s, LP_RELOC_TPOFF, out, err);
	return rc < 0 ? rc : rc == 1 ? 0 : refuse_tls(r, s, "the distance from the thread pointer", err);
}

static int module_of(struct lp_relink *r, const struct lp_relink_symbol *s, uint64_t *out, struct lp_err *err)
{
	*out = TLS_MODULE_OF_PROGRAM;
	if (s->image == 0)
		return 0;
	int rc = stored_for(r, s, LP_RELOC_DTPMOD, out, err);
	return rc < 0 ? rc : rc == 1 ? 0 : refuse_tls(r, s, "the module number", err);
}

int lp_relink_tls_words(struct lp_relink *r, const struct lp_relink_symbol *s, enum lp_relink_slot_kind kind,
			uint64_t *first, uint64_t *second, struct lp_err *err)
{
	*first = 0;
	*second = kind == LP_SLOT_TLS_VAR ? s->value : 0;
	return kind == LP_SLOT_TPOFF ? thread_pointer_offset(r, s, first, err) : module_of(r, s, first, err);
}
