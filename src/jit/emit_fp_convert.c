/* Scalar floating point to and from integers, rounding to integers, and between precisions. */
#include "jit/emit_fp.h"

static bool form_of(uint32_t word, enum lp_fp_form *form)
{
	*form = F(ftype) ? LP_FP_SD : LP_FP_SS;
	return F(ftype) < 2;
}

/* ---- to integers ---- */

/* reg = r truncated; jumps where that is no number of so many bits. */
static struct lp_x86_fixup to_signed(struct lp_tr *t, enum lp_fp_form form, unsigned w, unsigned reg, unsigned r)
{
	static const enum lp_x86_vop ops[][2] = {{LP_VCVTTSS2SI_32, LP_VCVTTSS2SI_64},
						 {LP_VCVTTSD2SI_32, LP_VCVTTSD2SI_64}};

	lp_x86_vex_rm(&t->x, ops[form == LP_FP_SD][w], 0, reg, lp_rm_reg(r));
	/* the host's answer is the least integer, with Invalid */
	lp_x86_alu_imm(&t->x, LP_ALU_CMP, w, lp_rm_reg(reg), 1);
	return lp_x86_jcc_forward(&t->x, LP_CC_O);
}

/* Without AVX-512 the host has none: by the bits, of which those of negative numbers and NaNs are above all limits.
 * Uses rax. */
static struct lp_x86_fixup to_unsigned_by_bits(struct lp_tr *t, enum lp_fp_form form, unsigned w, unsigned reg,
					       unsigned r)
{
	struct lp_x86_fixup hard;
	struct lp_x86 *x = &t->x;

	if (form == LP_FP_SD) {
		lp_x86_vex_to(x, LP_VMOVQ_64_TO, 0, lp_rm_reg(LP_RAX), r);
		lp_x86_shift_imm(x, LP_SHIFT_SHR, 1, lp_rm_reg(LP_RAX), 52);
		lp_x86_alu_imm(x, LP_ALU_CMP, 0, lp_rm_reg(LP_RAX), w ? 1023 + 63 : 1023 + 32);
	} else {
		lp_x86_vex_to(x, LP_VMOVD_TO, 0, lp_rm_reg(LP_RAX), r);
		lp_x86_shift_imm(x, LP_SHIFT_SHR, 0, lp_rm_reg(LP_RAX), 23);
		lp_x86_alu_imm(x, LP_ALU_CMP, 0, lp_rm_reg(LP_RAX), w ? 127 + 63 : 127 + 32);
	}
	hard = lp_x86_jcc_forward(x, LP_CC_AE);
	lp_x86_vex_rm(x, form == LP_FP_SD ? LP_VCVTTSD2SI_64 : LP_VCVTTSS2SI_64, 0, reg, lp_rm_reg(r));
	return hard;
}

static struct lp_x86_fixup to_unsigned(struct lp_tr *t, enum lp_fp_form form, unsigned w, unsigned reg, unsigned r)
{
	static const enum lp_x86_vop ops[][2] = {{LP_VCVTTSS2USI_32, LP_VCVTTSS2USI_64},
						 {LP_VCVTTSD2USI_32, LP_VCVTTSD2USI_64}};

	if (!(t->jit->host & LP_HOST_AVX512))
		return to_unsigned_by_bits(t, form, w, reg, r);
	lp_x86_vex_rm(&t->x, ops[form == LP_FP_SD][w], 0, reg, lp_rm_reg(r));
	/* the greatest integer is the answer */
	lp_x86_alu_imm(&t->x, LP_ALU_CMP, w, lp_rm_reg(reg), -1);
	return lp_x86_jcc_forward(&t->x, LP_CC_E);
}

static struct lp_x86_fixup to_integer(struct lp_tr *t, enum lp_fp_form form, unsigned w, unsigned reg, unsigned r,
				      bool is_unsigned)
{
	return is_unsigned ? to_unsigned(t, form, w, reg, r) : to_signed(t, form, w, reg, r);
}

