/*
 * Confined by seccomp:
 *
 *     seccomp kill       memfd_create kills, all else is allowed; a second thread spins
 *     seccomp deny       memfd_create fails, all else is allowed; a second thread spins
 *     seccomp half       as kill, but the second thread is free
 *     seccomp strict     read, write, exit and sigreturn only
 */
#include "victim.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static void *spin(void *arg)
{
	struct victim_slot *slot = arg;
	victim_ready();
	for (;;)
		slot->beats++;
	return NULL;
}

static void confine(uint32_t memfd_create)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, memfd_create),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof code / sizeof *code, code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		abort();
}

static void start_second(void)
{
	pthread_t t;
	if (pthread_create(&t, NULL, spin, &victim_page->slots[1]))
		abort();
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	victim_open();
	if (!strcmp(how, "half"))
		start_second();
	if (!strcmp(how, "strict")) {
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
			abort();
	} else {
		confine(!strcmp(how, "deny") ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_KILL_PROCESS);
	}
	if (!strcmp(how, "kill") || !strcmp(how, "deny"))
		start_second();
	spin(&victim_page->slots[0]);
	return 0;
}
