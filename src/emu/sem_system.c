/* System registers, cache maintenance and hints, as EL0 may use them on Linux. */
#include <sched.h>
#include <string.h>
#include <time.h>

#include "emu/access.h"
#include "emu/emu.h"
#include "emu/features.h"
#include "emu/fp.h"

/* ---- system registers ---- */

enum {
	NZCV = LP_SYSREG(3, 3, 4, 2, 0),
	DIT = LP_SYSREG(3, 3, 4, 2, 5),
	SSBS = LP_SYSREG(3, 3, 4, 2, 6),
	FPCR = LP_SYSREG(3, 3, 4, 4, 0),
	FPSR = LP_SYSREG(3, 3, 4, 4, 1),
	TPIDR_EL0 = LP_SYSREG(3, 3, 13, 0, 2),
	TPIDRRO_EL0 = LP_SYSREG(3, 3, 13, 0, 3),
	CTR_EL0 = LP_SYSREG(3, 3, 0, 0, 1),
	DCZID_EL0 = LP_SYSREG(3, 3, 0, 0, 7),
	CNTFRQ_EL0 = LP_SYSREG(3, 3, 14, 0, 0),
	CNTVCT_EL0 = LP_SYSREG(3, 3, 14, 0, 2),
};

static uint64_t nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* false: none that EL0 may read.  The physical counter and the performance counters are not: Linux traps them. */
static bool read_register(const struct lp_cpu *cpu, uint32_t sysreg, uint64_t *value)
{
	switch (sysreg) {
	case NZCV:
		*value = lp_cpu_nzcv(cpu);
		return true;
	case DIT:
		*value = (uint64_t)cpu->dit << 24;
		return true;
	case SSBS:
		*value = (uint64_t)cpu->ssbs << 12;
		return true;
	case FPCR:
		*value = cpu->fpcr;
		return true;
	case FPSR:
		*value = lp_fpsr_read(cpu);
		return true;
	case TPIDR_EL0:
		*value = cpu->tpidr;
		return true;
	case TPIDRRO_EL0:
		*value = 0;
		return true;
	case CTR_EL0:
		*value = LP_CTR_EL0;
		return true;
	case DCZID_EL0:
		*value = LP_DCZID_EL0;
		return true;
	case CNTFRQ_EL0:
		*value = LP_CNTFRQ_EL0;
		return true;
	case CNTVCT_EL0:
		*value = nanoseconds();
		return true;
	default:
		return lp_id_register(sysreg, value);
	}
}

static bool write_register(struct lp_cpu *cpu, uint32_t sysreg, uint64_t value)
{
	switch (sysreg) {
	case NZCV:
		lp_cpu_set_nzcv(cpu, (uint32_t)value);
		return true;
	case DIT:
		cpu->dit = value >> 24 & 1;
		return true;
	case SSBS:
		cpu->ssbs = value >> 12 & 1;
		return true;
	case FPCR:
		lp_fpcr_write(cpu, (uint32_t)value);
		return true;
	case FPSR:
		lp_fpsr_write(cpu, (uint32_t)value);
		return true;
	case TPIDR_EL0:
		cpu->tpidr = value;
		return true;
	default:
		return false;
	}
}

SEM(mrs)
{
	uint64_t value;

	if (!read_register(cpu, lp_sysreg_of(u->word), &value))
		return lp_undefined(cpu, u);
	SET_X(cpu, u->rd, value);
	NEXT;
}

SEM(msr_reg)
{
	if (!write_register(cpu, lp_sysreg_of(u->word), X(cpu, u->rd)))
		return lp_undefined(cpu, u);
	NEXT;
}

SEM(msr_imm)
{
	enum { ON_SSBS = 3 << 3 | 1, ON_DIT = 3 << 3 | 2 };
	bool bit = FIELD(CRm) & 1;

	switch (FIELD(op1) << 3 | FIELD(op2)) {
	case ON_SSBS:
		cpu->ssbs = bit;
		NEXT;
	case ON_DIT:
		cpu->dit = bit;
		NEXT;
	default:
		return lp_undefined(cpu, u);
	}
}

/* ---- cache maintenance ---- */

/* Fails where the address may not be read, as the instructions on data do. */
static void touch(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)
{
	LOAD_u8(cpu, u, addr);
}

/* The byte that is named is written first: a fault is at the address that is in the register. */
static void zero(struct lp_cpu *cpu, const struct lp_uop *u, uint64_t addr)
{
	STORE_u8(cpu, u, addr, 0);
	memset(lp_guest(cpu, u, addr & ~(uint64_t)(LP_CACHE_LINE - 1)), 0, LP_CACHE_LINE);
	lp_guest_done();
}

SEM(sys)
{
	enum {
		DC_ZVA = 7 << 7 | 4 << 3 | 1,
		IC_IVAU = 7 << 7 | 5 << 3 | 1,
		DC_CVAC = 7 << 7 | 10 << 3 | 1,
		DC_CVAU = 7 << 7 | 11 << 3 | 1,
		DC_CIVAC = 7 << 7 | 14 << 3 | 1,
	};
	uint64_t addr = X(cpu, u->rd);

	if (FIELD(op1) != 3)
		return lp_undefined(cpu, u);
	switch (FIELD(CRn) << 7 | FIELD(CRm) << 3 | FIELD(op2)) {
	case DC_ZVA:
		zero(cpu, u, addr);
		NEXT;
	case DC_CVAC:
	case DC_CVAU:
	case DC_CIVAC:
		touch(cpu, u, addr);
		NEXT;
	case IC_IVAU:
		lp_block_icache_line(cpu->emu->blocks, lp_untagged(addr));
		NEXT;
	default:
		return lp_undefined(cpu, u);
	}
}

/* ---- hints ---- */

#define NOTHING(row)  \
	SEM(row)      \
	{             \
		NEXT; \
	}
NOTHING(nop)
NOTHING(sev)
NOTHING(sevl)
NOTHING(esb)
NOTHING(psb)
NOTHING(tsb)
NOTHING(csdb)
NOTHING(bti) /* what it is for happens on entry of its block: lp_landing */
NOTHING(hint)

/* A thread that says that it waits for another lets that one run; it never sleeps: nobody would wake it. */
#define LET_OTHERS(row)        \
	SEM(row)               \
	{                      \
		sched_yield(); \
		NEXT;          \
	}
LET_OTHERS(yield)
LET_OTHERS(wfe)
LET_OTHERS(wfi)
