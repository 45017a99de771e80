/* Advanced SIMD floating point: one operand (roundings, conversions, estimates, tests against zero), and across lanes. */
#include "emu/sem_fp_vector.h"

/* ---- in integers, one lane after the other ---- */

const struct lp_uop *lp_fp_lanes1(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size, unsigned lanes,
				  lp_fp_unary *op)
{
	const union lp_vreg *n = &cpu->vr[u->rn];
	union lp_vreg r = {.q = 0};

	for (unsigned i = 0; i < lanes; i++)
		set_fp_lane(&r, size, i, op(cpu, size, fp_lane(n, size, i)));
	cpu->vr[u->rd] = r;
	NEXT;
}

#define VECTOR_H(row, op)                                                       \
	SEM(row##_v_h)                                                          \
	{                                                                       \
		return lp_fp_lanes1(cpu, u, LP_FP_H, fp_lanes(u, LP_FP_H), op); \
	}
#define VECTOR(row, op)                                                           \
	SEM(row##_v)                                                              \
	{                                                                         \
		return lp_fp_lanes1(cpu, u, fp_sz(u), fp_lanes(u, fp_sz(u)), op); \
	}                                                                         \
	VECTOR_H(row, op)
#define SCALAR(row, op)                                       \
	SEM(row##_s)                                          \
	{                                                     \
		return lp_fp_lanes1(cpu, u, fp_sz(u), 1, op); \
	}                                                     \
	SEM(row##_s_h)                                        \
	{                                                     \
		return lp_fp_lanes1(cpu, u, LP_FP_H, 1, op);  \
	}

/* ---- estimates ---- */

VECTOR(frecpe, lp_fp_recip_estimate)
VECTOR(frsqrte, lp_fp_rsqrt_estimate)
SCALAR(frecpe, lp_fp_recip_estimate)
SCALAR(frsqrte, lp_fp_rsqrt_estimate)
SCALAR(frecpx, lp_fp_recip_exponent)

static uint64_t recip_unsigned(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a)
{
	return lp_fp_recip_unsigned((uint32_t)a);
}

static uint64_t rsqrt_unsigned(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a)
{
	return lp_fp_rsqrt_unsigned((uint32_t)a);
}

SEM(urecpe_v)
{
	return lp_fp_lanes1(cpu, u, LP_FP_S, fp_lanes(u, LP_FP_S), recip_unsigned);
}

SEM(ursqrte_v)
{
	return lp_fp_lanes1(cpu, u, LP_FP_S, fp_lanes(u, LP_FP_S), rsqrt_unsigned);
}

/* ---- to integers ---- */

VECTOR(fcvtns, lp_fp_cvtns)
VECTOR(fcvtnu, lp_fp_cvtnu)
VECTOR(fcvtps, lp_fp_cvtps)
VECTOR(fcvtpu, lp_fp_cvtpu)
VECTOR(fcvtms, lp_fp_cvtms)
VECTOR(fcvtmu, lp_fp_cvtmu)
VECTOR(fcvtas, lp_fp_cvtas)
VECTOR(fcvtau, lp_fp_cvtau)
VECTOR_H(fcvtzu, lp_fp_cvtzu)
VECTOR_H(fcvtzs, lp_fp_cvtzs)
SCALAR(fcvtns, lp_fp_cvtns)
SCALAR(fcvtnu, lp_fp_cvtnu)
SCALAR(fcvtps, lp_fp_cvtps)
SCALAR(fcvtpu, lp_fp_cvtpu)
SCALAR(fcvtms, lp_fp_cvtms)
SCALAR(fcvtmu, lp_fp_cvtmu)
SCALAR(fcvtas, lp_fp_cvtas)
SCALAR(fcvtau, lp_fp_cvtau)

/* ---- from integers ---- */

VECTOR_H(scvtf, lp_fp_scvtf)
VECTOR_H(ucvtf, lp_fp_ucvtf)

/* ---- with a fixed point ---- */

/* By the first bit of immh that is set: 16, 32 or 64 bits; shifts to the right count down from twice the size. */
static enum lp_fp_size fixed_size(const struct lp_uop *u)
{
	unsigned immh = lp_a64_field_immh(u->word);

	return immh >= 8 ? LP_FP_D : immh >= 4 ? LP_FP_S : LP_FP_H;
}

static unsigned fixed_fbits(const struct lp_uop *u)
{
	return 2 * lp_fp_bits(fixed_size(u)) - (lp_a64_field_immh(u->word) << 3 | lp_a64_field_immb(u->word));
}

static const struct lp_uop *to_fixed(struct lp_cpu *cpu, const struct lp_uop *u, unsigned lanes, bool is_unsigned)
{
	enum lp_fp_size size = fixed_size(u);
	const union lp_vreg *n = &cpu->vr[u->rn];
	union lp_vreg r = {.q = 0};

	for (unsigned i = 0; i < lanes; i++)
		set_fp_lane(&r, size, i,
			    lp_fp_to_fixed(cpu, size, fp_lane(n, size, i), LP_ROUND_ZERO, lp_fp_bits(size), is_unsigned,
					   fixed_fbits(u)));
	cpu->vr[u->rd] = r;
	NEXT;
}

static const struct lp_uop *from_fixed(struct lp_cpu *cpu, const struct lp_uop *u, unsigned lanes, bool is_unsigned)
{
	enum lp_fp_size size = fixed_size(u);
	const union lp_vreg *n = &cpu->vr[u->rn];
	unsigned shift = 64 - lp_fp_bits(size);
	union lp_vreg r = {.q = 0};

	for (unsigned i = 0; i < lanes; i++) {
		uint64_t value = fp_lane(n, size, i);

		if (!is_unsigned)
			value = (uint64_t)((int64_t)(value << shift) >> shift);
		set_fp_lane(&r, size, i, lp_fp_from_fixed(cpu, size, value, is_unsigned, fixed_fbits(u)));
	}
	cpu->vr[u->rd] = r;
	NEXT;
}

#define FIXED(row, convert, is_unsigned)                                         \
	SEM(row##_v)                                                             \
	{                                                                        \
		return convert(cpu, u, fp_lanes(u, fixed_size(u)), is_unsigned); \
	}                                                                        \
	SEM(row##_s)                                                             \
	{                                                                        \
		return convert(cpu, u, 1, is_unsigned);                          \
	}
FIXED(fcvtzs_fix, to_fixed, false)
FIXED(fcvtzu_fix, to_fixed, true)
FIXED(scvtf_fix, from_fixed, false)
FIXED(ucvtf_fix, from_fixed, true)

/* ---- to integers that stay floating-point numbers ---- */

#define ROUND_INT(name, rounding, exact)                                           \
	static uint64_t name(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a) \
	{                                                                          \
		return lp_fp_round_int(cpu, size, a, rounding, exact);             \
	}
ROUND_INT(rintn, LP_ROUND_NEAREST, false)
ROUND_INT(rintm, LP_ROUND_DOWN, false)
ROUND_INT(rintp, LP_ROUND_UP, false)
ROUND_INT(rintz, LP_ROUND_ZERO, false)
ROUND_INT(rinta, LP_ROUND_AWAY, false)
ROUND_INT(rintx, lp_fp_rounding(cpu), true)
ROUND_INT(rinti, lp_fp_rounding(cpu), false)

VECTOR_H(frintn, rintn)
VECTOR_H(frintm, rintm)
VECTOR_H(frintp, rintp)
VECTOR_H(frintz, rintz)
VECTOR_H(frinta, rinta)
VECTOR_H(frintx, rintx)
VECTOR_H(frinti, rinti)
VECTOR_H(fsqrt, lp_fp_sqrt)

/* ---- tests against zero ---- */

VECTOR_H(fcmeq_zero, lp_fp_cmeq_zero)
VECTOR_H(fcmgt_zero, lp_fp_cmgt_zero)
VECTOR_H(fcmge_zero, lp_fp_cmge_zero)
VECTOR_H(fcmlt_zero, lp_fp_cmlt_zero)
VECTOR_H(fcmle_zero, lp_fp_cmle_zero)

/* ---- between precisions ---- */

/* Into the lower half, the rest cleared; or (fcvtn2) into the upper half, the rest left. */
static LP_RARE const struct lp_uop *narrow(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size to,
					   enum lp_fp_rounding rounding)
{
	const union lp_vreg *n = &cpu->vr[u->rn];
	enum lp_fp_size from = (enum lp_fp_size)(to + 1);
	union lp_vreg r = {.q = 0};

	for (unsigned i = 0; i < 8U >> from; i++)
		set_fp_lane(&r, to, i, lp_fp_convert(cpu, to, from, fp_lane(n, from, i), rounding));
	if (lp_a64_field_Q(u->word))
		cpu->vr[u->rd].d[1] = r.d[0];
	else
		cpu->vr[u->rd] = r;
	NEXT;
}

SEM(fcvtn_v)
{
	__m128 r;

	if (LP_LIKELY(!cpu->fp_exact && lp_a64_field_sz(u->word))) {
		__asm__ volatile("cvtpd2ps %1, %0" : "=x"(r) : "x"(load_2d(&cpu->vr[u->rn])));
		if (LP_LIKELY(!has_doubt_4s(r))) {
			if (lp_a64_field_Q(u->word))
				_mm_storeh_pi((__m64 *)&cpu->vr[u->rd].d[1], _mm_movelh_ps(r, r));
			else
				store_4s(cpu, u, r);
			TAIL(u + 1);
		}
	}
	return narrow(cpu, u, lp_a64_field_sz(u->word) ? LP_FP_S : LP_FP_H, lp_fp_rounding(cpu));
}

SEM(fcvtxn_v)
{
	return narrow(cpu, u, LP_FP_S, LP_ROUND_ODD);
}

SEM(fcvtxn_s)
{
	SET_FP(cpu, u->rd, lp_fp_convert(cpu, LP_FP_S, LP_FP_D, FP(cpu, LP_FP_D, u->rn), LP_ROUND_ODD));
	NEXT;
}

static LP_RARE const struct lp_uop *widen(struct lp_cpu *cpu, const struct lp_uop *u)
{
	enum lp_fp_size from = lp_a64_field_sz(u->word) ? LP_FP_S : LP_FP_H, to = (enum lp_fp_size)(from + 1);
	union lp_vreg n = {.d = {cpu->vr[u->rn].d[lp_a64_field_Q(u->word)]}}, r;

	for (unsigned i = 0; i < 8U >> to; i++)
		set_fp_lane(&r, to, i, lp_fp_convert(cpu, to, from, fp_lane(&n, from, i), lp_fp_rounding(cpu)));
	cpu->vr[u->rd] = r;
	NEXT;
}

SEM(fcvtl_v)
{
	__m128d r;

	if (LP_LIKELY(!cpu->fp_exact && lp_a64_field_sz(u->word))) {
		__m128i n = _mm_loadl_epi64((const __m128i *)&cpu->vr[u->rn].d[lp_a64_field_Q(u->word)]);

		__asm__ volatile("cvtps2pd %1, %0" : "=x"(r) : "x"(n));
		if (LP_LIKELY(!has_nan_2d(r))) {
			store_2d(cpu, u, r);
			TAIL(u + 1);
		}
	}
	return widen(cpu, u);
}

/* ---- across lanes: halves first, so that the first NaN of the lowest pair survives ---- */

static uint64_t reduce(struct lp_cpu *cpu, enum lp_fp_size size, const union lp_vreg *n, unsigned from, unsigned lanes,
		       lp_fp_binary *op)
{
	uint64_t low, high;

	if (lanes == 1)
		return fp_lane(n, size, from);
	low = reduce(cpu, size, n, from, lanes / 2, op);
	high = reduce(cpu, size, n, from + lanes / 2, lanes / 2, op);
	return op(cpu, size, low, high);
}

static const struct lp_uop *across(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size, unsigned lanes,
				   lp_fp_binary *op)
{
	union lp_vreg n = cpu->vr[u->rn];

	SET_FP(cpu, u->rd, reduce(cpu, size, &n, 0, lanes, op));
	NEXT;
}

#define ACROSS(row, op)                                                   \
	SEM(row##v)                                                       \
	{                                                                 \
		return across(cpu, u, LP_FP_S, 4, op);                    \
	}                                                                 \
	SEM(row##v_h)                                                     \
	{                                                                 \
		return across(cpu, u, LP_FP_H, fp_lanes(u, LP_FP_H), op); \
	}                                                                 \
	PAIR(row, op)
#define PAIR(row, op)                                   \
	SEM(row##p_s)                                   \
	{                                               \
		return across(cpu, u, fp_sz(u), 2, op); \
	}                                               \
	SEM(row##p_s_h)                                 \
	{                                               \
		return across(cpu, u, LP_FP_H, 2, op);  \
	}
ACROSS(fmaxnm, lp_fp_maxnum)
ACROSS(fminnm, lp_fp_minnum)
ACROSS(fmax, lp_fp_max)
ACROSS(fmin, lp_fp_min)
SEM(faddp_s_h)
{
	return across(cpu, u, LP_FP_H, 2, lp_fp_add);
}

SEM(faddp_s)
{
	const union lp_vreg *n = &cpu->vr[u->rn];

	if (LP_LIKELY(!cpu->fp_exact)) {
		if (lp_a64_field_sz(u->word)) {
			__m128d r = host_add_d(_mm_load_sd(&n->g[0]), _mm_load_sd(&n->g[1]));

			if (LP_LIKELY(!is_nan_d(r))) {
				store_d(cpu, u->rd, r);
				TAIL(u + 1);
			}
		} else {
			__m128 r = host_add_f(_mm_load_ss(&n->f[0]), _mm_load_ss(&n->f[1]));

			if (LP_LIKELY(!is_nan_f(r))) {
				store_f(cpu, u->rd, r);
				TAIL(u + 1);
			}
		}
	}
	return across(cpu, u, fp_sz(u), 2, lp_fp_add);
}

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
#define V(shape) load_##shape(&cpu->vr[u->rn])

#define UNARY(row, host, exact)                                                                                 \
	UOP_FN(row##_2s)                                                                                        \
	{                                                                                                       \
		TRY(2s, __m128, host_##host##_4s(V(2s)), has_nan_4s, lp_fp_lanes1(cpu, u, LP_FP_S, 2, exact));  \
	}                                                                                                       \
	UOP_FN(row##_4s)                                                                                        \
	{                                                                                                       \
		TRY(4s, __m128, host_##host##_4s(V(4s)), has_nan_4s, lp_fp_lanes1(cpu, u, LP_FP_S, 4, exact));  \
	}                                                                                                       \
	UOP_FN(row##_2d)                                                                                        \
	{                                                                                                       \
		TRY(2d, __m128d, host_##host##_2d(V(2d)), has_nan_2d, lp_fp_lanes1(cpu, u, LP_FP_D, 2, exact)); \
	}                                                                                                       \
	ROW_BY_SHAPE(row)

UNARY(fsqrt_v, sqrt, lp_fp_sqrt)

/* `how` is roundps's: 8 keeps the inexact flag away, 4 rounds as MXCSR says. */
#define HOST_ROUND(name, how)                               \
	HOST_UNARY(name##_4s, __m128, "roundps $" #how ",") \
	HOST_UNARY(name##_2d, __m128d, "roundpd $" #how ",")
HOST_ROUND(rintn, 8)
HOST_ROUND(rintm, 9)
HOST_ROUND(rintp, 10)
HOST_ROUND(rintz, 11)
HOST_ROUND(rintx, 4)
HOST_ROUND(rinti, 12)

UNARY(frintn_v, rintn, rintn)
UNARY(frintm_v, rintm, rintm)
UNARY(frintp_v, rintp, rintp)
UNARY(frintz_v, rintz, rintz)
UNARY(frintx_v, rintx, rintx)
UNARY(frinti_v, rinti, rinti)

#define ROUND_AWAY(shape, vector, type, size, lanes, limit)                     \
	UOP_FN(frinta_v_##shape)                                                \
	{                                                                       \
		type a = V(shape);                                              \
                                                                                \
		if (LP_LIKELY(!cpu->fp_exact && is_below_##vector(a, limit))) { \
			store_##shape(cpu, u, host_rinta_##vector(a));          \
			TAIL(u + 1);                                            \
		}                                                               \
		return lp_fp_lanes1(cpu, u, size, lanes, rinta);                \
	}
/* Above, all numbers are integers. */
ROUND_AWAY(2s, 4s, __m128, LP_FP_S, 2, 23)
ROUND_AWAY(4s, 4s, __m128, LP_FP_S, 4, 23)
ROUND_AWAY(2d, 2d, __m128d, LP_FP_D, 2, 52)
ROW_BY_SHAPE(frinta_v)

/* ---- conversions of integers ---- */

/* The host has no unsigned ones: none may be above the largest signed one. */
static inline bool has_sign_4s(__m128 a)
{
	return _mm_movemask_ps(a);
}

static inline bool has_sign_2d(__m128d a)
{
	return _mm_movemask_pd(a);
}

static inline bool never_4s(__m128 a)
{
	return false;
}

static inline bool never_2d(__m128d a)
{
	return false;
}

static inline __m128 from_int_4s(__m128 a)
{
	__m128 r;

	__asm__ volatile("cvtdq2ps %1, %0" : "=x"(r) : "x"(a));
	return r;
}

static inline __m128d from_int_2d(__m128d a)
{
	__m128i n = _mm_castpd_si128(a);
	__m128d low = _mm_setzero_pd(), high = _mm_setzero_pd();

	__asm__ volatile("cvtsi2sdq %1, %0" : "+x"(low) : "r"(_mm_cvtsi128_si64(n)));
	__asm__ volatile("cvtsi2sdq %1, %0" : "+x"(high) : "r"(_mm_cvtsi128_si64(_mm_unpackhi_epi64(n, n))));
	return _mm_unpacklo_pd(low, high);
}

#define FROM_INT1(name, shape, vector, type, size, lanes, refused, op)     \
	UOP_FN(name##_##shape)                                             \
	{                                                                  \
		type a = V(shape);                                         \
                                                                           \
		if (LP_LIKELY(!cpu->fp_exact && !refused##_##vector(a))) { \
			store_##shape(cpu, u, from_int_##vector(a));       \
			TAIL(u + 1);                                       \
		}                                                          \
		return lp_fp_lanes1(cpu, u, size, lanes, op);              \
	}
#define FROM_INT(row, refused, op)                               \
	FROM_INT1(row, 2s, 4s, __m128, LP_FP_S, 2, refused, op)  \
	FROM_INT1(row, 4s, 4s, __m128, LP_FP_S, 4, refused, op)  \
	FROM_INT1(row, 2d, 2d, __m128d, LP_FP_D, 2, refused, op) \
	ROW_BY_SHAPE(row)
FROM_INT(scvtf_v, never, lp_fp_scvtf)
FROM_INT(ucvtf_v, has_sign, lp_fp_ucvtf)

/* A lane that does not fit becomes the least integer, with the flag that the guest wants too. */
static inline bool has_least_4s(__m128 a)
{
	return _mm_movemask_epi8(_mm_cmpeq_epi32(_mm_castps_si128(a), _mm_set1_epi32(INT32_MIN)));
}

/* Or one next to it: by the upper words. */
static inline bool has_least_2d(__m128d a)
{
	__m128i least = _mm_cmpeq_epi32(_mm_castpd_si128(a), _mm_set1_epi32(INT32_MIN));

	return _mm_movemask_pd(_mm_castsi128_pd(least));
}

static inline __m128 to_int_4s(__m128 a)
{
	__m128 r;

	__asm__ volatile("cvttps2dq %1, %0" : "=x"(r) : "x"(a));
	return r;
}

static inline __m128d to_int_2d(__m128d a)
{
	int64_t low, high;

	__asm__ volatile("cvttsd2siq %1, %0" : "=r"(low) : "x"(a));
	__asm__ volatile("cvttsd2siq %1, %0" : "=r"(high) : "x"(_mm_unpackhi_pd(a, a)));
	return _mm_castsi128_pd(_mm_set_epi64x(high, low));
}

/* What is not negative, and below 2^31 (2^63). */
static inline bool is_unsigned_4s(__m128 a)
{
	return !has_sign_4s(a) && is_below_4s(a, 31);
}

static inline bool is_unsigned_2d(__m128d a)
{
	return !has_sign_2d(a) && is_below_2d(a, 63);
}

static inline bool always_4s(__m128 a)
{
	return true;
}

static inline bool always_2d(__m128d a)
{
	return true;
}

#define TO_INT1(name, shape, vector, type, size, lanes, accepted, op)            \
	UOP_FN(name##_##shape)                                                   \
	{                                                                        \
		type a = V(shape);                                               \
                                                                                 \
		if (LP_LIKELY(!cpu->fp_exact && accepted##_##vector(a)))         \
			TRY(shape, type, to_int_##vector(a), has_least_##vector, \
			    lp_fp_lanes1(cpu, u, size, lanes, op));              \
		return lp_fp_lanes1(cpu, u, size, lanes, op);                    \
	}
#define TO_INT(row, accepted, op)                               \
	TO_INT1(row, 2s, 4s, __m128, LP_FP_S, 2, accepted, op)  \
	TO_INT1(row, 4s, 4s, __m128, LP_FP_S, 4, accepted, op)  \
	TO_INT1(row, 2d, 2d, __m128d, LP_FP_D, 2, accepted, op) \
	ROW_BY_SHAPE(row)
TO_INT(fcvtzs_v, always, lp_fp_cvtzs)
TO_INT(fcvtzu_v, is_unsigned, lp_fp_cvtzu)

/* ---- signs: no arithmetic, no flags ---- */

static union lp_vreg signs(const struct lp_uop *u, enum lp_fp_size size)
{
	static const uint64_t every[] = {0x8000800080008000, 0x8000000080000000, 0x8000000000000000};

	return (union lp_vreg){.d = {every[size], lp_a64_field_Q(u->word) ? every[size] : 0}};
}

static inline const struct lp_uop *set_signs(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size,
					     bool absolute)
{
	union lp_vreg n = cpu->vr[u->rn], s = signs(u, size);

	if (!lp_a64_field_Q(u->word))
		n.d[1] = 0;
	n.q = absolute ? n.q & ~s.q : n.q ^ s.q;
	cpu->vr[u->rd] = n;
	NEXT;
}

SEM(fabs_v)
{
	return set_signs(cpu, u, fp_sz(u), true);
}

SEM(fabs_v_h)
{
	return set_signs(cpu, u, LP_FP_H, true);
}

SEM(fneg_v)
{
	return set_signs(cpu, u, fp_sz(u), false);
}

SEM(fneg_v_h)
{
	return set_signs(cpu, u, LP_FP_H, false);
}

/* ---- tests against zero: the host answers with the same masks and flags ---- */

#define IN_ORDER(a, b) a, b
#define SWAPPED(a, b) b, a
#define APPLY(f, args) f(args)
#define TEST(row, test, order, exact)                                                      \
	UOP_FN(row##_2s)                                                                   \
	{                                                                                  \
		if (cpu->fp_exact)                                                         \
			return lp_fp_lanes1(cpu, u, LP_FP_S, 2, exact);                    \
		store_2s(cpu, u, APPLY(host_##test##_4s, order(V(2s), _mm_setzero_ps()))); \
		TAIL(u + 1);                                                               \
	}                                                                                  \
	UOP_FN(row##_4s)                                                                   \
	{                                                                                  \
		if (cpu->fp_exact)                                                         \
			return lp_fp_lanes1(cpu, u, LP_FP_S, 4, exact);                    \
		store_4s(cpu, u, APPLY(host_##test##_4s, order(V(4s), _mm_setzero_ps()))); \
		TAIL(u + 1);                                                               \
	}                                                                                  \
	UOP_FN(row##_2d)                                                                   \
	{                                                                                  \
		if (cpu->fp_exact)                                                         \
			return lp_fp_lanes1(cpu, u, LP_FP_D, 2, exact);                    \
		store_2d(cpu, u, APPLY(host_##test##_2d, order(V(2d), _mm_setzero_pd()))); \
		TAIL(u + 1);                                                               \
	}                                                                                  \
	ROW_BY_SHAPE(row)

TEST(fcmeq_zero_v, equal, IN_ORDER, lp_fp_cmeq_zero)
TEST(fcmgt_zero_v, less, SWAPPED, lp_fp_cmgt_zero)
TEST(fcmge_zero_v, less_equal, SWAPPED, lp_fp_cmge_zero)
TEST(fcmlt_zero_v, less, IN_ORDER, lp_fp_cmlt_zero)
TEST(fcmle_zero_v, less_equal, IN_ORDER, lp_fp_cmle_zero)

/* ---- by shape, at once ---- */

lp_uop_fn *lp_fp_unary_lower(enum lp_a64_op op, struct lp_uop *u)
{
	uint32_t word = u->word;
	unsigned shape = fp_shape(word);

	switch (op) {
#define CASE(OP, row)     \
	case A64_OP_##OP: \
		return row##_shapes[shape];
		CASE(FSQRT_V, fsqrt_v)
		CASE(FRINTN_V, frintn_v)
		CASE(FRINTM_V, frintm_v)
		CASE(FRINTP_V, frintp_v)
		CASE(FRINTZ_V, frintz_v)
		CASE(FRINTX_V, frintx_v)
		CASE(FRINTI_V, frinti_v)
		CASE(FRINTA_V, frinta_v)
		CASE(SCVTF_V, scvtf_v)
		CASE(UCVTF_V, ucvtf_v)
		CASE(FCVTZU_V, fcvtzu_v)
		CASE(FCVTZS_V, fcvtzs_v)
		CASE(FCMEQ_ZERO_V, fcmeq_zero_v)
		CASE(FCMGT_ZERO_V, fcmgt_zero_v)
		CASE(FCMGE_ZERO_V, fcmge_zero_v)
		CASE(FCMLT_ZERO_V, fcmlt_zero_v)
		CASE(FCMLE_ZERO_V, fcmle_zero_v)
#undef CASE
	default:
		return NULL;
	}
}
