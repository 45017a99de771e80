/* Arithmetic, logic, moves, shifts, selections and products. */
#include <string.h>

#include "emu/hot.h"
#include "isa/a64/limm.h"
#include "jit/emit.h"

#undef RD
#undef RN
#undef RM
#undef RA

/* The guest's flags are in EFLAGS, alone, and wanted behind this instruction: better done without host flags. */
static bool has_flags_to_keep(const struct lp_tr *t)
{
	return t->flags != LP_FLAGS_IN_MEMORY && !t->flags_kept && t->insns[t->i].flags_live;
}

/* ---- sums ---- */

enum { SETS_FLAGS = 1, SUBTRACTS = 2 };

static bool is_reg(struct lp_x86_rm rm, unsigned reg)
{
	return rm.kind == LP_RM_REG && rm.base == reg;
}

/* Where a two-operand instruction of the same width is about to work on it. */
static void first_operand(struct lp_tr *t, unsigned w, unsigned n, unsigned to)
{
	if (t->pin[n] != (int)to)
		lp_x_copy(t, w, n, to);
}

/* d = n + imm by lea: no flags. */
static void lea_imm(struct lp_tr *t, unsigned w, unsigned d, unsigned n, int32_t imm)
{
	unsigned base = lp_x_read(t, n, LP_RAX), to = lp_x_dest(t, d, LP_RAX);

	if (imm == 0 && (w || to != base))
		lp_x86_mov(&t->x, w, to, lp_rm_reg(base));
	else
		lp_x86_lea(&t->x, w, to, lp_rm_mem(base, imm));
	lp_x_write(t, d, to);
}

/* d = n op imm with flags. */
static void alu_imm_flags(struct lp_tr *t, enum lp_x86_alu op, unsigned w, unsigned d, unsigned n, int32_t imm)
{
	unsigned to = lp_x_dest(t, d, LP_RAX);

	lp_flags_clobber(t);
	if (d == LP_SINK && op == LP_ALU_SUB && n != LP_ZR) {
		lp_x86_alu_imm(&t->x, LP_ALU_CMP, w, lp_x_rm(t, n), imm);
	} else if (d == LP_SINK && op == LP_ALU_AND && n != LP_ZR) {
		lp_x86_test_imm(&t->x, w, lp_x_rm(t, n), imm);
	} else {
		first_operand(t, w, n, to);
		lp_x86_alu_imm(&t->x, op, w, lp_rm_reg(to), imm);
		lp_x_write(t, d, to);
	}
	lp_flags_are(t, op == LP_ALU_SUB ? LP_FLAGS_SUB : LP_FLAGS_ADD);
}

static bool sum_imm(struct lp_tr *t, uint32_t word, unsigned kind)
{
	int32_t imm = (int32_t)(F(imm12) << (F(sh) ? 12 : 0));
	unsigned w = F(sf), n = F(Rn);

	if (kind & SETS_FLAGS)
		alu_imm_flags(t, kind & SUBTRACTS ? LP_ALU_SUB : LP_ALU_ADD, w, lp_writes(F(Rd)), n, imm);
	else
		lea_imm(t, w, F(Rd), n, kind & SUBTRACTS ? -imm : imm);
	if (!(kind & SETS_FLAGS) && F(Rd) == LP_SP && (n != LP_SP || imm & 15 || !w))
		lp_sp_changed(t);
	return true;
}

static bool add_imm(struct lp_tr *t, uint32_t word)
{
	return sum_imm(t, word, 0);
}
static bool adds_imm(struct lp_tr *t, uint32_t word)
{
	return sum_imm(t, word, SETS_FLAGS);
}
static bool sub_imm(struct lp_tr *t, uint32_t word)
{
	return sum_imm(t, word, SUBTRACTS);
}
static bool subs_imm(struct lp_tr *t, uint32_t word)
{
	return sum_imm(t, word, SETS_FLAGS | SUBTRACTS);
}

/* A shift by a constant, without flags where that can be had. */
static void shift(struct lp_tr *t, enum lp_shift type, unsigned w, unsigned to, struct lp_x86_rm from, unsigned n)
{
	struct lp_x86 *x = &t->x;

	if (type == LP_ROR) {
		lp_x86_rorx(x, w, to, from, n);
		return;
	}
	bool in_place = is_reg(from, to);

	if (n == 0) {
		if (!w || !in_place)
			lp_x86_mov(x, w, to, from);
		return;
	}
	if (type == LP_LSL && n == 1 && from.kind == LP_RM_REG) {
		lp_x86_lea(x, w, to, lp_rm_sib(from.base, from.base, 1, 0));
		return;
	}
	if (type == LP_LSL && n <= 3 && from.kind == LP_RM_REG && !in_place) {
		lp_x86_lea(x, w, to, lp_rm_index(from.base, 1u << n, 0));
		return;
	}
	if (has_flags_to_keep(t)) {
		/* EFLAGS stay */
		lp_x86_mov_imm32(x, LP_RDX, n);
		if (type == LP_LSL)
			lp_x86_shlx(x, w, to, from, LP_RDX);
		else if (type == LP_LSR)
			lp_x86_shrx(x, w, to, from, LP_RDX);
		else
			lp_x86_sarx(x, w, to, from, LP_RDX);
		return;
	}
	lp_flags_clobber(t);
	if (!in_place)
		lp_x86_mov(x, w, to, from);
	lp_x86_shift_imm(x,
			 type == LP_LSL	  ? LP_SHIFT_SHL
			 : type == LP_LSR ? LP_SHIFT_SHR
					  : LP_SHIFT_SAR,
			 w, lp_rm_reg(to), n);
}

/* The second operand: m shifted, as what may be read; in rcx when it had to be computed. */
static struct lp_x86_rm shifted(struct lp_tr *t, unsigned w, unsigned m, enum lp_shift type, unsigned amount)
{
	if (amount == 0)
		return lp_x_rm(t, m);
	shift(t, type, w, LP_RCX, lp_x_rm(t, m), amount);
	return lp_rm_reg(LP_RCX);
}

/* d = n op m, both in place as far as they are. */
static void alu(struct lp_tr *t, enum lp_x86_alu op, unsigned w, unsigned d, unsigned n, struct lp_x86_rm m)
{
	struct lp_x86 *x = &t->x;
	unsigned to = lp_x_dest(t, d, LP_RAX);

	/* The destination must not be the second operand while the first is copied to it. */
	if (m.kind == LP_RM_REG && m.base == to) {
		if (op != LP_ALU_SUB) {
			lp_x86_alu(x, op, w, to, lp_x_rm(t, n));
			lp_x_write(t, d, to);
			return;
		}
		to = LP_RAX;
	}
	first_operand(t, w, n, to);
	lp_x86_alu(x, op, w, to, m);
	lp_x_write(t, d, to);
}

/* Without flags, both in registers: lea. */
static bool lea_sum(struct lp_tr *t, unsigned w, unsigned d, unsigned n, struct lp_x86_rm m)
{
	unsigned base, to;

	if (m.kind != LP_RM_REG && !has_flags_to_keep(t))
		return false;
	if (m.kind != LP_RM_REG) {
		lp_x86_mov(&t->x, w, LP_RCX, m);
		m = lp_rm_reg(LP_RCX);
	}
	base = lp_x_read(t, n, LP_RAX);
	to = lp_x_dest(t, d, LP_RAX);
	lp_x86_lea(&t->x, w, to, lp_rm_sib(base, m.base, 1, 0));
	lp_x_write(t, d, to);
	return true;
}

