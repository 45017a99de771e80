/*
 * What LLVM says about A64 words, for the tests of the table; and why it may
 * say otherwise than we do.
 */
#ifndef LP_TEST_ISA_A64_ORACLE_H
#define LP_TEST_ISA_A64_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One disassembler; for one thread. */
struct oracle;

/* NULL when the machine has no LLVM that we know. */
struct oracle *oracle_open(void);
void oracle_close(struct oracle *o);
/* LLVM takes the word for an instruction of the extensions that a64.def has. */
bool oracle_allows(struct oracle *o, uint32_t word);

/* Why the verdicts on the word may differ: ours, and LLVM's opposite one.  OUGHT_TO_AGREE: there is no reason. */
enum reason {
	OUGHT_TO_AGREE,
	REGISTERS_CLASH, /* unpredictable: LLVM fails softly, we decode */
	SHOULD_BE_BITS,	 /* (0) or (1) in the manual: LLVM ignores some, we refuse */
	NO_OP0,		 /* MSR and MRS with op0 0 and 1: not allocated, LLVM decodes */
	REASON_COUNT
};

enum reason reason_to_differ(uint32_t word, bool ours);
const char *reason_text(enum reason r);

/* A stream of words that depends on the seed alone. */
struct words {
	uint64_t state;
};

uint64_t words_next(struct words *w);
/* A word with the fixed bits of a row, the rest at random. */
uint32_t words_of_row(struct words *w, unsigned op);

#endif
