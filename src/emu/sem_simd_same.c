/* Advanced SIMD: one or two operands with lanes of the same size as the result. */
#include "emu/simd.h"

/* ---- sums, differences ---- */

BOTH(add, bhsd, d, U, a + b);
BOTH(sub, bhsd, d, U, a - b);
VECTOR(shadd, bhs, S, ((W)a + b) >> 1);
VECTOR(uhadd, bhs, U, ((W)a + b) >> 1);
VECTOR(srhadd, bhs, S, ((W)a + b + 1) >> 1);
VECTOR(urhadd, bhs, U, ((W)a + b + 1) >> 1);
VECTOR(shsub, bhs, S, ((W)a - b) >> 1);
VECTOR(uhsub, bhs, U, ((W)a - b) >> 1);
BOTH(sqadd, bhsd, bhsd, S, SAT((W)a + b));
BOTH(uqadd, bhsd, bhsd, U, SAT((W)a + b));
BOTH(sqsub, bhsd, bhsd, S, SAT((W)a - b));
BOTH(uqsub, bhsd, bhsd, U, SAT((W)a - b));
BOTH(suqadd, bhsd, bhsd, S, SAT((W)d + (U)a));
BOTH(usqadd, bhsd, bhsd, U, SAT((W)d + (S)a));

#define DISTANCE (a > b ? (U)a - (U)b : (U)b - (U)a)
VECTOR(sabd, bhs, S, DISTANCE);
VECTOR(uabd, bhs, U, DISTANCE);
VECTOR(saba, bhs, S, (U)d + DISTANCE);
VECTOR(uaba, bhs, U, (U)d + DISTANCE);

BOTH(abs, bhsd, d, S, a < 0 ? -(U)a : (U)a);
BOTH(neg, bhsd, d, U, -a);
BOTH(sqabs, bhsd, bhsd, S, SAT(a < 0 ? -(W)a : (W)a));
BOTH(sqneg, bhsd, bhsd, S, SAT(-(W)a));

/* ---- comparisons ---- */

BOTH(cmgt, bhsd, d, S, MASK(a > b));
BOTH(cmge, bhsd, d, S, MASK(a >= b));
BOTH(cmhi, bhsd, d, U, MASK(a > b));
BOTH(cmhs, bhsd, d, U, MASK(a >= b));
BOTH(cmeq, bhsd, d, U, MASK(a == b));
BOTH(cmtst, bhsd, d, U, MASK((a & b) != 0));
BOTH(cmgt_zero, bhsd, d, S, MASK(a > 0));
BOTH(cmge_zero, bhsd, d, S, MASK(a >= 0));
BOTH(cmeq_zero, bhsd, d, S, MASK(a == 0));
BOTH(cmle_zero, bhsd, d, S, MASK(a <= 0));
BOTH(cmlt_zero, bhsd, d, S, MASK(a < 0));

VECTOR(smax, bhs, S, a > b ? a : b);
VECTOR(smin, bhs, S, a < b ? a : b);
VECTOR(umax, bhs, U, a > b ? a : b);
VECTOR(umin, bhs, U, a < b ? a : b);

/* ---- products ---- */

/* Halved, so that W holds them: floor(2ab / 2^BITS) == floor(ab / 2^(BITS - 1)). */
#define HIGH(sum) ((sum) >> (BITS - 1))
#define ROUNDING ((W)1 << (BITS - 2))
#define MUL ((U)(1u * a * b))
#define SQDMULH SAT(HIGH((W)a *b))
#define SQRDMULH SAT(HIGH((W)a *b + ROUNDING))
#define SQRDMLAH SAT(HIGH((W)d *((W)1 << (BITS - 1)) + (W)a * b + ROUNDING))
#define SQRDMLSH SAT(HIGH((W)d *((W)1 << (BITS - 1)) - (W)a * b + ROUNDING))

