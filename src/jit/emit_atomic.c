/* Ordered, exclusive and atomic accesses, barriers, and what of the system registers is read often. */
#include "emu/hot.h"
#include "emu/features.h"
#include "jit/address.h"

#undef RD
#undef RN
#undef RM
#undef RA

/* ---- ordered: loads of the host acquire, its stores release ---- */

static bool ldar(struct lp_tr *t, uint32_t word)
{
	unsigned size = 1u << F(size), r = lp_writes(F(Rt)), base = lp_address_base(t, F(Rn));
	struct lp_cold *c = lp_address_aligned(t, base, size);
	unsigned reg = lp_x_dest(t, r, LP_RDX);

	lp_x86_load(&t->x, size, reg, lp_rm_mem(base, 0));
	lp_x_write(t, r, reg);
	lp_cold_back(t, c);
	return true;
}

/* An exchange: a later load-acquire does not pass it. */
static bool stlr(struct lp_tr *t, uint32_t word)
{
	unsigned size = 1u << F(size), base = lp_address_base(t, F(Rn));
	struct lp_cold *c = lp_address_aligned(t, base, size);

	lp_x_copy(t, 1, lp_reads(F(Rt)), LP_RDX);
	lp_x86_xchg(&t->x, size, lp_rm_mem(base, 0), LP_RDX);
	lp_cold_back(t, c);
	return true;
}

/* With an offset: the address in rcx, or its own register. */
static unsigned address_at(struct lp_tr *t, uint32_t word)
{
	int32_t offset = (int32_t)lp_signed_field(word, 12, 9);
	unsigned base = lp_address_base(t, F(Rn));

	if (offset == 0)
		return base;
	lp_x86_lea(&t->x, 1, LP_RCX, lp_rm_mem(base, offset));
	return LP_RCX;
}

static bool load_at(struct lp_tr *t, uint32_t word, unsigned size, bool is_signed, unsigned w)
{
	unsigned r = lp_writes(F(Rt)), at = address_at(t, word), reg = lp_x_dest(t, r, LP_RDX);
	struct lp_cold *c = lp_address_aligned(t, at, size);

	if (is_signed)
		lp_x86_load_signed(&t->x, size, w, reg, lp_rm_mem(at, 0));
	else
		lp_x86_load(&t->x, size, reg, lp_rm_mem(at, 0));
	lp_x_write(t, r, reg);
	lp_cold_back(t, c);
	return true;
}
static bool store_at(struct lp_tr *t, uint32_t word, unsigned size)
{
	unsigned at = address_at(t, word);
	struct lp_cold *c = lp_address_aligned(t, at, size);

	lp_x_copy(t, 1, lp_reads(F(Rt)), LP_RDX);
	lp_x86_xchg(&t->x, size, lp_rm_mem(at, 0), LP_RDX);
	lp_cold_back(t, c);
	return true;
}

#define AT(row, function, ...)                          \
	static bool row(struct lp_tr *t, uint32_t word) \
	{                                               \
		return function(t, word, __VA_ARGS__);  \
	}
AT(stlurb, store_at, 1)
AT(stlurh, store_at, 2)
AT(stlur_w, store_at, 4)
AT(stlur_x, store_at, 8)
AT(ldapurb, load_at, 1, false, 0)
AT(ldapurh, load_at, 2, false, 0)
AT(ldapur_w, load_at, 4, false, 0)
AT(ldapur_x, load_at, 8, false, 0)
AT(ldapursb_x, load_at, 1, true, 1)
AT(ldapursb_w, load_at, 1, true, 0)
AT(ldapursh_x, load_at, 2, true, 1)
AT(ldapursh_w, load_at, 2, true, 0)
AT(ldapursw, load_at, 4, true, 1)

/* ---- exclusive ---- */

