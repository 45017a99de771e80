/* Places in memory: targets, bases with offsets, prefetches. */
#include "isa/a64/operand.h"

#include "base/bits.h"

/* ---- relative to the instruction ---- */

/* `name` or `$name`; 0 when there is none. */
static size_t scan_name(struct lp_a64_scan *s, const char **name)
{
	const char *rest;

	lp_a64_scan_space(s);
	*name = s->p;
	s->p += *s->p == '$';
	if (*s->p == ' ' || *s->p == '\t' || !lp_a64_scan_identifier(s, &rest))
		return 0;
	return (size_t)(s->p - *name);
}

/* A number, or a name that lookup() knows. */
static bool scan_target(struct lp_a64_scan *s, lp_addr *target)
{
	const char *name, *start = s->p;
	size_t len = scan_name(s, &name);

	if (!len) {
		s->p = start;
		return lp_a64_scan_integer(s, target);
	}
	if (s->names && s->names->lookup(s->names->arg, name, len, target))
		return true;
	s->p = name;
	return lp_a64_scan_fail(s, LP_ENOSYM, "the name is not known");
}

/* The distance to it in units, in a field of `width` bits. */
static bool scan_distance(struct lp_a64_scan *s, lp_addr from, unsigned log2_unit, unsigned width, uint32_t *field)
{
	const char *start = s->p;
	lp_addr target;

	if (!scan_target(s, &target))
		return false;

	int64_t distance = (int64_t)(target - from);
	if (distance & ((INT64_C(1) << log2_unit) - 1)) {
		s->p = start;
		return lp_a64_scan_fail(s, LP_ERANGE, "no instruction can stand at that address");
	}
	if (!lp_fits_signed(distance >> log2_unit, width)) {
		s->p = start;
		return lp_a64_scan_fail(s, LP_ERANGE, "the address is too far away");
	}
	*field = (uint32_t)(distance >> log2_unit);
	return true;
}

void lp_a64_print_label(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, LP_ADDR, l->at + (uint64_t)lp_a64_signed_bits(l->word, arg[0], arg[1]) * 4);
}

bool lp_a64_scan_label(struct lp_a64_scan *s, const uint8_t *arg)
{
	uint32_t field = 0;

	return scan_distance(s, s->at, 2, arg[1], &field) && lp_a64_scan_set_bits(s, arg[0], arg[1], field);
}

/* immhi:immlo */
static uint64_t adr_distance(uint32_t word)
{
	return (uint64_t)lp_a64_signed_bits(word, 5, 19) * 4 + lp_a64_bits(word, 29, 2);
}

static bool set_adr_distance(struct lp_a64_scan *s, uint32_t field)
{
	return lp_a64_scan_set_bits(s, 29, 2, field) && lp_a64_scan_set_bits(s, 5, 19, field >> 2);
}

void lp_a64_print_adr(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, LP_ADDR, l->at + adr_distance(l->word));
}

bool lp_a64_scan_adr(struct lp_a64_scan *s, const uint8_t *arg)
{
	uint32_t field = 0;

	return scan_distance(s, s->at, 0, 21, &field) && set_adr_distance(s, field);
}

void lp_a64_print_adrp(struct lp_a64_line *l, const uint8_t *arg)
{
	lp_a64_put(l, LP_ADDR, lp_align_down(l->at, 4096) + adr_distance(l->word) * 4096);
}

/* The page that the address is in. */
bool lp_a64_scan_adrp(struct lp_a64_scan *s, const uint8_t *arg)
{
	const char *start = s->p;
	lp_addr target;

	if (!scan_target(s, &target))
		return false;

	int64_t pages = (int64_t)(lp_align_down(target, 4096) - lp_align_down(s->at, 4096)) >> 12;
	if (!lp_fits_signed(pages, 21)) {
		s->p = start;
		return lp_a64_scan_fail(s, LP_ERANGE, "the address is too far away");
	}
	return set_adr_distance(s, (uint32_t)pages);
}

/* ---- behind a base register ---- */

