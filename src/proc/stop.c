/*
 * The pause: every thread stands still.
 *
 *     prepare    wait for uninterruptible sleepers and for processes in the same memory, read maps, seize all threads (they go on running), make room
 *     interrupt  all, in one sweep; then wait for each
 *     read       registers of each; then all live stacks with as few calls as IOV_MAX allows
 *     ...        the caller's few writes
 *     resume     detach each
 *
 * What the kernel will not tell:
 *
 *  - Seizing changes nothing for the thread, so it happens before the pause.
 *    But from then on signals stop it until we answer: no dawdling.
 *  - PTRACE_O_TRACECLONE makes threads that a seized thread creates ours from
 *    birth (they stop by themselves).  A thread that was created by one not yet
 *    seized shows up in the next listing.  Completeness is proved at the end,
 *    all known ones standing, by the thread count of the group: the link count
 *    of /proc/PID/task, one fstat().
 *  - A stop is a stop: a thread caught on its way to a signal or in the event of
 *    a clone is as still as one that was interrupted.  Detaching hands it its
 *    signal.
 *  - Detaching makes a thread runnable, and on a busy machine the scheduler
 *    gladly runs it at once instead of us, while the others wait.  A real-time
 *    priority for the time of the pause keeps us going (measured: 100 threads,
 *    3.3 ms to 1 ms).  Where it is not allowed, the pause is just longer.
 *  - Group-stopped threads (job control) trap like the others and fall back into
 *    their stop when detached.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "proc/state.h"

#define STACK_MAX (UINT64_C(64) << 20) /* of one thread's live stack */
#define ARENA_PER_THREAD (UINT64_C(32) << 10)
#define ARENA_EXTRA (UINT64_C(1) << 20)

/* ---- who ---- */

static struct lp_tracee *tracee_of(struct lp_proc *p, pid_t tid)
{
	for (size_t i = 0; i < p->tracees.nr; i++) {
		if (p->tracees.items[i].tid == tid)
			return &p->tracees.items[i];
	}
	return NULL;
}

static void add_tracee(struct lp_proc *p, pid_t tid, bool lent)
{
	lp_vec_push(&p->tracees, ((struct lp_tracee){.tid = tid, .lent = lent, .state = 'R'}));
}

/* Seizing failed with EPERM: already ours by birth, exiting, or really forbidden? */
static int not_seized(struct lp_proc *p, pid_t tid, struct lp_err *err)
{
	struct lp_task_status s;
	struct lp_task_stat st;
	if (lp_task_status(tid, &s) < 0 || lp_task_stat(tid, &st) < 0 || st.state == 'Z' || st.state == 'X')
		return 0;
	if (s.tracer == getpid()) {
		if (!tracee_of(p, tid))
			add_tracee(p, tid, true);
		return 0;
	}
	if (!s.tracer)
		return lp_fail(err, LP_EPERM, "not allowed to trace thread %d of process %d (%s)", (int)tid,
			       (int)p->pid, p->comm);
	int rc = lp_fail(err, LP_ETRACED, "thread %d of process %d (%s) is being traced by process %d", (int)tid,
			 (int)p->pid, p->comm, s.tracer);
	if (err)
		err->tid = tid;
	return rc;
}

static int seize_one(struct lp_proc *p, pid_t tid, struct lp_err *err)
{
	int rc = lp_trace_seize(tid, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC);
	if (rc == 0)
		add_tracee(p, tid, false);
	else if (rc == -EPERM)
		return not_seized(p, tid, err);
	else if (rc != -ESRCH)
		return lp_fail_sys(err, rc, "cannot trace thread %d of process %d (%s)", (int)tid, (int)p->pid,
				   p->comm);
	return 0;
}

/* Rounds until a listing shows nobody new.  `known` keeps those that could not be seized, too.  What seized threads create
 * is ours from birth, so each round has fewer to find; the deadline is for machines that give us no time to. */
static int seize_all(struct lp_proc *p, lp_tid_vec *known, uint64_t deadline, struct lp_err *err)
{
	for (;;) {
		size_t before = known->nr;
		if (lp_now() >= deadline)
			return lp_fail(err, LP_ETIMEOUT,
				       "process %d (%s) creates threads faster than they can be stopped", (int)p->pid,
				       p->comm);
		int nr = lp_tasks_list(p, known, err);
		if (nr <= 0)
			return nr;
		for (size_t i = before; i < known->nr; i++) {
			int rc = seize_one(p, known->items[i], err);
			if (rc < 0)
				return rc;
		}
	}
}

