/*
 * Where the original has what the patch refers to.
 *
 * The patch was linked into a copy of the program whose own sections have the same contents as the original's, but other
 * addresses: the patch's sections stand between them.  So
 *
 *   - a name that is global is looked up in the original's symbol table (where the linker may have put copies of
 *     library variables, and library functions' PLT entries: those count as the program's);
 *   - anything else is where it is in its section, and a section of another size is refused;
 *   - in a shared library, names that another module may override stay undefined, and are looked up in the
 *     process as the library's own references were.
 */
#include "build/kpatch_bind.h"

#include <string.h>

bool is_patch_section(const char *name)
{
	return !strncmp(name, ".kpatch", 7) || !strncmp(name, ".livepatch", 10);
}

const uint8_t *patch_relocations(const struct lp_elf *e, size_t section, size_t *nr, size_t *target)
{
	const Elf64_Shdr *s = lp_elf_section(e, section);
	const char *name = s ? lp_elf_section_name(e, s) : "";
	if (!s || s->sh_type != SHT_RELA || strncmp(name, ".rela", 5) || !is_patch_section(name + 5))
		return NULL;
	size_t len;
	const uint8_t *data = lp_elf_section_data(e, s, &len);
	if (!data || !lp_elf_section(e, s->sh_info))
		return NULL;
	*nr = len / sizeof(Elf64_Rela);
	*target = s->sh_info;
	return data;
}

static bool is_program(const struct lp_elf *e)
{
	uint64_t flags = 0;
	if (lp_elf_header(e)->e_type != ET_DYN || lp_elf_phdr_find(e, PT_INTERP))
		return true;
	if (lp_elf_dynamic(e, DT_FLAGS_1, &flags) && (flags & DF_1_PIE))
		return true;
	return lp_elf_dynamic(e, DT_SYMBOLIC, &flags) || (lp_elf_dynamic(e, DT_FLAGS, &flags) && (flags & DF_SYMBOLIC));
}

void binder_init(struct binder *b, struct lp_elf *original, struct lp_elf *patch)
{
	const Elf64_Phdr *tls = lp_elf_phdr_find(original, PT_TLS);
	*b = (struct binder){
		.original = original, .patch = patch, .program = is_program(original), .tls = tls ? tls->p_vaddr : 0};
}

/* Section number of the original that has this name; 0 = none. */
static size_t original_section(const struct lp_elf *e, const char *name)
{
	for (size_t i = 1; i < lp_elf_section_count(e); i++)
		if (!strcmp(lp_elf_section_name(e, lp_elf_section(e, i)), name))
			return i;
	return 0;
}

static size_t section_holding(const struct lp_elf *e, uint64_t vaddr)
{
	for (size_t i = 1; i < lp_elf_section_count(e); i++) {
		const Elf64_Shdr *s = lp_elf_section(e, i);
		bool tbss = (s->sh_flags & SHF_TLS) && s->sh_type == SHT_NOBITS; /* takes no addresses */
		if ((s->sh_flags & SHF_ALLOC) && !tbss && vaddr >= s->sh_addr && vaddr - s->sh_addr < s->sh_size)
			return i;
	}
	return 0;
}

static bool global_in_original(struct binder *b, const struct lp_elf_sym *want, struct lp_elf_sym *out)
{
	static const enum lp_symtab tables[] = {LP_SYMTAB, LP_DYNSYM};
	for (size_t t = 0; t < LP_ARRAY_SIZE(tables); t++) {
		size_t cursor = 0;
		while (lp_elf_symbol_by_name(b->original, tables[t], want->name, &cursor, out)) {
			bool plt_entry = out->shndx == SHN_UNDEF && out->value && out->type == STT_FUNC;
			if (out->bind != STB_LOCAL && (out->shndx != SHN_UNDEF || plt_entry))
				return true;
		}
	}
	return false;
}

static bool overridable(struct binder *b, const struct lp_elf_sym *s)
{
	struct lp_elf_sym dynamic;
	size_t cursor = 0;
	if (b->program || s->bind == STB_LOCAL || s->visibility != STV_DEFAULT)
		return false;
	return lp_elf_symbol_by_name(b->original, LP_DYNSYM, s->name, &cursor, &dynamic) && dynamic.shndx != SHN_UNDEF;
}

static int bind_by_address(struct binder *b, const struct lp_elf_sym *found, struct binding *out, struct lp_err *err)
{
	const Elf64_Shdr *s;
	if (found->type == STT_TLS) {
		out->section = found->shndx;
		s = lp_elf_section(b->original, found->shndx);
		if (!s || !(s->sh_flags & SHF_TLS))
			return lp_fail(err, LP_EELF, "%s: %s is not in a section for thread-local data",
				       lp_elf_name(b->original), found->name);
		out->offset = found->value + b->tls - s->sh_addr;
		return 0;
	}
	out->section = section_holding(b->original, found->value);
	if (!out->section) { /* the end of a section is a place, too: _end, __bss_start */
		out->section = found->shndx < SHN_LORESERVE ? found->shndx : 0;
		if (!lp_elf_section(b->original, out->section) || !out->section)
			return lp_fail(err, LP_ENOSYM, "%s has %s outside of all its sections",
				       lp_elf_name(b->original), found->name);
	}
	s = lp_elf_section(b->original, out->section);
	out->offset = found->value - s->sh_addr;
	return 0;
}

