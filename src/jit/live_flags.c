/* Which instructions' flags anybody asks for, in a unit and a little way behind its exits. */
#include "jit/emit.h"

#include "emu/mem.h"
#include "jit/cache.h"

enum { LOOK_AHEAD = LP_LOOK_WORDS, LOOK_DEPTH = 2 };

enum { READS_FLAGS = 1, WRITES_FLAGS = 2, CHANGES_FLAGS = 4 }; /* all of them; some, perhaps by what they were */

static const uint8_t flags_of[A64_OP_COUNT] = {
	[A64_OP_ADDS_IMM] = WRITES_FLAGS,
	[A64_OP_SUBS_IMM] = WRITES_FLAGS,
	[A64_OP_ANDS_IMM] = WRITES_FLAGS,
	[A64_OP_ANDS_REG] = WRITES_FLAGS,
	[A64_OP_BICS_REG] = WRITES_FLAGS,
	[A64_OP_ADDS_REG] = WRITES_FLAGS,
	[A64_OP_SUBS_REG] = WRITES_FLAGS,
	[A64_OP_ADDS_EXT] = WRITES_FLAGS,
	[A64_OP_SUBS_EXT] = WRITES_FLAGS,
	[A64_OP_FCMP] = WRITES_FLAGS,
	[A64_OP_FCMP_ZERO] = WRITES_FLAGS,
	[A64_OP_FCMPE] = WRITES_FLAGS,
	[A64_OP_FCMPE_ZERO] = WRITES_FLAGS,
	[A64_OP_ADCS] = READS_FLAGS | WRITES_FLAGS,
	[A64_OP_SBCS] = READS_FLAGS | WRITES_FLAGS,
	[A64_OP_CCMN_REG] = READS_FLAGS | WRITES_FLAGS,
	[A64_OP_CCMN_IMM] = READS_FLAGS | WRITES_FLAGS,
	[A64_OP_CCMP_REG] = READS_FLAGS | WRITES_FLAGS,
	[A64_OP_CCMP_IMM] = READS_FLAGS | WRITES_FLAGS,
	[A64_OP_FCCMP] = READS_FLAGS | WRITES_FLAGS,
	[A64_OP_FCCMPE] = READS_FLAGS | WRITES_FLAGS,
	[A64_OP_ADC] = READS_FLAGS,
	[A64_OP_SBC] = READS_FLAGS,
	[A64_OP_B_COND] = READS_FLAGS,
	[A64_OP_CSEL] = READS_FLAGS,
	[A64_OP_CSINC] = READS_FLAGS,
	[A64_OP_CSINV] = READS_FLAGS,
	[A64_OP_CSNEG] = READS_FLAGS,
	[A64_OP_FCSEL] = READS_FLAGS,
	[A64_OP_MRS] = READS_FLAGS,
	[A64_OP_SUBPS] = READS_FLAGS,
	[A64_OP_RMIF] = READS_FLAGS | CHANGES_FLAGS,
	[A64_OP_SETF8] = READS_FLAGS | CHANGES_FLAGS,
	[A64_OP_SETF16] = READS_FLAGS | CHANGES_FLAGS,
	[A64_OP_CFINV] = READS_FLAGS | CHANGES_FLAGS,
	[A64_OP_AXFLAG] = READS_FLAGS | CHANGES_FLAGS,
	[A64_OP_XAFLAG] = READS_FLAGS | CHANGES_FLAGS,
	[A64_OP_MSR_REG] = READS_FLAGS | CHANGES_FLAGS,
	[A64_OP_MSR_IMM] = READS_FLAGS | CHANGES_FLAGS,
};

/* An answer of asks_for_flags().  That nobody asks is what a deeper look says as well, that somebody may is what a shallower one
 * does; of others nothing is concluded, as whoever looks without these answers (lp_jit_flags_are_unasked()) is to find the same. */
struct answer {
	uint64_t pc;
	unsigned depth;
	bool asks;
};
enum { ANSWERS = 2 * LP_REGION_LOOKED };

/* What has been looked at. */
struct looks {
	struct lp_jit *jit;
	struct lp_look *at;
	unsigned nr, max;
	unsigned nr_answers;
	struct answer answers[ANSWERS];
};

