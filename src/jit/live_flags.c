/* Which instructions' flags anybody asks for, in a unit and a little way behind its exits. */
#include "jit/emit.h"

#include "emu/mem.h"

enum { LOOK_AHEAD = 24, LOOK_DEPTH = 2 };

enum { READS_FLAGS = 1, WRITES_FLAGS = 2 };

static uint8_t flags_of(enum lp_a64_op op)
{
	switch (op) {
	case A64_OP_ADDS_IMM:
	case A64_OP_SUBS_IMM:
	case A64_OP_ANDS_IMM:
	case A64_OP_ANDS_REG:
	case A64_OP_BICS_REG:
	case A64_OP_ADDS_REG:
	case A64_OP_SUBS_REG:
	case A64_OP_ADDS_EXT:
	case A64_OP_SUBS_EXT:
	case A64_OP_FCMP:
	case A64_OP_FCMP_ZERO:
	case A64_OP_FCMPE:
	case A64_OP_FCMPE_ZERO:
		return WRITES_FLAGS;
	case A64_OP_ADCS:
	case A64_OP_SBCS:
	case A64_OP_CCMN_REG:
	case A64_OP_CCMN_IMM:
	case A64_OP_CCMP_REG:
	case A64_OP_CCMP_IMM:
	case A64_OP_FCCMP:
	case A64_OP_FCCMPE:
		return READS_FLAGS | WRITES_FLAGS;
	case A64_OP_ADC:
	case A64_OP_SBC:
	case A64_OP_B_COND:
	case A64_OP_CSEL:
	case A64_OP_CSINC:
	case A64_OP_CSINV:
	case A64_OP_CSNEG:
	case A64_OP_FCSEL:
	case A64_OP_RMIF:
	case A64_OP_SETF8:
	case A64_OP_SETF16:
	case A64_OP_CFINV:
	case A64_OP_AXFLAG:
	case A64_OP_XAFLAG:
	case A64_OP_MRS:
	case A64_OP_MSR_REG:
	case A64_OP_MSR_IMM:
	case A64_OP_SUBPS:
		return READS_FLAGS;
	default:
		return 0;
	}
}

/* What has been looked at. */
struct looks {
	struct lp_jit *jit;
	struct lp_look *at; /* LP_UNIT_LOOKED */
	unsigned nr;
};

static bool note_look(struct looks *l, uint64_t begin, uint64_t end)
{
	if (l->nr == LP_UNIT_LOOKED)
		return false;
	l->at[l->nr++] = (struct lp_look){.range = {begin, end}};
	return true;
}

/* DDI 0487 C4.1.88. */
bool lp_jit_branch_target(uint64_t pc, uint32_t word, uint64_t *target)
{
	int64_t offset;

	if ((word & 0x7c000000) == 0x14000000) /* b, bl */
		offset = (int64_t)((uint64_t)word << 38) >> 38;
	else if ((word & 0xff000000) == 0x54000000 || (word & 0x7e000000) == 0x34000000) /* b.cond, cbz, cbnz */
		offset = (int64_t)((uint64_t)word << 40) >> 45;
	else if ((word & 0x7e000000) == 0x36000000) /* tbz, tbnz */
		offset = (int64_t)((uint64_t)word << 45) >> 50;
	else
		return false;
	*target = pc + (uint64_t)offset * 4;
	return true;
}

