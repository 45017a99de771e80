/* Advanced SIMD floating point: vectors of singles and doubles, and the scalar rows that belong to them. */
#include "jit/emit_fp.h"

typedef struct lp_x86_fixup look_fn(struct lp_tr *t, enum lp_fp_form form, unsigned r);

/* ---- shapes ---- */

/* What an instruction works on.  half: two singles, which the host computes twice, for that raises nothing else than they
 * do. */
struct shape {
	enum lp_fp_form form;
	bool half;
};

static struct shape shape_of(uint32_t word)
{
	return (struct shape){F(sz) ? LP_FP_PD : LP_FP_PS, !F(Q)};
}

static struct shape scalar_of(uint32_t word)
{
	return (struct shape){F(sz) ? LP_FP_SD : LP_FP_SS, false};
}

/* v as the shape wants it: its own register, or `scratch`. */
static unsigned get(struct lp_tr *t, struct shape s, unsigned v, unsigned scratch)
{
	unsigned r = s.half ? lp_v_read_bits(t, v, 64) : lp_fp_read(t, s.form, v);

	if (!s.half)
		return r;
	lp_x86_vex_rm(&t->x, LP_VMOVDDUP, 0, scratch, lp_rm_reg(r));
	return scratch;
}

/* Where a result for v is computed. */
static unsigned dest(struct lp_tr *t, struct shape s, unsigned v)
{
	return s.half ? LP_FP_S0 : lp_v_dest(t, v);
}

/* first: the guest register from which the host took what stands above a scalar. */
static void put(struct lp_tr *t, struct shape s, unsigned v, unsigned r, unsigned first)
{
	unsigned d;

	if (!s.half) {
		lp_fp_write(t, s.form, v, r, lp_fp_is_clean(t, s.form, first));
		return;
	}
	d = lp_v_dest(t, v);
	lp_x86_vex_rm(&t->x, LP_VMOVQ, 0, d, lp_rm_reg(r));
	lp_v_write_bits(t, v, d, 64);
}

/* ---- two operands ---- */

static bool binary(struct lp_tr *t, uint32_t word, struct shape s, const enum lp_x86_vop ops[], look_fn *look)
{
	unsigned n, m, d;
	struct lp_x86_fixup hard;

	lp_flags_clobber(t);
	n = get(t, s, F(Rn), LP_FP_S0);
	m = get(t, s, F(Rm), LP_FP_S1);
	d = dest(t, s, F(Rd));
	lp_x86_vex(&t->x, ops[s.form], 0, d, n, lp_rm_reg(m));
	hard = look(t, s.form, d);
	put(t, s, F(Rd), d, F(Rn));
	lp_fp_end(t, hard);
	return true;
}

#define BINARY(name, host, look)                                        \
	static bool name(struct lp_tr *t, uint32_t word)                \
	{                                                               \
		static const enum lp_x86_vop ops[] = LP_FP_FORMS(host); \
                                                                        \
		return binary(t, word, shape_of(word), ops, look);      \
	}
BINARY(fadd_v, LP_VADD, lp_fp_if_nan)
BINARY(fsub_v, LP_VSUB, lp_fp_if_nan)
BINARY(fmul_v, LP_VMUL, F(Rn) == F(Rm) ? lp_fp_if_doubt_of_square : lp_fp_if_doubt)
BINARY(fdiv_v, LP_VDIV, lp_fp_if_nan)

static bool difference(struct lp_tr *t, uint32_t word, struct shape s)
{
	static const enum lp_x86_vop ops[] = LP_FP_FORMS(LP_VSUB);
	unsigned n, m, d;
	struct lp_x86_fixup hard;

	lp_flags_clobber(t);
	n = get(t, s, F(Rn), LP_FP_S0);
	m = get(t, s, F(Rm), LP_FP_S1);
	d = dest(t, s, F(Rd));
	lp_x86_vex(&t->x, ops[s.form], 0, d, n, lp_rm_reg(m));
	hard = lp_fp_if_nan(t, s.form, d);
	lp_x86_vex(&t->x, LP_VANDPS, 0, d, d, lp_fp_constant(t, LP_FP_ABS, s.form));
	put(t, s, F(Rd), d, F(Rn));
	lp_fp_end(t, hard);
	return true;
}

static bool fabd_v(struct lp_tr *t, uint32_t word)
{
	return difference(t, word, shape_of(word));
}
static bool fabd_s(struct lp_tr *t, uint32_t word)
{
	return difference(t, word, scalar_of(word));
}

/* ---- sums of products ---- */

