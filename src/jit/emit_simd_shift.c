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

/* ---- rotations ---- */

/* What neither faults nor leaves the unit, and has vector registers nowhere but in Rd, Rn and Rm. */
static bool is_arithmetic(const struct lp_tr *t, const struct lp_insn *insn)
{
	uint32_t word = insn->word;

	if (!t->jit->emit[insn->op])
		return false;
	if ((word & 0x0e000000) == 0x0a000000 || (word & 0x1c000000) == 0x10000000) /* integers (DDI 0487 C4.1) */
		return F(Rd) != 31;		    /* sp is looked at when it changes */
	return (word & 0x9f200400) == 0x0e200400 || /* three of the same size */
	       (word & 0x9f3e0c00) == 0x0e200800 || /* two */
	       (word & 0x9f800400) == 0x0f000400;   /* and a number */
}

/* It writes v, or has it among its operands, or a number that looks like it. */
static bool has_vector(uint32_t word, unsigned v)
{
	if ((word & 0x0e000000) != 0x0e000000)
		return false;
	return F(Rd) == v || F(Rn) == v || ((word & 0x9f800400) != 0x0f000400 && F(Rm) == v);
}
static bool writes_vector(uint32_t word, unsigned v)
{
	return (word & 0x0e000000) == 0x0e000000 && F(Rd) == v;
}

/*
 * ushr d, n, #k and behind it sli d, n, #bits-k rotate, as do shl and sri, or usra: when n stays what it is, and nobody asks
 * for d in between, or might see it.  Ciphers have several of them interleaved.
 */
enum { ROTATION_MAX = 16 };
static bool takes_other_half(struct lp_tr *t, uint32_t word, uint32_t other)
{
	unsigned d = F(Rd), n = F(Rn);

	/* Where the host cannot, only what is right behind an instruction is given back. */
	if (d == n || !(t->jit->host & LP_HOST_V3))
		return false;
	for (unsigned i = t->i; i < t->i + ROTATION_MAX && lp_tr_goes_on(t, i); i++) {
		struct lp_insn *insn = &t->insns[i + 1];
		if (insn->word == other) {
			insn->is_taken = true;
			return true;
		}
		if (!is_arithmetic(t, insn) || has_vector(insn->word, d) || writes_vector(insn->word, n))
			return false;
	}
	return false;
}

static void rotate_left(struct lp_lanes *l, unsigned by)
{
	unsigned bits = 8U << l->size, bytes = 1U << l->size;
	struct lp_order order;

	if (l->size >= S && l->avx512) {
		V_SHIFT(l->size == D ? LP_VPROLQ_IMM : LP_VPROLD_IMM, l->d, l->n, by);
	} else if (by % 8 == 0) {
		for (unsigned i = 0; i < sizeof order.byte; i++)
			order.byte[i] = (uint8_t)((i & ~(bytes - 1)) | ((i - by / 8) & (bytes - 1)));
		V_MEM(LP_VPSHUFB, l->d, l->n, lp_order_constant(l, &order));
	} else {
		lp_shl(l, l->size, T0, l->n, by);
		lp_shr(l, l->size, T1, l->n, bits - by);
		V(LP_VPOR, l->d, T0, T1);
	}
}
static void do_rotate_left(struct lp_lanes *l)
{
	rotate_left(l, left(l));
}
static void do_rotate_right(struct lp_lanes *l)
{
	rotate_left(l, (8U << l->size) - right(l));
}
ROW(rotate_lanes_left, LP_ONE | LP_SIZE_OF_IMMH, do_rotate_left)
ROW(rotate_lanes_right, LP_ONE | LP_SIZE_OF_IMMH, do_rotate_right)

/* How the other half's word differs: its number is the same. */
enum { USHR_SLI = 0x5000, SHL_SRI = 0x20001000, SHL_USRA = 0x20004000 };

static bool ushr_v(struct lp_tr *t, uint32_t word)
{
	return takes_other_half(t, word, word ^ USHR_SLI) ? rotate_lanes_right(t, word) : ushr(t, word);
}
static bool shl_v(struct lp_tr *t, uint32_t word)
{
	if (takes_other_half(t, word, word ^ SHL_SRI) || takes_other_half(t, word, word ^ SHL_USRA))
		return rotate_lanes_left(t, word);
	return shl(t, word);
}

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

enum { IS_SIGNED = 1, ROUNDS = 2 };

/* by = value shifted right by it, with its sign, where the host cannot; uses T2. */
static void right_signed_d(struct lp_lanes *l, unsigned by, unsigned value)
{
	/* No more than the sign, which is then spread by a borrow. */
	V_MEM(LP_VPMINUD, by, by, lp_each_constant(l, D, 63));
	V_ONE_MEM(LP_VMOVAPS, T2, lp_each_constant(l, D, UINT64_C(1) << 63));
	V(LP_VPSRLVQ, T2, T2, by);
	V(LP_VPSRLVQ, by, value, by);
	V(LP_VPXOR, by, by, T2);
	V(LP_VPSUBQ, by, by, T2);
}

/* to = value shifted right by base - T0; with lanes whose count is to the left something. */
static void right_by(struct lp_lanes *l, unsigned size, unsigned kind, unsigned to, unsigned value, unsigned base)
{
	V_ONE_MEM(LP_VMOVAPS, to, lp_each_constant(l, size, base));
	V(vop_sub[size], to, to, T0);
	if (!(kind & IS_SIGNED))
		V(by_right[size], to, value, to);
	else if (size != D || l->avx512)
		V(by_right_signed[size], to, value, to);
	else
		right_signed_d(l, to, value);
}

