/* The function of each row of a64.def. */
#include "emu/uop.h"

#define UNDEFINED(row)                       \
	SEM(row)                             \
	{                                    \
		return lp_undefined(cpu, u); \
	}
#include "emu/undefined.def"
#undef UNDEFINED

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
