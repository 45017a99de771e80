/* Scalar floating point: arithmetic, comparisons, choices and moves. */
#include "jit/emit_fp.h"

/* Half precision is the interpreter's. */
static bool form_of(uint32_t word, enum lp_fp_form *form)
{
	*form = F(ftype) ? LP_FP_SD : LP_FP_SS;
	return F(ftype) < 2;
}

/* ---- one, two, three operands ---- */

typedef struct lp_x86_fixup look_fn(struct lp_tr *t, enum lp_fp_form form, unsigned r);

/* What is above the scalar comes from the first source: where the other one is known to have nothing there, and may as
 * well be the first, it is. */
static bool binary(struct lp_tr *t, uint32_t word, const enum lp_x86_vop ops[], bool commutes, look_fn *look)
{
	unsigned vn = F(Rn), vm = F(Rm), n, m, d;
	struct lp_x86_fixup hard;
	enum lp_fp_form form;

	if (!form_of(word, &form))
		return false;
	lp_flags_clobber(t);
	lp_fp_read(t, form, vm);
	lp_fp_read(t, form, vn);
	if (commutes && !lp_fp_is_clean(t, form, vn)) {
		vn = F(Rm);
		vm = F(Rn);
	}
	n = lp_fp_read(t, form, vn);
	m = lp_fp_read(t, form, vm);
	d = lp_v_dest(t, F(Rd));
	lp_x86_vex(&t->x, ops[form], 0, d, n, lp_rm_reg(m));
	hard = look(t, form, d);
	lp_fp_write(t, form, F(Rd), d, lp_fp_is_clean(t, form, vn));
	lp_fp_end(t, hard);
	return true;
}

static bool fadd(struct lp_tr *t, uint32_t word)
{
	static const enum lp_x86_vop ops[] = LP_FP_FORMS(LP_VADD);

	return binary(t, word, ops, true, lp_fp_if_nan);
}
static bool fsub(struct lp_tr *t, uint32_t word)
{
	static const enum lp_x86_vop ops[] = LP_FP_FORMS(LP_VSUB);

	return binary(t, word, ops, false, lp_fp_if_nan);
}
static bool fmul(struct lp_tr *t, uint32_t word)
{
	static const enum lp_x86_vop ops[] = LP_FP_FORMS(LP_VMUL);

	return binary(t, word, ops, true, F(Rn) == F(Rm) ? lp_fp_if_doubt_of_square : lp_fp_if_doubt);
}
static bool fdiv(struct lp_tr *t, uint32_t word)
{
	static const enum lp_x86_vop ops[] = LP_FP_FORMS(LP_VDIV);

	return binary(t, word, ops, false, lp_fp_if_nan);
}

static bool fnmul(struct lp_tr *t, uint32_t word)
{
	static const enum lp_x86_vop ops[] = LP_FP_FORMS(LP_VMUL);
	struct lp_x86_fixup hard;
	enum lp_fp_form form;
	unsigned n, m, d;

	if (!form_of(word, &form))
		return false;
	lp_flags_clobber(t);
	n = lp_fp_read(t, form, F(Rn));
	m = lp_fp_read(t, form, F(Rm));
	d = lp_v_dest(t, F(Rd));
	lp_x86_vex(&t->x, ops[form], 0, d, n, lp_rm_reg(m));
	hard = lp_fp_if_doubt(t, form, d);
	lp_x86_vex(&t->x, LP_VXORPS, 0, d, d, lp_fp_constant(t, LP_FP_SIGN, form));
	lp_fp_write(t, form, F(Rd), d, false);
	lp_fp_end(t, hard);
	return true;
}

static bool fsqrt(struct lp_tr *t, uint32_t word)
{
	static const enum lp_x86_vop ops[] = LP_FP_FORMS(LP_VSQRT);
	struct lp_x86_fixup hard;
	enum lp_fp_form form;
	unsigned n, d;

	if (!form_of(word, &form))
		return false;
	lp_flags_clobber(t);
	n = lp_fp_read(t, form, F(Rn));
	d = lp_v_dest(t, F(Rd));
	lp_x86_vex(&t->x, ops[form], 0, d, n, lp_rm_reg(n));
	hard = lp_fp_if_nan(t, form, d);
	lp_fp_write(t, form, F(Rd), d, lp_fp_is_clean(t, form, F(Rn)));
	lp_fp_end(t, hard);
	return true;
}

