/*
 * A program of a few instructions, in a file without a name: sound, to be changed by tests before it is written.
 */
#ifndef SMALL_PROGRAM_H
#define SMALL_PROGRAM_H

#include <elf.h>
#include <stdint.h>

enum { SMALL_TEXT, SMALL_DATA, SMALL_STACK, SMALL_PROPERTY, SMALL_INTERP, SMALL_NR_PHDRS };
enum { SMALL_CODE_AT = 0x1000, SMALL_DATA_AT = 0x2000, SMALL_SIZE = 0x2100, SMALL_BSS = 0x3000 };

/* Text at SMALL_CODE_AT, 0x100 bytes of data at SMALL_DATA_AT with SMALL_BSS bytes of zeros behind them; position
 * independent; without an interpreter (that header is PT_NULL). */
struct small_program {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdrs[SMALL_NR_PHDRS];
	uint32_t property[8];
	char interpreter[64];
	uint8_t padding[SMALL_CODE_AT - 0x40 - SMALL_NR_PHDRS * 0x38 - 32 - 64];
	uint32_t code[0x400];
	uint8_t data[0x100];
};
_Static_assert(sizeof(struct small_program) == SMALL_SIZE, "the layout is what the constants say");

struct small_program small_program(void);
/* The program names `path` as its interpreter. */
void small_program_interpret(struct small_program *p, const char *path);
/* An open file with that in it. */
int small_file(const void *bytes, uint64_t len);

#endif
