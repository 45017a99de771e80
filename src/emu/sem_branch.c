/* Branches, and what makes exceptions. */
#include "emu/branch.h"
#include "emu/integer.h"

/* ---- direct ---- */

SEM(b)
{
	return lp_goto_slot(cpu, u->slot);
}

SEM(bl)
{
	cpu->x[30] = u->pc + 4;
	return lp_goto_slot(cpu, u->slot);
}

#define BRANCH_IF(row, condition)                          \
	SEM(row)                                           \
	{                                                  \
		if (condition)                             \
			return lp_goto_slot(cpu, u->slot); \
		NEXT;                                      \
	}
#define TESTED_BIT (X(cpu, u->rd) >> (FIELD(b5) << 5 | FIELD(b40)) & 1)
BRANCH_IF(b_cond, lp_cpu_condition(cpu, FIELD(condb)))
BRANCH_IF(cbz, lp_sized(FIELD(sf), X(cpu, u->rd)) == 0)
BRANCH_IF(cbnz, lp_sized(FIELD(sf), X(cpu, u->rd)) != 0)
BRANCH_IF(tbz, !TESTED_BIT)
BRANCH_IF(tbnz, TESTED_BIT)

/* ---- indirect ---- */

SEM(br)
{
	return lp_goto_typed(cpu, X(cpu, u->rn), lp_jump_type(u));
}

SEM(blr)
{
	uint64_t target = X(cpu, u->rn);

	cpu->x[30] = u->pc + 4;
	return lp_goto_typed(cpu, target, LP_BTYPE_CALL);
}

SEM(ret)
{
	return lp_goto(cpu, X(cpu, u->rn));
}

/* ---- landing pads ---- */

unsigned lp_landing_accepts(uint32_t word)
{
	static const unsigned of_bti[] = {0, 1 << LP_BTYPE_JUMP_ANY | 1 << LP_BTYPE_CALL,
					  1 << LP_BTYPE_JUMP_ANY | 1 << LP_BTYPE_JUMP,
					  1 << LP_BTYPE_JUMP_ANY | 1 << LP_BTYPE_CALL | 1 << LP_BTYPE_JUMP};

	switch (lp_a64_decode(word)) {
	case A64_OP_BTI:
		return of_bti[lp_a64_field_target(word)];
	case A64_OP_PACIASP:
	case A64_OP_PACIBSP: /* no target of `br` in a guarded page: Linux sets SCTLR_EL1.BT0 */
		return of_bti[1];
	case A64_OP_BRK:
	case A64_OP_HLT: /* their own exception comes first */
		return of_bti[3];
	default:
		return 0;
	}
}

void lp_guard(struct lp_uop *uop)
{
	switch (lp_a64_decode(uop->word)) {
	case A64_OP_BR:
	case A64_OP_BRAA:
	case A64_OP_BRAB:
	case A64_OP_BRAAZ:
	case A64_OP_BRABZ:
		uop->imm = LP_FROM_GUARDED;
		break;
	default:
		break;
	}
}

const struct lp_uop *lp_landing(struct lp_cpu *cpu, const struct lp_uop *u)
{
	if (cpu->btype && !(u->imm >> cpu->btype & 1))
		return lp_undefined(cpu, u);
	cpu->btype = LP_BTYPE_NONE;
	NEXT;
}

/* ---- exceptions ---- */

/* The number in the instruction is nobody's business on Linux. */
SEM(svc)
{
	cpu->pc = u->pc + 4;
	cpu->leave = LP_LEAVE_SVC;
	cpu->exclusive.size = 0; /* the return from an exception clears the monitor */
	return NULL;
}

SEM(brk)
{
	return lp_raise(cpu, u, SIGTRAP, TRAP_BRKPT, u->pc);
}