/* d plus or minus n * m */
static bool fused(struct lp_tr *t, uint32_t word, struct shape s, unsigned m, const enum lp_x86_vop ops[])
{
	unsigned n, d;
	struct lp_x86_fixup hard;

	n = get(t, s, F(Rn), LP_FP_TEST);
	d = get(t, s, F(Rd), LP_FP_S0);
	if (!s.half)
		d = lp_v_dest_in_place(t, F(Rd));
	lp_x86_vex(&t->x, ops[s.form], 0, d, n, lp_rm_reg(m));
	hard = lp_fp_if_doubt(t, s.form, d);
	put(t, s, F(Rd), d, F(Rd));
	lp_fp_end(t, hard);
	return true;
}

static bool fused_row(struct lp_tr *t, uint32_t word, const enum lp_x86_vop ops[])
{
	struct shape s = shape_of(word);

	lp_flags_clobber(t);
	return fused(t, word, s, get(t, s, F(Rm), LP_FP_S1), ops);
}

static const enum lp_x86_vop plus[] = LP_FP_FORMS(LP_VFMADD231), minus[] = LP_FP_FORMS(LP_VFNMADD231),
			     times[] = LP_FP_FORMS(LP_VMUL);

static bool fmla_v(struct lp_tr *t, uint32_t word)
{
	return fused_row(t, word, plus);
}
static bool fmls_v(struct lp_tr *t, uint32_t word)
{
	return fused_row(t, word, minus);
}

/* ---- by element ---- */

/* In all lanes of `scratch`, or in the register itself where it is the scalar. */
static unsigned element(struct lp_tr *t, uint32_t word, struct shape s, unsigned scratch)
{
	/* L is bit 21 here */
	unsigned index = F(sz) ? F(H) : F(H) << 1 | (word >> 21 & 1), m = lp_v_read(t, F(Rm));

	if (!lp_fp_is_packed(s.form) && index == 0)
		return m;
	if (F(sz))
		lp_x86_vex(&t->x, index ? LP_VUNPCKHPD : LP_VUNPCKLPD, 0, scratch, m, lp_rm_reg(m));
	else
		lp_x86_vex_rm_imm(&t->x, LP_VPERMILPS_IMM, 0, scratch, lp_rm_reg(m), index * 0x55);
	return scratch;
}

static bool product_by_element(struct lp_tr *t, uint32_t word, struct shape s)
{
	unsigned n, m, d;
	struct lp_x86_fixup hard;

	lp_flags_clobber(t);
	m = element(t, word, s, LP_FP_S1);
	n = get(t, s, F(Rn), LP_FP_S0);
	d = dest(t, s, F(Rd));
	lp_x86_vex(&t->x, times[s.form], 0, d, n, lp_rm_reg(m));
	hard = lp_fp_if_doubt(t, s.form, d);
	put(t, s, F(Rd), d, F(Rn));
	lp_fp_end(t, hard);
	return true;
}

static bool sum_by_element(struct lp_tr *t, uint32_t word, struct shape s, const enum lp_x86_vop ops[])
{
	lp_flags_clobber(t);
	return fused(t, word, s, element(t, word, s, LP_FP_S1), ops);
}

static bool fmul_elem_v(struct lp_tr *t, uint32_t word)
{
	return product_by_element(t, word, shape_of(word));
}
static bool fmul_elem_s(struct lp_tr *t, uint32_t word)
{
	return product_by_element(t, word, scalar_of(word));
}
static bool fmla_elem_v(struct lp_tr *t, uint32_t word)
{
	return sum_by_element(t, word, shape_of(word), plus);
}
static bool fmla_elem_s(struct lp_tr *t, uint32_t word)
{
	return sum_by_element(t, word, scalar_of(word), plus);
}
static bool fmls_elem_v(struct lp_tr *t, uint32_t word)
{
	return sum_by_element(t, word, shape_of(word), minus);
}
static bool fmls_elem_s(struct lp_tr *t, uint32_t word)
{
	return sum_by_element(t, word, scalar_of(word), minus);
}

/* ---- pairs ---- */

static bool faddp_v(struct lp_tr *t, uint32_t word)
{
	struct shape s = shape_of(word);
	unsigned n, m, d;
	struct lp_x86_fixup hard;

	lp_flags_clobber(t);
	n = lp_v_read(t, F(Rn));
	m = lp_v_read(t, F(Rm));
	d = dest(t, s, F(Rd));
	if (s.half) {
		lp_x86_vex(&t->x, LP_VUNPCKLPD, 0, LP_FP_S0, n, lp_rm_reg(m));
		n = m = LP_FP_S0;
	}
	lp_x86_vex(&t->x, F(sz) ? LP_VHADDPD : LP_VHADDPS, 0, d, n, lp_rm_reg(m));
	hard = lp_fp_if_nan(t, s.form, d);
	put(t, s, F(Rd), d, F(Rn));
	lp_fp_end(t, hard);
	return true;
}