/* ---- who would not stop ---- */

static int not_stopping(struct lp_proc *p, pid_t tid, struct lp_err *err)
{
	struct lp_task_stat st = {0};
	char name[64] = "?";
	lp_task_stat(tid, &st);
	lp_task_comm(tid, name, sizeof name);
	int rc =
		lp_fail(err, LP_ETIMEOUT, "thread %d (%s) of process %d does not stop: %s", (int)tid, name, (int)p->pid,
			st.state == 'D' ? "it is in an uninterruptible wait in the kernel" : "it got no CPU time");
	if (err)
		err->tid = tid;
	return rc;
}

static pid_t deep_sleeper(const lp_tid_vec *tids)
{
	for (size_t i = 0; i < tids->nr; i++) {
		struct lp_task_stat st;
		if (lp_task_stat(tids->items[i], &st) == 0 && st.state == 'D')
			return tids->items[i];
	}
	return 0;
}

/*
 * A thread in an uninterruptible wait (a dead disk, a vfork() whose child takes
 * its time) would keep the others standing until the deadline, and stay seized
 * beyond it, for only a stopped thread can be let go.  So such a wait is waited
 * out before anybody is touched.  One that begins later is met by the deadline.
 */
static int wait_out_deep_sleep(struct lp_proc *p, uint64_t deadline, struct lp_err *err)
{
	lp_tid_vec tids = {0};
	int rc = lp_tasks_list(p, &tids, err);
	for (long ns = 100000; rc >= 0; ns = ns < 20000000 ? ns * 2 : ns) {
		pid_t tid = deep_sleeper(&tids);
		if (!tid)
			break;
		if (lp_now() >= deadline)
			rc = not_stopping(p, tid, err);
		else
			nanosleep(&(struct timespec){0, ns}, NULL);
	}
	lp_vec_free(&tids);
	return rc < 0 ? rc : 0;
}

/*
 * A process that shares the memory without being a thread would go on running
 * through the pause.  A child of vfork() is one for the time until its exec,
 * and its parent cannot be stopped before; one that clone(CLONE_VM) made may
 * stay for good.
 */
static int wait_out_sharers(struct lp_proc *p, uint64_t deadline, struct lp_err *err)
{
	for (long ns = 100000;; ns = ns < 20000000 ? ns * 2 : ns) {
		pid_t pid = lp_sharer(p);
		char name[64] = "?";
		if (!pid)
			return 0;
		if (lp_now() < deadline) {
			nanosleep(&(struct timespec){0, ns}, NULL);
			continue;
		}
		lp_task_comm(pid, name, sizeof name);
		return lp_fail(
			err, LP_ESHARED,
			"process %d (%s) runs in the memory of process %d (%s) without being a thread of it, and "
			"would not be stopped with it; try again when it has ended",
			(int)pid, name, (int)p->pid, p->comm);
	}
}

/* ---- halt ---- */

#define LOOK_AGAIN_MS 10 /* a thread that takes longer than this may have become a zombie, which never stops */

/*
 * The leader last.  A signal for the process goes to it while it runs, and
 * wakes another one, out of a sleep perhaps, while it stands still.
 */
static void interrupt_all(struct lp_proc *p)
{
	for (size_t i = p->tracees.nr; i-- > 0;) {
		struct lp_tracee *t = &p->tracees.items[i];
		if (!t->lent && !t->stopped && !t->dead)
			lp_trace_interrupt(t->tid);
	}
}

static void note_event(struct lp_proc *p, size_t i, const struct lp_event *ev)
{
	struct lp_tracee *t = &p->tracees.items[i];
	t->dead = ev->kind == LP_EV_GONE;
	t->stopped = !t->dead;
	t->signal = ev->signal;
	t->state = ev->kind == LP_EV_GROUP ? 'T' : 'R';
	p->execed = p->execed || ev->kind == LP_EV_EXEC;
	if (ev->kind == LP_EV_CLONE && ev->message > 0 && !tracee_of(p, ev->message))
		add_tracee(p, ev->message, true);
}

