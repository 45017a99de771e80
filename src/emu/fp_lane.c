/* What instructions do with lanes, made of what fp_exact.h has. */
#include "emu/fp_exact.h"

uint64_t lp_fp_mulsub(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t addend, uint64_t a, uint64_t b)
{
	return lp_fp_muladd(cpu, size, addend, lp_fp_neg(size, a), b);
}

uint64_t lp_fp_abd(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	return lp_fp_abs(size, lp_fp_sub(cpu, size, a, b));
}

static uint64_t all_if(enum lp_fp_size size, bool holds)
{
	return holds ? ~0ULL >> (64 - lp_fp_bits(size)) : 0;
}

uint64_t lp_fp_cmeq(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	return all_if(size, lp_fp_compare(cpu, size, a, b, false) == LP_FP_EQUAL);
}

uint64_t lp_fp_cmgt(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	return all_if(size, lp_fp_compare(cpu, size, a, b, true) == LP_FP_GREATER);
}

uint64_t lp_fp_cmge(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	enum lp_fp_order order = lp_fp_compare(cpu, size, a, b, true);

	return all_if(size, order == LP_FP_GREATER || order == LP_FP_EQUAL);
}

uint64_t lp_fp_acgt(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	return lp_fp_cmgt(cpu, size, lp_fp_abs(size, a), lp_fp_abs(size, b));
}

uint64_t lp_fp_acge(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	return lp_fp_cmge(cpu, size, lp_fp_abs(size, a), lp_fp_abs(size, b));
}

static uint64_t compare_zero(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, bool signals, unsigned holds)
{
	return all_if(size, holds >> lp_fp_compare(cpu, size, a, 0, signals) & 1);
}

uint64_t lp_fp_cmeq_zero(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a)
{
	return compare_zero(cpu, size, a, false, 1U << LP_FP_EQUAL);
}

uint64_t lp_fp_cmgt_zero(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a)
{
	return compare_zero(cpu, size, a, true, 1U << LP_FP_GREATER);
}

uint64_t lp_fp_cmge_zero(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a)
{
	return compare_zero(cpu, size, a, true, 1U << LP_FP_GREATER | 1U << LP_FP_EQUAL);
}

uint64_t lp_fp_cmlt_zero(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a)
{
	return compare_zero(cpu, size, a, true, 1U << LP_FP_LESS);
}

uint64_t lp_fp_cmle_zero(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a)
{
	return compare_zero(cpu, size, a, true, 1U << LP_FP_LESS | 1U << LP_FP_EQUAL);
}

#define TO_INT(name, rounding, is_unsigned)                                                      \
	uint64_t name(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a)                      \
	{                                                                                        \
		return lp_fp_to_fixed(cpu, size, a, rounding, lp_fp_bits(size), is_unsigned, 0); \
	}
TO_INT(lp_fp_cvtns, LP_ROUND_NEAREST, false)
TO_INT(lp_fp_cvtnu, LP_ROUND_NEAREST, true)
TO_INT(lp_fp_cvtps, LP_ROUND_UP, false)
TO_INT(lp_fp_cvtpu, LP_ROUND_UP, true)
TO_INT(lp_fp_cvtms, LP_ROUND_DOWN, false)
TO_INT(lp_fp_cvtmu, LP_ROUND_DOWN, true)
TO_INT(lp_fp_cvtzs, LP_ROUND_ZERO, false)
TO_INT(lp_fp_cvtzu, LP_ROUND_ZERO, true)
TO_INT(lp_fp_cvtas, LP_ROUND_AWAY, false)
TO_INT(lp_fp_cvtau, LP_ROUND_AWAY, true)

uint64_t lp_fp_scvtf(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a)
{
	unsigned shift = 64 - lp_fp_bits(size);

	return lp_fp_from_fixed(cpu, size, (uint64_t)((int64_t)(a << shift) >> shift), false, 0);
}

uint64_t lp_fp_ucvtf(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a)
{
	return lp_fp_from_fixed(cpu, size, a, true, 0);
}