static bool faddp_s(struct lp_tr *t, uint32_t word)
{
	struct shape s = scalar_of(word);
	unsigned n, d;
	struct lp_x86_fixup hard;

	lp_flags_clobber(t);
	n = lp_v_read(t, F(Rn));
	d = lp_v_dest(t, F(Rd));
	lp_x86_vex(&t->x, LP_VUNPCKHPD, 0, LP_FP_S0, n, lp_rm_reg(n));
	if (F(sz))
		lp_x86_vex(&t->x, LP_VADDSD, 0, d, LP_FP_S0, lp_rm_reg(n));
	else {
		lp_x86_vex_rm(&t->x, LP_VMOVSHDUP, 0, LP_FP_S0, lp_rm_reg(n));
		lp_x86_vex(&t->x, LP_VADDSS, 0, d, LP_FP_S0, lp_rm_reg(n));
	}
	hard = lp_fp_if_nan(t, s.form, d);
	lp_fp_write(t, s.form, F(Rd), d, false);
	lp_fp_end(t, hard);
	return true;
}

/* ---- greatest and least: see choose() in emit_fp.c ---- */

static struct lp_x86_fixup if_unordered(struct lp_tr *t, enum lp_fp_form form, unsigned a, unsigned b)
{
	lp_x86_vex_imm(&t->x, lp_fp_is_double(form) ? LP_VCMPPD : LP_VCMPPS, 0, LP_FP_TEST, a, lp_rm_reg(b),
		       LP_VCMP_UNORD);
	return lp_fp_if_sign(t, form, LP_FP_TEST);
}

/* d, which may be a or b, of numbers only. */
static void pick(struct lp_tr *t, enum lp_fp_form form, bool greatest, unsigned d, unsigned a, unsigned b)
{
	static const enum lp_x86_vop ops[][LP_NR_FP_FORMS] = {LP_FP_FORMS(LP_VMIN), LP_FP_FORMS(LP_VMAX)};
	struct lp_x86 *x = &t->x;

	lp_x86_vex(x, ops[greatest][form], 0, LP_FP_TEST, a, lp_rm_reg(b));
	lp_x86_vex(x, ops[greatest][form], 0, d, b, lp_rm_reg(a));
	lp_x86_vex(x, greatest ? LP_VANDPS : LP_VORPS, 0, d, d, lp_rm_reg(LP_FP_TEST));
}

static bool choose(struct lp_tr *t, uint32_t word, bool greatest)
{
	struct shape s = shape_of(word);
	unsigned n, m, d;
	struct lp_x86_fixup hard;

	lp_flags_clobber(t);
	n = get(t, s, F(Rn), LP_FP_S0);
	m = get(t, s, F(Rm), LP_FP_S1);
	d = dest(t, s, F(Rd));
	hard = if_unordered(t, s.form, n, m);
	pick(t, s.form, greatest, d, n, m);
	put(t, s, F(Rd), d, F(Rn));
	lp_fp_end(t, hard);
	return true;
}

/* Of the lanes of both registers as one long vector, two by two. */
static bool choose_pairs(struct lp_tr *t, uint32_t word, bool greatest)
{
	enum { EVEN = 0x88, ODD = 0xdd };
	struct shape s = shape_of(word);
	struct lp_x86_fixup hard;
	struct lp_x86 *x = &t->x;
	unsigned n, m, d;

	lp_flags_clobber(t);
	n = lp_v_read(t, F(Rn));
	m = lp_v_read(t, F(Rm));
	d = dest(t, s, F(Rd));
	if (s.half) {
		lp_x86_vex(x, LP_VUNPCKLPD, 0, LP_FP_S0, n, lp_rm_reg(m));
		n = m = LP_FP_S0;
	}
	if (F(sz)) {
		lp_x86_vex(x, LP_VUNPCKHPD, 0, LP_FP_S1, n, lp_rm_reg(m));
		lp_x86_vex(x, LP_VUNPCKLPD, 0, LP_FP_S0, n, lp_rm_reg(m));
	} else {
		lp_x86_vex_imm(x, LP_VSHUFPS, 0, LP_FP_S1, n, lp_rm_reg(m), ODD);
		lp_x86_vex_imm(x, LP_VSHUFPS, 0, LP_FP_S0, n, lp_rm_reg(m), EVEN);
	}
	hard = if_unordered(t, s.form, LP_FP_S0, LP_FP_S1);
	pick(t, s.form, greatest, d, LP_FP_S0, LP_FP_S1);
	put(t, s, F(Rd), d, F(Rn));
	lp_fp_end(t, hard);
	return true;
}

