/* Advanced SIMD: neighbouring lanes, all lanes of a register, permutations of lanes. */
#include "emu/simd.h"

/* ---- pairs: a, b are neighbours in rn, then in rm ---- */

#define PAIR_FN(Z, q, row, sign, expr)                                                                \
	VARIANT(row##_##Z##q)                                                                         \
	{                                                                                             \
		LP_LANE_TYPES(Z, sign)                                                                \
		const __m128i n = lp_get_q(cpu, u->rn), m = lp_get_q(cpu, u->rm), both = low_d(n, m); \
		const union lp_vreg first = lp_vreg_of((q) ? even_##Z(n, m) : even_##Z(both, both));  \
		const union lp_vreg second = lp_vreg_of((q) ? odd_##Z(n, m) : odd_##Z(both, both));   \
		union lp_vreg r;                                                                      \
		LP_LANES for (unsigned i = 0; i < 16 / sizeof(T); i++)                                \
		{                                                                                     \
			const T a = first.FIELD_##sign##_##Z[i], b = second.FIELD_##sign##_##Z[i];    \
			r.FIELD_##sign##_##Z[i] = (T)(expr);                                          \
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
#define PAIR_LONG_FN(Z, q, row, sign, expr)                                                                    \
	VARIANT(row##_##Z##q)                                                                                  \
	{                                                                                                      \
		LP_WIDE_TYPES(Z, sign)                                                                         \
		const __m128i n = lp_get_q(cpu, u->rn);                                                        \
		const union lp_vreg first = lp_vreg_of(lower_##sign##_##Z(n)),                                 \
				    second = lp_vreg_of(upper_##sign##_##Z(n)), was = lp_get_v(cpu, u->rd, 1); \
		union lp_vreg r;                                                                               \
		LP_LANES for (unsigned i = 0; i < 8 / sizeof(T); i++)                                          \
		{                                                                                              \
			const UW a = first.WIDE_FIELD_U_##Z[i], b = second.WIDE_FIELD_U_##Z[i];                \
			LP_UNUSED const UW d = was.WIDE_FIELD_U_##Z[i];                                        \
			r.WIDE_FIELD_U_##Z[i] = (UW)(expr);                                                    \
		}                                                                                              \
		lp_set_v(cpu, u->rd, r, q);                                                                    \
		TAIL(u + 1);                                                                                   \
	}
#define PAIR_LONG_FNS(Z, ...) PAIR_LONG_FN(Z, 0, __VA_ARGS__) PAIR_LONG_FN(Z, 1, __VA_ARGS__)
#define PAIRS_LONG(name, sign, expr)                   \
	EACH_bhs(PAIR_LONG_FNS, name##_v, sign, expr); \
	CHOOSE_BY_SIZE_Q(name##_v, bhs, lp_by_esize_q);

PAIRS_LONG(saddlp, S, a + b);
PAIRS_LONG(uaddlp, U, a + b);
PAIRS_LONG(sadalp, S, d + a + b);
PAIRS_LONG(uadalp, U, d + a + b);

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

/* ---- permutations ---- */

/* A short register's operands stand side by side for `short_of`, whose lower half is the result. */
#define PERMUTE_FNS(Z, row, all_of, short_of)                                     \
	VARIANT(row##_##Z##0)                                                     \
	{                                                                         \
		const __m128i n = lp_get_q(cpu, u->rn), m = lp_get_q(cpu, u->rm); \
		lp_set_q(cpu, u->rd, _mm_move_epi64(short_of(Z)));                \
		TAIL(u + 1);                                                      \
	}                                                                         \
	VARIANT(row##_##Z##1)                                                     \
	{                                                                         \
		const __m128i n = lp_get_q(cpu, u->rn), m = lp_get_q(cpu, u->rm); \
		lp_set_q(cpu, u->rd, all_of##_##Z(n, m));                         \
		TAIL(u + 1);                                                      \
	}
#define PERMUTE(row, all_of, short_of)                 \
	EACH_bhsd(PERMUTE_FNS, row, all_of, short_of); \
	CHOOSE_BY_SIZE_Q(row, bhsd, lp_by_esize_q);
#define SHORT_ZIP1(Z) low_##Z(n, m)
#define SHORT_ZIP2(Z) _mm_srli_si128(low_##Z(n, m), 8)
#define SHORT_UZP1(Z) even_##Z(low_d(n, m), n)
#define SHORT_UZP2(Z) odd_##Z(low_d(n, m), n)
#define SHORT_TRN1(Z) evens_##Z(n, m)
#define SHORT_TRN2(Z) odds_##Z(n, m)
PERMUTE(zip1, low, SHORT_ZIP1);
PERMUTE(zip2, high, SHORT_ZIP2);
PERMUTE(uzp1, even, SHORT_UZP1);
PERMUTE(uzp2, odd, SHORT_UZP2);
PERMUTE(trn1, evens, SHORT_TRN1);
PERMUTE(trn2, odds, SHORT_TRN2);

/* Lanes in reverse order within each `group` of bytes. */
#define REVERSE_FN(Z, q, row, group)                                                         \
	VARIANT(row##_##Z##q)                                                                \
	{                                                                                    \
		const union lp_vreg n = lp_get_v(cpu, u->rn, q);                             \
		union lp_vreg r;                                                             \
		for (unsigned i = 0; i < 16 / sizeof(U_##Z); i++)                            \
			r.FIELD_U_##Z[i] = n.FIELD_U_##Z[i ^ ((group) / sizeof(U_##Z) - 1)]; \
		lp_set_v(cpu, u->rd, r, q);                                                  \
		TAIL(u + 1);                                                                 \
	}
#define REVERSE_FNS(Z, ...) REVERSE_FN(Z, 0, __VA_ARGS__) REVERSE_FN(Z, 1, __VA_ARGS__)
#define REVERSE(row, sizes, group, by)         \
	EACH_##sizes(REVERSE_FNS, row, group); \
	CHOOSE_BY_SIZE_Q(row, sizes, by);
REVERSE(rev64_v, bhs, 8, lp_by_esize_q);
REVERSE(rev32_v, bh, 4, lp_by_esize_q);
REVERSE(rev16_v, b, 2, lp_by_esize_q);
