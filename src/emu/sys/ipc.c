/* System V semaphores: x86-64 has padding in struct semid64_ds. */
#include <asm/ipcbuf.h>
#include <asm/sembuf.h>
#include <linux/ipc.h>
#include <linux/sem.h>

#include "emu/sys.h"

/* include/uapi/asm-generic/sembuf.h */
struct guest_semid {
	struct ipc64_perm perm;
	int64_t otime, ctime;
	uint64_t nsems, unused[2];
};
_Static_assert(sizeof(struct guest_semid) == 88, "as arm64 has it");

static int64_t set(const uint64_t a[6])
{
	struct guest_semid g;
	struct semid64_ds ds = {0};

	if (lp_arg_get(a[3], &g))
		return -EFAULT;
	ds.sem_perm = g.perm;
	return LP_HOST(SYS_semctl, a[0], a[1], a[2], lp_arg_of(&ds));
}

static int64_t get(const uint64_t a[6])
{
	struct semid64_ds ds = {0};
	struct guest_semid g = {0};
	int64_t rc = LP_HOST(SYS_semctl, a[0], a[1], a[2], lp_arg_of(&ds));

	if (rc < 0)
		return rc;
	g.perm = ds.sem_perm;
	g.otime = ds.sem_otime;
	g.ctime = ds.sem_ctime;
	g.nsems = ds.sem_nsems;
	return lp_arg_put(a[3], &g) ? -EFAULT : rc;
}

CALL(semctl)
{
	enum { VERSION_BIT = 0x100 }; /* IPC_64, of 32-bit ABIs; ignored */

	switch ((int)a[2] & ~VERSION_BIT) {
	case IPC_SET:
		return set(a);
	case IPC_STAT:
	case SEM_STAT:
	case SEM_STAT_ANY:
		return get(a);
	default:
		return lp_host(SYS_semctl, a);
	}
}
