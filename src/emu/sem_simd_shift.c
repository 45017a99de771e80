/* Advanced SIMD: shifts, by a register and by an immediate. */
#include "emu/simd.h"

/* ---- by the lowest byte of each lane of rm: to the left, or to the right when negative ---- */

/* The exact result as a W.  Of what is far out on the left only this is kept: it saturates, and nothing of it is in T. */
#define BEYOND ((W)1 << (2 * BITS - 2))
/* Within the lane's size, so that lanes stay side by side. */
#define BY ((S)((S)((U)b << (BITS - 8)) >> (BITS - 8)))
#define LEFT (BY >= BITS ? (a == 0 ? 0 : (W)a > 0 ? BEYOND : -BEYOND) : a * ((W)1 << BY))
#define RIGHT (BY < -BITS ? ((W)a < 0 ? -1 : 0) : (W)a >> -BY)
#define RIGHT_ROUNDED (BY < -BITS ? 0 : ((W)a + ((W)1 << (-BY - 1))) >> -BY)
#define SHIFTED (BY >= 0 ? LEFT : RIGHT)
#define ROUNDED (BY >= 0 ? LEFT : RIGHT_ROUNDED)

/* The same without what saturates: every lane stays in its size. */
#define IN_LANE(count) ((unsigned)(count) < BITS)
#define TO_LEFT (IN_LANE(BY) ? (U)a << (BY & (BITS - 1)) : 0)
#define TO_RIGHT_S (a >> (IN_LANE(-BY) ? -BY & (BITS - 1) : BITS - 1))
#define TO_RIGHT_U (IN_LANE(-BY) ? a >> (-BY & (BITS - 1)) : 0)
/* The highest bit that is lost, of a lane that has not been shifted out altogether and by one more. */
#define LAST_LOST (IN_LANE(-BY - 1) ? a >> ((-BY - 1) & (BITS - 1)) & 1 : 0)
BOTH(sshl, bhsd, d, S, BY >= 0 ? (T)TO_LEFT : (T)TO_RIGHT_S);
BOTH(ushl, bhsd, d, U, BY >= 0 ? (T)TO_LEFT : (T)TO_RIGHT_U);
BOTH(urshl, bhsd, d, U, BY >= 0 ? (T)TO_LEFT : (T)(TO_RIGHT_U + LAST_LOST));
BOTH(srshl, bhsd, d, S, BY >= 0 ? (T)TO_LEFT : IN_LANE(-BY - 1) ? (T)(TO_RIGHT_S + LAST_LOST) : 0);
BOTH(sqshl, bhsd, bhsd, S, SAT(SHIFTED));
BOTH(uqshl, bhsd, bhsd, U, SAT(SHIFTED));
BOTH(sqrshl, bhsd, bhsd, S, SAT(ROUNDED));
BOTH(uqrshl, bhsd, bhsd, U, SAT(ROUNDED));

/* ---- by an immediate ---- */

/* immh:immb is BITS + sh to the left, 2 * BITS - sh to the right: `left`, `right`. */
#define IMMHB (u->word >> 16 & 127)
#define left (IMMHB - BITS)
#define right (2 * BITS - IMMHB)

