/* Advanced SIMD on integers: lanes of operands and results are of one size. */
#include "jit/emit_simd.h"

/* ---- one host instruction ---- */

#define DIRECT(name, op)                            \
	static void do_##name(struct lp_lanes *l)   \
	{                                           \
		V((op)[l->size], l->d, l->n, l->m); \
	}
DIRECT(add, vop_add)
DIRECT(sub, vop_sub)
DIRECT(cmeq, vop_cmeq)
DIRECT(cmgt, vop_cmgt)
DIRECT(smax, vop_smax)
DIRECT(smin, vop_smin)
DIRECT(umax, vop_umax)
DIRECT(umin, vop_umin)

ROW(add, LP_TWO, do_add)
ROW(sub, LP_TWO, do_sub)
ROW(cmeq, LP_TWO, do_cmeq)
ROW(cmgt, LP_TWO, do_cmgt)
ROW(smax, LP_TWO, do_smax)
ROW(smin, LP_TWO, do_smin)
ROW(umax, LP_TWO, do_umax)
ROW(umin, LP_TWO, do_umin)

/* ---- bits ---- */

/* The truth table of vpternlog: A, B, C are bits 2, 1, 0 of the index. */
enum { TERN_A = 0xf0, TERN_B = 0xcc, TERN_C = 0xaa };

static void do_and(struct lp_lanes *l)
{
	V(LP_VPAND, l->d, l->n, l->m);
}
ROW(and_v, LP_TWO, do_and)

static void do_bic(struct lp_lanes *l)
{
	V(LP_VPANDN, l->d, l->m, l->n);
}
ROW(bic_v, LP_TWO, do_bic)

static void do_orr(struct lp_lanes *l)
{
	if (l->n != l->m)
		V(LP_VPOR, l->d, l->n, l->m);
	else if (!l->whole)
		V_ONE(LP_VMOVQ, l->d, l->n);
	else if (l->n != l->d)
		V_ONE(LP_VMOVAPS, l->d, l->n);
}
ROW(orr_two, LP_TWO, do_orr)
ROW(mov, LP_TWO | LP_ALL_BITS, do_orr)

static bool orr_v(struct lp_tr *t, uint32_t word)
{
	if (F(Rn) != F(Rm))
		return orr_two(t, word);
	return (F(Rn) == F(Rd) && lp_is_whole(word)) || mov(t, word);
}

static void do_orn(struct lp_lanes *l)
{
	if (l->avx512) {
		V_IMM(LP_VPTERNLOGD, l->d, l->n, l->m, TERN_B | (~TERN_C & 0xff));
		return;
	}
	lp_v_ones(l, T0);
	V(LP_VPXOR, T0, T0, l->m);
	V(LP_VPOR, l->d, l->n, T0);
}
ROW(orn_v, LP_TWO, do_orn)

static void do_eor(struct lp_lanes *l)
{
	V(LP_VPXOR, l->d, l->n, l->m);
}
ROW(eor_v, LP_TWO, do_eor)

/* Where the bits of `by` are set, `then`, else `otherwise`. */
static void choose(struct lp_lanes *l, unsigned by, unsigned then, unsigned otherwise)
{
	V(LP_VPXOR, T0, then, otherwise);
	V(LP_VPAND, T0, T0, by);
	V(LP_VPXOR, l->d, T0, otherwise);
}

static void do_bsl(struct lp_lanes *l)
{
	if (l->avx512)
		V_IMM(LP_VPTERNLOGD, l->d, l->n, l->m, (TERN_A & TERN_B) | (~TERN_A & TERN_C));
	else
		choose(l, l->d, l->n, l->m);
}
ROW(bsl_v, LP_TWO_INTO, do_bsl)

static void do_bit(struct lp_lanes *l)
{
	if (l->avx512)
		V_IMM(LP_VPTERNLOGD, l->d, l->n, l->m, (TERN_C & TERN_B) | (~TERN_C & TERN_A));
	else
		choose(l, l->m, l->n, l->d);
}
ROW(bit_v, LP_TWO_INTO, do_bit)

