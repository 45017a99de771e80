#include "proc/loan.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ptrace.h>

#include <linux/ptrace.h>

#define HALT_MS 20	   /* for a thread to stop, when there may be others */
#define LETGO_MS 100	   /* for a late one to stop */
#define CANDIDATES_MAX 256 /* threads looked at in one round */

/* ---- choosing ---- */

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
	const struct lp_candidate *x = a, *y = b;
	return x->rank != y->rank ? x->rank - y->rank : x->tid - y->tid;
}

int lp_loan_candidates(struct lp_proc *p, lp_candidate_vec *out, struct lp_err *err)
{
	lp_tid_vec tids = {0};
	int rc = lp_tasks_list(p, &tids, err);
	out->nr = 0;
	for (size_t i = 0; rc >= 0 && i < tids.nr && out->nr < CANDIDATES_MAX; i++) {
		int rank = lp_late_has(p, tids.items[i]) ? -1 : rank_of(tids.items[i]);
		if (rank >= 0)
			lp_vec_push(out, ((struct lp_candidate){tids.items[i], rank}));
	}
	lp_vec_free(&tids);
	if (out->nr)
		qsort(out->items, out->nr, sizeof *out->items, by_rank);
	return rc < 0 ? rc : 0;
}

/* ---- one thread ---- */

static bool unfit(struct lp_loan *l, const char *why)
{
	l->unfit = why;
	return false;
}

enum { SECCOMP_STRICT = 1, SECCOMP_FILTER = 2 }; /* "Seccomp:" of /proc/TID/status */

/* A filter has no say over a thread while its tracer suspends it. */
static bool seize(struct lp_loan *l)
{
	struct lp_task_status s;
	if (lp_task_status(l->tid, &s) < 0)
		return unfit(l, "it has exited");
	if (s.seccomp == SECCOMP_STRICT) {
		l->refusal = LP_ESECCOMP;
		return unfit(l, "it is under strict seccomp");
	}
	bool filter = s.seccomp == SECCOMP_FILTER;
	lp_reaper_begin(l->p);
	int seized = lp_trace_seize(l->tid, PTRACE_O_TRACESYSGOOD | (filter ? PTRACE_O_SUSPEND_SECCOMP : 0));
	lp_reaper_end(l->p);
	l->filtered = filter;
	if (seized == 0)
		return true;
	if (filter) {
		l->refusal = LP_ESECCOMP;
		return unfit(l, "a seccomp filter is on it, and suspending it needs CAP_SYS_ADMIN");
	}
	l->refusal = seized == -EPERM ? LP_EPERM : 0;
	return unfit(l, "it cannot be traced");
}

static bool stop(struct lp_loan *l)
{
	if (!seize(l))
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

/* The kernel aborts a critical section only when it finds the pc there, and the pc will be in the stub. */
static lp_addr rseq_abort(const struct lp_loan *l, lp_addr pc)
{
	lp_addr cs_at = 0, rseq = l->p->arch->syscall_nr(&l->found) < 0 ? lp_trace_rseq(l->tid) : 0;
	return rseq && lp_mem_copy(l->tid, rseq, &cs_at, sizeof cs_at) == 0 ? lp_trace_rseq_abort(l->tid, cs_at, pc)
									    : 0;
}

void lp_loan_let_signal_pass(const struct lp_loan *l)
{
	struct lp_task_status leader;
	/* The queue is empty nearly always, and tells it in a fiftieth of the time that the leader's mask takes. */
	if (l->tid == l->p->pid || lp_trace_queued(l->tid, PTRACE_PEEKSIGINFO_SHARED, 0) <= 0)
		return;
	if (lp_task_status(l->p->pid, &leader) == 0)
		lp_trace_let_signal_pass(l->tid, leader.blocked);
}

static bool plan_return(struct lp_loan *l)
{
	const struct lp_arch *arch = l->p->arch;
	lp_addr pc = arch->pc(&l->found);
	if (!arch->native(&l->found))
		return unfit(l, "it runs 32-bit code");
	const char *fragile = arch->fragile(l->tid, &l->found);
	if (fragile)
		return unfit(l, fragile);
	lp_loan_let_signal_pass(l);
	if (arch->syscall_nr(&l->found) >= 0 && !l->group && lp_task_interrupted(l->tid, 0))
		return unfit(l, "a signal is about to interrupt its system call");
	l->go_on = l->found;
	arch->resume(&l->go_on, l->group ? LP_RESTART_KERNEL : LP_RESTART_EINTR);
	lp_addr abort_at = rseq_abort(l, pc);
	if (abort_at)
		arch->set_pc(&l->go_on, abort_at);
	return true;
}

void lp_loan_return(struct lp_loan *l)
{
	if (lp_trace_release(l->p->arch, l->tid, &l->found, 0, l->group) < 0)
		lp_late_add(l->p, l->tid);
}

bool lp_loan_take(struct lp_loan *l)
{
	if (!stop(l))
		return false;
	if (lp_trace_regs(l->tid, &l->found) < 0) {
		lp_late_add(l->p, l->tid);
		return unfit(l, "it has exited");
	}
	if (plan_return(l))
		return true;
	lp_loan_return(l);
	return false;
}

int lp_loan_lost(struct lp_loan *l, struct lp_err *err)
{
	/* If it lives after all, it does what we sent it to do as soon as it is free, and whoever comes next must wait. */
	lp_trace_detach(l->tid, 0);
	l->p->drained = false;
	lp_late_add(l->p, l->tid);
	lp_late_settle(l->p, lp_deadline(LETGO_MS));
	int rc = lp_fail(err, LP_EREMOTE, "thread %d exited while it worked for us; what it did is unknown", l->tid);
	return lp_proc_why(l->p, rc, err);
}

int lp_loan_late(struct lp_loan *l, unsigned ms, struct lp_err *err)
{
	/* It finishes by itself, whenever that is, and until then the stub's tail is its own.  Only a stopped thread can
	 * be let go. */
	l->p->drained = false;
	lp_trace_interrupt(l->tid);
	lp_late_add(l->p, l->tid);
	lp_late_settle(l->p, lp_deadline(LETGO_MS));
	int rc = lp_fail(err, LP_ETIMEOUT,
			 "thread %d has not finished what we asked of it within %u ms; it goes on by itself", l->tid,
			 ms);
	if (err)
		err->tid = l->tid;
	return rc;
}

int lp_loan_none(const struct lp_loan *last, struct lp_err *err)
{
	const struct lp_proc *p = last->p;
	int rc = last->refusal ? last->refusal : LP_ENOTHREAD;
	rc = lp_fail(err, rc, "no thread of process %d (%s) can be borrowed%s: thread %d: %s", (int)p->pid, p->comm,
		     last->refusal ? "" : " now", (int)last->tid, last->unfit);
	if (err)
		err->tid = last->tid;
	return lp_proc_why(last->p, rc, err);
}
