/* Advanced SIMD floating point: three registers of the same shape. */
#include "emu/sem_fp_vector.h"

/* ---- in integers, one lane after the other ---- */

const struct lp_uop *lp_fp_lanes2(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size, unsigned lanes,
				  union lp_vreg m, lp_fp_binary *op)
{
	const union lp_vreg *n = &cpu->vr[u->rn];
	union lp_vreg r = {.q = 0};

	for (unsigned i = 0; i < lanes; i++)
		set_fp_lane(&r, size, i, op(cpu, size, fp_lane(n, size, i), fp_lane(&m, size, i)));
	cpu->vr[u->rd] = r;
	NEXT;
}

const struct lp_uop *lp_fp_lanes3(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size, unsigned lanes,
				  union lp_vreg m, lp_fp_ternary *op)
{
	const union lp_vreg *n = &cpu->vr[u->rn], *d = &cpu->vr[u->rd];
	union lp_vreg r = {.q = 0};

	for (unsigned i = 0; i < lanes; i++)
		set_fp_lane(&r, size, i, op(cpu, size, fp_lane(d, size, i), fp_lane(n, size, i), fp_lane(&m, size, i)));
	cpu->vr[u->rd] = r;
	NEXT;
}

/* The lanes of both registers as one long vector, two by two. */
static LP_RARE const struct lp_uop *pairs(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size,
					  lp_fp_binary *op)
{
	unsigned lanes = fp_lanes(u, size);
	union lp_vreg r = {.q = 0};

	for (unsigned i = 0; i < lanes; i++) {
		const union lp_vreg *from = &cpu->vr[2 * i < lanes ? u->rn : u->rm];
		unsigned at = 2 * i % lanes;

		set_fp_lane(&r, size, i, op(cpu, size, fp_lane(from, size, at), fp_lane(from, size, at + 1)));
	}
	cpu->vr[u->rd] = r;
	NEXT;
}

static const struct lp_uop *exact2(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size, lp_fp_binary *op)
{
	return lp_fp_lanes2(cpu, u, size, fp_lanes(u, size), cpu->vr[u->rm], op);
}

static const struct lp_uop *exact3(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size, lp_fp_ternary *op)
{
	return lp_fp_lanes3(cpu, u, size, fp_lanes(u, size), cpu->vr[u->rm], op);
}

/* ---- always in integers ---- */

