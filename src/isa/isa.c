#include "isa/isa.h"

static const struct lp_isa *const known[] = {
#ifdef LP_ISA_WITH_X64 /* the build leaves it out where Zydis is missing (a cross build) */
	&lp_isa_x64,
#endif
#ifdef LP_ISA_WITH_A64 /* ... and what is loaded into other processes knows their machine only */
	&lp_isa_a64,
#endif
};

const struct lp_isa *lp_isa_of(uint16_t elf_machine)
{
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		if (known[i]->elf_machine == elf_machine)
			return known[i];
	}
	return NULL;
}

#ifdef LP_ISA_WITH_A64
const struct lp_isa *lp_isa_of_guests(void)
{
	return &lp_isa_a64;
}
#endif

void lp_effects_free(struct lp_effects *e)
{
	lp_vec_free(&e->calls);
}
