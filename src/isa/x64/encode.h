/*
 * The x86-64 instructions that we write.
 */
#ifndef LP_ISA_X64_ENCODE_H
#define LP_ISA_X64_ENCODE_H

#include "isa/isa.h"

#define X64_JMP32_LEN 5 /* e9 rel32 */
#define X64_JMP8_LEN 2	/* eb rel8 */

/* A jump standing at `at` reaches `to`? */
bool lp_x64_jmp32_reaches(lp_addr at, lp_addr to);
bool lp_x64_jmp8_reaches(lp_addr at, lp_addr to);
/* The jump's bytes; `to` must be in reach. */
void lp_x64_put_jmp32(uint8_t out[X64_JMP32_LEN], lp_addr at, lp_addr to);
void lp_x64_put_jmp8(uint8_t out[X64_JMP8_LEN], lp_addr at, lp_addr to);

size_t lp_x64_island(uint8_t *out, lp_addr at, lp_addr dest);
size_t lp_x64_ifunc_stub(uint8_t *out, lp_addr at, lp_addr slot, lp_addr resolver, lp_addr *initial);

#endif
