/*
 * FPCR and FPSR of the guest thread that runs on this host thread.
 *
 * Host instructions do the guest's arithmetic wherever both architectures agree,
 * so the guest's rounding mode is put into MXCSR, and the cumulative flags that
 * host instructions leave there are part of FPSR.  What they do not agree on
 * (flush to zero, default NaNs, half-precision alternatives, NaN operands) is
 * computed in integers (fp_exact.h), which leaves MXCSR alone.
 *
 * All of these act on the calling host thread's MXCSR: call them on the thread
 * that runs `cpu`, and nowhere else.  C code that runs between guest instructions
 * must not do floating-point arithmetic: its flags would become the guest's.
 *
 * Sources: DDI 0487 C5.2.8 (FPCR), C5.2.10 (FPSR); Intel SDM vol. 1, 10.2.3 (MXCSR).
 */
#ifndef LP_EMU_FP_H
#define LP_EMU_FP_H

#include "emu/uop.h"

enum {
	LP_FPSR_IOC = 1 << 0, /* invalid operation */
	LP_FPSR_DZC = 1 << 1, /* division by zero */
	LP_FPSR_OFC = 1 << 2,
	LP_FPSR_UFC = 1 << 3,
	LP_FPSR_IXC = 1 << 4,
	LP_FPSR_IDC = 1 << 7, /* a denormal operand was flushed */
	LP_FPSR_QC = 1 << 27, /* an integer saturated */

	LP_FPCR_FZ16 = 1 << 19,
	LP_FPCR_RMODE_SHIFT = 22,
	LP_FPCR_RMODE = 3 << LP_FPCR_RMODE_SHIFT, /* nearest, up, down, zero */
	LP_FPCR_FZ = 1 << 24,
	LP_FPCR_DN = 1 << 25,
	LP_FPCR_AHP = 1 << 26,
};

/* Before the first guest instruction on a host thread: MXCSR as cpu->fpcr says and free of flags. */
void lp_fp_begin(struct lp_cpu *cpu);
/* After a host signal handler that went back by siglongjmp: the kernel gave it an MXCSR of its own, so that of the
 * interrupted code (uc_mcontext.fpregs->mxcsr) is to be put back.  Without it the guest loses rounding mode and flags. */
void lp_fp_land(struct lp_cpu *cpu, uint32_t mxcsr);

/* MSR FPCR.  Bits that are RES0 here (trap enables, vector lengths of AArch32) are dropped; cpu->fpcr is what MRS reads. */
void lp_fpcr_write(struct lp_cpu *cpu, uint32_t value);
/* MRS FPSR; also what a signal frame, a core file or a new thread's cpu->fpsr takes. */
uint32_t lp_fpsr_read(const struct lp_cpu *cpu);
void lp_fpsr_write(struct lp_cpu *cpu, uint32_t value);

/* For lower.c: the function of the row for just this word, and u->imm as that one wants it; NULL, and nothing
 * changed, when there is none. */
lp_uop_fn *lp_fp_lower(enum lp_a64_op op, struct lp_uop *u);
/* For hot_compare.c: what does the work of `compare`, one of those, and of the b.cond behind it; NULL: none.
 * condition: of LP_CONDITIONS, 0 to 13. */
lp_uop_fn *lp_fp_with_branch(lp_uop_fn *compare, unsigned condition);

#endif