/* a plus or minus n * m.  231: the destination is a, 213: n. */
static bool fused(struct lp_tr *t, uint32_t word, const enum lp_x86_vop ops231[], const enum lp_x86_vop ops213[])
{
	unsigned vd = F(Rd), vn = F(Rn), vm = F(Rm), va = F(Ra), n, m, a, d;
	struct lp_x86_fixup hard;
	enum lp_fp_form form;
	bool on_addend;

	if (!form_of(word, &form))
		return false;
	lp_flags_clobber(t);
	lp_fp_read(t, form, vm);
	lp_fp_read(t, form, vn);
	if (vd == vm || (vd != vn && !lp_fp_is_clean(t, form, vn))) { /* factors change places */
		vn = F(Rm);
		vm = F(Rn);
	}
	n = lp_fp_read(t, form, vn);
	m = lp_fp_read(t, form, vm);
	a = lp_fp_read(t, form, va);
	d = vd == va || vd == vn ? lp_v_dest_in_place(t, vd) : lp_v_dest(t, vd);
	on_addend = vd == va || (vd != vn && (lp_fp_is_clean(t, form, va) || !lp_fp_is_clean(t, form, vn)));
	if (on_addend) {
		if (d != a)
			lp_x86_vex_rm(&t->x, LP_VMOVAPS, 0, d, lp_rm_reg(a));
		lp_x86_vex(&t->x, ops231[form], 0, d, n, lp_rm_reg(m));
	} else {
		if (d != n)
			lp_x86_vex_rm(&t->x, LP_VMOVAPS, 0, d, lp_rm_reg(n));
		lp_x86_vex(&t->x, ops213[form], 0, d, m, lp_rm_reg(a));
	}
	hard = lp_fp_if_doubt(t, form, d);
	lp_fp_write(t, form, vd, d, lp_fp_is_clean(t, form, on_addend ? va : vn));
	lp_fp_end(t, hard);
	return true;
}