/* The same of a difference: n + ~m + 1. */
static void lea_difference(struct lp_tr *t, unsigned w, unsigned d, unsigned n, struct lp_x86_rm m)
{
	unsigned base = lp_x_read(t, n, LP_RAX), to = lp_x_dest(t, d, LP_RAX);

	if (!is_reg(m, LP_RCX))
		lp_x86_mov(&t->x, w, LP_RCX, m);
	lp_x86_not(&t->x, w, lp_rm_reg(LP_RCX));
	lp_x86_lea(&t->x, w, to, lp_rm_sib(base, LP_RCX, 1, 1));
	lp_x_write(t, d, to);
}

static bool sum(struct lp_tr *t, unsigned w, unsigned kind, unsigned d, unsigned n, struct lp_x86_rm m)
{
	enum lp_x86_alu op = kind & SUBTRACTS ? LP_ALU_SUB : LP_ALU_ADD;
	bool sets = kind & SETS_FLAGS;

	if (!sets && op == LP_ALU_ADD && lea_sum(t, w, d, n, m))
		return true;
	if (!sets && op == LP_ALU_SUB && has_flags_to_keep(t)) {
		lea_difference(t, w, d, n, m);
		return true;
	}
	lp_flags_clobber(t);
	if (d == LP_SINK && sets && op == LP_ALU_SUB)
		lp_x86_alu(&t->x, LP_ALU_CMP, w, lp_x_read(t, n, LP_RAX), m);
	else
		alu(t, op, w, d, n, m);
	if (sets)
		lp_flags_are(t, op == LP_ALU_SUB ? LP_FLAGS_SUB : LP_FLAGS_ADD);
	return true;
}

/* d = n + index << by, without flags. */
static void lea_scaled(struct lp_tr *t, unsigned w, unsigned d, unsigned n, unsigned index, unsigned by)
{
	unsigned base = lp_x_read(t, n, LP_RAX), to = lp_x_dest(t, d, LP_RAX);

	lp_x86_lea(&t->x, w, to, lp_rm_sib(base, index, 1u << by, 0));
	lp_x_write(t, d, to);
}

static bool sum_reg(struct lp_tr *t, uint32_t word, unsigned kind)
{
	unsigned w = F(sf), d = lp_writes(F(Rd)), n = lp_reads(F(Rn)), m = lp_reads(F(Rm));
	enum lp_shift type = F(shift);

	if (kind == 0 && type == LP_LSL && F(imm6) >= 1 && F(imm6) <= 3) {
		lea_scaled(t, w, d, n, lp_x_read(t, m, LP_RCX), F(imm6));
		return true;
	}

	if (n == LP_ZR && type == LP_LSL && F(imm6) == 0 && kind == SUBTRACTS) { /* neg */
		unsigned to = lp_x_dest(t, d, LP_RAX);
		if (has_flags_to_keep(t)) { /* ~m + 1 */
			first_operand(t, w, m, to);
			lp_x86_not(&t->x, w, lp_rm_reg(to));
			lp_x86_lea(&t->x, w, to, lp_rm_mem(to, 1));
		} else {
			lp_flags_clobber(t);
			first_operand(t, w, m, to);
			lp_x86_neg(&t->x, w, lp_rm_reg(to));
		}
		lp_x_write(t, d, to);
		return true;
	}
	return sum(t, w, kind, d, n, shifted(t, w, m, type, F(imm6)));
}

static bool add_reg(struct lp_tr *t, uint32_t word)
{
	return sum_reg(t, word, 0);
}
static bool adds_reg(struct lp_tr *t, uint32_t word)
{
	return sum_reg(t, word, SETS_FLAGS);
}
static bool sub_reg(struct lp_tr *t, uint32_t word)
{
	return sum_reg(t, word, SUBTRACTS);
}
static bool subs_reg(struct lp_tr *t, uint32_t word)
{
	return sum_reg(t, word, SETS_FLAGS | SUBTRACTS);
}

/* uxtb ... sxtx of m in rcx */
static void extend(struct lp_tr *t, unsigned option, unsigned m, unsigned to)
{
	struct lp_x86 *x = &t->x;
	struct lp_x86_rm from = lp_x_rm(t, m);

	switch (option) {
	case 0:
		lp_x86_movzx8(x, to, from);
		break;
	case 1:
		lp_x86_movzx16(x, to, from);
		break;
	case 2:
		lp_x86_mov(x, 0, to, from);
		break;
	case 4:
		lp_x86_movsx8(x, 1, to, from);
		break;
	case 5:
		lp_x86_movsx16(x, 1, to, from);
		break;
	case 6:
		lp_x86_movsxd(x, to, from);
		break;
	default:
		lp_x86_mov(x, 1, to, from);
		break;
	}
}

static bool sum_ext(struct lp_tr *t, uint32_t word, unsigned kind)
{
	unsigned w = F(sf), d = kind & SETS_FLAGS ? lp_writes(F(Rd)) : F(Rd), n = F(Rn), m = lp_reads(F(Rm));
	struct lp_x86_rm rm = lp_rm_reg(LP_RCX);

	if (F(option) == 3 && F(imm3) == 0) {
		rm = lp_x_rm(t, m);
	} else {
		extend(t, F(option), m, LP_RCX);
		if (kind == 0 && d != LP_SP && F(imm3)) {
			if (F(imm3) == 4)
				lp_x86_lea(&t->x, 1, LP_RCX, lp_rm_sib(LP_RCX, LP_RCX, 1, 0));
			lea_scaled(t, w, d, n, LP_RCX, F(imm3) < 3 ? F(imm3) : 3);
			return true;
		}
		if (F(imm3))
			shift(t, LP_LSL, 1, LP_RCX, lp_rm_reg(LP_RCX), F(imm3));
	}
	sum(t, w, kind, d, n, rm);
	if (d == LP_SP)
		lp_sp_changed(t);
	return true;
}

static bool add_ext(struct lp_tr *t, uint32_t word)
{
	return sum_ext(t, word, 0);
}
static bool adds_ext(struct lp_tr *t, uint32_t word)
{
	return sum_ext(t, word, SETS_FLAGS);
}
static bool sub_ext(struct lp_tr *t, uint32_t word)
{
	return sum_ext(t, word, SUBTRACTS);
}
static bool subs_ext(struct lp_tr *t, uint32_t word)
{
	return sum_ext(t, word, SETS_FLAGS | SUBTRACTS);
}

/* n + m + C, or n - m - not C. */
static bool carry(struct lp_tr *t, uint32_t word, unsigned kind)
{
	unsigned w = F(sf), d = lp_writes(F(Rd)), n = lp_reads(F(Rn)), m = lp_reads(F(Rm));
	bool subtracts = kind & SUBTRACTS, sets = kind & SETS_FLAGS;

	lp_flags_carry(t, subtracts, sets);
	/* Through rax: d may be m; and moves leave CF alone */
	lp_x_copy(t, w, n, LP_RAX);
	lp_x86_alu(&t->x, subtracts ? LP_ALU_SBB : LP_ALU_ADC, w, LP_RAX, lp_x_rm(t, m));
	lp_x_write(t, d, LP_RAX);
	if (sets)
		lp_flags_are(t, subtracts ? LP_FLAGS_SUB : LP_FLAGS_ADD);
	return true;
}

