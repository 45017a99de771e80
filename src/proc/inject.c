/*
 * System calls made by a borrowed thread.
 *
 * Constraints.  We may be killed between any two instructions of ours, and the
 * kernel then lets the thread run with the registers and memory it has.  So no
 * step may need us afterwards: no breakpoint, no code swapped for the time of
 * the call, no register set that only we can put back.
 *
 * Mechanism.
 *  1. Seize and stop one thread.  Work out R, the registers with which it would
 *     go on by itself: a system call it sat in is to be issued again.
 *  2. Write a block on its stack, below the red zone: R's registers, R's pc,
 *     and the records of the calls.  That memory is nobody's.
 *  3. One SETREGSET sends the thread to the stub (stub.c, arch/).  From here on
 *     it repairs itself: the stub makes the calls, pops the registers and
 *     jumps to R's pc.
 *  4. Alive, we watch its system call stops, take the results, and put R back
 *     ourselves at the last of them, so that the thread leaves the stub at once
 *     (one under job control would else wait in it for its SIGCONT).
 *
 * A thread in the stub may be interrupted by signal handlers, be borrowed
 * again, be stopped: all its state is above its sp and in no register that the
 * kernel does not keep.
 *
 * A thread is left alone while it is in the vDSO (whose seqlock readers spin on
 * nothing, but whose getcpu() and getrandom() state must not be reentered),
 * while a signal is on its way to it (its call must then return EINTR), and
 * when there is no room below its stack pointer.  Then the next is tried.
 *
 * When not to use it: under a strict seccomp mode; for calls that sleep, since
 * the borrowed thread's own work waits meanwhile.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <time.h>

#include <linux/ptrace.h>

#include "base/bits.h"
#include "base/log.h"
#include "proc/state.h"

#define HALT_MS 20	   /* for a thread to stop, when there may be others */
#define CHOICE_MS 1000	   /* for any thread to be fit */
#define CALLS_MS 2000	   /* for the calls to be made */
#define DRAIN_MS 2000	   /* for threads that a dead livepatch left in the stub */
#define HEADROOM LP_PAGE   /* below the block, for a signal handler's frame */
#define CANDIDATES_MAX 256 /* threads looked at in one round */

/* ---- choosing ---- */

struct candidate {
	pid_t tid;
	int rank;
};

/* Smaller is better; negative = never.  A blocked thread's registers say least: most are dead in a system call. */
static int rank_of(pid_t tid)
{
	struct lp_task_stat st;
	struct lp_task_where where;
	if (lp_task_stat(tid, &st) < 0)
		return -1;
	switch (st.state) {
	case 'S':
		return lp_task_where(tid, &where) == 0 && where.syscall >= 0 ? 0 : 1;
	case 'R':
		return 1;
	case 'T':
		return 2;
	case 'D':
		return 3;
	default:
		return -1;
	}
}

static int by_rank(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	return x->rank != y->rank ? x->rank - y->rank : x->tid - y->tid;
}

typedef LP_VEC(struct candidate) candidate_vec;

static int find_candidates(struct lp_proc *p, candidate_vec *out, struct lp_err *err)
{
	lp_tid_vec tids = {0};
	int rc = lp_tasks_list(p, &tids, err);
	out->nr = 0;
	for (size_t i = 0; rc >= 0 && i < tids.nr && out->nr < CANDIDATES_MAX; i++) {
		int rank = lp_late_has(p, tids.items[i]) ? -1 : rank_of(tids.items[i]);
		if (rank >= 0)
			lp_vec_push(out, ((struct candidate){tids.items[i], rank}));
	}
	lp_vec_free(&tids);
	qsort(out->items, out->nr, sizeof *out->items, by_rank);
	return rc < 0 ? rc : 0;
}

/* ---- one thread ---- */

/* A thread we hold, on its way to the stub and back. */
struct loan {
	struct lp_proc *p;
	pid_t tid;
	bool group;		   /* it is under job control */
	struct lp_tregs found;	   /* as it stopped */
	struct lp_tregs go_on;	   /* R */
	const struct lp_stub_text *text;
	lp_addr stub;
	struct lp_borrow b;
	const char *unfit;	   /* why not this one */
};

enum verdict { NEXT, DONE, FAILED };

static bool unfit(struct loan *l, const char *why)
{
	l->unfit = why;
	return false;
}

enum { SECCOMP_STRICT = 1, SECCOMP_FILTER = 2 }; /* "Seccomp:" of /proc/TID/status */

