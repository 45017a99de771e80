/* Branches: to slots, through the jump cache, and back by the shadow stack. */
#include "emu/branch.h"
#include "emu/hot.h"
#include "jit/emit.h"

#undef RD
#undef RN
#undef RM
#undef RA

/* ---- within a region ---- */

static void add_pending(struct lp_tr *t, unsigned leader, struct lp_x86_fixup from)
{
	if (t->nr_pending == LP_PENDING_MAX)
		t->failed = true;
	else if (from.next)
		t->pending[t->nr_pending++] = (struct lp_pending){leader, from};
}

/* Whose flags a leader that inherits them goes on with. */
static void bequeath(struct lp_tr *t, unsigned leader)
{
	t->insns[leader].flags = t->flags;
	t->insns[leader].flags_kept = t->flags_kept;
}

/* The next code that is emitted. */
static bool is_next(const struct lp_tr *t, unsigned leader)
{
	unsigned i = t->i + 1;

	while (i < leader && !t->insns[i].is_in)
		i++;
	return i == leader;
}

static void goto_leader(struct lp_tr *t, unsigned leader)
{
	lp_v_loop(t);
	bequeath(t, leader);
	if (t->insns[leader].code)
		lp_x86_jmp_back(&t->x, t->insns[leader].code);
	else if (!is_next(t, leader))
		add_pending(t, leader, lp_x86_jmp_forward(&t->x));
}

/* Forward, where nothing needs to be done before. */
static bool jump_if(struct lp_tr *t, struct lp_test test, unsigned leader)
{
	struct lp_x86_fixup taken[2];

	bequeath(t, leader);
	if (t->insns[leader].code || t->jit->emu->options.stats || !lp_v_is_met(t) ||
	    (t->insns[t->i].exit_live && t->flags != LP_FLAGS_IN_MEMORY && !t->flags_kept))
		return false;
	lp_flags_jump(t, test, true, taken);
	add_pending(t, leader, taken[0]);
	add_pending(t, leader, taken[1]);
	return true;
}

void lp_region_fall(struct lp_tr *t)
{
	if (t->insns[t->i].flags_live)
		lp_flags_keep(t);
	if (t->i + 1 < t->nr && t->insns[t->i + 1].is_in)
		lp_v_loop(t);
	else
		lp_emit_goto(t, t->pc + 4);
}

void lp_region_arrive(struct lp_tr *t)
{
	struct lp_insn *insn = &t->insns[t->i];

	for (unsigned k = 0; k < t->nr_pending; k++)
		if (t->pending[k].leader == t->i)
			lp_x86_bind(&t->x, t->pending[k].from);
	insn->code = t->x.at;
	t->flags = insn->inherits ? insn->flags : LP_FLAGS_IN_MEMORY;
	t->flags_kept = insn->inherits ? insn->flags_kept : true;
	lp_v_meet(t);
}

/* ---- loops that become hot ---- */

bool lp_emit_counts(const struct lp_tr *t, uint64_t pc)
{
	return t->jit->tier == LP_JIT_BOTH && !t->is_region && t->pc - pc < LP_REGION_MAX * 4;
}

/* Threads may lose turns of each other's, which does no harm: one of them comes to it exactly, sooner or later.  Nothing is
 * written any more when it is over. */
void lp_emit_count(struct lp_tr *t, uint64_t pc)
{
	struct lp_x86_rm count = lp_rm_abs((const void *)lp_jit_count_of(t->jit, lp_tr_slot(t, pc)));
	struct lp_x86_fixup over, go_on;
	struct lp_x86 *x = &t->x;

	lp_x86_alu_imm(x, LP_ALU_CMP, 0, count, t->jit->hot);
	over = lp_x86_jcc_forward_short(x, LP_CC_GE);
	lp_x86_alu_imm(x, LP_ALU_ADD, 0, count, 1);
	lp_x86_alu_imm(x, LP_ALU_CMP, 0, count, t->jit->hot);
	go_on = lp_x86_jcc_forward_short(x, LP_CC_NE);
	lp_x86_mov_imm(x, LP_RAX, pc);
	lp_x86_jmp(x, t->jit->stubs.exit_lookup);
	lp_x86_bind(x, over);
	lp_x86_bind(x, go_on);
}

/* ---- to a known pc ---- */