static void do_bif(struct lp_lanes *l)
{
	if (l->avx512)
		V_IMM(LP_VPTERNLOGD, l->d, l->n, l->m, (TERN_C & TERN_A) | (~TERN_C & TERN_B));
	else
		choose(l, l->m, l->d, l->n);
}
ROW(bif_v, LP_TWO_INTO, do_bif)

static void do_not(struct lp_lanes *l)
{
	lp_v_not(l, l->d, l->n, T0);
}
ROW(not_v, LP_ONE, do_not)

/* ---- comparisons ---- */

/* to = a > b, without signs */
static void above_d(struct lp_lanes *l, unsigned to, unsigned a, unsigned b)
{
	struct lp_x86_rm sign = lp_each_constant(l, D, UINT64_C(1) << 63);

	V_MEM(LP_VPXOR, T0, a, sign);
	V_MEM(LP_VPXOR, T1, b, sign);
	V(LP_VPCMPGTQ, to, T0, T1);
}

static void do_cmge(struct lp_lanes *l)
{
	if (l->size == D && !l->avx512) {
		V(LP_VPCMPGTQ, T0, l->m, l->n);
		lp_v_not(l, l->d, T0, T1);
		return;
	}
	V(vop_smin[l->size], T0, l->n, l->m);
	V(vop_cmeq[l->size], l->d, T0, l->m);
}
ROW(cmge, LP_TWO, do_cmge)

static void do_cmhs(struct lp_lanes *l)
{
	if (l->size == D && !l->avx512) {
		above_d(l, T0, l->m, l->n);
		lp_v_not(l, l->d, T0, T1);
		return;
	}
	V(vop_umin[l->size], T0, l->n, l->m);
	V(vop_cmeq[l->size], l->d, T0, l->m);
}
ROW(cmhs, LP_TWO, do_cmhs)

static void do_cmhi(struct lp_lanes *l)
{
	if (l->size == D) {
		above_d(l, l->d, l->n, l->m);
		return;
	}
	V(vop_umin[l->size], T0, l->n, l->m);
	V(vop_cmeq[l->size], T0, T0, l->n);
	lp_v_not(l, l->d, T0, T1);
}
ROW(cmhi, LP_TWO, do_cmhi)

static void do_cmtst(struct lp_lanes *l)
{
	unsigned both = l->n;

	if (l->n != l->m) {
		V(LP_VPAND, T0, l->n, l->m);
		both = T0;
	}
	lp_v_zero(l, T1);
	V(vop_cmeq[l->size], T0, both, T1);
	lp_v_not(l, l->d, T0, T1);
}
ROW(cmtst, LP_TWO, do_cmtst)

static void do_cmeq_zero(struct lp_lanes *l)
{
	lp_v_zero(l, T0);
	V(vop_cmeq[l->size], l->d, l->n, T0);
}
ROW(cmeq_zero, LP_ONE, do_cmeq_zero)

static void do_cmgt_zero(struct lp_lanes *l)
{
	lp_v_zero(l, T0);
	V(vop_cmgt[l->size], l->d, l->n, T0);
}
ROW(cmgt_zero, LP_ONE, do_cmgt_zero)

static void do_cmlt_zero(struct lp_lanes *l)
{
	lp_v_zero(l, T0);
	V(vop_cmgt[l->size], l->d, T0, l->n);
}
ROW(cmlt_zero, LP_ONE, do_cmlt_zero)

/* Greater than -1. */
static void do_cmge_zero(struct lp_lanes *l)
{
	lp_v_ones(l, T0);
	V(vop_cmgt[l->size], l->d, l->n, T0);
}
ROW(cmge_zero, LP_ONE, do_cmge_zero)

static void do_cmle_zero(struct lp_lanes *l)
{
	lp_v_zero(l, T0);
	V(vop_cmgt[l->size], T0, l->n, T0);
	lp_v_not(l, l->d, T0, T1);
}
ROW(cmle_zero, LP_ONE, do_cmle_zero)

/* ---- sums ---- */

static void do_neg(struct lp_lanes *l)
{
	lp_v_zero(l, T0);
	V(vop_sub[l->size], l->d, T0, l->n);
}
ROW(neg, LP_ONE, do_neg)