/* The answers are written before they are read. */
static void begin_looks(struct looks *l, struct lp_jit *jit, struct lp_look *at, unsigned max)
{
	l->jit = jit;
	l->at = at;
	l->nr = l->nr_answers = 0;
	l->max = max;
}

/* Without words: of what is not kept for another day. */
static bool note_look(struct looks *l, uint64_t begin, uint64_t end, const uint32_t *words)
{
	if (l->nr == l->max)
		return false;
	l->at[l->nr++] = (struct lp_look){.range = {begin, end},
					  .seen = l->jit->cache && words ? lp_cache_hash(0, words, end - begin) : 0};
	return true;
}

/* DDI 0487 C4.1.88. */
static inline bool branch_target(uint64_t pc, uint32_t word, uint64_t *target)
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

bool lp_jit_branch_target(uint64_t pc, uint32_t word, uint64_t *target)
{
	return branch_target(pc, word, target);
}

/* What flags_of[] says, in haste: without a look into the table, and with "reads" for what is seldom. */
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

/* By bits 24 to 28 of a word: those that one of these has something to say of. */
static const uint32_t remarkable = 1U << 0x00 | 1U << 0x0a | 1U << 0x0b | 1U << 0x11 | 1U << 0x12 | 1U << 0x14 |
				   1U << 0x15 | 1U << 0x16 | 1U << 0x17 | 1U << 0x1a | 1U << 0x1e;

/* Whether code at pc may ask for the flags with which it is entered. */
static bool asks_for_flags(struct looks *l, uint64_t pc, unsigned depth);

/* A look at a few instructions, and behind up to `depth` branches; what was seen is noted, as the answer holds as long as they
 * do. */
static bool look_for_flags(struct looks *l, uint64_t pc, unsigned depth)
{
	uint64_t begin = pc, until = lp_align_down(pc, LP_GUEST_PAGE) + LP_GUEST_PAGE, target;
	uint32_t words[LOOK_AHEAD];
	size_t nr = (until - pc) / 4 < LOOK_AHEAD ? (until - pc) / 4 : LOOK_AHEAD;
	bool breaks = lp_block_breakpoints_exist(l->jit->emu->blocks);

	if (l->nr == l->max || pc & 3 || lp_mem_read(pc, words, nr * 4))
		return true;
	for (size_t i = 0; i < nr; i++, pc += 4) {
		uint8_t flags;
		if (!breaks && !(remarkable >> (words[i] >> 24 & 0x1f) & 1))
			continue;
		flags = flags_of_word(words[i]);
		/* Who stops at a breakpoint may look at them. */
		if (flags & READS_FLAGS || is_the_end(words[i]) ||
		    (breaks && lp_block_is_breakpoint(l->jit->emu->blocks, pc)))
			return true;
		if (flags & WRITES_FLAGS)
			return !note_look(l, begin, pc + 4, words);
		if (branch_target(pc, words[i], &target)) {
			if (depth == 0 || asks_for_flags(l, target, depth - 1))
				return true;
			if ((words[i] & 0x7c000000) == 0x14000000) /* b, bl */
				return !note_look(l, begin, pc + 4, words);
		}
	}
	return true;
}

static bool asks_for_flags(struct looks *l, uint64_t pc, unsigned depth)
{
	bool asks;

	/* Many branches of a unit go to the same place. */
	for (unsigned i = 0; i < l->nr_answers; i++) {
		const struct answer *a = &l->answers[i];
		if (a->pc == pc && (a->asks ? a->depth >= depth : a->depth <= depth))
			return a->asks;
	}
	asks = look_for_flags(l, pc, depth);
	if (l->nr_answers < ANSWERS)
		l->answers[l->nr_answers++] = (struct answer){pc, depth, asks};
	return asks;
}

bool lp_jit_flags_are_unasked(struct lp_jit *jit, uint64_t pc)
{
	/* Whoever has found that nobody asks had all of it noted, though not at each depth: this has room for that. */
	struct lp_look looked[(LOOK_DEPTH + 1) * LP_REGION_LOOKED];
	struct looks l;

	begin_looks(&l, jit, looked, sizeof looked / sizeof looked[0]);
	return !asks_for_flags(&l, pc, LOOK_DEPTH);
}

