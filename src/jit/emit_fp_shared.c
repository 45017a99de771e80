/* What the emit_fp*.c share: looks at results, and roundings. */
#include "jit/emit_fp.h"

/* ---- constants ---- */

static const uint64_t numbers[][2] = {
	[LP_FP_ABS] = {0x7fffffff, 0x7fffffffffffffff},	  [LP_FP_SIGN] = {0x80000000, 0x8000000000000000},
	[LP_FP_LEAST] = {0x00800000, 0x0010000000000000}, [LP_FP_INTEGRAL] = {0x4b000000, 0x4330000000000000},
	[LP_FP_HALF] = {0x3f000000, 0x3fe0000000000000},  [LP_FP_ONE] = {0x3f800000, 0x3ff0000000000000},
};

struct lp_x86_rm lp_fp_constant(struct lp_tr *t, enum lp_fp_number number, enum lp_fp_form form)
{
	uint64_t value = numbers[number][lp_fp_is_double(form)];

	if (!lp_fp_is_double(form))
		value |= value << 32;
	return lp_constant(t, value, value);
}

struct lp_x86_rm lp_fp_constant_alone(struct lp_tr *t, enum lp_fp_number number, enum lp_fp_form form)
{
	return lp_constant(t, numbers[number][lp_fp_is_double(form)], 0);
}

/* ---- results ---- */

struct lp_x86_fixup lp_fp_if_sign(struct lp_tr *t, enum lp_fp_form form, unsigned r)
{
	struct lp_x86 *x = &t->x;

	lp_x86_vex_rm(x, lp_fp_is_double(form) ? LP_VTESTPD : LP_VTESTPS, 0, r, lp_rm_reg(r));
	return lp_x86_jcc_forward(x, LP_CC_NE);
}

struct lp_x86_fixup lp_fp_if_nan(struct lp_tr *t, enum lp_fp_form form, unsigned r)
{
	bool dbl = lp_fp_is_double(form);
	struct lp_x86 *x = &t->x;

	if (lp_fp_is_packed(form)) {
		lp_x86_vex_imm(x, dbl ? LP_VCMPPD : LP_VCMPPS, 0, LP_FP_TEST, r, lp_rm_reg(r), LP_VCMP_UNORD);
		return lp_fp_if_sign(t, form, LP_FP_TEST);
	}
	lp_x86_vex_rm(x, dbl ? LP_VUCOMISD : LP_VUCOMISS, 0, r, lp_rm_reg(r));
	return lp_x86_jcc_forward(x, LP_CC_P);
}

/* Where a number that is not negative is the least normal one, or a NaN. */
static struct lp_x86_fixup if_least(struct lp_tr *t, enum lp_fp_form form, unsigned r)
{
	struct lp_x86_rm least = lp_fp_constant(t, LP_FP_LEAST, form);
	bool dbl = lp_fp_is_double(form);
	struct lp_x86 *x = &t->x;

	if (lp_fp_is_packed(form)) {
		lp_x86_vex_imm(x, dbl ? LP_VCMPPD : LP_VCMPPS, 0, LP_FP_TEST, r, least, LP_VCMP_EQ_OR_UNORD);
		return lp_fp_if_sign(t, form, LP_FP_TEST);
	}
	/* ZF: equal, or unordered */
	lp_x86_vex_rm(x, dbl ? LP_VUCOMISD : LP_VUCOMISS, 0, r, least);
	return lp_x86_jcc_forward(x, LP_CC_E);
}

struct lp_x86_fixup lp_fp_if_doubt(struct lp_tr *t, enum lp_fp_form form, unsigned r)
{
	lp_x86_vex(&t->x, LP_VANDPS, 0, LP_FP_TEST, r, lp_fp_constant(t, LP_FP_ABS, form));
	return if_least(t, form, LP_FP_TEST);
}

struct lp_x86_fixup lp_fp_if_doubt_of_square(struct lp_tr *t, enum lp_fp_form form, unsigned r)
{
	return if_least(t, form, r);
}

void lp_fp_clear_above(struct lp_tr *t, enum lp_fp_form form, unsigned to, unsigned from)
{
	enum { ALL_BUT_THE_FIRST = 0xe };

	if (lp_fp_is_double(form))
		lp_x86_vex_rm(&t->x, LP_VMOVQ, 0, to, lp_rm_reg(from));
	else
		lp_x86_vex_imm(&t->x, LP_VINSERTPS, 0, to, from, lp_rm_reg(from), ALL_BUT_THE_FIRST);
}

