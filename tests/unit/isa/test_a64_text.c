/*
 * A64 words as text and back: the listing beside objdump's, the assembler
 * beside the listing, and what the assembler takes and refuses besides.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "a64_oracle.h"
#include "base/bits.h"
#include "isa/a64/table.h"
#include "isa/isa.h"

#define AT UINT64_C(0x400000)

static const struct lp_isa *const isa = &lp_isa_a64;

/* One instruction; fails the test when it is refused. */
static uint32_t assemble_at(const char *text, lp_addr at)
{
	struct lp_err err = {0};
	uint8_t out[4];
	size_t len;

	if (isa->assemble(text, at, NULL, out, sizeof out, &len, &err))
		fail_msg("'%s' is refused: %s", text, err.text);
	assert_int_equal(len, 4);
	return lp_get32(out);
}

static void disassemble_at(uint32_t word, lp_addr at, char text[96])
{
	uint8_t code[4];

	lp_put32(code, word);
	assert_int_equal(isa->disasm(code, 4, at, text, 96), 4);
}

/* Bits that have no meaning in these rows, and that text cannot carry. */
static bool ignores_bits(enum lp_a64_op op)
{
	switch (op) {
	case A64_OP_AND_IMM: /* immr above the element's size */
	case A64_OP_ORR_IMM:
	case A64_OP_EOR_IMM:
	case A64_OP_ANDS_IMM:
	case A64_OP_DUP_GPR:  /* imm5 above the element's size */
	case A64_OP_INS_ELEM: /* imm4 below it */
		return true;
	default:
		return false;
	}
}

static void assert_round_trip(uint32_t word, lp_addr at)
{
	char text[96], again[96];
	uint32_t back;

	disassemble_at(word, at, text);
	back = assemble_at(text, at);
	if (back == word)
		return;
	disassemble_at(back, at, again);
	if (!ignores_bits(lp_a64_decode(word)) || strcmp(text, again))
		fail_msg("%08x is '%s', which is %08x", word, text, back);
}

static void the_listing_is_objdumps_for_words_of_every_row(void **state)
{
	FILE *f = fopen(A64_VECTORS "/listing.txt", "re");
	char line[160], text[96];
	uint32_t word;
	int used;
	lp_addr at = 0;
	static bool seen[A64_OP_COUNT];

	assert_non_null(f);
	for (; fgets(line, sizeof line, f); at += 4) {
		assert_int_equal(sscanf(line, "%8" SCNx32 " %n", &word, &used), 1);
		line[strcspn(line, "\n")] = '\0';
		disassemble_at(word, at, text);
		if (strcmp(text, line + used))
			fail_msg("%08x at 0x%" PRIx64 ": '%s', objdump's '%s'", word, at, text, line + used);
		assert_round_trip(word, at);
		seen[lp_a64_decode(word)] = true;
	}
	fclose(f);
	for (unsigned op = 1; op < A64_OP_COUNT; op++) {
		if (!seen[op])
			fail_msg("there is no vector for %s", lp_a64_row(op)->name);
	}
}

static void what_is_listed_assembles_to_the_word_it_was(void **state)
{
	struct words words = {65};

	for (unsigned i = 0; i < 200000; i++) {
		uint32_t word = words_of_row(&words, 1 + i % (A64_OP_COUNT - 1));
		assert_round_trip(word, AT); /* those that are not allocated go through .word */
	}
}

static void the_listing_fits_in_what_it_is_given(void **state)
{
	uint8_t code[4];
	char text[4] = "xxx";

	lp_put32(code, 0xd503201f);
	assert_int_equal(isa->disasm(code, 4, AT, text, 3), 4);
	assert_string_equal(text, "no");
	assert_int_equal(isa->disasm(code, 4, AT, NULL, 0), 4);
}

/* ---- what the assembler takes besides ---- */

