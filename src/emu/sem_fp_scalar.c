/* Scalar floating point: arithmetic, comparison, moves. */
#include "emu/sem_fp.h"

/* Types by the field ftype, each a function of its own: row_s, row_d, row_h. */
#define ROW_BY_TYPE(row)                                                           \
	static lp_uop_fn *const row##_types[] = {row##_s, row##_d, NULL, row##_h}; \
	SEM(row)                                                                   \
	{                                                                          \
		return row##_types[lp_a64_field_ftype(u->word)](cpu, u);           \
	}

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

/* ---- comparison ---- */

static LP_RARE const struct lp_uop *compare_exact(struct lp_cpu *cpu, const struct lp_uop *u, enum lp_fp_size size,
						  bool with_zero, bool signals)
{
	static const uint32_t flags[] = {
		[LP_FP_LESS] = 8U << 28,
		[LP_FP_EQUAL] = 6U << 28,
		[LP_FP_GREATER] = 2U << 28,
		[LP_FP_UNORDERED] = 3U << 28,
	};
	uint64_t a = FP(cpu, size, u->rn), b = with_zero ? 0 : FP(cpu, size, u->rm);

	lp_cpu_set_nzcv(cpu, flags[lp_fp_compare(cpu, size, a, b, signals)]);
	NEXT;
}

/* As ucomis and comis say it: zero, parity and carry are all set when unordered. */
static inline void set_order(struct lp_cpu *cpu, bool zero, bool parity, bool carry)
{
	cpu->v = parity;
	if (LP_LIKELY(!parity)) {
		cpu->n = -(int64_t)carry;
		cpu->z = !zero;
		cpu->c = !carry;
	} else {
		cpu->n = 0;
		cpu->z = 1;
		cpu->c = 1;
	}
}

#define COMPARE(insn, a, b)                                                                                         \
	do {                                                                                                        \
		bool zero, parity, carry;                                                                           \
                                                                                                                    \
		__asm__ volatile(insn " %4, %3" : "=@ccz"(zero), "=@ccp"(parity), "=@ccb"(carry) : "x"(a), "x"(b)); \
		set_order(cpu, zero, parity, carry);                                                                \
	} while (0)