/* Rounded first, without Inexact, for there is none where the integer does not fit; it is raised once it is known to. */
static bool rounded_to_int(struct lp_tr *t, uint32_t word, unsigned how, bool is_unsigned)
{
	unsigned w = F(sf), r = lp_writes(F(Rd)), reg = lp_x_dest(t, r, LP_RCX), n;
	struct lp_x86_fixup large = {0}, hard;
	enum lp_fp_form form;

	if (!form_of(word, &form))
		return false;
	lp_flags_clobber(t);
	n = lp_fp_read(t, form, F(Rn));
	if (how == LP_FP_AWAY)
		large = lp_fp_round_away(t, form, LP_FP_S0, n);
	else
		lp_fp_round(t, form, LP_FP_S0, n, how | LP_ROUND_EXACT);
	hard = to_integer(t, form, w, reg, LP_FP_S0, is_unsigned);
	lp_fp_round(t, form, LP_FP_S0, n, LP_ROUND_ZERO);
	lp_x_write(t, r, reg);
	lp_fp_end2(t, hard, large);
	return true;
}

static bool truncated_to_int(struct lp_tr *t, uint32_t word, bool is_unsigned)
{
	unsigned r = lp_writes(F(Rd)), reg = lp_x_dest(t, r, LP_RCX), n;
	struct lp_x86_fixup hard;
	enum lp_fp_form form;

	if (!form_of(word, &form))
		return false;
	lp_flags_clobber(t);
	n = lp_fp_read(t, form, F(Rn));
	hard = to_integer(t, form, F(sf), reg, n, is_unsigned);
	lp_x_write(t, r, reg);
	lp_fp_end(t, hard);
	return true;
}

static bool fcvtzs(struct lp_tr *t, uint32_t word)
{
	return truncated_to_int(t, word, false);
}
static bool fcvtzu(struct lp_tr *t, uint32_t word)
{
	return truncated_to_int(t, word, true);
}

#define ROUNDED(name, how)                                  \
	static bool name##s(struct lp_tr *t, uint32_t word) \
	{                                                   \
		return rounded_to_int(t, word, how, false); \
	}                                                   \
	static bool name##u(struct lp_tr *t, uint32_t word) \
	{                                                   \
		return rounded_to_int(t, word, how, true);  \
	}
ROUNDED(fcvtn, LP_ROUND_NEAREST)
ROUNDED(fcvtp, LP_ROUND_UP)
ROUNDED(fcvtm, LP_ROUND_DOWN)
ROUNDED(fcvta, LP_FP_AWAY)

/* ---- with a fixed point ---- */

/* r = 2^power.  Uses rax. */
static void load_power(struct lp_tr *t, enum lp_fp_form form, unsigned r, int power)
{
	if (form == LP_FP_SD) {
		lp_x86_mov_imm(&t->x, LP_RAX, (uint64_t)(1023 + power) << 52);
		lp_x86_vex_rm(&t->x, LP_VMOVQ_64, 0, r, lp_rm_reg(LP_RAX));
	} else {
		lp_x86_mov_imm32(&t->x, LP_RAX, (uint32_t)(127 + power) << 23);
		lp_x86_vex_rm(&t->x, LP_VMOVD, 0, r, lp_rm_reg(LP_RAX));
	}
}

static void multiply(struct lp_tr *t, enum lp_fp_form form, unsigned to, unsigned a, unsigned b)
{
	lp_x86_vex(&t->x, form == LP_FP_SD ? LP_VMULSD : LP_VMULSS, 0, to, a, lp_rm_reg(b));
}

/* Jumps where the magnitude is 2^63 or more, infinite or a NaN: no product with 2^64 overflows elsewhere.  Uses rax. */
static struct lp_x86_fixup if_large(struct lp_tr *t, enum lp_fp_form form, unsigned n)
{
	struct lp_x86 *x = &t->x;

