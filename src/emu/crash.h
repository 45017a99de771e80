/* What is left of a guest that a signal ends: a line, and a core file.  Private to signals. */
#ifndef LP_EMU_CRASH_H
#define LP_EMU_CRASH_H

#include "emu/thread.h"

/* One line to stderr: the signal, pc, symbol, and who called whom by the frame records. */
void lp_crash_report(struct lp_guest_thread *t, const siginfo_t *info);
/* With options.core: core.PID in the current directory.  All other threads are stopped for it, and stay so. */
void lp_crash_core(struct lp_guest_thread *t, const siginfo_t *info);

#endif
