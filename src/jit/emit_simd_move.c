/* Advanced SIMD: lanes and general registers copied, permutations, bytes looked up, immediates. */
#include "jit/emit_simd.h"

/* ---- one lane, everywhere or somewhere ---- */

/* imm5: the lowest bit that is set is the size, the bits above it the index. */
static unsigned lane_size(uint32_t word)
{
	return (unsigned)__builtin_ctz(F(imm5));
}
static unsigned lane_index(uint32_t word)
{
	return F(imm5) >> (lane_size(word) + 1);
}

static void do_dup(struct lp_lanes *l)
{
	unsigned size = lane_size(l->word), index = lane_index(l->word);
	struct lp_order order;

	if (size == S && l->whole) {
		V_ONE_IMM(LP_VPSHUFD, l->d, l->n, index * 0x55);
		return;
	}
	if (size == D) {
		V(index ? LP_VPUNPCKHQDQ : LP_VPUNPCKLQDQ, l->d, l->n, l->n);
		return;
	}
	for (unsigned i = 0; i < 16; i++)
		order.byte[i] = i < 8 || l->whole ? (uint8_t)((index << size) + (i & ((1U << size) - 1))) : NONE;
	V_MEM(LP_VPSHUFB, l->d, l->n, lp_order_constant(l, &order));
}
ROW(dup_elem, LP_ONE | LP_ALL_BITS, do_dup)

static void do_dup_s(struct lp_lanes *l)
{
	unsigned size = lane_size(l->word), index = lane_index(l->word);

	if (index == 0 && size == D) {
		V_ONE(LP_VMOVQ, l->d, l->n);
	} else if (size == D) {
		V_SHIFT(LP_VPSRLDQ_IMM, l->d, l->n, 8);
	} else {
		struct lp_order order;
		for (unsigned i = 0; i < 16; i++)
			order.byte[i] = i < 1U << size ? (uint8_t)((index << size) + i) : NONE;
		V_MEM(LP_VPSHUFB, l->d, l->n, lp_order_constant(l, &order));
	}
}
ROW(dup_s, LP_ONE | LP_ALL_BITS, do_dup_s)

static void do_dup_gpr(struct lp_lanes *l)
{
	static const enum lp_x86_vop op[4] = {LP_VPBROADCASTB, LP_VPBROADCASTW, LP_VPBROADCASTD, LP_VPBROADCASTQ};
	unsigned size = lane_size(l->word), r = lp_reads(lp_a64_field_Rn(l->word));

	if (r == LP_ZR) {
		lp_v_zero(l, l->d);
		return;
	}
	if (l->t->pin[r] < 0) { /* little-endian: the lane is the first in memory */
		V_ONE_MEM(op[size], l->d, lp_cpu_x(r));
		return;
	}
	V_ONE_MEM(size == D ? LP_VMOVQ_64 : LP_VMOVD, T0, lp_x_rm(l->t, r));
	V_ONE(op[size], l->d, T0);
}
ROW(dup_gpr, 0, do_dup_gpr)

static void do_ins_gpr(struct lp_lanes *l)
{
	static const enum lp_x86_vop op[4] = {LP_VPINSRB, LP_VPINSRW, LP_VPINSRD, LP_VPINSRQ};
	unsigned r = lp_reads(lp_a64_field_Rn(l->word));

	lp_x86_vex_imm(l->x, op[lane_size(l->word)], 0, l->d, l->d, lp_x_rm(l->t, r), lane_index(l->word));
}
ROW(ins_gpr, LP_D, do_ins_gpr)

static void insert_d(struct lp_lanes *l, unsigned to, unsigned from)
{
	if (to == from)
		V_IMM(LP_VPBLENDD, l->d, l->d, l->n, to ? 12 : 3);
	else if (to == 0)
		V(LP_VPUNPCKHQDQ, l->d, l->n, l->d);
	else
		V(LP_VPUNPCKLQDQ, l->d, l->d, l->n);
}

