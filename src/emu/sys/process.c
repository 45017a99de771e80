/* What a process is: how it comes and goes, what it is called, what it may use. */
#include <fcntl.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "base/vec.h"
#include "emu/exec.h"
#include "emu/pauth.h"
#include "emu/sys.h"

/* ---- coming and going ---- */

/* CONFIG_CLONE_BACKWARDS: tls comes before child_tid. */
CALL(clone)
{
	struct lp_clone c = {
		.flags = (uint32_t)a[0],
		.stack = a[1],
		.parent_tid = a[2],
		.tls = a[3],
		.child_tid = a[4],
	};

	if (c.flags & CLONE_PIDFD)
		c.pidfd = c.parent_tid;
	return lp_thread_clone(t, &c);
}

/* True when the bytes behind what we know of a structure that grows are zero (copy_struct_from_user). */
static bool is_zero_behind(uint64_t addr, uint64_t from, uint64_t to)
{
	for (; from < to; from++) {
		uint8_t byte;

		if (lp_arg_get(addr + from, &byte) || byte)
			return false;
	}
	return true;
}

CALL(clone3)
{
	enum { SMALLEST = 64, LARGEST = 4096 };
	struct clone_args args = {0};
	struct lp_clone c;

	if (a[1] < SMALLEST)
		return -EINVAL;
	if (a[1] > LARGEST)
		return -E2BIG;
	if (lp_arg_read(a[0], &args, a[1] < sizeof args ? a[1] : sizeof args))
		return -EFAULT;
	if (!is_zero_behind(a[0], sizeof args, a[1]))
		return -E2BIG;
	if (args.flags & CSIGNAL || args.exit_signal & ~(uint64_t)CSIGNAL || (!args.stack != !args.stack_size) ||
	    args.flags & CLONE_DETACHED)
		return -EINVAL;
	c = (struct lp_clone){
		.flags = args.flags | args.exit_signal,
		.stack = args.stack + args.stack_size,
		.parent_tid = args.parent_tid,
		.child_tid = args.child_tid,
		.tls = args.tls,
		.pidfd = args.pidfd,
		.set_tid = args.set_tid,
		.set_tid_size = args.set_tid_size,
		.cgroup = args.cgroup,
	};
	return lp_thread_clone(t, &c);
}

CALL(execve)
{
	return lp_arg_is_tagged(a[0]) ? -EFAULT : lp_exec(t, AT_FDCWD, a[0], a[1], a[2], 0);
}

CALL(execveat)
{
	return lp_arg_is_tagged(a[1]) ? -EFAULT : lp_exec(t, (int)a[0], a[1], a[2], a[3], (int)a[4]);
}

CALL(exit)
{
	lp_thread_exit(t, (int)a[0]);
	return 0;
}

CALL(exit_group)
{
	lp_process_exit(t->cpu.emu, (int)a[0]);
}

CALL(set_tid_address)
{
	t->clear_child_tid = a[0];
	return t->tid;
}

/* ---- what it is told of itself ---- */

CALL(uname)
{
	struct utsname u;
	int64_t rc = LP_HOST(SYS_uname, lp_arg_of(&u));

	if (rc)
		return rc;
	memset(u.machine, 0, sizeof u.machine);
	memcpy(u.machine, "aarch64", sizeof "aarch64");
	return lp_arg_put(a[0], &u);
}

/* PER_LINUX32 is for CPUs that execute 32-bit programs; READ_IMPLIES_EXEC would make the guest's data this program's code. */
CALL(personality)
{
	enum { QUERY = 0xffffffff };
	uint32_t persona = (uint32_t)a[0];

	if (persona != QUERY && ((persona & PER_MASK) == PER_LINUX32 || persona & READ_IMPLIES_EXEC))
		return -EINVAL;
	return lp_host(SYS_personality, a);
}