static bool is_zombie(pid_t tid)
{
	struct lp_task_stat st;
	return lp_task_stat(tid, &st) < 0 || st.state == 'Z' || st.state == 'X';
}

/* Takes what has stopped by now; how many have not?  The list grows meanwhile: clone events add to it. */
static size_t collect(struct lp_proc *p)
{
	size_t missing = 0;
	for (size_t i = 0; i < p->tracees.nr; i++) {
		struct lp_event ev;
		if (p->tracees.items[i].stopped || p->tracees.items[i].dead)
			continue;
		if (lp_trace_wait(p->tracees.items[i].tid, 0, &ev))
			note_event(p, i, &ev);
		else
			missing++;
	}
	return missing;
}

static const struct lp_tracee *first_missing(const struct lp_proc *p)
{
	for (size_t i = 0; i < p->tracees.nr; i++) {
		if (!p->tracees.items[i].stopped && !p->tracees.items[i].dead)
			return &p->tracees.items[i];
	}
	return NULL;
}

/* Zombies do not stop; and an exec may have put another thread, not yet interrupted, behind a number. */
static void look_again(struct lp_proc *p)
{
	for (size_t i = 0; i < p->tracees.nr; i++) {
		struct lp_tracee *t = &p->tracees.items[i];
		if (t->stopped || t->dead)
			continue;
		t->dead = is_zombie(t->tid);
		if (t->dead)
			lp_late_add(p, t->tid);
		else
			lp_trace_interrupt(t->tid);
	}
}

static int wait_all(struct lp_proc *p, uint64_t deadline, struct lp_err *err)
{
	uint64_t look = lp_deadline(LOOK_AGAIN_MS);
	unsigned tries = 0;
	for (size_t missing; (missing = collect(p)); tries++) {
		uint64_t now = lp_now();
		if (now >= deadline)
			return not_stopping(p, first_missing(p)->tid, err);
		if (now >= look) {
			look_again(p);
			look = lp_deadline(LOOK_AGAIN_MS);
		}
		lp_trace_nap(tries, missing);
	}
	return 0;
}

static size_t drop_dead(struct lp_proc *p)
{
	size_t n = 0;
	for (size_t i = 0; i < p->tracees.nr; i++) {
		if (!p->tracees.items[i].dead)
			p->tracees.items[n++] = p->tracees.items[i];
	}
	return p->tracees.nr = n;
}

static int halt_all(struct lp_proc *p, lp_tid_vec *known, uint64_t deadline, struct lp_err *err)
{
	for (;;) {
		interrupt_all(p);
		int rc = wait_all(p, deadline, err);
		if (rc < 0)
			return rc;
		size_t nr = drop_dead(p);
		if (lp_tasks_count(p) == nr)
			return 0;
		/* A zombie leader, threads that are just exiting, or one that we have not seen: look. */
		rc = seize_all(p, known, deadline, err);
		if (rc < 0 || p->tracees.nr == nr)
			return rc;
	}
}

/* ---- let go ---- */

static bool release(struct lp_proc *p, const struct lp_tracee *t, const struct lp_tregs *regs)
{
	struct lp_tregs r;
	if (!regs && lp_trace_regs(t->tid, &r) < 0)
		return false;
	return lp_trace_release(p->arch, t->tid, regs ? regs : &r, t->signal, t->state == 'T') == 0;
}

static void release_one(struct lp_proc *p, size_t i)
{
	const struct lp_tracee *t = &p->tracees.items[i];
	bool free = t->dead || (t->stopped && release(p, t, i < p->stopped.nr ? &p->stopped.items[i].regs : NULL));
	if (!free)
		lp_late_add(p, t->tid); /* it never stopped, or was killed since */
}

/*
 * A signal that came for the process in the pause is taken by whoever goes on
 * first.  Without us that would have been the leader, and not a sleeper, whose
 * call would end with EINTR: so the leader gets a start of it.
 */
static void release_all(struct lp_proc *p)
{
	size_t nr = p->tracees.nr, begin = 0;
	const struct lp_tracee *leader = p->tracees.items, *other = nr > 1 ? &p->tracees.items[1] : NULL;
	uint64_t blocked;
	if (other && leader->tid == p->pid && other->stopped && lp_trace_sigmask(leader->tid, &blocked) == 0 &&
	    lp_trace_queued(other->tid, PTRACE_PEEKSIGINFO_SHARED, blocked) > 0) {
		release_one(p, begin++);
		lp_trace_let_signal_pass(other->tid, blocked);
	}
	for (size_t i = begin; i < nr; i++)
		release_one(p, i);
	p->tracees.nr = 0;
}