static void do_ins_elem(struct lp_lanes *l)
{
	unsigned size = lane_size(l->word), to = lane_index(l->word), from = lp_a64_field_imm4(l->word) >> size;

	if (size == D) {
		insert_d(l, to, from);
	} else if (size == S) {
		V_IMM(LP_VINSERTPS, l->d, l->d, l->n, from << 6 | to << 4);
	} else {
		bool bytes = size == B;
		lp_x86_vex_to_imm(l->x, bytes ? LP_VPEXTRB : LP_VPEXTRW, 0, lp_rm_reg(LP_RAX), l->n, from);
		V_IMM(bytes ? LP_VPINSRB : LP_VPINSRW, l->d, l->d, LP_RAX, to);
	}
}
ROW(ins_elem, LP_ONE_INTO, do_ins_elem)

/* The lane, extended with zeros, to a general register; from memory where no copy is at hand. */
static void lane_to(struct lp_tr *t, uint32_t word, unsigned to)
{
	static const enum lp_x86_vop op[4] = {LP_VPEXTRB, LP_VPEXTRW, LP_VPEXTRD, LP_VPEXTRQ};
	unsigned size = lane_size(word), index = lane_index(word);
	struct lp_x86_rm memory = lp_cpu_v(F(Rn));
	unsigned n;

	if (!(t->v_loaded >> F(Rn) & 1)) {
		memory.disp += (int32_t)(index << size);
		lp_x86_load(&t->x, 1U << size, to, memory);
		return;
	}
	n = lp_v_read(t, F(Rn));
	if (index == 0 && size >= S)
		lp_x86_vex_to(&t->x, size == S ? LP_VMOVD_TO : LP_VMOVQ_64_TO, 0, lp_rm_reg(to), n);
	else
		lp_x86_vex_to_imm(&t->x, op[size], 0, lp_rm_reg(to), n, index);
}

static bool umov(struct lp_tr *t, uint32_t word)
{
	unsigned d = lp_writes(F(Rd)), to = lp_x_dest(t, d, LP_RAX);

	lane_to(t, word, to);
	lp_x_write(t, d, to);
	return true;
}

static bool smov(struct lp_tr *t, uint32_t word)
{
	unsigned d = lp_writes(F(Rd)), to = lp_x_dest(t, d, LP_RAX), size = lane_size(word);

	lane_to(t, word, LP_RAX);
	lp_x86_load_signed(&t->x, 1U << size, F(Q), to, lp_rm_reg(LP_RAX));
	lp_x_write(t, d, to);
	return true;
}

/* ---- permutations ---- */

static void do_ext(struct lp_lanes *l)
{
	unsigned by = lp_a64_field_imm4(l->word);

	if (l->whole) {
		V_IMM(LP_VPALIGNR, l->d, l->m, l->n, by);
		return;
	}
	V(LP_VPUNPCKLQDQ, T0, l->n, l->m);
	V_SHIFT(LP_VPSRLDQ_IMM, l->d, T0, by);
}
ROW(ext, LP_TWO, do_ext)

static void do_zip1(struct lp_lanes *l)
{
	V(vop_low[l->size], l->d, l->n, l->m);
}
ROW(zip1, LP_TWO, do_zip1)

static void do_zip2(struct lp_lanes *l)
{
	if (l->whole) {
		V(vop_high[l->size], l->d, l->n, l->m);
		return;
	}
	V(vop_low[l->size], T0, l->n, l->m);
	V_SHIFT(LP_VPSRLDQ_IMM, l->d, T0, 8);
}
ROW(zip2, LP_TWO | LP_ALL_BITS, do_zip2)

static void uzp_bytes(struct lp_lanes *l, unsigned first)
{
	if (first) {
		V_SHIFT(LP_VPSRLW_IMM, T0, l->n, 8);
		V_SHIFT(LP_VPSRLW_IMM, T1, l->m, 8);
	} else {
		struct lp_x86_rm low = lp_each_constant(l, H, 0xff);
		V_MEM(LP_VPAND, T0, l->n, low);
		V_MEM(LP_VPAND, T1, l->m, low);
	}
	V(LP_VPACKUSWB, l->d, T0, T1);
}