static bool adc(struct lp_tr *t, uint32_t word)
{
	return carry(t, word, 0);
}
static bool adcs(struct lp_tr *t, uint32_t word)
{
	return carry(t, word, SETS_FLAGS);
}
static bool sbc(struct lp_tr *t, uint32_t word)
{
	return carry(t, word, SUBTRACTS);
}
static bool sbcs(struct lp_tr *t, uint32_t word)
{
	return carry(t, word, SETS_FLAGS | SUBTRACTS);
}

/* ---- logic ---- */

static bool logic_imm(struct lp_tr *t, uint32_t word, enum lp_x86_alu op, bool sets)
{
	unsigned w = F(sf), d = sets ? lp_writes(F(Rd)) : F(Rd), n = lp_reads(F(Rn)), to;
	uint64_t imm;

	if (!lp_a64_limm_decode(word, &imm))
		return false;
	imm = lp_sized(w, imm);
	if (n == LP_ZR && op != LP_ALU_AND) {
		lp_x_write_imm(t, d, imm);
		return true;
	}
	if (w ? (int64_t)imm == (int32_t)imm : true) {
		if (sets) {
			alu_imm_flags(t, op, w, d, n, (int32_t)imm);
			return true;
		}
		to = lp_x_dest(t, d, LP_RAX);
		if (op == LP_ALU_AND && (imm == 0xff || imm == 0xffff)) {
			if (imm == 0xff)
				lp_x86_movzx8(&t->x, to, lp_x_rm(t, n));
			else
				lp_x86_movzx16(&t->x, to, lp_x_rm(t, n));
		} else {
			lp_flags_clobber(t);
			first_operand(t, w, n, to);
			lp_x86_alu_imm(&t->x, op, w, lp_rm_reg(to), (int32_t)imm);
		}
		lp_x_write(t, d, to);
		return true;
	}
	if (op == LP_ALU_AND && imm == UINT32_MAX && !sets) {
		to = lp_x_dest(t, d, LP_RAX);
		lp_x86_mov(&t->x, 0, to, lp_x_rm(t, n));
		lp_x_write(t, d, to);
		return true;
	}
	lp_flags_clobber(t);
	lp_x86_mov_imm(&t->x, LP_RAX, imm);
	alu(t, op, 1, d, n, lp_rm_reg(LP_RAX));
	if (sets)
		lp_flags_are(t, LP_FLAGS_ADD);
	return true;
}

/* To a register that may be sp. */
static bool logic_imm_sp(struct lp_tr *t, uint32_t word, enum lp_x86_alu op)
{
	if (!logic_imm(t, word, op, false))
		return false;
	if (F(Rd) == LP_SP)
		lp_sp_changed(t);
	return true;
}

static bool and_imm(struct lp_tr *t, uint32_t word)
{
	return logic_imm_sp(t, word, LP_ALU_AND);
}
static bool orr_imm(struct lp_tr *t, uint32_t word)
{
	return logic_imm_sp(t, word, LP_ALU_OR);
}
static bool eor_imm(struct lp_tr *t, uint32_t word)
{
	return logic_imm_sp(t, word, LP_ALU_XOR);
}
static bool ands_imm(struct lp_tr *t, uint32_t word)
{
	return logic_imm(t, word, LP_ALU_AND, true);
}

static bool logic_reg(struct lp_tr *t, uint32_t word, enum lp_x86_alu op, bool inverts, bool sets)
{
	unsigned w = F(sf), d = lp_writes(F(Rd)), n = lp_reads(F(Rn)), m = lp_reads(F(Rm)), to;
	struct lp_x86_rm rm;

	if (!w && F(imm6) >= 32)
		return false;
	if (n == LP_ZR && op == LP_ALU_OR) { /* mov, mvn */
		to = lp_x_dest(t, d, LP_RAX);
		shift(t, F(shift), w, to, lp_x_rm(t, m), F(imm6));
		if (inverts)
			lp_x86_not(&t->x, w, lp_rm_reg(to));
		lp_x_write(t, d, to);
		return true;
	}
	lp_flags_clobber(t);
	to = lp_x_dest(t, d, LP_RAX);
	if (F(imm6) && !inverts && !(sets && d == LP_SINK) && t->pin[n] != (int)to) {
		/* The operands may change places */
		shift(t, F(shift), w, to, lp_x_rm(t, m), F(imm6));
		lp_x86_alu(&t->x, op, w, to, lp_x_rm(t, n));
		lp_x_write(t, d, to);
		if (sets)
			lp_flags_are(t, LP_FLAGS_ADD);
		return true;
	}
	rm = shifted(t, w, m, F(shift), F(imm6));
	if (inverts) {
		lp_x86_mov(&t->x, w, LP_RCX, rm);
		lp_x86_not(&t->x, w, lp_rm_reg(LP_RCX));
		rm = lp_rm_reg(LP_RCX);
	}
	if (sets && d == LP_SINK)
		lp_x86_test(&t->x, w, rm, lp_x_read(t, n, LP_RAX));
	else
		alu(t, op, w, d, n, rm);
	if (sets)
		lp_flags_are(t, LP_FLAGS_ADD);
	return true;
}

#define LOGIC(name, op, inverts, sets)                        \
	static bool name(struct lp_tr *t, uint32_t word)      \
	{                                                     \
		return logic_reg(t, word, op, inverts, sets); \
	}
LOGIC(and_reg, LP_ALU_AND, false, false)
LOGIC(bic_reg, LP_ALU_AND, true, false)
LOGIC(orr_reg, LP_ALU_OR, false, false)
LOGIC(orn_reg, LP_ALU_OR, true, false)
LOGIC(eor_reg, LP_ALU_XOR, false, false)
LOGIC(eon_reg, LP_ALU_XOR, true, false)
LOGIC(ands_reg, LP_ALU_AND, false, true)
LOGIC(bics_reg, LP_ALU_AND, true, true)

/* ---- constants ---- */

static bool adr(struct lp_tr *t, uint32_t word)
{
	lp_x_write_address(t, lp_writes(F(Rd)), t->pc + (uint64_t)lp_signed_field(word, 5, 19) * 4 + F(immlo));
	return true;
}

/* The one behind this one and `ahead` others, which this one's code executes, if that can do it as well; else NULL. */
static const struct lp_insn *insn_ahead(const struct lp_tr *t, unsigned ahead)
{
	return lp_tr_goes_on(t, t->i + ahead) ? &t->insns[t->i + 1 + ahead] : NULL;
}

/* With the add behind it that gives the lower 12 bits. */
static bool adrp(struct lp_tr *t, uint32_t word)
{
	uint64_t pages = (uint64_t)lp_signed_field(word, 5, 19) * 4 + F(immlo), value;
	const struct lp_insn *add = insn_ahead(t, 0);
	unsigned d = F(Rd);

	value = (t->pc & ~UINT64_C(4095)) + (pages << 12);
	if (add && d != 31 && (add->word & 0xffc003ff) == (0x91000000 | d << 5 | d)) { /* add xd, xd, #imm */
		value += add->word >> 10 & 0xfff;
		lp_tr_took_next(t);
	}
	lp_x_write_address(t, lp_writes(d), value);
	return true;
}

/* What may as well be executed before an instruction that changes r as behind it: it neither asks for r nor writes it, and
 * the state of the guest is seen by nobody there (DDI 0487 C4.1: data processing; not sp, for lp_sp_changed()). */
static bool is_apart(const struct lp_tr *t, const struct lp_insn *insn, unsigned r)
{
	uint32_t word = insn->word;
	bool is_immediate = (word & 0x1c000000) == 0x10000000, is_register = (word & 0x0e000000) == 0x0a000000;

	return (is_immediate || is_register) && t->jit->emit[insn->op] && (word & 31) != 31 && (word & 31) != r &&
	       (word >> 5 & 31) != r && (word >> 10 & 31) != r && (word >> 16 & 31) != r;
}