static bool ldxr(struct lp_tr *t, uint32_t word)
{
	unsigned size = 1u << F(size), r = lp_writes(F(Rt)), base = lp_address_base(t, F(Rn));
	struct lp_cold *c = lp_address_aligned(t, base, size);
	struct lp_x86 *x = &t->x;

	lp_x86_load(x, size, LP_RDX, lp_rm_mem(base, 0));
	lp_x86_mov_to(x, 1, LP_CPU(exclusive.addr), base);
	lp_x86_store_imm(x, 8, LP_CPU(exclusive.size), (int32_t)size);
	lp_x86_mov_to(x, 1, LP_CPU(exclusive.value[0]), LP_RDX);
	lp_x86_store_imm(x, 8, LP_CPU(exclusive.value[1]), 0);
	lp_x_write(t, r, LP_RDX);
	lp_cold_back(t, c);
	return true;
}

static bool stxr(struct lp_tr *t, uint32_t word)
{
	unsigned size = 1u << F(size), s = lp_writes(F(Rs)), base = lp_address_base(t, F(Rn));
	struct lp_cold *c = lp_address_aligned(t, base, size);
	/* Another size or address: not stored, unless the address has a tag. */
	struct lp_cold *other = lp_cold_add(t, lp_cold_fallback);
	struct lp_x86 *x = &t->x;

	lp_x86_alu_imm(x, LP_ALU_CMP, 1, LP_CPU(exclusive.size), (int32_t)size);
	other->from[0] = lp_x86_jcc_forward(x, LP_CC_NE);
	lp_x86_alu(x, LP_ALU_CMP, 1, base, LP_CPU(exclusive.addr));
	other->from[1] = lp_x86_jcc_forward(x, LP_CC_NE);
	lp_x86_mov(x, 1, LP_RAX, LP_CPU(exclusive.value[0]));
	lp_x86_lock_cmpxchg(x, size, lp_rm_mem(base, 0), lp_x_read(t, lp_reads(F(Rt)), LP_RDX));
	/* ZF: it was stored */
	lp_x86_setcc(x, LP_CC_NE, lp_rm_reg(LP_RAX));
	lp_x86_movzx8(x, LP_RAX, lp_rm_reg(LP_RAX));
	lp_x86_store_imm(x, 8, LP_CPU(exclusive.size), 0);
	lp_x_write(t, s, LP_RAX);
	lp_cold_back(t, c);
	lp_cold_back(t, other);
	return true;
}

static bool clrex(struct lp_tr *t, uint32_t word)
{
	lp_x86_store_imm(&t->x, 8, LP_CPU(exclusive.size), 0);
	return true;
}

/* ---- atomic ---- */

/* What came from memory, of that size, to a guest register. */
static void write_sized(struct lp_tr *t, unsigned r, unsigned size, unsigned reg)
{
	if (size == 1)
		lp_x86_movzx8(&t->x, reg, lp_rm_reg(reg));
	else if (size == 2)
		lp_x86_movzx16(&t->x, reg, lp_rm_reg(reg));
	else if (size == 4)
		lp_x86_mov(&t->x, 0, reg, lp_rm_reg(reg));
	lp_x_write(t, r, reg);
}

static bool exchange(struct lp_tr *t, uint32_t word, bool adds)
{
	unsigned size = 1u << F(size), base = lp_address_base(t, F(Rn));
	struct lp_cold *c = lp_address_aligned(t, base, size);

	lp_x_copy(t, 1, lp_reads(F(Rs)), LP_RDX);
	if (adds)
		lp_x86_lock_xadd(&t->x, size, lp_rm_mem(base, 0), LP_RDX);
	else
		lp_x86_xchg(&t->x, size, lp_rm_mem(base, 0), LP_RDX);
	write_sized(t, lp_writes(F(Rt)), size, LP_RDX);
	lp_cold_back(t, c);
	return true;
}

static bool ldadd(struct lp_tr *t, uint32_t word)
{
	return exchange(t, word, true);
}
static bool swp(struct lp_tr *t, uint32_t word)
{
	return exchange(t, word, false);
}

