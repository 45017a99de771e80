/*
 * The encoder's vector part: every row of the table with every class of operand, as Zydis reads it.
 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "decoded.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const struct row {
	const char *name;
	enum lp_x86_vop op;
	const char *form, *registers, *memory, *length, *encodings;
} rows[] = {
#define VOP(name, pp, map, w, opcode, form, registers, memory, length, encodings) \
	{#name, LP_##name, #form, #registers, #memory, #length, #encodings},
#include "jit/x86_vector.def"
#undef VOP
};

static bool is(const char *text, const char *other)
{
	return !strcmp(text, other);
}

/* What is called otherwise where it is encoded with EVEX. */
static const struct {
	const char *name, *evex;
} renamed[] = {
	{"VPAND", "vpandd"},
	{"VPANDN", "vpandnd"},
	{"VPOR", "vpord"},
	{"VPXOR", "vpxord"},
	{"VMOVDQU", "vmovdqu32"},
	{"VMOVDQU_TO", "vmovdqu32"},
	{"VMOVDQA", "vmovdqa32"},
	{"VMOVDQA_TO", "vmovdqa32"},
	{"VROUNDPS", "vrndscaleps"},
	{"VROUNDPD", "vrndscalepd"},
	{"VROUNDSS", "vrndscaless"},
	{"VROUNDSD", "vrndscalesd"},
	{"VINSERTI128", "vinserti32x4"},
	{"VINSERTF128", "vinsertf32x4"},
	{"VEXTRACTI128", "vextracti32x4"},
	{"VEXTRACTF128", "vextractf32x4"},
	{"VBROADCASTI128", "vbroadcasti32x4"},
	{"VBROADCASTF128", "vbroadcastf32x4"},
};

static const char *mnemonic(const struct row *row, bool evex)
{
	static char name[32];
	size_t i;

	for (i = 0; evex && i < COUNT(renamed); i++)
		if (is(row->name, renamed[i].name))
			return renamed[i].evex;
	for (i = 0; row->name[i] && row->name[i] != '_'; i++)
		name[i] = (char)tolower(row->name[i]);
	name[i] = 0;
	return name;
}

/* Bytes of the register that a letter stands for. */
static unsigned register_bytes(char letter, unsigned l256)
{
	return letter == 'K' ? TEXT_MASK : letter == 'D' ? 4 : letter == 'Q' ? 8 : letter == 'V' && l256 ? 32 : 16;
}

static unsigned memory_bytes(const char *column, unsigned l256)
{
	static const struct {
		const char *name;
		unsigned bytes;
	} of[] = {{"FULL", 16}, {"HALF", 8}, {"QUARTER", 4}, {"EIGHTH", 2}};

	for (size_t i = 0; i < COUNT(of); i++)
		if (is(column, of[i].name))
			return of[i].bytes << l256;
	return column[0] == 'M' ? (unsigned)strtoul(column + 1, NULL, 10) : 0;
}

/* The operand R or V of a row that is register n; general registers end at 15. */
static const char *operand(const struct row *row, unsigned which, unsigned l256, unsigned n)
{
	return reg_text(n, register_bytes(row->registers[which], l256));
}

static bool has(const struct row *row, unsigned which)
{
	return row->registers[which] != '_';
}

/* One row, one set of operands. */
static void check(const struct row *row, unsigned l256, unsigned reg, unsigned vvvv, struct lp_x86_rm rm)
{
	const char *form = row->form;
	unsigned used = rm.base | (has(row, 0) ? reg : 0) | (has(row, 1) ? vvvv : 0);
	const char *name = mnemonic(row, used > 15);
	const char *r = operand(row, 0, l256, reg), *v = operand(row, 1, l256, vvvv);
	const char *m = vm_text(rm, register_bytes(row->registers[2], l256), memory_bytes(row->memory, l256));

	if (is(form, "RVM")) {
		lp_x86_vex(&x, row->op, l256, reg, vvvv, rm);
		expect("%s %s, %s, %s", name, r, v, m);
	} else if (is(form, "RVMI")) {
		lp_x86_vex_imm(&x, row->op, l256, reg, vvvv, rm, 0x1b);
		expect("%s %s, %s, %s, 0x1b", name, r, v, m);
	} else if (is(form, "RVMR")) {
		lp_x86_vex_blend(&x, row->op, l256, reg, vvvv, rm, 13);
		expect("%s %s, %s, %s, %s", name, r, v, m, operand(row, 0, l256, 13));
	} else if (is(form, "RM") || is(form, "FLAGS")) {
		lp_x86_vex_rm(&x, row->op, l256, reg, rm);
		expect("%s %s, %s", name, r, m);
	} else if (is(form, "RMI")) {
		lp_x86_vex_rm_imm(&x, row->op, l256, reg, rm, 0x1b);
		expect("%s %s, %s, 0x1b", name, r, m);
	} else if (is(form, "MR")) {
		lp_x86_vex_to(&x, row->op, l256, rm, reg);
		expect("%s %s, %s", name, m, r);
	} else if (is(form, "MRI")) {
		lp_x86_vex_to_imm(&x, row->op, l256, rm, reg, 0x1b);
		expect("%s %s, %s, 0x1b", name, m, r);
	} else {
		assert_memory_equal(form, "VMI", 3);
		lp_x86_vex_shift(&x, row->op, l256, vvvv, rm, 0x1b);
		expect("%s %s, %s, 0x1b", name, v, m);
	}
}

