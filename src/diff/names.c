/* What names tell: sections by what they hold, symbols by what the compiler made of them. */
#include "diff/model.h"

#include <ctype.h>
#include <string.h>

/* ---- sections ---- */

enum { KIND_IGNORED = 100 };
#define PIECE_IGNORED KIND_IGNORED

static const struct {
	const char *name;
	int kind;
} section_kinds[] = {
#define SECTION(name, kind) {name, PIECE_##kind},
#include "diff/sections.def"
#undef SECTION
};

static bool is_or_begins(const char *name, const char *prefix)
{
	size_t len = strlen(prefix);

	return !strncmp(name, prefix, len) && (!name[len] || name[len] == '.');
}

static enum piece_kind kind_by_flags(const Elf64_Shdr *s)
{
	if (s->sh_flags & SHF_TLS)
		return PIECE_TLS;
	if (s->sh_flags & SHF_EXECINSTR)
		return PIECE_CODE;
	if (s->sh_flags & SHF_WRITE)
		return PIECE_DATA;
	if ((s->sh_flags & SHF_MERGE) && s->sh_entsize)
		return s->sh_flags & SHF_STRINGS ? PIECE_STRINGS : PIECE_LITERALS;
	return PIECE_CONST;
}

bool lp_diff_section_kind(const char *name, const Elf64_Shdr *s, enum piece_kind *kind)
{
	bool known = s->sh_type == SHT_PROGBITS || s->sh_type == SHT_NOBITS || s->sh_type == SHT_INIT_ARRAY ||
		     s->sh_type == SHT_FINI_ARRAY || s->sh_type == SHT_PREINIT_ARRAY ||
		     s->sh_type == 0x70000001 /* SHT_X86_64_UNWIND, as clang types .eh_frame */;

	if (!known || !((s->sh_flags & SHF_ALLOC) || is_or_begins(name, ".livepatch.hooks")))
		return false;
	for (size_t i = 0; i < LP_ARRAY_SIZE(section_kinds); i++) {
		if (!is_or_begins(name, section_kinds[i].name))
			continue;
		*kind = (enum piece_kind)section_kinds[i].kind;
		return section_kinds[i].kind != KIND_IGNORED;
	}
	*kind = kind_by_flags(s);
	return true;
}

/* ld makes __start_ and __stop_ symbols for sections whose names are C identifiers. */
bool lp_diff_is_linker_set(const char *name)
{
	if (!isalpha((unsigned char)*name) && *name != '_')
		return false;
	while (isalnum((unsigned char)*name) || *name == '_')
		name++;
	return !*name;
}

/* ---- symbols ---- */

/* "foo.12" -> 3, "foo.x" -> the whole; one number only. */
static size_t without_number(const char *name, size_t len)
{
	size_t at = len;

	while (at && isdigit((unsigned char)name[at - 1]))
		at--;
	return at > 1 && at < len && name[at - 1] == '.' ? at - 1 : len;
}

size_t lp_diff_base_length(const char *name)
{
	size_t len = strlen(name), shorter;

	while ((shorter = without_number(name, len)) < len)
		len = shorter;
	return len;
}

bool lp_diff_is_numbered(const char *name)
{
	return name[lp_diff_base_length(name)];
}

size_t lp_diff_part_of(const char *name)
{
	size_t len = without_number(name, strlen(name));

	return len > 5 && !strncmp(name + len - 5, ".cold", 5) ? len - 5 : 0;
}

bool lp_diff_is_compilers(const char *name)
{
	static const char *const names[] = {"__func__", "__FUNCTION__", "__PRETTY_FUNCTION__", "CSWTCH", "C", ""};
	size_t len = lp_diff_base_length(name);

	if (!strncmp(name, ".L", 2) || !strncmp(name, "switch.table", 12))
		return true;
	for (size_t i = 0; i < LP_ARRAY_SIZE(names); i++)
		if (name[len] && strlen(names[i]) == len && !strncmp(name, names[i], len))
			return true;
	/* clang: __func__.<function>, __PRETTY_FUNCTION__.<function> */
	return !strncmp(name, "__func__.", 9) || !strncmp(name, "__PRETTY_FUNCTION__.", 20) ||
	       !strncmp(name, "__const.", 8);
}

bool lp_diff_is_initialiser(const char *name)
{
	return !strncmp(name, "_GLOBAL__", 9) || !strncmp(name, "__cxx_global_var_init", 21) ||
	       !strncmp(name, "__cxx_global_array_dtor", 23) ||
	       !strncmp(name, "_Z41__static_initialization_and_destruction", 43);
}

/* Itanium C++ ABI 5.1.4: vtable, VTT, construction vtable, typeinfo structure and name. */
bool lp_diff_is_class_data(const char *name)
{
	return !strncmp(name, "_ZT", 3) &&
	       (name[3] == 'V' || name[3] == 'T' || name[3] == 'C' || name[3] == 'I' || name[3] == 'S');
}