/* Until nobody has been between the load and the store; where nobody asks what was there, the host has it in one. */
static bool logic(struct lp_tr *t, uint32_t word, enum lp_x86_alu op, bool inverts)
{
	unsigned size = 1u << F(size), s = lp_reads(F(Rs)), base = lp_address_base(t, F(Rn));
	struct lp_cold *c = lp_address_aligned(t, base, size);
	struct lp_x86_rm at = lp_rm_mem(base, 0);
	struct lp_x86 *x = &t->x;
	uint8_t *again;

	if (F(Rt) == 31) {
		lp_x_copy(t, 1, s, LP_RDX);
		if (inverts)
			lp_x86_not(x, 1, lp_rm_reg(LP_RDX));
		lp_x86_lock_alu(x, op, size, at, LP_RDX);
		lp_cold_back(t, c);
		return true;
	}
	lp_x86_load(x, size, LP_RAX, at);
	again = x->at;
	lp_x_copy(t, 1, s, LP_RDX);
	if (inverts)
		lp_x86_not(x, 1, lp_rm_reg(LP_RDX));
	lp_x86_alu(x, op, 1, LP_RDX, lp_rm_reg(LP_RAX));
	lp_x86_lock_cmpxchg(x, size, at, LP_RDX);
	lp_x86_jcc_back(x, LP_CC_NE, again);
	write_sized(t, lp_writes(F(Rt)), size, LP_RAX);
	lp_cold_back(t, c);
	return true;
}

static bool ldclr(struct lp_tr *t, uint32_t word)
{
	return logic(t, word, LP_ALU_AND, true);
}
static bool ldset(struct lp_tr *t, uint32_t word)
{
	return logic(t, word, LP_ALU_OR, false);
}
static bool ldeor(struct lp_tr *t, uint32_t word)
{
	return logic(t, word, LP_ALU_XOR, false);
}

/* The greater or the smaller one: what was there stays where `stays` holds of the operand compared with it. */
static bool choice(struct lp_tr *t, uint32_t word, enum lp_x86_cc stays)
{
	unsigned size = 1u << F(size), s = lp_reads(F(Rs)), base = lp_address_base(t, F(Rn));
	struct lp_cold *c = lp_address_aligned(t, base, size);
	struct lp_x86_rm at = lp_rm_mem(base, 0);
	struct lp_x86 *x = &t->x;
	uint8_t *again;

	lp_x86_load(x, size, LP_RAX, at);
	again = x->at;
	lp_x_copy(t, 1, s, LP_RDX);
	lp_x86_alu_sized(x, LP_ALU_CMP, size, LP_RDX, lp_rm_reg(LP_RAX));
	lp_x86_cmov(x, stays, 1, LP_RDX, lp_rm_reg(LP_RAX));
	lp_x86_lock_cmpxchg(x, size, at, LP_RDX);
	lp_x86_jcc_back(x, LP_CC_NE, again);
	write_sized(t, lp_writes(F(Rt)), size, LP_RAX);
	lp_cold_back(t, c);
	return true;
}

static bool ldsmax(struct lp_tr *t, uint32_t word)
{
	return choice(t, word, LP_CC_LE);
}
static bool ldsmin(struct lp_tr *t, uint32_t word)
{
	return choice(t, word, LP_CC_GE);
}
static bool ldumax(struct lp_tr *t, uint32_t word)
{
	return choice(t, word, LP_CC_BE);
}
static bool ldumin(struct lp_tr *t, uint32_t word)
{
	return choice(t, word, LP_CC_AE);
}

static bool cas(struct lp_tr *t, uint32_t word)
{
	unsigned size = 1u << F(size), base = lp_address_base(t, F(Rn));
	struct lp_cold *c = lp_address_aligned(t, base, size);

	lp_x_copy(t, 1, lp_reads(F(Rs)), LP_RAX);
	lp_x86_lock_cmpxchg(&t->x, size, lp_rm_mem(base, 0), lp_x_read(t, lp_reads(F(Rt)), LP_RDX));
	write_sized(t, lp_writes(F(Rs)), size, LP_RAX);
	lp_cold_back(t, c);
	return true;
}

