/*
 * A guest thread's registers, as the interpreter and the JIT keep them, and
 * what it tells the loop that runs it when it leaves translated code.
 *
 * Flags are kept apart, so that each instruction stores what it has at hand:
 * N is the sign of `n`, Z is `z == 0`, C and V are 0 or 1.  lp_cpu_nzcv() puts
 * them together where an instruction asks for all four.
 *
 * Cumulative floating-point flags are in two places: in the host's MXCSR, where
 * host instructions leave them, and in `fpsr`.  fp.h joins them.
 *
 * A cpu belongs to one host thread, which alone touches it while it runs; the
 * exceptions are `poll` (anybody sets bits) and what thread.h says of parking.
 */
#ifndef LP_EMU_CPU_H
#define LP_EMU_CPU_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

struct lp_emu;
struct lp_guest_thread;
struct lp_uop;
struct lp_slot;

/* Indices of x[]: register 31 is SP or ZR, as the instruction says. */
enum { LP_SP = 31, LP_ZR = 32, LP_SINK = 33, LP_NR_X = 34 };

union lp_vreg {
	uint8_t b[16];
	int8_t sb[16];
	uint16_t h[8];
	int16_t sh[8];
	uint32_t s[4];
	int32_t ss[4];
	uint64_t d[2];
	int64_t sd[2];
	float f[4];
	double g[2];
	unsigned __int128 q;
} __attribute__((aligned(16)));

/* Why a thread shall leave translated code at the next branch: bits of lp_cpu.poll. */
enum {
	LP_POLL_SIGNAL = 1, /* a guest signal may be deliverable */
	LP_POLL_PARK = 2,   /* somebody wants all threads to stand still */
	LP_POLL_STEP = 4,   /* one instruction at a time */
	LP_POLL_EXIT = 8,   /* the process ends */
	LP_POLL_ALONE = 32, /* lp_cpu_step() is at work */
	LP_POLL_TRACE = 16, /* --trace and the debugger look at every block */
	LP_POLL_CODE = 64,  /* a loop that it may be in is not what the program says any more */
};

/* Why translated code was left. */
enum lp_leave {
	LP_LEAVE_LOOKUP,     /* go on at pc; no translation was at hand, or poll is set */
	LP_LEAVE_SVC,	     /* pc is behind the svc */
	LP_LEAVE_FAULT,	     /* pc is at the instruction, `fault` says what */
	LP_LEAVE_BREAKPOINT, /* pc is at the instruction, which was not executed */
};

/* A synchronous exception as the guest's signal handler will see it. */
struct lp_fault {
	int signal, code; /* SIGSEGV, SEGV_MAPERR, ...: numbers are the same on both architectures */
	uint64_t addr;	  /* si_addr */
	uint64_t esr;	  /* ESR_EL1 as Linux shows it in an esr_context; 0 = none */
};

/* Syndromes (DDI 0487 D19.2.37): the class of exception in bits 31 to 26, bit 25, and what the class says. */
#define LP_ESR_FETCH_TRANSLATION UINT64_C(0x82000007)
#define LP_ESR_FETCH_PERMISSION UINT64_C(0x8200000f)
#define LP_ESR_PC_ALIGNMENT UINT64_C(0x8a000000)
#define LP_ESR_DATA_ALIGNMENT UINT64_C(0x92000021)
#define LP_ESR_SP_ALIGNMENT UINT64_C(0x9a000000)
#define LP_ESR_WRITE (UINT64_C(1) << 6) /* of a data abort */

enum { LP_JUMP_CACHE = 1024 }; /* entries; a power of two */

struct lp_jump {
	uint64_t pc;
	const struct lp_slot *slot;
};

/* Numbers as in prctl(PR_PAC_RESET_KEYS). */
enum lp_pauth_key { LP_PAUTH_IA, LP_PAUTH_IB, LP_PAUTH_DA, LP_PAUTH_DB, LP_PAUTH_GA, LP_NR_PAUTH_KEYS };

struct lp_cpu {
	uint64_t x[LP_NR_X]; /* x[LP_ZR] is 0 for ever; x[LP_SINK] takes what is written to zr */

	/* Near to x[], as translated code asks often. */
	_Atomic uint32_t poll;
	struct {
		uint32_t flags; /* N, Z, C and V while it runs (jit/flags.c) */
		uint64_t shadow_limit;
		void *jumps;
		uint64_t host_sp, shadow_sp, shadow_base;
		void *missed; /* the slot that it was left at, which had no code */
	} jit;		      /* translated code's own */

	uint64_t pc; /* exact whenever translated code is left, and at the begin of each block */
	int64_t n;
	uint64_t z;
	uint8_t c, v;
	uint8_t btype; /* PSTATE.BTYPE after an indirect branch, looked at by the first instruction of a guarded page */
	const struct lp_uop *volatile at; /* the uop that touches memory: where a host fault belongs */

	uint32_t fpcr, fpsr; /* fpsr without what is still in MXCSR; QC is always here.  fp.h writes them */
	bool fp_exact;	     /* host arithmetic will not do (FPCR, or a host without FMA): fp_exact.h */
	uint64_t tpidr;	     /* TPIDR_EL0 */
	bool dit, ssbs;
	uint64_t pauth[LP_NR_PAUTH_KEYS][2]; /* the keys that sign pointers (pauth.h) */

	/* The exclusive monitor: what was read, to be compared when written.  size 0: open (nothing is monitored). */
	struct {
		uint64_t addr, size;
		uint64_t value[2];
	} exclusive;

	union lp_vreg vr[32];

	uint64_t branch; /* the branch to pc that left translated code, or where its block begins; 0: not known */
	enum lp_leave leave;
	struct lp_fault fault;
	uint64_t nr_insns; /* executed, with --stats */

	struct lp_emu *emu;
	struct lp_guest_thread *thread;
	void *engine;	/* the engine's, of this thread */
	bool interpret; /* the next instruction is for the interpreter */
	void *landing;	/* where a host fault in guest memory goes: sigjmp_buf of run.c */

	struct lp_jump jumps[LP_JUMP_CACHE];
};

static inline uint32_t lp_cpu_nzcv(const struct lp_cpu *cpu)
{
	return (uint32_t)(cpu->n < 0) << 31 | (uint32_t)(cpu->z == 0) << 30 | (uint32_t)cpu->c << 29 |
	       (uint32_t)cpu->v << 28;
}

static inline void lp_cpu_set_nzcv(struct lp_cpu *cpu, uint32_t nzcv)
{
	cpu->n = (int64_t)(int32_t)nzcv;
	cpu->z = !(nzcv >> 30 & 1);
	cpu->c = nzcv >> 29 & 1;
	cpu->v = nzcv >> 28 & 1;
}

/* ConditionHolds (DDI 0487, shared/functions/system): cond is the 4-bit field. */
static inline bool lp_cpu_condition(const struct lp_cpu *cpu, unsigned cond)
{
	bool result;

	switch (cond >> 1) {
	case 0:
		result = cpu->z == 0;
		break;
	case 1:
		result = cpu->c;
		break;
	case 2:
		result = cpu->n < 0;
		break;
	case 3:
		result = cpu->v;
		break;
	case 4:
		result = cpu->c && cpu->z != 0;
		break;
	case 5:
		result = (cpu->n < 0) == cpu->v;
		break;
	case 6:
		result = (cpu->n < 0) == cpu->v && cpu->z != 0;
		break;
	default:
		return true;
	}
	return result != (cond & 1);
}

#endif