static void uzp(struct lp_lanes *l, unsigned first)
{
	struct lp_order order = lp_order_every_second(l->size, first);

	if (l->size == D) {
		V((first ? vop_high : vop_low)[D], l->d, l->n, l->m);
	} else if (!l->whole) {
		V(LP_VPUNPCKLQDQ, T0, l->n, l->m);
		V_MEM(LP_VPSHUFB, l->d, T0, lp_order_constant(l, &order));
	} else if (l->size == S) {
		V_IMM(LP_VSHUFPS, l->d, l->n, l->m, first ? 0xdd : 0x88);
	} else if (l->size == B) {
		uzp_bytes(l, first);
	} else {
		struct lp_x86_rm constant = lp_order_constant(l, &order);
		V_MEM(LP_VPSHUFB, T0, l->n, constant);
		V_MEM(LP_VPSHUFB, T1, l->m, constant);
		V(LP_VPUNPCKLQDQ, l->d, T0, T1);
	}
}
static void do_uzp1(struct lp_lanes *l)
{
	uzp(l, 0);
}
static void do_uzp2(struct lp_lanes *l)
{
	uzp(l, 1);
}
ROW(uzp1, LP_TWO | LP_ALL_BITS, do_uzp1)
ROW(uzp2, LP_TWO | LP_ALL_BITS, do_uzp2)

static void do_trn1(struct lp_lanes *l)
{
	switch (l->size) {
	case B:
		V_SHIFT(LP_VPSLLW_IMM, T0, l->m, 8);
		V_MEM(LP_VPAND, T1, l->n, lp_each_constant(l, H, 0xff));
		V(LP_VPOR, l->d, T0, T1);
		break;
	case H:
		V_SHIFT(LP_VPSLLD_IMM, T0, l->m, 16);
		V_IMM(LP_VPBLENDW, l->d, l->n, T0, 0xaa);
		break;
	case S:
		V_SHIFT(LP_VPSLLQ_IMM, T0, l->m, 32);
		V_IMM(LP_VPBLENDD, l->d, l->n, T0, 0xa);
		break;
	default:
		V(LP_VPUNPCKLQDQ, l->d, l->n, l->m);
	}
}
static void do_trn2(struct lp_lanes *l)
{
	switch (l->size) {
	case B:
		V_SHIFT(LP_VPSRLW_IMM, T0, l->n, 8);
		V_MEM(LP_VPAND, T1, l->m, lp_each_constant(l, H, 0xff00));
		V(LP_VPOR, l->d, T0, T1);
		break;
	case H:
		V_SHIFT(LP_VPSRLD_IMM, T0, l->n, 16);
		V_IMM(LP_VPBLENDW, l->d, T0, l->m, 0xaa);
		break;
	case S:
		V_SHIFT(LP_VPSRLQ_IMM, T0, l->n, 32);
		V_IMM(LP_VPBLENDD, l->d, T0, l->m, 0xa);
		break;
	default:
		V(LP_VPUNPCKHQDQ, l->d, l->n, l->m);
	}
}
ROW(trn1, LP_TWO, do_trn1)
ROW(trn2, LP_TWO, do_trn2)

/* Lanes in reverse order within each group of bytes. */
static void reverse(struct lp_lanes *l, unsigned group)
{
	unsigned change = (group - 1) & ~((1U << l->size) - 1);
	struct lp_order order;

	for (unsigned i = 0; i < 16; i++)
		order.byte[i] = i < 8 || l->whole ? (uint8_t)(i ^ change) : NONE;
	V_MEM(LP_VPSHUFB, l->d, l->n, lp_order_constant(l, &order));
}
static void do_rev16(struct lp_lanes *l)
{
	reverse(l, 2);
}
static void do_rev32(struct lp_lanes *l)
{
	reverse(l, 4);
}
static void do_rev64(struct lp_lanes *l)
{
	reverse(l, 8);
}
ROW(rev16_v, LP_ONE | LP_ALL_BITS, do_rev16)
ROW(rev32_v, LP_ONE | LP_ALL_BITS, do_rev32)
ROW(rev64_v, LP_ONE | LP_ALL_BITS, do_rev64)

/* ---- bytes looked up ---- */

/* T0 = what the indices find in registers rn, rn + 1, ... (31 is followed by 0), else 0: vpshufb finds 0 where the highest
 * bit is set, as adding 0x70 with saturation makes it where more than 15 is left. */
