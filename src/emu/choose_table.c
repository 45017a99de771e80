/* The chooser of each row of a64.def that has one; compiled once per kind of host CPU. */
#include "emu/choose.h"

#define A64_ROW(row) lp_choose_fn LP_CHOOSE(row) __attribute__((weak));
#include "isa/a64_rows.inc"
#undef A64_ROW

#ifdef LP_EMU_V3
#define TABLE lp_choosers_v3
#else
#define TABLE lp_choosers
#endif

lp_choose_fn *const TABLE[] = {
	NULL, /* A64_OP_UNALLOCATED */
#define A64_ROW(row) LP_CHOOSE(row),
#include "isa/a64_rows.inc"
#undef A64_ROW
};