static void do_abs(struct lp_lanes *l)
{
	static const enum lp_x86_vop op[4] = {LP_VPABSB, LP_VPABSW, LP_VPABSD, LP_VPABSQ};

	if (l->size < D || l->avx512) {
		V_ONE(op[l->size], l->d, l->n);
		return;
	}
	lp_v_zero(l, T0);
	V(LP_VPCMPGTQ, T0, T0, l->n);
	V(LP_VPXOR, T1, l->n, T0);
	V(LP_VPSUBQ, l->d, T1, T0);
}
ROW(abs_v, LP_ONE, do_abs)

static void half(struct lp_lanes *l, bool is_signed, unsigned to, unsigned from, unsigned scratch)
{
	if (is_signed)
		lp_sar(l, l->size, to, from, 1, scratch);
	else
		lp_shr(l, l->size, to, from, 1);
}

/* What both have counts twice, what one has counts once: n + m == 2 (n & m) + (n ^ m). */
static void halving_add(struct lp_lanes *l, bool is_signed)
{
	V(LP_VPXOR, T0, l->n, l->m);
	half(l, is_signed, T0, T0, T1);
	V(LP_VPAND, T1, l->n, l->m);
	V(vop_add[l->size], l->d, T0, T1);
}
/* == 2 (n | m) - (n ^ m) */
static void rounding_add(struct lp_lanes *l, bool is_signed)
{
	V(LP_VPXOR, T0, l->n, l->m);
	half(l, is_signed, T0, T0, T1);
	V(LP_VPOR, T1, l->n, l->m);
	V(vop_sub[l->size], l->d, T1, T0);
}
/* n - m == (n ^ m) - 2 (~n & m) */
static void halving_sub(struct lp_lanes *l, bool is_signed)
{
	V(LP_VPXOR, T0, l->n, l->m);
	half(l, is_signed, T0, T0, T1);
	V(LP_VPANDN, T1, l->n, l->m);
	V(vop_sub[l->size], l->d, T0, T1);
}

#define HALVING(sign, is_signed)                         \
	static void do_##sign##hadd(struct lp_lanes *l)  \
	{                                                \
		halving_add(l, is_signed);               \
	}                                                \
	static void do_##sign##rhadd(struct lp_lanes *l) \
	{                                                \
		rounding_add(l, is_signed);              \
	}                                                \
	static void do_##sign##hsub(struct lp_lanes *l)  \
	{                                                \
		halving_sub(l, is_signed);               \
	}
HALVING(s, true)
HALVING(u, false)
ROW(shadd_v, LP_TWO, do_shadd)
ROW(uhadd_v, LP_TWO, do_uhadd)
ROW(srhadd_v, LP_TWO, do_srhadd)
ROW(shsub_v, LP_TWO, do_shsub)
ROW(uhsub_v, LP_TWO, do_uhsub)
static void do_urhadd_direct(struct lp_lanes *l)
{
	if (l->size == S)
		do_urhadd(l);
	else
		V(l->size == B ? LP_VPAVGB : LP_VPAVGW, l->d, l->n, l->m);
}
ROW(urhadd_v, LP_TWO, do_urhadd_direct)

/* To T0. */
static void distance(struct lp_lanes *l, const enum lp_x86_vop *max, const enum lp_x86_vop *min)
{
	V(max[l->size], T0, l->n, l->m);
	V(min[l->size], T1, l->n, l->m);
}
static void do_sabd(struct lp_lanes *l)
{
	distance(l, vop_smax, vop_smin);
	V(vop_sub[l->size], l->d, T0, T1);
}
ROW(sabd_v, LP_TWO, do_sabd)
static void do_uabd(struct lp_lanes *l)
{
	distance(l, vop_umax, vop_umin);
	V(vop_sub[l->size], l->d, T0, T1);
}
ROW(uabd_v, LP_TWO, do_uabd)
static void do_saba(struct lp_lanes *l)
{
	distance(l, vop_smax, vop_smin);
	V(vop_sub[l->size], T0, T0, T1);
	V(vop_add[l->size], l->d, l->d, T0);
}
ROW(saba_v, LP_TWO_INTO, do_saba)
static void do_uaba(struct lp_lanes *l)
{
	distance(l, vop_umax, vop_umin);
	V(vop_sub[l->size], T0, T0, T1);
	V(vop_add[l->size], l->d, l->d, T0);
}
ROW(uaba_v, LP_TWO_INTO, do_uaba)

