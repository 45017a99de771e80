/* Addition to square root, greatest and least, comparison: in integers. */
#include "emu/fp_number.h"

/* The sign of a sum that is nothing. */
static uint64_t cancelled(struct lp_cpu *cpu, enum lp_fp_size size)
{
	return lp_fp_zero(size, lp_fp_rounding(cpu) == LP_ROUND_DOWN);
}

static uint64_t sum_of(struct lp_cpu *cpu, enum lp_fp_size size, struct lp_fp_term a, struct lp_fp_term b)
{
	struct lp_fp_term sum;

	if (!lp_fp_sum(a, b, &sum))
		return cancelled(cpu, size);
	return lp_fp_round(cpu, size, sum);
}

/* Neither is a NaN. */
static uint64_t add(struct lp_cpu *cpu, enum lp_fp_size size, struct lp_fp_number a, struct lp_fp_number b)
{
	if (a.kind == LP_FP_INF && b.kind == LP_FP_INF && a.sign != b.sign)
		return lp_fp_invalid(cpu, size);
	if (a.kind == LP_FP_INF)
		return lp_fp_infinity(size, a.sign);
	if (b.kind == LP_FP_INF)
		return lp_fp_infinity(size, b.sign);
	if (a.kind == LP_FP_ZERO && b.kind == LP_FP_ZERO)
		return a.sign == b.sign ? lp_fp_zero(size, a.sign) : cancelled(cpu, size);
	if (a.kind == LP_FP_ZERO)
		return lp_fp_round(cpu, size, lp_fp_term_of(b));
	if (b.kind == LP_FP_ZERO)
		return lp_fp_round(cpu, size, lp_fp_term_of(a));
	return sum_of(cpu, size, lp_fp_term_of(a), lp_fp_term_of(b));
}

uint64_t lp_fp_add(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	struct lp_fp_number na = lp_fp_unpack(cpu, size, a), nb = lp_fp_unpack(cpu, size, b);
	uint64_t result;

	if (lp_fp_nans(cpu, size, na, nb, a, b, &result))
		return result;
	return add(cpu, size, na, nb);
}

uint64_t lp_fp_sub(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	struct lp_fp_number na = lp_fp_unpack(cpu, size, a), nb = lp_fp_unpack(cpu, size, b);
	uint64_t result;

	if (lp_fp_nans(cpu, size, na, nb, a, b, &result))
		return result;
	nb.sign = !nb.sign;
	return add(cpu, size, na, nb);
}

static bool is_zero_times_infinity(struct lp_fp_number a, struct lp_fp_number b)
{
	return (a.kind == LP_FP_ZERO && b.kind == LP_FP_INF) || (a.kind == LP_FP_INF && b.kind == LP_FP_ZERO);
}

/* Neither is a NaN, and it is not zero times infinity. */
static uint64_t multiply(struct lp_cpu *cpu, enum lp_fp_size size, struct lp_fp_number a, struct lp_fp_number b)
{
	bool sign = a.sign != b.sign;

	if (a.kind == LP_FP_INF || b.kind == LP_FP_INF)
		return lp_fp_infinity(size, sign);
	if (a.kind == LP_FP_ZERO || b.kind == LP_FP_ZERO)
		return lp_fp_zero(size, sign);
	return lp_fp_round(cpu, size, lp_fp_product(a, b));
}

uint64_t lp_fp_mul(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	struct lp_fp_number na = lp_fp_unpack(cpu, size, a), nb = lp_fp_unpack(cpu, size, b);
	uint64_t result;

	if (lp_fp_nans(cpu, size, na, nb, a, b, &result))
		return result;
	if (is_zero_times_infinity(na, nb))
		return lp_fp_invalid(cpu, size);
	return multiply(cpu, size, na, nb);
}

/* FMULX: zero times infinity is two. */
uint64_t lp_fp_mulx(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	struct lp_fp_number na = lp_fp_unpack(cpu, size, a), nb = lp_fp_unpack(cpu, size, b);
	uint64_t result;

	if (lp_fp_nans(cpu, size, na, nb, a, b, &result))
		return result;
	if (is_zero_times_infinity(na, nb))
		return lp_fp_zero(size, na.sign != nb.sign) | (uint64_t)(lp_fp_formats[size].bias + 1)
								      << lp_fp_formats[size].frac;
	return multiply(cpu, size, na, nb);
}

