/* Scalar floating point: comparisons, what a branch makes of them, and what is chosen by a condition. */
#include "emu/hot.h"
#include "emu/sem_fp.h"

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

/* ---- choice ---- */

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

/* ---- comparisons that a branch follows ---- */

/* What the conditions mean of the host's flags. */
#define AFTER_COMPARISON(CONDITION, ...)                       \
	CONDITION(eq, zero && !parity, __VA_ARGS__)            \
	CONDITION(ne, !zero || parity, __VA_ARGS__)            \
	CONDITION(cs, !carry || parity, __VA_ARGS__)           \
	CONDITION(cc, carry && !parity, __VA_ARGS__)           \
	CONDITION(mi, carry && !parity, __VA_ARGS__)           \
	CONDITION(pl, !carry || parity, __VA_ARGS__)           \
	CONDITION(vs, parity, __VA_ARGS__)                     \
	CONDITION(vc, !parity, __VA_ARGS__)                    \
	CONDITION(hi, !(carry || zero) || parity, __VA_ARGS__) \
	CONDITION(ls, (carry || zero) && !parity, __VA_ARGS__) \
	CONDITION(ge, !carry, __VA_ARGS__)                     \
	CONDITION(lt, carry, __VA_ARGS__)                      \
	CONDITION(gt, !(carry || zero), __VA_ARGS__)           \
	CONDITION(le, carry || zero, __VA_ARGS__)

/* Where the host is not asked, the branch comes on its own. */
#define TOGETHER(condition, holds, name, insn, first, second)                     \
	UOP_FN(name##_b_##condition)                                              \
	{                                                                         \
		bool zero, parity, carry;                                         \
                                                                                  \
		if (__builtin_expect(cpu->fp_exact, 0))                           \
			return name(cpu, u);                                      \
		__asm__ volatile(insn " %4, %3"                                   \
				 : "=@ccz"(zero), "=@ccp"(parity), "=@ccb"(carry) \
				 : "x"(first), "x"(second));                      \
		set_order(cpu, zero, parity, carry);                              \
		if (holds)                                                        \
			GO(u[1].slot);                                            \
		TAIL(u + 2);                                                      \
	}
#define LISTED(condition, holds, name) name##_b_##condition,
#define WITH_BRANCH(name, insn, first, second)                \
	AFTER_COMPARISON(TOGETHER, name, insn, first, second) \
	static lp_uop_fn *const name##_branch[LP_NR_CONDITIONS] = {AFTER_COMPARISON(LISTED, name)};
#define WITH_BRANCH_S(name, insn, second) WITH_BRANCH(name, insn, load_f(cpu, u->rn), second)
#define WITH_BRANCH_D(name, insn, second) WITH_BRANCH(name, insn, load_d(cpu, u->rn), second)

WITH_BRANCH_S(fcmp_s, "ucomiss", REGISTER_f)
WITH_BRANCH_D(fcmp_d, "ucomisd", REGISTER_d)
WITH_BRANCH_S(fcmpe_s, "comiss", REGISTER_f)
WITH_BRANCH_D(fcmpe_d, "comisd", REGISTER_d)
WITH_BRANCH_S(fcmp_zero_s, "ucomiss", ZERO_f)
WITH_BRANCH_D(fcmp_zero_d, "ucomisd", ZERO_d)
WITH_BRANCH_S(fcmpe_zero_s, "comiss", ZERO_f)
WITH_BRANCH_D(fcmpe_zero_d, "comisd", ZERO_d)

static const struct {
	lp_uop_fn *alone;
	lp_uop_fn *const *branch;
} comparisons[] = {
	{fcmp_s, fcmp_s_branch},
	{fcmp_d, fcmp_d_branch},
	{fcmpe_s, fcmpe_s_branch},
	{fcmpe_d, fcmpe_d_branch},
	{fcmp_zero_s, fcmp_zero_s_branch},
	{fcmp_zero_d, fcmp_zero_d_branch},
	{fcmpe_zero_s, fcmpe_zero_s_branch},
	{fcmpe_zero_d, fcmpe_zero_d_branch},
};

lp_uop_fn *lp_fp_with_branch(lp_uop_fn *compare, unsigned condition)
{
	for (size_t i = 0; i < sizeof comparisons / sizeof comparisons[0]; i++)
		if (compare == comparisons[i].alone)
			return comparisons[i].branch[condition];
	return NULL;
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

lp_uop_fn *lp_fp_compare_lower(enum lp_a64_op op, struct lp_uop *u)
{
	unsigned type = lp_a64_field_ftype(u->word);

	switch (op) {
	case A64_OP_FCMP:
		return fcmp_types[type];
	case A64_OP_FCMPE:
		return fcmpe_types[type];
	case A64_OP_FCMP_ZERO:
		return fcmp_zero_types[type];
	case A64_OP_FCMPE_ZERO:
		return fcmpe_zero_types[type];
	default:
		return by_condition(op, u->word);
	}
}
