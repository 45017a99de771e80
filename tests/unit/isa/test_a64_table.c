/*
 * The table of A64 instructions: which words are instructions, and which.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "a64_oracle.h"
#include "isa/a64/table.h"
#include "isa/isa.h"

enum { SEED = 64, SAMPLES = 400000 };

static void words_are_the_instructions_that_the_manual_says(void **state)
{
	static const struct {
		uint32_t word;
		enum lp_a64_op op;
	} known[] = {
		{0x00000000, A64_OP_UDF},	 /* udf #0 */
		{0x91000420, A64_OP_ADD_IMM},	 /* add x0, x1, #1 */
		{0x8b020020, A64_OP_ADD_REG},	 /* add x0, x1, x2 */
		{0x8b226020, A64_OP_ADD_EXT},	 /* add x0, x1, x2 */
		{0xd2800000, A64_OP_MOVZ},	 /* mov x0, #0 */
		{0xaa0103e0, A64_OP_ORR_REG},	 /* mov x0, x1 */
		{0x14000000, A64_OP_B},		 /* b . */
		{0x94000000, A64_OP_BL},	 /* bl . */
		{0xd65f03c0, A64_OP_RET},	 /* ret */
		{0xd503201f, A64_OP_NOP},	 /* nop */
		{0xd503233f, A64_OP_PACIASP},	 /* paciasp */
		{0xd503245f, A64_OP_BTI},	 /* bti c */
		{0xd4200000, A64_OP_BRK},	 /* brk #0 */
		{0xf9400020, A64_OP_LDR_X_UIMM}, /* ldr x0, [x1] */
		{0xa9bf7bfd, A64_OP_STP_PRE},	 /* stp x29, x30, [sp, #-16]! */
		{0xc85ffc20, A64_OP_LDAXR},	 /* ldaxr x0, [x1] */
		{0xb8e00041, A64_OP_LDADD},	 /* ldaddal w0, w1, [x2] */
		{0xd53be040, A64_OP_MRS},	 /* mrs x0, cntvct_el0 */
		{0x1e622820, A64_OP_FADD},	 /* fadd d0, d1, d2 */
		{0x4ea28420, A64_OP_ADD_V},	 /* add v0.4s, v1.4s, v2.4s */
		{0x4e284820, A64_OP_AESE},	 /* aese v0.16b, v1.16b */
		{0x4f000400, A64_OP_MOVI_32},	 /* movi v0.4s, #0x0 */
		{0x4f080400, A64_OP_SSHR_IMM_V}, /* sshr v0.16b, v0.16b, #8: immh tells it from movi */
	};

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		enum lp_a64_op op = lp_a64_decode(known[i].word);
		if (op != known[i].op)
			fail_msg("%08x is %s", known[i].word, lp_a64_row(op)->name);
	}
}

static void reserved_values_of_fields_are_not_allocated(void **state)
{
	static const uint32_t words[] = {
		0xffffffff,	     0x00010000, /* around udf */
		0x12400000,			 /* and w0, w0 with N */
		0x9240fc00,			 /* and x0, x0 with all bits */
		0x52c00000,			 /* movz w0, #0, lsl #32 */
		0x0b008000,			 /* add w0, w0, w0, lsl #32 */
		0x0bc00000,			 /* add w0, w0, w0, ror #0 */
		0x8b201400,			 /* add x0, x0, w0, uxtb #5 */
		0x93000000,			 /* sbfm x0, x0 without N */
		0xb8200800,			 /* str w0, [x0, w0, uxtb] */
		0x08217c00,			 /* casp w1, w2 of an odd register (Rs 1) */
		0x48217c01,	     0x0ee08400, /* add v0.1d, v0.1d, v0.1d */
		0x0f000000,			 /* by element: mla of bytes */
		0x1ea00800,			 /* fmul of ftype 2 */
		0x6a000000 | 0x8000,		 /* ands w0, w0, w0, lsl #32 */
		0x04000000,			 /* SVE */
		0xd5000000,
	};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (lp_a64_is_allocated(words[i]))
			fail_msg("%08x is %s", words[i], lp_a64_row(lp_a64_decode(words[i]))->name);
	}
}