static uint64_t divide(struct lp_cpu *cpu, enum lp_fp_size size, struct lp_fp_number a, struct lp_fp_number b)
{
	unsigned __int128 dividend = (unsigned __int128)a.sig << 63;
	uint64_t quotient = (uint64_t)(dividend / b.sig), rest = (uint64_t)(dividend % b.sig);
	int zeros = __builtin_clzll(quotient);

	return lp_fp_round(cpu, size,
			   (struct lp_fp_term){.sign = a.sign != b.sign,
					       .exp = a.exp - b.exp - zeros,
					       .sig = (unsigned __int128)quotient << (64 + zeros) | (rest != 0)});
}

uint64_t lp_fp_div(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	struct lp_fp_number na = lp_fp_unpack(cpu, size, a), nb = lp_fp_unpack(cpu, size, b);
	bool sign = na.sign != nb.sign;
	uint64_t result;

	if (lp_fp_nans(cpu, size, na, nb, a, b, &result))
		return result;
	if (na.kind == nb.kind && na.kind != LP_FP_FINITE)
		return lp_fp_invalid(cpu, size);
	if (nb.kind == LP_FP_ZERO && na.kind == LP_FP_FINITE)
		cpu->fpsr |= LP_FPSR_DZC;
	if (na.kind == LP_FP_INF || nb.kind == LP_FP_ZERO)
		return lp_fp_infinity(size, sign);
	if (na.kind == LP_FP_ZERO || nb.kind == LP_FP_INF)
		return lp_fp_zero(size, sign);
	return divide(cpu, size, na, nb);
}

/* The largest number whose square is not above n. */
static uint64_t root_of(unsigned __int128 n)
{
	uint64_t root = 0;

	for (int bit = 63; bit >= 0; bit--) {
		uint64_t next = root | 1ULL << bit;

		if ((unsigned __int128)next * next <= n)
			root = next;
	}
	return root;
}

uint64_t lp_fp_sqrt(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a)
{
	struct lp_fp_number n = lp_fp_unpack(cpu, size, a);
	unsigned __int128 square;
	uint64_t root;

	if (lp_fp_is_nan(n))
		return lp_fp_nan(cpu, size, n, a);
	if (n.kind == LP_FP_ZERO)
		return lp_fp_zero(size, n.sign);
	if (n.sign)
		return lp_fp_invalid(cpu, size);
	if (n.kind == LP_FP_INF)
		return lp_fp_infinity(size, false);
	square = (unsigned __int128)n.sig << (n.exp & 1 ? 64 : 63);
	root = root_of(square);
	return lp_fp_round(
		cpu, size,
		(struct lp_fp_term){.exp = (n.exp - (n.exp & 1)) / 2,
				    .sig = (unsigned __int128)root << 64 | (square != (unsigned __int128)root * root)});
}

/* FPProcessNaNs3, the addend first. */
static bool nans3(struct lp_cpu *cpu, enum lp_fp_size size, const struct lp_fp_number n[3], const uint64_t v[3],
		  uint64_t *result)
{
	for (enum lp_fp_kind kind = LP_FP_SNAN; kind >= LP_FP_QNAN; kind--)
		for (unsigned i = 0; i < 3; i++)
			if (n[i].kind == kind) {
				*result = lp_fp_nan(cpu, size, n[i], v[i]);
				return true;
			}
	return false;
}

static uint64_t muladd(struct lp_cpu *cpu, enum lp_fp_size size, struct lp_fp_number c, struct lp_fp_number a,
		       struct lp_fp_number b)
{
	bool sign = a.sign != b.sign;

	if (a.kind == LP_FP_INF || b.kind == LP_FP_INF) {
		if (c.kind == LP_FP_INF && c.sign != sign)
			return lp_fp_invalid(cpu, size);
		return lp_fp_infinity(size, sign);
	}
	if (c.kind == LP_FP_INF)
		return lp_fp_infinity(size, c.sign);
	if (a.kind == LP_FP_ZERO || b.kind == LP_FP_ZERO) {
		if (c.kind == LP_FP_FINITE)
			return lp_fp_round(cpu, size, lp_fp_term_of(c));
		return c.sign == sign ? lp_fp_zero(size, sign) : cancelled(cpu, size);
	}
	if (c.kind == LP_FP_ZERO)
		return lp_fp_round(cpu, size, lp_fp_product(a, b));
	return sum_of(cpu, size, lp_fp_term_of(c), lp_fp_product(a, b));
}

