/*
 * Files of /proc that say what is true of the runner, where the guest wants to
 * know it of itself: maps, exe, auxv, cmdline, cpuinfo; and of other guests.
 */
#ifndef LP_EMU_PROC_H
#define LP_EMU_PROC_H

#include "emu/path.h"

/* A descriptor of the file as the guest shall see it, or -errno; -ENOSYS: it is none of those, open it as it is.
 * flags are the host's O_*. */
int64_t lp_guest_proc_open(struct lp_guest_thread *t, const struct lp_path *p, int flags);
/* The target of such a symbolic link without NUL, its length; -ENOSYS: none of those. */
int64_t lp_guest_proc_readlink(struct lp_guest_thread *t, const struct lp_path *p, char *out, size_t size);

/* A path that ends in the exe of the guest, or of another runner's, is the program's; for calls that follow the link. */
void lp_guest_proc_follow_exe(struct lp_guest_thread *t, struct lp_path *p);

/* ---- proc_others.c ---- */

struct lp_loaded;

/* Has other processes see the program's arguments and environment, not the runner's. */
void lp_guest_proc_show(const struct lp_loaded *loaded);
/* The program of another runner as the guest would open it.  False: it is none, or is not to be seen. */
bool lp_guest_proc_exe_of(const struct lp_emu *emu, pid_t pid, char out[PATH_MAX]);

#endif