/* The constant, and what instructions behind it put into it 16 bits at a time. */
static bool wide(struct lp_tr *t, uint32_t word, uint64_t value)
{
	enum { MOVK = 0x72800000, OF_MOVK = 0x7f800000, SF_AND_RD = 0x8000001f, LOOK = 8 };
	const struct lp_insn *next;
	unsigned by;

	for (unsigned ahead = 0; ahead < LOOK && (next = insn_ahead(t, ahead)); ahead++) {
		if ((next->word & OF_MOVK) == MOVK && (next->word & SF_AND_RD) == (word & SF_AND_RD) &&
		    (F(sf) || !(next->word >> 22 & 1))) {
			by = (next->word >> 21 & 3) * 16;
			value = (value & ~(UINT64_C(0xffff) << by)) | (uint64_t)(next->word >> 5 & 0xffff) << by;
			t->insns[t->i + 1 + ahead].is_taken = true;
		} else if (!is_apart(t, next, F(Rd))) {
			break;
		}
	}
	lp_x_write_imm(t, lp_writes(F(Rd)), value);
	return true;
}

static bool movz(struct lp_tr *t, uint32_t word)
{
	return wide(t, word, (uint64_t)F(imm16) << F(hw) * 16);
}

static bool movn(struct lp_tr *t, uint32_t word)
{
	return wide(t, word, lp_sized(F(sf), ~((uint64_t)F(imm16) << F(hw) * 16)));
}

/* By a rotation there and back: flags stay. */
static void replace_16(struct lp_tr *t, unsigned w, unsigned d, unsigned by, uint32_t imm16)
{
	unsigned to = lp_x_dest(t, d, LP_RAX);
	struct lp_x86 *x = &t->x;

	if (by)
		lp_x86_rorx(x, w, to, lp_x_rm(t, d), by);
	else if (t->pin[d] < 0 || !w)
		lp_x_copy(t, w, d, to);
	lp_x86_store_imm(x, 2, lp_rm_reg(to), (int32_t)imm16);
	if (by)
		lp_x86_rorx(x, w, to, lp_rm_reg(to), (w ? 64 : 32) - by);
	lp_x_write(t, d, to);
}

static bool movk(struct lp_tr *t, uint32_t word)
{
	unsigned d = lp_writes(F(Rd)), by = F(hw) * 16, w = F(sf);
	struct lp_x86 *x = &t->x;

	if (d == LP_SINK)
		return true;
	if (t->jit->host & LP_HOST_V3 && (w || by < 32)) {
		replace_16(t, w, d, by, F(imm16));
		return true;
	}
	lp_flags_clobber(t);
	lp_x_copy(t, w, d, LP_RAX);
	if (by < 32 && !w) {
		lp_x86_alu_imm(x, LP_ALU_AND, 0, lp_rm_reg(LP_RAX), (int32_t) ~(UINT32_C(0xffff) << by));
		lp_x86_alu_imm(x, LP_ALU_OR, 0, lp_rm_reg(LP_RAX), (int32_t)(F(imm16) << by));
	} else {
		lp_x86_mov_imm(x, LP_RCX, ~(UINT64_C(0xffff) << by));
		lp_x86_alu(x, LP_ALU_AND, 1, LP_RAX, lp_rm_reg(LP_RCX));
		lp_x86_mov_imm(x, LP_RCX, (uint64_t)F(imm16) << by);
		lp_x86_alu(x, LP_ALU_OR, 1, LP_RAX, lp_rm_reg(LP_RCX));
	}
	lp_x_write(t, d, LP_RAX);
	return true;
}

/* ---- bit fields ---- */

/* ubfm and sbfm: a field of n moved to the right (imms >= immr), or the lowest bits to the left. */
static bool move_field(struct lp_tr *t, uint32_t word, bool is_signed)
{
	unsigned w = F(sf), bits = w ? 64 : 32, d = lp_writes(F(Rd)), n = lp_reads(F(Rn));
	unsigned r = F(immr), s = F(imms), to = lp_x_dest(t, d, LP_RAX);
	struct lp_x86 *x = &t->x;

	if (r >= bits || s >= bits)
		return false;
	if (s == bits - 1 || (s + 1 == r && !is_signed)) { /* asr, lsr; lsl */
		shift(t, s == bits - 1 ? (is_signed ? LP_ASR : LP_LSR) : LP_LSL, w, to, lp_x_rm(t, n),
		      s == bits - 1 ? r : bits - r);
	} else if (r == 0 && (s == 7 || s == 15 || (s == 31 && w))) { /* extensions */
		unsigned option = (s == 7 ? 0 : s == 15 ? 1 : 2) | (is_signed ? 4 : 0);
		if (is_signed && !w && s == 7)
			lp_x86_movsx8(x, 0, to, lp_x_rm(t, n));
		else if (is_signed && !w)
			lp_x86_movsx16(x, 0, to, lp_x_rm(t, n));
		else
			extend(t, option, n, to);
	} else if (!is_signed && s >= r && s - r < 31) { /* ubfx: shift, and */
		lp_flags_clobber(t);
		shift(t, LP_LSR, w, to, lp_x_rm(t, n), r);
		lp_x86_alu_imm(x, LP_ALU_AND, 0, lp_rm_reg(to), (int32_t)((UINT32_C(1) << (s - r + 1)) - 1));
	} else if (s < r && (s == 7 || s == 15 || (s == 31 && w)) && (w || !is_signed)) { /* extended, to the left */
		extend(t, (s == 7 ? 0 : s == 15 ? 1 : 2) | (is_signed ? 4 : 0), n, to);
		shift(t, LP_LSL, w, to, lp_rm_reg(to), bits - r);
	} else { /* to the top, and back */
		lp_flags_clobber(t);
		first_operand(t, w, n, to);
		if (bits - 1 - s)
			lp_x86_shift_imm(x, LP_SHIFT_SHL, w, lp_rm_reg(to), bits - 1 - s);
		if (s >= r)
			lp_x86_shift_imm(x, is_signed ? LP_SHIFT_SAR : LP_SHIFT_SHR, w, lp_rm_reg(to),
					 bits - 1 - s + r);
		else
			lp_x86_shift_imm(x, is_signed ? LP_SHIFT_SAR : LP_SHIFT_SHR, w, lp_rm_reg(to), r - s - 1);
	}
	lp_x_write(t, d, to);
	return true;
}

static bool ubfm(struct lp_tr *t, uint32_t word)
{
	return move_field(t, word, false);
}
static bool sbfm(struct lp_tr *t, uint32_t word)
{
	return move_field(t, word, true);
}