/* Every length that the row has. */
static bool has_length(const struct row *row, unsigned l256)
{
	return is(row->length, "ANY") || is(row->length, "Y") == (l256 == 1);
}

/* Registers that only EVEX knows where the row has that. */
static bool has_register(const struct row *row, unsigned which, unsigned n)
{
	char letter = row->registers[which];

	if (letter == 'V' || letter == 'X')
		return n < 16 || strchr(row->encodings, 'E');
	if (letter == '_')
		return true;
	return letter != 'M' && n < (letter == 'K' ? 8 : 16);
}

static bool has_operand(const struct row *row, struct lp_x86_rm rm)
{
	return rm.kind == LP_RM_REG ? has_register(row, 2, rm.base) : !is(row->memory, "NONE");
}

static void check_registers(const struct row *row, unsigned l256, struct lp_x86_rm rm)
{
	static const unsigned regs[] = {0, 4, 5, 7, 8, 13, 15, 16, 22, 25, 31};

	for (size_t i = 0; i < COUNT(regs); i++)
		for (size_t j = 0; j < COUNT(regs); j++)
			if (has_register(row, 0, regs[i]) && has_register(row, 1, regs[j]) && (has(row, 1) || j == i))
				check(row, l256, regs[i], regs[j], rm);
}

static void every_row_is_what_it_says(void **state)
{
	for (const struct row *row = rows; row < rows + COUNT(rows); row++)
		for (unsigned l256 = 0; l256 < 2; l256++) {
			if (!has_length(row, l256))
				continue;
			for (EACH_FORM(rm))
				if (has_operand(row, *rm))
					check_registers(row, l256, *rm);
			for (unsigned n = 16; n < 32; n += 5)
				if (has_operand(row, lp_rm_reg(n)))
					check_registers(row, l256, lp_rm_reg(n));
		}
}

/* The same as SSE writes it, the operand V left out. */
static void check_sse(const struct row *row, unsigned reg, struct lp_x86_rm rm)
{
	const char *name = mnemonic(row, false) + 1, *form = row->form;
	const char *r = operand(row, 0, 0, reg);
	const char *m = vm_text(rm, register_bytes(row->registers[2], 0), memory_bytes(row->memory, 0));
	bool imm = strchr(form, 'I') != NULL;

	if (form[0] == 'V') {
		lp_x86_sse_shift(&x, row->op, reg, 0x1b);
		expect("%s %s, 0x1b", name, reg_text(reg, 16));
	} else if (form[0] == 'M' && imm) {
		lp_x86_sse_to_imm(&x, row->op, rm, reg, 3);
		expect("%s %s, %s, 0x3", name, m, r);
	} else if (form[0] == 'M') {
		lp_x86_sse_to(&x, row->op, rm, reg);
		expect("%s %s, %s", name, m, r);
	} else if (imm) {
		lp_x86_sse_imm(&x, row->op, reg, rm, 3);
		expect("%s %s, %s, 0x3", name, r, m);
	} else {
		lp_x86_sse(&x, row->op, reg, rm);
		expect("%s %s, %s", name, r, m);
	}
}

static void rows_with_sse_are_written_without_vex(void **state)
{
	for (const struct row *row = rows; row < rows + COUNT(rows); row++)
		for (EACH_FORM(rm))
			for (unsigned reg = 0; reg < 16 && row->encodings[0] == 'S' && has_operand(row, *rm); reg += 5)
				check_sse(row, reg, *rm);
	lp_x86_sse(&x, LP_VPADDB, 15, lp_rm_reg(15));
	assert_false(x.out_of_reach);
	start_over(state);
	lp_x86_sse(&x, LP_VPADDB, 1, lp_rm_reg(16));
	assert_true(x.out_of_reach);
	start_over(state);
	lp_x86_sse(&x, LP_VPSLLVD, 1, lp_rm_reg(2));
	assert_true(x.out_of_reach);
}

static unsigned above15_if_vector(char letter)
{
	return letter == 'V' || letter == 'X' ? 17 : 1;
}