/* T0 = value shifted by the counts in T0, 0 to 255. */
static void shift_by(struct lp_lanes *l, unsigned size, unsigned kind, unsigned value)
{
	unsigned bits = 8U << size;

	right_by(l, size, kind, T1, value, 0x100);
	if (kind & ROUNDS) { /* with the last bit that is lost */
		right_by(l, size, kind, T2, value, 0xff);
		V_MEM(LP_VPAND, T2, T2, lp_each_constant(l, size, 1));
		V(vop_add[size], T1, T1, T2);
	}
	if (!(kind & IS_SIGNED)) {
		V(by_left[size], T0, value, T0);
		V(LP_VPOR, T0, T0, T1);
		return;
	}
	/* Which of them it is says the byte's sign. */
	lp_shl(l, size, T2, T0, bits - 8);
	if (size == H)
		V_SHIFT(LP_VPSRAW_IMM, T2, T2, 15);
	V(by_left[size], T0, value, T0);
	lp_x86_vex_blend(l->x,
			 size == D   ? LP_VBLENDVPD
			 : size == S ? LP_VBLENDVPS
				     : LP_VPBLENDVB,
			 0, T0, T0, lp_rm_reg(T1), T2);
}

/* The lower and the upper bytes of lanes of 16 bits, which only hosts with more registers shift so. */
static void shift_bytes(struct lp_lanes *l, unsigned kind)
{
	enum { VALUE = LP_V_SPREAD, LOW };
	struct lp_x86_rm mask = lp_each_constant(l, H, 0xff);
	enum lp_x86_vop op = kind & IS_SIGNED ? LP_VPSRAW_IMM : LP_VPSRLW_IMM;

	l->t->v_spread = -1;
	V_SHIFT(LP_VPSLLW_IMM, VALUE, l->n, 8);
	V_SHIFT(op, VALUE, VALUE, 8);
	V_MEM(LP_VPAND, T0, l->m, mask);
	shift_by(l, H, kind, VALUE);
	V_MEM(LP_VPANDD, LOW, T0, mask);
	V_SHIFT(op, VALUE, l->n, 8);
	V_SHIFT(LP_VPSRLW_IMM, T0, l->m, 8);
	shift_by(l, H, kind, VALUE);
	V_SHIFT(LP_VPSLLW_IMM, T0, T0, 8);
	V(LP_VPORD, l->d, T0, LOW);
}

static void shift_lanes(struct lp_lanes *l, unsigned kind)
{
	if (l->size == B) {
		shift_bytes(l, kind);
		return;
	}
	V_MEM(LP_VPAND, T0, l->m, lp_each_constant(l, l->size, 0xff));
	shift_by(l, l->size, kind, l->n);
	V_ONE(LP_VMOVAPS, l->d, T0);
}

#define BY_REGISTER(name, kind)                                                                                \
	static void do_##name(struct lp_lanes *l)                                                              \
	{                                                                                                      \
		shift_lanes(l, kind);                                                                          \
	}                                                                                                      \
	static bool name(struct lp_tr *t, uint32_t word)                                                       \
	{                                                                                                      \
		bool host_can = F(esize) == S || (F(esize) == D && (kind) != (IS_SIGNED | ROUNDS));            \
                                                                                                               \
		return (host_can || t->jit->host & LP_HOST_AVX512) && lp_lanes_do(t, word, LP_TWO, do_##name); \
	}
BY_REGISTER(ushl, 0)
BY_REGISTER(sshl, IS_SIGNED)
BY_REGISTER(urshl, ROUNDS)
BY_REGISTER(srshl, IS_SIGNED | ROUNDS)

const struct lp_emit_row lp_emit_simd_shift[] = {
	{A64_OP_SSHR_IMM_V, sshr},
	{A64_OP_SSHR_IMM_S, sshr},
	{A64_OP_USHR_IMM_V, ushr_v},
	{A64_OP_USHR_IMM_S, ushr},
	{A64_OP_SSRA_IMM_V, ssra},
	{A64_OP_SSRA_IMM_S, ssra},
	{A64_OP_USRA_IMM_V, usra},
	{A64_OP_USRA_IMM_S, usra},
	{A64_OP_SRSHR_IMM_V, srshr},
	{A64_OP_SRSHR_IMM_S, srshr},
	{A64_OP_URSHR_IMM_V, urshr},
	{A64_OP_URSHR_IMM_S, urshr},
	{A64_OP_SRSRA_IMM_V, srsra},
	{A64_OP_SRSRA_IMM_S, srsra},
	{A64_OP_URSRA_IMM_V, ursra},
	{A64_OP_URSRA_IMM_S, ursra},
	{A64_OP_SHL_IMM_V, shl_v},
	{A64_OP_SHL_IMM_S, shl},
	{A64_OP_SLI_IMM_V, sli},
	{A64_OP_SLI_IMM_S, sli},
	{A64_OP_SRI_IMM_V, sri},
	{A64_OP_SRI_IMM_S, sri},
	{A64_OP_SSHLL_V, sshll_v},
	{A64_OP_USHLL_V, ushll_v},
	{A64_OP_SHLL_V, shll_v},
	{A64_OP_XTN_V, xtn_v},
	{A64_OP_SHRN_IMM_V, shrn_imm_v},
	{A64_OP_RSHRN_IMM_V, rshrn_imm_v},
	{A64_OP_SSHL_V, sshl},
	{A64_OP_SSHL_S, sshl},
	{A64_OP_USHL_V, ushl},
	{A64_OP_USHL_S, ushl},
	{A64_OP_SRSHL_V, srshl},
	{A64_OP_SRSHL_S, srshl},
	{A64_OP_URSHL_V, urshl},
	{A64_OP_URSHL_S, urshl},
	{0},
};
