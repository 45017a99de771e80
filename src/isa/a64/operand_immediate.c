/* Numbers that are encoded in a way of their own. */
#include "isa/a64/operand.h"

#include <stdio.h>
#include <string.h>

#include "isa/a64/limm.h"

static unsigned register_bits(uint32_t word)
{
	return word >> 31 ? 64 : 32;
}

/* A number for a register of `bits` bits; negative ones stand for their low bits. */
static bool scan_register_value(struct lp_a64_scan *s, uint64_t *value)
{
	const char *start = s->p;

	if (!lp_a64_scan_integer(s, value))
		return false;
	if (register_bits(s->word) == 64)
		return true;
	if (*value <= UINT32_MAX || *value >= (uint64_t)INT32_MIN) {
		*value &= UINT32_MAX;
		return true;
	}
	s->p = start;
	return lp_a64_scan_fail(s, LP_ERANGE, "the number has more than 32 bits");
}

/* ---- , lsl #N behind a number; absent: 0 ---- */

static bool scan_lsl(struct lp_a64_scan *s, int64_t max, int64_t unit, int64_t *amount)
{
	*amount = 0;
	if (!lp_a64_scan_char(s, ','))
		return true;
	if (!lp_a64_scan_name(s, "lsl"))
		return lp_a64_scan_fail(s, LP_EPARSE, "lsl is expected");
	if (!lp_a64_scan_within(s, 0, max, amount))
		return false;
	return *amount % unit == 0 || lp_a64_scan_fail(s, LP_ERANGE, "no such shift here");
}

void lp_a64_print_aimm(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "#0x%" PRIx32 "%s", lp_a64_bits(l->word, 10, 12), lp_a64_bits(l->word, 22, 1) ? ", lsl #12" : "");
}

bool lp_a64_scan_aimm(struct lp_a64_scan *s, const uint8_t *arg)
{
	const char *start = s->p;
	int64_t value, shift;

	if (!lp_a64_scan_within(s, 0, 0xfff000, &value) || !scan_lsl(s, 12, 12, &shift))
		return false;
	if (value > 0xfff && !shift && value % 0x1000 == 0) {
		value >>= 12;
		shift = 12;
	}
	if (value > 0xfff) {
		s->p = start;
		return lp_a64_scan_fail(s, LP_ERANGE, "the number is none of 12 bits, shifted by 0 or 12");
	}
	return lp_a64_scan_set_bits(s, 10, 12, (uint32_t)value) && lp_a64_scan_set_bits(s, 22, 1, shift != 0);
}

void lp_a64_print_limm(struct lp_a64_line *l, const uint8_t *arg)
{
	uint64_t value = 0;

	lp_a64_limm_decode(l->word, &value);
	lp_a64_put(l, "#0x%" PRIx64, value);
}

bool lp_a64_scan_limm(struct lp_a64_scan *s, const uint8_t *arg)
{
	const char *start = s->p;
	uint64_t value;
	uint32_t bits;

	if (!scan_register_value(s, &value))
		return false;
	if (lp_a64_limm_encode(value, register_bits(s->word), &bits))
		return lp_a64_scan_set_bits(s, 10, 13, bits);
	s->p = start;
	return lp_a64_scan_fail(s, LP_ERANGE, "the number is no logical immediate");
}

/* ---- moves of 16 bits ---- */

void lp_a64_print_movw(struct lp_a64_line *l, const uint8_t *arg)
{
	uint32_t hw = lp_a64_bits(l->word, 21, 2);

	lp_a64_put(l, "#0x%" PRIx32, lp_a64_bits(l->word, 5, 16));
	if (hw)
		lp_a64_put(l, ", lsl #%" PRIu32, hw * 16);
}

bool lp_a64_scan_movw(struct lp_a64_scan *s, const uint8_t *arg)
{
	int64_t value, shift;

	return lp_a64_scan_within(s, 0, 0xffff, &value) && scan_lsl(s, register_bits(s->word) - 16, 16, &shift) &&
	       lp_a64_scan_set_bits(s, 5, 16, (uint32_t)value) && lp_a64_scan_set_bits(s, 21, 2, (uint32_t)shift / 16);
}

static uint64_t moved(uint32_t word)
{
	return (uint64_t)lp_a64_bits(word, 5, 16) << 16 * lp_a64_bits(word, 21, 2);
}

void lp_a64_print_movz(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "#0x%" PRIx64, moved(l->word));
}

void lp_a64_print_movn(struct lp_a64_line *l, const uint8_t *arg)
{
	uint64_t value = ~moved(l->word);

	lp_a64_put(l, "#0x%" PRIx64, l->word >> 31 ? value : (uint32_t)value);
}

static bool set_moved(struct lp_a64_scan *s, const char *start, uint64_t value)
{
	for (unsigned hw = 0; hw < 4; hw++) {
		if (value & ~(UINT64_C(0xffff) << 16 * hw))
			continue;
		return lp_a64_scan_set_bits(s, 5, 16, (uint32_t)(value >> 16 * hw)) &&
		       lp_a64_scan_set_bits(s, 21, 2, hw);
	}
	s->p = start;
	return lp_a64_scan_fail(s, LP_ERANGE, "no single instruction moves that number");
}

