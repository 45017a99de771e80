/* Numbers worth trying: the corners of each width, and what lies between them. */
#include "differential.h"

#include "base/vec.h"

uint64_t diff_random(struct diff_random *r)
{
	uint64_t z = r->s += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static const struct width {
	unsigned bits, fraction; /* fraction: 0: an integer */
} widths[DIFF_NR_KINDS] = {
	[DIFF_INT8] = {8, 0},	[DIFF_INT16] = {16, 0},	  [DIFF_INT32] = {32, 0},   [DIFF_INT64] = {64, 0},
	[DIFF_HALF] = {16, 10}, [DIFF_SINGLE] = {32, 23}, [DIFF_DOUBLE] = {64, 52},
};

static uint64_t ones(unsigned bits)
{
	return bits >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << bits) - 1;
}

static uint64_t integer(struct diff_random *r, unsigned bits)
{
	uint64_t top = UINT64_C(1) << (bits - 1), near;

	switch (diff_below(r, 12)) {
	case 0:
		return 0;
	case 1:
		return 1;
	case 2:
		return ~UINT64_C(0);
	case 3:
		return top;
	case 4:
		return top - 1;
	case 5:
		return top + 1;
	case 6:
		return diff_below(r, 2 * bits + 2) - UINT64_C(2); /* counts */
	case 7:
		return -(uint64_t)diff_below(r, 2 * bits + 2);
	case 8:
		near = UINT64_C(1) << diff_below(r, bits);
		return near + diff_below(r, 3) - 1;
	case 9:
		return (uint64_t)((int64_t)(diff_random(r) << (64 - bits)) >> diff_below(r, 64)) >> (64 - bits);
	default:
		return diff_random(r);
	}
}

/* ---- floating point ---- */

static uint64_t assembled(const struct width *w, uint64_t sign, uint64_t exponent, uint64_t fraction)
{
	return sign << (w->bits - 1) | exponent << w->fraction | (fraction & ones(w->fraction));
}

/* Around an integer threshold: 2^n, or n and a half. */
static uint64_t threshold(struct diff_random *r, const struct width *w, uint64_t sign, uint64_t bias)
{
	static const uint8_t powers[] = {0, 1, 7, 8, 15, 16, 31, 32, 53, 62, 63, 64, 65, 24, 11};
	uint64_t power = powers[diff_below(r, sizeof powers)];
	uint64_t exponent = bias + power, delta = diff_below(r, 5);

	if (exponent > 2 * bias)
		exponent = bias + diff_below(r, (uint32_t)bias);
	if (diff_chance(r, 2))
		return assembled(w, sign, exponent, 0) + delta - 2;
	/* One bit below the point. */
	uint64_t whole = diff_below(r, w->fraction);
	uint64_t fraction = whole < w->fraction ? UINT64_C(1) << (w->fraction - 1 - whole) : 0;
	return assembled(w, sign, bias + whole, fraction | (diff_random(r) & ~ones(w->fraction - (unsigned)whole)));
}

static uint64_t number(struct diff_random *r, const struct width *w)
{
	uint64_t sign = diff_random(r) & 1, top = UINT64_C(1) << (w->fraction - 1);
	uint64_t bias = ones(w->bits - w->fraction - 2), max = 2 * bias + 1;

	switch (diff_below(r, 20)) {
	case 0:
		return assembled(w, sign, 0, 0);
	case 1:
		return assembled(w, sign, 0, 1 + diff_below(r, 2)); /* the least */
	case 2:
		return assembled(w, sign, 0, ones(w->fraction) - diff_below(r, 2));
	case 3:
		return assembled(w, sign, 0, diff_random(r) >> diff_below(r, 64));
	case 4:
		return assembled(w, sign, 1, diff_below(r, 2));
	case 5:
		return assembled(w, sign, max - 1, ones(w->fraction) - diff_below(r, 2));
	case 6:
		return assembled(w, sign, max, 0);
	case 7:
		return assembled(w, sign, max, top | (diff_chance(r, 2) ? 0 : diff_random(r))); /* quiet */
	case 8:
		return assembled(w, sign, max, (diff_random(r) & (top - 1)) | 1); /* signalling */
	case 9:
		return assembled(w, sign, bias, 0);
	case 10:
		return assembled(w, sign, bias + diff_below(r, 3) - 1, top);
	case 11:
	case 12:
		return threshold(r, w, sign, bias);
	case 13: /* few bits, close to one: sums are exact, products halfway */
	case 14:
		return assembled(w, sign, bias + diff_below(r, 8) - 4,
				 (UINT64_C(1) << diff_below(r, w->fraction)) |
					 (UINT64_C(1) << diff_below(r, w->fraction)));
	case 15: /* whose product is about as small as it gets */
		return assembled(w, sign, bias / 2 + diff_below(r, 12) - 6, diff_random(r));
	case 16: /* as large */
		return assembled(w, sign, bias + bias / 2 + diff_below(r, 6) - 3, diff_random(r));
	case 17:
	case 18:
		return assembled(w, sign, bias + diff_below(r, 6) - 3, diff_random(r));
	default:
		return diff_random(r);
	}
}

uint64_t diff_value(struct diff_random *r, enum diff_kind kind)
{
	const struct width *w = &widths[kind];

	return (w->fraction ? number(r, w) : integer(r, w->bits)) & ones(w->bits);
}

uint64_t diff_lanes(struct diff_random *r, enum diff_kind kind)
{
	unsigned bits = widths[kind].bits;
	uint64_t value = 0;

	for (unsigned at = 0; at < 64; at += bits)
		value |= diff_value(r, kind) << at;
	return value;
}
