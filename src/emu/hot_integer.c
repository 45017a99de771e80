/* Arithmetic, logic, moves and shifts without flags. */
#include "emu/hot.h"
#include "isa/a64/limm.h"

/* ---- immediates ---- */

HOT(constant)
{
	RD = u->imm;
	ON;
}

HOT(add_imm_x)
{
	RD = RN + u->imm;
	ON;
}

HOT(add_imm_w)
{
	RD = (uint32_t)(RN + u->imm);
	ON;
}

/* The immediate of a W form has no upper half: nor has the result. */
HOT(and_imm)
{
	RD = RN & u->imm;
	ON;
}

HOT(orr_imm_x)
{
	RD = RN | u->imm;
	ON;
}

HOT(orr_imm_w)
{
	RD = (uint32_t)(RN | u->imm);
	ON;
}

HOT(eor_imm_x)
{
	RD = RN ^ u->imm;
	ON;
}

HOT(eor_imm_w)
{
	RD = (uint32_t)(RN ^ u->imm);
	ON;
}

/* rm: how far the sixteen bits are shifted */
HOT(movk_x)
{
	RD = (RD & ~(UINT64_C(0xffff) << u->rm)) | u->imm;
	ON;
}

HOT(movk_w)
{
	RD = (uint32_t)((RD & ~(UINT64_C(0xffff) << u->rm)) | u->imm);
	ON;
}

static lp_uop_fn *const constant_run[] = {constant};
static lp_uop_fn *const add_imm_run[] = {add_imm_w, add_imm_x};
static lp_uop_fn *const and_imm_run[] = {and_imm, and_imm, constant};
static lp_uop_fn *const orr_imm_run[] = {orr_imm_w, orr_imm_x, constant};
static lp_uop_fn *const eor_imm_run[] = {eor_imm_w, eor_imm_x, eor_imm_x};
static lp_uop_fn *const movk_run[] = {movk_w, movk_x};

static int adr(struct lp_uop *u)
{
	u->imm = u->pc + (uint64_t)(lp_signed_field(u->word, 5, 19) * 4) + FIELD(immlo);
	u->rd = lp_writes(u->rd);
	return 0;
}

static int adrp(struct lp_uop *u)
{
	uint64_t pages = (uint64_t)(lp_signed_field(u->word, 5, 19) * 4) + FIELD(immlo);

	u->imm = (u->pc & ~UINT64_C(4095)) + (pages << 12);
	u->rd = lp_writes(u->rd);
	return 0;
}

static int movz(struct lp_uop *u)
{
	u->imm = (uint64_t)FIELD(imm16) << FIELD(hw) * 16;
	u->rd = lp_writes(u->rd);
	return 0;
}

static int movn(struct lp_uop *u)
{
	movz(u);
	u->imm = lp_sized(lp_is64(u), ~u->imm);
	return 0;
}

static int movk(struct lp_uop *u)
{
	if (u->rd == 31)
		return LP_HOT_NONE;
	u->imm = (uint64_t)FIELD(imm16) << FIELD(hw) * 16;
	u->rm = FIELD(hw) * 16;
	return lp_is64(u);
}

static int add_imm(struct lp_uop *u)
{
	u->imm = (uint64_t)FIELD(imm12) << (FIELD(sh) ? 12 : 0);
	return lp_is64(u);
}

static int sub_imm(struct lp_uop *u)
{
	add_imm(u);
	u->imm = -u->imm;
	return lp_is64(u);
}

/* With zero they are constants, which `and` is zero then. */
static int logic_imm(struct lp_uop *u)
{
	lp_a64_limm_decode(u->word, &u->imm);
	if (u->rn != 31)
		return lp_is64(u);
	u->rn = LP_ZR;
	if (lp_a64_decode(u->word) == A64_OP_AND_IMM)
		u->imm = 0;
	return 2;
}

/* ---- two registers, the second shifted ---- */

