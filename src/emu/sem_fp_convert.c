/* Scalar floating point to and from integers, rounding to integers, and between precisions. */
#include "emu/sem_fp.h"

static inline bool is_64(const struct lp_uop *u)
{
	return lp_a64_field_sf(u->word);
}

static inline void set_int(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t value)
{
	SET_X(cpu, u->rd, is_64(u) ? value : (uint32_t)value);
}

static inline unsigned fbits_of(const struct lp_uop *u)
{
	return 64 - lp_a64_field_scale(u->word);
}

/* ---- to integers ---- */

static LP_RARE const struct lp_uop *to_int(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_rounding rounding,
					   bool is_unsigned, unsigned fbits)
{
	enum lp_fp_size size = fp_type(u);

	set_int(cpu, u,
		lp_fp_to_fixed(cpu, size, FP(cpu, size, u->rn), rounding, is_64(u) ? 64 : 32, is_unsigned, fbits));
	NEXT;
}

SEM(fcvtzs_fix)
{
	return to_int(cpu, u, LP_ROUND_ZERO, false, fbits_of(u));
}

SEM(fcvtzu_fix)
{
	return to_int(cpu, u, LP_ROUND_ZERO, true, fbits_of(u));
}

/* by sf and ftype */
static inline unsigned int_shape(uint32_t word)
{
	return lp_a64_field_sf(word) * 4 + lp_a64_field_ftype(word);
}

#define ROW_BY_SHAPE(row)                                                               \
	static lp_uop_fn *const row##_shapes[] = {row##_w_s, row##_w_d, NULL, row##_h,  \
						  row##_x_s, row##_x_d, NULL, row##_h}; \
	SEM(row)                                                                        \
	{                                                                               \
		return row##_shapes[int_shape(u->word)](cpu, u);                        \
	}

static LP_RARE const struct lp_uop *toward_zero(struct lp_cpu *cpu, const struct lp_uop *u, bool is_unsigned)
{
	return to_int(cpu, u, LP_ROUND_ZERO, is_unsigned, 0);
}

/* What the host cannot represent becomes the least integer, with the invalid flag that the guest wants too. */
#define FCVTZS(name, lane, insn, modifier, type, least)                                                           \
	UOP_FN(name)                                                                                              \
	{                                                                                                         \
		type value;                                                                                       \
                                                                                                                  \
		if (LP_LIKELY(!cpu->fp_exact)) {                                                                  \
			__asm__ volatile(insn " %1, %" modifier "0" : "=r"(value) : "x"(cpu->vr[u->rn].lane[0])); \
			if (LP_LIKELY(value != (least))) {                                                        \
				SET_X(cpu, u->rd, value);                                                         \
				TAIL(u + 1);                                                                      \
			}                                                                                         \
		}                                                                                                 \
		return toward_zero(cpu, u, false);                                                                \
	}
FCVTZS(fcvtzs_w_s, f, "cvttss2si", "k", uint32_t, 1U << 31)
FCVTZS(fcvtzs_w_d, g, "cvttsd2si", "k", uint32_t, 1U << 31)
FCVTZS(fcvtzs_x_s, f, "cvttss2si", "q", uint64_t, 1ULL << 63)
FCVTZS(fcvtzs_x_d, g, "cvttsd2si", "q", uint64_t, 1ULL << 63)

/* Numbers that are not negative are ordered as their bits are; NaNs and negative ones are above all limits. */
#define FCVTZU(name, bits, lane, insn, limit)                                                          \
	UOP_FN(name)                                                                                   \
	{                                                                                              \
		uint64_t value;                                                                        \
                                                                                                       \
		if (LP_LIKELY(!cpu->fp_exact && cpu->vr[u->rn].bits[0] < (limit))) {                   \
			__asm__ volatile(insn " %1, %q0" : "=r"(value) : "x"(cpu->vr[u->rn].lane[0])); \
			SET_X(cpu, u->rd, value);                                                      \
			TAIL(u + 1);                                                                   \
		}                                                                                      \
		return toward_zero(cpu, u, true);                                                      \
	}
FCVTZU(fcvtzu_w_s, s, f, "cvttss2si", (127U + 32) << 23)
FCVTZU(fcvtzu_w_d, d, g, "cvttsd2si", (1023ULL + 32) << 52)
FCVTZU(fcvtzu_x_s, s, f, "cvttss2si", (127U + 63) << 23)
FCVTZU(fcvtzu_x_d, d, g, "cvttsd2si", (1023ULL + 63) << 52)

