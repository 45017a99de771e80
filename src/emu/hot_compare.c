/*
 * What sets flags and what asks for them.  A comparison that a conditional branch follows is done together with it: the
 * branch is decided by the operands, and the flags are stored for whoever asks later.
 */
#include "emu/fp.h"
#include "emu/hot.h"
#include "isa/a64/limm.h"

/* ---- comparisons ---- */

/* The flags of difference = a - b. */
#define STORE_DIFFERENCE(type, signed_type)                                            \
	do {                                                                           \
		cpu->n = (signed_type)difference;                                      \
		cpu->z = difference;                                                   \
		cpu->c = a >= b;                                                       \
		cpu->v = (type)((a ^ b) & (a ^ difference)) >> (8 * sizeof(type) - 1); \
		RD = difference;                                                       \
	} while (0)
#define STORE_SUM(type, signed_type)                                             \
	do {                                                                     \
		cpu->n = (signed_type)sum;                                       \
		cpu->z = sum;                                                    \
		cpu->c = sum < a;                                                \
		cpu->v = (type)(~(a ^ b) & (a ^ sum)) >> (8 * sizeof(type) - 1); \
		RD = sum;                                                        \
	} while (0)
#define STORE_LOGIC(type, signed_type)      \
	do {                                \
		cpu->n = (signed_type)both; \
		cpu->z = both;              \
		cpu->c = 0;                 \
		cpu->v = 0;                 \
		RD = both;                  \
	} while (0)

/* What the conditions mean of a - b, of a & b. */
#define AFTER_SUBS(CONDITION, ...)                                   \
	CONDITION(eq, a == b, __VA_ARGS__)                           \
	CONDITION(ne, a != b, __VA_ARGS__)                           \
	CONDITION(cs, a >= b, __VA_ARGS__)                           \
	CONDITION(cc, a < b, __VA_ARGS__)                            \
	CONDITION(mi, (signed_type)difference < 0, __VA_ARGS__)      \
	CONDITION(pl, (signed_type)difference >= 0, __VA_ARGS__)     \
	CONDITION(hi, a > b, __VA_ARGS__)                            \
	CONDITION(ls, a <= b, __VA_ARGS__)                           \
	CONDITION(ge, (signed_type)a >= (signed_type)b, __VA_ARGS__) \
	CONDITION(lt, (signed_type)a < (signed_type)b, __VA_ARGS__)  \
	CONDITION(gt, (signed_type)a > (signed_type)b, __VA_ARGS__)  \
	CONDITION(le, (signed_type)a <= (signed_type)b, __VA_ARGS__)
#define AFTER_ANDS(CONDITION, ...)                        \
	CONDITION(eq, both == 0, __VA_ARGS__)             \
	CONDITION(ne, both != 0, __VA_ARGS__)             \
	CONDITION(mi, (signed_type)both < 0, __VA_ARGS__) \
	CONDITION(pl, (signed_type)both >= 0, __VA_ARGS__)

#define SUBS_OPERANDS(type, second) type a = (type)RN, b = (type)(second), difference = a - b
#define ADDS_OPERANDS(type, second) type a = (type)RN, b = (type)(second), sum = a + b
#define ANDS_OPERANDS(type, second) type both = (type)RN & (type)(second)