#define FUSED(name, host)                                                                                          \
	static bool name(struct lp_tr *t, uint32_t word)                                                           \
	{                                                                                                          \
		static const enum lp_x86_vop ops231[] = LP_FP_FORMS(host##231), ops213[] = LP_FP_FORMS(host##213); \
                                                                                                                   \
		return fused(t, word, ops231, ops213);                                                             \
	}
FUSED(fmadd, LP_VFMADD)
FUSED(fmsub, LP_VFNMADD)
FUSED(fnmadd, LP_VFNMSUB)
FUSED(fnmsub, LP_VFMSUB)

/* ---- greatest and least ---- */

/* The host takes the second of two that are equal, which may be zeros of two signs: in both orders, then what they have in
 * common is the greatest, and what either has the least. */
static bool choose(struct lp_tr *t, uint32_t word, const enum lp_x86_vop ops[], bool greatest)
{
	unsigned n, m, d;
	struct lp_x86_fixup hard;
	enum lp_fp_form form;

	if (!form_of(word, &form))
		return false;
	lp_flags_clobber(t);
	n = lp_fp_read(t, form, F(Rn));
	m = lp_fp_read(t, form, F(Rm));
	d = lp_v_dest(t, F(Rd));
	/* First, for the host's min and max find quiet NaNs invalid. */
	lp_x86_vex_rm(&t->x, form == LP_FP_SD ? LP_VUCOMISD : LP_VUCOMISS, 0, n, lp_rm_reg(m));
	hard = lp_x86_jcc_forward(&t->x, LP_CC_P);
	lp_x86_vex(&t->x, ops[form], 0, LP_FP_S0, n, lp_rm_reg(m));
	lp_x86_vex(&t->x, ops[form], 0, d, m, lp_rm_reg(n));
	lp_x86_vex(&t->x, greatest ? LP_VANDPS : LP_VORPS, 0, d, d, lp_rm_reg(LP_FP_S0));
	lp_fp_write(t, form, F(Rd), d, lp_fp_is_clean(t, form, F(Rn)) && lp_fp_is_clean(t, form, F(Rm)));
	lp_fp_end(t, hard);
	return true;
}

static bool greatest(struct lp_tr *t, uint32_t word)
{
	static const enum lp_x86_vop ops[] = LP_FP_FORMS(LP_VMAX);

	return choose(t, word, ops, true);
}
static bool least(struct lp_tr *t, uint32_t word)
{
	static const enum lp_x86_vop ops[] = LP_FP_FORMS(LP_VMIN);

	return choose(t, word, ops, false);
}

/* ---- comparisons ---- */

/* The condition that an instruction asks for; -1: none, or not one alone. */
static int asked_by(const struct lp_insn *insn)
{
	switch (insn->op) {
	case A64_OP_B_COND:
		return (int)lp_a64_field_condb(insn->word);
	case A64_OP_CSEL:
	case A64_OP_CSINC:
	case A64_OP_CSINV:
	case A64_OP_CSNEG:
	case A64_OP_FCSEL:
	case A64_OP_CCMP_REG:
	case A64_OP_CCMP_IMM:
	case A64_OP_CCMN_REG:
	case A64_OP_CCMN_IMM:
	case A64_OP_FCCMP:
	case A64_OP_FCCMPE:
		return (int)lp_a64_field_cond(insn->word);
	default:
		return -1;
	}
}

/* Whether the first that asks is better off with the operands the other way round: cs, mi, hi and their opposites. */
static bool is_better_back(const struct lp_tr *t)
{
	enum { LOOK = 4 };

	for (unsigned i = t->i + 1; i < t->nr && i <= t->i + LOOK; i++) {
		int cond = asked_by(&t->insns[i]);
		if (cond >= 0)
			return cond >> 1 == 1 || cond >> 1 == 2 || cond >> 1 == 4;
	}
	return false;
}

static void compare(struct lp_tr *t, uint32_t word, bool with_zero, bool signals, bool back)
{
	static const enum lp_x86_vop ops[][2] = {{LP_VUCOMISS, LP_VUCOMISD}, {LP_VCOMISS, LP_VCOMISD}};
	enum lp_fp_form form = F(ftype) ? LP_FP_SD : LP_FP_SS;
	unsigned n = lp_fp_read(t, form, F(Rn)), m = with_zero ? LP_FP_S0 : lp_fp_read(t, form, F(Rm));

	if (with_zero)
		lp_x86_vex(&t->x, LP_VXORPS, 0, LP_FP_S0, LP_FP_S0, lp_rm_reg(LP_FP_S0));
	lp_x86_vex_rm(&t->x, ops[signals][F(ftype)], 0, back ? m : n, lp_rm_reg(back ? n : m));
}

static bool compare_row(struct lp_tr *t, uint32_t word, bool with_zero, bool signals)
{
	bool back = is_better_back(t);

	if (F(ftype) > 1)
		return false;
	compare(t, word, with_zero, signals, back);
	lp_flags_are(t, back ? LP_FLAGS_FP_BACK : LP_FLAGS_FP);
	return true;
}

static bool fcmp(struct lp_tr *t, uint32_t word)
{
	return compare_row(t, word, false, false);
}
static bool fcmp_zero(struct lp_tr *t, uint32_t word)
{
	return compare_row(t, word, true, false);
}
static bool fcmpe(struct lp_tr *t, uint32_t word)
{
	return compare_row(t, word, false, true);
}
static bool fcmpe_zero(struct lp_tr *t, uint32_t word)
{
	return compare_row(t, word, true, true);
}

/* ---- comparisons under a condition ---- */

/* What a comparison can say, in N, Z, C, V, and as ah has it for LP_FLAGS_FP. */
static const struct {
	uint8_t nzcv, ah;
} outcomes[] = {{8, 0x03}, {6, 0x42}, {2, 0x02}, {3, 0x47}};
enum { NR_OUTCOMES = sizeof outcomes / sizeof outcomes[0] };

static bool holds(unsigned cond, unsigned nzcv)
{
	bool n = nzcv >> 3 & 1, z = nzcv >> 2 & 1, c = nzcv >> 1 & 1, v = nzcv & 1;
	const bool pairs[] = {z, c, n, v, c && !z, n == v, n == v && !z};

	return pairs[cond >> 1] != (cond & 1);
}

static bool is_comparison(enum lp_a64_op op)
{
	return op == A64_OP_FCCMP || op == A64_OP_FCCMPE || op == A64_OP_CCMP_REG || op == A64_OP_CCMP_IMM ||
	       op == A64_OP_CCMN_REG || op == A64_OP_CCMN_IMM;
}

/* The conditions, a bit each, that are all that is asked of the flags behind this instruction; 0: that is not known. */
static unsigned all_asked(const struct lp_tr *t)
{
	unsigned asked = 0;

	for (unsigned i = t->i + 1; lp_tr_goes_on(t, i - 1); i++) {
		int cond = asked_by(&t->insns[i]);
		if (cond < 0 || cond >= 14 || t->insns[i].exit_live)
			return 0;
		asked |= 1u << cond;
		if (is_comparison(t->insns[i].op) || !t->insns[i].flags_live)
			return asked;
	}
	return 0;
}

/* An outcome that answers as these flags to all of them; -1: none does. */
static int outcome_like(unsigned nzcv, unsigned asked)
{
	for (int k = 0; asked && k < NR_OUTCOMES; k++) {
		bool same = true;
		for (unsigned cond = 0; cond < 14; cond++)
			if (asked >> cond & 1 && holds(cond, nzcv) != holds(cond, outcomes[k].nzcv))
				same = false;
		if (same)
			return k;
	}
	return -1;
}

static void set_outcome(struct lp_x86 *x, unsigned ah)
{
	lp_x86_mov_imm32(x, LP_RAX, ah << 8);
	lp_x86_sahf(x);
}

/* Where the condition does not hold, EFLAGS are those of a comparison that says the same to those who ask; where it is not
 * known who does, all flags go to memory. */
static bool compare_if(struct lp_tr *t, uint32_t word, bool signals)
{
	struct lp_x86_fixup where[2], done;
	struct lp_x86 *x = &t->x;
	int outcome;

	if (F(ftype) > 1)
		return false;
	if (F(cond) >= 14)
		return compare_row(t, word, false, signals);
	outcome = outcome_like(F(nzcv), all_asked(t));
	/* Here, for what is loaded on one way only is not loaded. */
	lp_v_read_bits(t, F(Rn), F(ftype) ? 64 : 32);
	lp_v_read_bits(t, F(Rm), F(ftype) ? 64 : 32);
	lp_flags_jump(t, lp_flags_test(t, F(cond)), true, where);
	if (outcome >= 0)
		set_outcome(x, outcomes[outcome].ah);
	else
		lp_x86_store_imm(x, 4, LP_CPU(jit.flags), (int32_t)lp_flags_of_nzcv(F(nzcv)));
	done = lp_x86_jmp_forward(x);
	for (unsigned i = 0; i < 2; i++)
		if (where[i].next)
			lp_x86_bind(x, where[i]);
	compare(t, word, false, signals, false);
	lp_flags_are(t, LP_FLAGS_FP);
	if (outcome < 0) {
		lp_flags_keep(t);
		t->flags = LP_FLAGS_IN_MEMORY;
	}
	lp_x86_bind(x, done);
	return true;
}

static bool fccmp(struct lp_tr *t, uint32_t word)
{
	return compare_if(t, word, false);
}
static bool fccmpe(struct lp_tr *t, uint32_t word)
{
	return compare_if(t, word, true);
}

/* ---- moves: no arithmetic, no flags ---- */

static void move(struct lp_tr *t, enum lp_fp_form form, unsigned vd, unsigned vn)
{
	unsigned n = lp_fp_read(t, form, vn);

	lp_fp_write(t, form, vd, n, lp_fp_is_clean(t, form, vn));
}

static bool fmov_reg(struct lp_tr *t, uint32_t word)
{
	enum lp_fp_form form;

	if (!form_of(word, &form))
		return false;
	move(t, form, F(Rd), F(Rn));
	return true;
}

/* The lowest bits of a vector register, from where it is. */
static void to_reg(struct lp_tr *t, unsigned w, unsigned reg, struct lp_x86_rm v)
{
	if (v.kind != LP_RM_REG)
		lp_x86_mov(&t->x, w, reg, v);
	else
		lp_x86_vex_to(&t->x, w ? LP_VMOVQ_64_TO : LP_VMOVD_TO, 0, lp_rm_reg(reg), v.base);
}

/* The same as an operand of the host's integer instructions. */
static struct lp_x86_rm in_general(struct lp_tr *t, unsigned w, unsigned reg, struct lp_x86_rm v)
{
	if (v.kind != LP_RM_REG)
		return v;
	to_reg(t, w, reg, v);
	return lp_rm_reg(reg);
}

/* By cmov: what programs choose between is seldom foreseeable. */
static bool fcsel(struct lp_tr *t, uint32_t word)
{
	unsigned w = F(ftype), d;
	struct lp_test test;
	enum lp_fp_form form;

	if (!form_of(word, &form))
		return false;
	if (F(cond) >= 14) {
		move(t, form, F(Rd), F(Rn));
		return true;
	}
	test = lp_flags_test(t, F(cond));
	to_reg(t, w, LP_RCX, lp_v_rm(t, F(Rm), w ? 64 : 32));
	if (test.parity == LP_PARITY_AND_NOT)
		lp_x86_mov(&t->x, w, LP_RDX, lp_rm_reg(LP_RCX));
	lp_flags_cmov(t, test, w, LP_RCX, in_general(t, w, LP_RAX, lp_v_rm(t, F(Rn), w ? 64 : 32)), LP_RDX);
	d = lp_v_dest(t, F(Rd));
	lp_x86_vex_rm(&t->x, w ? LP_VMOVQ_64 : LP_VMOVD, 0, d, lp_rm_reg(LP_RCX));
	lp_fp_write(t, form, F(Rd), d, true);
	return true;
}

static bool fabs_row(struct lp_tr *t, uint32_t word)
{
	enum lp_fp_form form;
	unsigned n, d;

	if (!form_of(word, &form))
		return false;
	n = lp_fp_read(t, form, F(Rn));
	d = lp_v_dest(t, F(Rd));
	lp_x86_vex(&t->x, LP_VANDPS, 0, d, n, lp_fp_constant_alone(t, LP_FP_ABS, form));
	lp_fp_write(t, form, F(Rd), d, true);
	return true;
}

static bool fneg(struct lp_tr *t, uint32_t word)
{
	enum lp_fp_form form;
	unsigned n, d;
	bool clean;

	if (!form_of(word, &form))
		return false;
	n = lp_fp_read(t, form, F(Rn));
	d = lp_v_dest(t, F(Rd));
	clean = lp_fp_is_clean(t, form, F(Rn));
	if (!clean) {
		lp_fp_clear_above(t, form, d, n);
		n = d;
	}
	lp_x86_vex(&t->x, LP_VXORPS, 0, d, n, lp_fp_constant_alone(t, LP_FP_SIGN, form));
	lp_fp_write(t, form, F(Rd), d, true);
	return true;
}

static bool fmov_imm(struct lp_tr *t, uint32_t word)
{
	enum lp_fp_form form;
	unsigned d;

	if (!form_of(word, &form))
		return false;
	d = lp_v_dest(t, F(Rd));
	lp_x86_mov_imm(&t->x, LP_RAX, lp_fp_immediate(form, F(imm8)));
	lp_x86_vex_rm(&t->x, F(ftype) ? LP_VMOVQ_64 : LP_VMOVD, 0, d, lp_rm_reg(LP_RAX));
	lp_fp_write(t, form, F(Rd), d, true);
	return true;
}

static void to_general(struct lp_tr *t, uint32_t word, unsigned w)
{
	unsigned r = lp_writes(F(Rd)), reg = lp_x_dest(t, r, LP_RAX);

	to_reg(t, w, reg, lp_v_rm(t, F(Rn), w ? 64 : 32));
	lp_x_write(t, r, reg);
}

static bool fmov_w_s(struct lp_tr *t, uint32_t word)
{
	to_general(t, word, 0);
	return true;
}
static bool fmov_x_d(struct lp_tr *t, uint32_t word)
{
	to_general(t, word, 1);
	return true;
}

static bool fmov_s_w(struct lp_tr *t, uint32_t word)
{
	unsigned d = lp_v_dest(t, F(Rd));

	lp_x86_vex_rm(&t->x, LP_VMOVD, 0, d, lp_x_rm(t, lp_reads(F(Rn))));
	lp_v_write_bits(t, F(Rd), d, 32);
	return true;
}
static bool fmov_d_x(struct lp_tr *t, uint32_t word)
{
	unsigned d = lp_v_dest(t, F(Rd));

	lp_x86_vex_rm(&t->x, LP_VMOVQ_64, 0, d, lp_x_rm(t, lp_reads(F(Rn))));
	lp_v_write_bits(t, F(Rd), d, 64);
	return true;
}

static bool fmov_x_top(struct lp_tr *t, uint32_t word)
{
	unsigned r = lp_writes(F(Rd)), reg = lp_x_dest(t, r, LP_RAX);

	lp_x86_vex_to_imm(&t->x, LP_VPEXTRQ, 0, lp_rm_reg(reg), lp_v_read(t, F(Rn)), 1);
	lp_x_write(t, r, reg);
	return true;
}
static bool fmov_top_x(struct lp_tr *t, uint32_t word)
{
	unsigned d = lp_v_read(t, F(Rd));

	lp_x86_vex_imm(&t->x, LP_VPINSRQ, 0, d, d, lp_x_rm(t, lp_reads(F(Rn))), 1);
	lp_v_write(t, F(Rd), d);
	return true;
}

const struct lp_emit_row lp_emit_fp[] = {
	{A64_OP_FADD, fadd},
	{A64_OP_FSUB, fsub},
	{A64_OP_FMUL, fmul},
	{A64_OP_FDIV, fdiv},
	{A64_OP_FNMUL, fnmul},
	{A64_OP_FSQRT, fsqrt},
	{A64_OP_FMADD, fmadd},
	{A64_OP_FMSUB, fmsub},
	{A64_OP_FNMADD, fnmadd},
	{A64_OP_FNMSUB, fnmsub},
	{A64_OP_FMAX, greatest},
	{A64_OP_FMIN, least},
	{A64_OP_FMAXNM, greatest},
	{A64_OP_FMINNM, least},
	{A64_OP_FCMP, fcmp},
	{A64_OP_FCMP_ZERO, fcmp_zero},
	{A64_OP_FCMPE, fcmpe},
	{A64_OP_FCMPE_ZERO, fcmpe_zero},
	{A64_OP_FCCMP, fccmp},
	{A64_OP_FCCMPE, fccmpe},
	{A64_OP_FCSEL, fcsel},
	{A64_OP_FABS, fabs_row},
	{A64_OP_FNEG, fneg},
	{A64_OP_FMOV_REG, fmov_reg},
	{A64_OP_FMOV_IMM, fmov_imm},
	{A64_OP_FMOV_W_S, fmov_w_s},
	{A64_OP_FMOV_S_W, fmov_s_w},
	{A64_OP_FMOV_X_D, fmov_x_d},
	{A64_OP_FMOV_D_X, fmov_d_x},
	{A64_OP_FMOV_X_TOP, fmov_x_top},
	{A64_OP_FMOV_TOP_X, fmov_top_x},
	{0},
};
