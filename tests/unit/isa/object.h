/*
 * An ELF file mapped for the tests of this folder, which may not use src/elf/:
 * it is trusted (we built it, or the distribution did).
 */
#ifndef LP_TEST_ISA_OBJECT_H
#define LP_TEST_ISA_OBJECT_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct object {
	uint8_t *bytes;
	size_t len;
	const Elf64_Ehdr *eh;
	Elf64_Shdr *sh;
};

/* Fails the test when the file cannot be mapped. */
struct object object_open(const char *path);
void object_close(struct object *o);
const char *object_section_name(const struct object *o, const Elf64_Shdr *s);
Elf64_Shdr *object_section(const struct object *o, const char *name); /* NULL when absent */
Elf64_Shdr *object_section_of_type(const struct object *o, uint32_t type);
const Elf64_Sym *object_symbols(const struct object *o, const Elf64_Shdr *table, size_t *nr);
const char *object_symbol_name(const struct object *o, const Elf64_Shdr *table, const Elf64_Sym *s);
/* Symbol of that name in .symtab; fails the test when absent. */
const Elf64_Sym *object_symbol(const struct object *o, const char *name);

/* A fresh directory for one test program's files; removed with its content at exit. */
const char *scratch_dir(void);
/* Writes `text` to <scratch>/<name>; returns the path (static storage for 8 calls). */
const char *scratch_write(const char *name, const char *text);
const char *scratch_path(const char *name);
/* Runs a shell command line (printf style); fails the test when it does not exit with 0. */
void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
bool have_program(const char *name);

#endif
