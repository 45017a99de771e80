/*
 * Processes that share the memory without being threads: what vfork(),
 * posix_spawn() and clone(CLONE_VM) make.  /proc does not show who shares, but
 * kcmp(2) compares, for a microsecond a process; it asks for the right to trace
 * both, which we have for a process that still runs as the user it was made by.
 */
#include <dirent.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proc/state.h"

static bool same_memory(pid_t a, pid_t b)
{
	return syscall(SYS_kcmp, a, b, KCMP_VM, 0, 0) == 0;
}

pid_t lp_sharer(const struct lp_proc *p)
{
	pid_t found = 0;
	/* A container may forbid the call; and a dying anchor has no memory, which is the same as a kernel thread's. */
	DIR *dir = same_memory(p->anchor, p->anchor) && !same_memory(p->anchor, getpid()) ? opendir("/proc") : NULL;
	if (!dir)
		return 0;
	for (struct dirent *d; !found && (d = readdir(dir));) {
		pid_t pid = (pid_t)strtol(d->d_name, NULL, 10);
		if (pid > 0 && pid != p->pid && same_memory(p->anchor, pid) && !lp_proc_replaced(p))
			found = pid;
	}
	closedir(dir);
	return found;
}