	if (form == LP_FP_SD) {
		lp_x86_vex_to(x, LP_VMOVQ_64_TO, 0, lp_rm_reg(LP_RAX), n);
		lp_x86_shift_imm(x, LP_SHIFT_SHL, 1, lp_rm_reg(LP_RAX), 1);
		lp_x86_shift_imm(x, LP_SHIFT_SHR, 1, lp_rm_reg(LP_RAX), 53);
		lp_x86_alu_imm(x, LP_ALU_CMP, 0, lp_rm_reg(LP_RAX), 1023 + 63);
	} else {
		lp_x86_vex_to(x, LP_VMOVD_TO, 0, lp_rm_reg(LP_RAX), n);
		lp_x86_shift_imm(x, LP_SHIFT_SHL, 0, lp_rm_reg(LP_RAX), 1);
		lp_x86_shift_imm(x, LP_SHIFT_SHR, 0, lp_rm_reg(LP_RAX), 24);
		lp_x86_alu_imm(x, LP_ALU_CMP, 0, lp_rm_reg(LP_RAX), 127 + 63);
	}
	return lp_x86_jcc_forward(x, LP_CC_AE);
}

static bool to_fixed(struct lp_tr *t, uint32_t word, bool is_unsigned)
{
	unsigned r = lp_writes(F(Rd)), reg = lp_x_dest(t, r, LP_RCX), n;
	struct lp_x86_fixup large, hard;
	enum lp_fp_form form;

	if (!form_of(word, &form))
		return false;
	lp_flags_clobber(t);
	n = lp_fp_read(t, form, F(Rn));
	large = if_large(t, form, n);
	load_power(t, form, LP_FP_S1, (int)(64 - F(scale)));
	multiply(t, form, LP_FP_S0, n, LP_FP_S1);
	hard = to_integer(t, form, F(sf), reg, LP_FP_S0, is_unsigned);
	lp_x_write(t, r, reg);
	lp_fp_end2(t, hard, large);
	return true;
}

static bool fcvtzs_fix(struct lp_tr *t, uint32_t word)
{
	return to_fixed(t, word, false);
}
static bool fcvtzu_fix(struct lp_tr *t, uint32_t word)
{
	return to_fixed(t, word, true);
}

/* ---- from integers ---- */

/* d = the integer, with zeros above it.  Jumps where the host cannot; next is NULL where there is no such case. */
static struct lp_x86_fixup from_general(struct lp_tr *t, enum lp_fp_form form, unsigned w, unsigned d, unsigned r,
					bool is_unsigned)
{
	static const enum lp_x86_vop ops[][2] = {{LP_VCVTSI2SS_32, LP_VCVTSI2SS_64},
						 {LP_VCVTSI2SD_32, LP_VCVTSI2SD_64}};
	static const enum lp_x86_vop unsigned_ops[][2] = {{LP_VCVTUSI2SS_32, LP_VCVTUSI2SS_64},
							  {LP_VCVTUSI2SD_32, LP_VCVTUSI2SD_64}};
	struct lp_x86_rm n = lp_x_rm(t, r);
	struct lp_x86_fixup hard = {0};
	struct lp_x86 *x = &t->x;

	lp_x86_vex(x, LP_VXORPS, 0, LP_FP_S0, LP_FP_S0, lp_rm_reg(LP_FP_S0));
	if (is_unsigned && t->jit->host & LP_HOST_AVX512) {
		lp_x86_vex(x, unsigned_ops[form == LP_FP_SD][w], 0, d, LP_FP_S0, n);
		return hard;
	}
	if (is_unsigned) {
		if (w)
			lp_flags_clobber(t);
		lp_x86_mov(x, w, LP_RAX, n);
		n = lp_rm_reg(LP_RAX);
		if (w) {
			lp_x86_test(x, 1, n, LP_RAX);
			hard = lp_x86_jcc_forward(x, LP_CC_S);
		}
		w = 1;
	}
	lp_x86_vex(x, ops[form == LP_FP_SD][w], 0, d, LP_FP_S0, n);
	return hard;
}

