#include "emu/exec.h"

#include <errno.h>

int64_t lp_exec(struct lp_guest_thread *t, int dirfd, uint64_t path, uint64_t argv, uint64_t envp, int flags)
{
	return -ENOSYS;
}