/* ---- products ---- */

/* Bytes as the lower and the upper ones of lanes of 16 bits. */
static void mul_bytes(struct lp_lanes *l, unsigned to)
{
	V_SHIFT(LP_VPSRLW_IMM, T0, l->n, 8);
	V_SHIFT(LP_VPSRLW_IMM, T1, l->m, 8);
	V(LP_VPMULLW, T0, T0, T1);
	V_SHIFT(LP_VPSLLW_IMM, T0, T0, 8);
	V(LP_VPMULLW, T1, l->n, l->m);
	V_MEM(LP_VPAND, T1, T1, lp_each_constant(l, H, 0xff));
	V(LP_VPOR, to, T0, T1);
}
static void mul_to(struct lp_lanes *l, unsigned to)
{
	if (l->size == B)
		mul_bytes(l, to);
	else
		V(l->size == H ? LP_VPMULLW : LP_VPMULLD, to, l->n, l->m);
}
static void do_mul(struct lp_lanes *l)
{
	mul_to(l, l->d);
}
static void do_mla(struct lp_lanes *l)
{
	mul_to(l, T0);
	V(vop_add[l->size], l->d, l->d, T0);
}
static void do_mls(struct lp_lanes *l)
{
	mul_to(l, T0);
	V(vop_sub[l->size], l->d, l->d, T0);
}
ROW(mul_v, LP_TWO, do_mul)
ROW(mla_v, LP_TWO_INTO, do_mla)
ROW(mls_v, LP_TWO_INTO, do_mls)
ROW(mul_elem_v, LP_N | LP_ELEMENT, do_mul)
ROW(mla_elem_v, LP_N | LP_D | LP_ELEMENT, do_mla)
ROW(mls_elem_v, LP_N | LP_D | LP_ELEMENT, do_mls)

/* Polynomials over {0, 1}, from m's highest bit down. */
static void do_pmul(struct lp_lanes *l)
{
	V_ONE(LP_VMOVAPS, T1, l->m);
	lp_v_zero(l, T0);
	for (unsigned bit = 0; bit < 8; bit++) {
		V(LP_VPADDB, T0, T0, T0);
		lp_v_zero(l, T2);
		V(LP_VPCMPGTB, T2, T2, T1);
		V(LP_VPAND, T2, T2, l->n);
		V(LP_VPXOR, T0, T0, T2);
		V(LP_VPADDB, T1, T1, T1);
	}
	V_ONE(LP_VMOVAPS, l->d, T0);
}
ROW(pmul_v, LP_TWO, do_pmul)

/* Products of bytes two by two: the odd ones in T0. */
static void do_udot(struct lp_lanes *l)
{
	struct lp_x86_rm low = lp_each_constant(l, H, 0xff);

	V_SHIFT(LP_VPSRLW_IMM, T0, l->n, 8);
	V_SHIFT(LP_VPSRLW_IMM, T1, l->m, 8);
	V(LP_VPMADDWD, T0, T0, T1);
	V_MEM(LP_VPAND, T2, l->m, low);
	V_MEM(LP_VPAND, T1, l->n, low);
	V(LP_VPMADDWD, T1, T1, T2);
	V(LP_VPADDD, T0, T0, T1);
	V(LP_VPADDD, l->d, l->d, T0);
}
static void do_sdot(struct lp_lanes *l)
{
	V_SHIFT(LP_VPSRAW_IMM, T0, l->n, 8);
	V_SHIFT(LP_VPSRAW_IMM, T1, l->m, 8);
	V(LP_VPMADDWD, T0, T0, T1);
	V_SHIFT(LP_VPSLLW_IMM, T2, l->m, 8);
	V_SHIFT(LP_VPSRAW_IMM, T2, T2, 8);
	V_SHIFT(LP_VPSLLW_IMM, T1, l->n, 8);
	V_SHIFT(LP_VPSRAW_IMM, T1, T1, 8);
	V(LP_VPMADDWD, T1, T1, T2);
	V(LP_VPADDD, T0, T0, T1);
	V(LP_VPADDD, l->d, l->d, T0);
}
ROW(sdot_v, LP_TWO_INTO, do_sdot)
ROW(udot_v, LP_TWO_INTO, do_udot)
ROW(sdot_elem, LP_N | LP_D | LP_ELEMENT, do_sdot)
ROW(udot_elem, LP_N | LP_D | LP_ELEMENT, do_udot)

