/* General registers, alone or shifted or extended. */
#include "isa/a64/operand.h"

#include <stdio.h>

#include "base/vec.h"

const char *lp_a64_register_name(char buf[8], bool is_64, bool with_sp, unsigned number)
{
	if (number != 31)
		snprintf(buf, 8, "%c%u", is_64 ? 'x' : 'w', number);
	else if (with_sp)
		snprintf(buf, 8, is_64 ? "sp" : "wsp");
	else
		snprintf(buf, 8, is_64 ? "xzr" : "wzr");
	return buf;
}

/* Registers with names of their own; 31 means different things to different instructions. */
static const struct special {
	const char *name;
	bool is_64, is_sp;
	uint8_t number;
} specials[] = {
	{"xzr", true, false, 31}, {"wzr", false, false, 31}, {"sp", true, true, 31},   {"wsp", false, true, 31},
	{"lr", true, false, 30},  {"fp", true, false, 29},   {"ip0", true, false, 16}, {"ip1", true, false, 17},
};

static bool scan_special(struct lp_a64_scan *s, bool with_sp, bool *is_64, unsigned *number)
{
	const char *start = s->p;

	for (size_t i = 0; i < LP_ARRAY_SIZE(specials); i++) {
		if (!lp_a64_scan_name(s, specials[i].name))
			continue;
		*is_64 = specials[i].is_64;
		*number = specials[i].number;
		if (*number != 31 || specials[i].is_sp == with_sp)
			return true;
		s->p = start;
		return lp_a64_scan_fail(s, LP_EPARSE,
					with_sp ? "the zero register cannot stand here" : "sp cannot stand here");
	}
	return lp_a64_scan_fail(s, LP_EPARSE, "a general register is expected");
}

bool lp_a64_scan_register(struct lp_a64_scan *s, bool with_sp, bool *is_64, unsigned *number)
{
	char letter;

	if (!lp_a64_scan_lettered(s, "wx", 30, &letter, number))
		return scan_special(s, with_sp, is_64, number);
	*is_64 = letter == 'x';
	return true;
}

static bool is_64(uint32_t word, unsigned width)
{
	switch (width & WIDTH_MODE) {
	case WIDTH_X:
		return true;
	case WIDTH_SF:
	case WIDTH_SF_N:
		return word >> 31;
	case WIDTH_BIT30:
		return word >> 30 & 1;
	case WIDTH_SIZE:
		return word >> 30 == 3;
	default:
		return false;
	}
}

static bool set_width(struct lp_a64_scan *s, unsigned width, bool wide)
{
	switch (width & WIDTH_MODE) {
	case WIDTH_SF:
		return lp_a64_scan_set_bits(s, 31, 1, wide);
	case WIDTH_SF_N:
		return lp_a64_scan_set_bits(s, 31, 1, wide) && lp_a64_scan_set_bits(s, 22, 1, wide);
	case WIDTH_BIT30:
		return lp_a64_scan_set_bits(s, 30, 1, wide);
	default: /* the mnemonic has decided about the size */
		return is_64(s->word, width) == wide ||
		       lp_a64_scan_fail(s, LP_EPARSE, "a register of the other width is expected");
	}
}

void lp_a64_print_gpr(struct lp_a64_line *l, const uint8_t *arg)
{
	char buf[8];

	lp_a64_put(
		l, "%s",
		lp_a64_register_name(buf, is_64(l->word, arg[1]), arg[1] & WIDTH_SP, lp_a64_bits(l->word, arg[0], 5)));
}

static bool scan_gpr(struct lp_a64_scan *s, unsigned width, unsigned *number)
{
	const char *start = s->p, *end;
	bool wide = false;

	if (!lp_a64_scan_register(s, width & WIDTH_SP, &wide, number))
		return false;
	end = s->p;
	s->p = start; /* where a failure is */
	if (!set_width(s, width, wide))
		return false;
	s->p = end;
	return true;
}

bool lp_a64_scan_gpr(struct lp_a64_scan *s, const uint8_t *arg)
{
	unsigned number = 0;

	return scan_gpr(s, arg[1], &number) && lp_a64_scan_set_bits(s, arg[0], 5, number);
}

/* The second register of a pair that is named in full though only the first is encoded. */
void lp_a64_print_gpr_next(struct lp_a64_line *l, const uint8_t *arg)
{
	char buf[8];

	lp_a64_put(l, "%s",
		   lp_a64_register_name(buf, is_64(l->word, arg[1]), false, lp_a64_bits(l->word, arg[0], 5) + 1));
}

bool lp_a64_scan_gpr_next(struct lp_a64_scan *s, const uint8_t *arg)
{
	unsigned number = 0;

	if (!scan_gpr(s, arg[1], &number))
		return false;
	return number == lp_a64_bits(s->word, arg[0], 5) + 1 ||
	       lp_a64_scan_fail(s, LP_EPARSE, "a pair is an even register and the next one");
}

