/* The function of each row of a64.def. */
#include "emu/uop.h"

/* Until a row has one in a sem_*.c, it is what it is on a CPU without it. */
#define A64_ROW(row)                                                                                        \
	__attribute__((weak)) const struct lp_uop *lp_sem_##row(struct lp_cpu *cpu, const struct lp_uop *u) \
	{                                                                                                   \
		return lp_undefined(cpu, u);                                                                \
	}
#include "isa/a64_rows.inc"
#undef A64_ROW

static const struct lp_uop *unallocated(struct lp_cpu *cpu, const struct lp_uop *u)
{
	return lp_undefined(cpu, u);
}

lp_uop_fn *const lp_sem[] = {
	unallocated,
#define A64_ROW(row) lp_sem_##row,
#include "isa/a64_rows.inc"
#undef A64_ROW
};
