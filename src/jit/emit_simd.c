/* Advanced SIMD on integers: operands, results, shifts and other parts of many instructions. */
#include "jit/emit_simd.h"

const enum lp_x86_vop vop_add[4] = {LP_VPADDB, LP_VPADDW, LP_VPADDD, LP_VPADDQ};
const enum lp_x86_vop vop_sub[4] = {LP_VPSUBB, LP_VPSUBW, LP_VPSUBD, LP_VPSUBQ};
const enum lp_x86_vop vop_cmeq[4] = {LP_VPCMPEQB, LP_VPCMPEQW, LP_VPCMPEQD, LP_VPCMPEQQ};
const enum lp_x86_vop vop_cmgt[4] = {LP_VPCMPGTB, LP_VPCMPGTW, LP_VPCMPGTD, LP_VPCMPGTQ};
const enum lp_x86_vop vop_smax[4] = {LP_VPMAXSB, LP_VPMAXSW, LP_VPMAXSD, LP_VPMAXSQ};
const enum lp_x86_vop vop_smin[4] = {LP_VPMINSB, LP_VPMINSW, LP_VPMINSD, LP_VPMINSQ};
const enum lp_x86_vop vop_umax[4] = {LP_VPMAXUB, LP_VPMAXUW, LP_VPMAXUD, LP_VPMAXUQ};
const enum lp_x86_vop vop_umin[4] = {LP_VPMINUB, LP_VPMINUW, LP_VPMINUD, LP_VPMINUQ};
const enum lp_x86_vop vop_low[4] = {LP_VPUNPCKLBW, LP_VPUNPCKLWD, LP_VPUNPCKLDQ, LP_VPUNPCKLQDQ};
const enum lp_x86_vop vop_high[4] = {LP_VPUNPCKHBW, LP_VPUNPCKHWD, LP_VPUNPCKHDQ, LP_VPUNPCKHQDQ};

/* ---- a row ---- */

static unsigned element_register(const struct lp_lanes *l)
{
	uint32_t word = l->word;

	return l->size == H ? F(Rm4) : F(Rm4) | F(M) << 4;
}
static unsigned element_index(const struct lp_lanes *l)
{
	uint32_t word = l->word;
	unsigned bit21 = word >> 21 & 1; /* L, here */

	return l->size == H ? F(H) << 2 | bit21 << 1 | F(M) : F(H) << 1 | bit21;
}
static struct lp_x86_rm element_at(const struct lp_lanes *l)
{
	struct lp_x86_rm at = lp_cpu_v(element_register(l));

	at.disp += (int32_t)(element_index(l) << l->size);
	return at;
}

/* The element, everywhere in T2: from memory where that has it, so that it takes no register. */
void lp_element(struct lp_lanes *l)
{
	unsigned v = element_register(l), index = element_index(l);
	struct lp_order order;

	if (lp_v_is_stored(l->t, v)) {
		V_ONE_MEM(l->size == H ? LP_VPBROADCASTW : LP_VPBROADCASTD, T2, element_at(l));
	} else if (l->size == H) {
		for (unsigned i = 0; i < 16; i++)
			order.byte[i] = (uint8_t)(index * 2 + (i & 1));
		V_MEM(LP_VPSHUFB, T2, lp_v_read(l->t, v), lp_order_constant(l, &order));
	} else {
		V_ONE_IMM(LP_VPSHUFD, T2, lp_v_read(l->t, v), index * 0x55);
	}
	l->m = T2;
}

bool lp_element_in_memory(struct lp_lanes *l, struct lp_x86_rm *at)
{
	*at = element_at(l);
	return (element_index(l) + 2) << l->size <= sizeof(union lp_vreg) && lp_v_is_stored(l->t, element_register(l));
}

static unsigned size_of(uint32_t word, unsigned how)
{
	return how & LP_SIZE_OF_IMMH ? 31 - (unsigned)__builtin_clz(F(immh)) : F(esize);
}

bool lp_lanes_do(struct lp_tr *t, uint32_t word, unsigned how, lp_lanes_fn *compute)
{
	struct lp_lanes l = {.t = t,
			     .x = &t->x,
			     .word = word,
			     .size = size_of(word, how),
			     .whole = lp_is_whole(word),
			     .avx512 = t->jit->host & LP_HOST_AVX512};

	if (how & LP_HALF)
		how |= l.whole ? LP_D | LP_ALL_BITS : LP_ALL_BITS;
	if (how & LP_N)
		l.n = lp_v_read(t, F(Rn));
	if (how & LP_ELEMENT)
		lp_element(&l);
	else if (how & LP_M)
		l.m = lp_v_read(t, F(Rm));
	l.d = how & LP_D ? lp_v_read(t, F(Rd)) : lp_v_dest_last(t, F(Rd));
	compute(&l);
	if (!l.whole && !(how & LP_ALL_BITS)) {
		lp_x86_vex_rm(&t->x, LP_VMOVQ, 0, l.d, lp_rm_reg(l.d));
		lp_v_write_bits(t, F(Rd), l.d, 64);
	} else {
		lp_v_write(t, F(Rd), l.d);
	}
	return true;
}

