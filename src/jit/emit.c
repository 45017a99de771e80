/* What functions that emit code share: slots, counters, cold code, and the interpreter's functions. */
#include "jit/emit.h"

#include <string.h>

#include "emu/vdso.h"

struct lp_jit_slot *lp_tr_slot(struct lp_tr *t, uint64_t pc)
{
	struct lp_jit_slot *slot = lp_jit_slot_of(t->jit, pc);

	if (slot)
		return slot;
	t->failed = true;
	lp_jit_set_full(t->jit);
	return &t->jit->slot_array[0];
}

void lp_tr_count(struct lp_tr *t, int32_t nr)
{
	if (t->jit->emu->options.stats && nr)
		lp_x86_alu_imm(&t->x, LP_ALU_ADD, 1, LP_CPU(nr_insns), nr);
}

void lp_tr_count_rest(struct lp_tr *t, bool again)
{
	int32_t rest = t->is_region ? t->insns[t->i].nr_behind : (int32_t)t->nr - (int32_t)t->i - 1;

	lp_tr_count(t, again ? rest : -rest);
}

struct lp_cold *lp_cold_add(struct lp_tr *t, lp_cold_fn *emit)
{
	struct lp_cold *c = &t->cold[t->nr_cold];

	if (t->nr_cold + 1 < LP_COLD_MAX)
		t->nr_cold++;
	else
		t->failed = true;
	*c = (struct lp_cold){
		.emit = emit, .i = t->i, .flags = t->flags, .flags_kept = t->flags_kept, .v_loaded = t->v_loaded};
	c->v_dirty = t->v_dirty;
	c->v_written = t->v_written;
	c->v_is_s = t->v_is_s;
	c->v_is_d = t->v_is_d;
	c->v_cut_s = t->v_cut_s;
	c->v_cut_d = t->v_cut_d;
	memcpy(c->v_of, t->v_of, sizeof c->v_of);
	t->v_spread = t->v_rounds = -1; /* who comes back from C has lost it */
	return c;
}

void lp_cold_back(struct lp_tr *t, struct lp_cold *c)
{
	if (c)
		c->back = t->x.at;
}

/* The uop with which the interpreter's function executes instruction i. */
static const struct lp_uop *uop_of(struct lp_tr *t, unsigned i)
{
	struct lp_uop *u = &t->uops[2 * t->nr_uops];

	for (unsigned k = 0; k < t->nr_uops; k++)
		if (t->uops[2 * k].pc == t->start + i * 4)
			return (const struct lp_uop *)t->kept + 2 * k;
	lp_lower(t->jit->emu->blocks, u, t->insns[i].word, t->start + i * 4);
	lp_vdso_lower(t->jit->emu, u);
	u[1] = lp_jit_stop;
	t->nr_uops++;
	return (const struct lp_uop *)t->kept + (u - t->uops);
}

static void call_stub(struct lp_tr *t, unsigned i, const void *stub)
{
	const struct lp_uop *u = uop_of(t, i);

	lp_x86_mov_pointer(&t->x, LP_RAX, u);
	lp_x86_call(&t->x, stub);
}

/* Whose function may leave with a fault. */
static void call_fallback(struct lp_tr *t)
{
	lp_tr_count_rest(t, false);
	if (t->is_region)
		lp_pins_leave(t);
	call_stub(t, t->i, t->jit->stubs.fallback);
	if (t->is_region)
		lp_pins_again(t);
	lp_tr_count_rest(t, true);
}

void lp_cold_fallback(struct lp_tr *t, const struct lp_cold *c)
{
	lp_v_flush_cold(t, c);
	call_fallback(t);
	lp_v_restore(t, c);
	lp_x86_jmp_back(&t->x, c->back);
}

void lp_cold_first(struct lp_tr *t, const struct lp_cold *c)
{
	lp_tr_count(t, 1);
	lp_x86_mov_address(&t->x, LP_RAX, t->start + 4);
	lp_x86_mov_to(&t->x, 1, LP_CPU(pc), LP_RAX);
	call_stub(t, 0, t->jit->stubs.call_c);
}

/* Of each register that is not where it always is: three moves. */
enum { LEAVE_COST = 3 };

void lp_tr_leave_to_c(struct lp_tr *t)
{
	enum lp_a64_op op = t->insns[t->i].op;

	lp_flags_clobber(t);
	lp_v_flush(t);
	t->jit->stats.left_to_c++;
	if (lp_jit_ends(op, t->insns[t->i].word)) {
		lp_x86_mov_address(&t->x, LP_RAX, t->pc + 4);
		lp_x86_mov_to(&t->x, 1, LP_CPU(pc), LP_RAX);
		call_stub(t, t->i, t->jit->stubs.call_c);
		t->has_ended = true;
		return;
	}
	t->x_cost += LEAVE_COST * t->insns[t->i].weight;
	call_fallback(t);
	lp_v_forget(t);
}

void lp_x_write_imm(struct lp_tr *t, unsigned r, uint64_t value)
{
	if (t->pin[r] >= 0) {
		lp_x86_mov_imm(&t->x, (unsigned)t->pin[r], value);
	} else if (r != LP_SINK && (int64_t)value == (int32_t)value) {
		lp_x86_store_imm(&t->x, 8, lp_cpu_x(r), (int32_t)value);
	} else if (r != LP_SINK) {
		lp_x86_mov_imm(&t->x, LP_RAX, value);
		lp_x86_mov_to(&t->x, 1, lp_cpu_x(r), LP_RAX);
	}
}

void lp_x_write_address(struct lp_tr *t, unsigned r, uint64_t address)
{
	unsigned reg = lp_x_dest(t, r, LP_RAX);

	if (t->pin[r] < 0 && (r == LP_SINK || address <= INT32_MAX)) {
		lp_x_write_imm(t, r, address);
		return;
	}
	lp_x86_mov_address(&t->x, reg, address);
	lp_x_write(t, r, reg);
}

/* Out, to the pc in arg; the interpreter goes on as long as need be. */
static void exit_cold(struct lp_tr *t, const struct lp_cold *c)
{
	lp_v_flush(t);
	lp_tr_count_rest(t, false);
	if (t->is_region)
		lp_pins_leave(t);
	lp_x86_mov_address(&t->x, LP_RAX, c->arg);
	lp_x86_jmp(&t->x, t->jit->stubs.exit_lookup);
}

void lp_sp_changed(struct lp_tr *t)
{
	uint8_t at_access = t->flags_at[t->i];
	struct lp_cold *c;

	lp_flags_clobber(t);
	t->flags_at[t->i] = at_access;
	lp_x86_test_imm_sized(&t->x, 1, lp_x_rm(t, LP_SP), 15);
	c = lp_cold_add(t, exit_cold);
	c->arg = t->pc + 4;
	c->from[0] = lp_x86_jcc_forward(&t->x, LP_CC_NE);
}
