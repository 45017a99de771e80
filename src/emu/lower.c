/* From an instruction to the function that executes it: the row's own, or a specialised one where that pays. */
#include "emu/block.h"

static const bool is_offered[A64_FEATURE_COUNT] = {
	[A64_FEATURE_BASE] = true,   [A64_FEATURE_AES] = true,	   [A64_FEATURE_PMULL] = true,
	[A64_FEATURE_SHA1] = true,   [A64_FEATURE_SHA256] = true,  [A64_FEATURE_SHA3] = true,
	[A64_FEATURE_SHA512] = true, [A64_FEATURE_CRC32] = true,   [A64_FEATURE_LSE] = true,
	[A64_FEATURE_RDM] = true,    [A64_FEATURE_DOTPROD] = true, [A64_FEATURE_FP16] = true,
	[A64_FEATURE_JSCVT] = true,  [A64_FEATURE_FCMA] = true,	   [A64_FEATURE_LRCPC] = true,
	[A64_FEATURE_LRCPC2] = true, [A64_FEATURE_FLAGM] = true,   [A64_FEATURE_FLAGM2] = true,
	[A64_FEATURE_PAUTH] = true,  [A64_FEATURE_BTI] = true,	   [A64_FEATURE_SB] = true,
};

bool lp_cpu_offers(enum lp_a64_feature feature)
{
	return is_offered[feature];
}

/* What lies behind is not reached from here. */
static bool ends(enum lp_a64_op op)
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
		return true;
	default:
		return false;
	}
}

static int64_t signed_field(uint32_t word, unsigned lsb, unsigned width)
{
	return (int64_t)((uint64_t)word << (64 - lsb - width)) >> (64 - width);
}

/* The target of a direct branch; false: it is none. */
static bool branch_target(enum lp_a64_op op, uint32_t word, uint64_t pc, uint64_t *target)
{
	switch (op) {
	case A64_OP_B:
	case A64_OP_BL:
		*target = pc + (uint64_t)(signed_field(word, 0, 26) * 4);
		return true;
	case A64_OP_B_COND:
	case A64_OP_CBZ:
	case A64_OP_CBNZ:
		*target = pc + (uint64_t)(signed_field(word, 5, 19) * 4);
		return true;
	case A64_OP_TBZ:
	case A64_OP_TBNZ:
		*target = pc + (uint64_t)(signed_field(word, 5, 14) * 4);
		return true;
	default:
		return false;
	}
}

bool lp_lower(struct lp_blocks *b, struct lp_uop *uop, uint32_t word, uint64_t pc)
{
	enum lp_a64_op op = lp_a64_decode(word);
	uint64_t target;

	if (!lp_cpu_offers(lp_a64_row(op)->feature))
		op = A64_OP_UNALLOCATED;
	*uop = (struct lp_uop){
		.run = lp_sem[op],
		.word = word,
		.rd = word & 31,
		.rn = word >> 5 & 31,
		.rm = word >> 16 & 31,
		.ra = word >> 10 & 31,
		.pc = pc,
	};
	if (branch_target(op, word, pc, &target))
		uop->slot = lp_slot_of(b, target);
	return op == A64_OP_UNALLOCATED || ends(op);
}