void lp_emit_goto(struct lp_tr *t, uint64_t pc)
{
	int to = t->is_region ? lp_region_at(t, pc) : -1;

	if (t->i < t->nr)
		lp_tr_count_rest(t, false);
	if (to >= 0) {
		goto_leader(t, (unsigned)to);
		return;
	}
	if (t->is_region) {
		lp_pins_leave(t);
	} else if (pc == t->start && t->is_loop) {
		lp_v_loop(t);
		lp_x86_jmp_back(&t->x, t->head);
		return;
	}
	lp_v_flush(t);
	if (t->i < t->nr && lp_emit_counts(t, pc))
		lp_emit_count(t, pc);
	lp_x86_jmp_rm(&t->x, lp_rm_abs(lp_tr_slot(t, pc)));
}

/* Behind the taken exit of a conditional branch. */
static void exit_cold(struct lp_tr *t, const struct lp_cold *c)
{
	if (t->insns[c->i].exit_live)
		lp_flags_keep(t);
	lp_emit_goto(t, c->arg);
}

void lp_emit_branch_if(struct lp_tr *t, struct lp_test test, uint64_t pc)
{
	struct lp_x86_fixup taken[2];
	struct lp_cold *c;
	int to = t->is_region ? lp_region_at(t, pc) : -1;

	if (pc == t->start)
		t->is_loop = true;
	if (to >= 0 && jump_if(t, test, (unsigned)to))
		return;
	lp_flags_jump(t, test, true, taken);
	c = lp_cold_add(t, exit_cold);
	c->arg = pc;
	c->from[0] = taken[0];
	c->from[1] = taken[1];
}

/* The code of a loop's head that is at that pc; NULL: none that is known yet. */
static const uint8_t *head_at(const struct lp_tr *t, uint64_t pc)
{
	int leader = t->is_region ? lp_region_at(t, pc) : -1;

	if (leader >= 0)
		return t->insns[leader].code;
	return pc == t->start && !t->is_region ? t->head : NULL;
}

/* To the head, where most of the time goes: a jump that falls through when the loop ends. */
static bool loop_if(struct lp_tr *t, struct lp_test test, uint64_t pc)
{
	const uint8_t *head = head_at(t, pc);

	if (!head || test.parity != LP_PARITY_NO_MATTER || t->jit->emu->options.stats)
		return false;
	t->is_loop = true;
	if (t->insns[t->i].exit_live)
		lp_flags_keep(t);
	lp_v_loop(t);
	lp_x86_jcc_back(&t->x, test.cc, head);
	return true;
}

/* Back to another unit is most often a loop as well: what goes there stands here, so that the host jumps once. */
static bool go_back_if(struct lp_tr *t, struct lp_test test, uint64_t pc)
{
	bool kept = t->flags_kept;
	struct lp_x86_fixup over;

	if (t->is_region || pc >= t->pc || pc == t->start || test.parity != LP_PARITY_NO_MATTER || t->v_dirty)
		return false;
	over = lp_x86_jcc_forward_short(&t->x, test.cc ^ 1);
	if (t->insns[t->i].exit_live)
		lp_flags_keep(t);
	lp_emit_goto(t, pc);
	t->flags_kept = kept;
	lp_x86_bind(&t->x, over);
	return true;
}

static void branch_if(struct lp_tr *t, struct lp_test test, uint64_t pc)
{
	if (!loop_if(t, test, pc) && !go_back_if(t, test, pc))
		lp_emit_branch_if(t, test, pc);
}

static bool b(struct lp_tr *t, uint32_t word)
{
	uint64_t pc = lp_branch_target(t, word, 0, 26);

	if (pc == t->start)
		t->is_loop = true;
	if (t->insns[t->i].exit_live)
		lp_flags_keep(t);
	lp_emit_goto(t, pc);
	t->has_ended = true;
	return true;
}

bool lp_branch_goes_as_it_is(const struct lp_tr *t, unsigned i)
{
	uint64_t target;

	return lp_jit_branch_target(t->start + i * 4, t->insns[i].word, &target) &&
	       (!head_at(t, target) || lp_v_is_met(t));
}

bool lp_emit_b_cond(struct lp_tr *t, uint32_t word)
{
	uint64_t pc = lp_branch_target(t, word, 5, 19);
	unsigned cond = F(condb);

	if (cond >= 14) {
		if (pc == t->start)
			t->is_loop = true;
		if (t->insns[t->i].exit_live)
			lp_flags_keep(t);
		lp_emit_goto(t, pc);
		t->has_ended = true; /* what follows in the unit is not reached */
		return true;
	}
	branch_if(t, lp_flags_test(t, cond), pc);
	return true;
}

