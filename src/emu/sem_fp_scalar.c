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
#define TRY(type, expression, doubtful, exact)                       \
	do {                                                         \
		if (LP_LIKELY(!cpu->fp_exact)) {                     \
			type result = expression;                    \
                                                                     \
			if (LP_LIKELY(!doubtful(result))) {          \
				SET_FP(cpu, u->rd, FP_BITS(result)); \
				TAIL(u + 1);                         \
			}                                            \
		}                                                    \
		return exact;                                        \
	} while (0)
#define FP_BITS(value) _Generic(value, float : bits_f, double : bits_d)(value)
#define IS_NAN(value) __builtin_isunordered(value, value)
#define IS_NAN_OR_TINY(value) \
	(IS_NAN(value) || _Generic(value, float : is_least_normal_f, double : is_least_normal_d)(value))
#define D(r) cpu->vr[r].g[0]
#define S(r) cpu->vr[r].f[0]

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

#define BINARY(row, host, doubtful, exact)                                                                  \
	UOP_FN(row##_s)                                                                                     \
	{                                                                                                   \
		TRY(float, host_##host##_f(S(u->rn), S(u->rm)), doubtful, exact2(cpu, u, LP_FP_S, exact));  \
	}                                                                                                   \
	UOP_FN(row##_d)                                                                                     \
	{                                                                                                   \
		TRY(double, host_##host##_d(D(u->rn), D(u->rm)), doubtful, exact2(cpu, u, LP_FP_D, exact)); \
	}                                                                                                   \
	UOP_FN(row##_h)                                                                                     \
	{                                                                                                   \
		return exact2(cpu, u, LP_FP_H, exact);                                                      \
	}                                                                                                   \
	ROW_BY_TYPE(row)

BINARY(fadd, add, IS_NAN, lp_fp_add)
BINARY(fsub, sub, IS_NAN, lp_fp_sub)
BINARY(fmul, mul, IS_NAN_OR_TINY, lp_fp_mul)
BINARY(fdiv, div, IS_NAN_OR_TINY, lp_fp_div)

static float host_nmul_f(float a, float b)
{
	return -host_mul_f(a, b);
}

static double host_nmul_d(double a, double b)
{
	return -host_mul_d(a, b);
}

/* The product's NaN is negated too. */
static uint64_t negated_mul(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b)
{
	return lp_fp_neg(size, lp_fp_mul(cpu, size, a, b));
}

BINARY(fnmul, nmul, IS_NAN_OR_TINY, negated_mul)

UOP_FN(fsqrt_s)
{
	TRY(float, host_sqrt_f(S(u->rn)), IS_NAN, exact1(cpu, u, LP_FP_S, lp_fp_sqrt));
}
UOP_FN(fsqrt_d)
{
	TRY(double, host_sqrt_d(D(u->rn)), IS_NAN, exact1(cpu, u, LP_FP_D, lp_fp_sqrt));
}
UOP_FN(fsqrt_h)
{
	return exact1(cpu, u, LP_FP_H, lp_fp_sqrt);
}
ROW_BY_TYPE(fsqrt)

/* What is negated is the operand: its NaN too. */
static uint64_t msub(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t addend, uint64_t a, uint64_t b)
{
	return lp_fp_muladd(cpu, size, addend, lp_fp_neg(size, a), b);
}

static uint64_t nmadd(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t addend, uint64_t a, uint64_t b)
{
	return lp_fp_muladd(cpu, size, lp_fp_neg(size, addend), lp_fp_neg(size, a), b);
}

static uint64_t nmsub(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t addend, uint64_t a, uint64_t b)
{
	return lp_fp_muladd(cpu, size, lp_fp_neg(size, addend), a, b);
}

#define TERNARY(row, host, exact)                                                          \
	UOP_FN(row##_s)                                                                    \
	{                                                                                  \
		TRY(float, host_##host##_f(S(u->ra), S(u->rn), S(u->rm)), IS_NAN_OR_TINY,  \
		    exact3(cpu, u, LP_FP_S, exact));                                       \
	}                                                                                  \
	UOP_FN(row##_d)                                                                    \
	{                                                                                  \
		TRY(double, host_##host##_d(D(u->ra), D(u->rn), D(u->rm)), IS_NAN_OR_TINY, \
		    exact3(cpu, u, LP_FP_D, exact));                                       \
	}                                                                                  \
	UOP_FN(row##_h)                                                                    \
	{                                                                                  \
		return exact3(cpu, u, LP_FP_H, exact);                                     \
	}                                                                                  \
	ROW_BY_TYPE(row)

TERNARY(fmadd, madd, lp_fp_muladd)
TERNARY(fmsub, msub, msub)
TERNARY(fnmadd, nmadd, nmadd)
TERNARY(fnmsub, nmsub, nmsub)

/* ---- greatest and least ---- */

/* Equal ones may be zeros of two signs, and unordered ones are NaNs: the host cannot tell. */
#define CHOICE(row, lane, insn, size, exact, first, second)                                     \
	UOP_FN(row)                                                                             \
	{                                                                                       \
		bool same, less;                                                                \
                                                                                                \
		if (LP_LIKELY(!cpu->fp_exact)) {                                                \
			__asm__ volatile(insn " %3, %2"                                         \
					 : "=@ccz"(same), "=@ccb"(less)                         \
					 : "x"(lane(u->rn)), "x"(lane(u->rm)));                 \
			if (LP_LIKELY(!same)) {                                                 \
				SET_FP(cpu, u->rd, FP(cpu, size, less ? u->second : u->first)); \
				TAIL(u + 1);                                                    \
			}                                                                       \
		}                                                                               \
		return exact2(cpu, u, size, exact);                                             \
	}
#define CHOICES(row, exact, first, second)                           \
	CHOICE(row##_s, S, "ucomiss", LP_FP_S, exact, first, second) \
	CHOICE(row##_d, D, "ucomisd", LP_FP_D, exact, first, second) \
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

static LP_RARE void compare_exact(struct lp_cpu *cpu, enum lp_fp_size size, uint64_t a, uint64_t b, bool signals)
{
	static const uint32_t flags[] = {
		[LP_FP_LESS] = 8U << 28,
		[LP_FP_EQUAL] = 6U << 28,
		[LP_FP_GREATER] = 2U << 28,
		[LP_FP_UNORDERED] = 3U << 28,
	};

	lp_cpu_set_nzcv(cpu, flags[lp_fp_compare(cpu, size, a, b, signals)]);
}

/* As ucomis and comis say it: zero, parity and carry are all set when unordered. */
static inline void set_order(struct lp_cpu *cpu, bool zero, bool parity, bool carry)
{
	cpu->n = -(int64_t)(carry && !parity);
	cpu->z = !zero || parity;
	cpu->c = !carry || parity;
	cpu->v = parity;
}

#define COMPARE(insn, a, b)                                                                                         \
	do {                                                                                                        \
		bool zero, parity, carry;                                                                           \
                                                                                                                    \
		__asm__ volatile(insn " %4, %3" : "=@ccz"(zero), "=@ccp"(parity), "=@ccb"(carry) : "x"(a), "x"(b)); \
		set_order(cpu, zero, parity, carry);                                                                \
	} while (0)

static inline void compare_s(struct lp_cpu *cpu, unsigned a, uint32_t b, bool signals)
{
	float fb = (union lp_vreg){.s = {b}}.f[0];

	if (cpu->fp_exact)
		compare_exact(cpu, LP_FP_S, cpu->vr[a].s[0], b, signals);
	else if (signals)
		COMPARE("comiss", S(a), fb);
	else
		COMPARE("ucomiss", S(a), fb);
}

static inline void compare_d(struct lp_cpu *cpu, unsigned a, uint64_t b, bool signals)
{
	double gb = (union lp_vreg){.d = {b}}.g[0];

	if (cpu->fp_exact)
		compare_exact(cpu, LP_FP_D, cpu->vr[a].d[0], b, signals);
	else if (signals)
		COMPARE("comisd", D(a), gb);
	else
		COMPARE("ucomisd", D(a), gb);
}

static inline void compare_h(struct lp_cpu *cpu, unsigned a, uint16_t b, bool signals)
{
	compare_exact(cpu, LP_FP_H, cpu->vr[a].h[0], b, signals);
}

#define COMPARISON(row, second, signals, when, otherwise)          \
	UOP_FN(row##_s)                                            \
	{                                                          \
		if (when)                                          \
			compare_s(cpu, u->rn, second(s), signals); \
		else                                               \
			otherwise;                                 \
		TAIL(u + 1);                                       \
	}                                                          \
	UOP_FN(row##_d)                                            \
	{                                                          \
		if (when)                                          \
			compare_d(cpu, u->rn, second(d), signals); \
		else                                               \
			otherwise;                                 \
		TAIL(u + 1);                                       \
	}                                                          \
	UOP_FN(row##_h)                                            \
	{                                                          \
		if (when)                                          \
			compare_h(cpu, u->rn, second(h), signals); \
		else                                               \
			otherwise;                                 \
		TAIL(u + 1);                                       \
	}                                                          \
	ROW_BY_TYPE(row)
#define REGISTER(lane) cpu->vr[u->rm].lane[0]
#define ZERO(lane) 0
#define HOLDS lp_cpu_condition(cpu, lp_a64_field_cond(u->word))
#define FLAGS lp_cpu_set_nzcv(cpu, lp_a64_field_nzcv(u->word) << 28)

COMPARISON(fcmp, REGISTER, false, true, (void)0)
COMPARISON(fcmpe, REGISTER, true, true, (void)0)
COMPARISON(fcmp_zero, ZERO, false, true, (void)0)
COMPARISON(fcmpe_zero, ZERO, true, true, (void)0)
COMPARISON(fccmp, REGISTER, false, HOLDS, FLAGS)
COMPARISON(fccmpe, REGISTER, true, HOLDS, FLAGS)

/* ---- moves: no arithmetic, no flags ---- */

#define MOVE(row, value)                               \
	UOP_FN(row##_s)                                \
	{                                              \
		SET_FP(cpu, u->rd, value(LP_FP_S, s)); \
		TAIL(u + 1);                           \
	}                                              \
	UOP_FN(row##_d)                                \
	{                                              \
		SET_FP(cpu, u->rd, value(LP_FP_D, d)); \
		TAIL(u + 1);                           \
	}                                              \
	UOP_FN(row##_h)                                \
	{                                              \
		SET_FP(cpu, u->rd, value(LP_FP_H, h)); \
		TAIL(u + 1);                           \
	}                                              \
	ROW_BY_TYPE(row)
#define SAME(size, lane) cpu->vr[u->rn].lane[0]
#define ABSOLUTE(size, lane) lp_fp_abs(size, cpu->vr[u->rn].lane[0])
#define NEGATED(size, lane) lp_fp_neg(size, cpu->vr[u->rn].lane[0])
#define SELECTED(size, lane) cpu->vr[HOLDS ? u->rn : u->rm].lane[0]
#define EXPANDED(size, lane) lp_fp_expand(size, lp_a64_field_imm8(u->word))

MOVE(fmov_reg, SAME)
MOVE(fabs, ABSOLUTE)
MOVE(fneg, NEGATED)
MOVE(fcsel, SELECTED)
MOVE(fmov_imm, EXPANDED)

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

lp_uop_fn *lp_fp_scalar_lower(enum lp_a64_op op, uint32_t word)
{
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
		CASE(FCCMP, fccmp)
		CASE(FCCMPE, fccmpe)
		CASE(FMOV_REG, fmov_reg)
		CASE(FABS, fabs)
		CASE(FNEG, fneg)
		CASE(FCSEL, fcsel)
		CASE(FMOV_IMM, fmov_imm)
#undef CASE
	default:
		return NULL;
	}
}
