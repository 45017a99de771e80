/* Advanced SIMD on integers: shifts by an immediate and by a register, to twice and to half the size. */
#include "jit/emit_simd.h"

/* ---- by an immediate ---- */

/* immh:immb is all bits + n to the left, twice all bits - n to the right. */
static unsigned immediate(const struct lp_lanes *l)
{
	return l->word >> 16 & 127;
}
static unsigned left(const struct lp_lanes *l)
{
	return immediate(l) - (8U << l->size);
}
static unsigned right(const struct lp_lanes *l)
{
	return 2 * (8U << l->size) - immediate(l);
}

static void shift_right(struct lp_lanes *l, bool is_signed, unsigned to, unsigned scratch)
{
	if (is_signed)
		lp_sar(l, l->size, to, l->n, right(l), scratch);
	else
		lp_shr(l, l->size, to, l->n, right(l));
}

/* With the highest bit that is lost added. */
static void rounded_right(struct lp_lanes *l, bool is_signed, unsigned to)
{
	unsigned bits = 8U << l->size;

	lp_shl(l, l->size, T0, l->n, bits - right(l));
	lp_shr(l, l->size, T0, T0, bits - 1);
	shift_right(l, is_signed, T1, T2);
	V(vop_add[l->size], to, T0, T1);
}

static void do_shl(struct lp_lanes *l)
{
	lp_shl(l, l->size, l->d, l->n, left(l));
}

