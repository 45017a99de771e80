/* Advanced SIMD: results with lanes of twice or half the size of the operands'. */
#include <immintrin.h>

#include "emu/simd.h"

LONG(saddl, bhs, S, (TW)a + b);
LONG(uaddl, bhs, U, (TW)a + b);
LONG(ssubl, bhs, S, (TW)a - b);
LONG(usubl, bhs, U, (TW)a - b);
WIDE(saddw, S, a + b);
WIDE(uaddw, U, a + b);
WIDE(ssubw, S, a - b);
WIDE(usubw, U, a - b);

#define DISTANCE (a > b ? (UW)a - (UW)b : (UW)b - (UW)a)
LONG(sabdl, bhs, S, DISTANCE);
LONG(uabdl, bhs, U, DISTANCE);
LONG(sabal, bhs, S, (UW)d + DISTANCE);
LONG(uabal, bhs, U, (UW)d + DISTANCE);

/* ---- products ---- */

/* Two products of 32 bits are one host instruction, which takes every second lane. */
#define PRODUCT_S_FN(q, row, sign, B, combined)                                                  \
	VARIANT(row##_s##q)                                                                      \
	{                                                                                        \
		const __m128i n = lp_get_q(cpu, u->rn), m = lp_vreg_bits(B(cpu, u, 1, s, sign)); \
		const __m128i LP_UNUSED d = lp_get_q(cpu, u->rd);                                \
		const __m128i product = products_##sign(doubled(n, q), doubled(m, q));           \
		lp_set_q(cpu, u->rd, combined);                                                  \
		TAIL(u + 1);                                                                     \
	}
static inline __m128i doubled(__m128i x, bool upper)
{
	return upper ? _mm_unpackhi_epi32(x, x) : _mm_unpacklo_epi32(x, x);
}
static inline __m128i products_U(__m128i n, __m128i m)
{
	return _mm_mul_epu32(n, m);
}
/* Where the host's instruction has no signs: a negative factor has counted 2^32 times the other too much. */
static inline __m128i products_S(__m128i n, __m128i m)
{
#ifdef LP_EMU_V3
	return _mm_mul_epi32(n, m);
#else
	const __m128i extra_n = _mm_and_si128(_mm_srai_epi32(n, 31), m),
		      extra_m = _mm_and_si128(_mm_srai_epi32(m, 31), n);

	return _mm_sub_epi64(_mm_mul_epu32(n, m), _mm_slli_epi64(_mm_add_epi32(extra_n, extra_m), 32));
#endif
}

#define MULL ((TW)a * b)
#define PRODUCTS(name, sign, expr, combined)                       \
	EACH_bh(LP_LONG_FNS, name##_v, sign, B_LANE, expr);        \
	PRODUCT_S_FN(0, name##_v, sign, B_LANE, combined);         \
	PRODUCT_S_FN(1, name##_v, sign, B_LANE, combined);         \
	CHOOSE_BY_SIZE_Q(name##_v, bhs, lp_by_esize_q);            \
	EACH_h(LP_LONG_FNS, name##_elem_v, sign, B_ELEMENT, expr); \
	PRODUCT_S_FN(0, name##_elem_v, sign, B_ELEMENT, combined); \
	PRODUCT_S_FN(1, name##_elem_v, sign, B_ELEMENT, combined); \
	CHOOSE_BY_SIZE_Q(name##_elem_v, hs, lp_by_esize_q);
PRODUCTS(smull, S, MULL, product);
PRODUCTS(umull, U, MULL, product);
PRODUCTS(smlal, S, (UW)d + (UW)MULL, _mm_add_epi64(d, product));
PRODUCTS(umlal, U, (UW)d + (UW)MULL, _mm_add_epi64(d, product));
PRODUCTS(smlsl, S, (UW)d - (UW)MULL, _mm_sub_epi64(d, product));
PRODUCTS(umlsl, U, (UW)d - (UW)MULL, _mm_sub_epi64(d, product));

/* The doubled product saturates before it is added, and the sum again. */
#define SQDMULL LP_SAT(product, TW, (W)2 * a * b)
#define LONG_ALL(name, expr)            \
	LONG(name, hs, S, expr);        \
	LONG_SCALAR(name, hs, S, expr); \
	LONG_ELEMENT(name, S, expr);    \
	LONG_SCALAR_ELEMENT(name, S, expr);
LONG_ALL(sqdmull, SQDMULL);
LONG_ALL(sqdmlal, SAT_W((W)d + SQDMULL));
LONG_ALL(sqdmlsl, SAT_W((W)d - SQDMULL));

/* Polynomials over {0, 1}: bit k of b shifts a by k; no carries. */
#define PRODUCT_BIT(k) (b >> (k)&1 ? a << (k) : 0)
EACH_b(LP_LONG_FNS, pmull_8, U, B_LANE,
       PRODUCT_BIT(0) ^ PRODUCT_BIT(1) ^ PRODUCT_BIT(2) ^ PRODUCT_BIT(3) ^ PRODUCT_BIT(4) ^ PRODUCT_BIT(5) ^
	       PRODUCT_BIT(6) ^ PRODUCT_BIT(7));
CHOOSE_BY_SIZE_Q(pmull_8, b, lp_by_q);

/* ---- the upper half of sums ---- */

#define HALF ((UW)1 << (BITS - 1))
#define HIGH_FN(Z, q, row, sum)                                                                    \
	VARIANT(row##_##Z##q)                                                                      \
	{                                                                                          \
		LP_WIDE_TYPES(Z, U)                                                                \
		const union lp_vreg n = lp_get_v(cpu, u->rn, 1), m = lp_get_v(cpu, u->rm, 1);      \
		union lp_vreg r;                                                                   \
		LP_LANES for (unsigned i = 0; i < 8 / sizeof(T); i++)                              \
		{                                                                                  \
			const UW a = n.WIDE_FIELD_U_##Z[i], b = m.WIDE_FIELD_U_##Z[i];             \
			r.WIDE_FIELD_U_##Z[i] = (UW)(sum);                                         \
		}                                                                                  \
		lp_set_half(cpu, u->rd, lp_vreg_of(odd_##Z(lp_vreg_bits(r), lp_vreg_bits(r))), q); \
		TAIL(u + 1);                                                                       \
	}
#define HIGH_FNS(Z, ...) HIGH_FN(Z, 0, __VA_ARGS__) HIGH_FN(Z, 1, __VA_ARGS__)
#define HIGH(name, sum)                    \
	EACH_bhs(HIGH_FNS, name##_v, sum); \
	CHOOSE_BY_SIZE_Q(name##_v, bhs, lp_by_esize_q);
HIGH(addhn, a + b);
HIGH(subhn, a - b);
HIGH(raddhn, a + b + HALF);
HIGH(rsubhn, a - b + HALF);
