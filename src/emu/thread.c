/* How guest threads come and go. */
#include "emu/strace.h"
#include "emu/thread.h"

#include <errno.h>
#include <sched.h>
#include <stdalign.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/asan.h"
#include "base/vec.h"
#include "emu/fp.h"
#include "emu/host_signals.h"
#include "emu/exec.h"
#include "emu/pauth.h"
#include "emu/thread_private.h"

/* A cloned thread's memory: a page that faults, the host stack, and its struct at the end. */
enum { GUARD = LP_PAGE, HOST_STACK = 256 << 10 };

static _Thread_local struct lp_guest_thread *self;

struct lp_guest_thread *lp_guest_self(void)
{
	return self;
}

void lp_guest_self_set(struct lp_guest_thread *t)
{
	self = t;
}

/* ---- memory ---- */

/* Rooms whose threads have ended, or are about to: the kernel says when their stacks are no longer stood on. */
struct ended {
	struct ended *next;
	int tid;
};

static struct ended *ended; /* with threads_lock held */

static size_t room_size(void)
{
	return GUARD + HOST_STACK + lp_align_up(sizeof(struct lp_guest_thread), LP_PAGE);
}

static struct lp_guest_thread *thread_in(void *room)
{
	return (void *)((char *)room + GUARD + HOST_STACK);
}

static void *room_of_an_ended(struct lp_emu *emu)
{
	struct ended **link = &ended, *e;

	pthread_mutex_lock(&emu->threads_lock);
	while ((e = *link) && syscall(SYS_tgkill, getpid(), e->tid, 0) == 0)
		link = &e->next;
	if (e)
		*link = e->next;
	pthread_mutex_unlock(&emu->threads_lock);
	return e ? (char *)e - GUARD : NULL;
}