/* A field of n replaces one of d. */
static bool bfm(struct lp_tr *t, uint32_t word)
{
	unsigned w = F(sf), bits = w ? 64 : 32, d = lp_writes(F(Rd)), n = lp_reads(F(Rn)), r = F(immr), s = F(imms);
	unsigned width = s >= r ? s - r + 1 : s + 1, lsb = s >= r ? 0 : bits - r;
	uint64_t mask = lp_ones(width) << lsb;
	struct lp_x86 *x = &t->x;

	if (r >= bits || s >= bits)
		return false;
	if (d == LP_SINK)
		return true;
	lp_flags_clobber(t);
	/* rcx = the field in its place */
	lp_x_copy(t, w, n, LP_RCX);
	if (s >= r && r)
		lp_x86_shift_imm(x, LP_SHIFT_SHR, w, lp_rm_reg(LP_RCX), r);
	else if (lsb)
		lp_x86_shift_imm(x, LP_SHIFT_SHL, w, lp_rm_reg(LP_RCX), lsb);
	lp_x_copy(t, w, d, LP_RAX);
	/* rax = (rax ^ rcx) & ~mask ^ rcx */
	lp_x86_alu(x, LP_ALU_XOR, w, LP_RAX, lp_rm_reg(LP_RCX));
	if (!w || (int64_t)~mask == (int32_t)~mask) {
		lp_x86_alu_imm(x, LP_ALU_AND, w, lp_rm_reg(LP_RAX), (int32_t)~mask);
	} else {
		lp_x86_mov_imm(x, LP_RDX, ~mask);
		lp_x86_alu(x, LP_ALU_AND, 1, LP_RAX, lp_rm_reg(LP_RDX));
	}
	lp_x86_alu(x, LP_ALU_XOR, w, LP_RAX, lp_rm_reg(LP_RCX));
	lp_x_write(t, d, LP_RAX);
	return true;
}

static bool extr(struct lp_tr *t, uint32_t word)
{
	unsigned w = F(sf), d = lp_writes(F(Rd)), n = lp_reads(F(Rn)), m = lp_reads(F(Rm)), by = F(imms);
	unsigned to = lp_x_dest(t, d, LP_RAX);

	if (n == m) {
		lp_x86_rorx(&t->x, w, to, lp_x_rm(t, n), by);
		lp_x_write(t, d, to);
		return true;
	}
	if (by)
		lp_flags_clobber(t);
	lp_x_copy(t, w, m, LP_RAX);
	if (by)
		lp_x86_shrd(&t->x, w, lp_rm_reg(LP_RAX), lp_x_read(t, n, LP_RCX), by);
	lp_x_write(t, d, LP_RAX);
	return true;
}

/* ---- shifts by registers ---- */

static bool shift_reg(struct lp_tr *t, uint32_t word, enum lp_shift type)
{
	unsigned w = F(sf), d = lp_writes(F(Rd)), n = lp_reads(F(Rn)), m = lp_reads(F(Rm));
	unsigned count = lp_x_read(t, m, LP_RCX), to = lp_x_dest(t, d, LP_RAX);
	struct lp_x86 *x = &t->x;

	if (type == LP_LSL) {
		lp_x86_shlx(x, w, to, lp_x_rm(t, n), count);
	} else if (type == LP_LSR) {
		lp_x86_shrx(x, w, to, lp_x_rm(t, n), count);
	} else if (type == LP_ASR) {
		lp_x86_sarx(x, w, to, lp_x_rm(t, n), count);
	} else {
		lp_flags_clobber(t);
		if (count != LP_RCX)
			lp_x86_mov(x, 0, LP_RCX, lp_rm_reg(count));
		if (t->pin[n] != (int)to || !w) /* no bits, and nothing above them: not by a rotation by zero */
			lp_x_copy(t, w, n, to);
		lp_x86_shift_cl(x, LP_SHIFT_ROR, w, lp_rm_reg(to));
	}
	lp_x_write(t, d, to);
	return true;
}

static bool lslv(struct lp_tr *t, uint32_t word)
{
	return shift_reg(t, word, LP_LSL);
}
static bool lsrv(struct lp_tr *t, uint32_t word)
{
	return shift_reg(t, word, LP_LSR);
}
static bool asrv(struct lp_tr *t, uint32_t word)
{
	return shift_reg(t, word, LP_ASR);
}
static bool rorv(struct lp_tr *t, uint32_t word)
{
	return shift_reg(t, word, LP_ROR);
}

/* ---- single operands ---- */

static bool clz(struct lp_tr *t, uint32_t word)
{
	unsigned d = lp_writes(F(Rd)), to = lp_x_dest(t, d, LP_RAX);

	lp_flags_clobber(t);
	lp_x86_lzcnt(&t->x, F(sf), to, lp_x_rm(t, lp_reads(F(Rn))));
	lp_x_write(t, d, to);
	return true;
}

/* How many bits follow the sign that are as it is: the zeros of x ^ x >> 1, without the sign's own. */
static bool cls(struct lp_tr *t, uint32_t word)
{
	unsigned w = F(sf), d = lp_writes(F(Rd));
	struct lp_x86 *x = &t->x;

	lp_flags_clobber(t);
	lp_x_copy(t, w, lp_reads(F(Rn)), LP_RAX);
	lp_x86_mov(x, w, LP_RCX, lp_rm_reg(LP_RAX));
	lp_x86_shift_imm(x, LP_SHIFT_SAR, w, lp_rm_reg(LP_RCX), 1);
	lp_x86_alu(x, LP_ALU_XOR, w, LP_RAX, lp_rm_reg(LP_RCX));
	lp_x86_lzcnt(x, w, LP_RAX, lp_rm_reg(LP_RAX));
	lp_x86_alu_imm(x, LP_ALU_SUB, 0, lp_rm_reg(LP_RAX), 1);
	lp_x_write(t, d, LP_RAX);
	return true;
}

static bool reverse_bytes(struct lp_tr *t, uint32_t word, unsigned w)
{
	unsigned d = lp_writes(F(Rd)), to = lp_x_dest(t, d, LP_RAX);

	lp_x_copy(t, w, lp_reads(F(Rn)), to);
	lp_x86_bswap(&t->x, w, to);
	lp_x_write(t, d, to);
	return true;
}

static bool rev_w(struct lp_tr *t, uint32_t word)
{
	return reverse_bytes(t, word, 0);
}
static bool rev_x(struct lp_tr *t, uint32_t word)
{
	return reverse_bytes(t, word, 1);
}

/* The bytes of each half: all reversed, and the halves back. */
static bool rev32(struct lp_tr *t, uint32_t word)
{
	unsigned d = lp_writes(F(Rd)), to = lp_x_dest(t, d, LP_RAX);

	lp_x_copy(t, 1, lp_reads(F(Rn)), to);
	lp_x86_bswap(&t->x, 1, to);
	lp_x86_rorx(&t->x, 1, to, lp_rm_reg(to), 32);
	lp_x_write(t, d, to);
	return true;
}

/* (x >> shift & mask) | (x & mask) << shift, in rax */
static void swap_groups(struct lp_tr *t, unsigned w, unsigned by, uint64_t mask)
{
	struct lp_x86 *x = &t->x;

	lp_x86_mov_imm(x, LP_RDX, w ? mask : (uint32_t)mask);
	lp_x86_mov(x, w, LP_RCX, lp_rm_reg(LP_RAX));
	lp_x86_shift_imm(x, LP_SHIFT_SHR, w, lp_rm_reg(LP_RCX), by);
	lp_x86_alu(x, LP_ALU_AND, w, LP_RCX, lp_rm_reg(LP_RDX));
	lp_x86_alu(x, LP_ALU_AND, w, LP_RAX, lp_rm_reg(LP_RDX));
	lp_x86_shift_imm(x, LP_SHIFT_SHL, w, lp_rm_reg(LP_RAX), by);
	lp_x86_alu(x, LP_ALU_OR, w, LP_RAX, lp_rm_reg(LP_RCX));
}

static bool rev16(struct lp_tr *t, uint32_t word)
{
	unsigned w = F(sf);

	lp_flags_clobber(t);
	lp_x_copy(t, w, lp_reads(F(Rn)), LP_RAX);
	swap_groups(t, w, 8, UINT64_C(0x00ff00ff00ff00ff));
	lp_x_write(t, lp_writes(F(Rd)), LP_RAX);
	return true;
}

