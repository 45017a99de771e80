/*
 * Pointer authentication.  The architecture leaves the algorithm to the CPU
 * (ID_AA64ISAR1_EL1.API): ours is SipHash-1-3 of pointer and modifier.
 */
#ifndef LP_EMU_PAUTH_H
#define LP_EMU_PAUTH_H

#include "emu/cpu.h"

/* New random keys: all at execve, those of the mask at prctl(PR_PAC_RESET_KEYS) (bit n is key n, as in PR_PAC_*KEY).
 * A new thread has its parent's. */
void lp_pauth_reset(struct lp_cpu *cpu, unsigned keys);

/* The address that a signed pointer of the user's half is for. */
static inline uint64_t lp_pauth_strip(uint64_t pointer)
{
	return pointer & UINT64_C(0x0000ffffffffffff);
}

/* What LDRAA (is_b: LDRAB) takes for its base: the address, or one that faults when the pointer was not signed so. */
uint64_t lp_pauth_base(const struct lp_cpu *cpu, bool is_b, uint64_t pointer);

#endif