/* Of the two lanes of one register, as a scalar: the lanes above them are their copies. */
static bool choose_of_two(struct lp_tr *t, uint32_t word, bool greatest)
{
	enum lp_fp_form form = F(sz) ? LP_FP_PD : LP_FP_PS;
	struct lp_x86_fixup hard;
	struct lp_x86 *x = &t->x;
	unsigned n;

	lp_flags_clobber(t);
	n = lp_v_read(t, F(Rn));
	if (F(sz))
		lp_x86_vex(x, LP_VUNPCKLPD, 0, LP_FP_S0, n, lp_rm_reg(n));
	else
		lp_x86_vex_rm_imm(x, LP_VPERMILPS_IMM, 0, LP_FP_S0, lp_rm_reg(n), 0x00);
	if (F(sz))
		lp_x86_vex(x, LP_VUNPCKHPD, 0, LP_FP_S1, n, lp_rm_reg(n));
	else
		lp_x86_vex_rm_imm(x, LP_VPERMILPS_IMM, 0, LP_FP_S1, lp_rm_reg(n), 0x55);
	hard = if_unordered(t, form, LP_FP_S0, LP_FP_S1);
	pick(t, form, greatest, LP_FP_S0, LP_FP_S0, LP_FP_S1);
	lp_fp_write(t, F(sz) ? LP_FP_SD : LP_FP_SS, F(Rd), LP_FP_S0, false);
	lp_fp_end(t, hard);
	return true;
}

/* Of four singles. */
static bool choose_across(struct lp_tr *t, uint32_t word, bool greatest)
{
	struct lp_x86_fixup hard;
	struct lp_x86 *x = &t->x;
	unsigned n;

	lp_flags_clobber(t);
	n = lp_v_read(t, F(Rn));
	hard = if_unordered(t, LP_FP_PS, n, n);
	lp_x86_vex(x, LP_VUNPCKHPD, 0, LP_FP_S1, n, lp_rm_reg(n));
	pick(t, LP_FP_PS, greatest, LP_FP_S0, n, LP_FP_S1);
	lp_x86_vex_rm_imm(x, LP_VPERMILPS_IMM, 0, LP_FP_S1, lp_rm_reg(LP_FP_S0), 0x55);
	pick(t, LP_FP_PS, greatest, LP_FP_S0, LP_FP_S0, LP_FP_S1);
	lp_fp_write(t, LP_FP_SS, F(Rd), LP_FP_S0, false);
	lp_fp_end(t, hard);
	return true;
}

/* Where a NaN is, fmaxnm and fmax are different, and not here. */
#define CHOICE(name, how)                                           \
	static bool name##_greatest(struct lp_tr *t, uint32_t word) \
	{                                                           \
		return how(t, word, true);                          \
	}                                                           \
	static bool name##_least(struct lp_tr *t, uint32_t word)    \
	{                                                           \
		return how(t, word, false);                         \
	}
CHOICE(lanes, choose)
CHOICE(pairs, choose_pairs)
CHOICE(two, choose_of_two)
CHOICE(across, choose_across)

/* ---- comparisons: the host answers with the same masks and flags ---- */

static const enum lp_x86_vop compare_ops[] = LP_FP_FORMS(LP_VCMP);

static bool compare(struct lp_tr *t, uint32_t word, struct shape s, enum lp_x86_vcmp test, bool absolute)
{
	unsigned n = get(t, s, F(Rn), LP_FP_S0), m = get(t, s, F(Rm), LP_FP_S1), d = dest(t, s, F(Rd));

	if (absolute) {
		struct lp_x86_rm mask = lp_fp_constant(t, LP_FP_ABS, s.form);
		lp_x86_vex(&t->x, LP_VANDPS, 0, LP_FP_S0, n, mask);
		lp_x86_vex(&t->x, LP_VANDPS, 0, LP_FP_S1, m, mask);
		n = LP_FP_S0;
		m = LP_FP_S1;
	}
	lp_x86_vex_imm(&t->x, compare_ops[s.form], 0, d, n, lp_rm_reg(m), test);
	put(t, s, F(Rd), d, F(Rn));
	return true;
}

