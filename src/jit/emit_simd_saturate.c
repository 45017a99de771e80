/* Advanced SIMD on integers: what saturates, and then sets FPSR.QC. */
#include "jit/emit_simd.h"

enum { QC = 1 << 27 };

/* ---- QC ---- */

/* The lowest lane alone counts. */
static bool is_scalar(const struct lp_lanes *l)
{
	return l->word >> 28 & 1;
}

/* What is above the operands' lanes shall not be seen. */
static void clear_above(struct lp_lanes *l, unsigned size, unsigned v)
{
	if (is_scalar(l))
		V_MEM(LP_VPAND, v, v, lp_lowest_lane(l, size));
	else if (!l->whole)
		V_ONE(LP_VMOVQ, v, v);
}

/* Bits of v: something has saturated. */
static void note(struct lp_lanes *l, unsigned v)
{
	struct lp_x86_fixup none;

	lp_x86_vex_rm(l->x, LP_VPTEST, 0, v, lp_rm_reg(v));
	none = lp_x86_jcc_forward_short(l->x, LP_CC_E);
	lp_x86_alu_imm(l->x, LP_ALU_OR, 0, LP_CPU(fpsr), QC);
	lp_x86_bind(l->x, none);
}

/* d = T0; T1 is something else where it has been saturated. */
static void write_saturated(struct lp_lanes *l, unsigned size)
{
	clear_above(l, size, T0);
	clear_above(l, size, T1);
	V(LP_VPXOR, T1, T1, T0);
	note(l, T1);
	V_ONE(LP_VMOVAPS, l->d, T0);
}

/* Flags are overwritten by what looks for saturation. */
static bool saturating(struct lp_tr *t, uint32_t word, unsigned how, lp_lanes_fn *compute)
{
	lp_flags_clobber(t);
	return lp_lanes_do(t, word, how, compute);
}
#define SATURATING(row, how, compute)                         \
	static bool row(struct lp_tr *t, uint32_t word)       \
	{                                                     \
		return saturating(t, word, (how), (compute)); \
	}

static uint64_t lowest(unsigned size)
{
	return UINT64_C(1) << ((8U << size) - 1);
}
static void blend(struct lp_lanes *l, unsigned size, unsigned to, unsigned otherwise, unsigned then, unsigned mask)
{
	lp_x86_vex_blend(l->x, size == D ? LP_VBLENDVPD : LP_VBLENDVPS, 0, to, otherwise, lp_rm_reg(then), mask);
}

/* ---- sums and differences ---- */

/* T0 = where a's lanes end on its side of zero. */
static void limit_of(struct lp_lanes *l, unsigned size, unsigned a)
{
	if (size == D) {
		lp_v_zero(l, T0);
		V(LP_VPCMPGTQ, T0, T0, a);
	} else {
		lp_sar(l, size, T0, a, 8U << size, T0);
	}
	V_MEM(LP_VPXOR, T0, T0, lp_each_constant(l, size, lowest(size) - 1));
}

/* T0 = a + b or a - b, saturated; T1 = not so.  b may be T0.  Lanes of 32 or 64 bits. */
static void signed_sum(struct lp_lanes *l, unsigned size, unsigned a, unsigned b, bool subtracts)
{
	V((subtracts ? vop_sub : vop_add)[size], T1, a, b);
	/* It has overflown when its sign is not that of a, which is that of b, or, from where b is taken, is not. */
	if (subtracts) {
		V(LP_VPXOR, T2, a, b);
		V(LP_VPXOR, T0, a, T1);
	} else {
		V(LP_VPXOR, T2, a, T1);
		V(LP_VPXOR, T0, b, T1);
	}
	V(LP_VPAND, T2, T2, T0);
	limit_of(l, size, a);
	blend(l, size, T0, T1, T0, T2);
}

static void unsigned_sum(struct lp_lanes *l, bool subtracts)
{
	struct lp_x86_rm sign = lp_each_constant(l, l->size, lowest(l->size));

	V((subtracts ? vop_sub : vop_add)[l->size], T1, l->n, l->m);
	/* n > n + m, m > n: compared with signs */
	V_MEM(LP_VPXOR, T0, subtracts ? l->m : l->n, sign);
	V_MEM(LP_VPXOR, T2, subtracts ? l->n : T1, sign);
	V(vop_cmgt[l->size], T2, T0, T2);
	if (subtracts)
		V(LP_VPANDN, T0, T2, T1);
	else
		V(LP_VPOR, T0, T2, T1);
}

