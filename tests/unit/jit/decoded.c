#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <Zydis/Zydis.h>

#include "decoded.h"

struct lp_x86 x;

static uint8_t code[64];

void start(int64_t run_offset)
{
	memset(code, 0xcc, sizeof(code));
	x = (struct lp_x86){.at = code, .end = code + sizeof(code), .run_offset = run_offset};
}

int start_over(void **state)
{
	start(0x100000);
	return 0;
}

/* ---- reading ---- */

static ZydisFormatter formatter;

static void make_formatter(void)
{
	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_FORCE_SIZE, ZYAN_TRUE);
	ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE);
	ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE, ZYDIS_PADDING_DISABLED);
	ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_DISP_PADDING, ZYDIS_PADDING_DISABLED);
	ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_IMM_PADDING, ZYDIS_PADDING_DISABLED);
	ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_DISP_SIGNEDNESS, ZYDIS_SIGNEDNESS_SIGNED);
}

static bool decodes(const uint8_t *bytes, size_t len, ZydisDecodedInstruction *insn, ZydisDecodedOperand *operands)
{
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, len, insn, operands));
}

/* Longer than need be: with a displacement of zero where none would do, or of four bytes where one would. */
static bool has_long_displacement(const ZydisDecodedInstruction *insn)
{
	int64_t disp = insn->raw.disp.value;

	if (!(insn->attributes & ZYDIS_ATTRIB_HAS_MODRM) || insn->raw.modrm.mod == 3 || !insn->raw.disp.size ||
	    (insn->raw.modrm.mod == 0 && insn->raw.modrm.rm == 5))
		return false;
	if (insn->raw.modrm.mod == 0 && insn->raw.modrm.rm == 4 && insn->raw.sib.base == 5)
		return false; /* the only form without a base */
	unsigned base = insn->raw.modrm.rm == 4 ? insn->raw.sib.base : insn->raw.modrm.rm;
	return (insn->raw.disp.size == 32 && disp == (int8_t)disp &&
		insn->encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX) ||
	       (disp == 0 && base != 5);
}

/* Of arithmetic, imul and push, which have a form for one byte. */
static bool has_long_immediate(const ZydisDecodedInstruction *insn)
{
	int64_t imm = insn->raw.imm[0].value.s;

	return insn->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
	       (insn->opcode == 0x81 || insn->opcode == 0x69 || insn->opcode == 0x68) && imm == (int8_t)imm;
}

static bool writes_flags(const ZydisDecodedInstruction *insn)
{
	const ZydisAccessedFlags *flags = insn->cpu_flags;

	return flags && (flags->modified | flags->set_0 | flags->set_1 | flags->undefined);
}

void expect(const char *fmt, ...)
{
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	char want[256], got[256] = "";
	size_t len = (size_t)(x.at - code);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(want, sizeof(want), fmt, ap);
	va_end(ap);
	if (!decodes(code, len, &insn, operands))
		fail_msg("%s: no instruction, of %zu bytes: %02x %02x %02x %02x %02x %02x", want, len, code[0], code[1],
			 code[2], code[3], code[4], code[5]);
	ZydisFormatterFormatInstruction(&formatter, &insn, operands, insn.operand_count_visible, got, sizeof(got),
					(uint64_t)code + (uint64_t)x.run_offset, ZYAN_NULL);
	assert_string_equal(got, want);
	if (insn.length != len || len > LP_X86_MAX)
		fail_msg("%s: %u bytes of %zu", want, insn.length, len);
	if (has_long_displacement(&insn))
		fail_msg("%s: a longer displacement than it needs", want);
	if (has_long_immediate(&insn))
		fail_msg("%s: a longer immediate than it needs", want);
	if (insn.meta.branch_type == ZYDIS_BRANCH_TYPE_NONE && insn.meta.category != ZYDIS_CATEGORY_INTERRUPT &&
	    x.flags_clobbered != writes_flags(&insn))
		fail_msg("%s: flags_clobbered is %d", want, x.flags_clobbered);
	assert_int_equal(code[len], 0xcc);
	start(x.run_offset);
}

static ZydisDecodedInstruction decode(const uint8_t *bytes, size_t len, ZydisDecodedOperand *operands)
{
	ZydisDecodedInstruction insn;

	assert_true(decodes(bytes, len, &insn, operands));
	return insn;
}

const char *written_text(void)
{
	static char got[256];
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	bool is = decodes(code, (size_t)(x.at - code), &insn, operands);

	if (is)
		ZydisFormatterFormatInstruction(&formatter, &insn, operands, insn.operand_count_visible, got,
						sizeof(got), (uint64_t)code + (uint64_t)x.run_offset, ZYAN_NULL);
	start(x.run_offset);
	return is ? got : NULL;
}

void expect_branch(const uint8_t *from, const struct lp_x86 *buffer, const char *mnemonic, uint64_t target)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn = decode(from, LP_X86_MAX, operands);
	uint64_t got;

	assert_string_equal(ZydisMnemonicGetString(insn.mnemonic), mnemonic);
	assert_true(ZYAN_SUCCESS(
		ZydisCalcAbsoluteAddress(&insn, operands, (uint64_t)from + (uint64_t)buffer->run_offset, &got)));
	assert_int_equal(got, target);
}