static bool compare_zero(struct lp_tr *t, uint32_t word, struct shape s, enum lp_x86_vcmp test)
{
	unsigned n = get(t, s, F(Rn), LP_FP_S0), d = dest(t, s, F(Rd));

	lp_x86_vex(&t->x, LP_VXORPS, 0, LP_FP_S1, LP_FP_S1, lp_rm_reg(LP_FP_S1));
	lp_x86_vex_imm(&t->x, compare_ops[s.form], 0, d, n, lp_rm_reg(LP_FP_S1), test);
	put(t, s, F(Rd), d, F(Rn));
	return true;
}

#define COMPARE(name, test, absolute)                                     \
	static bool name##_v(struct lp_tr *t, uint32_t word)              \
	{                                                                 \
		return compare(t, word, shape_of(word), test, absolute);  \
	}                                                                 \
	static bool name##_s(struct lp_tr *t, uint32_t word)              \
	{                                                                 \
		return compare(t, word, scalar_of(word), test, absolute); \
	}
#define COMPARE_ZERO(name, test)                                     \
	static bool name##_v(struct lp_tr *t, uint32_t word)         \
	{                                                            \
		return compare_zero(t, word, shape_of(word), test);  \
	}                                                            \
	static bool name##_s(struct lp_tr *t, uint32_t word)         \
	{                                                            \
		return compare_zero(t, word, scalar_of(word), test); \
	}
COMPARE(fcmeq, LP_VCMP_EQ, false)
COMPARE(fcmgt, LP_VCMP_GT, false)
COMPARE(fcmge, LP_VCMP_GE, false)
COMPARE(facgt, LP_VCMP_GT, true)
COMPARE(facge, LP_VCMP_GE, true)
COMPARE_ZERO(fcmeq_zero, LP_VCMP_EQ)
COMPARE_ZERO(fcmgt_zero, LP_VCMP_GT)
COMPARE_ZERO(fcmge_zero, LP_VCMP_GE)
COMPARE_ZERO(fcmlt_zero, LP_VCMP_LT)
COMPARE_ZERO(fcmle_zero, LP_VCMP_LE)

/* ---- one operand ---- */

static bool fsqrt_v(struct lp_tr *t, uint32_t word)
{
	struct shape s = shape_of(word);
	unsigned n, d;
	struct lp_x86_fixup hard;

	lp_flags_clobber(t);
	n = get(t, s, F(Rn), LP_FP_S0);
	d = dest(t, s, F(Rd));
	lp_x86_vex_rm(&t->x, F(sz) ? LP_VSQRTPD : LP_VSQRTPS, 0, d, lp_rm_reg(n));
	hard = lp_fp_if_nan(t, s.form, d);
	put(t, s, F(Rd), d, F(Rn));
	lp_fp_end(t, hard);
	return true;
}

static bool round_row(struct lp_tr *t, uint32_t word, unsigned how)
{
	struct shape s = shape_of(word);
	unsigned n, d;
	struct lp_x86_fixup hard;

	lp_flags_clobber(t);
	n = get(t, s, F(Rn), LP_FP_S0);
	d = dest(t, s, F(Rd));
	lp_fp_round(t, s.form, d, n, how);
	hard = lp_fp_if_nan(t, s.form, d);
	put(t, s, F(Rd), d, F(Rn));
	lp_fp_end(t, hard);
	return true;
}

#define ROUND(name, how)                                 \
	static bool name(struct lp_tr *t, uint32_t word) \
	{                                                \
		return round_row(t, word, how);          \
	}
ROUND(frintn_v, LP_ROUND_NEAREST | LP_ROUND_EXACT)
ROUND(frintm_v, LP_ROUND_DOWN | LP_ROUND_EXACT)
ROUND(frintp_v, LP_ROUND_UP | LP_ROUND_EXACT)
ROUND(frintz_v, LP_ROUND_ZERO | LP_ROUND_EXACT)
ROUND(frinti_v, LP_ROUND_MXCSR | LP_ROUND_EXACT)
ROUND(frintx_v, LP_ROUND_MXCSR)

/* The operand where no scratch register is to be had: half of one is in the destination's, until that is written. */
static unsigned get_aside(struct lp_tr *t, struct shape s, uint32_t word)
{
	unsigned n = lp_v_read(t, F(Rn));

	if (!s.half)
		return n;
	lp_x86_vex_rm(&t->x, LP_VMOVDDUP, 0, lp_v_dest(t, F(Rd)), lp_rm_reg(n));
	return lp_v_dest(t, F(Rd));
}

