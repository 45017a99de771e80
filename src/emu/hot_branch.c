/* Branches that ask for no flags. */
#include "emu/branch.h"
#include "emu/hot.h"

HOT(b)
{
	GO(u->slot);
}

HOT(bl)
{
	cpu->x[30] = u->pc + 4;
	GO(u->slot);
}

#define BRANCH_IF(name, condition)   \
	HOT(name)                    \
	{                            \
		if (condition)       \
			GO(u->slot); \
		ON;                  \
	}
BRANCH_IF(cbz_w, (uint32_t)RD == 0)
BRANCH_IF(cbz_x, RD == 0)
BRANCH_IF(cbnz_w, (uint32_t)RD != 0)
BRANCH_IF(cbnz_x, RD != 0)
/* rm: which bit */
BRANCH_IF(tbz, !(RD >> u->rm & 1))
BRANCH_IF(tbnz, RD >> u->rm & 1)

/* To an address: what the jump cache knows, else out to be looked up. */
#define GO_TO(address)                       \
	const struct lp_uop *next = address; \
	if (__builtin_expect(!next, 0)) {    \
		cpu->branch = u->pc;         \
		return NULL;                 \
	}                                    \
	TAIL(next)

HOT(ret)
{
	GO_TO(lp_goto(cpu, RN));
}

HOT(br)
{
	GO_TO(lp_goto_typed(cpu, RN, lp_jump_type(u)));
}

HOT(blr)
{
	uint64_t target = RN;

	cpu->x[30] = u->pc + 4;
	GO_TO(lp_goto_typed(cpu, target, LP_BTYPE_CALL));
}

HOT(nop)
{
	ON;
}

static lp_uop_fn *const b_run[] = {b};
static lp_uop_fn *const bl_run[] = {bl};
static lp_uop_fn *const cbz_run[] = {cbz_w, cbz_x};
static lp_uop_fn *const cbnz_run[] = {cbnz_w, cbnz_x};
static lp_uop_fn *const tbz_run[] = {tbz};
static lp_uop_fn *const tbnz_run[] = {tbnz};
static lp_uop_fn *const br_run[] = {br};
static lp_uop_fn *const blr_run[] = {blr};
static lp_uop_fn *const ret_run[] = {ret};
static lp_uop_fn *const nop_run[] = {nop};

static int always(struct lp_uop *u)
{
	return 0;
}

static int compare(struct lp_uop *u)
{
	u->rd = lp_reads(u->rd);
	return lp_is64(u);
}

static int test_bit(struct lp_uop *u)
{
	u->rd = lp_reads(u->rd);
	u->rm = FIELD(b5) << 5 | FIELD(b40);
	return 0;
}

static int indirect(struct lp_uop *u)
{
	u->rn = lp_reads(u->rn);
	return 0;
}

const struct lp_hot lp_hot_branch[] = {
	{A64_OP_B, always, b_run},
	{A64_OP_BL, always, bl_run},
	{A64_OP_CBZ, compare, cbz_run},
	{A64_OP_CBNZ, compare, cbnz_run},
	{A64_OP_TBZ, test_bit, tbz_run},
	{A64_OP_TBNZ, test_bit, tbnz_run},
	{A64_OP_BR, indirect, br_run},
	{A64_OP_BLR, indirect, blr_run},
	{A64_OP_RET, indirect, ret_run},
	{A64_OP_NOP, always, nop_run},
	{A64_OP_BTI, always, nop_run},
	{A64_OP_HINT, always, nop_run},
	{0},
};