static bool from_int(struct lp_tr *t, uint32_t word, bool is_unsigned, int power)
{
	struct lp_x86_fixup hard;
	enum lp_fp_form form;
	unsigned d;

	if (!form_of(word, &form))
		return false;
	d = lp_v_dest(t, F(Rd));
	hard = from_general(t, form, F(sf), d, lp_reads(F(Rn)), is_unsigned);
	if (power) { /* exact: not even 2^-64 is tiny */
		load_power(t, form, LP_FP_S1, power);
		multiply(t, form, d, d, LP_FP_S1);
	}
	lp_fp_write(t, form, F(Rd), d, true);
	if (hard.next)
		lp_fp_end(t, hard);
	return true;
}

static bool scvtf(struct lp_tr *t, uint32_t word)
{
	return from_int(t, word, false, 0);
}
static bool ucvtf(struct lp_tr *t, uint32_t word)
{
	return from_int(t, word, true, 0);
}
static bool scvtf_fix(struct lp_tr *t, uint32_t word)
{
	return from_int(t, word, false, (int)F(scale) - 64);
}
static bool ucvtf_fix(struct lp_tr *t, uint32_t word)
{
	return from_int(t, word, true, (int)F(scale) - 64);
}

/* ---- integers that are in vector registers ---- */

static bool to_lane(struct lp_tr *t, uint32_t word, unsigned how, bool is_unsigned)
{
	enum lp_fp_form form = F(sz) ? LP_FP_SD : LP_FP_SS;
	struct lp_x86_fixup large = {0}, hard;
	unsigned n, r, d;

	lp_flags_clobber(t);
	n = r = lp_fp_read(t, form, F(Rn));
	d = lp_v_dest(t, F(Rd));
	if (how != LP_ROUND_ZERO)
		r = LP_FP_S0;
	if (how == LP_FP_AWAY)
		large = lp_fp_round_away(t, form, r, n);
	else if (how != LP_ROUND_ZERO)
		lp_fp_round(t, form, r, n, how | LP_ROUND_EXACT);
	hard = to_integer(t, form, F(sz), LP_RCX, r, is_unsigned);
	if (how != LP_ROUND_ZERO)
		lp_fp_round(t, form, r, n, LP_ROUND_ZERO);
	lp_x86_vex_rm(&t->x, F(sz) ? LP_VMOVQ_64 : LP_VMOVD, 0, d, lp_rm_reg(LP_RCX));
	lp_fp_write(t, form, F(Rd), d, true);
	lp_fp_end2(t, hard, large);
	return true;
}

#define TO_LANE(name, how)                                    \
	static bool name##s_s(struct lp_tr *t, uint32_t word) \
	{                                                     \
		return to_lane(t, word, how, false);          \
	}                                                     \
	static bool name##u_s(struct lp_tr *t, uint32_t word) \
	{                                                     \
		return to_lane(t, word, how, true);           \
	}
TO_LANE(fcvtz, LP_ROUND_ZERO)
TO_LANE(fcvtn, LP_ROUND_NEAREST)
TO_LANE(fcvtp, LP_ROUND_UP)
TO_LANE(fcvtm, LP_ROUND_DOWN)
TO_LANE(fcvta, LP_FP_AWAY)

