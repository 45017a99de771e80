/* Floating-point numbers taken apart (FPUnpack), and put together with one rounding (FPRound). */
#include "emu/fp_number.h"

const struct lp_fp_format lp_fp_formats[] = {
	[LP_FP_H] = {10, 5, 15},
	[LP_FP_S] = {23, 8, 127},
	[LP_FP_D] = {52, 11, 1023},
};

static uint64_t ones(unsigned nr)
{
	return (1ULL << nr) - 1;
}

static uint64_t assemble(enum lp_fp_size size, bool sign, uint64_t exp, uint64_t frac)
{
	return (sign ? lp_fp_sign(size) : 0) | exp << lp_fp_formats[size].frac | frac;
}

uint64_t lp_fp_zero(enum lp_fp_size size, bool sign)
{
	return assemble(size, sign, 0, 0);
}

uint64_t lp_fp_infinity(enum lp_fp_size size, bool sign)
{
	return assemble(size, sign, ones(lp_fp_formats[size].exp), 0);
}

uint64_t lp_fp_largest(enum lp_fp_size size, bool sign)
{
	return lp_fp_infinity(size, sign) - 1;
}

uint64_t lp_fp_default_nan(enum lp_fp_size size)
{
	return lp_fp_infinity(size, false) | 1ULL << (lp_fp_formats[size].frac - 1);
}

uint64_t lp_fp_invalid(struct lp_cpu *cpu, enum lp_fp_size size)
{
	cpu->fpsr |= LP_FPSR_IOC;
	return lp_fp_default_nan(size);
}

uint64_t lp_fp_nan(struct lp_cpu *cpu, enum lp_fp_size size, struct lp_fp_number n, uint64_t a)
{
	if (n.kind == LP_FP_SNAN)
		cpu->fpsr |= LP_FPSR_IOC;
	if (cpu->fpcr & LP_FPCR_DN)
		return lp_fp_default_nan(size);
	return a | 1ULL << (lp_fp_formats[size].frac - 1);
}

/* FPProcessNaNs: a signalling one before a quiet one, then the first. */
bool lp_fp_nans(struct lp_cpu *cpu, enum lp_fp_size size, struct lp_fp_number na, struct lp_fp_number nb, uint64_t a,
		uint64_t b, uint64_t *result)
{
	if (!lp_fp_is_nan(na) && !lp_fp_is_nan(nb))
		return false;
	if (na.kind >= nb.kind)
		*result = lp_fp_nan(cpu, size, na, a);
	else
		*result = lp_fp_nan(cpu, size, nb, b);
	return true;
}

static bool flushes(const struct lp_cpu *cpu, enum lp_fp_size size, bool conversion)
{
	if (size == LP_FP_H)
		return !conversion && cpu->fpcr & LP_FPCR_FZ16;
	return cpu->fpcr & LP_FPCR_FZ;
}

static bool is_alternative(const struct lp_cpu *cpu, enum lp_fp_size size, bool conversion)
{
	return size == LP_FP_H && conversion && cpu->fpcr & LP_FPCR_AHP;
}

static struct lp_fp_number unpack_denormal(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t frac, bool sign,
					   bool conversion)
{
	const struct lp_fp_format *f = &lp_fp_formats[size];
	unsigned zeros;

	if (frac && flushes(cpu, size, conversion)) {
		if (size != LP_FP_H)
			cpu->fpsr |= LP_FPSR_IDC;
		frac = 0;
	}
	if (!frac)
		return (struct lp_fp_number){.kind = LP_FP_ZERO, .sign = sign};
	zeros = (unsigned)__builtin_clzll(frac);
	return (struct lp_fp_number){
		.kind = LP_FP_FINITE, .sign = sign, .exp = 64 - (int)zeros - f->frac - f->bias, .sig = frac << zeros};
}

struct lp_fp_number lp_fp_unpack_of(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, bool conversion)
{
	const struct lp_fp_format *f = &lp_fp_formats[size];
	uint64_t frac = a & ones(f->frac), exp = a >> f->frac & ones(f->exp);
	bool sign = a & lp_fp_sign(size);

	if (!exp)
		return unpack_denormal(cpu, size, frac, sign, conversion);
	if (exp == ones(f->exp) && !is_alternative(cpu, size, conversion)) {
		enum lp_fp_kind kind = !frac ? LP_FP_INF : frac >> (f->frac - 1) ? LP_FP_QNAN : LP_FP_SNAN;

		return (struct lp_fp_number){.kind = kind, .sign = sign};
	}
	return (struct lp_fp_number){.kind = LP_FP_FINITE,
				     .sign = sign,
				     .exp = (int)exp - f->bias,
				     .sig = 1ULL << 63 | frac << (63 - f->frac)};
}