static bool frinta_v(struct lp_tr *t, uint32_t word)
{
	struct shape s = shape_of(word);
	struct lp_x86_fixup hard;
	unsigned n;

	lp_flags_clobber(t);
	n = get_aside(t, s, word);
	hard = lp_fp_round_away(t, s.form, LP_FP_S0, n);
	put(t, s, F(Rd), LP_FP_S0, F(Rn));
	lp_fp_end(t, hard);
	return true;
}

/* ---- signs: no arithmetic, no flags ---- */

static bool signs(struct lp_tr *t, uint32_t word, enum lp_x86_vop op, enum lp_fp_number mask)
{
	struct shape s = shape_of(word);
	unsigned n = lp_v_read(t, F(Rn)), d = dest(t, s, F(Rd));

	lp_x86_vex(&t->x, op, 0, d, n, lp_fp_constant(t, mask, s.form));
	put(t, s, F(Rd), d, F(Rn));
	return true;
}

static bool fabs_v(struct lp_tr *t, uint32_t word)
{
	return signs(t, word, LP_VANDPS, LP_FP_ABS);
}
static bool fneg_v(struct lp_tr *t, uint32_t word)
{
	return signs(t, word, LP_VXORPS, LP_FP_SIGN);
}

/* ---- conversions of integers ---- */

/* d = both lanes of n, one by one.  Uses rax. */
static void from_int_2d(struct lp_tr *t, unsigned d, unsigned n)
{
	struct lp_x86 *x = &t->x;

	lp_x86_vex(x, LP_VXORPS, 0, LP_FP_S0, LP_FP_S0, lp_rm_reg(LP_FP_S0));
	lp_x86_vex_to_imm(x, LP_VPEXTRQ, 0, lp_rm_reg(LP_RAX), n, 1);
	lp_x86_vex(x, LP_VCVTSI2SD_64, 0, LP_FP_S1, LP_FP_S0, lp_rm_reg(LP_RAX));
	lp_x86_vex_to(x, LP_VMOVQ_64_TO, 0, lp_rm_reg(LP_RAX), n);
	lp_x86_vex(x, LP_VCVTSI2SD_64, 0, LP_FP_S0, LP_FP_S0, lp_rm_reg(LP_RAX));
	lp_x86_vex(x, LP_VUNPCKLPD, 0, d, LP_FP_S0, lp_rm_reg(LP_FP_S1));
}

static bool scvtf_v(struct lp_tr *t, uint32_t word)
{
	struct shape s = shape_of(word);
	unsigned n = get(t, s, F(Rn), LP_FP_S0), d = dest(t, s, F(Rd));

	if (!F(sz))
		lp_x86_vex_rm(&t->x, LP_VCVTDQ2PS, 0, d, lp_rm_reg(n));
	else if (t->jit->host & LP_HOST_AVX512)
		lp_x86_vex_rm(&t->x, LP_VCVTQQ2PD, 0, d, lp_rm_reg(n));
	else
		from_int_2d(t, d, n);
	put(t, s, F(Rd), d, F(Rn));
	return true;
}

static bool ucvtf_v(struct lp_tr *t, uint32_t word)
{
	struct shape s = shape_of(word);
	struct lp_x86_fixup hard = {0};
	unsigned n, d;

	if (!(t->jit->host & LP_HOST_AVX512))
		lp_flags_clobber(t);
	n = get(t, s, F(Rn), LP_FP_S0);
	d = dest(t, s, F(Rd));
	if (t->jit->host & LP_HOST_AVX512) {
		lp_x86_vex_rm(&t->x, F(sz) ? LP_VCVTUQQ2PD : LP_VCVTUDQ2PS, 0, d, lp_rm_reg(n));
	} else {
		/* only what is a signed one too */
		hard = lp_fp_if_sign(t, s.form, n);
		if (F(sz))
			from_int_2d(t, d, n);
		else
			lp_x86_vex_rm(&t->x, LP_VCVTDQ2PS, 0, d, lp_rm_reg(n));
	}
	put(t, s, F(Rd), d, F(Rn));
	if (hard.next)
		lp_fp_end(t, hard);
	return true;
}

/* Jumps where a lane of d is `answer`, the host's for what does not fit. */
static struct lp_x86_fixup if_answer(struct lp_tr *t, struct shape s, unsigned d, struct lp_x86_rm answer)
{
	lp_x86_vex(&t->x, lp_fp_is_double(s.form) ? LP_VPCMPEQQ : LP_VPCMPEQD, 0, LP_FP_TEST, d, answer);
	return lp_fp_if_sign(t, s.form, LP_FP_TEST);
}