/* What flags_of() says, in haste: without a look into the table, and with "reads" for what is seldom. */
static uint8_t flags_of_word(uint32_t word)
{
	switch (word >> 24 & 0x1f) {
	case 0x0a: /* logic on registers: ands, bics */
		return (word & 0x7f000000) == 0x6a000000 ? WRITES_FLAGS : 0;
	case 0x0b: /* sums of registers */
	case 0x11: /* and with immediates */
		return word >> 29 & 1 ? WRITES_FLAGS : 0;
	case 0x12: /* ands with an immediate; movn and the like */
		return (word & 0x7f800000) == 0x72000000 ? WRITES_FLAGS : 0;
	case 0x1a: /* adc, rmif, setf, ccmp, csel; shifts, divisions */
		return (word >> 21 & 7) <= 4 ? READS_FLAGS : 0;
	case 0x1e: /* scalar floating point: fcmp; fccmp and fcsel; and others besides */
		if ((word & 0xff20fc07) == 0x1e202000)
			return WRITES_FLAGS;
		return word >> 21 & 1 && word >> 10 & 1 ? READS_FLAGS : 0;
	case 0x14: /* b.cond; exceptions; b */
		return (word & 0xff000000) == 0x54000000 ? READS_FLAGS : 0;
	case 0x15: /* system registers, hints, barriers; b */
		return (word & 0xfe000000) == 0xd4000000 && word != 0xd503201f ? READS_FLAGS : 0;
	default:
		return 0;
	}
}

/* br, blr, ret, svc, brk and the like, and words that are no instructions at all. */
static bool is_the_end(uint32_t word)
{
	return (word & 0xfe000000) == 0xd6000000 || (word & 0xff000000) == 0xd4000000 || word >> 16 == 0;
}

/* Whether code at pc may ask for the flags with which it is entered.  A look at a few instructions, and behind up to
 * `depth` branches; what was seen is noted, as the answer holds as long as they do. */
static bool asks_for_flags(struct looks *l, uint64_t pc, unsigned depth)
{
	uint64_t begin = pc, until = lp_align_down(pc, LP_GUEST_PAGE) + LP_GUEST_PAGE, target;
	uint32_t words[LOOK_AHEAD];
	size_t nr = (until - pc) / 4 < LOOK_AHEAD ? (until - pc) / 4 : LOOK_AHEAD;

	if (l->nr == LP_UNIT_LOOKED || pc & 3 || lp_mem_read(pc, words, nr * 4))
		return true;
	for (size_t i = 0; i < nr; i++, pc += 4) {
		uint8_t flags = flags_of_word(words[i]);
		/* Who stops at a breakpoint may look at them. */
		if (flags & READS_FLAGS || is_the_end(words[i]) || lp_block_is_breakpoint(l->jit->emu->blocks, pc))
			return true;
		if (flags & WRITES_FLAGS)
			return !note_look(l, begin, pc + 4);
		if (lp_jit_branch_target(pc, words[i], &target)) {
			if (depth == 0 || asks_for_flags(l, target, depth - 1))
				return true;
			if ((words[i] & 0x7c000000) == 0x14000000) /* b, bl */
				return !note_look(l, begin, pc + 4);
		}
	}
	return true;
}

bool lp_jit_flags_are_unasked(struct lp_jit *jit, uint64_t pc)
{
	struct lp_look looked[LP_UNIT_LOOKED];
	struct looks l = {.jit = jit, .at = looked};

	return !asks_for_flags(&l, pc, LOOK_DEPTH);
}

/* From the end to the begin. */
void lp_tr_find_live_flags(struct lp_tr *t)
{
	bool wanted = false;
	struct looks l = {.jit = t->jit, .at = t->looked};
	uint64_t target;
	unsigned i = t->nr;

	if (!lp_jit_ends(t->insns[i - 1].op, t->insns[i - 1].word))
		wanted = asks_for_flags(&l, t->start + t->nr * 4, LOOK_DEPTH);
	t->end_live = wanted;
	while (i-- > 0) {
		enum lp_a64_op op = t->insns[i].op;
		uint8_t flags = flags_of(op);
		if (lp_jit_branch_target(t->start + i * 4, t->insns[i].word, &target)) {
			bool asks = asks_for_flags(&l, target, LOOK_DEPTH);
			t->insns[i].flags_live = wanted;
			t->insns[i].exit_live = asks;
			wanted |= asks;
		} else {
			wanted |= lp_jit_ends(op, t->insns[i].word);
			t->insns[i].flags_live = wanted;
			t->insns[i].exit_live = false;
		}
		if (flags & WRITES_FLAGS)
			wanted = false;
		if (flags & READS_FLAGS || lp_may_fault(t->insns[i].word))
			wanted = true;
	}
	t->nr_looked = l.nr;
}