static bool compare_branch(struct lp_tr *t, uint32_t word, enum lp_x86_cc cc)
{
	unsigned r = lp_reads(F(Rt)), w = F(sf);

	lp_flags_clobber(t);
	if (t->pin[r] >= 0)
		lp_x86_test(&t->x, w, lp_x_rm(t, r), (unsigned)t->pin[r]);
	else
		lp_x86_alu_imm(&t->x, LP_ALU_CMP, w, lp_x_rm(t, r), 0);
	branch_if(t, (struct lp_test){cc, LP_PARITY_NO_MATTER}, lp_branch_target(t, word, 5, 19));
	return true;
}

static bool cbz(struct lp_tr *t, uint32_t word)
{
	return compare_branch(t, word, LP_CC_E);
}
static bool cbnz(struct lp_tr *t, uint32_t word)
{
	return compare_branch(t, word, LP_CC_NE);
}

static bool test_branch(struct lp_tr *t, uint32_t word, bool set)
{
	unsigned r = lp_reads(F(Rt)), bit = F(b5) << 5 | F(b40);
	uint64_t pc = lp_branch_target(t, word, 5, 14);
	enum lp_x86_cc cc = set ? LP_CC_NE : LP_CC_E;
	struct lp_x86 *x = &t->x;

	lp_flags_clobber(t);
	if (bit == 31 || bit == 63) {
		if (t->pin[r] >= 0)
			lp_x86_test(x, bit == 63, lp_x_rm(t, r), (unsigned)t->pin[r]);
		else
			lp_x86_alu_imm(x, LP_ALU_CMP, bit == 63, lp_x_rm(t, r), 0);
		cc = set ? LP_CC_S : LP_CC_NS;
	} else if (bit < 8) {
		lp_x86_test_imm_sized(x, 1, lp_x_rm(t, r), (int32_t)(1u << bit));
	} else if (bit < 32) {
		lp_x86_test_imm(x, 0, lp_x_rm(t, r), (int32_t)(1u << bit));
	} else {
		lp_x86_bt_imm(x, LP_BIT_TEST, 1, lp_x_rm(t, r), bit);
		cc = set ? LP_CC_B : LP_CC_AE;
	}
	branch_if(t, (struct lp_test){cc, LP_PARITY_NO_MATTER}, pc);
	return true;
}

static bool tbz(struct lp_tr *t, uint32_t word)
{
	return test_branch(t, word, false);
}
static bool tbnz(struct lp_tr *t, uint32_t word)
{
	return test_branch(t, word, true);
}

/* ---- calls ---- */

/* Too deep for the shadow stack: all that is on it is forgotten.  Who returns to it finds his way by the jump cache. */
static void overflow(struct lp_tr *t, const struct lp_cold *c)
{
	lp_x86_mov(&t->x, 1, LP_RSP, LP_CPU(jit.shadow_base));
	lp_x86_jmp_back(&t->x, c->back);
}

/* x30 = the next pc, which goes onto the shadow stack as well; in rdx. */
static void push_return(struct lp_tr *t)
{
	struct lp_x86 *x = &t->x;
	struct lp_cold *c;

	lp_x86_mov_address(x, LP_RDX, t->pc + 4);
	lp_x_write(t, 30, LP_RDX);
	lp_x86_alu(x, LP_ALU_CMP, 1, LP_RSP, LP_CPU(jit.shadow_limit));
	c = lp_cold_add(t, overflow);
	c->from[0] = lp_x86_jcc_forward(x, LP_CC_B);
	c->back = x->at;
	lp_x86_push(x, LP_RDX);
}

/* Where the host's return comes to: on through the slot, so that code that was replaced meanwhile is not gone on with. */
static void returned(struct lp_tr *t)
{
	lp_x86_pop(&t->x, LP_RDX); /* what push_return() has pushed */
	lp_x86_jmp_rm(&t->x, lp_rm_abs(lp_tr_slot(t, t->pc + 4)));
	t->has_ended = true;
}

static bool bl(struct lp_tr *t, uint32_t word)
{
	uint64_t pc = lp_branch_target(t, word, 0, 26);

	if (t->insns[t->i].exit_live)
		lp_flags_keep(t);
	lp_v_flush(t);
	push_return(t);
	lp_x86_call_rm(&t->x, lp_rm_abs(lp_tr_slot(t, pc)));
	returned(t);
	return true;
}

