/* Where a host signal handler finds lp_safe_syscall() interrupted.  Private to signals. */
#ifndef LP_EMU_SAFE_SYSCALL_H
#define LP_EMU_SAFE_SYSCALL_H

#include <ucontext.h>

/* In a handler that has noted a signal: a call that was about to be made, or is to be made again, is not. */
void lp_safe_syscall_interrupt(ucontext_t *context);

#endif
