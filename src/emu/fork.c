/*
 * New processes: fork, and vfork.
 *
 * For a fork the world stands still, so that none of our locks is held by a thread
 * that the child does not have.  fork(3) sees to the C library's locks; flags that
 * it cannot pass on take the bare system call, and a helper thread of ours that was
 * just allocating memory would then leave the child without it.
 *
 * A vfork child (posix_spawn makes them) really shares our memory: it is another
 * host process on a host stack of its own, with the guest's registers as its parent
 * has them, while the parent's thread waits in the kernel.  It has the parent
 * thread's thread-local variables too, and a copy of the table of signals.
 */
#include <errno.h>
#include <sched.h>
#include <unistd.h>
#include <sys/syscall.h>

#include "base/asan.h"
#include "base/reserve.h"
#include "emu/fp.h"
#include "emu/host_signals.h"
#include "emu/thread_private.h"

/* What the kernel does and the emulator need not know of. */
#define PASSED_ON                                                                                                     \
	(CSIGNAL | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_IO | CLONE_PARENT | CLONE_PTRACE | CLONE_UNTRACED | \
	 CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |  \
	 CLONE_VFORK | CLONE_PIDFD)
#define DONE_HERE (CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | CLONE_DETACHED)

static void store_tid(uint64_t addr)
{
	uint32_t tid = (uint32_t)lp_host_tid();

	lp_mem_put(addr, &tid);
}

/* The parent's part of the result: pid, or -errno. */
static int64_t parent_has(const struct lp_clone *c, pid_t pid, int pidfd)
{
	uint32_t tid = (uint32_t)pid;

	if (pid < 0)
		return pid;
	if (c->flags & CLONE_PARENT_SETTID)
		lp_mem_put(c->parent_tid, &tid);
	if (c->flags & CLONE_PIDFD && lp_mem_put(c->pidfd, &pidfd)) {
		close(pidfd);
		return -EFAULT;
	}
	return pid;
}

/* ---- fork ---- */

static void lock_all(struct lp_guest_thread *t)
{
	struct lp_emu *emu = t->cpu.emu;

	lp_emu_tell(emu, forking, emu, true);
	lp_threads_stop(t->cpu.emu, 0);
	lp_mem_lock(t->cpu.emu);
	lp_blocks_lock(t->cpu.emu->blocks);
	if (emu->engine)
		emu->engine->lock(emu);
	lp_signals_fork_lock(t);
	/* Threads that have left the list are not among those that stand still. */
	pthread_mutex_lock(&t->cpu.emu->threads_lock);
}

static void unlock_all(struct lp_guest_thread *t)
{
	pthread_mutex_unlock(&t->cpu.emu->threads_lock);
	lp_signals_fork_unlock(t);
	if (t->cpu.emu->engine)
		t->cpu.emu->engine->unlock(t->cpu.emu);
	lp_blocks_unlock(t->cpu.emu->blocks);
	lp_mem_unlock(t->cpu.emu);
	lp_threads_go(t->cpu.emu);
}

static void child_begins(struct lp_guest_thread *t, const struct lp_clone *c, bool by_libc)
{
	struct lp_emu *emu = t->cpu.emu;

	lp_reserve_forked();
	lp_guest_threads_forked(t, by_libc);
	unlock_all(t);
	if (emu->engine)
		emu->engine->forked(emu);
	atomic_fetch_and(&t->cpu.poll, ~(uint32_t)LP_POLL_PARK);
	t->tid = lp_host_tid();
	t->clear_child_tid = c->flags & CLONE_CHILD_CLEARTID ? c->child_tid : 0;
	if (c->flags & CLONE_CHILD_SETTID)
		store_tid(c->child_tid);
	if (c->stack)
		t->stack_top = t->cpu.x[LP_SP] = c->stack;
	if (c->flags & CLONE_SETTLS)
		t->cpu.tpidr = c->tls;
	lp_signals_forked(t, c->flags & LP_CLONE_CLEAR_SIGHAND);
	lp_emu_tell(emu, forked, emu);
	lp_signals_thread_begin(t);
}