/* ---- look ---- */

/* mlock() or madvise() of a page cuts a stack into several mappings: neighbours are one. */
static void add_bounds(struct lp_proc *p, struct lp_range r)
{
	if (p->writable.nr && p->writable.items[p->writable.nr - 1].end == r.start)
		p->writable.items[p->writable.nr - 1].end = r.end;
	else
		lp_vec_push(&p->writable, r);
}

static int read_bounds(struct lp_proc *p, struct lp_err *err)
{
	struct lp_maps maps;
	int rc = lp_maps_read(p, &maps, err);
	p->writable.nr = 0;
	for (size_t i = 0; rc == 0 && i < maps.nr; i++) {
		if (!strcmp(maps.items[i].path, "[stack]"))
			p->main_stack = maps.items[i].range.start;
		if (maps.items[i].prot & LP_MAP_WRITE)
			add_bounds(p, maps.items[i].range);
	}
	lp_maps_free(&maps);
	return rc;
}

const struct lp_range *lp_stack_bounds(const struct lp_proc *p, lp_addr sp)
{
	size_t lo = 0, hi = p->writable.nr;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (p->writable.items[mid].end <= sp)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < p->writable.nr && lp_range_has(p->writable.items[lo], sp) ? &p->writable.items[lo] : NULL;
}

int lp_stack_learn(struct lp_proc *p, struct lp_err *err)
{
	return read_bounds(p, err);
}

bool lp_stack_is_home(const struct lp_proc *p, const struct lp_tregs *r)
{
	lp_addr sp = p->arch->sp(r), tp = p->arch->tp(r);
	const struct lp_range *bounds = lp_stack_bounds(p, sp);
	if (!bounds)
		return false;
	/* Where the registers do not tell the thread pointer, a stack is taken for what it looks like. */
	return tp == 0 || lp_range_has(*bounds, p->main_stack) || (tp > sp && tp < bounds->end);
}

/*
 * What is live of a stack: from below the red zone up to the end of its
 * mapping, or to the thread pointer when that lies between (the C libraries
 * put a thread's control block at the top of its stack, and what is above may
 * be the next thread's).
 */
static struct lp_range live_stack(const struct lp_proc *p, const struct lp_stopped *t)
{
	const struct lp_range *bounds = lp_stack_bounds(p, t->sp);
	if (!bounds)
		return (struct lp_range){0};
	struct lp_range r = {t->sp - p->arch->red_zone, bounds->end};
	if (r.start < bounds->start || r.start > t->sp)
		r.start = bounds->start;
	lp_addr tp = p->arch->tp(&t->regs);
	if (tp > t->sp && tp < r.end)
		r.end = tp;
	if (r.end - r.start > STACK_MAX)
		r.end = r.start + STACK_MAX;
	return r;
}

static int read_thread(struct lp_proc *p, struct lp_tracee *t, struct lp_err *err)
{
	struct lp_stopped *s = lp_vec_add(&p->stopped);
	s->tid = t->tid;
	s->state = t->state;
	int rc = lp_trace_regs(t->tid, &s->regs);
	if (rc < 0)
		return lp_proc_why(
			p, lp_fail_sys(err, rc, "cannot read the registers of thread %d, which stands", t->tid), err);
	s->pc = p->arch->pc(&s->regs);
	s->sp = p->arch->sp(&s->regs);
	s->lr = p->arch->lr(&s->regs);
	t->rseq = p->arch->syscall_nr(&s->regs) < 0 ? lp_trace_rseq(t->tid) : 0;
	return 0;
}

static void read_rseqs_of(struct lp_proc *p, size_t first, size_t nr)
{
	struct iovec local[IOV_MAX], remote[IOV_MAX];
	size_t n = 0;
	for (size_t i = first; i < first + nr; i++) {
		struct lp_tracee *t = &p->tracees.items[i];
		if (!t->rseq)
			continue;
		local[n] = (struct iovec){&t->rseq_cs, sizeof t->rseq_cs};
		remote[n++] = (struct iovec){(void *)(uintptr_t)t->rseq, sizeof t->rseq_cs};
	}
	if (n)
		process_vm_readv(p->tracees.items[first].tid, local, n, remote, n, 0);
}