/* n: the operand, d: what was in the destination, r: the result, as DO_name says for a size. */
#define WHOLE_FN(Z, q, name, sign)                                                                            \
	VARIANT(name##_imm_v_##Z##q)                                                                          \
	{                                                                                                     \
		LP_LANE_TYPES(Z, sign)                                                                        \
		const __m128i n = lp_get_q(cpu, u->rn), LP_UNUSED d = lp_get_q(cpu, u->rd), r = DO_##name(Z); \
		lp_set_q(cpu, u->rd, (q) ? r : _mm_move_epi64(r));                                            \
		TAIL(u + 1);                                                                                  \
	}
#define WHOLE_FNS(Z, ...) WHOLE_FN(Z, 0, __VA_ARGS__) WHOLE_FN(Z, 1, __VA_ARGS__)
/* A scalar is a register with one lane of 64 bits. */
#define WHOLE(name, sign)                                   \
	EACH_bhsd(WHOLE_FNS, name, sign);                   \
	CHOOSE_BY_SIZE_Q(name##_imm_v, bhsd, lp_by_immh_q); \
	CHOOSER(name##_imm_s, name##_imm_v_d0);

#define ONES _mm_set1_epi8(-1)
/* Adding half of what is lost carries the highest lost bit. */
#define LOST_BIT(Z) srl_##Z(sll_##Z(n, BITS - right), BITS - 1)
/* Inserted: the bits that nothing is shifted into stay. */
#define INSERTED(shifted, ones) _mm_or_si128(shifted, _mm_andnot_si128(ones, d))

#define DO_sshr(Z) sra_##Z(n, right)
#define DO_ushr(Z) srl_##Z(n, right)
#define DO_ssra(Z) add_##Z(d, DO_sshr(Z))
#define DO_usra(Z) add_##Z(d, DO_ushr(Z))
#define DO_srshr(Z) add_##Z(DO_sshr(Z), LOST_BIT(Z))
#define DO_urshr(Z) add_##Z(DO_ushr(Z), LOST_BIT(Z))
#define DO_srsra(Z) add_##Z(d, DO_srshr(Z))
#define DO_ursra(Z) add_##Z(d, DO_urshr(Z))
#define DO_shl(Z) sll_##Z(n, left)
#define DO_sli(Z) INSERTED(sll_##Z(n, left), sll_##Z(ONES, left))
#define DO_sri(Z) INSERTED(srl_##Z(n, right), srl_##Z(ONES, right))
WHOLE(sshr, S);
WHOLE(ushr, U);
WHOLE(ssra, S);
WHOLE(usra, U);
WHOLE(srshr, S);
WHOLE(urshr, U);
WHOLE(srsra, S);
WHOLE(ursra, U);
WHOLE(shl, U);
WHOLE(sli, U);
WHOLE(sri, U);

#define IMMEDIATE_BOTH(name, sign, expr)                           \
	EACH_bhsd(LP_SAME_FNS, name##_imm_v, sign, B_LANE, expr);  \
	CHOOSE_BY_SIZE_Q(name##_imm_v, bhsd, lp_by_immh_q);        \
	EACH_bhsd(LP_SCALAR_FN, name##_imm_s, sign, B_LANE, expr); \
	CHOOSE_BY_SIZE(name##_imm_s, bhsd, lp_by_immh);
IMMEDIATE_BOTH(sqshl, S, SAT(a *((W)1 << left)));
IMMEDIATE_BOTH(uqshl, U, SAT(a *((W)1 << left)));
IMMEDIATE_BOTH(sqshlu, S, SAT_U(a *((W)1 << left)));

/* ---- to twice the size, to half the size ---- */

#define WIDEN_FN(Z, q, row, sign, by)                                                 \
	VARIANT(row##_##Z##q)                                                         \
	{                                                                             \
		enum { BITS = 8 * sizeof(U_##Z) };                                    \
		const __m128i half = upper_if(lp_get_q(cpu, u->rn), q);               \
		lp_set_q(cpu, u->rd, OF_WIDER(sll, Z)(widen_##sign##_##Z(half), by)); \
		TAIL(u + 1);                                                          \
	}
#define WIDEN_FNS(Z, ...) WIDEN_FN(Z, 0, __VA_ARGS__) WIDEN_FN(Z, 1, __VA_ARGS__)
#define LENGTHEN(row, sign, by, index)      \
	EACH_bhs(WIDEN_FNS, row, sign, by); \
	CHOOSE_BY_SIZE_Q(row, bhs, index);
LENGTHEN(sshll_v, S, left, lp_by_immh_q);
LENGTHEN(ushll_v, U, left, lp_by_immh_q);
/* By all bits of a lane. */
LENGTHEN(shll_v, U, BITS, lp_by_esize_q);

/* n: the operand, with lanes of twice the size. */
#define TRUNCATE_FN(Z, q, row, expr)                         \
	VARIANT(row##_##Z##q)                                \
	{                                                    \
		enum LP_UNUSED { BITS = 8 * sizeof(U_##Z) }; \
		const __m128i n = lp_get_q(cpu, u->rn);      \
		const __m128i r = narrow_##Z(expr(Z));       \
		lp_set_half(cpu, u->rd, lp_vreg_of(r), q);   \
		TAIL(u + 1);                                 \
	}
#define TRUNCATE_FNS(Z, ...) TRUNCATE_FN(Z, 0, __VA_ARGS__) TRUNCATE_FN(Z, 1, __VA_ARGS__)
#define TRUNCATE(row, expr, index)         \
	EACH_bhs(TRUNCATE_FNS, row, expr); \
	CHOOSE_BY_SIZE_Q(row, bhs, index);
#define ALL_OF(Z) n
#define SHIFTED_RIGHT(Z) OF_WIDER(srl, Z)(n, right)
/* Half of what is lost, in the lanes' size: what it carries beyond that is lost too. */
#define ROUNDED_RIGHT(Z) OF_WIDER(srl, Z)(OF_WIDER(add, Z)(n, OF_WIDER(half, Z)(right)), right)
static inline __m128i half_h(unsigned by)
{
	return _mm_set1_epi16((short)(1 << (by - 1)));
}
static inline __m128i half_s(unsigned by)
{
	return _mm_set1_epi32(1 << (by - 1));
}
static inline __m128i half_d(unsigned by)
{
	return _mm_set1_epi64x((int64_t)1 << (by - 1));
}
TRUNCATE(xtn_v, ALL_OF, lp_by_esize_q);
TRUNCATE(shrn_imm_v, SHIFTED_RIGHT, lp_by_immh_q);
TRUNCATE(rshrn_imm_v, ROUNDED_RIGHT, lp_by_immh_q);

#define NARROW(row, from, sign, expr)                       \
	EACH_bhs(LP_NARROW_FNS, row##_v, from, sign, expr); \
	CHOOSE_BY_SIZE_Q(row##_v, bhs, lp_by_esize_q);
#define NARROW_BOTH(row, from, sign, expr)                        \
	NARROW(row, from, sign, expr);                            \
	EACH_bhs(LP_NARROW_SCALAR_FN, row##_s, from, sign, expr); \
	CHOOSE_BY_SIZE(row##_s, bhs, lp_by_esize);
NARROW_BOTH(sqxtn, S, S, SAT(a));
NARROW_BOTH(uqxtn, U, U, SAT(a));
NARROW_BOTH(sqxtun, S, U, SAT(a));

#define NARROW_IMMEDIATE(row, from, sign, expr)                 \
	EACH_bhs(LP_NARROW_FNS, row##_imm_v, from, sign, expr); \
	CHOOSE_BY_SIZE_Q(row##_imm_v, bhs, lp_by_immh_q);
#define NARROW_IMMEDIATE_BOTH(row, from, sign, expr)                  \
	NARROW_IMMEDIATE(row, from, sign, expr);                      \
	EACH_bhs(LP_NARROW_SCALAR_FN, row##_imm_s, from, sign, expr); \
	CHOOSE_BY_SIZE(row##_imm_s, bhs, lp_by_immh);
/* right is at most half the bits of a: nothing to take care of. */
#define NARROWED (a >> right)
#define NARROWED_ROUNDED ((W)NARROWED + (W)(a >> (right - 1) & 1))
NARROW_IMMEDIATE_BOTH(sqshrn, S, S, SAT(NARROWED));
NARROW_IMMEDIATE_BOTH(uqshrn, U, U, SAT(NARROWED));
NARROW_IMMEDIATE_BOTH(sqshrun, S, U, SAT(NARROWED));
NARROW_IMMEDIATE_BOTH(sqrshrn, S, S, SAT(NARROWED_ROUNDED));
NARROW_IMMEDIATE_BOTH(uqrshrn, U, U, SAT(NARROWED_ROUNDED));
NARROW_IMMEDIATE_BOTH(sqrshrun, S, U, SAT(NARROWED_ROUNDED));
