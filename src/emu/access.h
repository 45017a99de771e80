/*
 * Addresses of loads and stores, and what is asked of them before memory is touched.
 */
#ifndef LP_EMU_ACCESS_H
#define LP_EMU_ACCESS_H

#include "emu/integer.h"

/* The stack pointer as a base must be aligned (SCTLR_EL1.SA0, which Linux sets). */
static inline bool lp_is_bad_base(const struct lp_cpu *cpu, const struct lp_uop *u)
{
	return __builtin_expect(u->rn == 31 && cpu->x[LP_SP] & 15, 0);
}

static inline const struct lp_uop *lp_bad_base(struct lp_cpu *cpu, const struct lp_uop *u)
{
	lp_raise(cpu, u, SIGBUS, BUS_ADRALN, cpu->x[LP_SP]);
	cpu->fault.esr = LP_ESR_SP_ALIGNMENT;
	return NULL;
}

/* The register offset of a load or store: extended, and shifted by the access's size. */
static inline uint64_t lp_index(const struct lp_cpu *cpu, const struct lp_uop *u, unsigned log2_size)
{
	return lp_extend(FIELD(option), X(cpu, u->rm)) << (FIELD(S) ? log2_size : 0);
}

/* Of exclusive and ordered accesses those that only store; what reads as well counts as a read. */
static inline bool lp_is_ordered_store(uint32_t word)
{
	bool is_exclusive = (word & 0x3f000000) == 0x08000000,
	     is_swap = word >> 21 & 1 && (word >> 23 & 1 || !(word >> 31));
	bool is_unscaled = (word & 0x3f200c00) == 0x19000000;

	return (is_exclusive && !is_swap && !(word >> 22 & 1)) || (is_unscaled && (word >> 22 & 3) == 0);
}

/* Before exclusive, ordered and atomic accesses; false: they are not to be made, and the exception is raised. */
static inline bool lp_may_access(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr, unsigned size)
{
	if (lp_is_bad_base(cpu, u)) {
		lp_bad_base(cpu, u);
		return false;
	}
	if (lp_is_misaligned(addr, size)) {
		lp_misaligned(cpu, u, lp_untagged(addr));
		cpu->fault.esr = LP_ESR_DATA_ALIGNMENT | (lp_is_ordered_store(u->word) ? LP_ESR_WRITE : 0);
		return false;
	}
	return true;
}

#endif
