/*
 * What the CPU is that the guest sees: feature.def, in the shapes in which it is asked for.  Constant, thread-safe.
 */
#ifndef LP_EMU_FEATURES_H
#define LP_EMU_FEATURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* AT_HWCAP and AT_HWCAP2. */
uint64_t lp_hwcap(void);
uint64_t lp_hwcap2(void);

/* Names in the order of /proc/cpuinfo; NULL behind the last. */
const char *lp_feature_name(size_t index);

/* A system register by op0, op1, CRn, CRm, op2, as it stands in MRS and MSR (bits 20 to 5, op0 being 2 or 3). */
#define LP_SYSREG(op0, op1, crn, crm, op2) (((op0)&1) << 14 | (op1) << 11 | (crn) << 7 | (crm) << 3 | (op2) | 1 << 15)
static inline uint32_t lp_sysreg_of(uint32_t word)
{
	return word >> 5 & 0xffff;
}

/* What Linux lets EL0 read of the identification registers (Documentation/arch/arm64/cpu-feature-registers.rst);
 * false: UNDEFINED. */
bool lp_id_register(uint32_t sysreg, uint64_t *value);

/* CTR_EL0 and DCZID_EL0: cache lines of 64 bytes, which must be cleaned and invalidated by the guest; dc zva clears 64. */
enum { LP_CACHE_LINE = 64 };
#define LP_CTR_EL0 UINT64_C(0x8444c004)
#define LP_DCZID_EL0 UINT64_C(4)
/* CNTVCT_EL0 counts nanoseconds. */
#define LP_CNTFRQ_EL0 UINT64_C(1000000000)

#endif
