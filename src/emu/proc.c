#include "emu/proc.h"

#include <errno.h>

int64_t lp_proc_open(struct lp_guest_thread *t, const struct lp_path *p, int flags)
{
	return -ENOSYS;
}

int64_t lp_proc_readlink(struct lp_guest_thread *t, const struct lp_path *p, char *out, size_t size)
{
	return -ENOSYS;
}