/* ---- bits of a lane ---- */

static struct lp_x86_rm table_of(struct lp_lanes *l, const uint8_t by_nibble[16])
{
	struct lp_order order;

	memcpy(order.byte, by_nibble, sizeof order.byte);
	return lp_order_constant(l, &order);
}

/* T0 = of each byte's lower four bits, T1 = of its upper ones, by tables. */
static void by_nibbles(struct lp_lanes *l, unsigned n, const uint8_t low[16], const uint8_t high[16])
{
	struct lp_x86_rm mask = lp_each_constant(l, B, 15);

	V_SHIFT(LP_VPSRLW_IMM, T1, n, 4);
	V_MEM(LP_VPAND, T1, T1, mask);
	V_MEM(LP_VPAND, T0, n, mask);
	V_ONE_MEM(LP_VMOVAPS, T2, table_of(l, low));
	V(LP_VPSHUFB, T0, T2, T0);
	if (high != low)
		V_ONE_MEM(LP_VMOVAPS, T2, table_of(l, high));
	V(LP_VPSHUFB, T1, T2, T1);
}

static void do_cnt(struct lp_lanes *l)
{
	static const uint8_t ones[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};

	if (l->t->jit->host & LP_HOST_BITALG) {
		V_ONE(LP_VPOPCNTB, l->d, l->n);
		return;
	}
	by_nibbles(l, l->n, ones, ones);
	V(LP_VPADDB, l->d, T0, T1);
}
ROW(cnt_v, LP_ONE, do_cnt)

static void do_rbit(struct lp_lanes *l)
{
	static const uint8_t low[16] = {0x00, 0x80, 0x40, 0xc0, 0x20, 0xa0, 0x60, 0xe0,
					0x10, 0x90, 0x50, 0xd0, 0x30, 0xb0, 0x70, 0xf0};
	static const uint8_t high[16] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};

	if (l->t->jit->host & LP_HOST_GFNI) { /* each bit by a row of a matrix of bits */
		struct lp_x86_rm matrix = lp_each_constant(l, D, UINT64_C(0x8040201008040201));
		lp_x86_vex_imm(l->x, LP_VGF2P8AFFINEQB, 0, l->d, l->n, matrix, 0);
		return;
	}
	by_nibbles(l, l->n, low, high);
	V(LP_VPOR, l->d, T0, T1);
}
ROW(rbit_v, LP_ONE, do_rbit)

/* Leading zeros of what has twice the bits, where T0 has those of both halves: the upper one's, and when that is all
 * zero the lower one's as well. */
static void join_zeros(struct lp_lanes *l, unsigned size, unsigned to)
{
	unsigned bits = 8U << size;

	V_MEM(vop_cmeq[size], T1, T0, lp_each_constant(l, size, bits));
	lp_shr(l, size + 1, T1, T1, bits);
	V(LP_VPAND, T1, T1, T0);
	lp_shr(l, size + 1, T0, T0, bits);
	V(vop_add[size + 1], to, T0, T1);
}

static void leading_zeros(struct lp_lanes *l, unsigned n, unsigned to)
{
	static const uint8_t low[16] = {8, 7, 6, 6, 5, 5, 5, 5, 4, 4, 4, 4, 4, 4, 4, 4};
	static const uint8_t high[16] = {8, 3, 2, 2, 1, 1, 1, 1};

	by_nibbles(l, n, low, high);
	V(LP_VPMINUB, l->size == B ? to : T0, T0, T1);
	if (l->size == B)
		return;
	join_zeros(l, B, l->size == H ? to : T0);
	if (l->size == S)
		join_zeros(l, H, to);
}

static void do_clz(struct lp_lanes *l)
{
	leading_zeros(l, l->n, l->d);
}
ROW(clz_v, LP_ONE, do_clz)

