/*
 * Sections.  Nothing that runs depends on them: a table that is missing or
 * out of bounds makes a file without sections, not a bad file.
 */
#include "elf/elf.h"

#include <string.h>

#include "elf/elf_private.h"

/* gABI, "Sections": counts too large for the header stand in section 0. */
static uint64_t section_count(const struct lp_elf *e)
{
	if (e->header.e_shnum)
		return e->header.e_shnum;
	const uint8_t *first = lp_elf_bytes_at(e, e->header.e_shoff, sizeof(Elf64_Shdr));
	if (!first)
		return 0;
	Elf64_Shdr s;
	memcpy(&s, first, sizeof s);
	return s.sh_size;
}

static uint32_t names_index(const struct lp_elf *e)
{
	if (e->header.e_shstrndx == SHN_XINDEX)
		return e->sections.items[0].sh_link;
	return e->header.e_shstrndx;
}

/* --only-keep-debug turns code into NOBITS; nothing else makes code without bytes. */
static bool is_debug_only(const struct lp_elf *e)
{
	const uint64_t code = SHF_ALLOC | SHF_EXECINSTR;
	for (size_t i = 0; i < e->sections.nr; i++) {
		const Elf64_Shdr *s = &e->sections.items[i];
		if (s->sh_type == SHT_NOBITS && (s->sh_flags & code) == code && s->sh_size)
			return true;
	}
	return false;
}

void lp_elf_read_sections(struct lp_elf *e)
{
	if (e->from_memory || !e->header.e_shoff || e->header.e_shentsize != sizeof(Elf64_Shdr))
		return;
	uint64_t count = section_count(e);
	if (!count || count > e->len / sizeof(Elf64_Shdr))
		return;
	const uint8_t *table = lp_elf_bytes_at(e, e->header.e_shoff, count * sizeof(Elf64_Shdr));
	if (!table)
		return;
	e->sections.items = lp_memdup(table, count * sizeof(Elf64_Shdr));
	e->sections.nr = e->sections.cap = count;

	size_t len;
	const Elf64_Shdr *names = lp_elf_section(e, names_index(e));
	const uint8_t *bytes = names ? lp_elf_section_data(e, names, &len) : NULL;
	if (bytes)
		e->section_names = lp_strtab_make(bytes, len);
	e->debug_only = is_debug_only(e);
}

size_t lp_elf_section_count(const struct lp_elf *e)
{
	return e->sections.nr;
}

const Elf64_Shdr *lp_elf_section(const struct lp_elf *e, size_t i)
{
	return i < e->sections.nr ? &e->sections.items[i] : NULL;
}

const Elf64_Shdr *lp_elf_section_find(const struct lp_elf *e, const char *name)
{
	for (size_t i = 1; i < e->sections.nr; i++)
		if (!strcmp(lp_elf_section_name(e, &e->sections.items[i]), name))
			return &e->sections.items[i];
	return NULL;
}

const char *lp_elf_section_name(const struct lp_elf *e, const Elf64_Shdr *s)
{
	const char *name = lp_strtab_get(&e->section_names, s->sh_name);
	return name ? name : "";
}

const uint8_t *lp_elf_section_data(const struct lp_elf *e, const Elf64_Shdr *s, size_t *len)
{
	*len = 0;
	if (s->sh_type == SHT_NOBITS || s->sh_type == SHT_NULL)
		return NULL;
	const uint8_t *bytes = lp_elf_bytes_at(e, s->sh_offset, s->sh_size);
	if (bytes)
		*len = s->sh_size;
	return bytes;
}