/* ---- barriers ---- */

/* Loads among themselves and stores among themselves are ordered by the host (CRm<1:0>: 1 loads, 2 stores). */
static bool dmb(struct lp_tr *t, uint32_t word)
{
	if ((F(CRm) & 3) == 1 || (F(CRm) & 3) == 2)
		return true;
	lp_flags_clobber(t);
	lp_x86_lock_alu_imm(&t->x, LP_ALU_OR, 4, lp_rm_mem(LP_RSP, 0), 0);
	return true;
}

static bool dsb(struct lp_tr *t, uint32_t word)
{
	lp_flags_clobber(t);
	lp_x86_lock_alu_imm(&t->x, LP_ALU_OR, 4, lp_rm_mem(LP_RSP, 0), 0);
	return true;
}

/* ---- system registers ---- */

enum { SYSREG = 0x1fffe0 };
enum {
	NZCV = 0x1b4200,
	FPCR = 0x1b4400,
	TPIDR_EL0 = 0x1bd040,
	TPIDRRO_EL0 = 0x1bd060,
	CTR_EL0 = 0x1b0020,
	DCZID_EL0 = 0x1b00e0,
	CNTFRQ_EL0 = 0x1be000,
};

/* Where they are in memory, and where NZCV has them. */
static void read_nzcv(struct lp_tr *t, unsigned r)
{
	struct lp_x86 *x = &t->x;

	lp_flags_clobber(t);
	lp_x86_mov(x, 0, LP_RCX, LP_CPU(jit.flags));
	lp_x86_alu_imm(x, LP_ALU_XOR, 0, lp_rm_reg(LP_RCX), LP_FLAG_NOT_C);
	lp_x86_mov(x, 0, LP_RAX, lp_rm_reg(LP_RCX));
	lp_x86_alu_imm(x, LP_ALU_AND, 0, lp_rm_reg(LP_RAX), LP_FLAG_N | LP_FLAG_Z);
	lp_x86_shift_imm(x, LP_SHIFT_SHL, 0, lp_rm_reg(LP_RAX), 16);
	lp_x86_alu_imm(x, LP_ALU_AND, 0, lp_rm_reg(LP_RCX), LP_FLAG_NOT_C | LP_FLAG_V);
	lp_x86_rorx(x, 0, LP_RCX, lp_rm_reg(LP_RCX), 4); /* V to 28 */
	lp_x86_alu(x, LP_ALU_OR, 0, LP_RAX, lp_rm_reg(LP_RCX));
	lp_x86_shift_imm(x, LP_SHIFT_SHL, 0, lp_rm_reg(LP_RCX), 25); /* C from 4 */
	lp_x86_alu_imm(x, LP_ALU_AND, 0, lp_rm_reg(LP_RAX), (int32_t)0xf0000000);
	lp_x86_alu(x, LP_ALU_OR, 0, LP_RAX, lp_rm_reg(LP_RCX));
	lp_x_write(t, r, LP_RAX);
}

static bool mrs(struct lp_tr *t, uint32_t word)
{
	unsigned r = lp_writes(F(Rt)), reg = lp_x_dest(t, r, LP_RAX);

	switch (word & SYSREG) {
	case NZCV:
		read_nzcv(t, r);
		return true;
	case FPCR:
		lp_x86_mov(&t->x, 0, reg, LP_CPU(fpcr));
		lp_x_write(t, r, reg);
		return true;
	case TPIDR_EL0:
		lp_x86_mov(&t->x, 1, reg, LP_CPU(tpidr));
		lp_x_write(t, r, reg);
		return true;
	case TPIDRRO_EL0:
		lp_x_write_imm(t, r, 0);
		return true;
	case CTR_EL0:
		lp_x_write_imm(t, r, LP_CTR_EL0);
		return true;
	case DCZID_EL0:
		lp_x_write_imm(t, r, LP_DCZID_EL0);
		return true;
	case CNTFRQ_EL0:
		lp_x_write_imm(t, r, LP_CNTFRQ_EL0);
		return true;
	default:
		return false;
	}
}