/* A filter has no say over a thread while its tracer suspends it. */
static bool seize(struct loan *l, int *rc)
{
	struct lp_task_status s;
	*rc = 0;
	if (lp_task_status(l->tid, &s) < 0)
		return unfit(l, "it has exited");
	if (s.seccomp == SECCOMP_STRICT) {
		*rc = -LP_ESECCOMP;
		return unfit(l, "it is under strict seccomp");
	}
	bool filter = s.seccomp == SECCOMP_FILTER;
	int seized = lp_trace_seize(l->tid, PTRACE_O_TRACESYSGOOD | (filter ? PTRACE_O_SUSPEND_SECCOMP : 0));
	if (seized == 0)
		return true;
	if (filter) {
		*rc = -LP_ESECCOMP;
		return unfit(l, "a seccomp filter is on it, and suspending it needs CAP_SYS_ADMIN");
	}
	*rc = seized == -EPERM ? -LP_EPERM : 0;
	return unfit(l, "it cannot be traced");
}

static bool take(struct loan *l, int *rc)
{
	if (!seize(l, rc))
		return false;
	switch (lp_trace_halt(l->tid, lp_deadline(HALT_MS))) {
	case LP_EV_TRAP:
		return true;
	case LP_EV_GROUP:
		l->group = true;
		return true;
	case LP_EV_NONE:
		lp_late_add(l->p, l->tid);
		return unfit(l, "it does not stop");
	default:
		return unfit(l, "it has exited");
	}
}

static bool has_room(struct loan *l)
{
	/* The block must land in memory the thread itself could write, and leave room for a handler's frame. */
	return lp_mem_readable(l->tid, l->b.block - HEADROOM) &&
	       lp_mem_write_honest(l->tid, l->b.block, l->b.bytes, l->b.len) == 0;
}

static bool in_vdso(struct lp_proc *p, lp_addr pc)
{
	return lp_range_has(p->vdso, pc);
}

/* The kernel aborts a critical section only when it finds the pc there, and the pc will be in the stub. */
static lp_addr rseq_abort(const struct loan *l, lp_addr pc)
{
	lp_addr cs_at = 0, rseq = l->p->arch->syscall_nr(&l->found) < 0 ? lp_trace_rseq(l->tid) : 0;
	return rseq && lp_mem_copy(l->tid, rseq, &cs_at, sizeof cs_at) == 0 ? lp_trace_rseq_abort(l->tid, cs_at, pc) : 0;
}

static bool plan_return(struct loan *l)
{
	const struct lp_arch *arch = l->p->arch;
	lp_addr pc = arch->pc(&l->found);
	if (!arch->native(&l->found))
		return unfit(l, "it runs 32-bit code");
	if (in_vdso(l->p, pc))
		return unfit(l, "it is in the vDSO");
	if (arch->fragile(&l->found))
		return unfit(l, "its system call cannot be issued again");
	if (arch->syscall_nr(&l->found) >= 0 && !l->group && lp_task_interrupted(l->tid, 0))
		return unfit(l, "a signal is about to interrupt its system call");
	l->go_on = l->found;
	arch->resume(&l->go_on, l->group ? LP_RESTART_KERNEL : LP_RESTART_EINTR);
	lp_addr abort_at = rseq_abort(l, pc);
	if (abort_at)
		arch->set_pc(&l->go_on, abort_at);
	return true;
}

static int place_stub(struct loan *l, struct lp_err *err)
{
	l->text = l->p->force_stub ? l->p->force_stub : l->p->arch->stub(l->tid);
	return lp_stub_place(l->p, l->text, l->p->arch->pc(&l->go_on), &l->stub, err);
}

static void give_back(struct loan *l)
{
	lp_trace_release(l->p->arch, l->tid, &l->found, 0, l->group);
}

/* The results so far lie in the records; that of the last call is still in its register. */
static void collect(struct loan *l, struct lp_call *calls, size_t nr, int64_t last)
{
	uint64_t words[LP_CALLS_MAX * 7];
	if (nr > 1 && lp_mem_copy(l->tid, l->b.records, words, (nr - 1) * 56) < 0)
		memset(words, 0xff, sizeof words);
	for (size_t i = 0; i + 1 < nr; i++)
		calls[i].result = (int64_t)words[i * 7];
	calls[nr - 1].result = last;
}

static bool will_restart(int64_t result)
{
	return result <= -512 && result >= -516; /* the kernel's ERESTART codes: the call is not over */
}

