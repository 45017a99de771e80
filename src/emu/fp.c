/* FPCR and FPSR, and their halves in MXCSR. */
#include "emu/fp.h"

#include <sys/platform/x86.h>

/* What FPCR and FPSR can hold here: no trapped exceptions, no AArch32. */
#define FPCR_BITS (LP_FPCR_AHP | LP_FPCR_DN | LP_FPCR_FZ | LP_FPCR_RMODE | LP_FPCR_FZ16)
#define FPSR_BITS \
	((uint32_t)LP_FPSR_QC | LP_FPSR_IDC | LP_FPSR_IXC | LP_FPSR_UFC | LP_FPSR_OFC | LP_FPSR_DZC | LP_FPSR_IOC)

/* With this set, host arithmetic and the guest's are too far from each other.  Not DN: NaNs are never the host's. */
#define FPCR_EXACT LP_FPCR_FZ

enum {
	MXCSR_IE = 1 << 0,
	MXCSR_ZE = 1 << 2,
	MXCSR_OE = 1 << 3,
	MXCSR_UE = 1 << 4,
	MXCSR_PE = 1 << 5,
	MXCSR_FLAGS = 0x3f,
	MXCSR_MASKS = 0x3f << 7,
	MXCSR_RC_SHIFT = 13,
};

static uint32_t mxcsr_read(void)
{
	uint32_t value;

	__asm__ volatile("stmxcsr %0" : "=m"(value) : : "memory");
	return value;
}

static void mxcsr_write(uint32_t value)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(value) : "memory");
}

static uint32_t mxcsr_control(uint32_t fpcr)
{
	static const uint8_t rounding[] = {0, 2, 1, 3}; /* up and down have changed places */

	return MXCSR_MASKS | (uint32_t)rounding[(fpcr & LP_FPCR_RMODE) >> LP_FPCR_RMODE_SHIFT] << MXCSR_RC_SHIFT;
}

static bool host_can(void)
{
	return CPU_FEATURE_ACTIVE(AVX2) && CPU_FEATURE_ACTIVE(FMA);
}

void lp_fpcr_write(struct lp_cpu *cpu, uint32_t value)
{
	cpu->fpcr = value & FPCR_BITS;
	cpu->fp_exact = cpu->fpcr & FPCR_EXACT || !host_can();
	mxcsr_write(mxcsr_control(cpu->fpcr) | (mxcsr_read() & MXCSR_FLAGS));
}

uint32_t lp_fpsr_read(const struct lp_cpu *cpu)
{
	uint32_t flags = mxcsr_read(), value = cpu->fpsr;

	/* Not DE: denormals are operands like all others, until FZ is set, and then fp_exact.c sees them. */
	value |= flags & MXCSR_IE ? LP_FPSR_IOC : 0;
	value |= flags & MXCSR_ZE ? LP_FPSR_DZC : 0;
	value |= flags & MXCSR_OE ? LP_FPSR_OFC : 0;
	value |= flags & MXCSR_UE ? LP_FPSR_UFC : 0;
	value |= flags & MXCSR_PE ? LP_FPSR_IXC : 0;
	return value;
}

void lp_fpsr_write(struct lp_cpu *cpu, uint32_t value)
{
	cpu->fpsr = value & FPSR_BITS;
	mxcsr_write(mxcsr_control(cpu->fpcr));
}

void lp_fp_begin(struct lp_cpu *cpu)
{
	mxcsr_write(mxcsr_control(cpu->fpcr));
	lp_fpcr_write(cpu, cpu->fpcr);
}

void lp_fp_land(struct lp_cpu *cpu, uint32_t mxcsr)
{
	mxcsr_write(mxcsr_control(cpu->fpcr) | (mxcsr & MXCSR_FLAGS));
}
