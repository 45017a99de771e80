/*
 * --strace: each system call of the guest as strace(1) shows it, one line when
 * it is over (before, where it does not come back), in one write.
 */
#ifndef LP_EMU_STRACE_H
#define LP_EMU_STRACE_H

#include "emu/sys.h"

/* Where lines go: a descriptor of the runner (lp_fd_keep); standard error unless told. */
void lp_strace_to(int fd);
void lp_strace_enter(struct lp_guest_thread *t, const struct lp_call_row *row, const uint64_t a[6]);
void lp_strace_leave(struct lp_guest_thread *t, const struct lp_call_row *row, const uint64_t a[6], int64_t result);

#endif