void lp_write_half(struct lp_lanes *l, unsigned from)
{
	if (l->whole)
		V(LP_VPUNPCKLQDQ, l->d, l->d, from);
	else if (l->d != from)
		V_ONE(LP_VMOVAPS, l->d, from);
}

void lp_v_not(struct lp_lanes *l, unsigned to, unsigned a, unsigned scratch)
{
	if (l->avx512) {
		V_IMM(LP_VPTERNLOGD, to, a, a, 0x33);
		return;
	}
	lp_v_ones(l, scratch);
	V(LP_VPXOR, to, a, scratch);
}

/* ---- orders ---- */

struct lp_order lp_order_every_second(unsigned size, unsigned first)
{
	struct lp_order order;

	for (unsigned i = 0; i < 16; i++) {
		unsigned lane = 2 * (i >> size) + first;
		order.byte[i] = i < 8 ? (uint8_t)((lane << size) + (i & ((1U << size) - 1))) : NONE;
	}
	return order;
}

struct lp_order lp_order_even_odd(unsigned size)
{
	struct lp_order even = lp_order_every_second(size, 0), odd = lp_order_every_second(size, 1);

	memcpy(even.byte + 8, odd.byte, 8);
	return even;
}

/* ---- shifts ---- */

void lp_shl(struct lp_lanes *l, unsigned size, unsigned to, unsigned from, unsigned by)
{
	static const enum lp_x86_vop op[4] = {LP_VPSLLW_IMM, LP_VPSLLW_IMM, LP_VPSLLD_IMM, LP_VPSLLQ_IMM};

	V_SHIFT(op[size], to, from, by);
	if (size == B) /* what came from the neighbour goes */
		V_MEM(LP_VPAND, to, to, lp_each_constant(l, B, 0xffU << by));
}

void lp_shr(struct lp_lanes *l, unsigned size, unsigned to, unsigned from, unsigned by)
{
	static const enum lp_x86_vop op[4] = {LP_VPSRLW_IMM, LP_VPSRLW_IMM, LP_VPSRLD_IMM, LP_VPSRLQ_IMM};

	V_SHIFT(op[size], to, from, by);
	if (size == B)
		V_MEM(LP_VPAND, to, to, lp_each_constant(l, B, 0xffU >> by));
}

/* Where the host has no such shift: the sign, where it has been shifted to, is spread by a borrow. */
static void sar_by_borrow(struct lp_lanes *l, unsigned size, unsigned to, unsigned from, unsigned by, unsigned scratch)
{
	unsigned top = (8U << size) - 1, count = by < top ? by : top;
	struct lp_x86_rm sign = lp_each_constant(l, size, UINT64_C(1) << (top - count));

	lp_shr(l, size, scratch, from, count);
	V_MEM(LP_VPXOR, scratch, scratch, sign);
	V_MEM(vop_sub[size], to, scratch, sign);
}

void lp_sar(struct lp_lanes *l, unsigned size, unsigned to, unsigned from, unsigned by, unsigned scratch)
{
	if (size == H) {
		V_SHIFT(LP_VPSRAW_IMM, to, from, by);
	} else if (size == S) {
		V_SHIFT(LP_VPSRAD_IMM, to, from, by);
	} else if (by >= 8U << size) {
		lp_v_zero(l, scratch);
		V(vop_cmgt[size], to, scratch, from);
	} else if (size == D && l->avx512) {
		V_SHIFT(LP_VPSRAQ_IMM, to, from, by);
	} else {
		sar_by_borrow(l, size, to, from, by, scratch);
	}
}

/* ---- halves ---- */

void lp_widen(struct lp_lanes *l, unsigned size, bool is_signed, bool upper, unsigned to, unsigned from)
{
	static const enum lp_x86_vop op[2][3] = {{LP_VPMOVZXBW, LP_VPMOVZXWD, LP_VPMOVZXDQ},
						 {LP_VPMOVSXBW, LP_VPMOVSXWD, LP_VPMOVSXDQ}};

	if (!upper) {
		V_ONE(op[is_signed][size], to, from);
		return;
	}
	V_ONE_IMM(LP_VPSHUFD, to, from, 0xee);
	V_ONE(op[is_signed][size], to, to);
}
