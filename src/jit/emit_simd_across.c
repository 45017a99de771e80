/* Advanced SIMD on integers: neighbouring lanes, all lanes of a register. */
#include "jit/emit_simd.h"

/* ---- pairs: neighbours in n, then in m, give one lane each ---- */

/* Registers with the first lane of each pair, and with the second; of short operands in the lower half. */
struct pairs {
	unsigned first, second;
};

static struct pairs take_apart(struct lp_lanes *l)
{
	struct lp_order order = lp_order_even_odd(l->size);

	if (!l->whole) {
		V(LP_VPUNPCKLQDQ, T0, l->n, l->m);
		V_MEM(LP_VPSHUFB, T0, T0, lp_order_constant(l, &order));
		V_ONE_IMM(LP_VPSHUFD, T1, T0, 0xee);
		return (struct pairs){T0, T1};
	}
	if (l->size == S) {
		V_IMM(LP_VSHUFPS, T0, l->n, l->m, 0x88);
		V_IMM(LP_VSHUFPS, T1, l->n, l->m, 0xdd);
		return (struct pairs){T0, T1};
	}
	if (l->size == D) {
		V(LP_VPUNPCKLQDQ, T0, l->n, l->m);
		V(LP_VPUNPCKHQDQ, T1, l->n, l->m);
		return (struct pairs){T0, T1};
	}
	V_MEM(LP_VPSHUFB, T0, l->n, lp_order_constant(l, &order));
	V_MEM(LP_VPSHUFB, T1, l->m, lp_order_constant(l, &order));
	V(LP_VPUNPCKLQDQ, T2, T0, T1);
	V(LP_VPUNPCKHQDQ, T0, T0, T1);
	return (struct pairs){T2, T0};
}

/* Both halves are the same where n and m are: each lane meets its neighbour in the lower part of one of twice the size. */
static void pairs_of_one(struct lp_lanes *l, enum lp_x86_vop op)
{
	struct lp_order order = lp_order_every_second(l->size, 0);

	memcpy(order.byte + 8, order.byte, 8);
	lp_shr(l, l->size + 1, T0, l->n, 8U << l->size);
	V(op, T0, T0, l->n);
	V_MEM(LP_VPSHUFB, l->d, T0, lp_order_constant(l, &order));
}

static void pairs(struct lp_lanes *l, enum lp_x86_vop op)
{
	if (l->n == l->m && l->whole && l->size <= H) {
		pairs_of_one(l, op);
	} else {
		struct pairs p = take_apart(l);
		V(op, l->d, p.first, p.second);
	}
}