/* The clz of the result that takes its place, which makes the two a count of zeros from the other end; NULL: none. */
static struct lp_insn *clz_behind(struct lp_tr *t, uint32_t word)
{
	enum { CLZ = 0x5ac01000, LOOK = 4 };
	uint32_t wanted = CLZ | (word & 0x80000000) | F(Rd) << 5 | F(Rd);
	const struct lp_insn *next;

	if (F(Rd) == 31 || !(t->jit->host & LP_HOST_V3))
		return NULL;
	for (unsigned ahead = 0; ahead < LOOK && (next = insn_ahead(t, ahead)); ahead++) {
		if (next->word == wanted)
			return &t->insns[t->i + 1 + ahead];
		if (!is_apart(t, next, F(Rd)))
			break;
	}
	return NULL;
}

static bool rbit(struct lp_tr *t, uint32_t word)
{
	unsigned w = F(sf), to;
	struct lp_insn *clz = clz_behind(t, word);

	lp_flags_clobber(t);
	if (clz) {
		to = lp_x_dest(t, F(Rd), LP_RAX);
		lp_x86_tzcnt(&t->x, w, to, lp_x_rm(t, lp_reads(F(Rn))));
		lp_x_write(t, F(Rd), to);
		clz->is_taken = true;
		return true;
	}
	lp_x_copy(t, w, lp_reads(F(Rn)), LP_RAX);
	lp_x86_bswap(&t->x, w, LP_RAX);
	swap_groups(t, w, 4, UINT64_C(0x0f0f0f0f0f0f0f0f));
	swap_groups(t, w, 2, UINT64_C(0x3333333333333333));
	swap_groups(t, w, 1, UINT64_C(0x5555555555555555));
	lp_x_write(t, lp_writes(F(Rd)), LP_RAX);
	return true;
}

/* ---- products and quotients ---- */

/* to = n * m, where one of them is there already if need be. */
static void product(struct lp_tr *t, unsigned w, unsigned to, unsigned n, unsigned m)
{
	if (t->pin[m] == (int)to) {
		lp_x86_imul(&t->x, w, to, lp_x_rm(t, n));
		return;
	}
	first_operand(t, w, n, to);
	lp_x86_imul(&t->x, w, to, lp_x_rm(t, m));
}

/* a +- n * m */
static bool multiply_add(struct lp_tr *t, uint32_t word, bool subtracts)
{
	unsigned w = F(sf), d = lp_writes(F(Rd)), n = lp_reads(F(Rn)), m = lp_reads(F(Rm)), a = lp_reads(F(Ra));
	unsigned to = lp_x_dest(t, d, LP_RAX);
	struct lp_x86 *x = &t->x;

	lp_flags_clobber(t);
	if (subtracts) {
		product(t, w, LP_RAX, n, m);
		lp_x_copy(t, w, a, LP_RCX);
		lp_x86_alu(x, LP_ALU_SUB, w, LP_RCX, lp_rm_reg(LP_RAX));
		lp_x_write(t, d, LP_RCX);
		return true;
	}
	if (a != LP_ZR && t->pin[a] == (int)to)
		to = LP_RAX;
	product(t, w, to, n, m);
	if (a != LP_ZR)
		lp_x86_alu(x, LP_ALU_ADD, w, to, lp_x_rm(t, a));
	lp_x_write(t, d, to);
	return true;
}

static bool madd(struct lp_tr *t, uint32_t word)
{
	return multiply_add(t, word, false);
}
static bool msub(struct lp_tr *t, uint32_t word)
{
	return multiply_add(t, word, true);
}

/* a +- n * m of halves */
static bool multiply_long(struct lp_tr *t, uint32_t word, bool is_signed, bool subtracts)
{
	unsigned d = lp_writes(F(Rd)), n = lp_reads(F(Rn)), m = lp_reads(F(Rm)), a = lp_reads(F(Ra));
	struct lp_x86 *x = &t->x;

	lp_flags_clobber(t);
	extend(t, is_signed ? 6 : 2, n, LP_RAX);
	extend(t, is_signed ? 6 : 2, m, LP_RCX);
	lp_x86_imul(x, 1, LP_RAX, lp_rm_reg(LP_RCX));
	if (subtracts) {
		lp_x_copy(t, 1, a, LP_RCX);
		lp_x86_alu(x, LP_ALU_SUB, 1, LP_RCX, lp_rm_reg(LP_RAX));
		lp_x_write(t, d, LP_RCX);
		return true;
	}
	if (a != LP_ZR)
		lp_x86_alu(x, LP_ALU_ADD, 1, LP_RAX, lp_x_rm(t, a));
	lp_x_write(t, d, LP_RAX);
	return true;
}

static bool smaddl(struct lp_tr *t, uint32_t word)
{
	return multiply_long(t, word, true, false);
}
static bool smsubl(struct lp_tr *t, uint32_t word)
{
	return multiply_long(t, word, true, true);
}
static bool umaddl(struct lp_tr *t, uint32_t word)
{
	return multiply_long(t, word, false, false);
}
static bool umsubl(struct lp_tr *t, uint32_t word)
{
	return multiply_long(t, word, false, true);
}

static bool umulh(struct lp_tr *t, uint32_t word)
{
	lp_x_copy(t, 1, lp_reads(F(Rn)), LP_RDX);
	lp_x86_mulx(&t->x, 1, LP_RDX, LP_RAX, lp_x_rm(t, lp_reads(F(Rm))));
	lp_x_write(t, lp_writes(F(Rd)), LP_RDX);
	return true;
}

static bool smulh(struct lp_tr *t, uint32_t word)
{
	lp_flags_clobber(t);
	lp_x_copy(t, 1, lp_reads(F(Rn)), LP_RAX);
	lp_x86_imul1(&t->x, 1, lp_x_rm(t, lp_reads(F(Rm))));
	lp_x_write(t, lp_writes(F(Rd)), LP_RDX);
	return true;
}

/* By 0 is 0.  Signed, by -1 is a negation: the host would trap where that overflows. */
static bool divide(struct lp_tr *t, uint32_t word, bool is_signed)
{
	unsigned w = F(sf), d = lp_writes(F(Rd));
	struct lp_x86_fixup zero, minus = {0}, done;
	struct lp_x86 *x = &t->x;

	lp_flags_clobber(t);
	lp_x_copy(t, w, lp_reads(F(Rm)), LP_RCX);
	lp_x_copy(t, w, lp_reads(F(Rn)), LP_RAX);
	lp_x86_test(x, w, lp_rm_reg(LP_RCX), LP_RCX);
	zero = lp_x86_jcc_forward_short(x, LP_CC_E);
	if (is_signed) {
		lp_x86_alu_imm(x, LP_ALU_CMP, w, lp_rm_reg(LP_RCX), -1);
		minus = lp_x86_jcc_forward_short(x, LP_CC_E);
		if (w)
			lp_x86_cqo(x);
		else
			lp_x86_cdq(x);
		lp_x86_idiv(x, w, lp_rm_reg(LP_RCX));
	} else {
		lp_x86_mov_imm32(x, LP_RDX, 0);
		lp_x86_div(x, w, lp_rm_reg(LP_RCX));
	}
	done = lp_x86_jmp_forward_short(x);
	if (is_signed) {
		struct lp_x86_fixup after;
		lp_x86_bind(x, minus);
		lp_x86_neg(x, w, lp_rm_reg(LP_RAX));
		after = lp_x86_jmp_forward_short(x);
		lp_x86_bind(x, zero);
		lp_x86_mov_imm32(x, LP_RAX, 0);
		lp_x86_bind(x, after);
	} else {
		lp_x86_bind(x, zero);
		lp_x86_mov_imm32(x, LP_RAX, 0);
	}
	lp_x86_bind(x, done);
	lp_x_write(t, d, LP_RAX);
	return true;
}

