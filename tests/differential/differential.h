/*
 * Differential tests of AArch64 emulators: streams of instructions with states,
 * one emulator's results beside another's.
 *
 *     generate.c   streams and states from a seed      values.c  numbers worth trying
 *     rows.c       what rows.def says of a word        guest.c   runs them
 *     run.c        one emulator, one batch             compare.c what is different
 *     shrink.c     a smaller case that still is        vector.c  cases as text, with the answer
 */
#ifndef DIFF_DIFFERENTIAL_H
#define DIFF_DIFFERENTIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "case.h"
#include "isa/a64/table.h"

#define DIFF_MAX_INSNS 8
#define DIFF_NR_DATA (DIFF_SLOT_WORDS - DIFF_DATA)

/* ---- random numbers: the same from the same seed, everywhere ---- */

struct diff_random {
	uint64_t s;
};

uint64_t diff_random(struct diff_random *r);
static inline uint32_t diff_below(struct diff_random *r, uint32_t limit)
{
	return (uint32_t)((diff_random(r) >> 32) * limit >> 32);
}
static inline bool diff_chance(struct diff_random *r, uint32_t one_in)
{
	return !diff_below(r, one_in);
}

/* What the lanes of a value are taken for. */
enum diff_kind { DIFF_INT8, DIFF_INT16, DIFF_INT32, DIFF_INT64, DIFF_HALF, DIFF_SINGLE, DIFF_DOUBLE, DIFF_NR_KINDS };

/* 64 bits: one lane of the kind, or as many as there are. */
uint64_t diff_value(struct diff_random *r, enum diff_kind kind);
uint64_t diff_lanes(struct diff_random *r, enum diff_kind kind);

/* ---- rows.c ---- */

bool diff_feature_absent(unsigned feature);
const char *diff_row_skipped(enum lp_a64_op op);
/* Why the word is not compared: listed, or CONSTRAINED UNPREDICTABLE.  NULL: it is. */
const char *diff_word_skipped(enum lp_a64_op op, uint32_t word);

/* Bits of FPCR that must be 0 for the row to be compared. */
uint32_t diff_row_without(enum lp_a64_op op);
/* Our signal at that instruction is right whatever the reference says. */
bool diff_signal_forgiven(uint32_t word, uint32_t signal);

struct diff_company {
	enum lp_a64_op row, other;
	bool after, strip;
	int8_t to[2], from[2];
};

/* The i-th company of a row; NULL: it has no more. */
const struct diff_company *diff_company(enum lp_a64_op op, unsigned i);

/* One of those that are to stand behind op, by a random number; A64_OP_UNALLOCATED: there is none. */
enum lp_a64_op diff_follower(enum lp_a64_op op, uint32_t number);

struct diff_address {
	bool is_base_written;
	bool is_indexed; /* by the register at bit 16: option, shift */
	unsigned option, shift;
	int64_t offset;
};

/* How a word addresses memory; false: it does not. */
bool diff_address_of(enum lp_a64_op op, uint32_t word, struct diff_address *a);
/* The general registers, a bit each, that the word names apart from a base; sp and zr are none. */
uint32_t diff_registers_of(enum lp_a64_op op, uint32_t word);
/* Loads and stores that must be aligned: exclusive, ordered, atomic. */
bool diff_must_be_aligned(uint32_t word);
/* How the numbers in its vector registers are read; DIFF_NR_KINDS: no matter. */
enum diff_kind diff_kind_of(enum lp_a64_op op, uint32_t word);
/* SYSREG and SYSOP words for `op`, in turn; false: op has none. */
bool diff_system_word(enum lp_a64_op op, uint32_t number, bool with_zva, uint32_t *word);
enum lp_a64_op diff_op_named(const char *name, size_t len); /* A64_OP_COUNT: none */

/* ---- cases ---- */

/* As it stands in slot 0; placing it elsewhere moves the registers that point into the slot. */
struct diff_case {
	uint32_t words[DIFF_MAX_INSNS], data[DIFF_NR_DATA];
	unsigned nr;
	struct diff_input input;
	bool guarded;
	const uint64_t *page; /* DIFF_PAGE_SIZE bytes, somebody else's */
};

enum diff_end { DIFF_RAN, DIFF_DIED, DIFF_HUNG, DIFF_NOT_RUN };

struct diff_outcome {
	enum diff_end end;
	int status; /* of wait(2), when it died */
	struct diff_result result;
};