static void common_variants_are_understood(void **state)
{
	static const struct {
		const char *text;
		uint32_t word;
	} variants[] = {
		{"ADD X0, X1, #1", 0x91000420},
		{"  add\tx0 , x1,#0x1  // comment", 0x91000420},
		{"add x0, x1, 1", 0x91000420},
		{"add x0, x1, #0x1000", 0x91400420}, /* lsl #12 follows */
		{"add x0, sp, x1", 0x8b2163e0},
		{"add x0, x1, x2", 0x8b020020},
		{"add x0, x1, w2, uxtw", 0x8b224020},
		{"mov x0, #-1", 0x92800000},
		{"mov w0, #-1", 0x12800000},
		{"mov w0, #0xffffffff", 0x12800000},
		{"mov x0, #0xffff0000", 0xd2bfffe0},
		{"mov x0, #0x5555555555555555", 0xb200f3e0},
		{"mov x0, sp", 0x910003e0},
		{"mov x0, lr", 0xaa1e03e0},
		{"mov v0.d[1], x1", 0x4e181c20},
		{"ins v0.d[1], x1", 0x4e181c20},
		{"lsl x0, x1, #0", 0xd340fc20},
		{"ubfiz x0, x1, #0, #8", 0xd3401c20},
		{"bfi x0, x1, #0, #8", 0xb3401c20},
		{"cset w0, lo", 0x1a9f27e0},
		{"b.hs 0x400000", 0x54000002},
		{"ldr x0, [x1, #-8]", 0xf85f8020}, /* ldur */
		{"ldr x0, [x1, #3]", 0xf8403020},
		{"ldr x0, [x1, #8]", 0xf9400420},
		{"ldr x0, [x1]", 0xf9400020},
		{"ldr x0, [x1, #0]", 0xf9400020},
		{"ldr x0, [x1, x2, lsl #3]", 0xf8627820},
		{"ldr x0, [x1, x2, lsl #0]", 0xf8626820},
		{"tbz x0, #3, 0x400000", 0x36180000},
		{"ret x30", 0xd65f03c0},
		{"isb sy", 0xd5033fdf},
		{"dgh", 0xd50320df},
		{"mrs x0, s3_3_c13_c0_2", 0xd53bd040},
		{"mrs x0, S3_7_C15_C15_7", 0xd53fffe0},
		{"mrs x0, TPIDR_EL0", 0xd53bd040},
		{"dc zva, x0", 0xd50b7420},
		{"fmov d0, #1.0", 0x1e6e1000},
		{"fmov d0, #-0.125", 0x1e781000},
		{"fmov s0, #31", 0x1e27f000},
		{"fcmp d0, #0.0", 0x1e602008},
		{"fcmp d0, #0", 0x1e602008},
		{"not v0.8b, v1.8b", 0x2e205820},
		{"st4 {v0.16b, v1.16b, v2.16b, v3.16b}, [x0]", 0x4c000000},
		{"ld1 {v31.4s, v0.4s}, [x0], #32", 0x4cdfa81f},
		{".word 0xdeadbeef", 0xdeadbeef},
	};

	for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++) {
		uint32_t word = assemble_at(variants[i].text, AT);
		if (word != variants[i].word)
			fail_msg("'%s' is %08x, not %08x", variants[i].text, word, variants[i].word);
	}
}

static bool look_up(void *arg, const char *name, size_t len, lp_addr *out)
{
	if (len != 6 || memcmp(name, "target", 6))
		return false;
	*out = *(lp_addr *)arg;
	return true;
}

static void labels_and_names_are_addresses(void **state)
{
	lp_addr target = AT + 0x1000;
	const struct lp_asm_names names = {look_up, &target};
	uint8_t out[32];
	size_t len;

	assert_int_equal(isa->assemble("start: cbz x0, out ; bl target\n"
				       " b start // again\n"
				       "out:\n\tadrp x0, target; add x0, x0, #4; ret",
				       AT, &names, out, sizeof out, &len, NULL),
			 0);
	assert_int_equal(len, 24);
	assert_int_equal(lp_get32(out), 0xb4000060);	  /* cbz x0, .+12 */
	assert_int_equal(lp_get32(out + 4), 0x940003ff);  /* bl .+0xffc */
	assert_int_equal(lp_get32(out + 8), 0x17fffffe);  /* b .-8 */
	assert_int_equal(lp_get32(out + 12), 0xb0000000); /* adrp x0, .+1 page */
	assert_int_equal(lp_get32(out + 20), 0xd65f03c0);
	assert_int_equal(isa->assemble(" ;\n// nothing\n", AT, NULL, out, sizeof out, &len, NULL), 0);
	assert_int_equal(len, 0);
}

