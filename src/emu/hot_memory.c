/* Loads and stores of general registers. */
#include "emu/access.h"
#include "emu/hot.h"

/*
 * Each access in each way to name its address.  Those with the stack pointer as base check that it is aligned.
 *
 *	imm	base and offset (imm)
 *	post	base, to which imm is added afterwards
 *	pre	base and imm, which becomes the base
 *	reg	base and a register, shifted by ra
 *	sxtw uxtw	and its lower half, extended
 */

#define FREE /* nothing to be checked */
#define CHECKED                           \
	if (__builtin_expect(RN & 15, 0)) \
		return lp_bad_base(cpu, u);

#define ACCESS(name, check, address, touch, write_back) \
	HOT(name)                                       \
	{                                               \
		uint64_t addr = address;                \
		check touch;                            \
		write_back;                             \
		ON;                                     \
	}

#define SAME_ACCESS(name, touch)                                                           \
	ACCESS(name##_imm, FREE, RN + u->imm, touch, )                                     \
	ACCESS(name##_imm_sp, CHECKED, RN + u->imm, touch, )                               \
	ACCESS(name##_post, FREE, RN, touch, RN = addr + u->imm)                           \
	ACCESS(name##_post_sp, CHECKED, RN, touch, RN = addr + u->imm)                     \
	ACCESS(name##_pre, FREE, RN + u->imm, touch, RN = addr)                            \
	ACCESS(name##_pre_sp, CHECKED, RN + u->imm, touch, RN = addr)                      \
	ACCESS(name##_reg, FREE, RN + (RM << u->ra), touch, )                              \
	ACCESS(name##_uxtw, FREE, RN + ((uint64_t)(uint32_t)RM << u->ra), touch, )         \
	ACCESS(name##_sxtw, FREE, RN + ((uint64_t)(int64_t)(int32_t)RM << u->ra), touch, ) \
	static lp_uop_fn *const name##_imm_run[] = {name##_imm, name##_imm_sp};            \
	static lp_uop_fn *const name##_post_run[] = {name##_post, name##_post_sp};         \
	static lp_uop_fn *const name##_pre_run[] = {name##_pre, name##_pre_sp};            \
	static lp_uop_fn *const name##_reg_run[] = {name##_reg, name##_uxtw, name##_sxtw};

#define STORE(type) STORE_##type(cpu, u, addr, RD)
#define LOAD(type) RD = LOAD_##type(cpu, u, addr)
#define LOAD_SIGNED_X(type, narrow) RD = (uint64_t)(narrow)LOAD_##type(cpu, u, addr)
#define LOAD_SIGNED_W(type, narrow) RD = (uint32_t)(narrow)LOAD_##type(cpu, u, addr)

SAME_ACCESS(strb, STORE(u8))
SAME_ACCESS(strh, STORE(u16))
SAME_ACCESS(str_w, STORE(u32))
SAME_ACCESS(str_x, STORE(u64))
SAME_ACCESS(ldrb, LOAD(u8))
SAME_ACCESS(ldrh, LOAD(u16))
SAME_ACCESS(ldr_w, LOAD(u32))
SAME_ACCESS(ldr_x, LOAD(u64))
SAME_ACCESS(ldrsb_x, LOAD_SIGNED_X(u8, int8_t))
SAME_ACCESS(ldrsb_w, LOAD_SIGNED_W(u8, int8_t))
SAME_ACCESS(ldrsh_x, LOAD_SIGNED_X(u16, int16_t))
SAME_ACCESS(ldrsh_w, LOAD_SIGNED_W(u16, int16_t))
SAME_ACCESS(ldrsw, LOAD_SIGNED_X(u32, int32_t))

/* ---- pairs ---- */

#define LOAD_PAIR(type, size)                                 \
	uint64_t first = LOAD_##type(cpu, u, addr);           \
	uint64_t second = LOAD_##type(cpu, u, addr + (size)); \
	RD = first;                                           \
	RA = second
#define STORE_PAIR(type, size)          \
	STORE_##type(cpu, u, addr, RD); \
	STORE_##type(cpu, u, addr + (size), RA)

#define SAME_PAIR(name, touch)                                         \
	ACCESS(name##_imm, FREE, RN + u->imm, touch, )                 \
	ACCESS(name##_imm_sp, CHECKED, RN + u->imm, touch, )           \
	ACCESS(name##_post, FREE, RN, touch, RN = addr + u->imm)       \
	ACCESS(name##_post_sp, CHECKED, RN, touch, RN = addr + u->imm) \
	ACCESS(name##_pre, FREE, RN + u->imm, touch, RN = addr)        \
	ACCESS(name##_pre_sp, CHECKED, RN + u->imm, touch, RN = addr)
SAME_PAIR(ldp_w, LOAD_PAIR(u32, 4))
SAME_PAIR(ldp_x, LOAD_PAIR(u64, 8))
SAME_PAIR(stp_w, STORE_PAIR(u32, 4))
SAME_PAIR(stp_x, STORE_PAIR(u64, 8))

#define PAIR_TABLE(name, way)                                                                                \
	static lp_uop_fn *const name##_##way##_run[] = {name##_w_##way, name##_w_##way##_sp, name##_x_##way, \
							name##_x_##way##_sp};
PAIR_TABLE(ldp, imm)
PAIR_TABLE(ldp, post)
PAIR_TABLE(ldp, pre)
PAIR_TABLE(stp, imm)
PAIR_TABLE(stp, post)
PAIR_TABLE(stp, pre)

/* ---- literals ---- */

ACCESS(ldr_lit_w, FREE, u->imm, LOAD(u32), )
ACCESS(ldr_lit_x, FREE, u->imm, LOAD(u64), )
ACCESS(ldrsw_lit, FREE, u->imm, LOAD_SIGNED_X(u32, int32_t), )
static lp_uop_fn *const ldr_lit_w_run[] = {ldr_lit_w};
static lp_uop_fn *const ldr_lit_x_run[] = {ldr_lit_x};
static lp_uop_fn *const ldrsw_lit_run[] = {ldrsw_lit};

/* ---- which ---- */

/* The transferred register: read or written, as bit 22 says, but for the signed loads, which have it clear. */
static void transferred(struct lp_uop *u)
{
	u->rd = u->word >> 22 & 3 ? lp_writes(u->rd) : lp_reads(u->rd);
}

static int scaled(struct lp_uop *u)
{
	transferred(u);
	u->imm = (uint64_t)FIELD(imm12) << FIELD(size);
	return u->rn == 31;
}

static int unscaled(struct lp_uop *u)
{
	transferred(u);
	u->imm = (uint64_t)lp_signed_field(u->word, 12, 9);
	return u->rn == 31;
}

static int by_register(struct lp_uop *u)
{
	static const int8_t index[8] = {[2] = 1, [6] = 2};

	if (u->rn == 31)
		return LP_HOT_NONE;
	transferred(u);
	u->rm = lp_reads(u->rm);
	u->ra = FIELD(S) ? FIELD(size) : 0;
	return index[FIELD(option)];
}

static int pair(struct lp_uop *u)
{
	bool is_load = u->word >> 22 & 1;

	u->rd = is_load ? lp_writes(u->rd) : lp_reads(u->rd);
	u->ra = is_load ? lp_writes(u->ra) : lp_reads(u->ra);
	u->imm = (uint64_t)(lp_signed_field(u->word, 15, 7) * (lp_is64(u) ? 8 : 4));
	return 2 * lp_is64(u) + (u->rn == 31);
}

static int literal(struct lp_uop *u)
{
	u->rd = lp_writes(u->rd);
	u->imm = u->pc + (uint64_t)(lp_signed_field(u->word, 5, 19) * 4);
	return 0;
}

#define ROWS(uimm, reg, unscaled_, post, pre, name)                                                   \
	{A64_OP_##uimm, scaled, name##_imm_run}, {A64_OP_##unscaled_, unscaled, name##_imm_run},      \
		{A64_OP_##post, unscaled, name##_post_run}, {A64_OP_##pre, unscaled, name##_pre_run}, \
	{                                                                                             \
		A64_OP_##reg, by_register, name##_reg_run                                             \
	}

const struct lp_hot lp_hot_memory[] = {
	ROWS(STRB_UIMM, STRB_REG, STURB, STRB_POST, STRB_PRE, strb),
	ROWS(STRH_UIMM, STRH_REG, STURH, STRH_POST, STRH_PRE, strh),
	ROWS(STR_W_UIMM, STR_W_REG, STUR_W, STR_W_POST, STR_W_PRE, str_w),
	ROWS(STR_X_UIMM, STR_X_REG, STUR_X, STR_X_POST, STR_X_PRE, str_x),
	ROWS(LDRB_UIMM, LDRB_REG, LDURB, LDRB_POST, LDRB_PRE, ldrb),
	ROWS(LDRH_UIMM, LDRH_REG, LDURH, LDRH_POST, LDRH_PRE, ldrh),
	ROWS(LDR_W_UIMM, LDR_W_REG, LDUR_W, LDR_W_POST, LDR_W_PRE, ldr_w),
	ROWS(LDR_X_UIMM, LDR_X_REG, LDUR_X, LDR_X_POST, LDR_X_PRE, ldr_x),
	ROWS(LDRSB_X_UIMM, LDRSB_X_REG, LDURSB_X, LDRSB_X_POST, LDRSB_X_PRE, ldrsb_x),
	ROWS(LDRSB_W_UIMM, LDRSB_W_REG, LDURSB_W, LDRSB_W_POST, LDRSB_W_PRE, ldrsb_w),
	ROWS(LDRSH_X_UIMM, LDRSH_X_REG, LDURSH_X, LDRSH_X_POST, LDRSH_X_PRE, ldrsh_x),
	ROWS(LDRSH_W_UIMM, LDRSH_W_REG, LDURSH_W, LDRSH_W_POST, LDRSH_W_PRE, ldrsh_w),
	ROWS(LDRSW_UIMM, LDRSW_REG, LDURSW, LDRSW_POST, LDRSW_PRE, ldrsw),
	{A64_OP_LDP_OFF, pair, ldp_imm_run},
	{A64_OP_LDP_POST, pair, ldp_post_run},
	{A64_OP_LDP_PRE, pair, ldp_pre_run},
	{A64_OP_STP_OFF, pair, stp_imm_run},
	{A64_OP_STP_POST, pair, stp_post_run},
	{A64_OP_STP_PRE, pair, stp_pre_run},
	{A64_OP_LDR_LIT_W, literal, ldr_lit_w_run},
	{A64_OP_LDR_LIT_X, literal, ldr_lit_x_run},
	{A64_OP_LDRSW_LIT, literal, ldrsw_lit_run},
	{0},
};
