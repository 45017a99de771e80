/*
 * What the differential tests and their guest tell each other: a file of cases
 * and one of results, both mapped.  Everything stands at fixed addresses, so that
 * the same case gives the same bytes under every emulator.
 *
 *     cases:    struct diff_cases, padded to DIFF_CASES_SIZE; the slots; the inputs
 *     results:  struct diff_progress, padded to DIFF_PROGRESS_SIZE; one struct diff_result for each input
 *
 * A slot is DIFF_SLOT_WORDS of code, mapped readable and executable:
 *
 *     word 0             mrs x30, tpidr_el0           the guest has put x30 there
 *     words 1 to nr      the instructions
 *     the next four      msr tpidr_el0, x30; ldr x30, =DIFF_EXIT; br x30
 *     from DIFF_DATA     words that the instructions may load
 *
 * Shared with code that has no C library: numbers alone.
 */
#ifndef DIFF_CASE_H
#define DIFF_CASE_H

#define DIFF_CODE 0x50000000 /* the slots */
#define DIFF_PAGE 0x60010000 /* DIFF_PAGE_SIZE bytes for loads and stores, nothing within DIFF_AROUND on both sides */
#define DIFF_EXIT 0x40100000 /* where a stream ends */
#define DIFF_PAGE_SIZE 4096
#define DIFF_AROUND 0x10000
#define DIFF_SLOT_WORDS 64
#define DIFF_SLOT 256 /* bytes */
#define DIFF_DATA 32  /* first data word of a slot */
#define DIFF_NR_WRITES 12
#define DIFF_CASES_SIZE 8192
#define DIFF_PROGRESS_SIZE 4096
#define DIFF_MAGIC 0x6d617865

#define DIFF_MEMORY 1 /* the stream may touch the page: compare it, and put it back */

/* Offsets into struct diff_state, for guest.S. */
#define DIFF_AT_SP 248
#define DIFF_AT_PC 256
#define DIFF_AT_NZCV 264
#define DIFF_AT_FPCR 272
#define DIFF_AT_FPSR 280
#define DIFF_AT_V 288

#ifndef __ASSEMBLER__
#include <stdint.h>

struct diff_state {
	uint64_t x[31], sp;
	uint64_t pc; /* in: the slot.  out: where a signal came from; 0: the stream ended */
	uint64_t nzcv, fpcr, fpsr;
	uint64_t v[32][2];
};

struct diff_input {
	struct diff_state state;
	uint64_t flags, reserved;
};

struct diff_write {
	uint64_t offset, value; /* eight bytes of the page that are not what they were */
};

struct diff_result {
	struct diff_state state;
	uint32_t signo, code;
	uint64_t addr;			 /* si_addr */
	uint64_t nr_writes, memory_hash; /* of all of them */
	struct diff_write writes[DIFF_NR_WRITES];
};

struct diff_cases {
	uint32_t magic, nr_slots, nr_inputs;
	uint16_t copy;	  /* slots are copied to memory of the guest, which then says so to the caches */
	uint16_t guarded; /* they are mapped with PROT_BTI */
	uint64_t page[DIFF_PAGE_SIZE / 8];
};

struct diff_progress {
	uint64_t next; /* the first input without a result */
};

_Static_assert(__builtin_offsetof(struct diff_state, sp) == DIFF_AT_SP, "as guest.S has it");
_Static_assert(__builtin_offsetof(struct diff_state, pc) == DIFF_AT_PC, "as guest.S has it");
_Static_assert(__builtin_offsetof(struct diff_state, nzcv) == DIFF_AT_NZCV, "as guest.S has it");
_Static_assert(__builtin_offsetof(struct diff_state, fpcr) == DIFF_AT_FPCR, "as guest.S has it");
_Static_assert(__builtin_offsetof(struct diff_state, fpsr) == DIFF_AT_FPSR, "as guest.S has it");
_Static_assert(__builtin_offsetof(struct diff_state, v) == DIFF_AT_V, "as guest.S has it");
_Static_assert(sizeof(struct diff_state) == 800 && sizeof(struct diff_input) == 816, "a multiple of 16");
_Static_assert(sizeof(struct diff_cases) <= DIFF_CASES_SIZE, "before the slots");
#endif

#endif