bool lp_a64_scan_movz(struct lp_a64_scan *s, const uint8_t *arg)
{
	const char *start = s->p;
	uint64_t value;

	return scan_register_value(s, &value) && set_moved(s, start, value);
}

bool lp_a64_scan_movn(struct lp_a64_scan *s, const uint8_t *arg)
{
	const char *start = s->p;
	uint64_t value;

	return scan_register_value(s, &value) && set_moved(s, start, s->word >> 31 ? ~value : (uint32_t)~value);
}

/* ---- bit fields: immr is a rotation to the right, imms the highest bit ---- */

static uint32_t immr(uint32_t word)
{
	return lp_a64_bits(word, 16, 6);
}

static uint32_t imms(uint32_t word)
{
	return lp_a64_bits(word, 10, 6);
}

void lp_a64_print_lsl_amount(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "#%" PRIu32, register_bits(l->word) - 1 - imms(l->word));
}

bool lp_a64_scan_lsl_amount(struct lp_a64_scan *s, const uint8_t *arg)
{
	unsigned size = register_bits(s->word);
	int64_t amount = 0;

	return lp_a64_scan_within(s, 0, size - 1, &amount) &&
	       lp_a64_scan_set_bits(s, 16, 6, (uint32_t)(size - amount) % size) &&
	       lp_a64_scan_set_bits(s, 10, 6, (uint32_t)(size - 1 - amount));
}

void lp_a64_print_bfi_lsb(struct lp_a64_line *l, const uint8_t *arg)
{
	unsigned size = register_bits(l->word);

	lp_a64_put(l, "#%" PRIu32, (size - immr(l->word)) % size);
}

bool lp_a64_scan_bfi_lsb(struct lp_a64_scan *s, const uint8_t *arg)
{
	unsigned size = register_bits(s->word);
	int64_t lsb;

	return lp_a64_scan_within(s, 0, size - 1, &lsb) &&
	       lp_a64_scan_set_bits(s, 16, 6, (uint32_t)(size - lsb) % size);
}

void lp_a64_print_bfi_width(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "#%" PRIu32, imms(l->word) + 1);
}

bool lp_a64_scan_bfi_width(struct lp_a64_scan *s, const uint8_t *arg)
{
	unsigned size = register_bits(s->word), lsb = (size - immr(s->word)) % size;
	int64_t width;

	return lp_a64_scan_within(s, 1, size - lsb, &width) && lp_a64_scan_set_bits(s, 10, 6, (uint32_t)width - 1);
}

void lp_a64_print_bfx_width(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "#%" PRIu32, imms(l->word) - immr(l->word) + 1);
}

bool lp_a64_scan_bfx_width(struct lp_a64_scan *s, const uint8_t *arg)
{
	int64_t width;

	return lp_a64_scan_within(s, 1, register_bits(s->word) - immr(s->word), &width) &&
	       lp_a64_scan_set_bits(s, 10, 6, immr(s->word) + (uint32_t)width - 1);
}

/* Of tbz: b5 is the register's width as well. */
void lp_a64_print_bit(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "#%" PRIu32, l->word >> 31 << 5 | lp_a64_bits(l->word, 19, 5));
}

bool lp_a64_scan_bit(struct lp_a64_scan *s, const uint8_t *arg)
{
	int64_t bit;

	return lp_a64_scan_within(s, 0, 63, &bit) && lp_a64_scan_set_bits(s, 31, 1, (uint32_t)bit >> 5) &&
	       lp_a64_scan_set_bits(s, 19, 5, (uint32_t)bit & 31);
}

/* ---- floating point ---- */

void lp_a64_print_fbits(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "#%" PRIu32, 64 - lp_a64_bits(l->word, 10, 6));
}

bool lp_a64_scan_fbits(struct lp_a64_scan *s, const uint8_t *arg)
{
	int64_t fbits;

	return lp_a64_scan_within(s, 1, register_bits(s->word), &fbits) &&
	       lp_a64_scan_set_bits(s, 10, 6, 64 - (uint32_t)fbits);
}

/*
 * VFPExpandImm: a sign, 4 bits of fraction below a one, an exponent from -3
 * to 4.  All are n / 128 with n below 4096: seven decimals say them exactly.
 */
static unsigned in_128ths(uint32_t imm8)
{
	unsigned exponent = (imm8 >> 4 & 7) ^ 4;

	return (16 | (imm8 & 15)) << exponent;
}

/* As printf's %.18e, whatever the locale's decimal point is. */
static void put_scientific(struct lp_a64_line *l, bool negative, unsigned n)
{
	char digits[16];
	int len = snprintf(digits, sizeof digits, "%u", n * 78125); /* n / 128 in units of 1e-7 */
	int exponent = len - 1 - 7;

	lp_a64_put(l, "#%s%c.%s%.*se%c%02d", negative ? "-" : "", digits[0], digits + 1, 18 - (len - 1),
		   "000000000000000000", exponent < 0 ? '-' : '+', exponent < 0 ? -exponent : exponent);
}

