/*
 * Files of /proc that say what is true of the runner, where the guest wants to
 * know it of itself: maps, exe, auxv, cmdline, cpuinfo.
 */
#ifndef LP_EMU_PROC_H
#define LP_EMU_PROC_H

#include "emu/path.h"

/* A descriptor of the file as the guest shall see it, or -errno; -ENOSYS: it is none of those, open it as it is.
 * flags are the host's O_*. */
int64_t lp_proc_open(struct lp_guest_thread *t, const struct lp_path *p, int flags);
/* The target of such a symbolic link without NUL, its length; -ENOSYS: none of those. */
int64_t lp_proc_readlink(struct lp_guest_thread *t, const struct lp_path *p, char *out, size_t size);

#endif