#define COMPARISON_AS(name, lane, insn, size, second, signals)                   \
	UOP_FN(name)                                                             \
	{                                                                        \
		if (LP_LIKELY(!cpu->fp_exact)) {                                 \
			COMPARE(insn, load_##lane(cpu, u->rn), second##_##lane); \
			TAIL(u + 1);                                             \
		}                                                                \
		return compare_exact(cpu, u, size, second##_IS_ZERO, signals);   \
	}
#define COMPARISON(row, insn, second, signals)                                    \
	COMPARISON_AS(row##_s, f, insn "s", LP_FP_S, second, signals)             \
	COMPARISON_AS(row##_d, d, insn "d", LP_FP_D, second, signals)             \
	UOP_FN(row##_h)                                                           \
	{                                                                         \
		return compare_exact(cpu, u, LP_FP_H, second##_IS_ZERO, signals); \
	}                                                                         \
	ROW_BY_TYPE(row)
#define REGISTER_f load_f(cpu, u->rm)
#define REGISTER_d load_d(cpu, u->rm)
#define REGISTER_IS_ZERO false
#define ZERO_f _mm_setzero_ps()
#define ZERO_d _mm_setzero_pd()
#define ZERO_IS_ZERO true

COMPARISON(fcmp, "ucomis", REGISTER, false)
COMPARISON(fcmpe, "comis", REGISTER, true)
COMPARISON(fcmp_zero, "ucomis", ZERO, false)
COMPARISON(fcmpe_zero, "comis", ZERO, true)

/* fccmp: compares, or sets the flags to what it says. */
static inline const struct lp_uop *conditionally(struct lp_cpu *cpu, const struct lp_uop *u, unsigned cond,
						 lp_uop_fn *compare)
{
	if (lp_cpu_condition(cpu, cond))
		return compare(cpu, u);
	lp_cpu_set_nzcv(cpu, lp_a64_field_nzcv(u->word) << 28);
	TAIL(u + 1);
}

SEM(fccmp)
{
	return conditionally(cpu, u, lp_a64_field_cond(u->word), fcmp_types[lp_a64_field_ftype(u->word)]);
}

SEM(fccmpe)
{
	return conditionally(cpu, u, lp_a64_field_cond(u->word), fcmpe_types[lp_a64_field_ftype(u->word)]);
}

/* Conditions are evaluated by a branch for each of them, unless they are known. */
#define EACH_CONDITION(_, row, type) FIRST_CONDITIONS(_, row, type) LAST_CONDITIONS(_, row, type)
#define FIRST_CONDITIONS(_, row, type) \
	_(row, type, 0)                \
	_(row, type, 1)                \
	_(row, type, 2)                \
	_(row, type, 3)                \
	_(row, type, 4)                \
	_(row, type, 5)                \
	_(row, type, 6)
#define LAST_CONDITIONS(_, row, type) \
	_(row, type, 7)               \
	_(row, type, 8)               \
	_(row, type, 9)               \
	_(row, type, 10)              \
	_(row, type, 11)              \
	_(row, type, 12)              \
	_(row, type, 13)
#define CONDITIONAL_COMPARISON(row, type, cond)                   \
	UOP_FN(row##_##type##_##cond)                             \
	{                                                         \
		return conditionally(cpu, u, cond, row##_##type); \
	}
#define NAME(row, type, cond) row##_##type##_##cond,
#define BY_CONDITION(define, row, type)   \
	EACH_CONDITION(define, row, type) \
	static lp_uop_fn *const row##_##type##_conditions[16] = {EACH_CONDITION(NAME, row, type)};

BY_CONDITION(CONDITIONAL_COMPARISON, fcmp, s)
BY_CONDITION(CONDITIONAL_COMPARISON, fcmp, d)
BY_CONDITION(CONDITIONAL_COMPARISON, fcmpe, s)
BY_CONDITION(CONDITIONAL_COMPARISON, fcmpe, d)

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

SEM(fcsel)
{
	unsigned from = lp_cpu_condition(cpu, lp_a64_field_cond(u->word)) ? u->rn : u->rm;

	SET_FP(cpu, u->rd, FP(cpu, fp_type(u), from));
	TAIL(u + 1);
}

#define SELECTION(lane, cond)                                                                    \
	store_##lane(cpu, u->rd, load_##lane(cpu, lp_cpu_condition(cpu, cond) ? u->rn : u->rm)); \
	TAIL(u + 1);
#define SELECTION_s(cond) SELECTION(f, cond)
#define SELECTION_d(cond) SELECTION(d, cond)
#define CONDITIONAL_SELECTION(row, type, cond) \
	UOP_FN(row##_##type##_##cond)          \
	{                                      \
		SELECTION_##type(cond)         \
	}

BY_CONDITION(CONDITIONAL_SELECTION, fcsel, s)
BY_CONDITION(CONDITIONAL_SELECTION, fcsel, d)

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

/* ---- by type and condition, at once ---- */

static lp_uop_fn *by_condition(enum lp_a64_op op, uint32_t word)
{
	unsigned type = lp_a64_field_ftype(word), cond = lp_a64_field_cond(word);

	if (type > 1)
		return NULL;
	switch (op) {
	case A64_OP_FCCMP:
		return type ? fcmp_d_conditions[cond] : fcmp_s_conditions[cond];
	case A64_OP_FCCMPE:
		return type ? fcmpe_d_conditions[cond] : fcmpe_s_conditions[cond];
	case A64_OP_FCSEL:
		return type ? fcsel_d_conditions[cond] : fcsel_s_conditions[cond];
	default:
		return NULL;
	}
}

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
		CASE(FCMP, fcmp)
		CASE(FCMPE, fcmpe)
		CASE(FCMP_ZERO, fcmp_zero)
		CASE(FCMPE_ZERO, fcmpe_zero)
		CASE(FMOV_REG, fmov_reg)
		CASE(FABS, fabs)
		CASE(FNEG, fneg)
#undef CASE
	case A64_OP_FMOV_IMM:
		u->imm = lp_fp_expand(fp_type(u), lp_a64_field_imm8(word));
		return fmov_expanded;
	default:
		return by_condition(op, word);
	}
}