/* to = the integers that are r truncated; jumps where one does not fit. */
static struct lp_x86_fixup to_integers(struct lp_tr *t, struct shape s, unsigned to, unsigned r, bool is_unsigned)
{
	static const enum lp_x86_vop ops[][2] = {{LP_VCVTTPS2DQ, LP_VCVTTPD2QQ}, {LP_VCVTTPS2UDQ, LP_VCVTTPD2UQQ}};

	lp_x86_vex_rm(&t->x, ops[is_unsigned][lp_fp_is_double(s.form)], 0, to, lp_rm_reg(r));
	if (is_unsigned)
		return if_answer(t, s, to, lp_constant(t, UINT64_MAX, UINT64_MAX));
	return if_answer(t, s, to, lp_fp_constant(t, LP_FP_SIGN, s.form));
}

/* AVX2 has signed ones of 32 bits. */
static bool host_has(const struct lp_tr *t, uint32_t word, bool is_unsigned)
{
	return t->jit->host & LP_HOST_AVX512 || !(F(sz) || is_unsigned);
}

static bool truncate_row(struct lp_tr *t, uint32_t word, bool is_unsigned)
{
	struct shape s = shape_of(word);
	struct lp_x86_fixup hard;
	unsigned n, d;

	if (!host_has(t, word, is_unsigned))
		return false;
	lp_flags_clobber(t);
	n = get(t, s, F(Rn), LP_FP_S0);
	d = dest(t, s, F(Rd));
	hard = to_integers(t, s, d, n, is_unsigned);
	put(t, s, F(Rd), d, F(Rn));
	lp_fp_end(t, hard);
	return true;
}

static bool fcvtzs_v(struct lp_tr *t, uint32_t word)
{
	return truncate_row(t, word, false);
}
static bool fcvtzu_v(struct lp_tr *t, uint32_t word)
{
	return truncate_row(t, word, true);
}

/* Rounded first, without Inexact: see emit_fp_convert.c. */
static bool rounded_row(struct lp_tr *t, uint32_t word, unsigned how, bool is_unsigned)
{
	struct shape s = shape_of(word);
	struct lp_x86_fixup large = {0}, hard;
	unsigned n;

	if (!host_has(t, word, is_unsigned))
		return false;
	lp_flags_clobber(t);
	n = get_aside(t, s, word);
	if (how == LP_FP_AWAY)
		large = lp_fp_round_away(t, s.form, LP_FP_S0, n);
	else
		lp_fp_round(t, s.form, LP_FP_S0, n, how | LP_ROUND_EXACT);
	hard = to_integers(t, s, LP_FP_S1, LP_FP_S0, is_unsigned);
	lp_fp_round(t, s.form, LP_FP_S0, n, LP_ROUND_ZERO);
	put(t, s, F(Rd), LP_FP_S1, F(Rn));
	lp_fp_end2(t, hard, large);
	return true;
}

#define ROUNDED(name, how)                                    \
	static bool name##s_v(struct lp_tr *t, uint32_t word) \
	{                                                     \
		return rounded_row(t, word, how, false);      \
	}                                                     \
	static bool name##u_v(struct lp_tr *t, uint32_t word) \
	{                                                     \
		return rounded_row(t, word, how, true);       \
	}
ROUNDED(fcvtn, LP_ROUND_NEAREST)
ROUNDED(fcvtp, LP_ROUND_UP)
ROUNDED(fcvtm, LP_ROUND_DOWN)
ROUNDED(fcvta, LP_FP_AWAY)

/* ---- between precisions ---- */

static bool fcvtl_v(struct lp_tr *t, uint32_t word)
{
	struct lp_x86_fixup hard;
	unsigned n, d;

	if (!F(sz))
		return false;
	lp_flags_clobber(t);
	n = lp_v_read(t, F(Rn));
	d = lp_v_dest(t, F(Rd));
	if (F(Q)) {
		lp_x86_vex(&t->x, LP_VUNPCKHPD, 0, LP_FP_S0, n, lp_rm_reg(n));
		n = LP_FP_S0;
	}
	lp_x86_vex_rm(&t->x, LP_VCVTPS2PD, 0, d, lp_rm_reg(n));
	hard = lp_fp_if_nan(t, LP_FP_PD, d);
	lp_v_write(t, F(Rd), d);
	lp_fp_end(t, hard);
	return true;
}

