/* Loads and stores of one register and of two. */
#include "emu/hot.h"
#include "jit/address.h"

#undef RD
#undef RN
#undef RM
#undef RA

/* ---- addresses ---- */

/* The index register, extended, to rcx or in its own. */
static unsigned index_of(struct lp_tr *t, uint32_t word)
{
	unsigned m = lp_reads(F(Rm));

	switch (F(option)) {
	case 2: /* uxtw */
		lp_x_copy(t, 0, m, LP_RCX);
		return LP_RCX;
	case 6: /* sxtw */
		lp_x86_movsxd(&t->x, LP_RCX, lp_x_rm(t, m));
		return LP_RCX;
	default:
		return lp_x_read(t, m, LP_RCX);
	}
}

static struct lp_x86_rm indexed(struct lp_tr *t, uint32_t word, unsigned base, unsigned log2)
{
	unsigned index = index_of(t, word);

	if (!F(S))
		return lp_rm_sib(base, index, 1, 0);
	if (log2 < 4)
		return lp_rm_sib(base, index, 1u << log2, 0);
	lp_x86_lea(&t->x, 1, LP_RCX, lp_rm_sib(index, index, 1, 0));
	return lp_rm_sib(base, LP_RCX, 8, 0);
}

struct lp_address lp_address_of(struct lp_tr *t, uint32_t word, enum lp_way way, unsigned log2)
{
	struct lp_address a = {.base = F(Rn), .writes_back = way == LP_POST || way == LP_PRE};
	int32_t imm9 = (int32_t)lp_signed_field(word, 12, 9);
	unsigned base = lp_x_read(t, a.base, LP_RAX);

	a.then = imm9;
	switch (way) {
	case LP_SCALED:
		a.at = lp_rm_mem(base, (int32_t)(F(imm12) << log2));
		break;
	case LP_UNSCALED:
	case LP_PRE:
		a.at = lp_rm_mem(base, imm9);
		break;
	case LP_POST:
		a.at = lp_rm_mem(base, 0);
		break;
	case LP_INDEXED:
		a.at = indexed(t, word, base, log2);
		break;
	}
	return a;
}

struct lp_address lp_address_pair(struct lp_tr *t, uint32_t word, enum lp_way way, unsigned log2)
{
	int32_t imm = (int32_t)lp_signed_field(word, 15, 7) * (1 << log2);
	unsigned n = F(Rn);

	return (struct lp_address){
		.at = lp_rm_mem(lp_x_read(t, n, LP_RAX), way == LP_POST ? 0 : imm),
		.base = n,
		.then = imm,
		.writes_back = way == LP_POST || way == LP_PRE,
	};
}

void lp_address_write_back(struct lp_tr *t, const struct lp_address *a)
{
	unsigned to;

	if (!a->writes_back || a->then == 0)
		return;
	to = lp_x_dest(t, a->base, LP_RAX);
	if (t->pin[a->base] < 0)
		lp_x86_mov(&t->x, 1, LP_RAX, lp_cpu_x(a->base));
	lp_x86_lea(&t->x, 1, to, lp_rm_mem(to, a->then));
	lp_x_write(t, a->base, to);
	if (a->base == LP_SP && a->then & 15)
		lp_sp_changed(t);
}

unsigned lp_address_base(struct lp_tr *t, unsigned n)
{
	return lp_x_read(t, n, LP_RCX);
}

struct lp_cold *lp_address_aligned(struct lp_tr *t, unsigned reg, unsigned size)
{
	struct lp_cold *c;

	lp_flags_clobber(t);
	if (size == 1)
		return NULL;
	lp_x86_test_imm_sized(&t->x, 1, lp_rm_reg(reg), (int32_t)size - 1);
	c = lp_cold_add(t, lp_cold_fallback);
	c->from[0] = lp_x86_jcc_forward(&t->x, LP_CC_NE);
	return c;
}

/* ---- one register ---- */

struct kind {
	uint8_t log2; /* of the bytes */
	bool is_load, is_signed, to64;
};

/* A load that writes its base back to where it loads: CONSTRAINED UNPREDICTABLE, the interpreter's business. */
static bool is_odd(uint32_t word, enum lp_way way)
{
	return (way == LP_POST || way == LP_PRE) && F(Rn) == F(Rt) && F(Rn) != 31;
}

static bool transfer(struct lp_tr *t, uint32_t word, struct kind kind, enum lp_way way)
{
	unsigned bytes = 1u << kind.log2, r = kind.is_load ? lp_writes(F(Rt)) : lp_reads(F(Rt)), reg;
	struct lp_address a;

	if (is_odd(word, way))
		return false;
	a = lp_address_of(t, word, way, kind.log2);
	if (!kind.is_load) {
		reg = lp_x_read(t, r, LP_RDX);
		lp_x86_store(&t->x, bytes, a.at, reg);
		lp_address_write_back(t, &a);
		return true;
	}
	/* What is written back is in the base still: a load may only overwrite it when it is done */
	reg = lp_x_dest(t, r, LP_RDX);
	if (kind.is_signed)
		lp_x86_load_signed(&t->x, bytes, kind.to64, reg, a.at);
	else
		lp_x86_load(&t->x, bytes, reg, a.at);
	lp_x_write(t, r, reg);
	lp_address_write_back(t, &a);
	return true;
}