void lp_emit_jump_entry(struct lp_x86 *x)
{
	_Static_assert(sizeof(struct lp_jump_entry) == 16, "pc >> 2 times 16 is pc times 4");
	lp_x86_mov(x, 0, LP_RCX, lp_rm_reg(LP_RAX));
	lp_x86_alu_imm(x, LP_ALU_AND, 0, lp_rm_reg(LP_RCX), (LP_JUMPS - 1) << 2);
	lp_x86_mov(x, 1, LP_RDX, LP_CPU(jit.jumps));
	lp_x86_alu(x, LP_ALU_CMP, 1, LP_RAX, lp_rm_sib(LP_RDX, LP_RCX, 4, offsetof(struct lp_jump_entry, pc)));
}

/* The kind of branch matters where a guarded page is come to; those are never in the jump cache. */
static void lookup_cold(struct lp_tr *t, const struct lp_cold *c)
{
	if (c->arg != LP_BTYPE_NONE)
		lp_x86_store_imm(&t->x, 1, LP_CPU(btype), (int32_t)c->arg);
	lp_x86_jmp(&t->x, t->jit->stubs.exit_lookup);
}

/* rdx: the slot of the pc in rax. */
static void find_jump(struct lp_tr *t, unsigned btype)
{
	struct lp_cold *c;

	lp_emit_jump_entry(&t->x);
	c = lp_cold_add(t, lookup_cold);
	c->from[0] = lp_x86_jcc_forward(&t->x, LP_CC_NE);
	c->arg = btype;
	lp_x86_mov(&t->x, 1, LP_RDX, lp_rm_sib(LP_RDX, LP_RCX, 4, offsetof(struct lp_jump_entry, slot)));
}

/* Nothing of guarded pages is translated: the branch is from none. */
static bool br(struct lp_tr *t, uint32_t word)
{
	lp_flags_clobber(t);
	lp_v_flush(t);
	lp_x_copy(t, 1, lp_reads(F(Rn)), LP_RAX);
	find_jump(t, LP_BTYPE_JUMP_ANY);
	lp_x86_jmp_rm(&t->x, lp_rm_mem(LP_RDX, offsetof(struct lp_jit_slot, code)));
	t->has_ended = true;
	return true;
}

static bool blr(struct lp_tr *t, uint32_t word)
{
	struct lp_x86 *x = &t->x;

	lp_flags_clobber(t);
	lp_v_flush(t);
	lp_x_copy(t, 1, lp_reads(F(Rn)), LP_RAX);
	lp_x86_mov_address(x, LP_RDX, t->pc + 4);
	lp_x_write(t, 30, LP_RDX);
	find_jump(t, LP_BTYPE_CALL);
	lp_x86_mov(x, 1, LP_RAX, lp_rm_reg(LP_RDX));
	push_return(t);
	lp_x86_call_rm(x, lp_rm_mem(LP_RAX, offsetof(struct lp_jit_slot, code)));
	returned(t);
	return true;
}

static void ret_cold(struct lp_tr *t, const struct lp_cold *c)
{
	lp_x86_jmp(&t->x, t->jit->stubs.ret_miss);
}

static bool ret(struct lp_tr *t, uint32_t word)
{
	struct lp_cold *c;

	lp_flags_clobber(t);
	lp_v_flush(t);
	lp_x_copy(t, 1, lp_reads(F(Rn)), LP_RAX);
	lp_x86_alu(&t->x, LP_ALU_CMP, 1, LP_RAX, lp_rm_mem(LP_RSP, 8));
	c = lp_cold_add(t, ret_cold);
	c->from[0] = lp_x86_jcc_forward(&t->x, LP_CC_NE);
	lp_x86_ret(&t->x);
	t->has_ended = true;
	return true;
}

static bool nop(struct lp_tr *t, uint32_t word)
{
	return true;
}

const struct lp_emit_row lp_emit_branch[] = {
	{A64_OP_B, b},
	{A64_OP_BL, bl},
	{A64_OP_B_COND, lp_emit_b_cond},
	{A64_OP_CBZ, cbz},
	{A64_OP_CBNZ, cbnz},
	{A64_OP_TBZ, tbz},
	{A64_OP_TBNZ, tbnz},
	{A64_OP_BR, br},
	{A64_OP_BLR, blr},
	{A64_OP_RET, ret},
	{A64_OP_NOP, nop},
	{A64_OP_BTI, nop},
	{A64_OP_HINT, nop},
	{0},
};