static void the_seam_asks_for_a_whole_word(void **state)
{
	static const uint8_t nop[] = {0x1f, 0x20, 0x03, 0xd5}, none[] = {0xff, 0xff, 0xff, 0xff};

	assert_true(lp_isa_a64.allocated(nop, 4));
	assert_false(lp_isa_a64.allocated(nop, 3));
	assert_false(lp_isa_a64.allocated(none, 4));
}

/* Every word has at most one row, and the tree finds it. */
static void assert_one_answer(uint32_t word)
{
	enum lp_a64_op found = A64_OP_UNALLOCATED;

	for (unsigned op = 1; op < A64_OP_COUNT; op++) {
		if (!lp_a64_is(op, word))
			continue;
		if (found)
			fail_msg("%08x is %s and %s", word, lp_a64_row(found)->name, lp_a64_row(op)->name);
		found = op;
	}
	if (lp_a64_decode(word) != found)
		fail_msg("%08x is %s, the tree says %s", word, lp_a64_row(found)->name,
			 lp_a64_row(lp_a64_decode(word))->name);
}

static void the_decision_tree_says_what_a_search_through_all_rows_says(void **state)
{
	struct words words = {SEED};

	for (unsigned op = 1; op < A64_OP_COUNT; op++) {
		for (int i = 0; i < 20; i++)
			assert_one_answer(words_of_row(&words, op));
	}
	for (int i = 0; i < 20000; i++)
		assert_one_answer((uint32_t)words_next(&words));
}

static void every_row_has_words_of_its_own(void **state)
{
	struct words words = {SEED};

	for (unsigned op = 1; op < A64_OP_COUNT; op++) {
		int own = 0;
		for (int i = 0; i < 4000 && !own; i++)
			own = lp_a64_decode(words_of_row(&words, op)) == op;
		if (!own)
			fail_msg("no word found that is %s", lp_a64_row(op)->name);
	}
}

static void assert_same_verdict(struct oracle *llvm, uint32_t word, size_t differ[REASON_COUNT])
{
	bool ours = lp_a64_is_allocated(word);
	enum reason reason;

	if (ours == oracle_allows(llvm, word))
		return;
	reason = reason_to_differ(word, ours);
	differ[reason]++;
	if (reason == OUGHT_TO_AGREE)
		fail_msg("%08x: ours is %s, LLVM says %s", word, lp_a64_row(lp_a64_decode(word))->name,
			 ours ? "unallocated" : "allocated");
}

/* Half of the words at random, half of them in the neighbourhood of rows; all of them: sweep_a64.c. */
static void llvm_allocates_the_same_words(void **state)
{
	struct oracle *llvm = oracle_open();
	size_t differ[REASON_COUNT] = {0};
	struct words words = {SEED};

	if (!llvm)
		skip();
	for (int i = 0; i < SAMPLES; i++) {
		uint32_t word = (uint32_t)words_next(&words);
		if (i % 2)
			word = words_of_row(&words, 1 + word % (A64_OP_COUNT - 1)) ^
			       (i % 4 == 3 ? 1u << (word >> 27) : 0);
		assert_same_verdict(llvm, word, differ);
	}
	for (int r = 1; r < REASON_COUNT; r++)
		print_message("%zu of %d: %s\n", differ[r], SAMPLES, reason_text(r));
	oracle_close(llvm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_the_instructions_that_the_manual_says),
		cmocka_unit_test(reserved_values_of_fields_are_not_allocated),
		cmocka_unit_test(the_seam_asks_for_a_whole_word),
		cmocka_unit_test(the_decision_tree_says_what_a_search_through_all_rows_says),
		cmocka_unit_test(every_row_has_words_of_its_own),
		cmocka_unit_test(llvm_allocates_the_same_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
