/* Advanced SIMD: results with lanes of twice or half the size of the operands'. */
#include "emu/simd.h"

LONG(saddl, bhs, S, (TW)a + b);
LONG(uaddl, bhs, U, (TW)a + b);
LONG(ssubl, bhs, S, (TW)a - b);
LONG(usubl, bhs, U, (TW)a - b);
WIDE(saddw, S, a + (UW)b);
WIDE(uaddw, U, a + (UW)b);
WIDE(ssubw, S, a - (UW)b);
WIDE(usubw, U, a - (UW)b);

#define DISTANCE (a > b ? (UW)a - (UW)b : (UW)b - (UW)a)
LONG(sabdl, bhs, S, DISTANCE);
LONG(uabdl, bhs, U, DISTANCE);
LONG(sabal, bhs, S, (UW)d + DISTANCE);
LONG(uabal, bhs, U, (UW)d + DISTANCE);

/* ---- products ---- */

#define MULL ((TW)a * b)
#define LONG_BOTH(name, sign, expr)  \
	LONG(name, bhs, sign, expr); \
	LONG_ELEMENT(name, sign, expr);
LONG_BOTH(smull, S, MULL);
LONG_BOTH(umull, U, MULL);
LONG_BOTH(smlal, S, (UW)d + (UW)MULL);
LONG_BOTH(umlal, U, (UW)d + (UW)MULL);
LONG_BOTH(smlsl, S, (UW)d - (UW)MULL);
LONG_BOTH(umlsl, U, (UW)d - (UW)MULL);

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
EACH_b(LP_LONG_FNS, pmull_8, U, B_LONG,
       PRODUCT_BIT(0) ^ PRODUCT_BIT(1) ^ PRODUCT_BIT(2) ^ PRODUCT_BIT(3) ^ PRODUCT_BIT(4) ^ PRODUCT_BIT(5) ^
	       PRODUCT_BIT(6) ^ PRODUCT_BIT(7));
CHOOSE_BY_SIZE_Q(pmull_8, b, lp_by_q);

/* ---- the upper half of sums ---- */

#define HALF_ROUND ((UW)1 << (BITS - 1))
#define NARROW(name, expr)                             \
	EACH_bhs(LP_NARROW_FNS, name##_v, U, U, expr); \
	CHOOSE_BY_SIZE_Q(name##_v, bhs, lp_by_esize_q);
NARROW(addhn, (UW)(a + b) >> BITS);
NARROW(subhn, (UW)(a - b) >> BITS);
NARROW(raddhn, (UW)(a + b + HALF_ROUND) >> BITS);
NARROW(rsubhn, (UW)(a - b + HALF_ROUND) >> BITS);
