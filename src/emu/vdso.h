/*
 * The guest's vDSO: a small ELF image of our own, as words.  Its clock functions
 * end in an instruction that is UNDEFINED anywhere else.
 */
#ifndef LP_EMU_VDSO_H
#define LP_EMU_VDSO_H

#include "emu/uop.h"

/* Maps it; *at: its ELF header, *sigreturn: __kernel_rt_sigreturn.  0 or -errno. */
int lp_vdso_map(struct lp_emu *emu, uint64_t *at, uint64_t *sigreturn);

/* Behind lp_lower(): an instruction of the vDSO that means us does what we are asked.  Of other code nothing is changed. */
void lp_vdso_lower(const struct lp_emu *emu, struct lp_uop *u);

#endif