static bool udiv(struct lp_tr *t, uint32_t word)
{
	return divide(t, word, false);
}
static bool sdiv(struct lp_tr *t, uint32_t word)
{
	return divide(t, word, true);
}

static bool crc32c(struct lp_tr *t, uint32_t word, unsigned bytes)
{
	lp_x_copy(t, 0, lp_reads(F(Rn)), LP_RAX);
	lp_x86_crc32(&t->x, bytes, LP_RAX, lp_x_rm(t, lp_reads(F(Rm))));
	lp_x_write(t, lp_writes(F(Rd)), LP_RAX);
	return true;
}
static bool crc32cb(struct lp_tr *t, uint32_t word)
{
	return crc32c(t, word, 1);
}
static bool crc32ch(struct lp_tr *t, uint32_t word)
{
	return crc32c(t, word, 2);
}
static bool crc32cw(struct lp_tr *t, uint32_t word)
{
	return crc32c(t, word, 4);
}
static bool crc32cx(struct lp_tr *t, uint32_t word)
{
	return crc32c(t, word, 8);
}

/* ---- conditions ---- */

enum choice { PLAIN, INCREMENT, INVERT, NEGATE };

/* d = n where the condition holds, else m, of which n is there already. */
static void select_other(struct lp_tr *t, unsigned w, enum lp_x86_cc cc, unsigned d, unsigned m)
{
	lp_x86_cmov(&t->x, cc ^ 1, w, (unsigned)t->pin[d], lp_x_rm(t, m));
}

static bool choose(struct lp_tr *t, uint32_t word, enum choice kind)
{
	unsigned w = F(sf), d = lp_writes(F(Rd)), n = lp_reads(F(Rn)), m = lp_reads(F(Rm)), cond = F(cond);
	unsigned to = LP_RCX;
	struct lp_x86 *x = &t->x;
	struct lp_test test;

	if (cond >= 14) {
		lp_x_copy(t, w, n, LP_RAX);
		lp_x_write(t, d, LP_RAX);
		return true;
	}
	/* rax is what the test may use */
	test = lp_flags_test(t, cond);
	if (n == LP_ZR && m == LP_ZR && kind == INCREMENT && test.parity == LP_PARITY_NO_MATTER) { /* cset */
		to = lp_x_dest(t, d, LP_RAX);
		lp_x86_setcc(x, test.cc ^ 1, lp_rm_reg(LP_RAX));
		lp_x86_movzx8(x, to, lp_rm_reg(LP_RAX));
		lp_x_write(t, d, to);
		return true;
	}
	if (kind == PLAIN && test.parity == LP_PARITY_NO_MATTER && t->pin[d] >= 0 && n == d) {
		select_other(t, w, test.cc, d, m);
		return true;
	}
	/* The otherwise, made without touching EFLAGS: where the result is to be, unless that is asked for yet */
	if (test.parity == LP_PARITY_NO_MATTER && t->pin[d] >= 0 && t->pin[n] != t->pin[d])
		to = (unsigned)t->pin[d];
	if (kind == INCREMENT) {
		lp_x86_lea(x, w, to, lp_rm_mem(lp_x_read(t, m, LP_RCX), 1));
	} else {
		if (t->pin[m] != (int)to)
			lp_x_copy(t, w, m, to);
		if (kind != PLAIN)
			lp_x86_not(x, w, lp_rm_reg(to));
		if (kind == NEGATE) /* ~m + 1 */
			lp_x86_lea(x, w, to, lp_rm_mem(to, 1));
	}
	if (test.parity == LP_PARITY_AND_NOT)
		lp_x86_mov(x, 1, LP_RDX, lp_rm_reg(to));
	lp_flags_cmov(t, test, w, to, lp_x_rm(t, n), LP_RDX);
	lp_x_write(t, d, to);
	return true;
}

static bool csel(struct lp_tr *t, uint32_t word)
{
	return choose(t, word, PLAIN);
}
static bool csinc(struct lp_tr *t, uint32_t word)
{
	return choose(t, word, INCREMENT);
}
static bool csinv(struct lp_tr *t, uint32_t word)
{
	return choose(t, word, INVERT);
}
static bool csneg(struct lp_tr *t, uint32_t word)
{
	return choose(t, word, NEGATE);
}

/* EFLAGS = the four flags, as LP_FLAGS_SUB or LP_FLAGS_ADD has them.  Uses rax. */
static void set_flags(struct lp_x86 *x, unsigned nzcv, bool carry_inverted)
{
	unsigned carry = (nzcv >> 1 & 1) ^ carry_inverted;
	unsigned ah = (nzcv >> 3 & 1) << 7 | (nzcv >> 2 & 1) << 6 | carry | 2;

	/* al 0x7f + 1 overflows, 0 + 1 does not; sahf leaves OF as it is */
	lp_x86_mov_imm32(x, LP_RAX, ah << 8 | (nzcv & 1 ? 0x7f : 0));
	lp_x86_alu_imm_sized(x, LP_ALU_ADD, 1, lp_rm_reg(LP_RAX), 1);
	lp_x86_sahf(x);
}

static void compare(struct lp_tr *t, uint32_t word, bool subtracts, bool immediate)
{
	unsigned w = F(sf), n = lp_reads(F(Rn)), m = lp_reads(F(Rm));
	struct lp_x86 *x = &t->x;

	if (subtracts && n != LP_ZR) {
		if (immediate)
			lp_x86_alu_imm(x, LP_ALU_CMP, w, lp_x_rm(t, n), (int32_t)F(imm5));
		else
			lp_x86_alu(x, LP_ALU_CMP, w, lp_x_read(t, n, LP_RAX), lp_x_rm(t, m));
		return;
	}
	lp_x_copy(t, w, n, LP_RAX);
	if (immediate)
		lp_x86_alu_imm(x, subtracts ? LP_ALU_CMP : LP_ALU_ADD, w, lp_rm_reg(LP_RAX), (int32_t)F(imm5));
	else
		lp_x86_alu(x, subtracts ? LP_ALU_CMP : LP_ALU_ADD, w, LP_RAX, lp_x_rm(t, m));
}

/* DDI 0487 ConditionHolds(). */
static bool holds_for(unsigned nzcv, unsigned condition)
{
	bool n = nzcv & 8, z = nzcv & 4, c = nzcv & 2, v = nzcv & 1;
	const bool pairs[] = {z, c, n, v, c && !z, n == v, n == v && !z};

	return pairs[condition >> 1] ^ (condition & 1);
}

/* The conditional branch behind a conditional comparison, which has answers for both cases; NULL: none. */
static struct lp_insn *branch_behind(struct lp_tr *t)
{
	struct lp_insn *next = lp_tr_goes_on(t, t->i) ? &t->insns[t->i + 1] : NULL;

	if (!next || t->is_region || next->op != A64_OP_B_COND || lp_a64_field_condb(next->word) >= 14 ||
	    !lp_branch_goes_as_it_is(t, t->i + 1))
		return NULL;
	return next;
}