#define PAIRS(name, op)                           \
	static void do_##name(struct lp_lanes *l) \
	{                                         \
		pairs(l, (op)[l->size]);          \
	}                                         \
	ROW(name, LP_TWO, do_##name)
PAIRS(addp_v, vop_add)
PAIRS(smaxp_v, vop_smax)
PAIRS(sminp_v, vop_smin)
PAIRS(umaxp_v, vop_umax)
PAIRS(uminp_v, vop_umin)

static void do_addp_s(struct lp_lanes *l)
{
	V_ONE_IMM(LP_VPSHUFD, T0, l->n, 0xee);
	V(LP_VPADDQ, l->d, T0, l->n);
}
ROW(addp_s, LP_ONE, do_addp_s)

/* ---- neighbours make a lane of twice the size ---- */

/* Products with 1 are sums. */
static void pair_sums(struct lp_lanes *l, bool is_signed, unsigned to)
{
	struct lp_x86_rm one = lp_each_constant(l, l->size, 1);

	if (l->size == B && is_signed) {
		V_ONE_MEM(LP_VMOVAPS, T0, one);
		V(LP_VPMADDUBSW, to, T0, l->n);
	} else if (l->size == B) {
		V_MEM(LP_VPMADDUBSW, to, l->n, one);
	} else if (l->size == H && is_signed) {
		V_MEM(LP_VPMADDWD, to, l->n, one);
	} else if (l->size == H) {
		V_SHIFT(LP_VPSRLD_IMM, T0, l->n, 16);
		lp_v_zero(l, T1);
		V_IMM(LP_VPBLENDW, T1, l->n, T1, 0xaa);
		V(LP_VPADDD, to, T0, T1);
	} else if (is_signed) {
		V_SHIFT(LP_VPSRLQ_IMM, T0, l->n, 32);
		V_MEM(LP_VPMULDQ, T0, T0, one);
		V_MEM(LP_VPMULDQ, T1, l->n, one);
		V(LP_VPADDQ, to, T0, T1);
	} else {
		V_SHIFT(LP_VPSRLQ_IMM, T0, l->n, 32);
		lp_v_zero(l, T1);
		V_IMM(LP_VPBLENDD, T1, l->n, T1, 0xa);
		V(LP_VPADDQ, to, T0, T1);
	}
}

#define PAIR_SUMS(sign, is_signed)                       \
	static void do_##sign##addlp(struct lp_lanes *l) \
	{                                                \
		pair_sums(l, is_signed, l->d);           \
	}                                                \
	static void do_##sign##adalp(struct lp_lanes *l) \
	{                                                \
		pair_sums(l, is_signed, T0);             \
		V(vop_add[l->size + 1], l->d, l->d, T0); \
	}                                                \
	ROW(sign##addlp_v, LP_ONE, do_##sign##addlp)     \
	ROW(sign##adalp_v, LP_ONE_INTO, do_##sign##adalp)
PAIR_SUMS(s, true)
PAIR_SUMS(u, false)

/* ---- across all lanes ---- */

/* d = the lowest lane of `from`, of that size, which is what the lanes of all `bytes` bytes of it make. */
static void fold(struct lp_lanes *l, enum lp_x86_vop op, unsigned size, unsigned bytes, unsigned from)
{
	for (unsigned by = bytes / 2; by >= 1U << size; by /= 2) {
		if (by == 8)
			V_ONE_IMM(LP_VPSHUFD, T1, from, 0xee);
		else
			V_SHIFT(LP_VPSRLQ_IMM, T1, from, 8 * by);
		V(op, T0, from, T1);
		from = T0;
	}
	V_MEM(LP_VPAND, l->d, from, lp_lowest_lane(l, size));
}
static unsigned bytes_of(const struct lp_lanes *l)
{
	return l->whole ? 16 : 8;
}

#define ACROSS(name, op)                                            \
	static void do_##name(struct lp_lanes *l)                   \
	{                                                           \
		fold(l, (op)[l->size], l->size, bytes_of(l), l->n); \
	}                                                           \
	ROW(name, LP_ONE | LP_ALL_BITS, do_##name)
ACROSS(smaxv, vop_smax)
ACROSS(sminv, vop_smin)
ACROSS(umaxv, vop_umax)
ACROSS(uminv, vop_umin)

/* Sums of eight bytes, which a half of the register has at its begin: in T0. */
static void byte_sums(struct lp_lanes *l)
{
	lp_v_zero(l, T0);
	V(LP_VPSADBW, T0, l->n, T0);
	if (l->whole) {
		V_ONE_IMM(LP_VPSHUFD, T1, T0, 0xee);
		V(LP_VPADDD, T0, T0, T1);
	}
}

static void do_addv(struct lp_lanes *l)
{
	if (l->size > B) {
		fold(l, vop_add[l->size], l->size, bytes_of(l), l->n);
		return;
	}
	byte_sums(l);
	V_MEM(LP_VPAND, l->d, T0, lp_lowest_lane(l, B));
}
ROW(addv, LP_ONE | LP_ALL_BITS, do_addv)

static void do_uaddlv(struct lp_lanes *l)
{
	if (l->size == B) {
		byte_sums(l);
		V_ONE(LP_VMOVQ, l->d, T0);
		return;
	}
	pair_sums(l, false, T0);
	fold(l, vop_add[l->size + 1], l->size + 1, bytes_of(l), T0);
}
ROW(uaddlv, LP_ONE | LP_ALL_BITS, do_uaddlv)

static void do_saddlv(struct lp_lanes *l)
{
	pair_sums(l, true, T0);
	fold(l, vop_add[l->size + 1], l->size + 1, bytes_of(l), T0);
}
ROW(saddlv, LP_ONE | LP_ALL_BITS, do_saddlv)

const struct lp_emit_row lp_emit_simd_across[] = {
	{A64_OP_ADDP_V, addp_v},     {A64_OP_ADDP_S, addp_s},	  {A64_OP_SMAXP_V, smaxp_v},
	{A64_OP_SMINP_V, sminp_v},   {A64_OP_UMAXP_V, umaxp_v},	  {A64_OP_UMINP_V, uminp_v},
	{A64_OP_SADDLP_V, saddlp_v}, {A64_OP_UADDLP_V, uaddlp_v}, {A64_OP_SADALP_V, sadalp_v},
	{A64_OP_UADALP_V, uadalp_v}, {A64_OP_ADDV, addv},	  {A64_OP_SADDLV, saddlv},
	{A64_OP_UADDLV, uaddlv},     {A64_OP_SMAXV, smaxv},	  {A64_OP_SMINV, sminv},
	{A64_OP_UMAXV, umaxv},	     {A64_OP_UMINV, uminv},	  {0},
};
