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
 * the result is the least normal number, and only for what is closer to it from
 * below than half of its last bit: products and narrowed numbers.  Sums are exact
 * there; quotients of numbers of as many bits do not come as close.
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

/* Types by the field ftype, each a function of its own: row_s, row_d, row_h. */
#define ROW_BY_TYPE(row)                                                           \
	static lp_uop_fn *const row##_types[] = {row##_s, row##_d, NULL, row##_h}; \
	SEM(row)                                                                   \
	{                                                                          \
		return row##_types[lp_a64_field_ftype(u->word)](cpu, u);           \
	}

/* lp_fp_lower(), by file */
typedef lp_uop_fn *lp_fp_lower_fn(enum lp_a64_op op, struct lp_uop *u);
lp_fp_lower_fn lp_fp_scalar_lower, lp_fp_convert_lower, lp_fp_vector_lower, lp_fp_element_lower, lp_fp_unary_lower,
	lp_fp_lane_lower, lp_fp_compare_lower;

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

/* A scalar is lane 0; writing it clears the rest.  In one store, for what reads it as a whole would wait for two. */
static inline uint64_t FP(const struct lp_cpu *cpu, enum lp_fp_size size, unsigned r)
{
	return fp_lane(&cpu->vr[r], size, 0);
}

static inline void SET_FP(struct lp_cpu *cpu, unsigned r, uint64_t value)
{
	_mm_store_si128((__m128i *)&cpu->vr[r], _mm_cvtsi64_si128((int64_t)value));
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

/* Scalars stand in host registers as they do in the guest's: with nothing above them, which host instructions keep. */
static inline __m128d load_d(const struct lp_cpu *cpu, unsigned r)
{
	return _mm_load_sd(&cpu->vr[r].g[0]);
}

static inline __m128 load_f(const struct lp_cpu *cpu, unsigned r)
{
	return _mm_load_ss(&cpu->vr[r].f[0]);
}

static inline void store_d(struct lp_cpu *cpu, unsigned r, __m128d value)
{
	_mm_store_pd(cpu->vr[r].g, value);
}

static inline void store_f(struct lp_cpu *cpu, unsigned r, __m128 value)
{
	_mm_store_ps(cpu->vr[r].f, value);
}

static inline bool is_nan_d(__m128d a)
{
	return __builtin_isunordered(_mm_cvtsd_f64(a), _mm_cvtsd_f64(a));
}

static inline bool is_nan_f(__m128 a)
{
	return __builtin_isunordered(_mm_cvtss_f32(a), _mm_cvtss_f32(a));
}

/* The host may call it tiny, or not, and the guest the other way round. */
static inline bool is_doubt_d(__m128d a)
{
	return is_nan_d(a) || (uint64_t)_mm_cvtsi128_si64(_mm_castpd_si128(a)) << 1 == 1ULL << 53;
}

static inline bool is_doubt_f(__m128 a)
{
	return is_nan_f(a) || (uint32_t)_mm_cvtsi128_si32(_mm_castps_si128(a)) << 1 == 1U << 24;
}

#define HOST_UNARY(name, type, insn)                                 \
	static inline type host_##name(type a)                       \
	{                                                            \
		type r;                                              \
                                                                     \
		__asm__ volatile(insn " %1, %0" : "=x"(r) : "x"(a)); \
		return r;                                            \
	}
/* of a scalar: what is above it comes from the destination */
#define HOST_SCALAR(name, type, insn)                                \
	static inline type host_##name(type a)                       \
	{                                                            \
		type r = {0};                                        \
                                                                     \
		__asm__ volatile(insn " %1, %0" : "+x"(r) : "x"(a)); \
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
	KIND(name##_d, __m128d, insn "sd")  \
	KIND(name##_f, __m128, insn "ss")   \
	KIND(name##_2d, __m128d, insn "pd") \
	KIND(name##_4s, __m128, insn "ps")

HOST_ALL(HOST_BINARY, add, "add")
HOST_ALL(HOST_BINARY, sub, "sub")
HOST_ALL(HOST_BINARY, mul, "mul")
HOST_ALL(HOST_BINARY, div, "div")
HOST_SCALAR(sqrt_d, __m128d, "sqrtsd")
HOST_SCALAR(sqrt_f, __m128, "sqrtss")
HOST_UNARY(sqrt_2d, __m128d, "sqrtpd")
HOST_UNARY(sqrt_4s, __m128, "sqrtps")
HOST_ALL(HOST_TERNARY, madd, "vfmadd231")   /* c + a * b */
HOST_ALL(HOST_TERNARY, msub, "vfnmadd231")  /* c - a * b */
HOST_ALL(HOST_TERNARY, nmadd, "vfnmsub231") /* -c - a * b */
HOST_ALL(HOST_TERNARY, nmsub, "vfmsub231")  /* a * b - c */

/* ---- rounding to integers ---- */

/* Nearest, halves away from zero, of less than 2^23 (2^52): all but the truncation is exact.  `how` as roundsd has it. */
#define HOST_ROUND_AWAY(name, type, suffix, truncate, host_sub, host_add)                      \
	static inline type name(type a)                                                        \
	{                                                                                      \
		const type sign = _mm_set1_##suffix(-0.0), half = _mm_set1_##suffix(0.5);      \
		type whole, rest, step;                                                        \
                                                                                               \
		__asm__ volatile(truncate : "=x"(whole) : "x"(a));                             \
		rest = _mm_andnot_##suffix(sign, host_sub(a, whole));                          \
		step = _mm_and_##suffix(_mm_cmple_##suffix(half, rest), _mm_set1_##suffix(1)); \
		return host_add(whole, _mm_or_##suffix(step, _mm_and_##suffix(sign, a)));      \
	}
/* without the inexact flag, and with it */
HOST_ROUND_AWAY(host_rinta_4s, __m128, ps, "roundps $11, %1, %0", host_sub_4s, host_add_4s)
HOST_ROUND_AWAY(host_rinta_2d, __m128d, pd, "roundpd $11, %1, %0", host_sub_2d, host_add_2d)
HOST_ROUND_AWAY(host_nearest_away_4s, __m128, ps, "roundps $3, %1, %0", host_sub_4s, host_add_4s)
HOST_ROUND_AWAY(host_nearest_away_2d, __m128d, pd, "roundpd $3, %1, %0", host_sub_2d, host_add_2d)

/* No lane is 2^limit or more, infinite or a NaN. */
static inline bool is_below_4s(__m128 a, int limit)
{
	__m128i magnitude = _mm_srli_epi32(_mm_slli_epi32(_mm_castps_si128(a), 1), 1);

	return !_mm_movemask_epi8(_mm_cmpgt_epi32(magnitude, _mm_set1_epi32(((127 + limit) << 23) - 1)));
}

/* By the upper words, which suffice. */
static inline bool is_below_2d(__m128d a, int limit)
{
	__m128i magnitude = _mm_srli_epi32(_mm_slli_epi32(_mm_castpd_si128(a), 1), 1);
	__m128i above = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(((1023 + limit) << 20) - 1));

	return !_mm_movemask_pd(_mm_castsi128_pd(above));
}

#endif