static void every_branch_reaches_exactly_as_far_as_its_field(void **state)
{
	static const struct {
		const char *before;
		int64_t reach;
	} branches[] = {
		{"b ", INT64_C(1) << 27},	{"bl ", INT64_C(1) << 27},	     {"b.eq ", INT64_C(1) << 20},
		{"cbz x0, ", INT64_C(1) << 20}, {"tbz x0, #40, ", INT64_C(1) << 15}, {"ldr x0, ", INT64_C(1) << 20},
	};
	const lp_addr at = UINT64_C(1) << 40;

	for (size_t i = 0; i < sizeof branches / sizeof branches[0]; i++) {
		const int64_t inside[] = {branches[i].reach - 4, -branches[i].reach};
		const int64_t outside[] = {branches[i].reach, -branches[i].reach - 4, 2};
		char text[64];
		uint8_t out[4];
		size_t len;

		for (int j = 0; j < 2; j++) {
			snprintf(text, sizeof text, "%s0x%" PRIx64, branches[i].before, at + (uint64_t)inside[j]);
			assert_round_trip(assemble_at(text, at), at);
		}
		for (int j = 0; j < 3; j++) {
			snprintf(text, sizeof text, "%s0x%" PRIx64, branches[i].before, at + (uint64_t)outside[j]);
			assert_int_equal(isa->assemble(text, at, NULL, out, sizeof out, &len, NULL), -LP_ERANGE);
		}
	}
}

static void a_refusal_names_line_column_and_reason(void **state)
{
	static const struct {
		const char *text;
		int code;
		const char *said;
	} refused[] = {
		{"nop\n  frob x0", LP_EPARSE, "line 2, column 3: no instruction has that name"},
		{"add x0, w1, w2", LP_EPARSE, "column 9: the operands do not go together"},
		{"add x0, x1, #0x1001", LP_ERANGE, "column 13: the number is none of 12 bits, shifted by 0 or 12"},
		{"and x0, x1, #5", LP_ERANGE, "column 13: the number is no logical immediate"},
		{"mov x0, #0x12345678", LP_ERANGE, "column 9"},
		{"ldr x0, [x1, #32761]", LP_ERANGE, "column 14"},
		{"ldr x0, [x1, #8", LP_EPARSE, "column 16: ']' is expected"},
		{"ldr x0 [x1]", LP_EPARSE, "column 8: ',' is expected"},
		{"ldr x0, [xzr]", LP_EPARSE, "column 10: the zero register cannot stand here"},
		{"b nowhere", LP_ENOSYM, "column 3: the name is not known"},
		{"nop nop", LP_EPARSE, "column 5: the end of the instruction is expected"},
		{"ret; a: nop; a: nop", LP_EPARSE, "column 14: the label is defined twice"},
		{"mrs x0, s3_3_c13_c16_2", LP_EPARSE, "column 9: a system register is expected"},
		{"mrs x0, s1_3_c13_c0_2", LP_EPARSE, "column 9: a system register is expected"},
		{"mrs x0, s3_3_c13_c0_", LP_EPARSE, "column 9: a system register is expected"},
		{"fmov d0, #0.1", LP_ERANGE, "column 10: the number is no 8-bit floating-point immediate"},
		{"add v0.4s, v1.4s, v2.8h", LP_EPARSE, "column 21: the operands do not go together"},
		{"ld1 {v0.4s, v2.4s}, [x0]", LP_EPARSE, "the registers of a list follow each other"},
		{"lsl w0, w1, #32", LP_ERANGE, "column 13"},
		{"sshr v0.4s, v1.4s, #33", LP_ERANGE, "column 20"},
		{"casp x1, x2, x4, x5, [x0]", LP_EENCODING, "no instruction has these operands"},
		{"add x0, x1, #99999999999999999999", LP_ERANGE, "more than 64 bits"},
		{".word 0x100000000", LP_ERANGE, "column 7"},
		{"nop; nop; nop", LP_ERANGE, "column 11: there is no room for the instruction"},
		{"\x80\xff", LP_EPARSE, "column 1"},
	};

	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		struct lp_err err = {0};
		uint8_t out[8];
		size_t len;
		int rc = isa->assemble(refused[i].text, AT, NULL, out, sizeof out, &len, &err);

		if (rc != -refused[i].code || !strstr(err.text, refused[i].said))
			fail_msg("'%s': %d (%s) '%s'", refused[i].text, rc, lp_err_name(rc), err.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_listing_is_objdumps_for_words_of_every_row),
		cmocka_unit_test(what_is_listed_assembles_to_the_word_it_was),
		cmocka_unit_test(the_listing_fits_in_what_it_is_given),
		cmocka_unit_test(common_variants_are_understood),
		cmocka_unit_test(labels_and_names_are_addresses),
		cmocka_unit_test(every_branch_reaches_exactly_as_far_as_its_field),
		cmocka_unit_test(a_refusal_names_line_column_and_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
