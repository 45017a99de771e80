/*
 * A listing of what stands at entries and of what we write there: branches,
 * pc-relative addresses, frame set-up, immediates, hints.  Everything else is
 * shown as the word it is; a full decoder is another module's work.
 *
 * The spelling is objdump's, addresses as 0x... .
 */
#include "isa/a64/a64.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/bits.h"
#include "isa/a64/encode.h"

size_t lp_a64_insn_length(const uint8_t *code, size_t len, lp_addr at)
{
	(void)code;
	(void)at;
	return len >= A64_INSN ? A64_INSN : 0;
}

static uint32_t bits(uint32_t insn, unsigned lsb, unsigned width)
{
	return insn >> lsb & ((1u << width) - 1);
}

static int32_t signed_bits(uint32_t insn, unsigned lsb, unsigned width)
{
	return (int32_t)(insn << (32 - lsb - width)) >> (32 - width);
}

/* The instruction at hand and the line that is being written. */
struct line {
	uint32_t insn;
	lp_addr at;
	char *out;
	size_t size, len;
};

static void put(struct line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct line *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(l->out + l->len, l->size - l->len, fmt, ap);
	va_end(ap);
	l->len += n < 0 ? 0 : (size_t)n;
	if (l->len >= l->size)
		l->len = l->size - 1;
}

static const char *reg_name(char buf[8], bool is_64, uint32_t reg)
{
	snprintf(buf, 8, reg == 31 ? "%czr" : "%c%" PRIu32, is_64 ? 'x' : 'w', reg);
	return buf;
}

/* In operands that are addresses or their arithmetic, register 31 is the stack pointer. */
static const char *reg_or_sp(char buf[8], bool is_64, uint32_t reg)
{
	return reg != 31 ? reg_name(buf, is_64, reg) : is_64 ? "sp" : "wsp";
}

/* The name lives as long as the block it is used in. */
#define REG(is_64, lsb) reg_name((char[8]){0}, is_64, bits(l->insn, lsb, 5))
#define REG_OR_SP(is_64, lsb) reg_or_sp((char[8]){0}, is_64, bits(l->insn, lsb, 5))
#define IS_64 (l->insn >> 31)

static lp_addr direct_target(const struct line *l)
{
	lp_addr target = 0;

	lp_a64_direct_target(l->insn, l->at, &target);
	return target;
}

static void show_b(struct line *l)
{
	put(l, "%s " LP_ADDR, l->insn >> 31 ? "bl" : "b", direct_target(l));
}

static void show_b_cond(struct line *l)
{
	static const char cond[16][3] = {"eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc",
					 "hi", "ls", "ge", "lt", "gt", "le", "al", "nv"};

	put(l, "b.%s " LP_ADDR, cond[bits(l->insn, 0, 4)], direct_target(l));
}

static void show_cbz(struct line *l)
{
	put(l, "%s %s, " LP_ADDR, bits(l->insn, 24, 1) ? "cbnz" : "cbz", REG(IS_64, 0), direct_target(l));
}

static void show_tbz(struct line *l)
{
	put(l, "%s %s, #%" PRIu32 ", " LP_ADDR, bits(l->insn, 24, 1) ? "tbnz" : "tbz", REG(IS_64, 0),
	    bits(l->insn, 31, 1) << 5 | bits(l->insn, 19, 5), direct_target(l));
}

static void show_adr(struct line *l)
{
	put(l, "adr %s, " LP_ADDR, REG(true, 0), direct_target(l));
}

static void show_adrp(struct line *l)
{
	int64_t pages = (int64_t)signed_bits(l->insn, 5, 19) * 4 + bits(l->insn, 29, 2);

	put(l, "adrp %s, " LP_ADDR, REG(true, 0), lp_align_down(l->at, 4096) + (uint64_t)pages * 4096);
}

static void show_ldr_literal(struct line *l)
{
	static const char *const general[] = {"ldr w", "ldr x", "ldrsw x"};
	static const char *const vector[] = {"ldr s", "ldr d", "ldr q"};
	const char *name = (bits(l->insn, 26, 1) ? vector : general)[bits(l->insn, 30, 2)];
	lp_addr target = l->at + (uint64_t)((int64_t)signed_bits(l->insn, 5, 19) * 4);

	if (bits(l->insn, 0, 5) == 31 && !bits(l->insn, 26, 1))
		put(l, "%szr, " LP_ADDR, name, target);
	else
		put(l, "%s%" PRIu32 ", " LP_ADDR, name, bits(l->insn, 0, 5), target);
}

/* [xN], [xN, #i], [xN, #i]!, [xN], #i */
enum indexing { POST = 1, OFFSET, PRE };

