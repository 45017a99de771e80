/* Between the sem_fp_vector*.c: lanes one after the other in integers, and host registers of them. */
#ifndef LP_EMU_SEM_FP_VECTOR_H
#define LP_EMU_SEM_FP_VECTOR_H

#include "emu/sem_fp.h"

/* vr[rd] = op(vr[rn], m), the rest cleared. */
const struct lp_uop *lp_fp_lanes2(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size, unsigned lanes,
				  union lp_vreg m, lp_fp_binary *op) LP_RARE;
/* vr[rd] = op(vr[rd], vr[rn], m) */
const struct lp_uop *lp_fp_lanes3(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size, unsigned lanes,
				  union lp_vreg m, lp_fp_ternary *op) LP_RARE;

/* vr[rd] = op(vr[rn]) */
const struct lp_uop *lp_fp_lanes1(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size, unsigned lanes,
				  lp_fp_unary *op) LP_RARE;

/* Half of a host register; the rest is zeros, which add, subtract and multiply without a flag. */
static inline __m128 load_4s(const union lp_vreg *r)
{
	return _mm_load_ps(r->f);
}

static inline __m128 load_2s(const union lp_vreg *r)
{
	return _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)r));
}

static inline __m128d load_2d(const union lp_vreg *r)
{
	return _mm_load_pd(r->g);
}

static inline void store_4s(struct lp_cpu *cpu, const struct lp_uop *u, __m128 value)
{
	_mm_store_ps(cpu->vr[u->rd].f, value);
}

static inline void store_2s(struct lp_cpu *cpu, const struct lp_uop *u, __m128 value)
{
	_mm_store_si128((__m128i *)&cpu->vr[u->rd], _mm_move_epi64(_mm_castps_si128(value)));
}

static inline void store_2d(struct lp_cpu *cpu, const struct lp_uop *u, __m128d value)
{
	_mm_store_pd(cpu->vr[u->rd].g, value);
}

static inline bool has_nan_4s(__m128 a)
{
	return _mm_movemask_ps(_mm_cmpunord_ps(a, a));
}

static inline bool has_nan_2d(__m128d a)
{
	return _mm_movemask_pd(_mm_cmpunord_pd(a, a));
}

/* or what is tiny on one side and not on the other (sem_fp.h) */
static inline bool has_doubt_4s(__m128 a)
{
	__m128i least = _mm_cmpeq_epi32(_mm_slli_epi32(_mm_castps_si128(a), 1), _mm_set1_epi32(1 << 24));

	return _mm_movemask_ps(_mm_or_ps(_mm_castsi128_ps(least), _mm_cmpunord_ps(a, a)));
}

static inline bool has_doubt_2d(__m128d a)
{
	/* The upper words suffice: what is next to the least normal number is computed again, in vain. */
	__m128i least = _mm_cmpeq_epi32(_mm_slli_epi32(_mm_castpd_si128(a), 1), _mm_set1_epi64x((1LL << 53) | 1));

	return _mm_movemask_pd(_mm_or_pd(_mm_castsi128_pd(least), _mm_cmpunord_pd(a, a)));
}

HOST_BINARY(equal_4s, __m128, "cmpeqps")
HOST_BINARY(equal_2d, __m128d, "cmpeqpd")
HOST_BINARY(less_4s, __m128, "cmpltps")
HOST_BINARY(less_2d, __m128d, "cmpltpd")
HOST_BINARY(less_equal_4s, __m128, "cmpleps")
HOST_BINARY(less_equal_2d, __m128d, "cmplepd")

static inline __m128 abs_4s(__m128 a)
{
	return _mm_andnot_ps(_mm_set1_ps(-0.0F), a);
}

static inline __m128d abs_2d(__m128d a)
{
	return _mm_andnot_pd(_mm_set1_pd(-0.0), a);
}

/* By Q and sz: row_2s, row_4s, row_2d. */
static inline unsigned fp_shape(uint32_t word)
{
	return lp_a64_field_Q(word) | lp_a64_field_sz(word) << 1;
}

#define ROW_BY_SHAPE(row)                                                                  \
	static lp_uop_fn *const row##_shapes[] = {row##_2s, row##_4s, row##_2d, row##_2d}; \
	SEM(row)                                                                           \
	{                                                                                  \
		return row##_shapes[fp_shape(u->word)](cpu, u);                            \
	}

#endif