#define SUM(name, byte_op, half_op, op, wide)                                \
	static void do_##name(struct lp_lanes *l)                            \
	{                                                                    \
		if (l->size > H) {                                           \
			wide;                                                \
		} else {                                                     \
			V(l->size == B ? byte_op : half_op, T0, l->n, l->m); \
			V((op)[l->size], T1, l->n, l->m);                    \
		}                                                            \
		write_saturated(l, l->size);                                 \
	}                                                                    \
	SATURATING(name, LP_TWO | LP_ALL_BITS, do_##name)
SUM(sqadd, LP_VPADDSB, LP_VPADDSW, vop_add, signed_sum(l, l->size, l->n, l->m, false))
SUM(sqsub, LP_VPSUBSB, LP_VPSUBSW, vop_sub, signed_sum(l, l->size, l->n, l->m, true))
SUM(uqadd, LP_VPADDUSB, LP_VPADDUSW, vop_add, unsigned_sum(l, false))
SUM(uqsub, LP_VPSUBUSB, LP_VPSUBUSW, vop_sub, unsigned_sum(l, true))

/* T0 = T1, but the largest where T1 is the smallest: what has become of its opposite. */
static void not_smallest(struct lp_lanes *l, unsigned size)
{
	V_MEM(vop_cmeq[size], T0, T1, lp_each_constant(l, size, lowest(size)));
	V(LP_VPXOR, T0, T0, T1);
}

static void do_sqneg(struct lp_lanes *l)
{
	lp_v_zero(l, T1);
	V(vop_sub[l->size], T1, T1, l->n);
	not_smallest(l, l->size);
	write_saturated(l, l->size);
}
SATURATING(sqneg, LP_ONE | LP_ALL_BITS, do_sqneg)

static void do_sqabs(struct lp_lanes *l)
{
	lp_v_zero(l, T1);
	V(vop_cmgt[l->size], T0, T1, l->n);
	V(LP_VPXOR, T1, l->n, T0);
	V(vop_sub[l->size], T1, T1, T0);
	not_smallest(l, l->size);
	write_saturated(l, l->size);
}
SATURATING(sqabs, LP_ONE | LP_ALL_BITS, do_sqabs)

/* Without signs a sum is one with signs, of what is half the range less; and so back. */
static void biased_sum(struct lp_lanes *l, enum lp_x86_vop saturating_op)
{
	struct lp_x86_rm sign = lp_each_constant(l, l->size, lowest(l->size));

	V_MEM(LP_VPXOR, T2, l->d, sign);
	V(saturating_op, T0, T2, l->n);
	V(vop_add[l->size], T1, T2, l->n);
	V_MEM(LP_VPXOR, T0, T0, sign);
	V_MEM(LP_VPXOR, T1, T1, sign);
}

/* What has no sign is added to what has one. */
static void do_suqadd(struct lp_lanes *l)
{
	if (l->size <= H) {
		biased_sum(l, l->size == B ? LP_VPADDUSB : LP_VPADDUSW);
	} else {
		/* Too much, where the sum is less than d. */
		V(vop_add[l->size], T1, l->d, l->n);
		V(vop_cmgt[l->size], T2, l->d, T1);
		V_ONE_MEM(LP_VMOVAPS, T0, lp_each_constant(l, l->size, lowest(l->size) - 1));
		blend(l, l->size, T0, T1, T0, T2);
	}
	write_saturated(l, l->size);
}
SATURATING(suqadd, LP_ONE_INTO | LP_ALL_BITS, do_suqadd)

/* What has a sign is added to what has none. */
static void do_usqadd(struct lp_lanes *l)
{
	if (l->size <= H) {
		biased_sum(l, l->size == B ? LP_VPADDSB : LP_VPADDSW);
	} else {
		struct lp_x86_rm sign = lp_each_constant(l, l->size, lowest(l->size));
		/* Too much, where the sum is less than d, or, when n is negative, is not. */
		V(vop_add[l->size], T1, l->d, l->n);
		V_MEM(LP_VPXOR, T0, l->d, sign);
		V_MEM(LP_VPXOR, T2, T1, sign);
		V(vop_cmgt[l->size], T2, T0, T2);
		V(LP_VPXOR, T2, T2, l->n);
		lp_v_ones(l, T0);
		V(vop_cmgt[l->size], T0, l->n, T0);
		blend(l, l->size, T0, T1, T0, T2);
	}
	write_saturated(l, l->size);
}
SATURATING(usqadd, LP_ONE_INTO | LP_ALL_BITS, do_usqadd)

/* ---- shifts to the left by an immediate ---- */

/* d = T1, where T0 is not zero that has been saturated: the result may be what it had been without. */
static void write_noted(struct lp_lanes *l)
{
	clear_above(l, l->size, T0);
	clear_above(l, l->size, T1);
	note(l, T0);
	V_ONE(LP_VMOVAPS, l->d, T1);
}

/* T1 = n shifted; T0: where bits are lost. */
static void shift_left(struct lp_lanes *l, bool is_signed)
{
	unsigned by = (l->word >> 16 & 127) - (8U << l->size);

	lp_shl(l, l->size, T1, l->n, by);
	if (is_signed)
		lp_sar(l, l->size, T2, T1, by, T0);
	else
		lp_shr(l, l->size, T2, T1, by);
	V(vop_cmeq[l->size], T2, T2, l->n);
	lp_v_not(l, T0, T2, T0);
}

static void do_uqshl(struct lp_lanes *l)
{
	shift_left(l, false);
	V(LP_VPOR, T1, T1, T0);
	write_noted(l);
}
static void do_sqshl(struct lp_lanes *l)
{
	shift_left(l, true);
	limit_of(l, l->size, l->n);
	lp_x86_vex_blend(l->x, LP_VPBLENDVB, 0, T1, T0, lp_rm_reg(T1), T2);
	lp_v_not(l, T0, T2, T0);
	write_noted(l);
}
static void do_sqshlu(struct lp_lanes *l)
{
	shift_left(l, false);
	V(LP_VPOR, T1, T1, T0);
	lp_v_zero(l, T2);
	V(vop_cmgt[l->size], T2, T2, l->n);
	V(LP_VPANDN, T1, T2, T1);
	V(LP_VPOR, T0, T0, T2);
	write_noted(l);
}
SATURATING(uqshl_imm, LP_ONE | LP_ALL_BITS | LP_SIZE_OF_IMMH, do_uqshl)
SATURATING(sqshl_imm, LP_ONE | LP_ALL_BITS | LP_SIZE_OF_IMMH, do_sqshl)
SATURATING(sqshlu_imm, LP_ONE | LP_ALL_BITS | LP_SIZE_OF_IMMH, do_sqshlu)

/* ---- products: only that of the smallest with itself saturates ---- */

/* T1 = the upper half of twice the product, which is to be rounded or not. */
static void doubled_high(struct lp_lanes *l, bool rounds)
{
	if (l->size == H && rounds) {
		V(LP_VPMULHRSW, T1, l->n, l->m);
	} else if (l->size == H) {
		V(LP_VPMULHW, T0, l->n, l->m);
		V(LP_VPMULLW, T1, l->n, l->m);
		V(LP_VPADDW, T0, T0, T0);
		V_SHIFT(LP_VPSRLW_IMM, T1, T1, 15);
		V(LP_VPOR, T1, T0, T1);
	} else {
		V(LP_VPMULDQ, T0, l->n, l->m);
		V_SHIFT(LP_VPSRLQ_IMM, T1, l->n, 32);
		V_SHIFT(LP_VPSRLQ_IMM, T2, l->m, 32);
		V(LP_VPMULDQ, T1, T1, T2);
		if (rounds) {
			struct lp_x86_rm half = lp_each_constant(l, D, 1U << 30);
			V_MEM(LP_VPADDQ, T0, T0, half);
			V_MEM(LP_VPADDQ, T1, T1, half);
		}
		V_SHIFT(LP_VPSRLQ_IMM, T0, T0, 31);
		V_SHIFT(LP_VPSLLQ_IMM, T1, T1, 1);
		V_IMM(LP_VPBLENDD, T1, T0, T1, 0xa);
	}
}

static void do_sqdmulh(struct lp_lanes *l)
{
	doubled_high(l, false);
	not_smallest(l, l->size);
	write_saturated(l, l->size);
}
static void do_sqrdmulh(struct lp_lanes *l)
{
	doubled_high(l, true);
	not_smallest(l, l->size);
	write_saturated(l, l->size);
}
SATURATING(sqdmulh, LP_TWO | LP_ALL_BITS, do_sqdmulh)
SATURATING(sqrdmulh, LP_TWO | LP_ALL_BITS, do_sqrdmulh)
SATURATING(sqdmulh_elem, LP_N | LP_ELEMENT | LP_ALL_BITS, do_sqdmulh)
SATURATING(sqrdmulh_elem, LP_N | LP_ELEMENT | LP_ALL_BITS, do_sqrdmulh)

/* v = (d << 15) + v, or less v, rounded, without the lower 15 bits; d's lanes by `unpack`. */
static void add_to_doubled(struct lp_lanes *l, unsigned v, enum lp_x86_vop unpack, bool subtracts)
{
	lp_v_zero(l, T0);
	V(unpack, T0, T0, l->d);
	V_SHIFT(LP_VPSRAD_IMM, T0, T0, 1);
	V(subtracts ? LP_VPSUBD : LP_VPADDD, v, T0, v);
	V_MEM(LP_VPADDD, v, v, lp_each_constant(l, S, 1 << 14));
	V_SHIFT(LP_VPSRAD_IMM, v, v, 15);
}

/* Everything fits into lanes of 32 bits before it is saturated. */
static void doubled_high_into(struct lp_lanes *l, bool subtracts)
{
	V(LP_VPMULLW, T0, l->n, l->m);
	V(LP_VPMULHW, T1, l->n, l->m);
	V(LP_VPUNPCKLWD, T2, T0, T1);
	V(LP_VPUNPCKHWD, T1, T0, T1);
	add_to_doubled(l, T2, LP_VPUNPCKLWD, subtracts);
	add_to_doubled(l, T1, LP_VPUNPCKHWD, subtracts);
	V(LP_VPACKSSDW, T0, T2, T1);
	lp_shl(l, S, T2, T2, 16);
	lp_shl(l, S, T1, T1, 16);
	V_SHIFT(LP_VPSRAD_IMM, T2, T2, 16);
	V_SHIFT(LP_VPSRAD_IMM, T1, T1, 16);
	V(LP_VPACKSSDW, T1, T2, T1);
	write_saturated(l, H);
}
static void do_sqrdmlah(struct lp_lanes *l)
{
	doubled_high_into(l, false);
}
static void do_sqrdmlsh(struct lp_lanes *l)
{
	doubled_high_into(l, true);
}

/* Lanes of 32 bits are the interpreter's. */
#define ROUNDED_INTO(name, how, compute)                                                 \
	static bool name(struct lp_tr *t, uint32_t word)                                 \
	{                                                                                \
		return F(esize) == H && saturating(t, word, how | LP_ALL_BITS, compute); \
	}
ROUNDED_INTO(sqrdmlah, LP_TWO_INTO, do_sqrdmlah)
ROUNDED_INTO(sqrdmlsh, LP_TWO_INTO, do_sqrdmlsh)
ROUNDED_INTO(sqrdmlah_elem, LP_ONE_INTO | LP_ELEMENT, do_sqrdmlah)
ROUNDED_INTO(sqrdmlsh_elem, LP_ONE_INTO | LP_ELEMENT, do_sqrdmlsh)

/* T0 = twice the products of one half, saturated; T1 = not so. */
static void doubled_long(struct lp_lanes *l)
{
	if (l->size == H) {
		V(LP_VPMULLW, T0, l->n, l->m);
		V(LP_VPMULHW, T1, l->n, l->m);
		V(l->whole ? LP_VPUNPCKHWD : LP_VPUNPCKLWD, T1, T0, T1);
	} else {
		enum lp_x86_vop spread = l->whole ? LP_VPUNPCKHDQ : LP_VPUNPCKLDQ;
		V(spread, T0, l->n, l->n);
		V(spread, T1, l->m, l->m);
		V(LP_VPMULDQ, T1, T0, T1);
	}
	V(vop_add[l->size + 1], T1, T1, T1);
	not_smallest(l, l->size + 1);
}

/* Results fill the register, but those of scalars. */
static void clear_above_long(struct lp_lanes *l, unsigned v)
{
	if (is_scalar(l))
		V_MEM(LP_VPAND, v, v, lp_lowest_lane(l, l->size + 1));
}
static void write_long(struct lp_lanes *l)
{
	clear_above_long(l, T0);
	clear_above_long(l, T1);
	V(LP_VPXOR, T1, T1, T0);
	note(l, T1);
	V_ONE(LP_VMOVAPS, l->d, T0);
}

static void do_sqdmull(struct lp_lanes *l)
{
	doubled_long(l);
	write_long(l);
}
/* The product saturates, and the sum again. */
static void doubled_long_into(struct lp_lanes *l, bool subtracts)
{
	doubled_long(l);
	V(LP_VPXOR, T1, T1, T0);
	clear_above_long(l, T1);
	note(l, T1);
	signed_sum(l, l->size + 1, l->d, T0, subtracts);
	write_long(l);
}
static void do_sqdmlal(struct lp_lanes *l)
{
	doubled_long_into(l, false);
}
static void do_sqdmlsl(struct lp_lanes *l)
{
	doubled_long_into(l, true);
}
SATURATING(sqdmull, LP_TWO | LP_ALL_BITS, do_sqdmull)
SATURATING(sqdmlal, LP_TWO_INTO | LP_ALL_BITS, do_sqdmlal)
SATURATING(sqdmlsl, LP_TWO_INTO | LP_ALL_BITS, do_sqdmlsl)
SATURATING(sqdmull_elem, LP_ONE | LP_ELEMENT | LP_ALL_BITS, do_sqdmull)
SATURATING(sqdmlal_elem, LP_ONE_INTO | LP_ELEMENT | LP_ALL_BITS, do_sqdmlal)
SATURATING(sqdmlsl_elem, LP_ONE_INTO | LP_ELEMENT | LP_ALL_BITS, do_sqdmlsl)

/* ---- to half the size: l->size is the result's ---- */

enum { FROM_SIGNED = 1, TO_SIGNED = 2, ROUNDS = 4 };

/* T1 = T0 within the limits of the result. */
static void limit(struct lp_lanes *l, unsigned kind)
{
	unsigned wide = l->size + 1;
	uint64_t top = (lowest(l->size) << (kind & TO_SIGNED ? 0 : 1)) - 1;
	struct lp_x86_rm most = lp_each_constant(l, wide, top);

	if (!(kind & FROM_SIGNED)) {
		V_MEM(vop_umin[wide], T1, T0, most);
		return;
	}
	V_MEM(vop_smin[wide], T1, T0, most);
	V_MEM(vop_smax[wide], T1, T1, lp_each_constant(l, wide, kind & TO_SIGNED ? ~top : 0));
}

/* Writes T0 so. */
static void narrow(struct lp_lanes *l, unsigned kind)
{
	struct lp_order order = lp_order_every_second(l->size, 0);

	limit(l, kind);
	if (is_scalar(l)) {
		struct lp_x86_rm mask = lp_lowest_lane(l, l->size + 1);
		V_MEM(LP_VPAND, T0, T0, mask);
		V_MEM(LP_VPAND, T1, T1, mask);
	}
	V(LP_VPXOR, T0, T0, T1);
	note(l, T0);
	V_MEM(LP_VPSHUFB, T1, T1, lp_order_constant(l, &order));
	lp_write_half(l, T1);
}

static void shift_right(struct lp_lanes *l, unsigned kind)
{
	unsigned wide = l->size + 1, bits = 8U << wide, by = bits - (l->word >> 16 & 127);

	if (kind & FROM_SIGNED)
		lp_sar(l, wide, T0, l->n, by, T1);
	else
		lp_shr(l, wide, T0, l->n, by);
	if (!(kind & ROUNDS))
		return;
	/* The last bit that is lost. */
	lp_shl(l, wide, T1, l->n, bits - by);
	lp_shr(l, wide, T1, T1, bits - 1);
	V(vop_add[wide], T0, T0, T1);
}

/* Limits of lanes of 64 bits need the newer hosts. */
static bool narrowing(struct lp_tr *t, uint32_t word, unsigned how, lp_lanes_fn *compute)
{
	unsigned size = how & LP_SIZE_OF_IMMH ? 31 - (unsigned)__builtin_clz(F(immh)) : F(esize);

	return (size < S || t->jit->host & LP_HOST_AVX512) && saturating(t, word, how, compute);
}
#define NARROW(name, kind)                                              \
	static void do_##name(struct lp_lanes *l)                       \
	{                                                               \
		V_ONE(LP_VMOVAPS, T0, l->n);                            \
		narrow(l, kind);                                        \
	}                                                               \
	static bool name(struct lp_tr *t, uint32_t word)                \
	{                                                               \
		return narrowing(t, word, LP_ONE | LP_HALF, do_##name); \
	}
#define NARROW_SHIFTED(name, kind)                                                        \
	static void do_##name(struct lp_lanes *l)                                         \
	{                                                                                 \
		shift_right(l, kind);                                                     \
		narrow(l, kind);                                                          \
	}                                                                                 \
	static bool name(struct lp_tr *t, uint32_t word)                                  \
	{                                                                                 \
		return narrowing(t, word, LP_ONE | LP_HALF | LP_SIZE_OF_IMMH, do_##name); \
	}
NARROW(sqxtn, FROM_SIGNED | TO_SIGNED)
NARROW(uqxtn, 0)
NARROW(sqxtun, FROM_SIGNED)
NARROW_SHIFTED(sqshrn, FROM_SIGNED | TO_SIGNED)
NARROW_SHIFTED(uqshrn, 0)
NARROW_SHIFTED(sqshrun, FROM_SIGNED)
NARROW_SHIFTED(sqrshrn, FROM_SIGNED | TO_SIGNED | ROUNDS)
NARROW_SHIFTED(uqrshrn, ROUNDS)
NARROW_SHIFTED(sqrshrun, FROM_SIGNED | ROUNDS)

#define BOTH(name, fn)                \
	{A64_OP_##name##_V, fn},      \
	{                             \
		A64_OP_##name##_S, fn \
	}
const struct lp_emit_row lp_emit_simd_saturate[] = {
	BOTH(SQADD, sqadd),
	BOTH(UQADD, uqadd),
	BOTH(SQSUB, sqsub),
	BOTH(UQSUB, uqsub),
	BOTH(SUQADD, suqadd),
	BOTH(USQADD, usqadd),
	BOTH(UQSHL_IMM, uqshl_imm),
	BOTH(SQSHL_IMM, sqshl_imm),
	BOTH(SQSHLU_IMM, sqshlu_imm),
	BOTH(SQRDMLAH, sqrdmlah),
	BOTH(SQRDMLSH, sqrdmlsh),
	BOTH(SQRDMLAH_ELEM, sqrdmlah_elem),
	BOTH(SQRDMLSH_ELEM, sqrdmlsh_elem),
	BOTH(SQNEG, sqneg),
	BOTH(SQABS, sqabs),
	BOTH(SQDMULH, sqdmulh),
	BOTH(SQRDMULH, sqrdmulh),
	BOTH(SQDMULH_ELEM, sqdmulh_elem),
	BOTH(SQRDMULH_ELEM, sqrdmulh_elem),
	BOTH(SQDMULL, sqdmull),
	BOTH(SQDMLAL, sqdmlal),
	BOTH(SQDMLSL, sqdmlsl),
	BOTH(SQDMULL_ELEM, sqdmull_elem),
	BOTH(SQDMLAL_ELEM, sqdmlal_elem),
	BOTH(SQDMLSL_ELEM, sqdmlsl_elem),
	BOTH(SQXTN, sqxtn),
	BOTH(UQXTN, uqxtn),
	BOTH(SQXTUN, sqxtun),
	BOTH(SQSHRN_IMM, sqshrn),
	BOTH(UQSHRN_IMM, uqshrn),
	BOTH(SQSHRUN_IMM, sqshrun),
	BOTH(SQRSHRN_IMM, sqrshrn),
	BOTH(UQRSHRN_IMM, uqrshrn),
	BOTH(SQRSHRUN_IMM, sqrshrun),
	{0},
};