static bool fcvtn_v(struct lp_tr *t, uint32_t word)
{
	struct lp_x86_fixup hard;
	unsigned n, d;

	if (!F(sz))
		return false;
	lp_flags_clobber(t);
	n = lp_v_read(t, F(Rn));
	lp_x86_vex_rm(&t->x, LP_VCVTPD2PS, 0, LP_FP_S0, lp_rm_reg(n));
	hard = lp_fp_if_doubt(t, LP_FP_PS, LP_FP_S0);
	if (F(Q)) {
		d = lp_v_read(t, F(Rd));
		lp_x86_vex(&t->x, LP_VMOVLHPS, 0, d, d, lp_rm_reg(LP_FP_S0));
		lp_v_write(t, F(Rd), d);
	} else {
		lp_v_write_bits(t, F(Rd), LP_FP_S0, 64);
	}
	lp_fp_end(t, hard);
	return true;
}

#define BOTH(NAME, name)                    \
	{A64_OP_##NAME##_V, name##_v},      \
	{                                   \
		A64_OP_##NAME##_S, name##_s \
	}
const struct lp_emit_row lp_emit_fp_vector[] = {
	{A64_OP_FMAXP_V, pairs_greatest},
	{A64_OP_FMINP_V, pairs_least},
	{A64_OP_FMAXNMP_V, pairs_greatest},
	{A64_OP_FMINNMP_V, pairs_least},
	{A64_OP_FMAXP_S, two_greatest},
	{A64_OP_FMINP_S, two_least},
	{A64_OP_FMAXNMP_S, two_greatest},
	{A64_OP_FMINNMP_S, two_least},
	{A64_OP_FMAXV, across_greatest},
	{A64_OP_FMINV, across_least},
	{A64_OP_FMAXNMV, across_greatest},
	{A64_OP_FMINNMV, across_least},
	{A64_OP_FCVTNS_V, fcvtns_v},
	{A64_OP_FCVTNU_V, fcvtnu_v},
	{A64_OP_FCVTPS_V, fcvtps_v},
	{A64_OP_FCVTPU_V, fcvtpu_v},
	{A64_OP_FCVTMS_V, fcvtms_v},
	{A64_OP_FCVTMU_V, fcvtmu_v},
	{A64_OP_FCVTAS_V, fcvtas_v},
	{A64_OP_FCVTAU_V, fcvtau_v},
	{A64_OP_FADD_V, fadd_v},
	{A64_OP_FSUB_V, fsub_v},
	{A64_OP_FMUL_V, fmul_v},
	{A64_OP_FDIV_V, fdiv_v},
	{A64_OP_FMLA_V, fmla_v},
	{A64_OP_FMLS_V, fmls_v},
	{A64_OP_FMAX_V, lanes_greatest},
	{A64_OP_FMIN_V, lanes_least},
	{A64_OP_FMAXNM_V, lanes_greatest},
	{A64_OP_FMINNM_V, lanes_least},
	{A64_OP_FSQRT_V, fsqrt_v},
	{A64_OP_FABS_V, fabs_v},
	{A64_OP_FNEG_V, fneg_v},
	{A64_OP_FRINTN_V, frintn_v},
	{A64_OP_FRINTM_V, frintm_v},
	{A64_OP_FRINTP_V, frintp_v},
	{A64_OP_FRINTZ_V, frintz_v},
	{A64_OP_FRINTI_V, frinti_v},
	{A64_OP_FRINTX_V, frintx_v},
	{A64_OP_FRINTA_V, frinta_v},
	{A64_OP_SCVTF_V, scvtf_v},
	{A64_OP_UCVTF_V, ucvtf_v},
	{A64_OP_FCVTZS_V, fcvtzs_v},
	{A64_OP_FCVTZU_V, fcvtzu_v},
	{A64_OP_FCVTL_V, fcvtl_v},
	{A64_OP_FCVTN_V, fcvtn_v},
	BOTH(FABD, fabd),
	BOTH(FADDP, faddp),
	BOTH(FMUL_ELEM, fmul_elem),
	BOTH(FMLA_ELEM, fmla_elem),
	BOTH(FMLS_ELEM, fmls_elem),
	BOTH(FCMEQ, fcmeq),
	BOTH(FCMGT, fcmgt),
	BOTH(FCMGE, fcmge),
	BOTH(FACGT, facgt),
	BOTH(FACGE, facge),
	BOTH(FCMEQ_ZERO, fcmeq_zero),
	BOTH(FCMGT_ZERO, fcmgt_zero),
	BOTH(FCMGE_ZERO, fcmge_zero),
	BOTH(FCMLT_ZERO, fcmlt_zero),
	BOTH(FCMLE_ZERO, fcmle_zero),
	{0},
};
