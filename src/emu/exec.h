/*
 * execve(2): another program in this process.  One for AArch64 is run by this
 * runner again; what the host can execute, the host executes.
 */
#ifndef LP_EMU_EXEC_H
#define LP_EMU_EXEC_H

#include "emu/emu.h"

/* execveat(2), with the guest's addresses.  Comes back only with -errno. */
int64_t lp_exec(struct lp_guest_thread *t, int dirfd, uint64_t path, uint64_t argv, uint64_t envp, int flags);

#endif
