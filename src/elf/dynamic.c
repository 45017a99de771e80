/*
 * PT_DYNAMIC, read as the dynamic linker reads it: at its address, up to the
 * first DT_NULL.  Section headers are not asked; they may lie or be gone.
 */
#include "elf/elf.h"

#include <string.h>

#include "elf/elf_private.h"

/* What glibc relocates in place when the segment is writable (elf/get-dynamic-info.h); musl leaves all alone. */
static const int64_t relocated_tags[] = {
	DT_HASH, DT_PLTGOT, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_REL, DT_RELR, DT_JMPREL, DT_VERSYM, DT_GNU_HASH,
};

static bool is_relocated_tag(int64_t tag)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(relocated_tags); i++)
		if (relocated_tags[i] == tag)
			return true;
	return false;
}

/* A position-independent image is linked near 0 and loaded far from it: no address is both. */
static uint64_t link_time_address(const struct lp_elf *e, uint64_t value)
{
	if (!lp_elf_vaddr_loaded(e, value) && lp_elf_vaddr_loaded(e, value - e->bias))
		return value - e->bias;
	return value;
}

static void read_entries(struct lp_elf *e)
{
	const Elf64_Phdr *p = lp_elf_phdr_find(e, PT_DYNAMIC);
	size_t rest;
	const uint8_t *bytes = p ? lp_elf_vaddr_rest(e, p->p_vaddr, &rest) : NULL;
	if (!bytes)
		return;
	if (rest > p->p_filesz)
		rest = p->p_filesz;
	for (size_t i = 0; i < rest / sizeof(Elf64_Dyn); i++) {
		Elf64_Dyn d;
		memcpy(&d, bytes + i * sizeof d, sizeof d);
		if (d.d_tag == DT_NULL)
			return;
		if (e->from_memory && is_relocated_tag(d.d_tag))
			d.d_un.d_ptr = link_time_address(e, d.d_un.d_ptr);
		lp_vec_push(&e->dynamic, d);
	}
}

static void read_strings(struct lp_elf *e)
{
	uint64_t at, size;
	size_t rest;
	if (!lp_elf_dynamic(e, DT_STRTAB, &at) || !lp_elf_dynamic(e, DT_STRSZ, &size))
		return;
	const uint8_t *bytes = lp_elf_vaddr_rest(e, at, &rest);
	if (bytes)
		e->dynstr = lp_strtab_make(bytes, size < rest ? size : rest);
}

void lp_elf_read_dynamic(struct lp_elf *e)
{
	read_entries(e);
	read_strings(e);
	for (size_t i = 0; i < e->dynamic.nr; i++) {
		const char *name = lp_strtab_get(&e->dynstr, e->dynamic.items[i].d_un.d_val);
		if (e->dynamic.items[i].d_tag == DT_NEEDED && name)
			lp_vec_push(&e->needed, name);
	}
}

bool lp_elf_dynamic(const struct lp_elf *e, int64_t tag, uint64_t *value)
{
	for (size_t i = 0; i < e->dynamic.nr; i++) {
		if (e->dynamic.items[i].d_tag != tag)
			continue;
		*value = e->dynamic.items[i].d_un.d_val;
		return true;
	}
	return false;
}

const char *lp_elf_needed(const struct lp_elf *e, size_t i)
{
	return i < e->needed.nr ? e->needed.items[i] : NULL;
}

const char *lp_elf_soname(const struct lp_elf *e)
{
	uint64_t offset;
	return lp_elf_dynamic(e, DT_SONAME, &offset) ? lp_strtab_get(&e->dynstr, offset) : NULL;
}