uint64_t lp_fp_muladd(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t addend, uint64_t a, uint64_t b)
{
	struct lp_fp_number n[3] = {lp_fp_unpack(cpu, size, addend), lp_fp_unpack(cpu, size, a),
				    lp_fp_unpack(cpu, size, b)};
	uint64_t result;
	bool is_nan = nans3(cpu, size, n, (const uint64_t[]){addend, a, b}, &result);

	if (is_zero_times_infinity(n[1], n[2]) && n[0].kind != LP_FP_SNAN)
		return lp_fp_invalid(cpu, size);
	return is_nan ? result : muladd(cpu, size, n[0], n[1], n[2]);
}

/* Neither is a NaN. */
static enum lp_fp_order order(struct lp_fp_number a, struct lp_fp_number b)
{
	enum lp_fp_order larger; /* when the first has the larger magnitude */

	if (a.kind == LP_FP_ZERO && b.kind == LP_FP_ZERO)
		return LP_FP_EQUAL;
	if (a.kind == LP_FP_ZERO)
		return b.sign ? LP_FP_GREATER : LP_FP_LESS;
	if (b.kind == LP_FP_ZERO || a.sign != b.sign)
		return a.sign ? LP_FP_LESS : LP_FP_GREATER;
	larger = a.sign ? LP_FP_LESS : LP_FP_GREATER;
	if (a.kind != b.kind)
		return a.kind == LP_FP_INF ? larger : LP_FP_GREATER - larger;
	if (a.kind == LP_FP_INF || (a.exp == b.exp && a.sig == b.sig))
		return LP_FP_EQUAL;
	if (a.exp != b.exp)
		return a.exp > b.exp ? larger : LP_FP_GREATER - larger;
	return a.sig > b.sig ? larger : LP_FP_GREATER - larger;
}

enum lp_fp_order lp_fp_compare(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b, bool signals)
{
	struct lp_fp_number na = lp_fp_unpack(cpu, size, a), nb = lp_fp_unpack(cpu, size, b);

	if (!lp_fp_is_nan(na) && !lp_fp_is_nan(nb))
		return order(na, nb);
	if (signals || na.kind == LP_FP_SNAN || nb.kind == LP_FP_SNAN)
		cpu->fpsr |= LP_FPSR_IOC;
	return LP_FP_UNORDERED;
}

/* The one of two that is `wanted` of the other. */
static uint64_t choose(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b, enum lp_fp_order wanted)
{
	struct lp_fp_number na = lp_fp_unpack(cpu, size, a), nb = lp_fp_unpack(cpu, size, b);
	bool first, sign;
	uint64_t result;

	if (lp_fp_nans(cpu, size, na, nb, a, b, &result))
		return result;
	first = order(na, nb) == wanted;
	if ((first ? na : nb).kind != LP_FP_ZERO)
		return first ? a : b;
	sign = wanted == LP_FP_GREATER ? na.sign && nb.sign : na.sign || nb.sign;
	return lp_fp_zero(size, sign);
}

uint64_t lp_fp_max(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	return choose(cpu, size, a, b, LP_FP_GREATER);
}

uint64_t lp_fp_min(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	return choose(cpu, size, a, b, LP_FP_LESS);
}

/* A number before a quiet NaN. */
static uint64_t choose_number(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b, enum lp_fp_order wanted)
{
	struct lp_fp_number na = lp_fp_unpack(cpu, size, a), nb = lp_fp_unpack(cpu, size, b);
	uint64_t last = lp_fp_infinity(size, wanted == LP_FP_GREATER);

	if (na.kind == LP_FP_QNAN && nb.kind != LP_FP_QNAN)
		a = last;
	else if (nb.kind == LP_FP_QNAN && na.kind != LP_FP_QNAN)
		b = last;
	return choose(cpu, size, a, b, wanted);
}

uint64_t lp_fp_maxnum(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	return choose_number(cpu, size, a, b, LP_FP_GREATER);
}

uint64_t lp_fp_minnum(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	return choose_number(cpu, size, a, b, LP_FP_LESS);
}
