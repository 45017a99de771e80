/*
 * A confined process.
 *
 *     e2e_seccomp strict    read, write and exit only
 *     e2e_seccomp kill      a filter that kills whoever maps memory or makes a memfd
 *     call                  func_J's answer
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "e2e_serve.h"

const char *func_J(int n);

PATCHED const char *func_J(int n)
{
	return n < 0 ? "negative" : "original J";
}

static void answer(char *request)
{
	say("%s", func_J(1));
}

static int confine_strictly(void)
{
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
}

static int confine_by_filter(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
	int strict = argc > 1 && !strcmp(argv[1], "strict");

	if (strict ? confine_strictly() : confine_by_filter())
		return 1;
	serve(answer);
	/* exit_group is not among the calls of strict mode; exit is. */
	syscall(SYS_exit, 0);
}