static int64_t clone_fork(struct lp_guest_thread *t, const struct lp_clone *c)
{
	uint64_t mask = lp_signals_keep_out();
	bool by_libc = (c->flags & PASSED_ON) == SIGCHLD;
	int pidfd = -1;
	int64_t result;
	pid_t pid;

	if (t->cpu.emu->engine)
		t->cpu.emu->engine->forking(t->cpu.emu);
	lock_all(t);
	pid = by_libc ? fork() : (pid_t)syscall(SYS_clone, c->flags & PASSED_ON, 0, &pidfd, 0, 0);
	if (pid < 0)
		pid = -errno;
	if (pid == 0) {
		child_begins(t, c, by_libc);
		return 0;
	}
	unlock_all(t);
	lp_emu_tell(t->cpu.emu, forking, t->cpu.emu, false);
	result = parent_has(c, pid, pidfd);
	lp_host_mask(mask);
	return result;
}

/* ---- vfork ---- */

struct vfork {
	struct lp_guest_thread *t;
	const struct lp_clone *clone;
};

static int run_vfork_child(void *arg)
{
	const struct vfork *v = arg;
	struct lp_guest_thread *t = v->t;
	const struct lp_clone *c = v->clone;

	lp_guest_self_set(t);
	t->tid = lp_host_tid();
	if (c->flags & CLONE_PARENT_SETTID)
		store_tid(c->parent_tid);
	if (c->flags & CLONE_CHILD_SETTID)
		store_tid(c->child_tid);
	syscall(SYS_set_tid_address, t->clear_child_tid);
	lp_signals_forked(t, c->flags & LP_CLONE_CLEAR_SIGHAND);
	lp_fp_begin(&t->cpu);
	lp_signals_thread_begin(t);
	lp_cpu_run(&t->cpu);
	syscall(SYS_exit, t->exit_status);
	return 0;
}

/* pid or -errno. */
static pid_t run_vfork(struct lp_guest_thread *parent, struct vfork *v, int *pidfd)
{
	int flags = (int)(v->clone->flags & (PASSED_ON | CLONE_VM | CLONE_SIGHAND));
	size_t size;
	char *stack = lp_guest_thread_stack(v->t, &size);
	pid_t pid;

	lp_asan_forget(stack, size); /* who had it before may have left by execve */
	lp_thread_enter_host(parent);
	pid = clone(run_vfork_child, stack + size, flags, v, pidfd, NULL, NULL);
	if (pid < 0)
		pid = -errno;
	/* However the child ended, who waits for it to stand still waits no longer. */
	lp_guest_self_set(parent);
	lp_thread_enter_host(v->t);
	lp_thread_leave_host(parent);
	return pid;
}

static int64_t clone_vfork(struct lp_guest_thread *parent, const struct lp_clone *c)
{
	struct vfork v = {lp_guest_thread_cloned(parent, c), c};
	int pidfd = -1;
	uint64_t mask;
	int64_t result;
	pid_t pid;

	if (!v.t)
		return -EAGAIN;
	v.t->is_vfork_child = true;
	if (!(c->flags & CLONE_SIGHAND))
		v.t->signals.process = lp_process_signals_copy(parent->signals.process);
	mask = lp_signals_keep_out();
	lp_guest_thread_link(v.t);
	pid = run_vfork(parent, &v, &pidfd);
	lp_guest_thread_unlink(v.t);
	if (!(c->flags & CLONE_SIGHAND))
		lp_process_signals_free(v.t->signals.process);
	lp_guest_thread_free(v.t);
	result = parent_has(c, pid, pidfd);
	lp_host_mask(mask);
	return result;
}

int64_t lp_process_clone(struct lp_guest_thread *t, const struct lp_clone *c)
{
	uint64_t known = PASSED_ON | DONE_HERE | CLONE_VM | CLONE_SIGHAND | LP_CLONE_CLEAR_SIGHAND;

	if (c->flags & ~known)
		return -EINVAL;
	if (!(c->flags & CLONE_VM))
		return clone_fork(t, c);
	/* Two processes in the same memory at the same time would need thread-local variables of their own. */
	if (!(c->flags & CLONE_VFORK))
		return -EINVAL;
	return clone_vfork(t, c);
}