/* Zeros above it are converted to zeros. */
static bool scvtf_s(struct lp_tr *t, uint32_t word)
{
	enum lp_fp_form form = F(sz) ? LP_FP_SD : LP_FP_SS;
	unsigned n, d;

	if (F(sz) && !(t->jit->host & LP_HOST_AVX512)) {
		n = lp_fp_read(t, form, F(Rn));
		d = lp_v_dest(t, F(Rd));
		lp_x86_vex_to(&t->x, LP_VMOVQ_64_TO, 0, lp_rm_reg(LP_RAX), n);
		lp_x86_vex(&t->x, LP_VXORPS, 0, LP_FP_S0, LP_FP_S0, lp_rm_reg(LP_FP_S0));
		lp_x86_vex(&t->x, LP_VCVTSI2SD_64, 0, d, LP_FP_S0, lp_rm_reg(LP_RAX));
		lp_fp_write(t, form, F(Rd), d, true);
		return true;
	}
	n = lp_fp_read(t, form, F(Rn));
	d = lp_v_dest(t, F(Rd));
	if (!lp_fp_is_clean(t, form, F(Rn))) {
		lp_fp_clear_above(t, form, LP_FP_S0, n);
		n = LP_FP_S0;
	}
	lp_x86_vex_rm(&t->x, F(sz) ? LP_VCVTQQ2PD : LP_VCVTDQ2PS, 0, d, lp_rm_reg(n));
	lp_fp_write(t, form, F(Rd), d, true);
	return true;
}

/* Both sizes as 64 bits, which hold those of 32 as they are. */
static bool ucvtf_s(struct lp_tr *t, uint32_t word)
{
	enum lp_fp_form form = F(sz) ? LP_FP_SD : LP_FP_SS;
	struct lp_x86_fixup hard = {0};
	struct lp_x86 *x = &t->x;
	unsigned d;

	if (F(sz))
		lp_flags_clobber(t);
	lp_x86_vex_to(x, F(sz) ? LP_VMOVQ_64_TO : LP_VMOVD_TO, 0, lp_rm_reg(LP_RAX), lp_fp_read(t, form, F(Rn)));
	if (F(sz)) {
		lp_x86_test(x, 1, lp_rm_reg(LP_RAX), LP_RAX);
		hard = lp_x86_jcc_forward(x, LP_CC_S);
	}
	d = lp_v_dest(t, F(Rd));
	lp_x86_vex(x, LP_VXORPS, 0, LP_FP_S0, LP_FP_S0, lp_rm_reg(LP_FP_S0));
	lp_x86_vex(x, F(sz) ? LP_VCVTSI2SD_64 : LP_VCVTSI2SS_64, 0, d, LP_FP_S0, lp_rm_reg(LP_RAX));
	lp_fp_write(t, form, F(Rd), d, true);
	if (hard.next)
		lp_fp_end(t, hard);
	return true;
}

/* ---- to integers that stay floating-point numbers ---- */

static bool round_row(struct lp_tr *t, uint32_t word, unsigned how)
{
	struct lp_x86_fixup hard;
	enum lp_fp_form form;
	unsigned n, d;

	if (!form_of(word, &form))
		return false;
	lp_flags_clobber(t);
	n = lp_fp_read(t, form, F(Rn));
	d = lp_v_dest(t, F(Rd));
	if (how == LP_FP_AWAY) {
		hard = lp_fp_round_away(t, form, LP_FP_S0, n);
		lp_fp_write(t, form, F(Rd), LP_FP_S0, lp_fp_is_clean(t, form, F(Rn)));
	} else {
		lp_fp_round(t, form, d, n, how);
		hard = lp_fp_if_nan(t, form, d);
		lp_fp_write(t, form, F(Rd), d, lp_fp_is_clean(t, form, F(Rn)));
	}
	lp_fp_end(t, hard);
	return true;
}

#define ROUND(name, how)                                 \
	static bool name(struct lp_tr *t, uint32_t word) \
	{                                                \
		return round_row(t, word, how);          \
	}
ROUND(frintn, LP_ROUND_NEAREST | LP_ROUND_EXACT)
ROUND(frintm, LP_ROUND_DOWN | LP_ROUND_EXACT)
ROUND(frintp, LP_ROUND_UP | LP_ROUND_EXACT)
ROUND(frintz, LP_ROUND_ZERO | LP_ROUND_EXACT)
ROUND(frinti, LP_ROUND_MXCSR | LP_ROUND_EXACT)
ROUND(frintx, LP_ROUND_MXCSR)
ROUND(frinta, LP_FP_AWAY)