/* Else a row could say less than there is. */
static void does_not_read_as(const struct row *row, const char *name)
{
	const char *text = written_text();

	if (text && !strncmp(text, name, strlen(name)) && text[strlen(name)] == ' ')
		fail_msg("%s has another encoding: %s", row->name, text);
}

static void rows_have_no_encoding_that_they_do_not_name(void **state)
{
	for (const struct row *row = rows; row < rows + COUNT(rows); row++) {
		const char *name = mnemonic(row, false), *regs = row->registers;
		bool imm = strchr(row->form, 'I') != NULL;

		for (unsigned w = 0; w < 2 && !strchr(row->encodings, 'E'); w++) {
			lp_x86_evex_op(&x, row->op | w << LP_VOP_EVEX_W, is(row->length, "Y"), 0,
				       above15_if_vector(regs[0]), has(row, 1) ? above15_if_vector(regs[1]) : 0,
				       lp_rm_reg(above15_if_vector(regs[2])), imm);
			lp_x86_put8(&x, 1);
			does_not_read_as(row, name);
		}
		for (unsigned memory_too = 0; memory_too < 2 && row->encodings[0] == 'V'; memory_too++) {
			lp_x86_sse_op(&x, row->op, row->form[0] == 'V' ? row->op >> LP_VOP_DIGIT & 7 : 1,
				      memory_too ? lp_rm_mem(2, 0) : lp_rm_reg(2), imm);
			lp_x86_put8(&x, 1);
			does_not_read_as(row, name + 1);
		}
	}
}

static void masks_choose_elements(void **state)
{
	for (EACH_FORM(rm))
		for (unsigned mask = 1; mask < 8; mask += 3) {
			lp_x86_vex_masked(&x, LP_VPADDB, 1, mask, 1, 17, *rm);
			expect("vpaddb ymm1 {k%u}, ymm17, %s", mask, rm_text(*rm, 32));
			lp_x86_vex_masked(&x, LP_VPADDD, 0, mask | LP_MASK_ZERO, 21, 7, *rm);
			expect("vpaddd xmm21 {k%u} {z}, xmm7, %s", mask, rm_text(*rm, 16));
			lp_x86_vex_masked_imm(&x, LP_VPTERNLOGQ, 0, mask, 2, 9, *rm, 0xca);
			expect("vpternlogq xmm2 {k%u}, xmm9, %s, 0xca", mask, rm_text(*rm, 16));
			lp_x86_vex_rm_masked(&x, LP_VMOVDQU8, 0, mask | LP_MASK_ZERO, 30, *rm);
			expect("vmovdqu8 xmm30 {k%u} {z}, %s", mask, rm_text(*rm, 16));
			lp_x86_vex_to_masked(&x, LP_VMOVDQU16_TO, 1, mask, *rm, 8);
			expect("vmovdqu16 %s {k%u}, ymm8", rm_text(*rm, 32), mask);
		}
	lp_x86_vex_masked(&x, LP_VPHADDW, 0, 1, 1, 2, lp_rm_reg(3));
	assert_true(x.out_of_reach);
}

static void displacements_are_as_short_as_the_encoding_allows(void **state)
{
	for (EACH_MEMORY(rm)) {
		lp_x86_vex(&x, LP_VPADDD, 1, 9, 10, *rm);
		expect("vpaddd ymm9, ymm10, %s", rm_text(*rm, 32));
		lp_x86_vex(&x, LP_VPADDD, 1, 19, 10, *rm);
		expect("vpaddd ymm19, ymm10, %s", rm_text(*rm, 32));
		lp_x86_vex(&x, LP_VADDSS, 0, 9, 20, *rm);
		expect("vaddss xmm9, xmm20, %s", rm_text(*rm, 4));
	}
	for (int32_t disp = -5000; disp < 5000; disp++) {
		const uint8_t *from = x.at;

		lp_x86_vex_rm(&x, LP_VMOVUPS, 0, 16, lp_rm_mem(LP_RBP, disp));
		assert_int_equal(x.at - from, disp % 16 == 0 && disp / 16 == (int8_t)(disp / 16) ? 7 : 10);
		expect("vmovups xmm16, %s", rm_text(lp_rm_mem(LP_RBP, disp), 16));
	}
}

static void an_element_in_memory_stands_for_all(void **state)
{
	for (int32_t disp = -3000; disp < 3000; disp++) {
		lp_x86_vex_broadcast(&x, LP_VPMULUDQ, 0, 3, 16, lp_rm_mem(LP_RBP, disp));
		expect("vpmuludq xmm3, xmm16, %s {1to2}", rm_text(lp_rm_mem(LP_RBP, disp), 8));
		lp_x86_vex_broadcast(&x, LP_VPADDD, 1, 20, 6, lp_rm_mem(LP_RBP, disp));
		expect("vpaddd ymm20, ymm6, %s {1to8}", rm_text(lp_rm_mem(LP_RBP, disp), 4));
	}
}

