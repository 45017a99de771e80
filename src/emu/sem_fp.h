/*
 * What the sem_fp_*.c share: registers as numbers, and host arithmetic.
 *
 * A row that host instructions can execute tries them first and looks at the
 * result: a NaN, or a result on whose flags the architectures differ, is not
 * stored; the exact engine computes it again.  The host's flags are then a subset
 * of what the engine raises.  The instructions are written as assembly, for the
 * compiler must neither fold nor move nor invent arithmetic that leaves flags.
 *
 * Arm calls a result tiny before it is rounded, the host after: they differ where
 * the result is the least normal number, and only for what is inexact there
 * (products, quotients, narrowed numbers; never sums).
 */
#ifndef LP_EMU_SEM_FP_H
#define LP_EMU_SEM_FP_H

#include <immintrin.h>

#include "emu/fp_exact.h"
#include "emu/uop.h"

#define LP_RARE __attribute__((noinline, cold))
#define LP_LIKELY(x) __builtin_expect(!!(x), 1)

/* A specialised row. */
#define UOP_FN(name) static const struct lp_uop *name(struct lp_cpu *cpu, const struct lp_uop *u)

/* lp_fp_lower(), by file */
typedef lp_uop_fn *lp_fp_lower_fn(enum lp_a64_op op, uint32_t word);
lp_fp_lower_fn lp_fp_scalar_lower, lp_fp_convert_lower, lp_fp_vector_lower, lp_fp_element_lower, lp_fp_unary_lower;

/* ---- registers ---- */

static inline uint64_t fp_lane(const union lp_vreg *r, enum lp_fp_size size, unsigned i)
{
	switch (size) {
	case LP_FP_H:
		return r->h[i];
	case LP_FP_S:
		return r->s[i];
	default:
		return r->d[i];
	}
}

static inline void set_fp_lane(union lp_vreg *r, enum lp_fp_size size, unsigned i, uint64_t value)
{
	switch (size) {
	case LP_FP_H:
		r->h[i] = (uint16_t)value;
		break;
	case LP_FP_S:
		r->s[i] = (uint32_t)value;
		break;
	default:
		r->d[i] = value;
	}
}

/* A scalar is lane 0; writing it clears the rest. */
static inline uint64_t FP(const struct lp_cpu *cpu, enum lp_fp_size size, unsigned r)
{
	return fp_lane(&cpu->vr[r], size, 0);
}

static inline void SET_FP(struct lp_cpu *cpu, unsigned r, uint64_t value)
{
	cpu->vr[r].q = value;
}

/* Instruction fields: ftype of the scalar instructions, sz of the others. */
static inline enum lp_fp_size fp_type(const struct lp_uop *u)
{
	static const uint8_t size[] = {LP_FP_S, LP_FP_D, LP_FP_H, LP_FP_H};

	return (enum lp_fp_size)size[lp_a64_field_ftype(u->word)];
}

static inline enum lp_fp_size fp_sz(const struct lp_uop *u)
{
	return lp_a64_field_sz(u->word) ? LP_FP_D : LP_FP_S;
}

static inline unsigned fp_lanes(const struct lp_uop *u, enum lp_fp_size size)
{
	return (lp_a64_field_Q(u->word) ? 16U : 8U) >> (size + 1);
}

/* ---- host arithmetic ---- */

static inline bool is_nan_d(double a)
{
	return __builtin_isunordered(a, a);
}

static inline bool is_nan_f(float a)
{
	return __builtin_isunordered(a, a);
}

static inline uint64_t bits_d(double a)
{
	union {
		double g;
		uint64_t d;
	} u = {a};

	return u.d;
}

static inline uint32_t bits_f(float a)
{
	union {
		float f;
		uint32_t s;
	} u = {a};

	return u.s;
}

static inline bool is_least_normal_d(double a)
{
	return bits_d(a) << 1 == 1ULL << 53;
}

static inline bool is_least_normal_f(float a)
{
	return bits_f(a) << 1 == 1U << 24;
}

#define HOST_UNARY(name, type, insn)                                 \
	static inline type host_##name(type a)                       \
	{                                                            \
		type r;                                              \
                                                                     \
		__asm__ volatile(insn " %1, %0" : "=x"(r) : "x"(a)); \
		return r;                                            \
	}
#define HOST_BINARY(name, type, insn)                                \
	static inline type host_##name(type a, type b)               \
	{                                                            \
		__asm__ volatile(insn " %1, %0" : "+x"(a) : "x"(b)); \
		return a;                                            \
	}
/* c, plus or minus a * b; only where lp_cpu.fp_exact is false */
#define HOST_TERNARY(name, type, insn)                                           \
	static inline type host_##name(type c, type a, type b)                   \
	{                                                                        \
		__asm__ volatile(insn " %2, %1, %0" : "+x"(c) : "x"(a), "x"(b)); \
		return c;                                                        \
	}
#define HOST_ALL(KIND, name, insn)          \
	KIND(name##_d, double, insn "sd")   \
	KIND(name##_f, float, insn "ss")    \
	KIND(name##_2d, __m128d, insn "pd") \
	KIND(name##_4s, __m128, insn "ps")

HOST_ALL(HOST_BINARY, add, "add")
HOST_ALL(HOST_BINARY, sub, "sub")
HOST_ALL(HOST_BINARY, mul, "mul")
HOST_ALL(HOST_BINARY, div, "div")
HOST_UNARY(sqrt_d, double, "sqrtsd")
HOST_UNARY(sqrt_f, float, "sqrtss")
HOST_UNARY(sqrt_2d, __m128d, "sqrtpd")
HOST_UNARY(sqrt_4s, __m128, "sqrtps")
HOST_ALL(HOST_TERNARY, madd, "vfmadd231")   /* c + a * b */
HOST_ALL(HOST_TERNARY, msub, "vfnmadd231")  /* c - a * b */
HOST_ALL(HOST_TERNARY, nmadd, "vfnmsub231") /* -c - a * b */
HOST_ALL(HOST_TERNARY, nmsub, "vfmsub231")  /* a * b - c */

#endif