static void read_rseqs(struct lp_proc *p)
{
	for (size_t i = 0; i < p->tracees.nr; i += IOV_MAX)
		read_rseqs_of(p, i, p->tracees.nr - i < IOV_MAX ? p->tracees.nr - i : IOV_MAX);
}

static lp_addr resume_pc(struct lp_proc *p, const struct lp_tracee *t, const struct lp_stopped *s)
{
	struct lp_tregs r = s->regs;
	if (p->arch->syscall_nr(&r) < 0) {
		lp_addr abort_at = lp_trace_rseq_abort(t->tid, t->rseq_cs, s->pc);
		return abort_at ? abort_at : s->pc;
	}
	/* Whether an EINTR is of our making is asked when it is undone; the one pc is as good as the other, a step ahead. */
	p->arch->resume(&r, t->state == 'T' ? LP_RESTART_KERNEL : LP_RESTART_EINTR);
	return p->arch->pc(&r);
}

static bool all_bounded(const struct lp_proc *p)
{
	for (size_t i = 0; i < p->stopped.nr; i++) {
		if (!lp_stack_bounds(p, p->stopped.items[i].sp))
			return false;
	}
	return true;
}

/* Before the pause: pages that are already there cost nothing in it. */
static void reserve_arena(struct lp_proc *p, size_t size)
{
	if (p->arena_size >= size)
		return;
	if (p->arena)
		munmap(p->arena, p->arena_size);
	p->arena_size = lp_align_up(size + size / 2, LP_PAGE);
	p->arena = mmap(NULL, p->arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p->arena == MAP_FAILED) {
		p->arena = NULL;
		p->arena_size = 0;
	}
}

static size_t lay_out(struct lp_proc *p)
{
	size_t total = 0;
	for (size_t i = 0; i < p->stopped.nr; i++) {
		struct lp_stopped *s = &p->stopped.items[i];
		s->stack = live_stack(p, s);
		s->whole = lp_stack_is_home(p, &s->regs) && s->stack.end - s->stack.start < STACK_MAX;
		total += s->stack.end - s->stack.start;
	}
	reserve_arena(p, total);
	return total;
}

static size_t gather(struct lp_proc *p, size_t first, struct iovec local[IOV_MAX], struct iovec remote[IOV_MAX],
		     uint8_t *to)
{
	size_t n = 0;
	for (size_t i = first; i < p->stopped.nr && n < IOV_MAX; i++, n++) {
		const struct lp_stopped *s = &p->stopped.items[i];
		size_t len = s->stack.end - s->stack.start;
		local[n] = (struct iovec){to, len};
		remote[n] = (struct iovec){(void *)(uintptr_t)s->stack.start, len};
		to += len;
	}
	return n;
}

/* A transfer ends early at the first unreadable page; that stack keeps what came over, the next ones get their turn. */
static void read_stacks(struct lp_proc *p)
{
	struct iovec local[IOV_MAX], remote[IOV_MAX];
	if (lay_out(p) == 0 || !p->arena) {
		for (size_t i = 0; i < p->stopped.nr; i++)
			p->stopped.items[i].whole = false;
		return;
	}
	uint8_t *to = p->arena;
	for (size_t i = 0; i < p->stopped.nr;) {
		size_t n = gather(p, i, local, remote, to);
		ssize_t got = process_vm_readv(p->stopped.items[i].tid, local, n, remote, n, 0);
		size_t left = got < 0 ? 0 : (size_t)got;
		for (size_t k = 0; k < n; k++, i++) {
			struct lp_stopped *s = &p->stopped.items[i];
			size_t len = local[k].iov_len;
			s->stack_len = left < len ? left : len;
			s->stack_bytes = s->stack_len ? local[k].iov_base : NULL;
			s->whole = s->whole && s->stack_len == len;
			s->stack.end = s->stack.start + s->stack_len;
			to = (uint8_t *)local[k].iov_base + len;
			left -= s->stack_len;
			if (s->stack_len < len) {
				i++;
				break;
			}
		}
	}
}

