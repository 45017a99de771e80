/*
 * Floating-point arithmetic in integers: every result, NaN and flag as the Arm
 * manual's pseudocode has it (DDI 0487 J1.3, shared/functions/float), without
 * touching MXCSR.  What host instructions cannot do comes here.
 *
 *     result = lp_fp_add(cpu, LP_FP_D, a, b);
 *
 * Numbers are bit patterns in the low bits of a uint64_t, results zero-extended.
 * cpu->fpcr says how, cpu->fpsr collects the cumulative flags; nothing else of
 * the cpu is read or written.  Operands come in the pseudocode's order, which
 * decides whose NaN survives.
 */
#ifndef LP_EMU_FP_EXACT_H
#define LP_EMU_FP_EXACT_H

#include "emu/fp.h"

enum lp_fp_size { LP_FP_H, LP_FP_S, LP_FP_D };

/* The first four as FPCR.RMode counts them. */
enum lp_fp_rounding { LP_ROUND_NEAREST, LP_ROUND_UP, LP_ROUND_DOWN, LP_ROUND_ZERO, LP_ROUND_AWAY, LP_ROUND_ODD };

static inline enum lp_fp_rounding lp_fp_rounding(const struct lp_cpu *cpu)
{
	return (enum lp_fp_rounding)((cpu->fpcr & LP_FPCR_RMODE) >> LP_FPCR_RMODE_SHIFT);
}

static inline unsigned lp_fp_bits(enum lp_fp_size size)
{
	return 16U << size;
}

static inline uint64_t lp_fp_sign(enum lp_fp_size size)
{
	return 1ULL << (lp_fp_bits(size) - 1);
}

static inline uint64_t lp_fp_neg(enum lp_fp_size size, uint64_t a)
{
	return a ^ lp_fp_sign(size);
}

static inline uint64_t lp_fp_abs(enum lp_fp_size size, uint64_t a)
{
	return a & ~lp_fp_sign(size);
}

typedef uint64_t lp_fp_unary(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a);
typedef uint64_t lp_fp_binary(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b);
typedef uint64_t lp_fp_ternary(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t addend, uint64_t a, uint64_t b);

lp_fp_binary lp_fp_add, lp_fp_sub, lp_fp_mul, lp_fp_mulx, lp_fp_div;
lp_fp_binary lp_fp_max, lp_fp_min, lp_fp_maxnum, lp_fp_minnum;
lp_fp_ternary lp_fp_muladd; /* addend + a * b, rounded once */
lp_fp_unary lp_fp_sqrt;

enum lp_fp_order { LP_FP_LESS, LP_FP_EQUAL, LP_FP_GREATER, LP_FP_UNORDERED };
/* Quiet NaNs are invalid too when `signals`. */
enum lp_fp_order lp_fp_compare(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b, bool signals);

/* ---- fp_lane.c: what instructions do with lanes; comparisons give all ones or zero, integers are as wide ---- */
lp_fp_ternary lp_fp_mulsub; /* addend - a * b: the factor is negated, its NaN too */
lp_fp_binary lp_fp_abd, lp_fp_cmeq, lp_fp_cmgt, lp_fp_cmge, lp_fp_acgt, lp_fp_acge;
lp_fp_unary lp_fp_cmeq_zero, lp_fp_cmgt_zero, lp_fp_cmge_zero, lp_fp_cmlt_zero, lp_fp_cmle_zero;
lp_fp_unary lp_fp_cvtns, lp_fp_cvtnu, lp_fp_cvtps, lp_fp_cvtpu, lp_fp_cvtms, lp_fp_cvtmu, lp_fp_cvtzs, lp_fp_cvtzu,
	lp_fp_cvtas, lp_fp_cvtau, lp_fp_scvtf, lp_fp_ucvtf;

/* ---- fp_estimate.c: reciprocals, and the steps that make them better ---- */
lp_fp_unary lp_fp_recip_estimate, lp_fp_rsqrt_estimate, lp_fp_recip_exponent;
lp_fp_binary lp_fp_recip_step, lp_fp_rsqrt_step; /* the instruction's operands: negated in here */
uint32_t lp_fp_recip_unsigned(uint32_t a);
uint32_t lp_fp_rsqrt_unsigned(uint32_t a);

/* ---- fp_convert.c ---- */
uint64_t lp_fp_round_int(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, enum lp_fp_rounding rounding,
			 bool exact);
/* To an integer of `width` bits (16, 32, 64) with `fbits` bits behind the point; zero-extended. */
uint64_t lp_fp_to_fixed(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, enum lp_fp_rounding rounding,
			unsigned width, bool is_unsigned, unsigned fbits);
/* `a` is sign-extended, or zero-extended when is_unsigned. */
uint64_t lp_fp_from_fixed(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, bool is_unsigned, unsigned fbits);
uint64_t lp_fp_convert(struct lp_cpu *cpu, enum lp_fp_size to, enum lp_fp_size from, uint64_t a,
		       enum lp_fp_rounding rounding);
/* JavaScript's ToInt32; *z is what PSTATE.Z becomes: the conversion was exact. */
uint32_t lp_fp_to_javascript(struct lp_cpu *cpu, uint64_t a, bool *z);
/* VFPExpandImm */
uint64_t lp_fp_expand(enum lp_fp_size size, unsigned imm8);

#endif
