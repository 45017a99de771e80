/* Advanced SIMD: shifts, by a register and by an immediate. */
#include "emu/simd.h"

/* ---- by the lowest byte of each lane of rm: to the left, or to the right when negative ---- */

/* The exact result as a W.  Of what is far out on the left only this is kept: it saturates, and nothing of it is in T. */
#define BEYOND ((W)1 << (2 * BITS - 2))
#define BY ((int8_t)b)
#define LEFT (BY >= BITS ? (a == 0 ? 0 : (W)a > 0 ? BEYOND : -BEYOND) : a * ((W)1 << BY))
#define RIGHT (BY < -BITS ? ((W)a < 0 ? -1 : 0) : (W)a >> -BY)
#define RIGHT_ROUNDED (BY < -BITS ? 0 : ((W)a + ((W)1 << (-BY - 1))) >> -BY)
#define SHIFTED (BY >= 0 ? LEFT : RIGHT)
#define ROUNDED (BY >= 0 ? LEFT : RIGHT_ROUNDED)

BOTH(sshl, bhsd, d, S, SHIFTED);
BOTH(ushl, bhsd, d, U, SHIFTED);
BOTH(srshl, bhsd, d, S, ROUNDED);
BOTH(urshl, bhsd, d, U, ROUNDED);
BOTH(sqshl, bhsd, bhsd, S, SAT(SHIFTED));
BOTH(uqshl, bhsd, bhsd, U, SAT(SHIFTED));
BOTH(sqrshl, bhsd, bhsd, S, SAT(ROUNDED));
BOTH(uqrshl, bhsd, bhsd, U, SAT(ROUNDED));

/* ---- by an immediate ---- */

/* immh:immb is BITS + sh to the left, 2 * BITS - sh to the right: `left`, `right`. */
#define IMMHB (u->word >> 16 & 127)
#define left (IMMHB - BITS)
#define right (2 * BITS - IMMHB)

/* right is 1 to BITS: C does not shift by all bits. */
#define SHR_S(x) ((x) >> (right == BITS ? BITS - 1 : right))
#define SHR_U(x) (right == BITS ? 0 : (x) >> (right % BITS))
/* Adding half of what is lost carries the highest lost bit. */
#define LOST_BIT(x) ((x) >> (right - 1) & 1)

#define IMMEDIATE(name, sign, expr)                               \
	EACH_bhsd(LP_SAME_FNS, name##_imm_v, sign, B_LANE, expr); \
	CHOOSE_BY_SIZE_Q(name##_imm_v, bhsd, lp_by_immh_q);
#define IMMEDIATE_BOTH(name, scalars, sign, expr)                       \
	IMMEDIATE(name, sign, expr);                                    \
	EACH_##scalars(LP_SCALAR_FN, name##_imm_s, sign, B_LANE, expr); \
	CHOOSE_BY_SIZE(name##_imm_s, scalars, lp_by_immh);

IMMEDIATE_BOTH(sshr, d, S, SHR_S(a));
IMMEDIATE_BOTH(ushr, d, U, SHR_U(a));
IMMEDIATE_BOTH(ssra, d, S, (U)d + (U)SHR_S(a));
IMMEDIATE_BOTH(usra, d, U, d + SHR_U(a));
IMMEDIATE_BOTH(srshr, d, S, SHR_S(a) + LOST_BIT(a));
IMMEDIATE_BOTH(urshr, d, U, SHR_U(a) + LOST_BIT(a));
IMMEDIATE_BOTH(srsra, d, S, (U)d + (U)(SHR_S(a) + LOST_BIT(a)));
IMMEDIATE_BOTH(ursra, d, U, d + SHR_U(a) + LOST_BIT(a));
IMMEDIATE_BOTH(shl, d, U, a << left);
/* Inserted: the bits that nothing is shifted into stay. */
IMMEDIATE_BOTH(sli, d, U, a << left | (d & (U)(((U)1 << left) - 1)));
IMMEDIATE_BOTH(sri, d, U, SHR_U(a) | (d & (U) ~(U)SHR_U((U)-1)));
IMMEDIATE_BOTH(sqshl, bhsd, S, SAT(a *((W)1 << left)));
IMMEDIATE_BOTH(uqshl, bhsd, U, SAT(a *((W)1 << left)));
IMMEDIATE_BOTH(sqshlu, bhsd, S, SAT_U(a *((W)1 << left)));

/* ---- to twice the size, to half the size ---- */

#define LENGTHEN(name, sign)                                                    \
	EACH_bhs(LP_LONG_FNS, name##_v, sign, B_LONG, (UW)((UW)(TW)a << left)); \
	CHOOSE_BY_SIZE_Q(name##_v, bhs, lp_by_immh_q);
LENGTHEN(sshll, S);
LENGTHEN(ushll, U);
/* By all bits of a lane. */
LONG(shll, bhs, U, (TW)((TW)a << BITS));

#define NARROW(row, from, sign, expr)                       \
	EACH_bhs(LP_NARROW_FNS, row##_v, from, sign, expr); \
	CHOOSE_BY_SIZE_Q(row##_v, bhs, lp_by_esize_q);
#define NARROW_BOTH(row, from, sign, expr)                        \
	NARROW(row, from, sign, expr);                            \
	EACH_bhs(LP_NARROW_SCALAR_FN, row##_s, from, sign, expr); \
	CHOOSE_BY_SIZE(row##_s, bhs, lp_by_esize);
NARROW(xtn, U, U, a);
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
#define NARROWED_ROUNDED ((W)NARROWED + (W)LOST_BIT(a))
NARROW_IMMEDIATE(shrn, U, U, NARROWED);
NARROW_IMMEDIATE(rshrn, U, U, NARROWED + LOST_BIT(a));
NARROW_IMMEDIATE_BOTH(sqshrn, S, S, SAT(NARROWED));
NARROW_IMMEDIATE_BOTH(uqshrn, U, U, SAT(NARROWED));
NARROW_IMMEDIATE_BOTH(sqshrun, S, U, SAT(NARROWED));
NARROW_IMMEDIATE_BOTH(sqrshrn, S, S, SAT(NARROWED_ROUNDED));
NARROW_IMMEDIATE_BOTH(uqrshrn, U, U, SAT(NARROWED_ROUNDED));
NARROW_IMMEDIATE_BOTH(sqrshrun, S, U, SAT(NARROWED_ROUNDED));