static const uint8_t rn[] = {5, WIDTH_SF}, rm[] = {16, WIDTH_SF};

void lp_a64_print_gpr_twice(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_print_gpr(l, rn);
}

bool lp_a64_scan_gpr_twice(struct lp_a64_scan *s, const uint8_t *arg)
{
	const char *start = s->p;

	if (!lp_a64_scan_gpr(s, rn))
		return false;
	s->p = start;
	return lp_a64_scan_gpr(s, rm);
}

/* ---- , lsl #3 ---- */

static const char *const shifts[4] = {"lsl", "lsr", "asr", "ror"};

void lp_a64_print_shift(struct lp_a64_line *l, const uint8_t *arg)
{
	uint32_t shift = lp_a64_bits(l->word, 22, 2), amount = lp_a64_bits(l->word, 10, 6);

	if (shift || amount)
		lp_a64_put(l, ", %s #%" PRIu32, shifts[shift], amount);
}

bool lp_a64_scan_shift(struct lp_a64_scan *s, const uint8_t *arg)
{
	int64_t amount = 0;

	if (!lp_a64_scan_char(s, ','))
		return lp_a64_scan_set_bits(s, 22, 2, 0) && lp_a64_scan_set_bits(s, 10, 6, 0);

	int shift = lp_a64_scan_one_of(s, shifts, arg[0] ? 4 : 3);
	if (shift < 0)
		return lp_a64_scan_fail(s, LP_EPARSE, "a shift is expected");
	if (!lp_a64_scan_within(s, 0, s->word >> 31 ? 63 : 31, &amount))
		return false;
	return lp_a64_scan_set_bits(s, 22, 2, (uint32_t)shift) && lp_a64_scan_set_bits(s, 10, 6, (uint32_t)amount);
}

/* ---- w1, uxtw #2 ---- */

const char *const lp_a64_extends[8] = {"uxtb", "uxth", "uxtw", "uxtx", "sxtb", "sxth", "sxtw", "sxtx"};

/* The extension that changes nothing is called lsl beside sp, and is left away when it does not shift either. */
static bool is_plain(uint32_t word, bool rd_may_be_sp)
{
	bool beside_sp = lp_a64_bits(word, 5, 5) == 31 || (rd_may_be_sp && lp_a64_bits(word, 0, 5) == 31);

	return beside_sp && lp_a64_bits(word, 13, 3) == (word >> 31 ? 3u : 2u);
}

void lp_a64_print_extended(struct lp_a64_line *l, const uint8_t *arg)
{
	uint32_t option = lp_a64_bits(l->word, 13, 3), amount = lp_a64_bits(l->word, 10, 3);
	bool plain = is_plain(l->word, arg[0]);
	char buf[8];

	lp_a64_put(l, "%s",
		   lp_a64_register_name(buf, l->word >> 31 && (option & 3) == 3, false, lp_a64_bits(l->word, 16, 5)));
	if (!plain || amount)
		lp_a64_put(l, ", %s", plain ? "lsl" : lp_a64_extends[option]);
	if (amount)
		lp_a64_put(l, " #%" PRIu32, amount);
}

/* The extension's name, if there is one. */
static bool scan_extend(struct lp_a64_scan *s, int *option)
{
	*option = s->word >> 31 ? 3 : 2;
	if (!lp_a64_scan_char(s, ','))
		return is_plain(s->word | (uint32_t)*option << 13, true) ||
		       lp_a64_scan_fail(s, LP_EPARSE, "an extension is expected");
	if (lp_a64_scan_name(s, "lsl"))
		return true;
	*option = lp_a64_scan_one_of(s, lp_a64_extends, 8);
	return *option >= 0 || lp_a64_scan_fail(s, LP_EPARSE, "an extension is expected");
}

bool lp_a64_scan_extended(struct lp_a64_scan *s, const uint8_t *arg)
{
	bool is_wide = false;
	unsigned number = 0;
	int option;
	int64_t amount = 0;

	if (!lp_a64_scan_register(s, false, &is_wide, &number) || !scan_extend(s, &option))
		return false;
	if (is_wide != (s->word >> 31 && (option & 3) == 3))
		return lp_a64_scan_fail(s, LP_EPARSE, "the extension is for a register of the other width");
	lp_a64_scan_space(s);
	if ((*s->p == '#' || (*s->p >= '0' && *s->p <= '9')) && !lp_a64_scan_within(s, 0, 4, &amount))
		return false;
	return lp_a64_scan_set_bits(s, 16, 5, number) && lp_a64_scan_set_bits(s, 13, 3, (uint32_t)option) &&
	       lp_a64_scan_set_bits(s, 10, 3, (uint32_t)amount);
}
