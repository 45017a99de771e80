/*
 * Data of libraries that the original does not use.
 *
 * The code of a program reaches a library's variable as if it were its own:
 * the linker gives the program a copy of it (a COPY relocation).  A fix that is
 * the first to use stderr has no copy to go to, and the library is farther
 * away than such code reaches.  A unit that does so is compiled once more, before
 * and after, with the option that sends its references to other objects' data
 * through the GOT.
 */
#include <string.h>

#include "build/build_private.h"
#include "isa/isa.h"

#define NARROW 4 /* bytes: what reaches no library */

static bool is_narrow(const struct lp_isa *isa, uint32_t type)
{
	const struct lp_reloc_howto *h = isa->howto(type);
	return h && h->width <= NARROW && (h->formula == LP_RELOC_ABS || h->formula == LP_RELOC_PC);
}

static bool has_definition(struct lp_elf *e, enum lp_symtab table, const char *name)
{
	struct lp_elf_sym s;
	for (size_t at = 0; lp_elf_symbol_by_name(e, table, name, &at, &s);)
		if (s.shndx != SHN_UNDEF)
			return true;
	return false;
}

static bool is_far(const struct lp_elf *object, struct lp_elf *original, size_t symbol)
{
	struct lp_elf_sym s;
	return lp_elf_symbol(object, LP_SYMTAB, symbol, &s) && s.shndx == SHN_UNDEF && s.name[0] &&
	       !has_definition(original, LP_SYMTAB, s.name) && !has_definition(original, LP_DYNSYM, s.name);
}

static bool section_is_far(const struct lp_isa *isa, const struct lp_elf *object, struct lp_elf *original,
			   const Elf64_Shdr *section)
{
	size_t len = 0;
	const uint8_t *data = lp_elf_section_data(object, section, &len);
	for (size_t at = 0; data && at + sizeof(Elf64_Rela) <= len; at += sizeof(Elf64_Rela)) {
		Elf64_Rela r;
		memcpy(&r, data + at, sizeof r);
		if (is_narrow(isa, ELF64_R_TYPE(r.r_info)) && is_far(object, original, ELF64_R_SYM(r.r_info)))
			return true;
	}
	return false;
}

bool lp_build_refers_far(const struct lp_elf *object, struct lp_elf *original)
{
	const struct lp_isa *isa = lp_isa_of(lp_elf_header(object)->e_machine);
	for (size_t i = 0; isa && i < lp_elf_section_count(object); i++) {
		const Elf64_Shdr *s = lp_elf_section(object, i);
		const Elf64_Shdr *of = s->sh_type == SHT_RELA ? lp_elf_section(object, s->sh_info) : NULL;
		if (of && (of->sh_flags & SHF_ALLOC) && section_is_far(isa, object, original, s))
			return true;
	}
	return false;
}
