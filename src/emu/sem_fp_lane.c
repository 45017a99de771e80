/* Advanced SIMD floating point on one lane: what compilers use as scalar instructions. */
#include "emu/sem_fp_vector.h"

/* By the field sz: row_f, row_d. */
#define ROW_BY_SIZE(row)                                              \
	static lp_uop_fn *const row##_sizes[] = {row##_f, row##_d};   \
	SEM(row)                                                      \
	{                                                             \
		return row##_sizes[lp_a64_field_sz(u->word)](cpu, u); \
	}

static LP_RARE const struct lp_uop *exact1(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size,
					   lp_fp_unary *op)
{
	return lp_fp_lanes1(cpu, u, size, 1, op);
}

static LP_RARE const struct lp_uop *exact2(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size,
					   lp_fp_binary *op)
{
	return lp_fp_lanes2(cpu, u, size, 1, cpu->vr[u->rm], op);
}

#define HALF1(row, op)                              \
	SEM(row##_s_h)                              \
	{                                           \
		return exact1(cpu, u, LP_FP_H, op); \
	}
#define HALF2(row, op)                              \
	SEM(row##_s_h)                              \
	{                                           \
		return exact2(cpu, u, LP_FP_H, op); \
	}
HALF2(fabd, lp_fp_abd)
HALF2(fcmeq, lp_fp_cmeq)
HALF2(fcmgt, lp_fp_cmgt)
HALF2(fcmge, lp_fp_cmge)
HALF2(facgt, lp_fp_acgt)
HALF2(facge, lp_fp_acge)
HALF1(fcmeq_zero, lp_fp_cmeq_zero)
HALF1(fcmgt_zero, lp_fp_cmgt_zero)
HALF1(fcmge_zero, lp_fp_cmge_zero)
HALF1(fcmlt_zero, lp_fp_cmlt_zero)
HALF1(fcmle_zero, lp_fp_cmle_zero)
HALF1(fcvtzs, lp_fp_cvtzs)
HALF1(fcvtzu, lp_fp_cvtzu)
HALF1(scvtf, lp_fp_scvtf)
HALF1(ucvtf, lp_fp_ucvtf)

/* ---- the host's ---- */

#define DIFFERENCE(name, lane, type, size, absolute)                                                \
	UOP_FN(name)                                                                                \
	{                                                                                           \
		if (LP_LIKELY(!cpu->fp_exact)) {                                                    \
			type r = host_sub_##lane(load_##lane(cpu, u->rn), load_##lane(cpu, u->rm)); \
                                                                                                    \
			if (LP_LIKELY(!is_nan_##lane(r))) {                                         \
				store_##lane(cpu, u->rd, absolute(r));                              \
				TAIL(u + 1);                                                        \
			}                                                                           \
		}                                                                                   \
		return exact2(cpu, u, size, lp_fp_abd);                                             \
	}
DIFFERENCE(fabd_s_f, f, __m128, LP_FP_S, abs_4s)
DIFFERENCE(fabd_s_d, d, __m128d, LP_FP_D, abs_2d)
ROW_BY_SIZE(fabd_s)

HOST_BINARY(equal_f, __m128, "cmpeqss")
HOST_BINARY(equal_d, __m128d, "cmpeqsd")
HOST_BINARY(less_f, __m128, "cmpltss")
HOST_BINARY(less_d, __m128d, "cmpltsd")
HOST_BINARY(less_equal_f, __m128, "cmpless")
HOST_BINARY(less_equal_d, __m128d, "cmplesd")

#define IN_ORDER(f, a, b) f(a, b)
#define SWAPPED(f, a, b) f(b, a)
#define SAME(a) a
#define REGISTER_f load_f(cpu, u->rm)
#define REGISTER_d load_d(cpu, u->rm)
#define ZERO_f _mm_setzero_ps()
#define ZERO_d _mm_setzero_pd()

#define COMPARISON1(name, lane, size, order, test, absolute, second, exact)                                         \
	UOP_FN(name)                                                                                                \
	{                                                                                                           \
		if (cpu->fp_exact)                                                                                  \
			return exact;                                                                               \
		store_##lane(                                                                                       \
			cpu, u->rd,                                                                                 \
			order(host_##test##_##lane, absolute(load_##lane(cpu, u->rn)), absolute(second##_##lane))); \
		TAIL(u + 1);                                                                                        \
	}
#define COMPARISON(row, order, test, abs_f, abs_d, op)                                              \
	COMPARISON1(row##_f, f, LP_FP_S, order, test, abs_f, REGISTER, exact2(cpu, u, LP_FP_S, op)) \
	COMPARISON1(row##_d, d, LP_FP_D, order, test, abs_d, REGISTER, exact2(cpu, u, LP_FP_D, op)) \
	ROW_BY_SIZE(row)
#define TEST(row, order, test, op)                                                             \
	COMPARISON1(row##_f, f, LP_FP_S, order, test, SAME, ZERO, exact1(cpu, u, LP_FP_S, op)) \
	COMPARISON1(row##_d, d, LP_FP_D, order, test, SAME, ZERO, exact1(cpu, u, LP_FP_D, op)) \
	ROW_BY_SIZE(row)

COMPARISON(fcmeq_s, IN_ORDER, equal, SAME, SAME, lp_fp_cmeq)
COMPARISON(fcmgt_s, SWAPPED, less, SAME, SAME, lp_fp_cmgt)
COMPARISON(fcmge_s, SWAPPED, less_equal, SAME, SAME, lp_fp_cmge)
COMPARISON(facgt_s, SWAPPED, less, abs_4s, abs_2d, lp_fp_acgt)
COMPARISON(facge_s, SWAPPED, less_equal, abs_4s, abs_2d, lp_fp_acge)
TEST(fcmeq_zero_s, IN_ORDER, equal, lp_fp_cmeq_zero)
TEST(fcmgt_zero_s, SWAPPED, less, lp_fp_cmgt_zero)
TEST(fcmge_zero_s, SWAPPED, less_equal, lp_fp_cmge_zero)
TEST(fcmlt_zero_s, IN_ORDER, less, lp_fp_cmlt_zero)
TEST(fcmle_zero_s, IN_ORDER, less_equal, lp_fp_cmle_zero)

/* ---- integers in vector registers ---- */

#define TO_SIGNED(name, lane, insn, modifier, type, least, size)                                                   \
	UOP_FN(name)                                                                                               \
	{                                                                                                          \
		type value;                                                                                        \
                                                                                                                   \
		if (LP_LIKELY(!cpu->fp_exact)) {                                                                   \
			__asm__ volatile(insn " %1, %" modifier "0" : "=r"(value) : "x"(load_##lane(cpu, u->rn))); \
			if (LP_LIKELY(value != (least))) {                                                         \
				SET_FP(cpu, u->rd, value);                                                         \
				TAIL(u + 1);                                                                       \
			}                                                                                          \
		}                                                                                                  \
		return exact1(cpu, u, size, lp_fp_cvtzs);                                                          \
	}
TO_SIGNED(fcvtzs_s_f, f, "cvttss2si", "k", uint32_t, 1U << 31, LP_FP_S)
TO_SIGNED(fcvtzs_s_d, d, "cvttsd2si", "q", uint64_t, 1ULL << 63, LP_FP_D)
ROW_BY_SIZE(fcvtzs_s)

/* What is not negative is ordered as its bits are. */
#define TO_UNSIGNED(name, lane, insn, limit, size)                                                      \
	UOP_FN(name)                                                                                    \
	{                                                                                               \
		uint64_t value;                                                                         \
                                                                                                        \
		if (LP_LIKELY(!cpu->fp_exact && FP(cpu, size, u->rn) < (limit))) {                      \
			__asm__ volatile(insn " %1, %q0" : "=r"(value) : "x"(load_##lane(cpu, u->rn))); \
			SET_FP(cpu, u->rd, value);                                                      \
			TAIL(u + 1);                                                                    \
		}                                                                                       \
		return exact1(cpu, u, size, lp_fp_cvtzu);                                               \
	}
TO_UNSIGNED(fcvtzu_s_f, f, "cvttss2si", (127U + 32) << 23, LP_FP_S)
TO_UNSIGNED(fcvtzu_s_d, d, "cvttsd2si", (1023ULL + 63) << 52, LP_FP_D)
ROW_BY_SIZE(fcvtzu_s)

#define FROM_INT(name, lane, type, insn, get, holds, size, op)                   \
	UOP_FN(name)                                                             \
	{                                                                        \
		int64_t value = (int64_t)(get);                                  \
		type r = {0};                                                    \
                                                                                 \
		if (LP_LIKELY(!cpu->fp_exact && (holds))) {                      \
			__asm__ volatile(insn " %1, %0" : "+x"(r) : "r"(value)); \
			store_##lane(cpu, u->rd, r);                             \
			TAIL(u + 1);                                             \
		}                                                                \
		return exact1(cpu, u, size, op);                                 \
	}
FROM_INT(scvtf_s_f, f, __m128, "cvtsi2ssq", cpu->vr[u->rn].ss[0], true, LP_FP_S, lp_fp_scvtf)
FROM_INT(scvtf_s_d, d, __m128d, "cvtsi2sdq", cpu->vr[u->rn].sd[0], true, LP_FP_D, lp_fp_scvtf)
FROM_INT(ucvtf_s_f, f, __m128, "cvtsi2ssq", cpu->vr[u->rn].s[0], true, LP_FP_S, lp_fp_ucvtf)
FROM_INT(ucvtf_s_d, d, __m128d, "cvtsi2sdq", cpu->vr[u->rn].sd[0], value >= 0, LP_FP_D, lp_fp_ucvtf)
ROW_BY_SIZE(scvtf_s)
ROW_BY_SIZE(ucvtf_s)

/* ---- by size, at once ---- */

lp_uop_fn *lp_fp_lane_lower(enum lp_a64_op op, struct lp_uop *u)
{
	unsigned size = lp_a64_field_sz(u->word);

	switch (op) {
#define CASE(OP, row)     \
	case A64_OP_##OP: \
		return row##_sizes[size];
		CASE(FABD_S, fabd_s)
		CASE(FCMEQ_S, fcmeq_s)
		CASE(FCMGT_S, fcmgt_s)
		CASE(FCMGE_S, fcmge_s)
		CASE(FACGT_S, facgt_s)
		CASE(FACGE_S, facge_s)
		CASE(FCMEQ_ZERO_S, fcmeq_zero_s)
		CASE(FCMGT_ZERO_S, fcmgt_zero_s)
		CASE(FCMGE_ZERO_S, fcmge_zero_s)
		CASE(FCMLT_ZERO_S, fcmlt_zero_s)
		CASE(FCMLE_ZERO_S, fcmle_zero_s)
		CASE(FCVTZS_S, fcvtzs_s)
		CASE(FCVTZU_S, fcvtzu_s)
		CASE(SCVTF_S, scvtf_s)
		CASE(UCVTF_S, ucvtf_s)
#undef CASE
	default:
		return NULL;
	}
}
