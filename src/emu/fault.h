/*
 * Faults of the host that are the guest's: an instruction, or a copy of ours, touched memory that is not there.
 */
#ifndef LP_EMU_FAULT_H
#define LP_EMU_FAULT_H

#include "emu/cpu.h"

/* In the host's handler for SIGSEGV and SIGBUS, when cpu->at is set: gives the instruction up and goes back to
 * lp_cpu_run(), which sees `fault` at cpu->at->pc.  The caller has restored the signal mask. */
void lp_fault_land(struct lp_cpu *cpu, const struct lp_fault *fault) __attribute__((noreturn));

/* The same, where the instruction has not been given a fair chance: the interpreter is to execute it. */
void lp_fault_retry(struct lp_cpu *cpu) __attribute__((noreturn));

/* Copies that may fault: 0, or -EFAULT when the handler found the fault between lp_copy_begin and lp_copy_end (its
 * addresses) and let it go on at lp_copy_fault. */
int lp_copy_guarded(void *to, const void *from, size_t len);
extern const char lp_copy_begin[], lp_copy_end[], lp_copy_fault[];

#endif
