/*
 * Specialised functions for the instructions of a row, chosen once, when a
 * block is made: by the size of lanes, the width of registers, what the host's
 * CPU has.
 *
 *     lp_uop_fn *lp_choose_ROW(struct lp_uop *u);     // in the file that has SEM(ROW)
 *
 * is found by its name, and is asked with u->word and the register numbers in
 * place; it may set u->imm for the function that it returns.  A row without one
 * is always executed by SEM(ROW), which must not count on u->imm.
 *
 * The vector files (simd.h) are compiled twice: for every x86-64 host, and with
 * the instructions of x86-64-v3, where the same names end in _v3.
 */
#ifndef LP_EMU_CHOOSE_H
#define LP_EMU_CHOOSE_H

#include "emu/uop.h"

typedef lp_uop_fn *lp_choose_fn(struct lp_uop *u);

#ifdef LP_EMU_V3
#define LP_CHOOSE(row) lp_choose_##row##_v3
#else
#define LP_CHOOSE(row) lp_choose_##row
#endif

#define A64_ROW(row) lp_choose_fn LP_CHOOSE(row);
#include "isa/a64_rows.inc"
#undef A64_ROW

/* By enum lp_a64_op; NULL: none.  choose_table.c. */
extern lp_choose_fn *const lp_choosers[], *const lp_choosers_v3[];

#endif