static bool rounds_up(enum lp_fp_rounding rounding, bool sign, bool odd, unsigned __int128 rest, unsigned __int128 half)
{
	switch (rounding) {
	case LP_ROUND_NEAREST:
		return rest > half || (rest == half && odd);
	case LP_ROUND_AWAY:
		return rest >= half;
	case LP_ROUND_UP:
		return rest && !sign;
	case LP_ROUND_DOWN:
		return rest && sign;
	default:
		return false;
	}
}

/* An overflow's result. */
static uint64_t overflow(struct lp_cpu *cpu, enum lp_fp_size size, bool sign, enum lp_fp_rounding rounding)
{
	cpu->fpsr |= LP_FPSR_OFC | LP_FPSR_IXC;
	if (rounding == LP_ROUND_NEAREST || rounding == (sign ? LP_ROUND_DOWN : LP_ROUND_UP))
		return lp_fp_infinity(size, sign);
	return lp_fp_largest(size, sign);
}

uint64_t lp_fp_round_of(struct lp_cpu *cpu, enum lp_fp_size size, struct lp_fp_term t, enum lp_fp_rounding rounding,
			bool conversion)
{
	const struct lp_fp_format *f = &lp_fp_formats[size];
	bool alternative = is_alternative(cpu, size, conversion);
	int exp = t.exp + f->bias; /* as the field will have it */
	int shift = 127 - f->frac;
	unsigned __int128 rest;
	uint64_t mant;

	if (exp <= 0) {
		if (flushes(cpu, size, conversion)) {
			cpu->fpsr |= LP_FPSR_UFC;
			return lp_fp_zero(size, t.sign);
		}
		shift += 1 - exp;
		exp = 0;
	}
	if (shift > 126) { /* below half of the smallest: any place will do */
		unsigned more = shift - 126 > 127 ? 127 : (unsigned)(shift - 126);

		t.sig = t.sig >> more | ((t.sig & (((unsigned __int128)1 << more) - 1)) != 0);
		shift = 126;
	}
	mant = (uint64_t)(t.sig >> shift);
	rest = t.sig & (((unsigned __int128)1 << shift) - 1);
	if (!exp && rest) /* tiny before it is rounded */
		cpu->fpsr |= LP_FPSR_UFC;
	mant += rounds_up(rounding, t.sign, mant & 1, rest, (unsigned __int128)1 << (shift - 1));
	if (!exp && mant >> f->frac)
		exp = 1;
	if (mant >> (f->frac + 1)) {
		mant >>= 1;
		exp++;
	}
	if (rounding == LP_ROUND_ODD && rest)
		mant |= 1;
	if (alternative && exp > (int)ones(f->exp)) {
		cpu->fpsr |= LP_FPSR_IOC;
		return assemble(size, t.sign, ones(f->exp), ones(f->frac));
	}
	if (!alternative && exp >= (int)ones(f->exp))
		return overflow(cpu, size, t.sign, rounding);
	if (rest)
		cpu->fpsr |= LP_FPSR_IXC;
	return assemble(size, t.sign, (uint64_t)exp, mant & ones(f->frac));
}

static struct lp_fp_term normal(bool sign, int exp, unsigned __int128 sig)
{
	uint64_t high = (uint64_t)(sig >> 64);
	int zeros = high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)sig);

	return (struct lp_fp_term){.sign = sign, .exp = exp - zeros, .sig = sig << zeros};
}

struct lp_fp_term lp_fp_term_of(struct lp_fp_number n)
{
	return (struct lp_fp_term){.sign = n.sign, .exp = n.exp, .sig = (unsigned __int128)n.sig << 64};
}

struct lp_fp_term lp_fp_product(struct lp_fp_number a, struct lp_fp_number b)
{
	return normal(a.sign != b.sign, a.exp + b.exp + 1, (unsigned __int128)a.sig * b.sig);
}

static unsigned __int128 shift_right_sticky(unsigned __int128 sig, int nr)
{
	if (nr > 127)
		return 1;
	return sig >> nr | ((sig & (((unsigned __int128)1 << nr) - 1)) != 0);
}

/* Terms have at most 106 bits: when bits are lost here, they are lost far below what cancels. */
bool lp_fp_sum(struct lp_fp_term a, struct lp_fp_term b, struct lp_fp_term *sum)
{
	unsigned __int128 sig;

	if (a.exp < b.exp) {
		struct lp_fp_term swap = a;

		a = b;
		b = swap;
	}
	a.sig >>= 1;
	b.sig = shift_right_sticky(b.sig, a.exp - b.exp + 1);
	if (a.sign == b.sign) {
		sig = a.sig + b.sig;
	} else if (a.sig >= b.sig) {
		sig = a.sig - b.sig;
	} else {
		sig = b.sig - a.sig;
		a.sign = b.sign;
	}
	if (!sig)
		return false;
	*sum = normal(a.sign, a.exp + 1, sig);
	return true;
}
