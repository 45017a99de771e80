/* Loads and stores of vector registers. */
#include "emu/hot.h"
#include "jit/address.h"

#undef RD
#undef RN
#undef RM
#undef RA

/* ---- one access ---- */

/* 1 << log2 bytes, with zeros above them; is_last: of the instruction's accesses.  Uses rdx. */
static void load(struct lp_tr *t, unsigned log2, unsigned v, struct lp_x86_rm at, bool is_last)
{
	unsigned to = is_last ? lp_v_dest_last(t, v) : lp_v_dest(t, v);
	struct lp_x86 *x = &t->x;

	switch (log2) {
	case 0:
	case 1:
		lp_x86_load(x, 1u << log2, LP_RDX, at);
		lp_x86_vex_rm(x, LP_VMOVD, 0, to, lp_rm_reg(LP_RDX));
		break;
	case 2:
		lp_x86_vex_rm(x, LP_VMOVSS_LOAD, 0, to, at);
		break;
	case 3:
		lp_x86_vex_rm(x, LP_VMOVSD_LOAD, 0, to, at);
		break;
	default:
		lp_x86_vex_rm(x, LP_VMOVUPS, 0, to, at);
		break;
	}
}

static void store(struct lp_tr *t, unsigned log2, unsigned v, struct lp_x86_rm at)
{
	unsigned from = lp_v_read_bits(t, v, 8u << log2);
	struct lp_x86 *x = &t->x;

	switch (log2) {
	case 0:
		lp_x86_vex_to_imm(x, LP_VPEXTRB, 0, at, from, 0);
		break;
	case 1:
		lp_x86_vex_to_imm(x, LP_VPEXTRW, 0, at, from, 0);
		break;
	case 2:
		lp_x86_vex_to(x, LP_VMOVSS_TO, 0, at, from);
		break;
	case 3:
		lp_x86_vex_to(x, LP_VMOVSD_TO, 0, at, from);
		break;
	default:
		lp_x86_vex_to(x, LP_VMOVUPS_TO, 0, at, from);
		break;
	}
}

/* ---- one register ---- */

static bool transfer(struct lp_tr *t, uint32_t word, unsigned log2, bool is_load, enum lp_way way)
{
	struct lp_address a = lp_address_of(t, word, way, log2);
	unsigned v = F(Rt);

	if (is_load) {
		load(t, log2, v, a.at, true);
		lp_v_write_bits(t, v, lp_v_dest(t, v), 8u << log2);
	} else {
		store(t, log2, v, a.at);
	}
	lp_address_write_back(t, &a);
	return true;
}

