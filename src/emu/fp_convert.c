/* Between floating point and integers, and between precisions: in integers. */
#include "emu/fp_number.h"

struct whole {
	unsigned __int128 value;
	bool inexact;
};

/* The magnitude of a finite number as an integer; exp < 64. */
static struct whole whole_of(struct lp_fp_number n, enum lp_fp_rounding rounding)
{
	unsigned __int128 sig = (unsigned __int128)n.sig << 62; /* the point is in front of bit 125 - exp */
	int shift = 125 - n.exp;
	struct whole w;
	unsigned __int128 rest, half;
	bool up;

	if (n.exp < -2) { /* less than a quarter: as good as an eighth */
		sig = 1;
		shift = 3;
	}
	half = (unsigned __int128)1 << (shift - 1);
	w.value = sig >> shift;
	rest = sig & (half * 2 - 1);
	w.inexact = rest != 0;
	switch (rounding) {
	case LP_ROUND_NEAREST:
		up = rest > half || (rest == half && w.value & 1);
		break;
	case LP_ROUND_AWAY:
		up = rest >= half;
		break;
	case LP_ROUND_UP:
		up = rest && !n.sign;
		break;
	case LP_ROUND_DOWN:
		up = rest && n.sign;
		break;
	default:
		up = false;
	}
	w.value += up;
	return w;
}

static uint64_t from_integer(struct lp_cpu *cpu, enum lp_fp_size size, bool sign, uint64_t magnitude, unsigned fbits)
{
	int zeros;

	if (!magnitude)
		return lp_fp_zero(size, sign);
	zeros = __builtin_clzll(magnitude);
	return lp_fp_round(cpu, size,
			   (struct lp_fp_term){.sign = sign,
					       .exp = 63 - zeros - (int)fbits,
					       .sig = (unsigned __int128)(magnitude << zeros) << 64});
}

uint64_t lp_fp_from_fixed(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, bool is_unsigned, unsigned fbits)
{
	bool sign = !is_unsigned && a >> 63;

	return from_integer(cpu, size, sign, sign ? -a : a, fbits);
}

uint64_t lp_fp_round_int(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, enum lp_fp_rounding rounding, bool exact)
{
	struct lp_fp_number n = lp_fp_unpack(cpu, size, a);
	struct whole w;

	if (lp_fp_is_nan(n))
		return lp_fp_nan(cpu, size, n, a);
	if (n.kind == LP_FP_ZERO)
		return lp_fp_zero(size, n.sign);
	if (n.kind == LP_FP_INF || n.exp >= lp_fp_formats[size].frac)
		return a;
	w = whole_of(n, rounding);
	if (w.inexact && exact)
		cpu->fpsr |= LP_FPSR_IXC;
	return from_integer(cpu, size, n.sign, (uint64_t)w.value, 0);
}

static uint64_t saturated(bool sign, unsigned width, bool is_unsigned)
{
	uint64_t all = ~0ULL >> (64 - width);

	if (is_unsigned)
		return sign ? 0 : all;
	return sign ? (all >> 1) + 1 : all >> 1;
}

uint64_t lp_fp_to_fixed(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, enum lp_fp_rounding rounding,
			unsigned width, bool is_unsigned, unsigned fbits)
{
	struct lp_fp_number n = lp_fp_unpack(cpu, size, a);
	struct whole w = {0, false};
	uint64_t limit = saturated(n.sign, width, is_unsigned);

	if (lp_fp_is_nan(n)) {
		cpu->fpsr |= LP_FPSR_IOC;
		return 0;
	}
	if (n.kind == LP_FP_ZERO)
		return 0;
	n.exp += (int)fbits;
	if (n.kind == LP_FP_FINITE && n.exp < 64)
		w = whole_of(n, rounding);
	if (n.kind == LP_FP_INF || n.exp >= 64 || w.value > limit) {
		cpu->fpsr |= LP_FPSR_IOC;
		return limit;
	}
	if (w.inexact)
		cpu->fpsr |= LP_FPSR_IXC;
	return (n.sign ? -(uint64_t)w.value : (uint64_t)w.value) & ~0ULL >> (64 - width);
}