/* name_w, name_x, and the same with the second shifted by imm. */
#define SHIFTED(name, expression)                                                                                     \
	SHIFTED_BY(name##_w, uint32_t, (uint32_t)RM, expression)                                                      \
	SHIFTED_BY(name##_x, uint64_t, RM, expression)                                                                \
	SHIFTED_BY(name##_lsl_w, uint32_t, (uint32_t)RM << u->imm, expression)                                        \
	SHIFTED_BY(name##_lsl_x, uint64_t, RM << u->imm, expression)                                                  \
	SHIFTED_BY(name##_lsr_w, uint32_t, (uint32_t)RM >> u->imm, expression)                                        \
	SHIFTED_BY(name##_lsr_x, uint64_t, RM >> u->imm, expression)                                                  \
	SHIFTED_BY(name##_asr_w, uint32_t, (uint32_t)((int32_t)RM >> u->imm), expression)                             \
	SHIFTED_BY(name##_asr_x, uint64_t, (uint64_t)((int64_t)RM >> u->imm), expression)                             \
	static lp_uop_fn *const name##_run[] = {name##_w,     name##_x,	    name##_lsl_w, name##_lsl_x, name##_lsr_w, \
						name##_lsr_x, name##_asr_w, name##_asr_x, mov_w,	mov_x};
#define SHIFTED_BY(name, type, second, expression) \
	HOT(name)                                  \
	{                                          \
		type n = (type)RN, m = second;     \
		RD = (type)(expression);           \
		ON;                                \
	}

HOT(mov_x)
{
	RD = RM;
	ON;
}

HOT(mov_w)
{
	RD = (uint32_t)RM;
	ON;
}

SHIFTED(add_reg, n + m)
SHIFTED(sub_reg, n - m)
SHIFTED(and_reg, n &m)
SHIFTED(bic_reg, n & ~m)
SHIFTED(orr_reg, n | m)
SHIFTED(orn_reg, n | ~m)
SHIFTED(eor_reg, n ^ m)
SHIFTED(eon_reg, n ^ ~m)

static void registers(struct lp_uop *u)
{
	u->rd = lp_writes(u->rd);
	u->rn = lp_reads(u->rn);
	u->rm = lp_reads(u->rm);
}

static int shifted(struct lp_uop *u)
{
	if (FIELD(shift) == LP_ROR)
		return LP_HOT_NONE;
	registers(u);
	u->imm = FIELD(imm6);
	return lp_is64(u) + (u->imm || FIELD(shift) ? 2 + 2 * (int)FIELD(shift) : 0);
}

static int orr_reg(struct lp_uop *u)
{
	int index = shifted(u);

	return (index == 0 || index == 1) && u->rn == LP_ZR ? 8 + index : index;
}

/* ---- extended: what addresses are made with ---- */

#define ADD_EXTENDED(name, m)              \
	HOT(name)                          \
	{                                  \
		RD = RN + ((m) << u->imm); \
		ON;                        \
	}
ADD_EXTENDED(add_uxtw, (uint64_t)(uint32_t)RM)
ADD_EXTENDED(add_uxtx, RM)
ADD_EXTENDED(add_sxtw, (uint64_t)(int64_t)(int32_t)RM)

static lp_uop_fn *const add_ext_run[] = {add_uxtw, add_uxtx, add_sxtw};

static int add_ext(struct lp_uop *u)
{
	static const int8_t index[8] = {LP_HOT_NONE, LP_HOT_NONE, 0, 1, LP_HOT_NONE, LP_HOT_NONE, 2, 1};

	if (!lp_is64(u) || index[FIELD(option)] < 0)
		return LP_HOT_NONE;
	u->rm = lp_reads(u->rm);
	u->imm = FIELD(imm3);
	return index[FIELD(option)];
}

/* ---- bitfields: the source rotated by immr, of which a mask is kept ---- */

static inline uint64_t rotated64(uint64_t value, unsigned by)
{
	return value >> by | value << (-by & 63);
}

static inline uint32_t rotated32(uint32_t value, unsigned by)
{
	return value >> by | value << (-by & 31);
}

HOT(ubfm_x)
{
	RD = rotated64(RN, u->rm) & u->imm;
	ON;
}

HOT(ubfm_w)
{
	RD = rotated32((uint32_t)RN, u->rm) & u->imm;
	ON;
}

HOT(bfm_x)
{
	RD = (RD & ~u->imm) | (rotated64(RN, u->rm) & u->imm);
	ON;
}

HOT(bfm_w)
{
	RD = (uint32_t)((RD & ~u->imm) | (rotated32((uint32_t)RN, u->rm) & u->imm));
	ON;
}

/* To the top (rm), and back down (ra). */
HOT(sbfm_x)
{
	RD = (uint64_t)((int64_t)(RN << u->rm) >> u->ra);
	ON;
}

HOT(sbfm_w)
{
	RD = (uint32_t)((int64_t)(RN << u->rm) >> u->ra);
	ON;
}

HOT(sxtw_x)
{
	RD = (uint64_t)(int64_t)(int32_t)RN;
	ON;
}

static lp_uop_fn *const ubfm_run[] = {ubfm_w, ubfm_x};
static lp_uop_fn *const bfm_run[] = {bfm_w, bfm_x};
static lp_uop_fn *const sbfm_run[] = {sbfm_w, sbfm_x, sxtw_x};

static int bitfield(struct lp_uop *u)
{
	unsigned bits = lp_is64(u) ? 64 : 32, immr = FIELD(immr), imms = FIELD(imms);

	if (u->rd == 31)
		return LP_HOT_NONE;
	u->rn = lp_reads(u->rn);
	u->rm = immr;
	u->imm = imms >= immr ? lp_ones(imms - immr + 1) : lp_ones(imms + 1) << (bits - immr);
	return lp_is64(u);
}

static int sbfm(struct lp_uop *u)
{
	unsigned bits = lp_is64(u) ? 64 : 32, immr = FIELD(immr), imms = FIELD(imms);

	if (u->rd == 31)
		return LP_HOT_NONE;
	u->rn = lp_reads(u->rn);
	u->rm = 63 - imms;
	u->ra = imms >= immr ? 63 - imms + immr : 63 - imms - (bits - immr);
	return bits == 64 && immr == 0 && imms == 31 ? 2 : lp_is64(u);
}

HOT(extr_x)
{
	RD = (uint64_t)(((unsigned __int128)RN << 64 | RM) >> u->imm);
	ON;
}

HOT(extr_w)
{
	RD = (uint32_t)((RN << 32 | (uint32_t)RM) >> u->imm);
	ON;
}

static lp_uop_fn *const extr_run[] = {extr_w, extr_x};

static int extr(struct lp_uop *u)
{
	registers(u);
	u->imm = FIELD(imms);
	return lp_is64(u);
}

/* ---- multiply, divide, shift by register, count ---- */

#define EITHER_WIDTH(name, expression)                             \
	HOT(name##_w)                                              \
	{                                                          \
		typedef uint32_t width;                            \
		typedef int32_t narrow __attribute__((unused));    \
		width n = (width)RN, m = (width)RM, a = (width)RA; \
		(void)m, (void)a;                                  \
		RD = (width)(expression);                          \
		ON;                                                \
	}                                                          \
	HOT(name##_x)                                              \
	{                                                          \
		typedef uint64_t width;                            \
		typedef int64_t narrow __attribute__((unused));    \
		width n = (width)RN, m = (width)RM, a = (width)RA; \
		(void)m, (void)a;                                  \
		RD = (width)(expression);                          \
		ON;                                                \
	}                                                          \
	static lp_uop_fn *const name##_run[] = {name##_w, name##_x};

#define BITS (8 * sizeof(width))
EITHER_WIDTH(madd, a + n * m)
EITHER_WIDTH(msub, a - n * m)
EITHER_WIDTH(udiv, m ? n / m : 0)
EITHER_WIDTH(sdiv, m == 0 ? 0 : m == (width)-1 ? -n : (width)((narrow)n / (narrow)m))
EITHER_WIDTH(lslv, n << (m & (BITS - 1)))
EITHER_WIDTH(lsrv, n >> (m & (BITS - 1)))
EITHER_WIDTH(asrv, (width)((narrow)n >> (m & (BITS - 1))))
EITHER_WIDTH(rorv, n >> (m & (BITS - 1)) | n << (-m & (BITS - 1)))
EITHER_WIDTH(clz, n ? (width)(unsigned)__builtin_clzll(n) - (64 - BITS) : BITS)

HOT(rev_x)
{
	RD = __builtin_bswap64(RN);
	ON;
}

HOT(rev_w)
{
	RD = __builtin_bswap32((uint32_t)RN);
	ON;
}

HOT(smaddl)
{
	RD = RA + (uint64_t)((int64_t)(int32_t)RN * (int32_t)RM);
	ON;
}

HOT(umaddl)
{
	RD = RA + (uint64_t)(uint32_t)RN * (uint32_t)RM;
	ON;
}

HOT(smulh)
{
	RD = (uint64_t)((__int128)(int64_t)RN * (int64_t)RM >> 64);
	ON;
}

HOT(umulh)
{
	RD = (uint64_t)((unsigned __int128)RN * RM >> 64);
	ON;
}

static lp_uop_fn *const rev_w_run[] = {rev_w};
static lp_uop_fn *const rev_x_run[] = {rev_x};
static lp_uop_fn *const smaddl_run[] = {smaddl};
static lp_uop_fn *const umaddl_run[] = {umaddl};
static lp_uop_fn *const smulh_run[] = {smulh};
static lp_uop_fn *const umulh_run[] = {umulh};

static int by_width(struct lp_uop *u)
{
	registers(u);
	u->ra = lp_reads(u->ra);
	return lp_is64(u);
}

static int alone(struct lp_uop *u)
{
	by_width(u);
	return 0;
}

/* ---- which ---- */

const struct lp_hot lp_hot_integer[] = {
	{A64_OP_ADR, adr, constant_run},
	{A64_OP_ADRP, adrp, constant_run},
	{A64_OP_MOVZ, movz, constant_run},
	{A64_OP_MOVN, movn, constant_run},
	{A64_OP_MOVK, movk, movk_run},
	{A64_OP_ADD_IMM, add_imm, add_imm_run},
	{A64_OP_SUB_IMM, sub_imm, add_imm_run},
	{A64_OP_AND_IMM, logic_imm, and_imm_run},
	{A64_OP_ORR_IMM, logic_imm, orr_imm_run},
	{A64_OP_EOR_IMM, logic_imm, eor_imm_run},
	{A64_OP_ADD_REG, shifted, add_reg_run},
	{A64_OP_SUB_REG, shifted, sub_reg_run},
	{A64_OP_AND_REG, shifted, and_reg_run},
	{A64_OP_BIC_REG, shifted, bic_reg_run},
	{A64_OP_ORR_REG, orr_reg, orr_reg_run},
	{A64_OP_ORN_REG, shifted, orn_reg_run},
	{A64_OP_EOR_REG, shifted, eor_reg_run},
	{A64_OP_EON_REG, shifted, eon_reg_run},
	{A64_OP_ADD_EXT, add_ext, add_ext_run},
	{A64_OP_UBFM, bitfield, ubfm_run},
	{A64_OP_BFM, bitfield, bfm_run},
	{A64_OP_SBFM, sbfm, sbfm_run},
	{A64_OP_EXTR, extr, extr_run},
	{A64_OP_MADD, by_width, madd_run},
	{A64_OP_MSUB, by_width, msub_run},
	{A64_OP_UDIV, by_width, udiv_run},
	{A64_OP_SDIV, by_width, sdiv_run},
	{A64_OP_LSLV, by_width, lslv_run},
	{A64_OP_LSRV, by_width, lsrv_run},
	{A64_OP_ASRV, by_width, asrv_run},
	{A64_OP_RORV, by_width, rorv_run},
	{A64_OP_CLZ, by_width, clz_run},
	{A64_OP_REV_W, alone, rev_w_run},
	{A64_OP_REV_X, alone, rev_x_run},
	{A64_OP_SMADDL, alone, smaddl_run},
	{A64_OP_UMADDL, alone, umaddl_run},
	{A64_OP_SMULH, alone, smulh_run},
	{A64_OP_UMULH, alone, umulh_run},
	{0},
};