#define RIGHT(sign, is_signed)                                        \
	static void do_##sign##shr(struct lp_lanes *l)                \
	{                                                             \
		shift_right(l, is_signed, l->d, T0);                  \
	}                                                             \
	static void do_##sign##sra(struct lp_lanes *l)                \
	{                                                             \
		shift_right(l, is_signed, T1, T0);                    \
		V(vop_add[l->size], l->d, l->d, T1);                  \
	}                                                             \
	static void do_##sign##rshr(struct lp_lanes *l)               \
	{                                                             \
		rounded_right(l, is_signed, l->d);                    \
	}                                                             \
	static void do_##sign##rsra(struct lp_lanes *l)               \
	{                                                             \
		rounded_right(l, is_signed, T0);                      \
		V(vop_add[l->size], l->d, l->d, T0);                  \
	}                                                             \
	ROW(sign##shr, LP_ONE | LP_SIZE_OF_IMMH, do_##sign##shr)      \
	ROW(sign##sra, LP_ONE_INTO | LP_SIZE_OF_IMMH, do_##sign##sra) \
	ROW(sign##rshr, LP_ONE | LP_SIZE_OF_IMMH, do_##sign##rshr)    \
	ROW(sign##rsra, LP_ONE_INTO | LP_SIZE_OF_IMMH, do_##sign##rsra)
RIGHT(s, true)
RIGHT(u, false)
ROW(shl, LP_ONE | LP_SIZE_OF_IMMH, do_shl)

/* d's bits that nothing is shifted into stay, those of `kept` in every lane; what is shifted is in T0. */
static void insert(struct lp_lanes *l, uint64_t kept)
{
	V_MEM(LP_VPAND, T1, l->d, lp_each_constant(l, l->size, kept));
	V(LP_VPOR, l->d, T0, T1);
}
static uint64_t lowest_bits(unsigned nr)
{
	return nr == 64 ? UINT64_MAX : (UINT64_C(1) << nr) - 1;
}

static void do_sli(struct lp_lanes *l)
{
	lp_shl(l, l->size, T0, l->n, left(l));
	insert(l, lowest_bits(left(l)));
}
static void do_sri(struct lp_lanes *l)
{
	unsigned bits = 8U << l->size;

	lp_shr(l, l->size, T0, l->n, right(l));
	insert(l, ~lowest_bits(bits - right(l)));
}
ROW(sli, LP_ONE_INTO | LP_SIZE_OF_IMMH, do_sli)
ROW(sri, LP_ONE_INTO | LP_SIZE_OF_IMMH, do_sri)

/* ---- to twice the size ---- */

static void lengthen(struct lp_lanes *l, bool is_signed, unsigned by)
{
	lp_widen(l, l->size, is_signed, l->whole, l->d, l->n);
	if (by)
		lp_shl(l, l->size + 1, l->d, l->d, by);
}
static void do_sshll(struct lp_lanes *l)
{
	lengthen(l, true, left(l));
}
static void do_ushll(struct lp_lanes *l)
{
	lengthen(l, false, left(l));
}
/* By all bits of a lane. */
static void do_shll(struct lp_lanes *l)
{
	lengthen(l, false, 8U << l->size);
}
ROW(sshll_v, LP_ONE | LP_SIZE_OF_IMMH | LP_ALL_BITS, do_sshll)
ROW(ushll_v, LP_ONE | LP_SIZE_OF_IMMH | LP_ALL_BITS, do_ushll)
ROW(shll_v, LP_ONE | LP_ALL_BITS, do_shll)

/* ---- to half the size: l->size is the result's ---- */

static void narrow(struct lp_lanes *l, unsigned from)
{
	struct lp_order order = lp_order_every_second(l->size, 0);
	unsigned to = l->whole ? T0 : l->d;

	V_MEM(LP_VPSHUFB, to, from, lp_order_constant(l, &order));
	lp_write_half(l, to);
}
static void do_xtn(struct lp_lanes *l)
{
	narrow(l, l->n);
}
static void do_shrn(struct lp_lanes *l)
{
	lp_shr(l, l->size + 1, T0, l->n, right(l));
	narrow(l, T0);
}
static void do_rshrn(struct lp_lanes *l)
{
	unsigned by = right(l);

	V_MEM(vop_add[l->size + 1], T0, l->n, lp_each_constant(l, l->size + 1, UINT64_C(1) << (by - 1)));
	lp_shr(l, l->size + 1, T0, T0, by);
	narrow(l, T0);
}
ROW(xtn_v, LP_ONE | LP_HALF, do_xtn)
ROW(shrn_imm_v, LP_ONE | LP_HALF | LP_SIZE_OF_IMMH, do_shrn)
ROW(rshrn_imm_v, LP_ONE | LP_HALF | LP_SIZE_OF_IMMH, do_rshrn)

/* ---- by the lowest byte of each lane of m: to the left, or to the right when negative ---- */

/*
 * The host's counts have no sign, and from all bits on nothing is left (or the sign alone): the byte is one count, and
 * 256 less the byte, which is beyond everything for those to the left, the other.
 */
static const enum lp_x86_vop by_left[4] = {[H] = LP_VPSLLVW, [S] = LP_VPSLLVD, [D] = LP_VPSLLVQ};
static const enum lp_x86_vop by_right[4] = {[H] = LP_VPSRLVW, [S] = LP_VPSRLVD, [D] = LP_VPSRLVQ};
static const enum lp_x86_vop by_right_signed[4] = {[H] = LP_VPSRAVW, [S] = LP_VPSRAVD, [D] = LP_VPSRAVQ};

/* T0 = the count to the left, T1 = to the right. */
static void counts(struct lp_lanes *l)
{
	V_MEM(LP_VPAND, T0, l->m, lp_each_constant(l, l->size, 0xff));
	V_ONE_MEM(LP_VMOVAPS, T1, lp_each_constant(l, l->size, 0x100));
	V(vop_sub[l->size], T1, T1, T0);
}

static void do_ushl(struct lp_lanes *l)
{
	counts(l);
	V(by_left[l->size], T0, l->n, T0);
	V(by_right[l->size], T1, l->n, T1);
	V(LP_VPOR, l->d, T0, T1);
}

/* T1 = n shifted right by T1, whose signs stay. */
static void right_signed(struct lp_lanes *l)
{
	if (l->size != D || l->avx512) {
		V(by_right_signed[l->size], T1, l->n, T1);
		return;
	}
	/* No more than the sign, which is then spread by a borrow. */
	V_MEM(LP_VPMINUD, T1, T1, lp_each_constant(l, D, 63));
	V_ONE_MEM(LP_VMOVAPS, T2, lp_each_constant(l, D, UINT64_C(1) << 63));
	V(LP_VPSRLVQ, T2, T2, T1);
	V(LP_VPSRLVQ, T1, l->n, T1);
	V(LP_VPXOR, T1, T1, T2);
	V(LP_VPSUBQ, T1, T1, T2);
}

static void do_sshl(struct lp_lanes *l)
{
	counts(l);
	right_signed(l);
	V(by_left[l->size], T0, l->n, T0);
	/* Which of them it is says the byte's sign. */
	lp_shl(l, l->size, T2, l->m, (8U << l->size) - 8);
	if (l->size == H)
		V_SHIFT(LP_VPSRAW_IMM, T2, T2, 15);
	lp_x86_vex_blend(l->x,
			 l->size == D	? LP_VBLENDVPD
			 : l->size == S ? LP_VBLENDVPS
					: LP_VPBLENDVB,
			 0, l->d, T0, lp_rm_reg(T1), T2);
}

/* Lanes of 16 bits only the newer hosts shift so, bytes none. */
static bool by_register(struct lp_tr *t, uint32_t word, unsigned how, lp_lanes_fn *compute)
{
	if (F(esize) == B || (F(esize) == H && !(t->jit->host & LP_HOST_AVX512)))
		return false;
	return lp_lanes_do(t, word, how, compute);
}
static bool ushl(struct lp_tr *t, uint32_t word)
{
	return by_register(t, word, LP_TWO, do_ushl);
}
static bool sshl(struct lp_tr *t, uint32_t word)
{
	return by_register(t, word, LP_TWO, do_sshl);
}

lp_emit_fn *const lp_emit_simd_shift[A64_OP_COUNT] = {
	[A64_OP_SSHR_IMM_V] = sshr,	  [A64_OP_SSHR_IMM_S] = sshr,
	[A64_OP_USHR_IMM_V] = ushr,	  [A64_OP_USHR_IMM_S] = ushr,
	[A64_OP_SSRA_IMM_V] = ssra,	  [A64_OP_SSRA_IMM_S] = ssra,
	[A64_OP_USRA_IMM_V] = usra,	  [A64_OP_USRA_IMM_S] = usra,
	[A64_OP_SRSHR_IMM_V] = srshr,	  [A64_OP_SRSHR_IMM_S] = srshr,
	[A64_OP_URSHR_IMM_V] = urshr,	  [A64_OP_URSHR_IMM_S] = urshr,
	[A64_OP_SRSRA_IMM_V] = srsra,	  [A64_OP_SRSRA_IMM_S] = srsra,
	[A64_OP_URSRA_IMM_V] = ursra,	  [A64_OP_URSRA_IMM_S] = ursra,
	[A64_OP_SHL_IMM_V] = shl,	  [A64_OP_SHL_IMM_S] = shl,
	[A64_OP_SLI_IMM_V] = sli,	  [A64_OP_SLI_IMM_S] = sli,
	[A64_OP_SRI_IMM_V] = sri,	  [A64_OP_SRI_IMM_S] = sri,
	[A64_OP_SSHLL_V] = sshll_v,	  [A64_OP_USHLL_V] = ushll_v,
	[A64_OP_SHLL_V] = shll_v,	  [A64_OP_XTN_V] = xtn_v,
	[A64_OP_SHRN_IMM_V] = shrn_imm_v, [A64_OP_RSHRN_IMM_V] = rshrn_imm_v,
	[A64_OP_SSHL_V] = sshl,		  [A64_OP_SSHL_S] = sshl,
	[A64_OP_USHL_V] = ushl,		  [A64_OP_USHL_S] = ushl,
};