static void store_flags(struct lp_x86 *x, unsigned nzcv)
{
	lp_x86_store_imm(x, 4, LP_CPU(jit.flags), (int32_t)lp_flags_of_nzcv(nzcv));
}

/* Where the first condition does not hold, and the branch is not taken: flags are where they are behind it. */
static void own_flags_cold(struct lp_tr *t, const struct lp_cold *c)
{
	if (c->flags_kept)
		store_flags(&t->x, (unsigned)c->arg);
	set_flags(&t->x, (unsigned)c->arg, c->flags == LP_FLAGS_SUB);
	lp_x86_jmp_back(&t->x, c->back);
}

/* And where it is. */
static void own_flags_taken_cold(struct lp_tr *t, const struct lp_cold *c)
{
	if (t->insns[c->i].exit_live)
		store_flags(&t->x, (unsigned)c->arg2);
	t->flags = LP_FLAGS_IN_MEMORY;
	t->flags_kept = true;
	lp_emit_goto(t, c->arg);
}

/* Both at once: where the first condition does not hold it is known where the branch goes. */
static void compare_and_branch(struct lp_tr *t, uint32_t word, bool subtracts, bool immediate)
{
	struct lp_insn *next = &t->insns[t->i + 1];
	bool taken = holds_for(F(nzcv), lp_a64_field_condb(next->word));
	struct lp_x86_fixup not [2];
	struct lp_cold *c = NULL;

	lp_flags_jump(t, lp_flags_test(t, F(cond)), false, not );
	compare(t, word, subtracts, immediate);
	lp_flags_are(t, subtracts ? LP_FLAGS_SUB : LP_FLAGS_ADD);
	next->is_taken = true;
	t->i++;
	t->pc += 4;
	if (taken || next->flags_live) {
		c = lp_cold_add(t, taken ? own_flags_taken_cold : own_flags_cold);
		memcpy(c->from, not, sizeof not );
		c->arg = taken ? lp_branch_target(t, next->word, 5, 19) : F(nzcv);
		c->arg2 = F(nzcv);
	}
	lp_emit_b_cond(t, next->word);
	t->i--;
	t->pc -= 4;
	if (c && !taken) {
		c->flags = t->flags;
		c->flags_kept = t->flags_kept;
		c->back = t->x.at;
	}
	for (unsigned i = 0; i < 2 && !c; i++)
		if (not [i].next)
			lp_x86_bind(&t->x, not [i]);
}

/* Compares where the condition holds; else the flags are the instruction's own. */
static bool compare_if(struct lp_tr *t, uint32_t word, bool subtracts, bool immediate)
{
	unsigned cond = F(cond);
	struct lp_x86 *x = &t->x;
	struct lp_x86_fixup holds[2], done = {0};

	if (cond < 14 && branch_behind(t)) {
		compare_and_branch(t, word, subtracts, immediate);
		return true;
	}
	if (cond < 14) {
		struct lp_test test = lp_flags_test(t, cond);
		lp_flags_jump(t, test, true, holds);
		set_flags(x, F(nzcv), subtracts);
		done = lp_x86_jmp_forward(x);
		for (unsigned i = 0; i < 2; i++)
			if (holds[i].next)
				lp_x86_bind(x, holds[i]);
	}
	compare(t, word, subtracts, immediate);
	if (cond < 14)
		lp_x86_bind(x, done);
	lp_flags_are(t, subtracts ? LP_FLAGS_SUB : LP_FLAGS_ADD);
	return true;
}

static bool ccmp_reg(struct lp_tr *t, uint32_t word)
{
	return compare_if(t, word, true, false);
}
static bool ccmp_imm(struct lp_tr *t, uint32_t word)
{
	return compare_if(t, word, true, true);
}
static bool ccmn_reg(struct lp_tr *t, uint32_t word)
{
	return compare_if(t, word, false, false);
}
static bool ccmn_imm(struct lp_tr *t, uint32_t word)
{
	return compare_if(t, word, false, true);
}

const struct lp_emit_row lp_emit_integer[] = {
	{A64_OP_ADD_IMM, add_imm},
	{A64_OP_ADDS_IMM, adds_imm},
	{A64_OP_SUB_IMM, sub_imm},
	{A64_OP_SUBS_IMM, subs_imm},
	{A64_OP_ADD_REG, add_reg},
	{A64_OP_ADDS_REG, adds_reg},
	{A64_OP_SUB_REG, sub_reg},
	{A64_OP_SUBS_REG, subs_reg},
	{A64_OP_ADD_EXT, add_ext},
	{A64_OP_ADDS_EXT, adds_ext},
	{A64_OP_SUB_EXT, sub_ext},
	{A64_OP_SUBS_EXT, subs_ext},
	{A64_OP_ADC, adc},
	{A64_OP_ADCS, adcs},
	{A64_OP_SBC, sbc},
	{A64_OP_SBCS, sbcs},
	{A64_OP_AND_IMM, and_imm},
	{A64_OP_ORR_IMM, orr_imm},
	{A64_OP_EOR_IMM, eor_imm},
	{A64_OP_ANDS_IMM, ands_imm},
	{A64_OP_AND_REG, and_reg},
	{A64_OP_BIC_REG, bic_reg},
	{A64_OP_ORR_REG, orr_reg},
	{A64_OP_ORN_REG, orn_reg},
	{A64_OP_EOR_REG, eor_reg},
	{A64_OP_EON_REG, eon_reg},
	{A64_OP_ANDS_REG, ands_reg},
	{A64_OP_BICS_REG, bics_reg},
	{A64_OP_ADR, adr},
	{A64_OP_ADRP, adrp},
	{A64_OP_MOVZ, movz},
	{A64_OP_MOVN, movn},
	{A64_OP_MOVK, movk},
	{A64_OP_UBFM, ubfm},
	{A64_OP_SBFM, sbfm},
	{A64_OP_BFM, bfm},
	{A64_OP_EXTR, extr},
	{A64_OP_LSLV, lslv},
	{A64_OP_LSRV, lsrv},
	{A64_OP_ASRV, asrv},
	{A64_OP_RORV, rorv},
	{A64_OP_CLZ, clz},
	{A64_OP_CLS, cls},
	{A64_OP_REV_W, rev_w},
	{A64_OP_REV_X, rev_x},
	{A64_OP_REV32, rev32},
	{A64_OP_REV16, rev16},
	{A64_OP_RBIT, rbit},
	{A64_OP_MADD, madd},
	{A64_OP_MSUB, msub},
	{A64_OP_SMADDL, smaddl},
	{A64_OP_SMSUBL, smsubl},
	{A64_OP_UMADDL, umaddl},
	{A64_OP_UMSUBL, umsubl},
	{A64_OP_UMULH, umulh},
	{A64_OP_SMULH, smulh},
	{A64_OP_UDIV, udiv},
	{A64_OP_SDIV, sdiv},
	{A64_OP_CRC32CB, crc32cb},
	{A64_OP_CRC32CH, crc32ch},
	{A64_OP_CRC32CW, crc32cw},
	{A64_OP_CRC32CX, crc32cx},
	{A64_OP_CSEL, csel},
	{A64_OP_CSINC, csinc},
	{A64_OP_CSINV, csinv},
	{A64_OP_CSNEG, csneg},
	{A64_OP_CCMP_REG, ccmp_reg},
	{A64_OP_CCMP_IMM, ccmp_imm},
	{A64_OP_CCMN_REG, ccmn_reg},
	{A64_OP_CCMN_IMM, ccmn_imm},
	{0},
};
