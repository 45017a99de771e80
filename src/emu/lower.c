/* From an instruction to the function that executes it: the row's own, or a specialised one where that pays. */
#include "emu/block.h"
#include "emu/choose.h"
#include "emu/fp.h"
#include "emu/hot.h"
#include "emu/integer.h"

#include <sys/platform/x86.h>

bool lp_lower_ends(enum lp_a64_op op)
{
	switch (op) {
	case A64_OP_B:
	case A64_OP_BL:
	case A64_OP_BR:
	case A64_OP_BLR:
	case A64_OP_RET:
	case A64_OP_BRAAZ:
	case A64_OP_BRABZ:
	case A64_OP_BRAA:
	case A64_OP_BRAB:
	case A64_OP_BLRAAZ:
	case A64_OP_BLRABZ:
	case A64_OP_BLRAA:
	case A64_OP_BLRAB:
	case A64_OP_RETAA:
	case A64_OP_RETAB:
	case A64_OP_SVC:
	case A64_OP_BRK:
	case A64_OP_UDF:
	case A64_OP_HLT:
	case A64_OP_ISB: /* what it fetches next may have changed */
	case A64_OP_UNALLOCATED:
		return true;
	default:
		return false;
	}
}

/* The target of a direct branch; false: it is none. */
static bool branch_target(enum lp_a64_op op, uint32_t word, uint64_t pc, uint64_t *target)
{
	switch (op) {
	case A64_OP_B:
	case A64_OP_BL:
		*target = pc + (uint64_t)(lp_signed_field(word, 0, 26) * 4);
		return true;
	case A64_OP_B_COND:
	case A64_OP_CBZ:
	case A64_OP_CBNZ:
		*target = pc + (uint64_t)(lp_signed_field(word, 5, 19) * 4);
		return true;
	case A64_OP_TBZ:
	case A64_OP_TBNZ:
		*target = pc + (uint64_t)(lp_signed_field(word, 5, 14) * 4);
		return true;
	default:
		return false;
	}
}

/* What a CPU without a row's feature does for its words: nothing in the space of hints, else they are UNDEFINED. */
static enum lp_a64_op offered(enum lp_a64_op op, uint32_t word)
{
	if (lp_cpu_offers(lp_a64_row(op)->feature))
		return op;
	return (word & 0xfffff01f) == 0xd503201f ? A64_OP_HINT : A64_OP_UNALLOCATED;
}

/* The chooser for this host; NULL: none. */
static lp_choose_fn *chooser(enum lp_a64_op op)
{
	bool is_v3 = CPU_FEATURE_ACTIVE(AVX2) && CPU_FEATURE_ACTIVE(BMI2) && CPU_FEATURE_ACTIVE(FMA);

	return is_v3 && lp_choosers_v3[op] ? lp_choosers_v3[op] : lp_choosers[op];
}

static lp_uop_fn *function_of(enum lp_a64_op op, struct lp_uop *u)
{
	lp_uop_fn *special = lp_fp_lower(op, u);
	lp_choose_fn *choose = chooser(op);

	return special ? special : choose ? choose(u) : lp_sem[op];
}

static const struct lp_hot *const hot_tables[] = {lp_hot_integer, lp_hot_compare, lp_hot_branch, lp_hot_memory};

/* By op, which table and which of its rows, and 1; 0: none.  As an array of the rows themselves it would be pages of relocations,
 * nearly all of them empty, which every program would wait for. */
enum { TABLE = 8, ROW = 0xff };
static uint16_t hot_index[A64_OP_COUNT];

static __attribute__((constructor)) void index_hot(void)
{
	for (unsigned t = 0; t < sizeof hot_tables / sizeof hot_tables[0]; t++)
		for (unsigned i = 0; hot_tables[t][i].prepare; i++)
			hot_index[hot_tables[t][i].op] = (uint16_t)(t << TABLE | (i + 1));
}

void lp_hot(struct lp_uop *u, enum lp_a64_op op)
{
	const struct lp_hot *hot;
	int index;

	if (hot_index[op] == 0)
		return;
	hot = &hot_tables[hot_index[op] >> TABLE][(hot_index[op] & ROW) - 1];
	index = hot->prepare(u);
	if (index != LP_HOT_NONE)
		u->run = hot->run[index];
}

/* All but the slot of a direct branch, which *has_slot asks for, and what is made of the row in the end. */
static enum lp_a64_op fill(struct lp_uop *uop, uint32_t word, uint64_t pc, bool *has_slot, uint64_t *target)
{
	enum lp_a64_op op = offered(lp_a64_decode(word), word);

	*uop = (struct lp_uop){
		.word = word,
		.rd = word & 31,
		.rn = word >> 5 & 31,
		.rm = word >> 16 & 31,
		.ra = word >> 10 & 31,
		.pc = pc,
	};
	uop->run = function_of(op, uop);
	*has_slot = branch_target(op, word, pc, target);
	return op;
}

bool lp_lower(struct lp_blocks *b, struct lp_uop *uop, uint32_t word, uint64_t pc)
{
	uint64_t target;
	bool has_slot;
	enum lp_a64_op op = fill(uop, word, pc, &has_slot, &target);

	if (has_slot)
		uop->slot = lp_slot_of(b, target);
	lp_hot(uop, op);
	return lp_lower_ends(op);
}

bool lp_lower_once(struct lp_slot *slot, struct lp_uop *uop, uint32_t word, uint64_t pc)
{
	uint64_t target;
	bool has_slot;
	enum lp_a64_op op = fill(uop, word, pc, &has_slot, &target);

	if (has_slot) {
		slot->pc = target;
		uop->slot = slot;
	}
	lp_hot(uop, op);
	return has_slot || lp_lower_ends(op);
}
