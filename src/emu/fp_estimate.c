/* Reciprocal estimates from the architecture's tables (as formulas), and the Newton steps that go with them. */
#include "emu/fp_number.h"

/* RecipEstimate: 1/a of a in [256, 512) / 512, in 256 steps. */
static unsigned recip_table(unsigned a)
{
	unsigned b = (1U << 19) / (a * 2 + 1);

	return (b + 1) / 2;
}

/* RecipSqrtEstimate: of a in [128, 512) / 512 */
static unsigned rsqrt_table(unsigned a)
{
	unsigned b = 512;

	if (a < 256)
		a = a * 2 + 1;
	else
		a = (a >> 1 << 1) * 2 + 2;
	while (a * (b + 1) * (b + 1) < 1U << 28)
		b++;
	return (b + 1) / 2;
}

uint32_t lp_fp_recip_unsigned(uint32_t a)
{
	return a >> 31 ? recip_table(a >> 23) << 23 : UINT32_MAX;
}

uint32_t lp_fp_rsqrt_unsigned(uint32_t a)
{
	return a >> 30 ? rsqrt_table(a >> 23) << 23 : UINT32_MAX;
}

static uint64_t field_of(enum lp_fp_size size, uint64_t a)
{
	const struct lp_fp_format *f = &lp_fp_formats[size];

	return a >> f->frac & ((1ULL << f->exp) - 1);
}

static bool flushes(const struct lp_cpu *cpu, enum lp_fp_size size)
{
	return cpu->fpcr & (size == LP_FP_H ? LP_FPCR_FZ16 : LP_FPCR_FZ);
}

/* `estimate` has nine bits, the first of which is set; exp is the field's value, -1 and 0 are denormals. */
static uint64_t assemble(enum lp_fp_size size, bool sign, int exp, unsigned estimate)
{
	const struct lp_fp_format *f = &lp_fp_formats[size];
	uint64_t frac = (uint64_t)estimate << (f->frac - 8);

	if (exp <= 0)
		frac >>= 1 - exp;
	else
		frac &= (1ULL << f->frac) - 1;
	return lp_fp_zero(size, sign) | (uint64_t)(exp < 0 ? 0 : exp) << f->frac | frac;
}

static uint64_t recip_overflow(struct lp_cpu *cpu, enum lp_fp_size size, bool sign)
{
	enum lp_fp_rounding rounding = lp_fp_rounding(cpu);

	cpu->fpsr |= LP_FPSR_OFC | LP_FPSR_IXC;
	if (rounding == LP_ROUND_NEAREST || rounding == (sign ? LP_ROUND_DOWN : LP_ROUND_UP))
		return lp_fp_infinity(size, sign);
	return lp_fp_largest(size, sign);
}

uint64_t lp_fp_recip_estimate(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a)
{
	struct lp_fp_number n = lp_fp_unpack(cpu, size, a);
	int bias = lp_fp_formats[size].bias;

	if (lp_fp_is_nan(n))
		return lp_fp_nan(cpu, size, n, a);
	if (n.kind == LP_FP_INF)
		return lp_fp_zero(size, n.sign);
	if (n.kind == LP_FP_ZERO) {
		cpu->fpsr |= LP_FPSR_DZC;
		return lp_fp_infinity(size, n.sign);
	}
	if (n.exp < -bias - 1)
		return recip_overflow(cpu, size, n.sign);
	if (flushes(cpu, size) && n.exp >= bias - 1) {
		cpu->fpsr |= LP_FPSR_UFC;
		return lp_fp_zero(size, n.sign);
	}
	return assemble(size, n.sign, bias - 1 - n.exp, recip_table((unsigned)(n.sig >> 55)));
}

uint64_t lp_fp_rsqrt_estimate(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a)
{
	struct lp_fp_number n = lp_fp_unpack(cpu, size, a);
	int bias = lp_fp_formats[size].bias;
	bool is_even;

	if (lp_fp_is_nan(n))
		return lp_fp_nan(cpu, size, n, a);
	if (n.kind == LP_FP_ZERO) {
		cpu->fpsr |= LP_FPSR_DZC;
		return lp_fp_infinity(size, n.sign);
	}
	if (n.sign)
		return lp_fp_invalid(cpu, size);
	if (n.kind == LP_FP_INF)
		return lp_fp_zero(size, false);
	/* The field is odd where the exponent is even. */
	is_even = !(n.exp & 1);
	return assemble(size, false, bias - 1 - (n.exp - (n.exp & 1)) / 2,
			rsqrt_table((unsigned)(n.sig >> (is_even ? 56 : 55))));
}

uint64_t lp_fp_recip_exponent(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a)
{
	const struct lp_fp_format *f = &lp_fp_formats[size];
	struct lp_fp_number n = lp_fp_unpack(cpu, size, a);
	uint64_t all = (1ULL << f->exp) - 1, exp = field_of(size, a);

	if (lp_fp_is_nan(n))
		return lp_fp_nan(cpu, size, n, a);
	return lp_fp_zero(size, n.sign) | (exp ? all ^ exp : all - 1) << f->frac;
}

/* (addend - a * b) * 2^scale; `addend` is in quarters of 2^2. */
static uint64_t step(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b, unsigned addend, int scale)
{
	struct lp_fp_number na, nb;
	struct lp_fp_term sum, constant = {.exp = 1, .sig = (unsigned __int128)addend << 126};
	uint64_t result;

	a = lp_fp_neg(size, a);
	na = lp_fp_unpack(cpu, size, a);
	nb = lp_fp_unpack(cpu, size, b);
	if (lp_fp_nans(cpu, size, na, nb, a, b, &result))
		return result;
	if (na.kind == LP_FP_ZERO || nb.kind == LP_FP_ZERO) /* also of infinity */
		sum = constant;
	else if (na.kind == LP_FP_INF || nb.kind == LP_FP_INF)
		return lp_fp_infinity(size, na.sign != nb.sign);
	else if (!lp_fp_sum(constant, lp_fp_product(na, nb), &sum))
		return lp_fp_zero(size, lp_fp_rounding(cpu) == LP_ROUND_DOWN);
	sum.exp += scale;
	return lp_fp_round(cpu, size, sum);
}

uint64_t lp_fp_recip_step(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	return step(cpu, size, a, b, 2, 0);
}

uint64_t lp_fp_rsqrt_step(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	return step(cpu, size, a, b, 3, -1);
}
