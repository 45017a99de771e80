/* Advanced SIMD: neighbouring lanes, all lanes of a register, permutations of lanes. */
#include "emu/simd.h"

/* ---- pairs: a, b are neighbours in rn, then in rm ---- */

#define PAIR_FN(Z, q, row, sign, expr)                                                                \
	VARIANT(row##_##Z##q)                                                                         \
	{                                                                                             \
		LP_LANE_TYPES(Z, sign)                                                                \
		const union lp_vreg n = lp_get_v(cpu, u->rn, q), m = lp_get_v(cpu, u->rm, q);         \
		union lp_vreg r = {0};                                                                \
		enum { PAIRS = (q ? 16 : 8) / 2 / sizeof(T) };                                        \
		for (unsigned i = 0; i < PAIRS; i++) {                                                \
			const T a = n.FIELD_##sign##_##Z[2 * i], b = n.FIELD_##sign##_##Z[2 * i + 1]; \
			r.FIELD_##sign##_##Z[i] = (T)(expr);                                          \
		}                                                                                     \
		for (unsigned i = 0; i < PAIRS; i++) {                                                \
			const T a = m.FIELD_##sign##_##Z[2 * i], b = m.FIELD_##sign##_##Z[2 * i + 1]; \
			r.FIELD_##sign##_##Z[PAIRS + i] = (T)(expr);                                  \
		}                                                                                     \
		lp_set_v(cpu, u->rd, r, q);                                                           \
		TAIL(u + 1);                                                                          \
	}
#define PAIR_FNS(Z, ...) PAIR_FN(Z, 0, __VA_ARGS__) PAIR_FN(Z, 1, __VA_ARGS__)
#define PAIR_D_FN(Z, ...) PAIR_FN(Z, 1, __VA_ARGS__)
#define PAIRS_OF(name, sign, expr)                \
	EACH_bhs(PAIR_FNS, name##_v, sign, expr); \
	CHOOSE_BY_SIZE_Q(name##_v, bhs, lp_by_esize_q);

PAIRS_OF(smaxp, S, a > b ? a : b);
PAIRS_OF(sminp, S, a < b ? a : b);
PAIRS_OF(umaxp, U, a > b ? a : b);
PAIRS_OF(uminp, U, a < b ? a : b);

EACH_bhs(PAIR_FNS, addp_v, U, a + b);
EACH_d(PAIR_D_FN, addp_v, U, a + b);
#define addp_v_d0 NULL /* not an instruction */
CHOOSE_BY_SIZE_Q(addp_v, bhsd, lp_by_esize_q);

VARIANT(addp_scalar)
{
	const union lp_vreg n = lp_get_v(cpu, u->rn, 1);

	lp_set_d(cpu, u->rd, n.d[0] + n.d[1]);
	TAIL(u + 1);
}
CHOOSER(addp_s, addp_scalar);

/* Neighbours make a lane of twice the size; d: what was there. */
#define PAIR_LONG_FN(Z, q, row, sign, expr)                                                           \
	VARIANT(row##_##Z##q)                                                                         \
	{                                                                                             \
		LP_WIDE_TYPES(Z, sign)                                                                \
		const union lp_vreg n = lp_get_v(cpu, u->rn, q), was = lp_get_v(cpu, u->rd, q);       \
		union lp_vreg r;                                                                      \
		for (unsigned i = 0; i < 8 / sizeof(T); i++) {                                        \
			const T a = n.FIELD_##sign##_##Z[2 * i], b = n.FIELD_##sign##_##Z[2 * i + 1]; \
			LP_UNUSED const UW d = was.WIDE_FIELD_U_##Z[i];                               \
			r.WIDE_FIELD_U_##Z[i] = (UW)(expr);                                           \
		}                                                                                     \
		lp_set_v(cpu, u->rd, r, q);                                                           \
		TAIL(u + 1);                                                                          \
	}
#define PAIR_LONG_FNS(Z, ...) PAIR_LONG_FN(Z, 0, __VA_ARGS__) PAIR_LONG_FN(Z, 1, __VA_ARGS__)
#define PAIRS_LONG(name, sign, expr)                   \
	EACH_bhs(PAIR_LONG_FNS, name##_v, sign, expr); \
	CHOOSE_BY_SIZE_Q(name##_v, bhs, lp_by_esize_q);

PAIRS_LONG(saddlp, S, (TW)a + b);
PAIRS_LONG(uaddlp, U, (TW)a + b);
PAIRS_LONG(sadalp, S, d + (UW)((TW)a + b));
PAIRS_LONG(uadalp, U, d + (UW)((TW)a + b));

/* ---- across all lanes: from the first, each next one joins ---- */

#define ACROSS_FN(Z, q, row, sign, result, expr)                          \
	VARIANT(row##_##Z##q)                                             \
	{                                                                 \
		LP_WIDE_TYPES(Z, sign)                                    \
		const union lp_vreg n = lp_get_v(cpu, u->rn, 1);          \
		result a = n.FIELD_##sign##_##Z[0];                       \
		for (unsigned i = 1; i < (q ? 16 : 8) / sizeof(T); i++) { \
			const T b = n.FIELD_##sign##_##Z[i];              \
			a = (result)(expr);                               \
		}                                                         \
		lp_set_d(cpu, u->rd, (unsigned_##result)a);               \
		TAIL(u + 1);                                              \
	}
#define unsigned_T U
#define unsigned_TW UW
#define ACROSS_FNS(Z, ...) ACROSS_FN(Z, 0, __VA_ARGS__) ACROSS_FN(Z, 1, __VA_ARGS__)
#define ACROSS(row, sign, result, expr)                \
	EACH_bhs(ACROSS_FNS, row, sign, result, expr); \
	CHOOSE_BY_SIZE_Q(row, bhs, lp_by_esize_q);

ACROSS(addv, U, T, a + b);
ACROSS(saddlv, S, TW, a + b);
ACROSS(uaddlv, U, TW, a + b);
ACROSS(smaxv, S, T, a > b ? a : b);
ACROSS(sminv, S, T, a < b ? a : b);
ACROSS(umaxv, U, T, a > b ? a : b);
ACROSS(uminv, U, T, a < b ? a : b);

/* ---- permutations: lanes n and m of the operands, r of the result; HALF as many pairs as a register has ---- */

#define PERMUTE_FN(Z, q, row, even, odd)                                                        \
	VARIANT(row##_##Z##q)                                                                   \
	{                                                                                       \
		const union lp_vreg rn = lp_get_v(cpu, u->rn, 1), rm = lp_get_v(cpu, u->rm, 1); \
		const U_##Z *const n = rn.FIELD_U_##Z, *const LP_UNUSED m = rm.FIELD_U_##Z;     \
		union lp_vreg rd = {0};                                                         \
		U_##Z *const r = rd.FIELD_U_##Z;                                                \
		enum { HALF = (q ? 16 : 8) / 2 / sizeof(U_##Z) };                               \
		for (unsigned i = 0; i < HALF; i++) {                                           \
			even;                                                                   \
			odd;                                                                    \
		}                                                                               \
		lp_set_v(cpu, u->rd, rd, q);                                                    \
		TAIL(u + 1);                                                                    \
	}
#define PERMUTE_FNS(Z, ...) PERMUTE_FN(Z, 0, __VA_ARGS__) PERMUTE_FN(Z, 1, __VA_ARGS__)
#define PERMUTE_D_FN(Z, ...) PERMUTE_FN(Z, 1, __VA_ARGS__)
#define PERMUTE(row, even, odd)                \
	EACH_bhs(PERMUTE_FNS, row, even, odd); \
	EACH_d(PERMUTE_D_FN, row, even, odd);  \
	CHOOSE_BY_SIZE_Q(row, bhsd, lp_by_esize_q);
/* Not instructions: one lane of 64 bits. */
#define zip1_d0 NULL
#define zip2_d0 NULL
#define uzp1_d0 NULL
#define uzp2_d0 NULL
#define trn1_d0 NULL
#define trn2_d0 NULL

PERMUTE(zip1, r[2 * i] = n[i], r[2 * i + 1] = m[i]);
PERMUTE(zip2, r[2 * i] = n[HALF + i], r[2 * i + 1] = m[HALF + i]);
PERMUTE(uzp1, r[i] = n[2 * i], r[HALF + i] = m[2 * i]);
PERMUTE(uzp2, r[i] = n[2 * i + 1], r[HALF + i] = m[2 * i + 1]);
PERMUTE(trn1, r[2 * i] = n[2 * i], r[2 * i + 1] = m[2 * i]);
PERMUTE(trn2, r[2 * i] = n[2 * i + 1], r[2 * i + 1] = m[2 * i + 1]);

/* Lanes in reverse order within each `group` of them. */
#define REVERSE(row, sizes, group, by)                                                    \
	EACH_##sizes(PERMUTE_FNS, row, r[2 * i] = n[(2 * i) ^ ((group) / sizeof *r - 1)], \
		     r[2 * i + 1] = n[(2 * i + 1) ^ ((group) / sizeof *r - 1)]);          \
	CHOOSE_BY_SIZE_Q(row, sizes, by);
REVERSE(rev64_v, bhs, 8, lp_by_esize_q);
REVERSE(rev32_v, bh, 4, lp_by_esize_q);
REVERSE(rev16_v, b, 2, lp_by_esize_q);