#define TOGETHER(condition, holds, name, operands, store, type, second) \
	HOT(name##_##condition)                                         \
	{                                                               \
		operands(type, second);                                 \
		store(type, signed_type);                               \
		if (holds)                                              \
			GO(u[1].slot);                                  \
		TAIL(u + 2);                                            \
	}
#define ALONE(name, operands, store, type, second) \
	HOT(name)                                  \
	{                                          \
		operands(type, second);            \
		store(type, signed_type);          \
		ON;                                \
	}
#define BY_CONDITION(condition, holds, name) [LP_COND_##condition] = name##_##condition,

/* With and without a branch, and the table of those with one. */
#define COMPARISON(name, AFTER, operands, store, type, second) \
	ALONE(name, operands, store, type, second)             \
	AFTER(TOGETHER, name, operands, store, type, second)   \
	static lp_uop_fn *const name##_branch[LP_NR_CONDITIONS] = {AFTER(BY_CONDITION, name)};

#define NUMBERED(name, holds) LP_COND_##name,
enum { LP_CONDITIONS(NUMBERED) };

#define signed_type int32_t
COMPARISON(subs_imm_w, AFTER_SUBS, SUBS_OPERANDS, STORE_DIFFERENCE, uint32_t, u->imm)
COMPARISON(subs_reg_w, AFTER_SUBS, SUBS_OPERANDS, STORE_DIFFERENCE, uint32_t, RM)
COMPARISON(ands_imm_w, AFTER_ANDS, ANDS_OPERANDS, STORE_LOGIC, uint32_t, u->imm)
COMPARISON(ands_reg_w, AFTER_ANDS, ANDS_OPERANDS, STORE_LOGIC, uint32_t, RM)
ALONE(adds_imm_w, ADDS_OPERANDS, STORE_SUM, uint32_t, u->imm)
ALONE(adds_reg_w, ADDS_OPERANDS, STORE_SUM, uint32_t, RM)
#undef signed_type
#define signed_type int64_t
COMPARISON(subs_imm_x, AFTER_SUBS, SUBS_OPERANDS, STORE_DIFFERENCE, uint64_t, u->imm)
COMPARISON(subs_reg_x, AFTER_SUBS, SUBS_OPERANDS, STORE_DIFFERENCE, uint64_t, RM)
COMPARISON(ands_imm_x, AFTER_ANDS, ANDS_OPERANDS, STORE_LOGIC, uint64_t, u->imm)
COMPARISON(ands_reg_x, AFTER_ANDS, ANDS_OPERANDS, STORE_LOGIC, uint64_t, RM)
ALONE(adds_imm_x, ADDS_OPERANDS, STORE_SUM, uint64_t, u->imm)
ALONE(adds_reg_x, ADDS_OPERANDS, STORE_SUM, uint64_t, RM)
#undef signed_type

static lp_uop_fn *const subs_imm_run[] = {subs_imm_w, subs_imm_x};
static lp_uop_fn *const subs_reg_run[] = {subs_reg_w, subs_reg_x};
static lp_uop_fn *const adds_imm_run[] = {adds_imm_w, adds_imm_x};
static lp_uop_fn *const adds_reg_run[] = {adds_reg_w, adds_reg_x};
static lp_uop_fn *const ands_imm_run[] = {ands_imm_w, ands_imm_x};
static lp_uop_fn *const ands_reg_run[] = {ands_reg_w, ands_reg_x};

static const struct {
	lp_uop_fn *alone;
	lp_uop_fn *const *branch;
} comparisons[] = {
	{subs_imm_w, subs_imm_w_branch}, {subs_imm_x, subs_imm_x_branch}, {subs_reg_w, subs_reg_w_branch},
	{subs_reg_x, subs_reg_x_branch}, {ands_imm_w, ands_imm_w_branch}, {ands_imm_x, ands_imm_x_branch},
	{ands_reg_w, ands_reg_w_branch}, {ands_reg_x, ands_reg_x_branch},
};

void lp_hot_pair(struct lp_uop *u)
{
	unsigned condition = lp_a64_field_condb(u[1].word);
	lp_uop_fn *fp;

	if ((u[1].word & 0xff000010) != 0x54000000 /* b.cond */ || condition >= LP_NR_CONDITIONS)
		return;
	fp = lp_fp_with_branch(u->run, condition);
	if (fp)
		u->run = fp;
	for (size_t i = 0; i < sizeof comparisons / sizeof comparisons[0]; i++)
		if (u->run == comparisons[i].alone && comparisons[i].branch[condition])
			u->run = comparisons[i].branch[condition];
}

static int sum_imm(struct lp_uop *u)
{
	u->imm = (uint64_t)FIELD(imm12) << (FIELD(sh) ? 12 : 0);
	u->rd = lp_writes(u->rd);
	return lp_is64(u);
}

static int ands_imm(struct lp_uop *u)
{
	lp_a64_limm_decode(u->word, &u->imm);
	u->rd = lp_writes(u->rd);
	u->rn = lp_reads(u->rn);
	return lp_is64(u);
}

static int registers(struct lp_uop *u)
{
	if (FIELD(imm6))
		return LP_HOT_NONE;
	u->rd = lp_writes(u->rd);
	u->rn = lp_reads(u->rn);
	u->rm = lp_reads(u->rm);
	return lp_is64(u);
}

/* ---- branches on flags ---- */

#define BRANCH(name, holds)          \
	HOT(b_##name)                \
	{                            \
		if (holds)           \
			GO(u->slot); \
		ON;                  \
	}
LP_CONDITIONS(BRANCH)

#define LISTED(name, holds) b_##name,
static lp_uop_fn *const b_cond_run[] = {LP_CONDITIONS(LISTED)};
#undef LISTED

static int b_cond(struct lp_uop *u)
{
	return FIELD(condb) < LP_NR_CONDITIONS ? (int)FIELD(condb) : LP_HOT_NONE;
}

/* ---- selections: by width and condition ---- */

#define SELECTION(name, holds)              \
	SELECT(csel_##name, holds, RM)      \
	SELECT(csinc_##name, holds, RM + 1) \
	SELECT(csinv_##name, holds, ~RM)    \
	SELECT(csneg_##name, holds, -RM)
#define SELECT(name, holds, otherwise)            \
	HOT(name##_w)                             \
	{                                         \
		uint64_t n = RN, m = otherwise;   \
		RD = (uint32_t)((holds) ? n : m); \
		ON;                               \
	}                                         \
	HOT(name##_x)                             \
	{                                         \
		uint64_t n = RN, m = otherwise;   \
		RD = (holds) ? n : m;             \
		ON;                               \
	}
LP_CONDITIONS(SELECTION)

#define LISTED(name, holds) csel_##name##_w, csel_##name##_x,
static lp_uop_fn *const csel_run[] = {LP_CONDITIONS(LISTED)};
#undef LISTED
#define LISTED(name, holds) csinc_##name##_w, csinc_##name##_x,
static lp_uop_fn *const csinc_run[] = {LP_CONDITIONS(LISTED)};
#undef LISTED
#define LISTED(name, holds) csinv_##name##_w, csinv_##name##_x,
static lp_uop_fn *const csinv_run[] = {LP_CONDITIONS(LISTED)};
#undef LISTED
#define LISTED(name, holds) csneg_##name##_w, csneg_##name##_x,
static lp_uop_fn *const csneg_run[] = {LP_CONDITIONS(LISTED)};
#undef LISTED

static int selection(struct lp_uop *u)
{
	if (FIELD(cond) >= LP_NR_CONDITIONS)
		return LP_HOT_NONE;
	u->rd = lp_writes(u->rd);
	u->rn = lp_reads(u->rn);
	u->rm = lp_reads(u->rm);
	return (int)(2 * FIELD(cond)) + lp_is64(u);
}

/* ---- comparisons on condition: rd holds the flags otherwise ---- */

#define COMPARISON_IF(name, holds)                                        \
	COMPARE_IF(ccmp_imm_##name##_w, holds, uint32_t, int32_t, u->imm) \
	COMPARE_IF(ccmp_imm_##name##_x, holds, uint64_t, int64_t, u->imm) \
	COMPARE_IF(ccmp_reg_##name##_w, holds, uint32_t, int32_t, RM)     \
	COMPARE_IF(ccmp_reg_##name##_x, holds, uint64_t, int64_t, RM)
#define COMPARE_IF(name, holds, type, signed_type, second)                                     \
	HOT(name)                                                                              \
	{                                                                                      \
		type a = (type)RN, b = (type)(second), difference = a - b;                     \
		if (holds) {                                                                   \
			cpu->n = (signed_type)difference;                                      \
			cpu->z = difference;                                                   \
			cpu->c = a >= b;                                                       \
			cpu->v = (type)((a ^ b) & (a ^ difference)) >> (8 * sizeof(type) - 1); \
		} else {                                                                       \
			lp_cpu_set_nzcv(cpu, (uint32_t)u->rd << 28);                           \
		}                                                                              \
		ON;                                                                            \
	}
LP_CONDITIONS(COMPARISON_IF)

#define LISTED(name, holds) ccmp_imm_##name##_w, ccmp_imm_##name##_x,
static lp_uop_fn *const ccmp_imm_run[] = {LP_CONDITIONS(LISTED)};
#undef LISTED
#define LISTED(name, holds) ccmp_reg_##name##_w, ccmp_reg_##name##_x,
static lp_uop_fn *const ccmp_reg_run[] = {LP_CONDITIONS(LISTED)};
#undef LISTED

static int ccmp_reg(struct lp_uop *u)
{
	if (FIELD(cond) >= LP_NR_CONDITIONS)
		return LP_HOT_NONE;
	u->rd = FIELD(nzcv);
	u->rn = lp_reads(u->rn);
	u->rm = lp_reads(u->rm);
	return (int)(2 * FIELD(cond)) + lp_is64(u);
}

static int ccmp_imm(struct lp_uop *u)
{
	int index = ccmp_reg(u);

	if (index != LP_HOT_NONE)
		u->imm = FIELD(imm5);
	return index;
}

/* ---- which ---- */

const struct lp_hot lp_hot_compare[] = {
	{A64_OP_ADDS_IMM, sum_imm, adds_imm_run},   {A64_OP_SUBS_IMM, sum_imm, subs_imm_run},
	{A64_OP_ANDS_IMM, ands_imm, ands_imm_run},  {A64_OP_ADDS_REG, registers, adds_reg_run},
	{A64_OP_SUBS_REG, registers, subs_reg_run}, {A64_OP_ANDS_REG, registers, ands_reg_run},
	{A64_OP_B_COND, b_cond, b_cond_run},	    {A64_OP_CSEL, selection, csel_run},
	{A64_OP_CSINC, selection, csinc_run},	    {A64_OP_CSINV, selection, csinv_run},
	{A64_OP_CSNEG, selection, csneg_run},	    {A64_OP_CCMP_REG, ccmp_reg, ccmp_reg_run},
	{A64_OP_CCMP_IMM, ccmp_imm, ccmp_imm_run},  {0},
};