void lp_fp_write(struct lp_tr *t, enum lp_fp_form form, unsigned v, unsigned r, bool clean)
{
	if (lp_fp_is_packed(form)) {
		lp_v_write(t, v, r);
		return;
	}
	if (!clean) {
		lp_fp_clear_above(t, form, lp_v_dest(t, v), r);
		r = lp_v_dest(t, v);
	}
	lp_v_write_bits(t, v, r, lp_fp_bits(form));
}

void lp_fp_end2(struct lp_tr *t, struct lp_x86_fixup hard, struct lp_x86_fixup hard2)
{
	struct lp_cold *c = lp_cold_add(t, lp_cold_fallback);

	c->from[0] = hard;
	c->from[1] = hard2;
	lp_cold_back(t, c);
}

void lp_fp_end(struct lp_tr *t, struct lp_x86_fixup hard)
{
	lp_fp_end2(t, hard, (struct lp_x86_fixup){0});
}

uint64_t lp_fp_immediate(enum lp_fp_form form, unsigned imm8)
{
	uint64_t sign = imm8 >> 7, small = imm8 >> 6 & 1, rest = imm8 & 0x3f;

	if (lp_fp_is_double(form))
		return sign << 63 | (UINT64_C(0x4000000000000000) - (small << 54)) | rest << 48;
	return sign << 31 | (UINT64_C(0x40000000) - (small << 25)) | rest << 19;
}

/* ---- rounding ---- */

void lp_fp_round(struct lp_tr *t, enum lp_fp_form form, unsigned to, unsigned from, unsigned how)
{
	static const enum lp_x86_vop round[] = LP_FP_FORMS(LP_VROUND);

	if (lp_fp_is_packed(form))
		lp_x86_vex_rm_imm(&t->x, round[form], 0, to, lp_rm_reg(from), how);
	else
		lp_x86_vex_imm(&t->x, round[form], 0, to, from, lp_rm_reg(from), how);
}

/* Jumps where a magnitude is not below what all numbers above are integers from: infinite, or a NaN too. */
static struct lp_x86_fixup if_integral(struct lp_tr *t, enum lp_fp_form form, unsigned r)
{
	struct lp_x86_rm limit = lp_fp_constant(t, LP_FP_INTEGRAL, form);
	bool dbl = lp_fp_is_double(form);
	struct lp_x86 *x = &t->x;

	lp_x86_vex(x, LP_VANDPS, 0, LP_FP_TEST, r, lp_fp_constant(t, LP_FP_ABS, form));
	if (lp_fp_is_packed(form)) {
		lp_x86_vex_imm(x, dbl ? LP_VCMPPD : LP_VCMPPS, 0, LP_FP_TEST, LP_FP_TEST, limit, LP_VCMP_NOT_LT_QUIET);
		return lp_fp_if_sign(t, form, LP_FP_TEST);
	}
	lp_x86_vex_rm(x, LP_VMOVAPS, 0, LP_FP_S1, limit);
	lp_x86_vex_rm(x, dbl ? LP_VUCOMISD : LP_VUCOMISS, 0, LP_FP_S1, lp_rm_reg(LP_FP_TEST));
	return lp_x86_jcc_forward(x, LP_CC_BE);
}

/* Below that limit all but the truncation is exact, and that is asked to keep quiet. */
struct lp_x86_fixup lp_fp_round_away(struct lp_tr *t, enum lp_fp_form form, unsigned to, unsigned from)
{
	static const enum lp_x86_vop sub[] = LP_FP_FORMS(LP_VSUB), add[] = LP_FP_FORMS(LP_VADD),
				     compare[] = LP_FP_FORMS(LP_VCMP);
	struct lp_x86_fixup hard = if_integral(t, form, from);
	struct lp_x86 *x = &t->x;

	lp_fp_round(t, form, to, from, LP_ROUND_ZERO | LP_ROUND_EXACT);
	lp_x86_vex(x, sub[form], 0, LP_FP_S1, from, lp_rm_reg(to));
	lp_x86_vex(x, LP_VANDPS, 0, LP_FP_S1, LP_FP_S1, lp_fp_constant(t, LP_FP_ABS, form));
	lp_x86_vex_imm(x, compare[form], 0, LP_FP_S1, LP_FP_S1, lp_fp_constant(t, LP_FP_HALF, form), LP_VCMP_GE_QUIET);
	lp_x86_vex(x, LP_VANDPS, 0, LP_FP_S1, LP_FP_S1, lp_fp_constant(t, LP_FP_ONE, form));
	lp_x86_vex(x, LP_VANDPS, 0, LP_FP_TEST, from, lp_fp_constant(t, LP_FP_SIGN, form));
	lp_x86_vex(x, LP_VORPS, 0, LP_FP_S1, LP_FP_S1, lp_rm_reg(LP_FP_TEST));
	lp_x86_vex(x, add[form], 0, to, to, lp_rm_reg(LP_FP_S1));
	return hard;
}
