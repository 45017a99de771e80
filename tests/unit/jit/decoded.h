/*
 * One instruction at a time from the encoder to Zydis, and what it should read there.
 */
#ifndef TESTS_JIT_DECODED_H
#define TESTS_JIT_DECODED_H

#include "jit/x86.h"

/* Where the functions under test write; empty again after each expect(). */
extern struct lp_x86 x;

/* Another distance between where code is written and where it runs. */
void start(int64_t run_offset);

/* One instruction was written, the whole of it reads like this, its displacement is as short as it can be, it ran over no
 * flags but those it said. */
void expect(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* How what was written reads; NULL: as nothing. */
const char *written_text(void);

/* The jump at `from`, once it and its target are where they run. */
void expect_branch(const uint8_t *from, const struct lp_x86 *buffer, const char *mnemonic, uint64_t target);
/* How many instructions these bytes are, all of which do nothing. */
size_t count_nops(const uint8_t *bytes, size_t len);

/* Operands as they read; valid for the next 60 calls.  bytes: 1 to 8 for general registers, 16 and 32 for vectors, TEXT_MASK;
 * memory alone may be of 0 bytes (a lea). */
enum { TEXT_MASK = 64 };
const char *reg_text(unsigned reg, unsigned bytes);
const char *rm_text(struct lp_x86_rm rm, unsigned bytes);
/* A vector register, or memory of so many bytes. */
const char *vm_text(struct lp_x86_rm rm, unsigned register_bytes, unsigned memory_bytes);
const char *hex(uint64_t value);

/* Every base, every index, every kind of displacement. */
extern const struct lp_x86_rm *memory;
extern size_t memory_count;
/* The ones that differ in the form of their encoding, and registers. */
extern const struct lp_x86_rm *forms;
extern size_t forms_count;

#define EACH_MEMORY(rm)                      \
	const struct lp_x86_rm *rm = memory; \
	rm < memory + memory_count;          \
	rm++
#define EACH_FORM(rm)                       \
	const struct lp_x86_rm *rm = forms; \
	rm < forms + forms_count;           \
	rm++

/* Set-ups of the group and of each test. */
int make_operands(void **state);
int start_over(void **state);

#endif