#define VECTOR_EXACT(row, exact, op)                \
	SEM(row##_v)                                \
	{                                           \
		return exact(cpu, u, fp_sz(u), op); \
	}
#define VECTOR_H(row, exact, op)                   \
	SEM(row##_v_h)                             \
	{                                          \
		return exact(cpu, u, LP_FP_H, op); \
	}
#define SCALAR(row, op)                                                       \
	SEM(row##_s)                                                          \
	{                                                                     \
		return lp_fp_lanes2(cpu, u, fp_sz(u), 1, cpu->vr[u->rm], op); \
	}                                                                     \
	SEM(row##_s_h)                                                        \
	{                                                                     \
		return lp_fp_lanes2(cpu, u, LP_FP_H, 1, cpu->vr[u->rm], op);  \
	}

VECTOR_EXACT(fmaxnmp, pairs, lp_fp_maxnum)
VECTOR_EXACT(fminnmp, pairs, lp_fp_minnum)
VECTOR_EXACT(fmaxp, pairs, lp_fp_max)
VECTOR_EXACT(fminp, pairs, lp_fp_min)

VECTOR_H(fmaxnm, exact2, lp_fp_maxnum)
VECTOR_H(fmla, exact3, lp_fp_muladd)
VECTOR_H(fadd, exact2, lp_fp_add)
VECTOR_H(fmulx, exact2, lp_fp_mulx)
VECTOR_H(fcmeq, exact2, lp_fp_cmeq)
VECTOR_H(fmax, exact2, lp_fp_max)
VECTOR_H(frecps, exact2, lp_fp_recip_step)
VECTOR_H(fminnm, exact2, lp_fp_minnum)
VECTOR_H(fmls, exact3, lp_fp_mulsub)
VECTOR_H(fsub, exact2, lp_fp_sub)
VECTOR_H(fmin, exact2, lp_fp_min)
VECTOR_H(frsqrts, exact2, lp_fp_rsqrt_step)
VECTOR_H(fmaxnmp, pairs, lp_fp_maxnum)
VECTOR_H(faddp, pairs, lp_fp_add)
VECTOR_H(fmul, exact2, lp_fp_mul)
VECTOR_H(fcmge, exact2, lp_fp_cmge)
VECTOR_H(facge, exact2, lp_fp_acge)
VECTOR_H(fmaxp, pairs, lp_fp_max)
VECTOR_H(fdiv, exact2, lp_fp_div)
VECTOR_H(fminnmp, pairs, lp_fp_minnum)
VECTOR_H(fabd, exact2, lp_fp_abd)
VECTOR_H(fcmgt, exact2, lp_fp_cmgt)
VECTOR_H(facgt, exact2, lp_fp_acgt)
VECTOR_H(fminp, pairs, lp_fp_min)

SCALAR(fmulx, lp_fp_mulx)
SCALAR(frecps, lp_fp_recip_step)
SCALAR(frsqrts, lp_fp_rsqrt_step)

/* ---- the host's, unless a lane is doubtful ---- */

#define TRY(shape, type, expression, doubtful, exact)          \
	do {                                                   \
		if (LP_LIKELY(!cpu->fp_exact)) {               \
			type result = expression;              \
                                                               \
			if (LP_LIKELY(!doubtful(result))) {    \
				store_##shape(cpu, u, result); \
				TAIL(u + 1);                   \
			}                                      \
		}                                              \
		return exact;                                  \
	} while (0)
#define V(shape, r) load_##shape(&cpu->vr[r])

/* For what zeros are not neutral to: a quotient's other half must not be zero by zero. */
static inline __m128 load_2s_and_ones(const union lp_vreg *r)
{
	return _mm_loadl_pi(_mm_set1_ps(1), (const __m64 *)r);
}

#define BINARY(row, host, doubt, load_m, exact)                                                            \
	UOP_FN(row##_2s)                                                                                   \
	{                                                                                                  \
		TRY(2s, __m128, host_##host##_4s(V(2s, u->rn), load_m(&cpu->vr[u->rm])), has_##doubt##_4s, \
		    exact2(cpu, u, LP_FP_S, exact));                                                       \
	}                                                                                                  \
	UOP_FN(row##_4s)                                                                                   \
	{                                                                                                  \
		TRY(4s, __m128, host_##host##_4s(V(4s, u->rn), V(4s, u->rm)), has_##doubt##_4s,            \
		    exact2(cpu, u, LP_FP_S, exact));                                                       \
	}                                                                                                  \
	UOP_FN(row##_2d)                                                                                   \
	{                                                                                                  \
		TRY(2d, __m128d, host_##host##_2d(V(2d, u->rn), V(2d, u->rm)), has_##doubt##_2d,           \
		    exact2(cpu, u, LP_FP_D, exact));                                                       \
	}                                                                                                  \
	ROW_BY_SHAPE(row)

BINARY(fadd_v, add, nan, load_2s, lp_fp_add)
BINARY(fsub_v, sub, nan, load_2s, lp_fp_sub)
BINARY(fmul_v, mul, doubt, load_2s, lp_fp_mul)
BINARY(fdiv_v, div, nan, load_2s_and_ones, lp_fp_div)

static inline __m128 host_abd_4s(__m128 a, __m128 b)
{
	return abs_4s(host_sub_4s(a, b));
}

static inline __m128d host_abd_2d(__m128d a, __m128d b)
{
	return abs_2d(host_sub_2d(a, b));
}

BINARY(fabd_v, abd, nan, load_2s, lp_fp_abd)

#define TERNARY(row, host, exact)                                                                          \
	UOP_FN(row##_2s)                                                                                   \
	{                                                                                                  \
		TRY(2s, __m128, host_##host##_4s(V(2s, u->rd), V(2s, u->rn), V(2s, u->rm)), has_doubt_4s,  \
		    exact3(cpu, u, LP_FP_S, exact));                                                       \
	}                                                                                                  \
	UOP_FN(row##_4s)                                                                                   \
	{                                                                                                  \
		TRY(4s, __m128, host_##host##_4s(V(4s, u->rd), V(4s, u->rn), V(4s, u->rm)), has_doubt_4s,  \
		    exact3(cpu, u, LP_FP_S, exact));                                                       \
	}                                                                                                  \
	UOP_FN(row##_2d)                                                                                   \
	{                                                                                                  \
		TRY(2d, __m128d, host_##host##_2d(V(2d, u->rd), V(2d, u->rn), V(2d, u->rm)), has_doubt_2d, \
		    exact3(cpu, u, LP_FP_D, exact));                                                       \
	}                                                                                                  \
	ROW_BY_SHAPE(row)

TERNARY(fmla_v, madd, lp_fp_muladd)
TERNARY(fmls_v, msub, lp_fp_mulsub)

/* ---- Newton steps, and fmulx ---- */

/* All magnitudes between 2^-95 and 2^97 (2^-511 and 2^513), by the upper words: no zero, nothing infinite, no NaN; and
 * halves and products stay away from what is tiny or too large. */
static inline bool is_moderate_4s(__m128 a)
{
	__m128i magnitude = _mm_srli_epi32(_mm_slli_epi32(_mm_castps_si128(a), 1), 1);
	__m128i out = _mm_or_si128(_mm_cmpgt_epi32(_mm_set1_epi32(0x10000000), magnitude),
				   _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x6fffffff)));

	return !_mm_movemask_epi8(out);
}

static inline bool is_moderate_2d(__m128d a)
{
	__m128i magnitude = _mm_srli_epi32(_mm_slli_epi32(_mm_castpd_si128(a), 1), 1);
	__m128i out = _mm_or_si128(_mm_cmpgt_epi32(_mm_set1_epi32(0x20000000), magnitude),
				   _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x5fffffff)));

	return !_mm_movemask_pd(_mm_castsi128_pd(out));
}

static inline __m128 step_recip_4s(__m128 a, __m128 b)
{
	return host_msub_4s(_mm_set1_ps(2), a, b);
}

static inline __m128d step_recip_2d(__m128d a, __m128d b)
{
	return host_msub_2d(_mm_set1_pd(2), a, b);
}

/* (3 - a * b) / 2 */
static inline __m128 step_rsqrt_4s(__m128 a, __m128 b)
{
	return host_msub_4s(_mm_set1_ps(1.5F), host_mul_4s(a, _mm_set1_ps(0.5F)), b);
}

static inline __m128d step_rsqrt_2d(__m128d a, __m128d b)
{
	return host_msub_2d(_mm_set1_pd(1.5), host_mul_2d(a, _mm_set1_pd(0.5)), b);
}

#define MODERATE1(row, shape, vector, type, load, host, size, op)                                              \
	UOP_FN(row##_##shape)                                                                                  \
	{                                                                                                      \
		type n = load(&cpu->vr[u->rn]), m = load(&cpu->vr[u->rm]);                                     \
                                                                                                               \
		if (LP_LIKELY(is_moderate_##vector(n) && is_moderate_##vector(m)))                             \
			TRY(shape, type, host##_##vector(n, m), has_doubt_##vector, exact2(cpu, u, size, op)); \
		return exact2(cpu, u, size, op);                                                               \
	}
#define MODERATE(row, host, op)                                             \
	MODERATE1(row, 2s, 4s, __m128, load_2s_and_ones, host, LP_FP_S, op) \
	MODERATE1(row, 4s, 4s, __m128, load_4s, host, LP_FP_S, op)          \
	MODERATE1(row, 2d, 2d, __m128d, load_2d, host, LP_FP_D, op)         \
	ROW_BY_SHAPE(row)
MODERATE(frecps_v, step_recip, lp_fp_recip_step)
MODERATE(frsqrts_v, step_rsqrt, lp_fp_rsqrt_step)
MODERATE(fmulx_v, host_mul, lp_fp_mulx)

/* ---- comparisons: the host answers with the same masks and flags ---- */

#define COMPARISON(row, test, prepare, swap, exact)                                  \
	UOP_FN(row##_2s)                                                             \
	{                                                                            \
		if (cpu->fp_exact)                                                   \
			return exact2(cpu, u, LP_FP_S, exact);                       \
		store_2s(cpu, u,                                                     \
			 host_##test##_4s(prepare##_4s(V(2s, swap(u->rn, u->rm))),   \
					  prepare##_4s(V(2s, swap(u->rm, u->rn))))); \
		TAIL(u + 1);                                                         \
	}                                                                            \
	UOP_FN(row##_4s)                                                             \
	{                                                                            \
		if (cpu->fp_exact)                                                   \
			return exact2(cpu, u, LP_FP_S, exact);                       \
		store_4s(cpu, u,                                                     \
			 host_##test##_4s(prepare##_4s(V(4s, swap(u->rn, u->rm))),   \
					  prepare##_4s(V(4s, swap(u->rm, u->rn))))); \
		TAIL(u + 1);                                                         \
	}                                                                            \
	UOP_FN(row##_2d)                                                             \
	{                                                                            \
		if (cpu->fp_exact)                                                   \
			return exact2(cpu, u, LP_FP_D, exact);                       \
		store_2d(cpu, u,                                                     \
			 host_##test##_2d(prepare##_2d(V(2d, swap(u->rn, u->rm))),   \
					  prepare##_2d(V(2d, swap(u->rm, u->rn))))); \
		TAIL(u + 1);                                                         \
	}                                                                            \
	ROW_BY_SHAPE(row)

static inline __m128 same_4s(__m128 a)
{
	return a;
}

static inline __m128d same_2d(__m128d a)
{
	return a;
}

#define IN_ORDER(a, b) a
#define SWAPPED(a, b) b
COMPARISON(fcmeq_v, equal, same, IN_ORDER, lp_fp_cmeq)
COMPARISON(fcmgt_v, less, same, SWAPPED, lp_fp_cmgt)
COMPARISON(fcmge_v, less_equal, same, SWAPPED, lp_fp_cmge)
COMPARISON(facgt_v, less, abs, SWAPPED, lp_fp_acgt)
COMPARISON(facge_v, less_equal, abs, SWAPPED, lp_fp_acge)

/* ---- greatest and least ---- */

HOST_BINARY(max_4s, __m128, "maxps")
HOST_BINARY(max_2d, __m128d, "maxpd")
HOST_BINARY(min_4s, __m128, "minps")
HOST_BINARY(min_2d, __m128d, "minpd")
HOST_BINARY(unordered_4s, __m128, "cmpunordps")
HOST_BINARY(unordered_2d, __m128d, "cmpunordpd")

/* NaNs, or zeros of two signs.  To be asked first: the host's min and max find quiet NaNs invalid. */
static inline bool is_hard_choice_4s(__m128 a, __m128 b)
{
	__m128 differ = _mm_xor_ps(a, b);

	return _mm_movemask_ps(_mm_or_ps(host_unordered_4s(a, b), _mm_and_ps(host_equal_4s(a, b), differ)));
}

static inline bool is_hard_choice_2d(__m128d a, __m128d b)
{
	__m128d differ = _mm_xor_pd(a, b);

	return _mm_movemask_pd(_mm_or_pd(host_unordered_2d(a, b), _mm_and_pd(host_equal_2d(a, b), differ)));
}

#define CHOICE(name, shape, full, type, host, size, exact)                         \
	UOP_FN(name##_##shape)                                                     \
	{                                                                          \
		if (LP_LIKELY(!cpu->fp_exact)) {                                   \
			type n = V(shape, u->rn), m = V(shape, u->rm);             \
                                                                                   \
			if (LP_LIKELY(!is_hard_choice_##full(n, m))) {             \
				store_##shape(cpu, u, host_##host##_##full(n, m)); \
				TAIL(u + 1);                                       \
			}                                                          \
		}                                                                  \
		return exact2(cpu, u, size, exact);                                \
	}
#define CHOICES(row, host, exact)                          \
	CHOICE(row, 2s, 4s, __m128, host, LP_FP_S, exact)  \
	CHOICE(row, 4s, 4s, __m128, host, LP_FP_S, exact)  \
	CHOICE(row, 2d, 2d, __m128d, host, LP_FP_D, exact) \
	ROW_BY_SHAPE(row)

CHOICES(fmax_v, max, lp_fp_max)
CHOICES(fmin_v, min, lp_fp_min)
CHOICES(fmaxnm_v, max, lp_fp_maxnum)
CHOICES(fminnm_v, min, lp_fp_minnum)

/* ---- pairs ---- */

/* SSE3, which whoever has FMA has too. */
HOST_BINARY(hadd_4s, __m128, "haddps")
HOST_BINARY(hadd_2d, __m128d, "haddpd")

UOP_FN(faddp_v_2s)
{
	TRY(2s, __m128, host_hadd_4s(_mm_movelh_ps(V(2s, u->rn), V(2s, u->rm)), _mm_setzero_ps()), has_nan_4s,
	    pairs(cpu, u, LP_FP_S, lp_fp_add));
}
UOP_FN(faddp_v_4s)
{
	TRY(4s, __m128, host_hadd_4s(V(4s, u->rn), V(4s, u->rm)), has_nan_4s, pairs(cpu, u, LP_FP_S, lp_fp_add));
}
UOP_FN(faddp_v_2d)
{
	TRY(2d, __m128d, host_hadd_2d(V(2d, u->rn), V(2d, u->rm)), has_nan_2d, pairs(cpu, u, LP_FP_D, lp_fp_add));
}
ROW_BY_SHAPE(faddp_v)

/* ---- by shape, at once ---- */

lp_uop_fn *lp_fp_vector_lower(enum lp_a64_op op, struct lp_uop *u)
{
	uint32_t word = u->word;
	unsigned shape = fp_shape(word);

	switch (op) {
#define CASE(OP, row)     \
	case A64_OP_##OP: \
		return row##_shapes[shape];
		CASE(FADD_V, fadd_v)
		CASE(FSUB_V, fsub_v)
		CASE(FMUL_V, fmul_v)
		CASE(FDIV_V, fdiv_v)
		CASE(FABD_V, fabd_v)
		CASE(FMLA_V, fmla_v)
		CASE(FMLS_V, fmls_v)
		CASE(FRECPS_V, frecps_v)
		CASE(FRSQRTS_V, frsqrts_v)
		CASE(FMULX_V, fmulx_v)
		CASE(FCMEQ_V, fcmeq_v)
		CASE(FCMGT_V, fcmgt_v)
		CASE(FCMGE_V, fcmge_v)
		CASE(FACGT_V, facgt_v)
		CASE(FACGE_V, facge_v)
		CASE(FMAX_V, fmax_v)
		CASE(FMIN_V, fmin_v)
		CASE(FMAXNM_V, fmaxnm_v)
		CASE(FMINNM_V, fminnm_v)
		CASE(FADDP_V, faddp_v)
#undef CASE
	default:
		return NULL;
	}
}
