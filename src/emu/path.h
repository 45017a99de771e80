/*
 * Paths of the guest in the host's tree.
 *
 * With a sysroot the guest sees both at once: what exists below the sysroot is
 * taken from there, everything else from the host.  A path is walked as the
 * guest means it, so that an absolute symbolic link inside the sysroot stays
 * inside, and ".." does not leave it.  A file that is created is the host's,
 * unless only the sysroot has the directory.
 *
 * /dev, /proc and /sys are the host's with all that is in them; directories in
 * which people keep their own things (machine_dirs in path.c) are the host's
 * when they themselves are meant.
 */
#ifndef LP_EMU_PATH_H
#define LP_EMU_PATH_H

#include <limits.h>

#include "emu/emu.h"

/* What the call does with the last component. */
enum {
	LP_PATH_NOFOLLOW = 1, /* means the symbolic link itself */
	LP_PATH_CREATE = 2,   /* makes it */
};

struct lp_path {
	int dirfd; /* to be used with text */
	char guest[PATH_MAX];
	char text[PATH_MAX];
};

/* The path at addr, for a call that was given dirfd: 0 or -errno.  An empty path stays empty. */
int lp_path_get(struct lp_guest_thread *t, int dirfd, uint64_t addr, unsigned how, struct lp_path *out);
/* An absolute path of the guest in the host's tree; out is the same path where nothing is to be changed. */
void lp_path_host(const struct lp_emu *emu, const char *guest, unsigned how, char out[PATH_MAX]);
/* The reverse, in place, of a host path that the kernel said: without the sysroot. */
void lp_path_guest(const struct lp_emu *emu, char *path);

#endif