static void look_up(struct lp_lanes *l, unsigned count)
{
	struct lp_x86_rm top = lp_each_constant(l, B, 0x70);
	unsigned first = lp_a64_field_Rn(l->word);

	V_MEM(LP_VPADDUSB, T0, l->m, top);
	V(LP_VPSHUFB, T0, lp_v_read(l->t, first), T0);
	for (unsigned k = 1; k < count; k++) {
		V_MEM(LP_VPSUBB, T1, l->m, lp_each_constant(l, B, 16 * k));
		V_MEM(LP_VPADDUSB, T1, T1, top);
		V(LP_VPSHUFB, T1, lp_v_read(l->t, (first + k) % 32), T1);
		V(LP_VPOR, T0, T0, T1);
	}
}

static bool table(struct lp_tr *t, uint32_t word, bool keeps)
{
	struct lp_lanes lanes = {.t = t, .x = &t->x, .word = word}, *l = &lanes;
	unsigned count = F(len) + 1, was;

	l->m = lp_v_read(t, F(Rm));
	look_up(l, count);
	if (keeps) {
		was = lp_v_read(t, F(Rd));
		V_MEM(LP_VPMAXUB, T1, l->m, lp_each_constant(l, B, 16 * count));
		V(LP_VPCMPEQB, T1, T1, l->m);
		lp_x86_vex_blend(l->x, LP_VPBLENDVB, 0, T0, T0, lp_rm_reg(was), T1);
	}
	l->d = lp_v_dest_last(t, F(Rd));
	V_ONE(F(Q) ? LP_VMOVAPS : LP_VMOVQ, l->d, T0);
	lp_v_write(t, F(Rd), l->d);
	return true;
}
static bool tbl(struct lp_tr *t, uint32_t word)
{
	return table(t, word, false);
}
static bool tbx(struct lp_tr *t, uint32_t word)
{
	return table(t, word, true);
}

/* ---- immediates ---- */

static uint64_t imm8(uint32_t word)
{
	return F(abc) << 5 | F(defgh);
}
static uint64_t imm_8(uint32_t word)
{
	return lp_each(B, imm8(word));
}
static uint64_t imm_16(uint32_t word)
{
	return lp_each(H, imm8(word) << 8 * F(cm1));
}
static uint64_t imm_32(uint32_t word)
{
	return lp_each(S, imm8(word) << 8 * F(cm2));
}
/* Ones are shifted in. */
static uint64_t imm_msl(uint32_t word)
{
	unsigned by = 8 + 8 * F(cm0);

	return lp_each(S, imm8(word) << by | ((UINT64_C(1) << by) - 1));
}
/* Each bit is a byte. */
static uint64_t imm_d(uint32_t word)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i++)
		value |= imm8(word) >> i & 1 ? UINT64_C(0xff) << 8 * i : 0;
	return value;
}
/* VFPExpandImm: sign, exponent of three bits around the bias, four bits of fraction. */
static uint64_t imm_float(uint32_t word, unsigned exponent_bits, unsigned fraction_bits)
{
	uint64_t imm = imm8(word), sign = imm >> 7, low = imm >> 6 & 1;
	uint64_t repeated = low ? ((UINT64_C(1) << (exponent_bits - 3)) - 1) << 2 : 0;
	uint64_t exponent = (low ^ 1) << (exponent_bits - 1) | repeated | (imm >> 4 & 3);

	return sign << (exponent_bits + fraction_bits) | exponent << fraction_bits | (imm & 15) << (fraction_bits - 4);
}

static bool set_both(struct lp_tr *t, uint32_t word, uint64_t value)
{
	unsigned d = lp_v_dest_last(t, F(Rd));

	if (value == 0)
		lp_x86_vex(&t->x, LP_VPXOR, 0, d, d, lp_rm_reg(d));
	else if (!F(Q))
		lp_x86_vex_rm(&t->x, LP_VMOVQ, 0, d, lp_constant(t, value, value));
	else if (value == UINT64_MAX)
		lp_x86_vex(&t->x, LP_VPCMPEQD, 0, d, d, lp_rm_reg(d));
	else
		lp_x86_vex_rm(&t->x, LP_VMOVAPS, 0, d, lp_constant(t, value, value));
	lp_v_write_bits(t, F(Rd), d, value == 0 ? 32 : F(Q) ? 128 : 64);
	return true;
}