/* Has it come back from a call of ours?  Handlers that run on top of the stub make calls too. */
static bool left_our_call(const struct loan *l, const struct lp_tregs *r)
{
	const struct lp_arch *arch = l->p->arch;
	return arch->pc(r) == l->stub + l->text->after_syscall && arch->sp(r) == l->b.block && lp_trace_leaving(l->tid) == 1 &&
	       !will_restart(arch->result(r));
}

static int lost(struct loan *l, struct lp_err *err)
{
	int rc = lp_fail(err, LP_EREMOTE, "thread %d exited while it made system calls for us; their results are unknown", l->tid);
	return lp_proc_why(l->p, rc, err);
}

static int too_slow(struct loan *l, struct lp_err *err)
{
	/* It finishes by itself, whenever that is. */
	lp_trace_interrupt(l->tid);
	lp_late_add(l->p, l->tid);
	int rc = lp_fail(err, LP_ETIMEOUT, "thread %d has not finished our system calls within %d ms; it goes on by itself", l->tid,
			 CALLS_MS);
	if (err)
		err->tid = l->tid;
	return rc;
}

static int watch(struct loan *l, struct lp_call *calls, size_t nr, struct lp_err *err)
{
	uint64_t deadline = lp_deadline(CALLS_MS);
	size_t made = 0;
	for (int signal = 0;;) {
		struct lp_event ev;
		struct lp_tregs r;
		if (lp_trace_syscall(l->tid, signal) < 0)
			return lost(l, err);
		if (!lp_trace_wait(l->tid, deadline, &ev))
			return too_slow(l, err);
		if (ev.kind == LP_EV_GONE)
			return lost(l, err);
		signal = ev.signal;
		if (ev.kind != LP_EV_SYSCALL || lp_trace_regs(l->tid, &r) < 0 || !left_our_call(l, &r) || ++made < nr)
			continue;
		collect(l, calls, nr, l->p->arch->result(&r));
		lp_trace_set_regs(l->tid, &l->go_on);
		lp_trace_detach(l->tid, 0);
		return 0;
	}
}

/* The last record's place holds the text; arguments that stand for its address get it. */
static void lay_text(struct lp_borrow *b, const char *text, size_t nr)
{
	const size_t record = 56, at = (LP_CALLS_MAX - 1) * record;
	uint8_t *records = b->bytes + (b->records - b->block);
	memcpy(records + at, text, strlen(text) + 1);
	for (size_t i = 0; i < nr; i++)
		for (size_t a = 1; a <= 6; a++)
			if (lp_get64(records + i * record + a * 8) == LP_CALL_TEXT)
				lp_put64(records + i * record + a * 8, b->records + at);
}

static enum verdict try_thread(struct lp_proc *p, pid_t tid, struct lp_call *calls, size_t nr, int *rc, const char **why,
			       struct lp_err *err)
{
	struct loan l = {.p = p, .tid = tid};
	if (!take(&l, rc)) {
		*why = l.unfit;
		return NEXT;
	}
	if (lp_trace_regs(tid, &l.found) < 0) {
		*rc = lost(&l, err);
		return FAILED;
	}
	if (!plan_return(&l))
		goto unfit;
	*rc = place_stub(&l, err);
	if (*rc < 0) {
		give_back(&l);
		return FAILED;
	}
	p->arch->borrow(l.text, l.stub, &l.go_on, calls, nr, &l.b);
	if (p->call_text)
		lay_text(&l.b, p->call_text, nr);
	if (!has_room(&l)) {
		l.unfit = "there is no room below its stack pointer";
		goto unfit;
	}
	if (l.text->tail_len && (*rc = lp_mem_write(p, l.stub + l.text->tail_at, l.b.tail, l.text->tail_len, err)) < 0) {
		give_back(&l);
		return FAILED;
	}
	*rc = lp_trace_set_regs(tid, &l.b.enter) < 0 ? lost(&l, err) : watch(&l, calls, nr, err);
	return *rc < 0 ? FAILED : DONE;
unfit:
	*why = l.unfit;
	*rc = 0;
	give_back(&l);
	return NEXT;
}

/* ---- what dead livepatches left ---- */

static bool stack_mentions_stub(const struct lp_proc *p, const struct lp_stopped *t)
{
	for (size_t at = 0; at + 8 <= t->stack_len; at += 8) {
		if (lp_stub_has(p, lp_get64(t->stack_bytes + at)))
			return true;
	}
	return false;
}