/* An integer's low 32 bits, wherever its magnitude ends. */
static uint32_t low_bits(struct lp_fp_number n)
{
	uint32_t magnitude;

	if (n.exp >= 63 + 32)
		return 0;
	magnitude = n.exp >= 63 ? (uint32_t)(n.sig << (n.exp - 63)) : (uint32_t)whole_of(n, LP_ROUND_ZERO).value;
	return n.sign ? -magnitude : magnitude;
}

uint32_t lp_fp_to_javascript(struct lp_cpu *cpu, uint64_t a, bool *z)
{
	struct lp_fp_number n = lp_fp_unpack(cpu, LP_FP_D, a);
	bool too_large;
	struct whole w;

	*z = false;
	if (n.kind == LP_FP_ZERO) {
		*z = a == 0; /* neither minus zero nor what was flushed */
		return 0;
	}
	if (n.kind != LP_FP_FINITE) {
		cpu->fpsr |= LP_FPSR_IOC;
		return 0;
	}
	too_large = n.exp >= 32;
	if (!too_large) {
		w = whole_of(n, LP_ROUND_ZERO);
		too_large = w.value > (n.sign ? 1U << 31 : INT32_MAX);
	}
	if (too_large)
		cpu->fpsr |= LP_FPSR_IOC;
	else if (w.inexact)
		cpu->fpsr |= LP_FPSR_IXC;
	else
		*z = true;
	return low_bits(n);
}

/* FPConvertNaN: sign and the payload's upper bits, quiet. */
static uint64_t convert_nan(enum lp_fp_size to, enum lp_fp_size from, uint64_t a, bool sign)
{
	unsigned have = lp_fp_formats[from].frac, want = lp_fp_formats[to].frac;
	uint64_t payload = a & ((1ULL << have) - 1);

	payload = have > want ? payload >> (have - want) : payload << (want - have);
	return lp_fp_zero(to, sign) | lp_fp_default_nan(to) | payload;
}

uint64_t lp_fp_convert(struct lp_cpu *cpu, enum lp_fp_size to, enum lp_fp_size from, uint64_t a,
		       enum lp_fp_rounding rounding)
{
	struct lp_fp_number n = lp_fp_unpack_of(cpu, from, a, true);
	bool alternative = to == LP_FP_H && cpu->fpcr & LP_FPCR_AHP; /* which has neither NaN nor infinity */

	if (n.kind == LP_FP_FINITE)
		return lp_fp_round_of(cpu, to, lp_fp_term_of(n), rounding, true);
	if (n.kind == LP_FP_ZERO)
		return lp_fp_zero(to, n.sign);
	if (n.kind == LP_FP_SNAN || alternative)
		cpu->fpsr |= LP_FPSR_IOC;
	if (n.kind == LP_FP_INF)
		return alternative ? lp_fp_zero(to, n.sign) | 0x7fff : lp_fp_infinity(to, n.sign);
	if (alternative)
		return lp_fp_zero(to, n.sign);
	return cpu->fpcr & LP_FPCR_DN ? lp_fp_default_nan(to) : convert_nan(to, from, a, n.sign);
}

uint64_t lp_fp_expand(enum lp_fp_size size, unsigned imm8)
{
	const struct lp_fp_format *f = &lp_fp_formats[size];
	uint64_t low = imm8 >> 4 & 3, exp = imm8 >> 6 & 1 ? ((1ULL << (f->exp - 1)) - 1) & ~3ULL : 1ULL << (f->exp - 1);

	return lp_fp_zero(size, imm8 >> 7 & 1) | (exp | low) << f->frac | (uint64_t)(imm8 & 15) << (f->frac - 4);
}
