/* Scalar floating point: arithmetic and moves. */
#include "emu/sem_fp.h"

/* The host's result, unless it is doubtful. */
#define TRY(lane, type, expression, doubt, exact)                      \
	do {                                                           \
		if (LP_LIKELY(!cpu->fp_exact)) {                       \
			type result = expression;                      \
                                                                       \
			if (LP_LIKELY(!is_##doubt##_##lane(result))) { \
				store_##lane(cpu, u->rd, result);      \
				TAIL(u + 1);                           \
			}                                              \
		}                                                      \
		return exact;                                          \
	} while (0)
#define D(r) load_d(cpu, r)
#define F(r) load_f(cpu, r)

/* ---- one, two, three operands ---- */

static LP_RARE const struct lp_uop *exact1(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size,
					   lp_fp_unary *op)
{
	SET_FP(cpu, u->rd, op(cpu, size, FP(cpu, size, u->rn)));
	NEXT;
}

static LP_RARE const struct lp_uop *exact2(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size,
					   lp_fp_binary *op)
{
	SET_FP(cpu, u->rd, op(cpu, size, FP(cpu, size, u->rn), FP(cpu, size, u->rm)));
	NEXT;
}

static LP_RARE const struct lp_uop *exact3(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size,
					   lp_fp_ternary *op)
{
	SET_FP(cpu, u->rd, op(cpu, size, FP(cpu, size, u->ra), FP(cpu, size, u->rn), FP(cpu, size, u->rm)));
	NEXT;
}

#define BINARY(row, host, doubtful, exact)                                                                      \
	UOP_FN(row##_s)                                                                                         \
	{                                                                                                       \
		TRY(f, __m128, host_##host##_f(F(u->rn), F(u->rm)), doubtful, exact2(cpu, u, LP_FP_S, exact));  \
	}                                                                                                       \
	UOP_FN(row##_d)                                                                                         \
	{                                                                                                       \
		TRY(d, __m128d, host_##host##_d(D(u->rn), D(u->rm)), doubtful, exact2(cpu, u, LP_FP_D, exact)); \
	}                                                                                                       \
	UOP_FN(row##_h)                                                                                         \
	{                                                                                                       \
		return exact2(cpu, u, LP_FP_H, exact);                                                          \
	}                                                                                                       \
	ROW_BY_TYPE(row)

BINARY(fadd, add, nan, lp_fp_add)
BINARY(fsub, sub, nan, lp_fp_sub)
BINARY(fmul, mul, doubt, lp_fp_mul)
BINARY(fdiv, div, nan, lp_fp_div)

static inline __m128 host_nmul_f(__m128 a, __m128 b)
{
	return _mm_xor_ps(host_mul_f(a, b), _mm_set_ss(-0.0F));
}

static inline __m128d host_nmul_d(__m128d a, __m128d b)
{
	return _mm_xor_pd(host_mul_d(a, b), _mm_set_sd(-0.0));
}

/* The product's NaN is negated too. */
static uint64_t negated_mul(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	return lp_fp_neg(size, lp_fp_mul(cpu, size, a, b));
}

BINARY(fnmul, nmul, doubt, negated_mul)

UOP_FN(fsqrt_s)
{
	TRY(f, __m128, host_sqrt_f(F(u->rn)), nan, exact1(cpu, u, LP_FP_S, lp_fp_sqrt));
}
UOP_FN(fsqrt_d)
{
	TRY(d, __m128d, host_sqrt_d(D(u->rn)), nan, exact1(cpu, u, LP_FP_D, lp_fp_sqrt));
}
UOP_FN(fsqrt_h)
{
	return exact1(cpu, u, LP_FP_H, lp_fp_sqrt);
}
ROW_BY_TYPE(fsqrt)

/* What is negated is the operand: its NaN too. */
static uint64_t nmadd(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t addend, uint64_t a, uint64_t b)
{
	return lp_fp_muladd(cpu, size, lp_fp_neg(size, addend), lp_fp_neg(size, a), b);
}

static uint64_t nmsub(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t addend, uint64_t a, uint64_t b)
{
	return lp_fp_muladd(cpu, size, lp_fp_neg(size, addend), a, b);
}

#define TERNARY(row, host, exact)                                                                                      \
	UOP_FN(row##_s)                                                                                                \
	{                                                                                                              \
		TRY(f, __m128, host_##host##_f(F(u->ra), F(u->rn), F(u->rm)), doubt, exact3(cpu, u, LP_FP_S, exact));  \
	}                                                                                                              \
	UOP_FN(row##_d)                                                                                                \
	{                                                                                                              \
		TRY(d, __m128d, host_##host##_d(D(u->ra), D(u->rn), D(u->rm)), doubt, exact3(cpu, u, LP_FP_D, exact)); \
	}                                                                                                              \
	UOP_FN(row##_h)                                                                                                \
	{                                                                                                              \
		return exact3(cpu, u, LP_FP_H, exact);                                                                 \
	}                                                                                                              \
	ROW_BY_TYPE(row)

TERNARY(fmadd, madd, lp_fp_muladd)
TERNARY(fmsub, msub, lp_fp_mulsub)
TERNARY(fnmadd, nmadd, nmadd)
TERNARY(fnmsub, nmsub, nmsub)

/* ---- greatest and least ---- */

/* Equal ones may be zeros of two signs, and unordered ones are NaNs: the host cannot tell. */
#define CHOICE(row, lane, insn, size, exact, first, second)                                              \
	UOP_FN(row)                                                                                      \
	{                                                                                                \
		bool same, less;                                                                         \
                                                                                                         \
		if (LP_LIKELY(!cpu->fp_exact)) {                                                         \
			__asm__ volatile(insn " %3, %2"                                                  \
					 : "=@ccz"(same), "=@ccb"(less)                                  \
					 : "x"(load_##lane(cpu, u->rn)), "x"(load_##lane(cpu, u->rm)));  \
			if (LP_LIKELY(!same)) {                                                          \
				store_##lane(cpu, u->rd, load_##lane(cpu, less ? u->second : u->first)); \
				TAIL(u + 1);                                                             \
			}                                                                                \
		}                                                                                        \
		return exact2(cpu, u, size, exact);                                                      \
	}
#define CHOICES(row, exact, first, second)                           \
	CHOICE(row##_s, f, "ucomiss", LP_FP_S, exact, first, second) \
	CHOICE(row##_d, d, "ucomisd", LP_FP_D, exact, first, second) \
	UOP_FN(row##_h)                                              \
	{                                                            \
		return exact2(cpu, u, LP_FP_H, exact);               \
	}                                                            \
	ROW_BY_TYPE(row)

CHOICES(fmax, lp_fp_max, rn, rm)
CHOICES(fmin, lp_fp_min, rm, rn)
CHOICES(fmaxnm, lp_fp_maxnum, rn, rm)
CHOICES(fminnm, lp_fp_minnum, rm, rn)

/* ---- moves: no arithmetic, no flags ---- */

#define MOVE(row, value_f, value_d, value_h)  \
	UOP_FN(row##_s)                       \
	{                                     \
		store_f(cpu, u->rd, value_f); \
		TAIL(u + 1);                  \
	}                                     \
	UOP_FN(row##_d)                       \
	{                                     \
		store_d(cpu, u->rd, value_d); \
		TAIL(u + 1);                  \
	}                                     \
	UOP_FN(row##_h)                       \
	{                                     \
		SET_FP(cpu, u->rd, value_h);  \
		TAIL(u + 1);                  \
	}                                     \
	ROW_BY_TYPE(row)

MOVE(fmov_reg, load_f(cpu, u->rn), load_d(cpu, u->rn), cpu->vr[u->rn].h[0])
MOVE(fabs, _mm_andnot_ps(_mm_set_ss(-0.0F), load_f(cpu, u->rn)), _mm_andnot_pd(_mm_set_sd(-0.0), load_d(cpu, u->rn)),
     lp_fp_abs(LP_FP_H, cpu->vr[u->rn].h[0]))
MOVE(fneg, _mm_xor_ps(_mm_set_ss(-0.0F), load_f(cpu, u->rn)), _mm_xor_pd(_mm_set_sd(-0.0), load_d(cpu, u->rn)),
     lp_fp_neg(LP_FP_H, cpu->vr[u->rn].h[0]))

SEM(fmov_imm)
{
	SET_FP(cpu, u->rd, lp_fp_expand(fp_type(u), lp_a64_field_imm8(u->word)));
	NEXT;
}

/* u->imm: expanded */
UOP_FN(fmov_expanded)
{
	SET_FP(cpu, u->rd, u->imm);
	TAIL(u + 1);
}

SEM(fmov_w_s)
{
	SET_W(cpu, u->rd, cpu->vr[u->rn].s[0]);
	TAIL(u + 1);
}

SEM(fmov_s_w)
{
	SET_FP(cpu, u->rd, W(cpu, u->rn));
	TAIL(u + 1);
}

SEM(fmov_x_d)
{
	SET_X(cpu, u->rd, cpu->vr[u->rn].d[0]);
	TAIL(u + 1);
}

SEM(fmov_d_x)
{
	SET_FP(cpu, u->rd, X(cpu, u->rn));
	TAIL(u + 1);
}

SEM(fmov_w_h)
{
	SET_W(cpu, u->rd, cpu->vr[u->rn].h[0]);
	TAIL(u + 1);
}

SEM(fmov_h_w)
{
	SET_FP(cpu, u->rd, (uint16_t)W(cpu, u->rn));
	TAIL(u + 1);
}

SEM(fmov_x_h)
{
	SET_X(cpu, u->rd, cpu->vr[u->rn].h[0]);
	TAIL(u + 1);
}

SEM(fmov_h_x)
{
	SET_FP(cpu, u->rd, (uint16_t)X(cpu, u->rn));
	TAIL(u + 1);
}

SEM(fmov_x_top)
{
	SET_X(cpu, u->rd, cpu->vr[u->rn].d[1]);
	TAIL(u + 1);
}

SEM(fmov_top_x)
{
	cpu->vr[u->rd].d[1] = X(cpu, u->rn);
	TAIL(u + 1);
}

/* ---- by type, at once ---- */

lp_uop_fn *lp_fp_scalar_lower(enum lp_a64_op op, struct lp_uop *u)
{
	uint32_t word = u->word;
	unsigned type = lp_a64_field_ftype(word);

	switch (op) {
#define CASE(OP, row)     \
	case A64_OP_##OP: \
		return row##_types[type];
		CASE(FADD, fadd)
		CASE(FSUB, fsub)
		CASE(FMUL, fmul)
		CASE(FDIV, fdiv)
		CASE(FNMUL, fnmul)
		CASE(FSQRT, fsqrt)
		CASE(FMADD, fmadd)
		CASE(FMSUB, fmsub)
		CASE(FNMADD, fnmadd)
		CASE(FNMSUB, fnmsub)
		CASE(FMAX, fmax)
		CASE(FMIN, fmin)
		CASE(FMAXNM, fmaxnm)
		CASE(FMINNM, fminnm)
		CASE(FMOV_REG, fmov_reg)
		CASE(FABS, fabs)
		CASE(FNEG, fneg)
#undef CASE
	case A64_OP_FMOV_IMM:
		u->imm = lp_fp_expand(fp_type(u), lp_a64_field_imm8(word));
		return fmov_expanded;
	default:
		return NULL;
	}
}
