/* Branches to addresses in registers, as far as guarded pages (PROT_BTI) mind them. */
#ifndef LP_EMU_BRANCH_H
#define LP_EMU_BRANCH_H

#include "emu/uop.h"

/* PSTATE.BTYPE: what kind of branch led here. */
enum {
	LP_BTYPE_NONE,
	LP_BTYPE_JUMP_ANY, /* br x16, br x17, or any br of a page that is not guarded */
	LP_BTYPE_CALL,
	LP_BTYPE_JUMP, /* br of a guarded page */
};

/* First uop of a block in a guarded page: refuses to be entered by a branch that the instruction at pc is no landing
 * pad for.  u->imm: the BTYPEs that it is one for, a bit each. */
lp_uop_fn lp_landing;

/* Which they are, of the instruction `word`. */
unsigned lp_landing_accepts(uint32_t word);

/* u->imm of br, braa and so on: it stands in a guarded page.  lp_guard() makes it so, of any uop. */
enum { LP_FROM_GUARDED = 1 };
void lp_guard(struct lp_uop *uop);

/* Goes on at pc, by an indirect branch of that type.  A type that nobody will look at is not left behind; when it is
 * not known yet what stands there, lp_block_enter() forgets it. */
static inline const struct lp_uop *lp_goto_typed(struct lp_cpu *cpu, uint64_t pc, uint8_t btype)
{
	const struct lp_uop *next = lp_goto(cpu, pc);

	if (__builtin_expect(!next || next->run == lp_landing, 0))
		cpu->btype = btype;
	return next;
}

/* The type of `br Xn` (and its relatives). */
static inline uint8_t lp_jump_type(const struct lp_uop *u)
{
	return u->imm == LP_FROM_GUARDED && u->rn != 16 && u->rn != 17 ? LP_BTYPE_JUMP : LP_BTYPE_JUMP_ANY;
}

#endif