/* ---- of a region ---- */

/* What is asked where branches come together, and who looks at a fault sees what was current where the line began. */
struct wanted {
	bool asked, live;
};

static struct wanted wanted_of(const struct lp_insn *to)
{
	return (struct wanted){to->asked, to->is_leader && !to->inherits ? to->asked : to->live};
}

static struct wanted wanted_at(struct looks *l, const struct lp_tr *t, uint64_t pc)
{
	int i = lp_region_at(t, pc);
	bool asks;

	if (i >= 0)
		return wanted_of(&t->insns[i]);
	asks = asks_for_flags(l, pc, LOOK_DEPTH);
	return (struct wanted){asks, asks};
}

static void find_before(struct looks *l, struct lp_tr *t, unsigned i)
{
	struct lp_insn *insn = &t->insns[i];
	uint8_t flags = flags_of[insn->op];
	struct wanted w = {0}, taken;
	uint64_t pc = t->start + i * 4, target;
	int to;

	if (!lp_jit_goes_elsewhere(insn->op, insn->word))
		w = wanted_at(l, t, pc + 4);
	insn->flags_live = w.live;
	insn->exit_live = false;
	if (branch_target(pc, insn->word, &target)) {
		taken = wanted_at(l, t, target);
		to = lp_region_at(t, target);
		insn->exit_live = taken.live && !(to >= 0 && t->insns[to].inherits);
		w.asked |= taken.asked;
		w.live |= taken.live;
	}
	if (flags & WRITES_FLAGS)
		w.asked = w.live = false;
	if (flags & READS_FLAGS)
		w.asked = w.live = true;
	w.live |= lp_may_fault(insn->word);
	if (!insn->is_head)
		insn->asked = w.asked;
	insn->live = w.live;
}

/* Loops are left at their heads when somebody wants the thread: what is asked there is what it asks that looks ahead there.
 * All else goes forward, and so is known when it is come to from behind. */
static void find_in_region(struct lp_tr *t)
{
	struct looks l;
	uint64_t end = t->start + t->nr * 4, page = lp_align_down(end - 1, LP_GUEST_PAGE);

	begin_looks(&l, t->jit, t->looked, LP_REGION_LOOKED);
	/* Not found where the region begins, when it changes. */
	if (page > t->start)
		note_look(&l, page, end, NULL);
	for (unsigned i = 0; i < t->nr; i++)
		if (t->insns[i].is_head)
			t->insns[i].asked = asks_for_flags(&l, t->start + i * 4, LOOK_DEPTH);
	for (unsigned i = t->nr; i-- > 0;)
		if (t->insns[i].is_in)
			find_before(&l, t, i);
	t->nr_looked = l.nr;
}

/* ---- of a unit ---- */

/* The first instruction that writes any; t->nr: none.  Up to there flags are in memory, and whether an exit asks for them is
 * all one. */
static unsigned find_first_writer(const struct lp_tr *t)
{
	unsigned i = 0;

	while (i < t->nr && !(flags_of[t->insns[i].op] & (WRITES_FLAGS | CHANGES_FLAGS)))
		i++;
	return i;
}

/* From the end to the begin. */
static void find_in_line(struct lp_tr *t)
{
	bool wanted = false;
	struct looks l;
	uint64_t target;
	unsigned i = t->nr, first = find_first_writer(t);

	begin_looks(&l, t->jit, t->looked, LP_UNIT_LOOKED);
	if (first == t->nr)
		wanted = true;
	else if (!lp_jit_ends(t->insns[i - 1].op, t->insns[i - 1].word))
		wanted = asks_for_flags(&l, t->start + t->nr * 4, LOOK_DEPTH);
	t->end_live = wanted;
	while (i-- > 0) {
		enum lp_a64_op op = t->insns[i].op;
		uint8_t flags = flags_of[op];
		if (branch_target(t->start + i * 4, t->insns[i].word, &target)) {
			bool asks = i <= first || asks_for_flags(&l, target, LOOK_DEPTH);
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

void lp_tr_find_live_flags(struct lp_tr *t)
{
	if (t->is_region)
		find_in_region(t);
	else
		find_in_line(t);
}
