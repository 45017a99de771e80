/*
 * Which registers code changes and wants, and keeping them around a call; see
 * struct lp_isa_regs.
 */
#ifndef LP_ISA_X64_LIVENESS_H
#define LP_ISA_X64_LIVENESS_H

#include "isa/isa.h"

void lp_x64_effects(const struct lp_code *code, lp_addr entry, struct lp_effects *out);
void lp_x64_live(const struct lp_code *code, lp_addr from, lp_regs among, struct lp_liveness *out);
lp_regs lp_x64_defined(const struct lp_code *code, lp_addr entry, lp_addr place);
size_t lp_x64_preserve(uint8_t *out, lp_addr at, lp_addr dest, lp_regs keep, unsigned vector_bytes);

extern const struct lp_isa_regs lp_x64_regs;

#endif