static void put_address(struct line *l, enum indexing mode, int32_t offset)
{
	const char *base = REG_OR_SP(true, 5);

	if (mode == POST)
		put(l, "[%s], #%" PRId32, base, offset);
	else if (mode == PRE)
		put(l, "[%s, #%" PRId32 "]!", base, offset);
	else if (offset)
		put(l, "[%s, #%" PRId32 "]", base, offset);
	else
		put(l, "[%s]", base);
}

static void show_pair(struct line *l)
{
	uint32_t opc = bits(l->insn, 30, 2);
	bool is_load = bits(l->insn, 22, 1), is_vector = bits(l->insn, 26, 1);
	unsigned scale = is_vector ? 2 + opc : opc == 2 ? 3 : 2;

	put(l, "%s%s ", is_load ? "ldp" : "stp", !is_vector && opc == 1 ? "sw" : "");
	if (is_vector)
		put(l, "%c%" PRIu32 ", %c%" PRIu32 ", ", "sdq"[opc], bits(l->insn, 0, 5), "sdq"[opc],
		    bits(l->insn, 10, 5));
	else
		put(l, "%s, %s, ", REG(opc != 0, 0), REG(opc != 0, 10));
	put_address(l, bits(l->insn, 23, 2), signed_bits(l->insn, 15, 7) * (1 << scale));
}

static void show_load_store(struct line *l)
{
	bool is_64 = bits(l->insn, 30, 1);

	put(l, "%s %s, ", bits(l->insn, 22, 1) ? "ldr" : "str", REG(is_64, 0));
	put_address(l, OFFSET, (int32_t)bits(l->insn, 10, 12) << (is_64 ? 3 : 2));
}

static void show_add_sub(struct line *l)
{
	static const char *const names[] = {"add", "adds", "sub", "subs"};
	uint32_t op = bits(l->insn, 29, 2), imm = bits(l->insn, 10, 12), rd = bits(l->insn, 0, 5),
		 rn = bits(l->insn, 5, 5);
	bool sets_flags = op & 1;

	if (op == 0 && !imm && !bits(l->insn, 22, 1) && (rd == 31 || rn == 31)) {
		put(l, "mov %s, %s", REG_OR_SP(IS_64, 0), REG_OR_SP(IS_64, 5));
		return;
	}
	if (sets_flags && rd == 31)
		put(l, "%s %s", op == 1 ? "cmn" : "cmp", REG_OR_SP(IS_64, 5));
	else
		put(l, "%s %s, %s", names[op], sets_flags ? REG(IS_64, 0) : REG_OR_SP(IS_64, 0), REG_OR_SP(IS_64, 5));
	put(l, ", #0x%" PRIx32 "%s", imm, bits(l->insn, 22, 1) ? ", lsl #12" : "");
}

static void show_mov_wide(struct line *l)
{
	static const char *const names[] = {"movn", "", "movz", "movk"};
	uint32_t opc = bits(l->insn, 29, 2), hw = bits(l->insn, 21, 2);
	uint64_t imm = bits(l->insn, 5, 16), value = imm << 16 * hw;
	bool is_plain = opc == 3 || (!imm && hw) || (opc == 0 && !IS_64 && imm == 0xffff);

	if (opc == 0)
		value = IS_64 ? ~value : (uint32_t)~value;
	if (!is_plain)
		put(l, "mov %s, #0x%" PRIx64, REG(IS_64, 0), value);
	else if (hw)
		put(l, "%s %s, #0x%" PRIx64 ", lsl #%" PRIu32, names[opc], REG(IS_64, 0), imm, 16 * hw);
	else
		put(l, "%s %s, #0x%" PRIx64, names[opc], REG(IS_64, 0), imm);
}

static void show_mov_reg(struct line *l)
{
	put(l, "mov %s, %s", REG(IS_64, 0), REG(IS_64, 16));
}

static void show_br(struct line *l)
{
	put(l, "%s %s", bits(l->insn, 21, 1) ? "blr" : "br", REG(true, 5));
}

static void show_ret(struct line *l)
{
	if (bits(l->insn, 5, 5) == 30)
		put(l, "ret");
	else
		put(l, "ret %s", REG(true, 5));
}

static void show_udf(struct line *l)
{
	put(l, "udf #%" PRIu32, l->insn);
}

static void show_svc(struct line *l)
{
	put(l, "svc #0x%" PRIx32, bits(l->insn, 5, 16));
}

static void show_brk(struct line *l)
{
	put(l, "brk #0x%" PRIx32, bits(l->insn, 5, 16));
}

