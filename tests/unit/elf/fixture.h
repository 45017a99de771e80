/*
 * What the tests of elf/ share: a scratch directory, compilers and binutils,
 * and readelf's opinion.
 */
#ifndef LP_TESTS_ELF_FIXTURE_H
#define LP_TESTS_ELF_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "elf/elf.h"

/* A path in this program's scratch directory, which is removed at exit.  Valid for the next 16 calls. */
const char *scratch(const char *name);
/* Run a shell command in the scratch directory; the test fails when the command does. */
void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* As popen(..., "r") in the scratch directory. */
FILE *shell_output(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Write a file of the scratch directory. */
void write_text(const char *name, const char *text);
/* A whole file; the caller frees. */
uint8_t *slurp(const char *path, size_t *len);

/* Open, or fail the test with the sentence. */
struct lp_elf *open_elf(const char *path);
/* The only symbol of that name in a table, or fail the test. */
struct lp_elf_sym symbol_named(struct lp_elf *e, enum lp_symtab table, const char *name);

#endif
