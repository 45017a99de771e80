/*
 * The aarch64 instructions that we write, and the few that we must recognise.
 */
#ifndef LP_ISA_A64_ENCODE_H
#define LP_ISA_A64_ENCODE_H

#include "isa/isa.h"

#define A64_INSN 4

/* HINT space: NOPs on CPUs that do not know them. */
#define A64_NOP 0xd503201fu
#define A64_BTI 0xd503241fu /* bti, bti c, bti j, bti jc: bits 7:6 */
#define A64_BTI_C 0xd503245fu
#define A64_PACIASP 0xd503233fu
#define A64_PACIBSP 0xd503237fu

static inline bool lp_a64_is_bti(uint32_t insn)
{
	return (insn & ~0xc0u) == A64_BTI;
}

/* Signing the return address at an entry is a landing pad as well (DDI 0487: PACIASP and PACIBSP are implicit BTI c). */
static inline bool lp_a64_is_signing_pad(uint32_t insn)
{
	return insn == A64_PACIASP || insn == A64_PACIBSP;
}

/* Target of b, bl, b.cond, cbz, cbnz, tbz, tbnz and adr at `at`; false for others (br, adrp, ...). */
bool lp_a64_direct_target(uint32_t insn, lp_addr at, lp_addr *target);
/* One of those that neither returns (bl) nor computes (adr). */
static inline bool lp_a64_is_jump(uint32_t insn)
{
	return (insn & 0xfc000000) != 0x94000000 && (insn & 0x9f000000) != 0x10000000;
}

/* What zeroes decode as. */
static inline bool lp_a64_is_udf(uint32_t insn)
{
	return insn < 0x10000;
}

/* Nothing executes behind it: b, br and its pac forms, ret, eret, udf. */
bool lp_a64_ends_code(uint32_t insn);

/* A `b` standing at `at` reaches `to`? */
bool lp_a64_b_reaches(lp_addr at, lp_addr to);
/* `to` must be in reach. */
uint32_t lp_a64_b(lp_addr at, lp_addr to);

size_t lp_a64_island(uint8_t *out, lp_addr at, lp_addr dest);
size_t lp_a64_ifunc_stub(uint8_t *out, lp_addr at, lp_addr slot, lp_addr resolver, lp_addr *initial);

#endif