UOP_FN(fcvtzs_h)
{
	return toward_zero(cpu, u, false);
}

UOP_FN(fcvtzu_h)
{
	return toward_zero(cpu, u, true);
}

ROW_BY_SHAPE(fcvtzs)
ROW_BY_SHAPE(fcvtzu)

/* Rounded on the host first, where the result fits for sure; then there is nothing left to be truncated. */
#define ROUNDED(name, lane, vector, type, round, insn, modifier, limit, holds, rounding, is_unsigned)          \
	UOP_FN(name)                                                                                           \
	{                                                                                                      \
		type value;                                                                                    \
		__typeof__(load_##lane(cpu, 0)) a = load_##lane(cpu, u->rn);                                   \
                                                                                                               \
		if (LP_LIKELY(!cpu->fp_exact && is_below_##vector(a, limit) && (holds))) {                     \
			__asm__ volatile(insn " %1, %" modifier "0" : "=r"(value) : "x"(round##_##vector(a))); \
			SET_X(cpu, u->rd, value);                                                              \
			TAIL(u + 1);                                                                           \
		}                                                                                              \
		return to_int(cpu, u, rounding, is_unsigned, 0);                                               \
	}
#define ROUNDED_ROW(row, round, holds_f, holds_d, rounding, is_unsigned)                                           \
	ROUNDED(row##_w_s, f, 4s, uint32_t, round, "cvttss2si", "k", 30, holds_f, rounding, is_unsigned)           \
	ROUNDED(row##_w_d, d, 2d, uint32_t, round, "cvttsd2si", "k", 30, holds_d, rounding, is_unsigned)           \
	ROUNDED(row##_x_s, f, 4s, uint64_t, round, "cvttss2si", "q", AWAY_LIMIT_f, holds_f, rounding, is_unsigned) \
	ROUNDED(row##_x_d, d, 2d, uint64_t, round, "cvttsd2si", "q", AWAY_LIMIT_d, holds_d, rounding, is_unsigned) \
	UOP_FN(row##_h)                                                                                            \
	{                                                                                                          \
		return to_int(cpu, u, rounding, is_unsigned, 0);                                                   \
	}                                                                                                          \
	ROW_BY_SHAPE(row)
/* Above, all numbers are integers. */
#define AWAY_LIMIT_f 23
#define AWAY_LIMIT_d 52
#define POSITIVE_f !(cpu->vr[u->rn].s[0] >> 31)
#define POSITIVE_d !(cpu->vr[u->rn].d[0] >> 63)

#define HOST_ROUND(name, how)                               \
	HOST_UNARY(name##_4s, __m128, "roundps $" #how ",") \
	HOST_UNARY(name##_2d, __m128d, "roundpd $" #how ",")
HOST_ROUND(nearest, 0)
HOST_ROUND(down, 1)
HOST_ROUND(up, 2)

ROUNDED_ROW(fcvtns, host_nearest, true, true, LP_ROUND_NEAREST, false)
ROUNDED_ROW(fcvtps, host_up, true, true, LP_ROUND_UP, false)
ROUNDED_ROW(fcvtms, host_down, true, true, LP_ROUND_DOWN, false)
ROUNDED_ROW(fcvtas, host_nearest_away, true, true, LP_ROUND_AWAY, false)
ROUNDED_ROW(fcvtnu, host_nearest, POSITIVE_f, POSITIVE_d, LP_ROUND_NEAREST, true)
ROUNDED_ROW(fcvtpu, host_up, POSITIVE_f, POSITIVE_d, LP_ROUND_UP, true)
ROUNDED_ROW(fcvtmu, host_down, POSITIVE_f, POSITIVE_d, LP_ROUND_DOWN, true)
ROUNDED_ROW(fcvtau, host_nearest_away, POSITIVE_f, POSITIVE_d, LP_ROUND_AWAY, true)

SEM(fjcvtzs)
{
	bool exact;

	SET_W(cpu, u->rd, lp_fp_to_javascript(cpu, FP(cpu, LP_FP_D, u->rn), &exact));
	lp_cpu_set_nzcv(cpu, (uint32_t)exact << 30);
	NEXT;
}

/* ---- from integers ---- */

static LP_RARE const struct lp_uop *from_int(struct lp_cpu *cpu, const struct lp_uop *u, bool is_unsigned,
					     unsigned fbits)
{
	uint64_t value = X(cpu, u->rn);

	if (!is_64(u))
		value = is_unsigned ? (uint32_t)value : (uint64_t)(int32_t)value;
	SET_FP(cpu, u->rd, lp_fp_from_fixed(cpu, fp_type(u), value, is_unsigned, fbits));
	NEXT;
}

SEM(scvtf_fix)
{
	return from_int(cpu, u, false, fbits_of(u));
}

SEM(ucvtf_fix)
{
	return from_int(cpu, u, true, fbits_of(u));
}

static inline __m128d from_int_d(int64_t value)
{
	__m128d r = _mm_setzero_pd();

	__asm__ volatile("cvtsi2sdq %1, %0" : "+x"(r) : "r"(value));
	return r;
}

static inline __m128 from_int_f(int64_t value)
{
	__m128 r = _mm_setzero_ps();

	__asm__ volatile("cvtsi2ssq %1, %0" : "+x"(r) : "r"(value));
	return r;
}

/* The host has no unsigned ones of 64 bits. */
#define FROM_INT(name, lane, type, is_unsigned, get)                            \
	UOP_FN(name)                                                            \
	{                                                                       \
		int64_t value = (int64_t)(type)get(cpu, u->rn);                 \
                                                                                \
		if (LP_LIKELY(!cpu->fp_exact && !(is_unsigned && value < 0))) { \
			store_##lane(cpu, u->rd, from_int_##lane(value));       \
			TAIL(u + 1);                                            \
		}                                                               \
		return from_int(cpu, u, is_unsigned, 0);                        \
	}
FROM_INT(scvtf_w_s, f, int32_t, false, W)
FROM_INT(scvtf_w_d, d, int32_t, false, W)
FROM_INT(scvtf_x_s, f, int64_t, false, X)
FROM_INT(scvtf_x_d, d, int64_t, false, X)
FROM_INT(ucvtf_w_s, f, uint32_t, true, W)
FROM_INT(ucvtf_w_d, d, uint32_t, true, W)
FROM_INT(ucvtf_x_s, f, uint64_t, true, X)
FROM_INT(ucvtf_x_d, d, uint64_t, true, X)

UOP_FN(scvtf_h)
{
	return from_int(cpu, u, false, 0);
}

UOP_FN(ucvtf_h)
{
	return from_int(cpu, u, true, 0);
}

ROW_BY_SHAPE(scvtf)
ROW_BY_SHAPE(ucvtf)

/* ---- to integers that stay floating-point numbers ---- */

static LP_RARE const struct lp_uop *round_int(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_rounding rounding,
					      bool exact)
{
	enum lp_fp_size size = fp_type(u);

	SET_FP(cpu, u->rd, lp_fp_round_int(cpu, size, FP(cpu, size, u->rn), rounding, exact));
	NEXT;
}

#define ROUND(name, lane, type, insn, how, exact)                                                                \
	UOP_FN(name)                                                                                             \
	{                                                                                                        \
		type r = {0};                                                                                    \
                                                                                                                 \
		if (LP_LIKELY(!cpu->fp_exact)) {                                                                 \
			__asm__ volatile(insn " %2, %1, %0" : "+x"(r) : "x"(load_##lane(cpu, u->rn)), "i"(how)); \
			if (LP_LIKELY(!is_nan_##lane(r))) {                                                      \
				store_##lane(cpu, u->rd, r);                                                     \
				TAIL(u + 1);                                                                     \
			}                                                                                        \
		}                                                                                                \
		return exact;                                                                                    \
	}
/* `how` is roundsd's: 8 keeps the inexact flag away, 4 rounds as MXCSR says. */
#define FRINT(row, how, rounding, inexact)                                               \
	ROUND(row##_s, f, __m128, "roundss", how, round_int(cpu, u, rounding, inexact))  \
	ROUND(row##_d, d, __m128d, "roundsd", how, round_int(cpu, u, rounding, inexact)) \
	UOP_FN(row##_h)                                                                  \
	{                                                                                \
		return round_int(cpu, u, rounding, inexact);                             \
	}                                                                                \
	static lp_uop_fn *const row##_types[] = {row##_s, row##_d, NULL, row##_h};       \
	SEM(row)                                                                         \
	{                                                                                \
		return row##_types[lp_a64_field_ftype(u->word)](cpu, u);                 \
	}
FRINT(frintn, 8, LP_ROUND_NEAREST, false)
FRINT(frintm, 9, LP_ROUND_DOWN, false)
FRINT(frintp, 10, LP_ROUND_UP, false)
FRINT(frintz, 11, LP_ROUND_ZERO, false)
FRINT(frintx, 4, lp_fp_rounding(cpu), true)
FRINT(frinti, 12, lp_fp_rounding(cpu), false)

#define ROUND_AWAY(name, lane, vector, limit)                                   \
	UOP_FN(name)                                                            \
	{                                                                       \
		__typeof__(load_##lane(cpu, 0)) a = load_##lane(cpu, u->rn);    \
                                                                                \
		if (LP_LIKELY(!cpu->fp_exact && is_below_##vector(a, limit))) { \
			store_##lane(cpu, u->rd, host_rinta_##vector(a));       \
			TAIL(u + 1);                                            \
		}                                                               \
		return round_int(cpu, u, LP_ROUND_AWAY, false);                 \
	}
ROUND_AWAY(frinta_s, f, 4s, AWAY_LIMIT_f)
ROUND_AWAY(frinta_d, d, 2d, AWAY_LIMIT_d)
UOP_FN(frinta_h)
{
	return round_int(cpu, u, LP_ROUND_AWAY, false);
}
static lp_uop_fn *const frinta_types[] = {frinta_s, frinta_d, NULL, frinta_h};
SEM(frinta)
{
	return frinta_types[lp_a64_field_ftype(u->word)](cpu, u);
}

/* ---- between precisions ---- */

static LP_RARE const struct lp_uop *convert(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size to)
{
	enum lp_fp_size from = fp_type(u);

	SET_FP(cpu, u->rd, lp_fp_convert(cpu, to, from, FP(cpu, from, u->rn), lp_fp_rounding(cpu)));
	NEXT;
}

SEM(fcvt_s)
{
	__m128 r = _mm_setzero_ps();

	if (LP_LIKELY(!cpu->fp_exact && lp_a64_field_ftype(u->word) == 1)) {
		__asm__ volatile("cvtsd2ss %1, %0" : "+x"(r) : "x"(load_d(cpu, u->rn)));
		if (LP_LIKELY(!is_doubt_f(r))) {
			store_f(cpu, u->rd, r);
			TAIL(u + 1);
		}
	}
	return convert(cpu, u, LP_FP_S);
}

SEM(fcvt_d)
{
	__m128d r = _mm_setzero_pd();

	if (LP_LIKELY(!cpu->fp_exact && lp_a64_field_ftype(u->word) == 0)) {
		__asm__ volatile("cvtss2sd %1, %0" : "+x"(r) : "x"(load_f(cpu, u->rn)));
		if (LP_LIKELY(!is_nan_d(r))) {
			store_d(cpu, u->rd, r);
			TAIL(u + 1);
		}
	}
	return convert(cpu, u, LP_FP_D);
}

SEM(fcvt_h)
{
	return convert(cpu, u, LP_FP_H);
}

/* ---- by type, at once ---- */

lp_uop_fn *lp_fp_convert_lower(enum lp_a64_op op, struct lp_uop *u)
{
	uint32_t word = u->word;
	unsigned type = lp_a64_field_ftype(word);

	switch (op) {
#define CASE(OP, row)     \
	case A64_OP_##OP: \
		return row##_shapes[int_shape(word)];
		CASE(FCVTZS, fcvtzs)
		CASE(FCVTZU, fcvtzu)
		CASE(FCVTNS, fcvtns)
		CASE(FCVTNU, fcvtnu)
		CASE(FCVTPS, fcvtps)
		CASE(FCVTPU, fcvtpu)
		CASE(FCVTMS, fcvtms)
		CASE(FCVTMU, fcvtmu)
		CASE(FCVTAS, fcvtas)
		CASE(FCVTAU, fcvtau)
		CASE(SCVTF, scvtf)
		CASE(UCVTF, ucvtf)
#undef CASE
	case A64_OP_FRINTA:
		return frinta_types[type];
	case A64_OP_FRINTN:
		return frintn_types[type];
	case A64_OP_FRINTM:
		return frintm_types[type];
	case A64_OP_FRINTP:
		return frintp_types[type];
	case A64_OP_FRINTZ:
		return frintz_types[type];
	case A64_OP_FRINTX:
		return frintx_types[type];
	case A64_OP_FRINTI:
		return frinti_types[type];
	default:
		return NULL;
	}
}