/* Where the linked program's block of thread-local data begins: its program headers are gone. */
static uint64_t tls_begin(const struct lp_elf *e)
{
	uint64_t low = UINT64_MAX;
	for (size_t i = 1; i < lp_elf_section_count(e); i++) {
		const Elf64_Shdr *s = lp_elf_section(e, i);
		if ((s->sh_flags & SHF_TLS) && s->sh_addr < low)
			low = s->sh_addr;
	}
	return low;
}

static int bind_by_place(struct binder *b, struct binding *out, struct lp_err *err)
{
	const Elf64_Shdr *here = lp_elf_section(b->patch, out->sym.shndx);
	const char *name = here ? lp_elf_section_name(b->patch, here) : "";
	out->section = original_section(b->original, name);
	const Elf64_Shdr *there = lp_elf_section(b->original, out->section);
	if (!here || !out->section)
		return lp_fail(err, LP_ENOSYM, "%s has no section %s, which the patch refers to (%s)",
			       lp_elf_name(b->original), name, out->sym.name);
	/* Slots of the GOT are looked up in the original alone (kpatch_strip.c). */
	if (here->sh_size != there->sh_size && strcmp(name, ".got") != 0)
		return lp_fail(err, LP_ECHANGED,
			       "section %s has %llu bytes in the original and %llu in the patched program, so that "
			       "nothing in it can be "
			       "found by its place: build both from the same sources with the same options, and let "
			       "kpatch_gensrc --force-gotpcrel reach variables of libraries",
			       name, (unsigned long long)there->sh_size, (unsigned long long)here->sh_size);
	if (out->sym.type == STT_SECTION)
		out->offset = 0;
	else if (out->sym.type == STT_TLS)
		out->offset = out->sym.value + tls_begin(b->patch) - here->sh_addr;
	else
		out->offset = out->sym.value - here->sh_addr;
	return 0;
}

static int bind_original(struct binder *b, bool own_entry, struct binding *out, struct lp_err *err)
{
	struct lp_elf_sym found;
	bool global = out->sym.bind != STB_LOCAL && out->sym.type != STT_SECTION;
	out->kind = BOUND_ORIGINAL;
	if (global && !own_entry && overridable(b, &out->sym)) {
		out->kind = BOUND_DYNAMIC;
		return 0;
	}
	if (out->sym.type == STT_GNU_IFUNC)
		return lp_fail(err, LP_ERELOC,
			       "the patch refers to %s, which chooses its code when the program starts (IFUNC): build "
			       "the patch "
			       "with livepatch build",
			       out->sym.name);
	if (global && global_in_original(b, &out->sym, &found))
		return bind_by_address(b, &found, out, err);
	if (global && out->sym.version) /* a copy of a library's variable, which the original does not have */
		return lp_fail(err, LP_ENOSYM,
			       "%s is a library's, and the original has no copy of it: compile with -fPIC, or let "
			       "kpatch_gensrc "
			       "--force-gotpcrel reach it",
			       out->sym.name);
	return bind_by_place(b, out, err);
}

int binder_bind(struct binder *b, size_t symbol, bool own_entry, struct binding *out, struct lp_err *err)
{
	*out = (struct binding){.kind = BOUND_NOWHERE};
	if (!symbol)
		return 0;
	if (!lp_elf_symbol(b->patch, LP_SYMTAB, symbol, &out->sym))
		return lp_fail(err, LP_EELF, "%s: a relocation names symbol %zu, which does not exist",
			       lp_elf_name(b->patch), symbol);
	const Elf64_Shdr *s = lp_elf_section(b->patch, out->sym.shndx);
	if (out->sym.shndx == SHN_UNDEF) {
		struct lp_elf_sym found;
		out->kind = BOUND_DYNAMIC;
		/* The PLT entry that is a function's address in a program that is not position independent. */
		if (out->sym.value && out->sym.type == STT_FUNC && b->program &&
		    global_in_original(b, &out->sym, &found)) {
			out->kind = BOUND_ORIGINAL;
			return bind_by_address(b, &found, out, err);
		}
		return 0;
	}
	if (out->sym.shndx >= SHN_LORESERVE || !s)
		return lp_fail(err, LP_ERELOC, "the patch refers to %s, which has no section", out->sym.name);
	if (!is_patch_section(lp_elf_section_name(b->patch, s)))
		return bind_original(b, own_entry, out, err);
	out->kind = BOUND_OWN;
	out->section = out->sym.shndx;
	out->offset = out->sym.type == STT_SECTION ? 0 : out->sym.value - s->sh_addr;
	return 0;
}