static unsigned log2_unit(uint32_t word, unsigned scale)
{
	switch (scale & SCALE_MASK) {
	case SCALE_SF:
		return 2 + (word >> 31);
	case SCALE_OPC:
		return 2 + (word >> 30);
	default:
		return scale & SCALE_MASK;
	}
}

void lp_a64_print_offset(struct lp_a64_line *l, const uint8_t *arg)
{
	bool is_signed = arg[2] & OFFSET_SIGNED, is_optional = arg[2] & OFFSET_OPTIONAL;
	int64_t value = is_signed ? lp_a64_signed_bits(l->word, arg[0], arg[1]) : lp_a64_bits(l->word, arg[0], arg[1]);

	value *= INT64_C(1) << log2_unit(l->word, arg[2]);
	if (value || !is_optional)
		lp_a64_put(l, "%s#%" PRId64, is_optional ? ", " : "", value);
}

static bool scan_scaled(struct lp_a64_scan *s, int64_t min, int64_t max, unsigned log2, int64_t *value)
{
	const char *start = s->p;

	if (!lp_a64_scan_within(s, min * (INT64_C(1) << log2), max * (INT64_C(1) << log2), value))
		return false;
	if (*value & ((INT64_C(1) << log2) - 1)) {
		s->p = start;
		lp_a64_scan_space(s);
		return lp_a64_scan_fail(s, LP_ERANGE, "the offset is no multiple of what the instruction counts in");
	}
	*value >>= log2;
	return true;
}

bool lp_a64_scan_offset(struct lp_a64_scan *s, const uint8_t *arg)
{
	bool is_signed = arg[2] & OFFSET_SIGNED, is_optional = arg[2] & OFFSET_OPTIONAL;
	int64_t max = (INT64_C(1) << (arg[1] - is_signed)) - 1, min = is_signed ? -max - 1 : 0, value = 0;

	if (!is_optional || lp_a64_scan_char(s, ',')) {
		if (!scan_scaled(s, min, max, log2_unit(s->word, arg[2]), &value))
			return false;
	}
	return lp_a64_scan_set_bits(s, arg[0], arg[1], (uint32_t)value);
}

/* S:imm9, in units of 8 */
void lp_a64_print_ldra(struct lp_a64_line *l, const uint8_t *arg)
{
	int64_t value = ((int64_t)lp_a64_bits(l->word, 12, 9) - (int64_t)(lp_a64_bits(l->word, 22, 1) << 9)) * 8;

	if (value)
		lp_a64_put(l, ", #%" PRId64, value);
}

bool lp_a64_scan_ldra(struct lp_a64_scan *s, const uint8_t *arg)
{
	int64_t value = 0;

	if (lp_a64_scan_char(s, ',') && !scan_scaled(s, -512, 511, 3, &value))
		return false;
	return lp_a64_scan_set_bits(s, 12, 9, (uint32_t)value) && lp_a64_scan_set_bits(s, 22, 1, value < 0);
}

/* Rm, extended and shifted: option 2 uxtw, 3 lsl, 6 sxtw, 7 sxtx; S: shifted by log2 of the unit. */
void lp_a64_print_index(struct lp_a64_line *l, const uint8_t *arg)
{
	uint32_t option = lp_a64_bits(l->word, 13, 3);
	bool is_shifted = lp_a64_bits(l->word, 12, 1);
	char buf[8];

	lp_a64_put(l, "%s", lp_a64_register_name(buf, option & 1, false, lp_a64_bits(l->word, 16, 5)));
	if (option != 3 || is_shifted)
		lp_a64_put(l, ", %s", option == 3 ? "lsl" : lp_a64_extends[option]);
	if (is_shifted)
		lp_a64_put(l, " #%u", arg[0]);
}

/* The amount behind the extension's name; with units of one byte `#0` says that S is set. */
static bool scan_index_amount(struct lp_a64_scan *s, bool must, unsigned log2, bool *is_shifted)
{
	int64_t amount = 0;

	lp_a64_scan_space(s);
	*is_shifted = false;
	if (!must && *s->p == ']')
		return true;
	if (!lp_a64_scan_within(s, 0, log2, &amount))
		return false;
	if (amount != 0 && amount != log2)
		return lp_a64_scan_fail(s, LP_ERANGE,
					"the index is shifted by nothing, or by the size of what is loaded");
	*is_shifted = amount == log2;
	return true;
}