#define ONE(name, row, log2, load, sign, to64, way)                                        \
	static bool name##_##way(struct lp_tr *t, uint32_t word)                           \
	{                                                                                  \
		return transfer(t, word, (struct kind){log2, load, sign, to64}, LP_##way); \
	}
#define ALL(name, log2, load, sign, to64)                 \
	ONE(name, name, log2, load, sign, to64, SCALED)   \
	ONE(name, name, log2, load, sign, to64, UNSCALED) \
	ONE(name, name, log2, load, sign, to64, POST)     \
	ONE(name, name, log2, load, sign, to64, PRE)      \
	ONE(name, name, log2, load, sign, to64, INDEXED)
ALL(strb, 0, false, false, false)
ALL(strh, 1, false, false, false)
ALL(str_w, 2, false, false, false)
ALL(str_x, 3, false, false, false)
ALL(ldrb, 0, true, false, false)
ALL(ldrh, 1, true, false, false)
ALL(ldr_w, 2, true, false, false)
ALL(ldr_x, 3, true, false, false)
ALL(ldrsb_x, 0, true, true, true)
ALL(ldrsb_w, 0, true, true, false)
ALL(ldrsh_x, 1, true, true, true)
ALL(ldrsh_w, 1, true, true, false)
ALL(ldrsw, 2, true, true, true)

/* ---- two registers ---- */

static bool pair(struct lp_tr *t, uint32_t word, bool is_load, bool is_signed, enum lp_way way)
{
	bool is64 = word >> 31;
	unsigned n = F(Rn), bytes = is64 ? 8 : 4;
	unsigned r = is_load ? lp_writes(F(Rt)) : lp_reads(F(Rt)), r2 = is_load ? lp_writes(F(Rt2)) : lp_reads(F(Rt2));
	struct lp_x86 *x = &t->x;
	struct lp_x86_rm second;
	struct lp_address a;

	if ((way == LP_POST || way == LP_PRE) && n != 31 && (n == F(Rt) || n == F(Rt2)))
		return false;
	if (is_load && F(Rt) == F(Rt2))
		return false;
	a = lp_address_pair(t, word, way, is64 ? 3 : 2);
	second = a.at;
	second.disp += (int32_t)bytes;
	if (!is_load) {
		lp_x86_store(x, bytes, a.at, lp_x_read(t, r, LP_RDX));
		lp_x86_store(x, bytes, second, lp_x_read(t, r2, LP_RDX));
		lp_address_write_back(t, &a);
		return true;
	}
	/* The first one waits until the second has not faulted. */
	if (is_signed) {
		lp_x86_load_signed(x, bytes, 1, LP_RDX, a.at);
		lp_x86_load_signed(x, bytes, 1, lp_x_dest(t, r2, LP_RCX), second);
	} else {
		lp_x86_load(x, bytes, LP_RDX, a.at);
		lp_x86_load(x, bytes, lp_x_dest(t, r2, LP_RCX), second);
	}
	lp_x_write(t, r2, lp_x_dest(t, r2, LP_RCX));
	lp_x_write(t, r, LP_RDX);
	lp_address_write_back(t, &a);
	return true;
}

static bool ldp_off(struct lp_tr *t, uint32_t word)
{
	return pair(t, word, true, false, LP_UNSCALED);
}
static bool ldp_post(struct lp_tr *t, uint32_t word)
{
	return pair(t, word, true, false, LP_POST);
}
static bool ldp_pre(struct lp_tr *t, uint32_t word)
{
	return pair(t, word, true, false, LP_PRE);
}
static bool ldpsw_off(struct lp_tr *t, uint32_t word)
{
	return pair(t, word, true, true, LP_UNSCALED);
}
static bool ldpsw_post(struct lp_tr *t, uint32_t word)
{
	return pair(t, word, true, true, LP_POST);
}
static bool ldpsw_pre(struct lp_tr *t, uint32_t word)
{
	return pair(t, word, true, true, LP_PRE);
}
static bool stp_off(struct lp_tr *t, uint32_t word)
{
	return pair(t, word, false, false, LP_UNSCALED);
}
static bool stp_post(struct lp_tr *t, uint32_t word)
{
	return pair(t, word, false, false, LP_POST);
}
static bool stp_pre(struct lp_tr *t, uint32_t word)
{
	return pair(t, word, false, false, LP_PRE);
}

/* ---- literals ---- */

static uint64_t literal_address(const struct lp_tr *t, uint32_t word)
{
	return t->pc + (uint64_t)lp_signed_field(word, 5, 19) * 4;
}

static bool literal(struct lp_tr *t, uint32_t word, unsigned bytes, bool is_signed)
{
	unsigned r = lp_writes(F(Rt)), reg = lp_x_dest(t, r, LP_RDX);

	lp_x86_mov_address(&t->x, LP_RAX, literal_address(t, word));
	if (is_signed)
		lp_x86_load_signed(&t->x, bytes, 1, reg, lp_rm_mem(LP_RAX, 0));
	else
		lp_x86_load(&t->x, bytes, reg, lp_rm_mem(LP_RAX, 0));
	lp_x_write(t, r, reg);
	return true;
}

static bool ldr_lit_w(struct lp_tr *t, uint32_t word)
{
	return literal(t, word, 4, false);
}
static bool ldr_lit_x(struct lp_tr *t, uint32_t word)
{
	return literal(t, word, 8, false);
}
static bool ldrsw_lit(struct lp_tr *t, uint32_t word)
{
	return literal(t, word, 4, true);
}

/* ---- prefetches: neither the guest's nor the host's fault ---- */

/* Data is brought near in whatever way was asked for.  The host has no such thing for code. */
static bool is_for_data(uint32_t word)
{
	enum { PLD = 0, PST = 2 };

	return F(Rt) >> 3 == PLD || F(Rt) >> 3 == PST;
}

static bool prefetch(struct lp_tr *t, uint32_t word, enum lp_way way)
{
	if (is_for_data(word))
		lp_x86_prefetcht0(&t->x, lp_address_of(t, word, way, 3).at);
	return true;
}

static bool prfm_uimm(struct lp_tr *t, uint32_t word)
{
	return prefetch(t, word, LP_SCALED);
}
static bool prfm_reg(struct lp_tr *t, uint32_t word)
{
	return prefetch(t, word, LP_INDEXED);
}
static bool prfum(struct lp_tr *t, uint32_t word)
{
	return prefetch(t, word, LP_UNSCALED);
}
static bool prfm_lit(struct lp_tr *t, uint32_t word)
{
	if (is_for_data(word)) {
		lp_x86_mov_address(&t->x, LP_RAX, literal_address(t, word));
		lp_x86_prefetcht0(&t->x, lp_rm_mem(LP_RAX, 0));
	}
	return true;
}

#define ROWS(uimm, reg, unscaled, post, pre, name)                                                          \
	{A64_OP_##uimm, name##_SCALED}, {A64_OP_##unscaled, name##_UNSCALED}, {A64_OP_##post, name##_POST}, \
		{A64_OP_##pre, name##_PRE},                                                                 \
	{                                                                                                   \
		A64_OP_##reg, name##_INDEXED                                                                \
	}

const struct lp_emit_row lp_emit_memory[] = {
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
	{A64_OP_LDP_OFF, ldp_off},
	{A64_OP_LDP_POST, ldp_post},
	{A64_OP_LDP_PRE, ldp_pre},
	{A64_OP_LDP_NT, ldp_off},
	{A64_OP_STP_OFF, stp_off},
	{A64_OP_STP_POST, stp_post},
	{A64_OP_STP_PRE, stp_pre},
	{A64_OP_STP_NT, stp_off},
	{A64_OP_LDPSW_OFF, ldpsw_off},
	{A64_OP_LDPSW_POST, ldpsw_post},
	{A64_OP_LDPSW_PRE, ldpsw_pre},
	/* Unprivileged: so is everything here. */
	{A64_OP_STTRB, strb_UNSCALED},
	{A64_OP_STTRH, strh_UNSCALED},
	{A64_OP_STTR_W, str_w_UNSCALED},
	{A64_OP_STTR_X, str_x_UNSCALED},
	{A64_OP_LDTRB, ldrb_UNSCALED},
	{A64_OP_LDTRH, ldrh_UNSCALED},
	{A64_OP_LDTR_W, ldr_w_UNSCALED},
	{A64_OP_LDTR_X, ldr_x_UNSCALED},
	{A64_OP_LDTRSB_X, ldrsb_x_UNSCALED},
	{A64_OP_LDTRSB_W, ldrsb_w_UNSCALED},
	{A64_OP_LDTRSH_X, ldrsh_x_UNSCALED},
	{A64_OP_LDTRSH_W, ldrsh_w_UNSCALED},
	{A64_OP_LDTRSW, ldrsw_UNSCALED},
	{A64_OP_LDR_LIT_W, ldr_lit_w},
	{A64_OP_LDR_LIT_X, ldr_lit_x},
	{A64_OP_LDRSW_LIT, ldrsw_lit},
	{A64_OP_PRFM_UIMM, prfm_uimm},
	{A64_OP_PRFM_REG, prfm_reg},
	{A64_OP_PRFUM, prfum},
	{A64_OP_PRFM_LIT, prfm_lit},
	{0},
};
