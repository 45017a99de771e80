/*
 * The ELF views: every question that can be asked is asked, of the bytes as a
 * file and as a memory image, and the pointers in the answers are followed.
 */
#include "fuzz.h"

#include <string.h>

#include "elf/elf.h"

#define MANY 64 /* of a kind; the loops over tables are bounded, but not their squares */

static volatile size_t sink;

static void look_at(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	for (size_t i = 0; p && i < len; i++)
		sink += p[i];
}

static void look_at_string(const char *s)
{
	if (s)
		sink += strlen(s);
}

static void look_at_symbol(const struct lp_elf_sym *s)
{
	look_at_string(s->name);
	look_at_string(s->version);
	look_at_string(s->file);
}

static void ask_for_headers(const struct lp_elf *e)
{
	size_t len;
	look_at_string(lp_elf_name(e));
	look_at(lp_elf_header(e), sizeof(Elf64_Ehdr));
	for (size_t i = 0; i < lp_elf_phdr_count(e); i++) {
		const Elf64_Phdr *p = lp_elf_phdr(e, i);
		look_at(lp_elf_bytes_at(e, p->p_offset, p->p_filesz), p->p_filesz);
		look_at(lp_elf_bytes_at_vaddr(e, p->p_vaddr, p->p_filesz), p->p_filesz);
		look_at(lp_elf_bytes_at_vaddr(e, p->p_vaddr + p->p_filesz - 1, 1), 1);
	}
	for (size_t i = 0; i < lp_elf_section_count(e) && i < MANY; i++) {
		const Elf64_Shdr *s = lp_elf_section(e, i);
		look_at_string(lp_elf_section_name(e, s));
		const uint8_t *data = lp_elf_section_data(e, s, &len);
		look_at(data, len);
	}
	lp_elf_section_find(e, ".text");
}

static void ask_for_dynamic(const struct lp_elf *e)
{
	struct lp_build_id id;
	uint64_t value;
	lp_elf_build_id(e, &id);
	look_at(id.bytes, id.len);
	lp_elf_dynamic(e, DT_FLAGS, &value);
	look_at_string(lp_elf_soname(e));
	for (size_t i = 0; lp_elf_needed(e, i); i++)
		look_at_string(lp_elf_needed(e, i));
}

static void ask_for_symbols(struct lp_elf *e, enum lp_symtab table)
{
	struct lp_elf_sym s, found;
	for (size_t i = 0; lp_elf_symbol(e, table, i, &s); i++) {
		look_at_symbol(&s);
		if (i >= MANY)
			continue;
		size_t cursor = 0;
		for (size_t n = 0; n < MANY && lp_elf_symbol_by_name(e, table, s.name, &cursor, &found); n++)
			look_at_symbol(&found);
		if (lp_elf_symbol_at(e, s.value + s.size / 2, &found))
			look_at_symbol(&found);
		sink += lp_elf_next_boundary(e, s.value);
	}
	lp_elf_symbol_at(e, UINT64_MAX, &found);
	lp_elf_next_boundary(e, UINT64_MAX);
}

static void ask_for_relocs(const struct lp_elf *e)
{
	struct lp_elf_rela_iter it = {0};
	struct lp_elf_rela r;
	struct lp_elf_sym s;
	while (lp_elf_rela_next(e, &it, &r, NULL) > 0)
		lp_elf_symbol(e, LP_DYNSYM, r.sym, &s);
}

static void ask_scope(struct lp_elf *e)
{
	struct lp_image image = {.name = "x", .path = "/x", .bias = 0x10000, .elf = e, .debug = e};
	struct lp_elf_sym s;
	struct lp_found bound;
	for (size_t i = 1; i < MANY && lp_elf_symbol(e, LP_DYNSYM, i, &s); i++) {
		struct lp_symspec spec = {.name = (char *)s.name, .version = (char *)s.version};
		lp_found_vec found = {0};
		lp_scope_find(&image, 1, &spec, &found, NULL);
		lp_vec_free(&found);
		lp_scope_bind(&image, 1, s.name, NULL, &bound);
		lp_scope_bind(&image, 1, s.name, s.version, &bound);
	}
}

static void ask_everything(struct lp_elf *e)
{
	ask_for_headers(e);
	ask_for_dynamic(e);
	ask_for_symbols(e, LP_SYMTAB);
	ask_for_symbols(e, LP_DYNSYM);
	ask_for_relocs(e);
	ask_scope(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_elf *e;
	struct lp_build_id id;
	if (!lp_elf_from_bytes(&e, data, size, "fuzz", NULL)) {
		ask_everything(e);
		lp_elf_close(e);
	}
	if (!lp_elf_from_memory(&e, data, size, 0x555500000000, "fuzz", NULL)) {
		ask_everything(e);
		lp_elf_close(e);
	}
	lp_elf_build_id_from_notes(data, size, &id);
	return 0;
}