VECTOR(mul, bhs, U, MUL);
VECTOR(mla, bhs, U, d + MUL);
VECTOR(mls, bhs, U, d - MUL);
VECTOR_ELEMENT(mul, U, MUL);
VECTOR_ELEMENT(mla, U, d + MUL);
VECTOR_ELEMENT(mls, U, d - MUL);
BOTH(sqdmulh, hs, hs, S, SQDMULH);
BOTH(sqrdmulh, hs, hs, S, SQRDMULH);
BOTH(sqrdmlah, hs, hs, S, SQRDMLAH);
BOTH(sqrdmlsh, hs, hs, S, SQRDMLSH);
VECTOR_ELEMENT(sqdmulh, S, SQDMULH);
VECTOR_ELEMENT(sqrdmulh, S, SQRDMULH);
VECTOR_ELEMENT(sqrdmlah, S, SQRDMLAH);
VECTOR_ELEMENT(sqrdmlsh, S, SQRDMLSH);
SCALAR_ELEMENT(sqdmulh, S, SQDMULH);
SCALAR_ELEMENT(sqrdmulh, S, SQRDMULH);
SCALAR_ELEMENT(sqrdmlah, S, SQRDMLAH);
SCALAR_ELEMENT(sqrdmlsh, S, SQRDMLSH);

/* Polynomials over {0, 1}: bit k of b shifts a by k; no carries. */
#define PRODUCT_BIT(k) (b >> (k)&1 ? a << (k) : 0)
VECTOR(pmul, b, U,
       PRODUCT_BIT(0) ^ PRODUCT_BIT(1) ^ PRODUCT_BIT(2) ^ PRODUCT_BIT(3) ^ PRODUCT_BIT(4) ^ PRODUCT_BIT(5) ^
	       PRODUCT_BIT(6) ^ PRODUCT_BIT(7));

/* Four products of bytes per lane of 32 bits: the first and third, the second and fourth. */
#define DOT_FN(row, q, sign, B)                                                                                        \
	VARIANT(row##_##q)                                                                                             \
	{                                                                                                              \
		const __m128i n = lp_get_q(cpu, u->rn), m = lp_vreg_bits(B(cpu, u, 1, s, U));                          \
		const __m128i r = _mm_add_epi32(                                                                       \
			_mm_add_epi32(lp_get_q(cpu, u->rd), _mm_madd_epi16(lower_##sign##_b(n), lower_##sign##_b(m))), \
			_mm_madd_epi16(upper_##sign##_b(n), upper_##sign##_b(m)));                                     \
		lp_set_q(cpu, u->rd, (q) ? r : _mm_move_epi64(r));                                                     \
		TAIL(u + 1);                                                                                           \
	}
#define DOT(row, sign, B)        \
	DOT_FN(row, 0, sign, B); \
	DOT_FN(row, 1, sign, B); \
	CHOOSER(row, lp_by_q(word) ? row##_1 : row##_0);
DOT(sdot_v, S, B_LANE);
DOT(udot_v, U, B_LANE);
DOT(sdot_elem, S, B_ELEMENT);
DOT(udot_elem, U, B_ELEMENT);

/* ---- bits ---- */

static unsigned leading_zeros(uint64_t value, unsigned bits)
{
	return value ? (unsigned)__builtin_clzll(value) - (64 - bits) : bits;
}
static uint8_t reversed(uint8_t byte)
{
	unsigned v = byte;

	v = (v & 0x55) << 1 | (v & 0xaa) >> 1;
	v = (v & 0x33) << 2 | (v & 0xcc) >> 2;
	return v << 4 | v >> 4;
}
static uint8_t ones(uint8_t byte)
{
	unsigned v = byte;

	v = (v & 0x55) + (v >> 1 & 0x55);
	v = (v & 0x33) + (v >> 2 & 0x33);
	return (v & 0x0f) + (v >> 4);
}
VECTOR(clz, bhs, U, leading_zeros(a, BITS));
/* Of the bits below the sign, how many in a row are like it. */
VECTOR(cls, bhs, S, leading_zeros((U)(a ^ a >> 1), BITS) - 1);
VECTOR(cnt, b, U, ones(a));
EACH_b(LP_SAME_FNS, rbit_v, U, B_LANE, reversed(a));
CHOOSE_BY_SIZE_Q(rbit_v, b, lp_by_q);

/* Whole registers: the lanes are only how they are read. */
#define BITWISE(name, expr)                             \
	EACH_d(LP_SAME_FNS, name##_v, U, B_LANE, expr); \
	CHOOSER(name##_v, lp_by_q(word) ? name##_v_d1 : name##_v_d0);
BITWISE(and, a &b);
BITWISE(bic, a & ~b);
BITWISE(orr, a | b);
BITWISE(orn, a | ~b);
BITWISE(eor, a ^ b);
BITWISE(not, ~a);
BITWISE(bsl, (d & a) | (~d & b));
BITWISE(bit, (d & ~b) | (a & b));
BITWISE(bif, (d & b) | (a & ~b));