static bool scan_index_extend(struct lp_a64_scan *s, unsigned log2, int *option, bool *is_shifted)
{
	*option = 3;
	*is_shifted = false;
	if (!lp_a64_scan_char(s, ','))
		return true;
	if (lp_a64_scan_name(s, "lsl"))
		return scan_index_amount(s, true, log2, is_shifted);
	*option = lp_a64_scan_one_of(s, lp_a64_extends, 8);
	if (*option < 0 || !(*option & 2) || *option == 3)
		return lp_a64_scan_fail(s, LP_EPARSE, "uxtw, lsl, sxtw or sxtx is expected");
	return scan_index_amount(s, false, log2, is_shifted);
}

bool lp_a64_scan_index(struct lp_a64_scan *s, const uint8_t *arg)
{
	bool is_64 = false, is_shifted = false;
	unsigned number = 0;
	int option;

	if (!lp_a64_scan_register(s, false, &is_64, &number) || !scan_index_extend(s, arg[0], &option, &is_shifted))
		return false;
	if (is_64 != (option & 1))
		return lp_a64_scan_fail(s, LP_EPARSE, "the extension is for a register of the other width");
	return lp_a64_scan_set_bits(s, 16, 5, number) && lp_a64_scan_set_bits(s, 13, 3, (uint32_t)option) &&
	       lp_a64_scan_set_bits(s, 12, 1, is_shifted);
}

/* Post-index of structures: as many bytes as were moved, or a register. */
static unsigned post_bytes(uint32_t word, const uint8_t *arg)
{
	switch (arg[1]) {
	case POST_LIST:
		return arg[0] * (lp_a64_bits(word, 30, 1) ? 16u : 8u);
	case POST_REPLICATED:
		return arg[0] << lp_a64_bits(word, 10, 2);
	default:
		return arg[0];
	}
}

void lp_a64_print_post(struct lp_a64_line *l, const uint8_t *arg)
{
	uint32_t rm = lp_a64_bits(l->word, 16, 5);

	if (rm == 31)
		lp_a64_put(l, "#%u", post_bytes(l->word, arg));
	else
		lp_a64_put(l, "x%" PRIu32, rm);
}

bool lp_a64_scan_post(struct lp_a64_scan *s, const uint8_t *arg)
{
	unsigned bytes = post_bytes(s->word, arg), number;
	int64_t value;
	char letter;

	if (lp_a64_scan_lettered(s, "x", 30, &letter, &number))
		return lp_a64_scan_set_bits(s, 16, 5, number);
	return lp_a64_scan_within(s, bytes, bytes, &value) && lp_a64_scan_set_bits(s, 16, 5, 31);
}

/* ---- prefetches: what for, which level, kept or streamed ---- */

static const char *const prfops[32] = {
	"pldl1keep", "pldl1strm", "pldl2keep", "pldl2strm", "pldl3keep", "pldl3strm", NULL, NULL,
	"plil1keep", "plil1strm", "plil2keep", "plil2strm", "plil3keep", "plil3strm", NULL, NULL,
	"pstl1keep", "pstl1strm", "pstl2keep", "pstl2strm", "pstl3keep", "pstl3strm",
};

void lp_a64_print_prfop(struct lp_a64_line *l, const uint8_t *arg)
{
	uint32_t rt = lp_a64_bits(l->word, 0, 5);

	if (prfops[rt])
		lp_a64_put(l, "%s", prfops[rt]);
	else
		lp_a64_put(l, "#0x%02" PRIx32, rt);
}

bool lp_a64_scan_prfop(struct lp_a64_scan *s, const uint8_t *arg)
{
	int op = lp_a64_scan_one_of(s, prfops, 32);
	int64_t value = op;

	return (op >= 0 || lp_a64_scan_within(s, 0, 31, &value)) && lp_a64_scan_set_bits(s, 0, 5, (uint32_t)value);
}