static void *new_room(struct lp_emu *emu)
{
	char *room = room_of_an_ended(emu);

	if (room)
		return room;
	room = mmap(NULL, room_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return NULL;
	if (mprotect(room, GUARD, PROT_NONE)) {
		munmap(room, room_size());
		return NULL;
	}
	return room;
}

static void drop_room(void *room)
{
	lp_asan_forget(room, room_size());
	munmap(room, room_size());
}

void *lp_guest_thread_stack(struct lp_guest_thread *t, size_t *size)
{
	*size = HOST_STACK;
	return (char *)t->room + GUARD;
}

void lp_guest_thread_free(struct lp_guest_thread *t)
{
	lp_exec_forget(t);
	if (t->cpu.emu->engine)
		t->cpu.emu->engine->thread_ended(&t->cpu);
	if (t->room)
		drop_room(t->room);
	else
		lp_free(t);
}

/* The lowest bytes of the stack that the caller still stands on: it never comes so far down again. */
static void leave_room(struct lp_guest_thread *t)
{
	struct ended *e = (void *)((char *)t->room + GUARD);

	e->tid = t->tid;
	pthread_mutex_lock(&t->cpu.emu->threads_lock);
	t->cpu.emu->ended_insns += t->cpu.nr_insns;
	e->next = ended;
	ended = e;
	pthread_mutex_unlock(&t->cpu.emu->threads_lock);
}

/* An empty entry has a pc that is looked for elsewhere. */
static void forget_jumps(struct lp_cpu *cpu)
{
	memset(cpu->jumps, 0, sizeof cpu->jumps);
	cpu->jumps[0].pc = 4;
}

struct lp_guest_thread *lp_guest_thread_new(struct lp_emu *emu)
{
	struct lp_guest_thread *t = lp_alloc(sizeof *t);

	forget_jumps(&t->cpu);
	t->cpu.emu = emu;
	t->cpu.thread = t;
	t->cpu.z = 1;
	lp_pauth_reset(&t->cpu, ~0U);
	t->tid = lp_host_tid();
	t->signals.process = emu->signals;
	t->signals.blocked = lp_signals_keep_out();
	emu->main = t;
	return t;
}

static void copy_registers(struct lp_cpu *to, const struct lp_cpu *from)
{
	memcpy(to->x, from->x, sizeof to->x);
	memcpy(to->vr, from->vr, sizeof to->vr);
	to->pc = from->pc;
	lp_cpu_set_nzcv(to, lp_cpu_nzcv(from));
	to->fpcr = from->fpcr;
	to->fpsr = lp_fpsr_read(from);
	to->tpidr = from->tpidr;
	to->dit = from->dit;
	to->ssbs = from->ssbs;
	memcpy(to->pauth, from->pauth, sizeof to->pauth);
}

struct lp_guest_thread *lp_guest_thread_cloned(struct lp_guest_thread *parent, const struct lp_clone *c)
{
	void *room = new_room(parent->cpu.emu);
	struct lp_guest_thread *t;

	if (!room)
		return NULL;
	t = thread_in(room);
	memset(t, 0, sizeof *t);
	t->room = room;
	forget_jumps(&t->cpu);
	copy_registers(&t->cpu, &parent->cpu);
	t->cpu.emu = parent->cpu.emu;
	t->cpu.thread = t;
	atomic_init(&t->cpu.poll, atomic_load(&parent->cpu.poll) & ~(uint32_t)(LP_POLL_SIGNAL | LP_POLL_PARK));
	t->cpu.x[0] = 0;
	if (c->stack)
		t->cpu.x[LP_SP] = c->stack;
	t->stack_top = t->cpu.x[LP_SP];
	if (c->flags & CLONE_SETTLS)
		t->cpu.tpidr = c->tls;
	if (c->flags & CLONE_CHILD_CLEARTID)
		t->clear_child_tid = c->child_tid;
	t->signals.blocked = parent->signals.blocked;
	t->signals.process = parent->signals.process;
	t->signals.fault_address = parent->signals.fault_address;
	t->signals.fault_code = parent->signals.fault_code;
	return t;
}

/* ---- the list ---- */

void lp_guest_thread_link(struct lp_guest_thread *t)
{
	struct lp_emu *emu = t->cpu.emu;

	pthread_mutex_lock(&emu->threads_lock);
	t->next = emu->threads;
	emu->threads = t;
	lp_thread_join_stop(t);
	pthread_mutex_unlock(&emu->threads_lock);
}

bool lp_guest_thread_unlink(struct lp_guest_thread *t)
{
	struct lp_emu *emu = t->cpu.emu;
	struct lp_guest_thread **link = &emu->threads;
	bool last;

	pthread_mutex_lock(&emu->threads_lock);
	while (*link && *link != t)
		link = &(*link)->next;
	if (*link)
		*link = t->next;
	last = !emu->threads;
	pthread_mutex_unlock(&emu->threads_lock);
	lp_thread_enter_host(t); /* whoever waits for it waits no longer */
	return last;
}

void lp_guest_threads_forked(struct lp_guest_thread *t, bool by_libc)
{
	struct lp_emu *emu = t->cpu.emu;
	struct lp_guest_thread *next;

	for (struct lp_guest_thread *other = emu->threads; by_libc && other; other = next) {
		next = other->next;
		if (other != t && other->room)
			drop_room(other->room);
	}
	for (struct ended *e = ended, *after; by_libc && e; e = after) {
		after = e->next;
		drop_room((char *)e - GUARD);
	}
	ended = NULL;
	emu->threads = t;
	emu->main = t;
	t->next = NULL;
	atomic_store(&emu->awaited, 0);
	atomic_store(&emu->sleepers, 0);
}

/* ---- running ---- */

/* The kernel clears it and wakes who joins when the host thread has ended: after the robust list, as it must be. */
static void hand_over_clear_tid(const struct lp_guest_thread *t)
{
	syscall(SYS_set_tid_address, t->clear_child_tid);
}

static void begin(struct lp_guest_thread *t)
{
	self = t;
	lp_fp_begin(&t->cpu);
	lp_signals_thread_begin(t);
}

enum { UNKNOWN, WAITING, KNOWN };

/* The parent looks at the host thread, and may store its number where the end stores 0. */
static void wait_until_known(struct lp_guest_thread *t)
{
	uint32_t unknown = UNKNOWN;

	if (!atomic_compare_exchange_strong(&t->is_known, &unknown, WAITING))
		return;
	while (atomic_load(&t->is_known) == WAITING)
		syscall(SYS_futex, &t->is_known, FUTEX_WAIT_PRIVATE, WAITING, NULL);
}

/* The thread may be gone as soon as it is known: then somebody else's wait is looked at once more. */
static void make_known(struct lp_guest_thread *t)
{
	if (atomic_exchange(&t->is_known, KNOWN) == WAITING)
		syscall(SYS_futex, &t->is_known, FUTEX_WAKE_PRIVATE, 1);
}

/* True when other threads go on. */
static bool end(struct lp_guest_thread *t)
{
	struct lp_emu *emu = t->cpu.emu;

	lp_signals_thread_end(t);
	if (lp_guest_thread_unlink(t))
		lp_process_exit(emu, t->exit_status);
	hand_over_clear_tid(t);
	if (emu->engine)
		emu->engine->thread_ended(&t->cpu);
	self = NULL;
	return true;
}

void lp_guest_thread_run(struct lp_guest_thread *t)
{
	t->stack_top = t->cpu.x[LP_SP];
	lp_guest_thread_link(t);
	begin(t);
	lp_cpu_run(&t->cpu);
	end(t);
	for (;;)
		syscall(SYS_exit, t->exit_status);
}

void lp_thread_exit(struct lp_guest_thread *t, int status)
{
	t->exit_status = status;
	t->ends = true;
}

/* ---- clone(2) of a thread ---- */

/* The new thread's own: its parent does not wait for it. */
struct start {
	struct lp_guest_thread *t;
	struct lp_clone clone;
};

/* What the new thread is not to share: a thread of the host shares it all. */
static void unshare_rest(uint64_t flags)
{
	int rest = (int)(~flags & (CLONE_FS | CLONE_FILES | CLONE_SYSVSEM));

	if (rest)
		syscall(SYS_unshare, rest);
}

/* As the kernel does it, addresses that are not there are nobody's error. */
static void store_parent_tid(const struct lp_clone *c, int tid)
{
	uint32_t value = (uint32_t)tid;

	if (c->flags & CLONE_PARENT_SETTID)
		lp_mem_put(c->parent_tid, &value);
}

static void *run_thread(void *arg)
{
	struct start *start = arg;
	struct lp_guest_thread *t = start->t;
	const struct lp_clone c = start->clone;
	uint32_t tid = (uint32_t)lp_host_tid();

	lp_free(start);
	t->tid = (int)tid;
	store_parent_tid(&c, t->tid);
	if (c.flags & CLONE_CHILD_SETTID)
		lp_mem_put(c.child_tid, &tid);
	unshare_rest(c.flags);
	begin(t);
	lp_cpu_run(&t->cpu);
	wait_until_known(t);
	end(t);
	leave_room(t);
	return NULL;
}

static int start_host_thread(struct start *start, pthread_t *host)
{
	pthread_attr_t attr;
	size_t size;
	void *stack = lp_guest_thread_stack(start->t, &size);
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstack(&attr, stack, size);
	rc = pthread_create(host, &attr, run_thread, start);
	pthread_attr_destroy(&attr);
	return -rc;
}

/* The kernel's number of a thread that has not ended is in the number of its clock: ~tid << 3 | 6 (MAKE_THREAD_CPUCLOCK
 * of linux/posix-timers.h).  To ask the thread itself would be to wait until it runs. */
static int tid_of(pthread_t host)
{
	clockid_t clock = 0;

	pthread_getcpuclockid(host, &clock);
	return ~(clock >> 3);
}

/*
 * As clone(2) has it, the parent goes on at once.  If it slept until its child has
 * got somewhere, one that takes its processor (SCHED_FIFO) could do all of its work
 * before the parent knew that it exists.
 */
static int64_t clone_thread(struct lp_guest_thread *parent, const struct lp_clone *c)
{
	struct lp_guest_thread *t = lp_guest_thread_cloned(parent, c);
	struct start *start;
	pthread_t host;
	uint64_t mask;
	int rc;

	if (!t)
		return -EAGAIN;
	start = lp_alloc(sizeof *start);
	*start = (struct start){.t = t, .clone = *c};
	/* The host thread begins with everything kept out. */
	mask = lp_signals_keep_out();
	lp_guest_thread_link(t);
	rc = start_host_thread(start, &host);
	if (rc) {
		lp_guest_thread_unlink(t);
		lp_guest_thread_free(t);
		lp_free(start);
	} else {
		rc = tid_of(host);
		store_parent_tid(c, rc);
		make_known(t);
	}
	lp_host_mask(mask);
	return rc;
}

/* What clone(2) says goes together. */
static bool is_consistent(const struct lp_clone *c)
{
	uint64_t f = c->flags;

	if (f & CLONE_THREAD && !(f & CLONE_SIGHAND))
		return false;
	if (f & CLONE_SIGHAND && !(f & CLONE_VM))
		return false;
	if (f & CLONE_SIGHAND && f & LP_CLONE_CLEAR_SIGHAND)
		return false;
	if (f & CLONE_FS && f & (CLONE_NEWNS | CLONE_NEWUSER))
		return false;
	if (f & CLONE_THREAD && f & (CLONE_NEWUSER | CLONE_NEWPID | CLONE_PIDFD))
		return false;
	return !(f & CLONE_PIDFD && f & CLONE_DETACHED);
}

int64_t lp_thread_clone(struct lp_guest_thread *t, const struct lp_clone *c)
{
	if (!is_consistent(c) || c->flags & LP_CLONE_INTO_CGROUP)
		return -EINVAL;
	if (c->set_tid_size)
		return -EPERM;
	if (!(c->flags & CLONE_THREAD))
		return lp_process_clone(t, c);
	if (c->flags & ~(uint64_t)(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
				   CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID |
				   CLONE_DETACHED | CLONE_PARENT | CLONE_IO | CLONE_PTRACE | CLONE_UNTRACED | CSIGNAL))
		return -EINVAL;
	return clone_thread(t, c);
}

/* ---- the end of the process ---- */

void lp_process_exit(struct lp_emu *emu, int status)
{
	struct lp_guest_thread *t = self;

	if (!(t && t->is_vfork_child))
		lp_emu_tell(emu, exiting, emu, status);
	for (;;)
		syscall(SYS_exit_group, status);
}

void lp_process_kill(struct lp_guest_thread *t, int signal)
{
	struct lp_emu *emu = t->cpu.emu;

	if (emu->options.strace)
		lp_strace_killed(t, signal);
	if (!t->is_vfork_child)
		lp_emu_tell(emu, exiting, emu, -signal);
	lp_host_die(signal);
}