/* Of the bits below the sign, how many in a row are like it. */
static void do_cls(struct lp_lanes *l)
{
	lp_sar(l, l->size, T0, l->n, 1, T1);
	V(LP_VPXOR, T0, T0, l->n);
	leading_zeros(l, T0, T0);
	lp_v_ones(l, T1);
	V(vop_add[l->size], l->d, T0, T1);
}
ROW(cls_v, LP_ONE, do_cls)

const struct lp_emit_row lp_emit_simd_same[] = {
	{A64_OP_ADD_V, add},
	{A64_OP_ADD_S, add},
	{A64_OP_SUB_V, sub},
	{A64_OP_SUB_S, sub},
	{A64_OP_CMEQ_V, cmeq},
	{A64_OP_CMEQ_S, cmeq},
	{A64_OP_CMGT_V, cmgt},
	{A64_OP_CMGT_S, cmgt},
	{A64_OP_CMGE_V, cmge},
	{A64_OP_CMGE_S, cmge},
	{A64_OP_CMHI_V, cmhi},
	{A64_OP_CMHI_S, cmhi},
	{A64_OP_CMHS_V, cmhs},
	{A64_OP_CMHS_S, cmhs},
	{A64_OP_CMTST_V, cmtst},
	{A64_OP_CMTST_S, cmtst},
	{A64_OP_CMEQ_ZERO_V, cmeq_zero},
	{A64_OP_CMEQ_ZERO_S, cmeq_zero},
	{A64_OP_CMGT_ZERO_V, cmgt_zero},
	{A64_OP_CMGT_ZERO_S, cmgt_zero},
	{A64_OP_CMGE_ZERO_V, cmge_zero},
	{A64_OP_CMGE_ZERO_S, cmge_zero},
	{A64_OP_CMLE_ZERO_V, cmle_zero},
	{A64_OP_CMLE_ZERO_S, cmle_zero},
	{A64_OP_CMLT_ZERO_V, cmlt_zero},
	{A64_OP_CMLT_ZERO_S, cmlt_zero},
	{A64_OP_SMAX_V, smax},
	{A64_OP_SMIN_V, smin},
	{A64_OP_UMAX_V, umax},
	{A64_OP_UMIN_V, umin},
	{A64_OP_AND_V, and_v},
	{A64_OP_BIC_V, bic_v},
	{A64_OP_ORR_V, orr_v},
	{A64_OP_ORN_V, orn_v},
	{A64_OP_EOR_V, eor_v},
	{A64_OP_BSL_V, bsl_v},
	{A64_OP_BIT_V, bit_v},
	{A64_OP_BIF_V, bif_v},
	{A64_OP_NOT_V, not_v},
	{A64_OP_NEG_V, neg},
	{A64_OP_NEG_S, neg},
	{A64_OP_ABS_V, abs_v},
	{A64_OP_ABS_S, abs_v},
	{A64_OP_SHADD_V, shadd_v},
	{A64_OP_UHADD_V, uhadd_v},
	{A64_OP_SRHADD_V, srhadd_v},
	{A64_OP_URHADD_V, urhadd_v},
	{A64_OP_SHSUB_V, shsub_v},
	{A64_OP_UHSUB_V, uhsub_v},
	{A64_OP_SABD_V, sabd_v},
	{A64_OP_UABD_V, uabd_v},
	{A64_OP_SABA_V, saba_v},
	{A64_OP_UABA_V, uaba_v},
	{A64_OP_PMUL_V, pmul_v},
	{A64_OP_MUL_V, mul_v},
	{A64_OP_MLA_V, mla_v},
	{A64_OP_MLS_V, mls_v},
	{A64_OP_MUL_ELEM_V, mul_elem_v},
	{A64_OP_MLA_ELEM_V, mla_elem_v},
	{A64_OP_MLS_ELEM_V, mls_elem_v},
	{A64_OP_SDOT_V, sdot_v},
	{A64_OP_UDOT_V, udot_v},
	{A64_OP_SDOT_ELEM, sdot_elem},
	{A64_OP_UDOT_ELEM, udot_elem},
	{A64_OP_CNT_V, cnt_v},
	{A64_OP_RBIT_V, rbit_v},
	{A64_OP_CLZ_V, clz_v},
	{A64_OP_CLS_V, cls_v},
	{0},
};