static bool msr_reg(struct lp_tr *t, uint32_t word)
{
	if ((word & SYSREG) != TPIDR_EL0)
		return false;
	lp_x86_mov_to(&t->x, 1, LP_CPU(tpidr), lp_x_read(t, lp_reads(F(Rt)), LP_RAX));
	return true;
}

enum { SYS_DC_ZVA = 0x0b7420 };

/* A block of zeros. */
static bool sys(struct lp_tr *t, uint32_t word)
{
	enum { ZEROS = LP_V_SCRATCH };
	struct lp_x86 *x = &t->x;

	if ((word & SYSREG) != SYS_DC_ZVA)
		return false;
	lp_flags_clobber(t);
	lp_x_copy(t, 1, lp_reads(F(Rt)), LP_RAX);
	/* A fault is at the address that is in the register. */
	lp_x86_store_imm(x, 1, lp_rm_mem(LP_RAX, 0), 0);
	lp_x86_alu_imm(x, LP_ALU_AND, 1, lp_rm_reg(LP_RAX), -LP_CACHE_LINE);
	lp_x86_vex(x, LP_VPXOR, 0, ZEROS, ZEROS, lp_rm_reg(ZEROS));
	for (int32_t i = 0; i < LP_CACHE_LINE; i += 16)
		lp_x86_vex_to(x, LP_VMOVUPS_TO, 0, lp_rm_mem(LP_RAX, i), ZEROS);
	return true;
}

const struct lp_emit_row lp_emit_atomic[] = {
	{A64_OP_LDAR, ldar},
	{A64_OP_LDAPR, ldar},
	{A64_OP_LDLAR, ldar},
	{A64_OP_STLR, stlr},
	{A64_OP_STLLR, stlr},
	{A64_OP_LDXR, ldxr},
	{A64_OP_LDAXR, ldxr},
	{A64_OP_STXR, stxr},
	{A64_OP_STLXR, stxr},
	{A64_OP_CLREX, clrex},
	{A64_OP_LDADD, ldadd},
	{A64_OP_SWP, swp},
	{A64_OP_LDCLR, ldclr},
	{A64_OP_LDSET, ldset},
	{A64_OP_LDEOR, ldeor},
	{A64_OP_CAS, cas},
	{A64_OP_DMB, dmb},
	{A64_OP_DSB, dsb},
	{A64_OP_MRS, mrs},
	{A64_OP_SYS, sys},
	{A64_OP_MSR_REG, msr_reg},
	{A64_OP_LDSMAX, ldsmax},
	{A64_OP_LDSMIN, ldsmin},
	{A64_OP_LDUMAX, ldumax},
	{A64_OP_LDUMIN, ldumin},
	{A64_OP_STLURB, stlurb},
	{A64_OP_STLURH, stlurh},
	{A64_OP_STLUR_W, stlur_w},
	{A64_OP_STLUR_X, stlur_x},
	{A64_OP_LDAPURB, ldapurb},
	{A64_OP_LDAPURH, ldapurh},
	{A64_OP_LDAPUR_W, ldapur_w},
	{A64_OP_LDAPUR_X, ldapur_x},
	{A64_OP_LDAPURSB_X, ldapursb_x},
	{A64_OP_LDAPURSB_W, ldapursb_w},
	{A64_OP_LDAPURSH_X, ldapursh_x},
	{A64_OP_LDAPURSH_W, ldapursh_w},
	{A64_OP_LDAPURSW, ldapursw},
	{0},
};
