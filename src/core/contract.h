/*
 * What the functions of a program promise their callers, read out of their
 * code.  Private to core/; preserve.c says why it is asked.
 *
 * Two sides are looked at: the program as it was compiled (the bytes of its
 * files, for memory holds earlier patches, too), and what this plan brings.
 * What was learnt lives as long as the build of the plan.
 */
#ifndef LP_CORE_CONTRACT_H
#define LP_CORE_CONTRACT_H

#include "core/plan.h"

#define LP_CONTRACT_FUNCTIONS_MAX 4096u /* functions that one question may spread to */

/* A piece of executable memory whose bytes we hold. */
struct lp_piece_of_code {
	struct lp_range range;
	const uint8_t *bytes;
	uint8_t *owned;
	size_t image; /* LP_NONE: none */
};

struct lp_function; /* one that was met */

struct lp_side {
	struct lp_contracts *c;
	struct lp_code code;
	LP_VEC(struct lp_piece_of_code) pieces;
	struct lp_function **table; /* open addressing by entry */
	size_t nr, size;
};

struct lp_contracts {
	struct lp_plan *p;
	const struct lp_isa_regs *isa;
	struct lp_side program;
	struct lp_side patch;
	LP_VEC(struct lp_branches) branches; /* callers.h */
	struct lp_range replacement;	     /* the one that is looked at */
	unsigned mark, depth;
	size_t asked;
};

/* Those of the plan, made on first use.  The ISA must be able to tell (isa->regs). */
struct lp_contracts *lp_contracts_of(struct lp_plan *p);
/* NULL is fine. */
void lp_contracts_free(struct lp_contracts *c);
/* A new question: what replaces what. */
void lp_contracts_ask(struct lp_contracts *c, const struct lp_place *to);

/* NULL when no bytes are known there. */
const struct lp_piece_of_code *lp_side_piece(const struct lp_side *s, lp_addr at);
/* Lives as long as the side. */
const struct lp_effects *lp_side_effects(struct lp_side *s, lp_addr entry);

/*
 * Registers that the function at `entry` changes for certain, as its compiler
 * saw it, in itself or in what it calls.  A call that leaves for parts unknown
 * changes everything by convention, whether it is ever reached or not.
 */
lp_regs lp_side_changes(struct lp_side *s, lp_addr entry);
/* Registers that it may change: everything, as soon as something is not seen. */
lp_regs lp_side_may_change(struct lp_side *s, lp_addr entry);

/* Code that neither a file nor this plan holds (an earlier patch, code the program made) joins the patch's side, as it
 * stands there now. */
void lp_contracts_add_memory(struct lp_contracts *c, lp_addr at);

#endif
