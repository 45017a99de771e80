/* Host signals that stand for faults.  Private to signals. */
#ifndef LP_EMU_FAULT_SIGNALS_H
#define LP_EMU_FAULT_SIGNALS_H

#include <signal.h>
#include <stdint.h>

struct lp_cpu;

/* The host handler of SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGTRAP. */
void lp_fault_caught(int sig, siginfo_t *info, void *context);
/* ESR_EL1 of cpu->fault, whose instruction is at pc and has changed nothing; 0: the kernel shows none. */
uint64_t lp_fault_syndrome(const struct lp_cpu *cpu);

#endif
