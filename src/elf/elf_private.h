/*
 * What the files of this folder share.
 *
 * Three requirements hold everywhere here:
 *
 *  1. Only bytes_at(), vaddr_rest() and lp_strtab_get() turn a number from the
 *     file into a pointer; nothing else adds an offset to `bytes`.
 *  2. Structures are copied out of `bytes` before use: nothing in a hostile
 *     file is aligned.
 *  3. A loop over the file's own links (version chains, hash chains) either
 *     moves forward by a whole structure or counts its steps.
 */
#ifndef LP_ELF_PRIVATE_H
#define LP_ELF_PRIVATE_H

#include "elf/elf.h"

/* Strings; `len` ends just after a NUL, so any offset below it is terminated. */
struct lp_strtab {
	const char *bytes;
	size_t len;
};

/* A table of `count` structures inside the file's bytes, at any alignment. */
struct lp_elf_table {
	const uint8_t *bytes;
	size_t count;
};

struct lp_elf_symtab {
	struct lp_elf_table raw; /* Elf64_Sym */
	struct lp_strtab names;
	char *cut_names;	/* copy of `names` in which "name@VER" ends before the '@'; NULL: nothing to cut */
	LP_VEC(uint32_t) files; /* indexes of STT_FILE, ascending */

	/* Hash by name: chains of index + 1, ascending; 0 ends.  NULL until first used. */
	uint32_t *buckets;
	uint32_t *next; /* behind the buckets */
	uint32_t mask;
};

/* A relocation table, or why it cannot be used. */
struct lp_elf_reloc_table {
	struct lp_elf_table raw;
	const char *problem; /* NULL when sound */
};

/* A defined symbol as the address index sees it. */
struct lp_elf_place {
	uint64_t value, end;
	uint64_t reach; /* highest `end` of this and all earlier places */
	uint32_t index;
	uint8_t table;
	uint8_t rank;  /* among equals the higher one names the address */
	bool nameless; /* a boundary, but nothing to show to people */
};

enum { PART_RELA, PART_JMPREL, PART_RELR, PART_END };

struct lp_elf {
	char *name;
	uint8_t *bytes;
	size_t len;
	uint64_t bias; /* of a memory image: added by the loader to dynamic pointers */
	bool from_memory;
	bool debug_only; /* made by --only-keep-debug: sections have addresses but no bytes */

	Elf64_Ehdr header;
	LP_VEC(Elf64_Phdr) phdrs;
	LP_VEC(Elf64_Shdr) sections;
	struct lp_strtab section_names;

	LP_VEC(Elf64_Dyn) dynamic; /* without DT_NULL; pointers are link-time addresses */
	struct lp_strtab dynstr;
	LP_VEC(const char *) needed;

	struct lp_elf_reloc_table relocs[PART_END];
	struct lp_elf_symtab symtabs[2]; /* by enum lp_symtab */
	struct lp_elf_table versym;	 /* Elf64_Half by dynsym index */
	LP_VEC(const char *) versions;	 /* by version index; NULL: local, global or base */

	LP_VEC(struct lp_elf_place) places; /* by value; of both symbol tables */
	bool places_built;
};

/* From vaddr to the end of the file part of its PT_LOAD: at least one byte, else NULL. */
const uint8_t *lp_elf_vaddr_rest(const struct lp_elf *e, uint64_t vaddr, size_t *rest);
/* Is vaddr inside the memory of a PT_LOAD? */
bool lp_elf_vaddr_loaded(const struct lp_elf *e, uint64_t vaddr);

/* Strings up to the last NUL of bytes[0..len). */
struct lp_strtab lp_strtab_make(const uint8_t *bytes, size_t len);
/* NULL when out of bounds. */
const char *lp_strtab_get(const struct lp_strtab *t, uint64_t offset);

/* Steps of opening, in order; each uses what the earlier ones found. */
int lp_elf_read_headers(struct lp_elf *e, struct lp_err *err);
void lp_elf_read_sections(struct lp_elf *e);
void lp_elf_read_dynamic(struct lp_elf *e);
void lp_elf_read_relocs(struct lp_elf *e);
int lp_elf_read_symbols(struct lp_elf *e, struct lp_err *err); /* -ENOMEM */
void lp_elf_read_versions(struct lp_elf *e);

/* The highest dynsym index that a relocation names. */
uint32_t lp_elf_relocs_max_symbol(const struct lp_elf *e);

/* Fill in version and version_hidden of a dynsym entry. */
void lp_elf_symbol_version(const struct lp_elf *e, size_t index, struct lp_elf_sym *out);

/* Regular files only, never blocks; as lp_elf_open() but symbolic links are followed inside `root` ("" = ours). */
int lp_elf_open_in_root(struct lp_elf **out, const char *root, const char *path, struct lp_err *err);

#endif