static const struct form {
	uint32_t mask, match;
	const char *text; /* whole text, or ... */
	void (*show)(struct line *l);
} forms[] = {
	{0xffffffff, A64_NOP, "nop", NULL},
	{0xffffffff, 0xd503241f, "bti", NULL},
	{0xffffffff, 0xd503245f, "bti c", NULL},
	{0xffffffff, 0xd503249f, "bti j", NULL},
	{0xffffffff, 0xd50324df, "bti jc", NULL},
	{0xffffffff, 0xd50320ff, "xpaclri", NULL},
	{0xffffffff, 0xd503211f, "pacia1716", NULL},
	{0xffffffff, 0xd503215f, "pacib1716", NULL},
	{0xffffffff, 0xd503219f, "autia1716", NULL},
	{0xffffffff, 0xd50321df, "autib1716", NULL},
	{0xffffffff, 0xd503231f, "paciaz", NULL},
	{0xffffffff, A64_PACIASP, "paciasp", NULL},
	{0xffffffff, 0xd503235f, "pacibz", NULL},
	{0xffffffff, A64_PACIBSP, "pacibsp", NULL},
	{0xffffffff, 0xd503239f, "autiaz", NULL},
	{0xffffffff, 0xd50323bf, "autiasp", NULL},
	{0xffffffff, 0xd50323df, "autibz", NULL},
	{0xffffffff, 0xd50323ff, "autibsp", NULL},
	{0xffffffff, 0xd65f0bff, "retaa", NULL},
	{0xffffffff, 0xd65f0fff, "retab", NULL},
	{0x7c000000, 0x14000000, NULL, show_b},
	{0xff000010, 0x54000000, NULL, show_b_cond},
	{0x7e000000, 0x34000000, NULL, show_cbz},
	{0x7e000000, 0x36000000, NULL, show_tbz},
	{0x9f000000, 0x10000000, NULL, show_adr},
	{0x9f000000, 0x90000000, NULL, show_adrp},
	{0xbb000000, 0x18000000, NULL, show_ldr_literal}, /* ldr s, d; w, x */
	{0xfb000000, 0x98000000, NULL, show_ldr_literal}, /* ldr q; ldrsw */
	{0x7f800000, 0x28800000, NULL, show_pair},	  /* w, x, post-indexed */
	{0x7f800000, 0x29000000, NULL, show_pair},	  /* w, x, offset */
	{0x7f800000, 0x29800000, NULL, show_pair},	  /* w, x, pre-indexed */
	{0xbf800000, 0x2c800000, NULL, show_pair},	  /* s, d */
	{0xbf800000, 0x2d000000, NULL, show_pair},
	{0xbf800000, 0x2d800000, NULL, show_pair},
	{0xff800000, 0xac800000, NULL, show_pair}, /* q */
	{0xff800000, 0xad000000, NULL, show_pair},
	{0xff800000, 0xad800000, NULL, show_pair},
	{0xbfc00000, 0xb9000000, NULL, show_load_store}, /* str w, x */
	{0xbfc00000, 0xb9400000, NULL, show_load_store}, /* ldr w, x */
	{0x1f800000, 0x11000000, NULL, show_add_sub},
	{0x7f800000, 0x12800000, NULL, show_mov_wide}, /* movn */
	{0x5f800000, 0x52800000, NULL, show_mov_wide}, /* movz, movk */
	{0x7fe0ffe0, 0x2a0003e0, NULL, show_mov_reg},
	{0xffdffc1f, 0xd61f0000, NULL, show_br},
	{0xfffffc1f, 0xd65f0000, NULL, show_ret},
	{0xffff0000, 0x00000000, NULL, show_udf},
	{0xffe0001f, 0xd4000001, NULL, show_svc},
	{0xffe0001f, 0xd4200000, NULL, show_brk},
};

static const struct form *find_form(uint32_t insn)
{
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		if ((insn & forms[i].mask) == forms[i].match)
			return &forms[i];
	}
	return NULL;
}

size_t lp_a64_disasm(const uint8_t *code, size_t len, lp_addr at, char *out, size_t out_size)
{
	char text[64] = "";

	if (len < A64_INSN)
		return 0;

	struct line line = {.insn = lp_get32(code), .at = at, .out = text, .size = sizeof text};
	const struct form *form = find_form(line.insn);

	if (form && form->show)
		form->show(&line);
	else if (form)
		put(&line, "%s", form->text);
	else
		put(&line, ".word 0x%08" PRIx32, line.insn);
	if (out_size)
		snprintf(out, out_size, "%s", text);
	return A64_INSN;
}