static int look(struct lp_proc *p, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < p->tracees.nr; i++)
		rc = read_thread(p, &p->tracees.items[i], err);
	if (rc == 0 && !all_bounded(p))
		rc = read_bounds(p, err); /* one was mapped since; a sp that points nowhere stays without a copy */
	if (rc < 0)
		return rc;
	read_rseqs(p);
	for (size_t i = 0; i < p->stopped.nr; i++)
		p->stopped.items[i].resume_pc = resume_pc(p, &p->tracees.items[i], &p->stopped.items[i]);
	read_stacks(p);
	return 0;
}

int lp_look_at(struct lp_proc *p, pid_t tid, struct lp_err *err)
{
	p->tracees.nr = p->stopped.nr = 0;
	add_tracee(p, tid, false);
	int rc = read_bounds(p, err);
	rc = rc < 0 ? rc : look(p, err);
	p->tracees.nr = 0;
	return rc;
}

/* ---- the pause ---- */

static void hold_cpu(struct lp_proc *p)
{
	p->old_policy = sched_getscheduler(0);
	p->cpu_held = p->old_policy >= 0 && sched_getparam(0, &p->old_param) == 0 &&
		      sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1}) == 0;
}

static void yield_cpu(struct lp_proc *p)
{
	if (p->cpu_held)
		sched_setscheduler(0, p->old_policy, &p->old_param);
	p->cpu_held = false;
}

static void make_room(struct lp_proc *p)
{
	while (p->stopped.nr < p->tracees.nr + 16)
		lp_vec_push(&p->stopped, (struct lp_stopped){0});
	p->stopped.nr = 0;
	reserve_arena(p, p->tracees.nr * ARENA_PER_THREAD + ARENA_EXTRA);
}

void lp_stop_reserve(struct lp_proc *p)
{
	lp_tid_vec tids = {0};
	if (lp_tasks_list(p, &tids, NULL) >= 0)
		reserve_arena(p, tids.nr * ARENA_PER_THREAD + ARENA_EXTRA);
	lp_vec_free(&tids);
}

static int execed(const struct lp_proc *p, struct lp_err *err)
{
	return lp_fail(err, LP_EEXECED, "process %d (%s) replaced itself by exec", (int)p->pid, p->comm);
}

int lp_stop_all(struct lp_proc *p, unsigned timeout_ms, struct lp_err *err)
{
	if (p->paused)
		return lp_fail(err, LP_EINTERNAL, "process %d is stopped already", (int)p->pid);
	uint64_t deadline = lp_deadline(timeout_ms);
	lp_tid_vec known = {0};
	lp_hush_begin(&p->hush);
	lp_late_settle(p, deadline);
	lp_reaper_begin(p);
	int rc = lp_proc_check(p, err);
	rc = rc < 0 ? rc : read_bounds(p, err);
	rc = rc < 0 ? rc : wait_out_deep_sleep(p, deadline, err);
	rc = rc < 0 ? rc : wait_out_sharers(p, deadline, err);
	rc = rc < 0 ? rc : seize_all(p, &known, deadline, err);
	rc = rc < 0 ? rc : lp_proc_check(p, err); /* an exec before the seizing ... */
	make_room(p);
	hold_cpu(p);
	p->execed = false;
	p->pause_began = lp_now();
	rc = rc < 0 ? rc : halt_all(p, &known, deadline, err);
	lp_reaper_end(p);
	rc = rc < 0 || !p->execed ? rc : execed(p, err); /* ... and one after it */
	rc = rc < 0 ? rc : look(p, err);
	lp_vec_free(&known);
	if (rc < 0) {
		interrupt_all(p);
		wait_all(p, deadline, NULL);
		drop_dead(p);
		p->stopped.nr = 0;
		release_all(p);
		yield_cpu(p);
		lp_hush_end(&p->hush);
		return lp_proc_why(p, rc, err);
	}
	p->paused = true;
	return 0;
}

const struct lp_stopped *lp_stopped_threads(const struct lp_proc *p, size_t *nr)
{
	*nr = p->stopped.nr;
	return p->stopped.items;
}

void lp_resume_all(struct lp_proc *p, uint64_t *ns)
{
	if (!p->paused)
		return;
	release_all(p);
	p->pause_ended = lp_now();
	p->paused = false;
	yield_cpu(p);
	lp_hush_end(&p->hush);
	if (ns)
		*ns = p->pause_ended - p->pause_began;
}
