/* Calls that an emulated program is not offered: each is refused by the error that tells a library to do without. */
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>

#include "say.h"

static void refused(const char *name, long result, int error)
{
	if (result == -1 && errno == error)
		printf("%s: %s\n", name, strerrorname_np(error));
	else
		printf("%s: %ld %s, wanted %s\n", name, result, strerrorname_np(errno), strerrorname_np(error));
}

#define REFUSED(error, call) refused(#call, call, error)
#define NUMBER(error, nr) refused(#nr, syscall(nr, 0, 0, 0, 0, 0, 0), error)

int main(void)
{
	REFUSED(ENOSYS, ptrace(PTRACE_TRACEME, 0, 0, 0));
	NUMBER(ENOSYS, SYS_io_uring_setup);
	NUMBER(ENOSYS, SYS_io_uring_enter);
	NUMBER(ENOSYS, SYS_io_uring_register);
	NUMBER(ENOSYS, SYS_bpf);
	NUMBER(ENOSYS, SYS_userfaultfd);
	NUMBER(ENOSYS, SYS_landlock_create_ruleset);
	NUMBER(ENOSYS, SYS_landlock_add_rule);
	NUMBER(ENOSYS, SYS_landlock_restrict_self);
	NUMBER(ENOSYS, SYS_seccomp);
	NUMBER(ENOSYS, SYS_rseq);
	NUMBER(ENOSYS, SYS_perf_event_open);
	NUMBER(ENOSYS, SYS_pkey_alloc);
	NUMBER(EPERM, SYS_init_module);
	NUMBER(EPERM, SYS_finit_module);
	NUMBER(EPERM, SYS_kexec_load);
	NUMBER(ENOSYS, 42);
	NUMBER(ENOSYS, 244);
	NUMBER(ENOSYS, 259);
	NUMBER(ENOSYS, 295);
	NUMBER(ENOSYS, 403);
	NUMBER(ENOSYS, 423);
	NUMBER(ENOSYS, 451);
	NUMBER(ENOSYS, 0x7fffffff);
	NUMBER(ENOSYS, -1);
	REFUSED(EINVAL, prctl(PR_SET_SECCOMP, 2, 0, 0, 0));
	REFUSED(EINVAL, prctl(PR_SET_TAGGED_ADDR_CTRL, 1, 0, 0, 0));
	REFUSED(EINVAL, prctl(50 /* PR_SVE_SET_VL */, 16, 0, 0, 0));
	REFUSED(EINVAL, prctl(51 /* PR_SVE_GET_VL */, 0, 0, 0, 0));
	REFUSED(EINVAL, personality(PER_LINUX32));
	return 0;
}
