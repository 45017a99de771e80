/*
 * What is read of an ELF file before it is mapped: header, program headers,
 * the interpreter's name, the property note.  Not elf/: that reads whole files,
 * and a program of 200 MB shall begin at once.
 *
 * Everything in `struct lp_program` has been checked: no sum overflows, no
 * segment reaches beyond the file or the address space.
 */
#ifndef LP_EMU_PROGRAM_H
#define LP_EMU_PROGRAM_H

#include "base/err.h"
#include "base/vec.h"

/* Addresses as linked. */
struct lp_segment {
	uint64_t vaddr, memsz; /* memsz > 0 */
	uint64_t offset, filesz;
	int prot; /* PROT_READ | PROT_WRITE | PROT_EXEC */
};

struct lp_program {
	bool is_pie; /* can be put anywhere: ET_DYN */
	uint64_t entry;
	uint64_t phdr_vaddr; /* where the program headers will be; 0: in no segment */
	uint16_t phnum;
	LP_VEC(struct lp_segment) segments; /* as in the file; at least one */
	struct lp_range span;		    /* whole pages of all of them */
	uint64_t end;			    /* behind the last byte: where the heap begins */
	uint64_t align;	     /* what the address of `span` is to be a multiple of, less its remainder; >= a page */
	char *interpreter;   /* NULL: none */
	bool has_exec_stack; /* PT_GNU_STACK asks for it */
	bool has_bti;	     /* GNU_PROPERTY_AARCH64_FEATURE_1_BTI */
};

/* From an open file.  Refusals (-LP_EELF, or errno) are sentences that begin with `name`. */
int lp_program_read(struct lp_program *out, int fd, const char *name, struct lp_err *err);
void lp_program_free(struct lp_program *p);

/* What the first bytes of a file say it is. */
enum lp_program_kind {
	LP_PROGRAM_OTHER,  /* nothing that we know; the host's kernel may */
	LP_PROGRAM_GUEST,  /* an ELF file for AArch64 */
	LP_PROGRAM_HOST,   /* one for another machine */
	LP_PROGRAM_SCRIPT, /* #! */
};
enum lp_program_kind lp_program_kind(const void *head, size_t len);

#endif