/* What is different, bits; the arrays as bits of theirs. */
enum {
	DIFF_IN_END = 1,
	DIFF_IN_SIGNAL = 2,
	DIFF_IN_PC = 4,
	DIFF_IN_X = 8,
	DIFF_IN_V = 16,
	DIFF_IN_NZCV = 32,
	DIFF_IN_FPCR = 64,
	DIFF_IN_FPSR = 128,
	DIFF_IN_MEMORY = 256,
};

struct diff_difference {
	uint32_t what, x, v;
};

/* ---- generate.c ---- */

struct diff_plan {
	uint64_t seed;
	unsigned states; /* for each stream */
	bool with_zva;
	bool alone;  /* no other instructions around it */
	bool faults; /* most addresses are across an end of what is mapped */
};

struct diff_stream {
	enum lp_a64_op target; /* A64_OP_UNALLOCATED: a word that no instruction has */
	uint32_t words[DIFF_MAX_INSNS], data[DIFF_NR_DATA];
	unsigned nr;
	bool memory;
	uint32_t without; /* bits of FPCR */
	bool is_sigill;	  /* at words[0], because of what we lack; nothing to compare with */
	enum diff_kind kind;
	struct {
		uint8_t how, aligned;
		uint8_t option, shift, index; /* register */
		int64_t offset;
	} claims[32]; /* what registers must hold for addresses to make sense; 31: sp */
};

/* Stream `number` of the plan; the same one for the same plan, number and target.  False: the row has no word to be run. */
bool diff_stream_make(const struct diff_plan *plan, uint64_t number, enum lp_a64_op target, struct diff_stream *s);
void diff_state_make(const struct diff_plan *plan, uint64_t number, unsigned state, const struct diff_stream *s,
		     struct diff_state *out);
void diff_page_make(struct diff_random *r, uint64_t *page);
void diff_slot_fill(uint32_t *slot, const uint32_t *words, unsigned nr, const uint32_t *data);
/* A state that belongs to slot `from` as it must be for slot `to`. */
void diff_state_move(struct diff_state *s, unsigned from, unsigned to);

/* ---- run.c ---- */

struct diff_emulator {
	const char *name;
	char **argv; /* NULL-terminated; the guest's arguments are put behind it */
	const char *guest;
	unsigned timeout; /* seconds without a result */
};

struct diff_batch {
	unsigned cap_slots, cap_inputs, nr_slots, nr_inputs;
	struct diff_cases *head;
	uint32_t *slots;
	struct diff_input *inputs;
	char *path;
	char *result_path[2];
	struct diff_progress *progress[2];
	struct diff_result *results[2];
	uint8_t *ends[2]; /* enum diff_end */
	int *statuses[2];
};

struct diff_batch *diff_batch_new(unsigned slots, unsigned inputs);
void diff_batch_free(struct diff_batch *b);
void diff_batch_clear(struct diff_batch *b, const uint64_t *page);
uint32_t *diff_batch_slot(struct diff_batch *b);	   /* the next one */
struct diff_input *diff_batch_input(struct diff_batch *b); /* the next one, of the last slot */
/* Both at once; emulator[1] may be NULL.  False: one of them does not run the guest (a line on stderr says why). */
bool diff_batch_run(struct diff_batch *b, const struct diff_emulator *const emulator[2]);
void diff_batch_outcome(const struct diff_batch *b, unsigned which, unsigned input, struct diff_outcome *out);

/* ---- compare.c ---- */

/* Of the stream that both ran; zero: none that matters. */
struct diff_difference diff_compare(const uint32_t *slot, const struct diff_outcome *ours,
				    const struct diff_outcome *theirs);
/* What a CPU does with the first word when it has no such instruction. */
void diff_expect_sigill(const struct diff_input *in, struct diff_outcome *out);
void diff_print_difference(FILE *f, struct diff_difference d, const struct diff_outcome *ours,
			   const struct diff_outcome *theirs);
void diff_print_code(FILE *f, const char *before, const uint32_t *words, unsigned nr, unsigned slot);

/* ---- shrink.c ---- */

/* Changes nothing that makes the two agree.  False: they agree as it is, the second or third time. */
bool diff_shrink(struct diff_case *c, bool is_sigill, const struct diff_emulator *const emulator[2], uint64_t page[512],
		 struct diff_outcome out[2]);

/* ---- vector.c ---- */

void diff_vector_write(FILE *f, const struct diff_case *c, unsigned slot, const char *note,
		       const struct diff_outcome *expected);
/* Runs the vectors of a file; the number that failed, -1: it cannot be read. */
int diff_vectors_replay(const char *path, const struct diff_emulator *emulator, unsigned *nr);

#endif