/* What is not of processes but of x86, or of arm64 features that are not offered. */
static bool is_prctl_refused(int option)
{
	static const int refused[] = {
		PR_GET_SECCOMP,
		PR_SET_SECCOMP,
		PR_SVE_SET_VL,
		PR_SVE_GET_VL,
		PR_SET_TAGGED_ADDR_CTRL,
		PR_GET_TAGGED_ADDR_CTRL,
		PR_SET_TSC,
		PR_GET_TSC,
		PR_SET_MM,
		PR_SET_SYSCALL_USER_DISPATCH,
		PR_TASK_PERF_EVENTS_DISABLE,
		PR_TASK_PERF_EVENTS_ENABLE,
		PR_SET_UNALIGN,
		PR_GET_UNALIGN,
		PR_SET_FPEMU,
		PR_GET_FPEMU,
		PR_SET_FPEXC,
		PR_GET_FPEXC,
		PR_SET_ENDIAN,
		PR_GET_ENDIAN,
	};

	for (size_t i = 0; i < LP_ARRAY_SIZE(refused); i++)
		if (refused[i] == option)
			return true;
	return false;
}

static int64_t reset_keys(struct lp_cpu *cpu, const uint64_t a[6])
{
	const uint64_t all = PR_PAC_APIAKEY | PR_PAC_APIBKEY | PR_PAC_APDAKEY | PR_PAC_APDBKEY | PR_PAC_APGAKEY;

	if (a[1] & ~all || a[2] || a[3] || a[4])
		return -EINVAL;
	lp_pauth_reset(cpu, (unsigned)(a[1] ? a[1] : all));
	return 0;
}

CALL(prctl)
{
	int option = (int)a[0];

	/* The kernel's is the host thread's, until the guest thread ends. */
	if (option == PR_GET_TID_ADDRESS)
		return lp_mem_put(a[1], &t->clear_child_tid);
	if (option == PR_PAC_RESET_KEYS)
		return reset_keys(&t->cpu, a);
	if (option == PR_PAC_SET_ENABLED_KEYS || option == PR_PAC_GET_ENABLED_KEYS)
		return -EINVAL;
	return is_prctl_refused(option) ? -EINVAL : lp_host(SYS_prctl, a);
}

/* ---- limits ---- */

/*
 * Limits of memory would be the runner's, which needs more of it than the guest
 * knows: what the guest sets is what it is told, and that is all.
 */
static struct {
	bool is_set;
	struct rlimit64 limit;
} limits[RLIM_NLIMITS];
static pthread_mutex_t limits_lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_own_limit(unsigned which)
{
	return which == RLIMIT_AS || which == RLIMIT_DATA || which == RLIMIT_STACK;
}

static int64_t get_limit(unsigned which, struct rlimit64 *out)
{
	int64_t rc = LP_HOST(SYS_prlimit64, 0, which, 0, lp_arg_of(out));

	if (rc || !is_own_limit(which))
		return rc;
	pthread_mutex_lock(&limits_lock);
	if (limits[which].is_set)
		*out = limits[which].limit;
	pthread_mutex_unlock(&limits_lock);
	return 0;
}

static int64_t set_limit(unsigned which, const struct rlimit64 *limit)
{
	struct rlimit64 old;
	int64_t rc;

	if (!is_own_limit(which))
		return LP_HOST(SYS_prlimit64, 0, which, lp_arg_of(limit), 0);
	if (limit->rlim_cur > limit->rlim_max)
		return -EINVAL;
	rc = get_limit(which, &old);
	if (rc)
		return rc;
	if (limit->rlim_max > old.rlim_max && LP_HOST(SYS_geteuid))
		return -EPERM;
	pthread_mutex_lock(&limits_lock);
	limits[which].is_set = true;
	limits[which].limit = *limit;
	pthread_mutex_unlock(&limits_lock);
	return 0;
}

CALL(prlimit64)
{
	unsigned which = (unsigned)a[1];
	struct rlimit64 old, new;
	int64_t rc;

	if (a[0] && (int)a[0] != LP_HOST(SYS_getpid))
		return lp_host(SYS_prlimit64, a);
	if (a[2] && lp_arg_get(a[2], &new))
		return -EFAULT;
	rc = get_limit(which, &old);
	if (!rc && a[2])
		rc = set_limit(which, &new);
	return rc || !a[3] ? rc : lp_arg_put(a[3], &old);
}

CALL(getrlimit)
{
	struct rlimit64 limit;
	int64_t rc = get_limit((unsigned)a[0], &limit);

	return rc ? rc : lp_arg_put(a[1], &limit);
}

CALL(setrlimit)
{
	struct rlimit64 limit;

	return lp_arg_get(a[1], &limit) ? -EFAULT : set_limit((unsigned)a[0], &limit);
}