static void low_registers_take_the_two_byte_prefix(void **state)
{
	const uint8_t *from = x.at;

	lp_x86_vex(&x, LP_VPADDD, 0, 15, 15, lp_rm_reg(7));
	assert_int_equal(x.at - from, 4);
	expect("vpaddd xmm15, xmm15, xmm7");
	lp_x86_vex(&x, LP_VPADDD, 0, 0, 0, lp_rm_reg(8));
	assert_int_equal(x.at - from, 5);
	expect("vpaddd xmm0, xmm0, xmm8");
}

static void registers_that_have_no_encoding_are_noticed(void **state)
{
	lp_x86_vex(&x, LP_VPHADDW, 0, 1, 2, lp_rm_reg(16));
	assert_true(x.out_of_reach);
	start_over(state);
	lp_x86_vex(&x, LP_VPHADDW, 0, 16, 2, lp_rm_reg(3));
	assert_true(x.out_of_reach);
	start_over(state);
	lp_x86_vex_blend(&x, LP_VPBLENDVB, 0, 1, 2, lp_rm_reg(3), 16);
	assert_true(x.out_of_reach);
	start_over(state);
	lp_x86_vex(&x, LP_VPADDD, 0, 16, 31, lp_rm_reg(17));
	assert_false(x.out_of_reach);
}

static void comparisons_say_what_they_compare(void **state)
{
	static const struct {
		enum lp_x86_vcmp how;
		const char *name;
	} of[] = {
		{LP_VCMP_EQ, "eq"},	     {LP_VCMP_LT, "lt"},	  {LP_VCMP_LE, "le"},
		{LP_VCMP_UNORD, "unord"},    {LP_VCMP_NEQ, "neq"},	  {LP_VCMP_GE, "ge"},
		{LP_VCMP_GT, "gt"},	     {LP_VCMP_LT_QUIET, "lt_oq"}, {LP_VCMP_LE_QUIET, "le_oq"},
		{LP_VCMP_GE_QUIET, "ge_oq"}, {LP_VCMP_GT_QUIET, "gt_oq"},
	};

	for (size_t i = 0; i < COUNT(of); i++) {
		lp_x86_vex_imm(&x, LP_VCMPSD, 0, 1, 2, lp_rm_reg(3), of[i].how);
		expect("vcmpsd xmm1, xmm2, xmm3, %s", hex(of[i].how));
	}
}

static void hashes_and_control_words_have_forms_of_their_own(void **state)
{
	static const struct {
		enum lp_x86_sha op;
		const char *name;
	} sha[] = {
		{LP_SHA1NEXTE, "sha1nexte"},	 {LP_SHA1MSG1, "sha1msg1"},	{LP_SHA1MSG2, "sha1msg2"},
		{LP_SHA256RNDS2, "sha256rnds2"}, {LP_SHA256MSG1, "sha256msg1"}, {LP_SHA256MSG2, "sha256msg2"},
	};

	for (EACH_FORM(rm)) {
		for (unsigned dst = 0; dst < 16; dst += 3) {
			for (size_t i = 0; i < COUNT(sha); i++) {
				lp_x86_sha(&x, sha[i].op, dst, *rm);
				expect("%s xmm%u, %s", sha[i].name, dst, rm_text(*rm, 16));
			}
			lp_x86_sha1rnds4(&x, dst, *rm, 2);
			expect("sha1rnds4 xmm%u, %s, 0x2", dst, rm_text(*rm, 16));
		}
		if (rm->kind == LP_RM_REG)
			continue;
		lp_x86_ldmxcsr(&x, *rm);
		expect("ldmxcsr %s", rm_text(*rm, 4));
		lp_x86_stmxcsr(&x, *rm);
		expect("stmxcsr %s", rm_text(*rm, 4));
	}
	lp_x86_vzeroupper(&x);
	expect("vzeroupper");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_row_is_what_it_says, start_over),
		cmocka_unit_test_setup(rows_have_no_encoding_that_they_do_not_name, start_over),
		cmocka_unit_test_setup(rows_with_sse_are_written_without_vex, start_over),
		cmocka_unit_test_setup(masks_choose_elements, start_over),
		cmocka_unit_test_setup(displacements_are_as_short_as_the_encoding_allows, start_over),
		cmocka_unit_test_setup(an_element_in_memory_stands_for_all, start_over),
		cmocka_unit_test_setup(low_registers_take_the_two_byte_prefix, start_over),
		cmocka_unit_test_setup(registers_that_have_no_encoding_are_noticed, start_over),
		cmocka_unit_test_setup(comparisons_say_what_they_compare, start_over),
		cmocka_unit_test_setup(hashes_and_control_words_have_forms_of_their_own, start_over),
	};

	return cmocka_run_group_tests(tests, make_operands, NULL);
}
