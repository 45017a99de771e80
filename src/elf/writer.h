/*
 * Writing a relocatable ELF64 little-endian object.
 *
 *     struct lp_elf_writer *w = lp_elf_writer_new(machine);
 *     uint32_t text = lp_elf_writer_section(w, &(struct lp_elf_section){.name = ".text", .type = SHT_PROGBITS, ...});
 *     uint32_t sym = lp_elf_writer_symbol(w, &(struct lp_elf_symbol){.name = "f", .shndx = text, ...});
 *     lp_elf_writer_rela(w, text, &(struct lp_elf_place_rela){.offset = 4, .type = ..., .symbol = sym, .addend = -4});
 *     rc = lp_elf_writer_finish(w, &bytes, err);
 *     lp_elf_writer_free(w);
 *
 * Sections lie in the file in the order they were added; behind them the relocation tables (".rela" + name), then .symtab,
 * .strtab and .shstrtab.  The output depends on the calls alone.  All names and bytes are copied.
 */
#ifndef LP_ELF_WRITER_H
#define LP_ELF_WRITER_H

#include <elf.h>

#include "base/buf.h"
#include "base/err.h"

struct lp_elf_writer;

struct lp_elf_section {
	const char *name;
	uint32_t type;
	uint64_t flags, addr, align, entsize; /* align 0 counts as 1 */
	const void *data;		      /* NULL for NOBITS */
	uint64_t size;
};

struct lp_elf_symbol {
	const char *name; /* NULL = none */
	uint8_t bind, type, visibility;
	uint32_t shndx; /* as lp_elf_writer_section() returned it, or SHN_UNDEF */
	uint64_t value, size;
};

struct lp_elf_place_rela {
	uint64_t offset;
	uint32_t type;
	uint32_t symbol; /* as lp_elf_writer_symbol() returned it; 0 = none */
	int64_t addend;
};

struct lp_elf_writer *lp_elf_writer_new(uint16_t machine);
void lp_elf_writer_free(struct lp_elf_writer *w); /* NULL is fine */

/* Its index in the section header table, from 1. */
uint32_t lp_elf_writer_section(struct lp_elf_writer *w, const struct lp_elf_section *s);
/* A handle for lp_elf_writer_rela(), from 1: not the final index, because local symbols go first. */
uint32_t lp_elf_writer_symbol(struct lp_elf_writer *w, const struct lp_elf_symbol *s);
void lp_elf_writer_rela(struct lp_elf_writer *w, uint32_t section, const struct lp_elf_place_rela *r);
/* Appends the object to *out.  -EFBIG for more sections than a plain header can count. */
int lp_elf_writer_finish(struct lp_elf_writer *w, struct lp_buf *out, struct lp_err *err);

#endif