static void print_imm8(struct lp_a64_line *l, uint32_t imm8)
{
	put_scientific(l, imm8 >> 7, in_128ths(imm8));
}

static bool scan_imm8(struct lp_a64_scan *s, uint32_t *imm8)
{
	const char *start = s->p;
	double value;

	if (!lp_a64_scan_float(s, &value))
		return false;
	for (*imm8 = 0; *imm8 < 256; (*imm8)++) {
		if (value * 128 == (*imm8 >> 7 ? -1.0 : 1.0) * in_128ths(*imm8))
			return true;
	}
	s->p = start;
	return lp_a64_scan_fail(s, LP_ERANGE, "the number is no 8-bit floating-point immediate");
}

void lp_a64_print_fimm(struct lp_a64_line *l, const uint8_t *arg)
{
	print_imm8(l, lp_a64_bits(l->word, 13, 8));
}

bool lp_a64_scan_fimm(struct lp_a64_scan *s, const uint8_t *arg)
{
	uint32_t imm8;

	return scan_imm8(s, &imm8) && lp_a64_scan_set_bits(s, 13, 8, imm8);
}

/* ---- vectors: abc:defgh ---- */

static uint32_t abcdefgh(uint32_t word)
{
	return lp_a64_bits(word, 16, 3) << 5 | lp_a64_bits(word, 5, 5);
}

static bool set_abcdefgh(struct lp_a64_scan *s, uint32_t imm8)
{
	return lp_a64_scan_set_bits(s, 16, 3, imm8 >> 5) && lp_a64_scan_set_bits(s, 5, 5, imm8);
}

void lp_a64_print_vfimm(struct lp_a64_line *l, const uint8_t *arg)
{
	print_imm8(l, abcdefgh(l->word));
}

bool lp_a64_scan_vfimm(struct lp_a64_scan *s, const uint8_t *arg)
{
	uint32_t imm8;

	return scan_imm8(s, &imm8) && set_abcdefgh(s, imm8);
}

void lp_a64_print_vimm(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "#0x%" PRIx32, abcdefgh(l->word));
}

bool lp_a64_scan_vimm(struct lp_a64_scan *s, const uint8_t *arg)
{
	int64_t value;

	return lp_a64_scan_within(s, 0, 255, &value) && set_abcdefgh(s, (uint32_t)value);
}

/* arg[0] bits at 13: by how many bytes. */
void lp_a64_print_vlsl(struct lp_a64_line *l, const uint8_t *arg)
{
	uint32_t bytes = lp_a64_bits(l->word, 13, arg[0]);

	if (bytes)
		lp_a64_put(l, ", lsl #%" PRIu32, 8 * bytes);
}

bool lp_a64_scan_vlsl(struct lp_a64_scan *s, const uint8_t *arg)
{
	int64_t amount = 0;

	return scan_lsl(s, arg[0] == 2 ? 24 : 8, 8, &amount) &&
	       lp_a64_scan_set_bits(s, 13, arg[0], (uint32_t)amount / 8);
}

void lp_a64_print_msl(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, "msl #%d", lp_a64_bits(l->word, 12, 1) ? 16 : 8);
}

bool lp_a64_scan_msl(struct lp_a64_scan *s, const uint8_t *arg)
{
	int64_t amount = 0;

	if (!lp_a64_scan_name(s, "msl"))
		return lp_a64_scan_fail(s, LP_EPARSE, "msl is expected");
	if (!lp_a64_scan_within(s, 8, 16, &amount))
		return false;
	return amount % 8 ? lp_a64_scan_fail(s, LP_ERANGE, "no such shift here")
			  : lp_a64_scan_set_bits(s, 12, 1, amount == 16);
}

/* Each bit a byte. */
void lp_a64_print_vimm64(struct lp_a64_line *l, const uint8_t *arg)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i++)
		value |= abcdefgh(l->word) >> i & 1 ? UINT64_C(0xff) << 8 * i : 0;
	lp_a64_put(l, "#0x%" PRIx64, value);
}

bool lp_a64_scan_vimm64(struct lp_a64_scan *s, const uint8_t *arg)
{
	const char *start = s->p;
	uint64_t value;
	uint32_t imm8 = 0;

	if (!lp_a64_scan_integer(s, &value))
		return false;
	for (unsigned i = 0; i < 8; i++) {
		uint8_t byte = (uint8_t)(value >> 8 * i);
		if (byte != 0 && byte != 0xff) {
			s->p = start;
			return lp_a64_scan_fail(s, LP_ERANGE, "each byte of the number must be 0x00 or 0xff");
		}
		imm8 |= (uint32_t)(byte & 1) << i;
	}
	return set_abcdefgh(s, imm8);
}