static int orphan(struct lp_proc *p, struct lp_err *err)
{
	int rc = lp_stop_all(p, DRAIN_MS, err);
	if (rc < 0)
		return rc;
	int tid = 0;
	for (size_t i = 0; i < p->stopped.nr && !tid; i++) {
		const struct lp_stopped *t = &p->stopped.items[i];
		if (lp_stub_has(p, t->pc) || (t->stack_bytes && stack_mentions_stub(p, t)))
			tid = t->tid;
	}
	lp_resume_all(p, NULL);
	return tid;
}

/*
 * A livepatch that died may have left a thread in the stub that has yet to
 * make its calls: an munmap() that comes after we have mapped something there
 * would be fatal.  Looked for once per lock, and only when a stub is there.
 */
static int drain(struct lp_proc *p, struct lp_err *err)
{
	bool any = false;
	int rc = lp_stub_sites(p, err);
	if (rc < 0 || p->drained)
		return rc;
	for (size_t i = 0; i < p->sites.nr; i++)
		any = any || p->sites.items[i].text;
	uint64_t deadline = lp_deadline(DRAIN_MS);
	for (long ns = 50000; any; ns = ns < 50000000 ? ns * 2 : ns) {
		int tid = orphan(p, err);
		if (tid < 0)
			return tid;
		if (tid == 0)
			break;
		if (lp_now() > deadline) {
			rc = lp_fail(err, LP_ENOTHREAD, "thread %d still has system calls to make for an earlier livepatch", tid);
			if (err)
				err->tid = tid;
			return rc;
		}
		nanosleep(&(struct timespec){0, ns}, NULL);
	}
	p->drained = true;
	return 0;
}

/* ---- the call ---- */

static int no_thread(struct lp_proc *p, int rc, pid_t tid, const char *unfit, struct lp_err *err)
{
	if (rc == -LP_ESECCOMP)
		rc = lp_fail(err, LP_ESECCOMP, "no thread of process %d (%s) can be asked for a system call: thread %d: %s",
			     (int)p->pid, p->comm, (int)tid, unfit);
	else if (rc == -LP_EPERM)
		rc = lp_fail(err, LP_EPERM, "no thread of process %d (%s) can be traced", (int)p->pid, p->comm);
	else
		rc = lp_fail(err, LP_ENOTHREAD, "no thread of process %d (%s) can be borrowed now: thread %d: %s", (int)p->pid,
			     p->comm, (int)tid, unfit);
	if (err)
		err->tid = tid;
	return lp_proc_why(p, rc, err);
}

int lp_inject(struct lp_proc *p, struct lp_call *calls, size_t nr, struct lp_err *err)
{
	if (nr == 0 || nr > LP_CALLS_MAX || p->paused)
		return lp_fail(err, LP_EINTERNAL, "%zu system calls cannot be injected%s", nr, p->paused ? " in a pause" : "");
	candidate_vec who = {0};
	uint64_t deadline = lp_deadline(CHOICE_MS);
	enum verdict v = NEXT;
	const char *why = "there is none";
	pid_t last = 0;
	int rc = drain(p, err), reason = 0;
	lp_late_settle(p, 0);
	while (rc >= 0 && v == NEXT) {
		rc = find_candidates(p, &who, err);
		for (size_t i = 0; rc >= 0 && i < who.nr && v == NEXT; i++) {
			last = who.items[i].tid;
			v = try_thread(p, last, calls, nr, &rc, &why, err);
			if (v == NEXT) {
				lp_debug("thread %d cannot be borrowed: %s", (int)last, why);
				reason = rc;
				rc = 0;
			}
		}
		if (rc >= 0 && v == NEXT && (reason == -LP_ESECCOMP || lp_now() > deadline || who.nr == 0))
			rc = no_thread(p, reason, last, why, err);
		else if (v == NEXT && rc >= 0)
			sched_yield();
	}
	lp_vec_free(&who);
	return rc;
}

int lp_inject_text(struct lp_proc *p, struct lp_call *calls, size_t nr, const char *text, struct lp_err *err)
{
	if (nr >= LP_CALLS_MAX || strlen(text) >= LP_CALL_TEXT_MAX)
		return lp_fail(err, LP_EINTERNAL, "%zu system calls and the text \"%s\" do not fit into one batch", nr, text);
	p->call_text = text;
	int rc = lp_inject(p, calls, nr, err);
	p->call_text = NULL;
	return rc;
}
