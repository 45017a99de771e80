/* Host signals that stand for faults.  Private to signals. */
#ifndef LP_EMU_FAULT_SIGNALS_H
#define LP_EMU_FAULT_SIGNALS_H

#include <signal.h>

/* The host handler of SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGTRAP. */
void lp_fault_caught(int sig, siginfo_t *info, void *context);

#endif
