/*
 * Logical immediates (DDI 0487: DecodeBitMasks): a run of ones, rotated, in an
 * element of 2, 4, 8, 16, 32 or 64 bits that repeats.  In the word they are
 * N:immr:imms.
 */
#ifndef LP_ISA_A64_LIMM_H
#define LP_ISA_A64_LIMM_H

#include "base/addr.h"

/* The word's sf, N, immr and imms make an immediate; *out receives it when not NULL. */
bool lp_a64_limm_decode(uint32_t word, uint64_t *out);
/* N:immr:imms of `value` (`bits` is 32 or 64; above 32 ignored then); false when there is none. */
bool lp_a64_limm_encode(uint64_t value, unsigned bits, uint32_t *out);
/* MOVZ or MOVN can make it alone. */
bool lp_a64_is_wide_move(uint64_t value, unsigned bits);

#endif