#define ONE(name, log2, is_load, way)                              \
	static bool name##_##way(struct lp_tr *t, uint32_t word)   \
	{                                                          \
		return transfer(t, word, log2, is_load, LP_##way); \
	}
#define ALL(name, log2, is_load)           \
	ONE(name, log2, is_load, SCALED)   \
	ONE(name, log2, is_load, UNSCALED) \
	ONE(name, log2, is_load, POST)     \
	ONE(name, log2, is_load, PRE)      \
	ONE(name, log2, is_load, INDEXED)
ALL(str_b, 0, false)
ALL(str_h, 1, false)
ALL(str_s, 2, false)
ALL(str_d, 3, false)
ALL(str_q, 4, false)
ALL(ldr_b, 0, true)
ALL(ldr_h, 1, true)
ALL(ldr_s, 2, true)
ALL(ldr_d, 3, true)
ALL(ldr_q, 4, true)

/* ---- two ---- */

static bool pair(struct lp_tr *t, uint32_t word, bool is_load, enum lp_way way)
{
	unsigned log2 = 2 + F(opc), v = F(Rt), v2 = F(Rt2);
	struct lp_address a;
	struct lp_x86_rm second;

	if (is_load && v == v2)
		return false;
	a = lp_address_pair(t, word, way, log2);
	second = a.at;
	second.disp += 1 << log2;
	if (!is_load) {
		store(t, log2, v, a.at);
		store(t, log2, v2, second);
	} else {
		load(t, log2, v, a.at, false);
		load(t, log2, v2, second, true);
		lp_v_write_bits(t, v, lp_v_dest(t, v), 8u << log2);
		lp_v_write_bits(t, v2, lp_v_dest(t, v2), 8u << log2);
	}
	lp_address_write_back(t, &a);
	return true;
}

#define PAIR(name, is_load, way)                         \
	static bool name(struct lp_tr *t, uint32_t word) \
	{                                                \
		return pair(t, word, is_load, LP_##way); \
	}
PAIR(ldp_v_off, true, UNSCALED)
PAIR(ldp_v_post, true, POST)
PAIR(ldp_v_pre, true, PRE)
PAIR(stp_v_off, false, UNSCALED)
PAIR(stp_v_post, false, POST)
PAIR(stp_v_pre, false, PRE)

/* ---- literals ---- */

static bool literal(struct lp_tr *t, uint32_t word, unsigned log2)
{
	unsigned v = F(Rt);

	lp_x86_mov_address(&t->x, LP_RAX, t->pc + (uint64_t)lp_signed_field(word, 5, 19) * 4);
	load(t, log2, v, lp_rm_mem(LP_RAX, 0), true);
	lp_v_write_bits(t, v, lp_v_dest(t, v), 8u << log2);
	return true;
}

static bool ldr_lit_s(struct lp_tr *t, uint32_t word)
{
	return literal(t, word, 2);
}
static bool ldr_lit_d(struct lp_tr *t, uint32_t word)
{
	return literal(t, word, 3);
}
static bool ldr_lit_q(struct lp_tr *t, uint32_t word)
{
	return literal(t, word, 4);
}

/* ---- one to four in a row, without a structure ---- */

void lp_address_step(struct lp_tr *t, uint32_t word, unsigned bytes)
{
	unsigned n = F(Rn), m = F(Rm);

	if (m == 31) {
		lp_x86_lea(&t->x, 1, LP_RAX, lp_rm_mem(lp_x_read(t, n, LP_RAX), (int32_t)bytes));
	} else {
		unsigned base = lp_x_read(t, n, LP_RAX);
		lp_x86_lea(&t->x, 1, LP_RAX, lp_rm_sib(base, lp_x_read(t, m, LP_RCX), 1, 0));
	}
	lp_x_write(t, n, LP_RAX);
	if (n == LP_SP && (m != 31 || bytes & 15))
		lp_sp_changed(t);
}

static bool row(struct lp_tr *t, uint32_t word, bool is_load, unsigned nr, bool steps)
{
	unsigned log2 = F(Q) ? 4 : 3, base = lp_x_read(t, F(Rn), LP_RAX), v = F(Rt);

	for (unsigned i = 0; i < nr; i++) {
		struct lp_x86_rm at = lp_rm_mem(base, (int32_t)(i << log2));
		if (is_load)
			load(t, log2, (v + i) & 31, at, i + 1 == nr);
		else
			store(t, log2, (v + i) & 31, at);
	}
	for (unsigned i = 0; is_load && i < nr; i++)
		lp_v_write_bits(t, (v + i) & 31, lp_v_dest(t, (v + i) & 31), 8u << log2);
	if (steps)
		lp_address_step(t, word, nr << log2);
	return true;
}

#define ROW(name, is_load, nr)                                  \
	static bool name(struct lp_tr *t, uint32_t word)        \
	{                                                       \
		return row(t, word, is_load, nr, false);        \
	}                                                       \
	static bool name##_post(struct lp_tr *t, uint32_t word) \
	{                                                       \
		return row(t, word, is_load, nr, true);         \
	}
ROW(ld1, true, 1)
ROW(ld1x2, true, 2)
ROW(ld1x3, true, 3)
ROW(ld1x4, true, 4)
ROW(st1, false, 1)
ROW(st1x2, false, 2)
ROW(st1x3, false, 3)
ROW(st1x4, false, 4)

/* ---- one element ---- */

/* To all of a register. */
static bool replicate(struct lp_tr *t, uint32_t word, bool steps)
{
	static const enum lp_x86_vop broadcast[] = {LP_VPBROADCASTB, LP_VPBROADCASTW, LP_VPBROADCASTD, LP_VPBROADCASTQ};
	unsigned log2 = F(vsize), v = F(Rt), base = lp_x_read(t, F(Rn), LP_RAX), to = lp_v_dest_last(t, v);

	lp_x86_vex_rm(&t->x, broadcast[log2], 0, to, lp_rm_mem(base, 0));
	if (!F(Q))
		lp_x86_vex_rm(&t->x, LP_VMOVQ, 0, to, lp_rm_reg(to));
	lp_v_write(t, v, to);
	if (steps)
		lp_address_step(t, word, 1u << log2);
	return true;
}

static bool ld1r(struct lp_tr *t, uint32_t word)
{
	return replicate(t, word, false);
}
static bool ld1r_post(struct lp_tr *t, uint32_t word)
{
	return replicate(t, word, true);
}

static bool element(struct lp_tr *t, uint32_t word, unsigned log2, bool is_load, bool steps)
{
	static const enum lp_x86_vop insert[] = {LP_VPINSRB, LP_VPINSRW, LP_VPINSRD, LP_VPINSRQ};
	static const enum lp_x86_vop extract[] = {LP_VPEXTRB, LP_VPEXTRW, LP_VPEXTRD, LP_VPEXTRQ};
	unsigned index = (F(Q) << 3 | F(Sb) << 2 | F(vsize)) >> log2, v = F(Rt), base = lp_x_read(t, F(Rn), LP_RAX);
	unsigned reg = lp_v_read(t, v);

	if (is_load) {
		/* In place: where it faults, the copy is as it was */
		lp_x86_vex_imm(&t->x, insert[log2], 0, reg, reg, lp_rm_mem(base, 0), index);
		lp_v_write(t, v, reg);
	} else {
		lp_x86_vex_to_imm(&t->x, extract[log2], 0, lp_rm_mem(base, 0), reg, index);
	}
	if (steps)
		lp_address_step(t, word, 1u << log2);
	return true;
}

#define ELEMENT(suffix, log2)                                           \
	static bool ld1_##suffix(struct lp_tr *t, uint32_t word)        \
	{                                                               \
		return element(t, word, log2, true, false);             \
	}                                                               \
	static bool ld1_##suffix##_post(struct lp_tr *t, uint32_t word) \
	{                                                               \
		return element(t, word, log2, true, true);              \
	}                                                               \
	static bool st1_##suffix(struct lp_tr *t, uint32_t word)        \
	{                                                               \
		return element(t, word, log2, false, false);            \
	}                                                               \
	static bool st1_##suffix##_post(struct lp_tr *t, uint32_t word) \
	{                                                               \
		return element(t, word, log2, false, true);             \
	}
ELEMENT(b, 0)
ELEMENT(h, 1)
ELEMENT(s, 2)
ELEMENT(d, 3)

#define WAYS(LOAD, load)                                                                                               \
	{A64_OP_##LOAD##_UIMM, load##_SCALED}, {A64_OP_##LOAD##_POST, load##_POST}, {A64_OP_##LOAD##_PRE, load##_PRE}, \
	{                                                                                                              \
		A64_OP_##LOAD##_REG, load##_INDEXED                                                                    \
	}
#define BOTH(NAME, name)                          \
	{A64_OP_##NAME, name},                    \
	{                                         \
		A64_OP_##NAME##_POST, name##_post \
	}
const struct lp_emit_row lp_emit_vector_memory[] = {
	WAYS(STR_B, str_b),
	WAYS(STR_H, str_h),
	WAYS(STR_S, str_s),
	WAYS(STR_D, str_d),
	WAYS(STR_Q, str_q),
	WAYS(LDR_B, ldr_b),
	WAYS(LDR_H, ldr_h),
	WAYS(LDR_S, ldr_s),
	WAYS(LDR_D, ldr_d),
	WAYS(LDR_Q, ldr_q),
	{A64_OP_STUR_B, str_b_UNSCALED},
	{A64_OP_STUR_H, str_h_UNSCALED},
	{A64_OP_STUR_S, str_s_UNSCALED},
	{A64_OP_STUR_D, str_d_UNSCALED},
	{A64_OP_STUR_Q, str_q_UNSCALED},
	{A64_OP_LDUR_B, ldr_b_UNSCALED},
	{A64_OP_LDUR_H, ldr_h_UNSCALED},
	{A64_OP_LDUR_S, ldr_s_UNSCALED},
	{A64_OP_LDUR_D, ldr_d_UNSCALED},
	{A64_OP_LDUR_Q, ldr_q_UNSCALED},
	{A64_OP_LDP_V_NT, ldp_v_off},
	{A64_OP_LDP_V_OFF, ldp_v_off},
	{A64_OP_LDP_V_POST, ldp_v_post},
	{A64_OP_LDP_V_PRE, ldp_v_pre},
	{A64_OP_STP_V_NT, stp_v_off},
	{A64_OP_STP_V_OFF, stp_v_off},
	{A64_OP_STP_V_POST, stp_v_post},
	{A64_OP_STP_V_PRE, stp_v_pre},
	{A64_OP_LDR_LIT_S, ldr_lit_s},
	{A64_OP_LDR_LIT_D, ldr_lit_d},
	{A64_OP_LDR_LIT_Q, ldr_lit_q},
	BOTH(LD1, ld1),
	BOTH(LD1X2, ld1x2),
	BOTH(LD1X3, ld1x3),
	BOTH(LD1X4, ld1x4),
	BOTH(ST1, st1),
	BOTH(ST1X2, st1x2),
	BOTH(ST1X3, st1x3),
	BOTH(ST1X4, st1x4),
	BOTH(LD1R, ld1r),
	BOTH(LD1_B, ld1_b),
	BOTH(LD1_H, ld1_h),
	BOTH(LD1_S, ld1_s),
	BOTH(LD1_D, ld1_d),
	BOTH(ST1_B, st1_b),
	BOTH(ST1_H, st1_h),
	BOTH(ST1_S, st1_s),
	BOTH(ST1_D, st1_d),
	{0},
};