/* d = d op value */
static bool combine(struct lp_tr *t, uint32_t word, enum lp_x86_vop op, uint64_t value)
{
	unsigned d = lp_v_read(t, F(Rd));

	lp_x86_vex(&t->x, op, 0, d, d, lp_constant(t, value, value));
	if (!F(Q))
		lp_x86_vex_rm(&t->x, LP_VMOVQ, 0, d, lp_rm_reg(d));
	lp_v_write(t, F(Rd), d);
	return true;
}

#define IMMEDIATE(row, value)                           \
	static bool row(struct lp_tr *t, uint32_t word) \
	{                                               \
		return set_both(t, word, value);        \
	}
#define IMMEDIATE_INTO(row, op, value)                  \
	static bool row(struct lp_tr *t, uint32_t word) \
	{                                               \
		return combine(t, word, op, value);     \
	}
IMMEDIATE(movi_8, imm_8(word))
IMMEDIATE(movi_16, imm_16(word))
IMMEDIATE(movi_32, imm_32(word))
IMMEDIATE(movi_msl, imm_msl(word))
IMMEDIATE(mvni_16, ~imm_16(word))
IMMEDIATE(mvni_32, ~imm_32(word))
IMMEDIATE(mvni_msl, ~imm_msl(word))
IMMEDIATE(movi_d, imm_d(word))
IMMEDIATE(fmov_v_h, lp_each(H, imm_float(word, 5, 10)))
IMMEDIATE(fmov_v, lp_each(S, imm_float(word, 8, 23)))
IMMEDIATE(fmov_v_2d, imm_float(word, 11, 52))
IMMEDIATE_INTO(orr_imm_16, LP_VPOR, imm_16(word))
IMMEDIATE_INTO(orr_imm_32, LP_VPOR, imm_32(word))
IMMEDIATE_INTO(bic_imm_16, LP_VPAND, ~imm_16(word))
IMMEDIATE_INTO(bic_imm_32, LP_VPAND, ~imm_32(word))

const struct lp_emit_row lp_emit_simd_move[] = {
	{A64_OP_DUP_ELEM, dup_elem},
	{A64_OP_DUP_GPR, dup_gpr},
	{A64_OP_DUP_S, dup_s},
	{A64_OP_INS_GPR, ins_gpr},
	{A64_OP_INS_ELEM, ins_elem},
	{A64_OP_UMOV, umov},
	{A64_OP_SMOV, smov},
	{A64_OP_EXT, ext},
	{A64_OP_ZIP1, zip1},
	{A64_OP_ZIP2, zip2},
	{A64_OP_UZP1, uzp1},
	{A64_OP_UZP2, uzp2},
	{A64_OP_TRN1, trn1},
	{A64_OP_TRN2, trn2},
	{A64_OP_REV16_V, rev16_v},
	{A64_OP_REV32_V, rev32_v},
	{A64_OP_REV64_V, rev64_v},
	{A64_OP_TBL, tbl},
	{A64_OP_TBX, tbx},
	{A64_OP_MOVI_8, movi_8},
	{A64_OP_MOVI_16, movi_16},
	{A64_OP_MOVI_32, movi_32},
	{A64_OP_MOVI_MSL, movi_msl},
	{A64_OP_MVNI_16, mvni_16},
	{A64_OP_MVNI_32, mvni_32},
	{A64_OP_MVNI_MSL, mvni_msl},
	{A64_OP_MOVI_D, movi_d},
	{A64_OP_MOVI_2D, movi_d},
	{A64_OP_FMOV_V, fmov_v},
	{A64_OP_FMOV_V_2D, fmov_v_2d},
	{A64_OP_FMOV_V_H, fmov_v_h},
	{A64_OP_ORR_IMM_16, orr_imm_16},
	{A64_OP_ORR_IMM_32, orr_imm_32},
	{A64_OP_BIC_IMM_16, bic_imm_16},
	{A64_OP_BIC_IMM_32, bic_imm_32},
	{0},
};