/* ---- between precisions ---- */

static bool fcvt_s(struct lp_tr *t, uint32_t word)
{
	struct lp_x86_fixup hard;
	unsigned n, d;

	if (F(ftype) != 1)
		return false;
	lp_flags_clobber(t);
	n = lp_fp_read(t, LP_FP_SD, F(Rn));
	d = lp_v_dest(t, F(Rd));
	lp_x86_vex(&t->x, LP_VXORPS, 0, LP_FP_S0, LP_FP_S0, lp_rm_reg(LP_FP_S0));
	lp_x86_vex(&t->x, LP_VCVTSD2SS, 0, d, LP_FP_S0, lp_rm_reg(n));
	hard = lp_fp_if_doubt(t, LP_FP_SS, d);
	lp_fp_write(t, LP_FP_SS, F(Rd), d, true);
	lp_fp_end(t, hard);
	return true;
}

static bool fcvt_d(struct lp_tr *t, uint32_t word)
{
	struct lp_x86_fixup hard;
	unsigned n, d;

	if (F(ftype) != 0)
		return false;
	lp_flags_clobber(t);
	n = lp_fp_read(t, LP_FP_SS, F(Rn));
	d = lp_v_dest(t, F(Rd));
	lp_x86_vex(&t->x, LP_VCVTSS2SD, 0, d, n, lp_rm_reg(n));
	hard = lp_fp_if_nan(t, LP_FP_SD, d);
	lp_fp_write(t, LP_FP_SD, F(Rd), d, lp_fp_is_clean(t, LP_FP_SD, F(Rn)));
	lp_fp_end(t, hard);
	return true;
}

const struct lp_emit_row lp_emit_fp_convert[] = {
	{A64_OP_FCVTZS, fcvtzs},	 {A64_OP_FCVTZU, fcvtzu},
	{A64_OP_FCVTNS, fcvtns},	 {A64_OP_FCVTNU, fcvtnu},
	{A64_OP_FCVTPS, fcvtps},	 {A64_OP_FCVTPU, fcvtpu},
	{A64_OP_FCVTMS, fcvtms},	 {A64_OP_FCVTMU, fcvtmu},
	{A64_OP_FCVTAS, fcvtas},	 {A64_OP_FCVTAU, fcvtau},
	{A64_OP_FCVTZS_FIX, fcvtzs_fix}, {A64_OP_FCVTZU_FIX, fcvtzu_fix},
	{A64_OP_SCVTF, scvtf},		 {A64_OP_UCVTF, ucvtf},
	{A64_OP_SCVTF_FIX, scvtf_fix},	 {A64_OP_UCVTF_FIX, ucvtf_fix},
	{A64_OP_FCVTZS_S, fcvtzs_s},	 {A64_OP_FCVTZU_S, fcvtzu_s},
	{A64_OP_FCVTNS_S, fcvtns_s},	 {A64_OP_FCVTNU_S, fcvtnu_s},
	{A64_OP_FCVTPS_S, fcvtps_s},	 {A64_OP_FCVTPU_S, fcvtpu_s},
	{A64_OP_FCVTMS_S, fcvtms_s},	 {A64_OP_FCVTMU_S, fcvtmu_s},
	{A64_OP_FCVTAS_S, fcvtas_s},	 {A64_OP_FCVTAU_S, fcvtau_s},
	{A64_OP_SCVTF_S, scvtf_s},	 {A64_OP_UCVTF_S, ucvtf_s},
	{A64_OP_FRINTN, frintn},	 {A64_OP_FRINTM, frintm},
	{A64_OP_FRINTP, frintp},	 {A64_OP_FRINTZ, frintz},
	{A64_OP_FRINTI, frinti},	 {A64_OP_FRINTX, frintx},
	{A64_OP_FRINTA, frinta},	 {A64_OP_FCVT_S, fcvt_s},
	{A64_OP_FCVT_D, fcvt_d},	 {0},
};