size_t count_nops(const uint8_t *bytes, size_t len)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	size_t count = 0;

	for (size_t at = 0; at < len; count++) {
		ZydisDecodedInstruction insn = decode(bytes + at, len - at, operands);

		assert_int_equal(insn.mnemonic, ZYDIS_MNEMONIC_NOP);
		at += insn.length;
	}
	return count;
}

/* ---- operands ---- */

static char *text(void)
{
	static char texts[64][80];
	static unsigned next;

	return texts[next++ % 64];
}

const char *hex(uint64_t value)
{
	char *to = text();

	snprintf(to, 80, "0x%llx", (unsigned long long)value);
	return to;
}

const char *reg_text(unsigned reg, unsigned bytes)
{
	static const char *const names[4][8] = {
		{"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"},
		{"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"},
		{"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"},
		{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"},
	};
	static const char *const suffix[4] = {"b", "w", "d", ""};
	unsigned size = (unsigned)__builtin_ctz(bytes);
	char *to = text();

	if (bytes == TEXT_MASK)
		snprintf(to, 80, "k%u", reg);
	else if (bytes >= 16)
		snprintf(to, 80, "%cmm%u", bytes == 16 ? 'x' : 'y', reg);
	else if (reg < 8)
		snprintf(to, 80, "%s", names[size][reg]);
	else
		snprintf(to, 80, "r%u%s", reg, suffix[size]);
	return to;
}

static const char *memory_text(struct lp_x86_rm rm, unsigned bytes)
{
	static const char *const sizes[6] = {"byte", "word", "dword", "qword", "xmmword", "ymmword"};
	char size[16] = "", index[16] = "", disp[24] = "";
	char *to = text();

	if (bytes)
		snprintf(size, sizeof(size), "%s ptr ", sizes[__builtin_ctz(bytes)]);
	if (rm.kind == LP_RM_ABS) {
		snprintf(to, 80, "%s[0x%llx]", size, (unsigned long long)(uintptr_t)rm.address);
		return to;
	}
	if (rm.index != LP_RSP && rm.scale)
		snprintf(index, sizeof(index), "+%s*%u", reg_text(rm.index, 8), 1U << rm.scale);
	else if (rm.index != LP_RSP)
		snprintf(index, sizeof(index), "+%s*1", reg_text(rm.index, 8));
	if (rm.disp)
		snprintf(disp, sizeof(disp), "%c0x%llx", rm.disp < 0 ? '-' : '+', llabs(rm.disp));
	if (rm.kind == LP_RM_INDEX)
		snprintf(to, 80, "%s[%s%s]", size, index + 1, disp);
	else
		snprintf(to, 80, "%s[%s%s%s]", size, reg_text(rm.base, 8), index, disp);
	return to;
}

const char *vm_text(struct lp_x86_rm rm, unsigned register_bytes, unsigned memory_bytes)
{
	return rm.kind == LP_RM_REG ? reg_text(rm.base, register_bytes) : memory_text(rm, memory_bytes);
}

const char *rm_text(struct lp_x86_rm rm, unsigned bytes)
{
	return vm_text(rm, bytes, bytes);
}

static struct lp_x86_rm all_memory[8192], all_forms[64];

const struct lp_x86_rm *memory = all_memory, *forms = all_forms;
size_t memory_count, forms_count;

int make_operands(void **state)
{
	static const int32_t disps[] = {0, 8, 127, 128, -128, -129, 0x12345678, INT32_MIN, INT32_MAX};
	static const unsigned bases[] = {LP_RAX, LP_RSP, LP_RBP, LP_R9, LP_R12, LP_R13};

	make_formatter();
	memory_count = forms_count = 0;
	for (size_t d = 0; d < sizeof(disps) / sizeof(*disps); d++) {
		for (unsigned base = 0; base < 16; base++) {
			all_memory[memory_count++] = lp_rm_mem(base, disps[d]);
			for (unsigned index = 0; index < 16; index++)
				for (unsigned scale = 1; index != LP_RSP && d % 4 == 0 && scale <= 8; scale *= 2)
					all_memory[memory_count++] = lp_rm_sib(base, index, scale, disps[d]);
		}
	}
	for (unsigned index = 0; index < 16; index++)
		for (unsigned scale = 1; index != LP_RSP && scale <= 8; scale *= 2)
			all_memory[memory_count++] = lp_rm_index(index, scale, disps[index % 9]);
	for (unsigned i = 0; i < sizeof(bases) / sizeof(*bases); i++) {
		all_forms[forms_count++] = lp_rm_reg(bases[i]);
		for (size_t d = 0; d < 7; d += 3)
			all_forms[forms_count++] = lp_rm_mem(bases[i], disps[d]);
		all_forms[forms_count++] = lp_rm_sib(bases[i], LP_RBP, 4, 8);
		all_forms[forms_count++] = lp_rm_sib(bases[i], LP_R12, 8, 0x1000);
	}
	all_forms[forms_count++] = lp_rm_reg(LP_RSI);
	all_forms[forms_count++] = lp_rm_reg(LP_R15);
	all_forms[forms_count++] = lp_rm_index(LP_R12, 4, 0);
	all_forms[forms_count++] = lp_rm_index(LP_RBP, 2, -8);
	all_forms[forms_count++] = lp_rm_abs((const void *)((uintptr_t)code + 0x110000));
	return 0;
}
