/*
 * The ptrace verbs, all on seized threads.
 *
 * Three habits of the kernel shape this file:
 *
 *  1. An INTERRUPT leaves a mark on the thread that the next trap of *any*
 *     kind wipes out.  When a thread stops for another reason first, it must
 *     be interrupted again before it goes on, or it will not stop.
 *  2. While a thread is seized, a signal that the program ignores is not
 *     dropped but reported, and must be passed on like any other.
 *  3. waitpid() has no deadline, and a thread in an uninterruptible wait does
 *     not stop.  So we look without waiting, and in between sleep for SIGCHLD,
 *     which a stop sends to the tracer and a timer now and then; it is blocked for that time (struct lp_hush).  Where it does not
 *     reach us (ignored, or taken by another thread of the program that we are
 *     a library of) the sleep ends by its timeout.
 */
#include "proc/state.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/ptrace.h>

uint64_t lp_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint64_t lp_deadline(unsigned ms)
{
	return lp_now() + ms * UINT64_C(1000000);
}

static int done(long rc)
{
	return rc < 0 ? -errno : 0;
}

int lp_trace_seize(pid_t tid, unsigned long options)
{
	return done(ptrace(PTRACE_SEIZE, tid, NULL, (void *)options));
}

int lp_trace_interrupt(pid_t tid)
{
	return done(ptrace(PTRACE_INTERRUPT, tid, NULL, NULL));
}

int lp_trace_detach(pid_t tid, int signal)
{
	return done(ptrace(PTRACE_DETACH, tid, NULL, (void *)(long)signal));
}

int lp_trace_syscall(pid_t tid, int signal)
{
	return done(ptrace(PTRACE_SYSCALL, tid, NULL, (void *)(long)signal));
}

int lp_trace_cont(pid_t tid, int signal)
{
	return done(ptrace(PTRACE_CONT, tid, NULL, (void *)(long)signal));
}

int lp_trace_regs(pid_t tid, struct lp_tregs *out)
{
	struct iovec iov = {out->words, sizeof out->words};
	int rc = done(ptrace(PTRACE_GETREGSET, tid, (void *)(long)NT_PRSTATUS, &iov));
	out->nr = rc == 0 ? iov.iov_len / sizeof out->words[0] : 0;
	return rc;
}

int lp_trace_set_regs(pid_t tid, const struct lp_tregs *r)
{
	struct iovec iov = {(void *)(uintptr_t)r->words, r->nr * sizeof r->words[0]};
	return done(ptrace(PTRACE_SETREGSET, tid, (void *)(long)NT_PRSTATUS, &iov));
}

int lp_trace_vectors(pid_t tid, int set, struct lp_vectors *out)
{
	struct iovec iov = {out->bytes, sizeof out->bytes};
	int rc = done(ptrace(PTRACE_GETREGSET, tid, (void *)(long)set, &iov));
	out->len = rc == 0 ? iov.iov_len : 0;
	return rc;
}

int lp_trace_set_vectors(pid_t tid, int set, const struct lp_vectors *v)
{
	struct iovec iov = {(void *)(uintptr_t)v->bytes, v->len};
	return done(ptrace(PTRACE_SETREGSET, tid, (void *)(long)set, &iov));
}

int lp_trace_sigmask(pid_t tid, uint64_t *out)
{
	return done(ptrace(PTRACE_GETSIGMASK, tid, (void *)sizeof *out, out));
}

int lp_trace_leaving(pid_t tid)
{
	struct __ptrace_syscall_info info;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, (void *)sizeof info, &info) < 0)
		return -errno;
	return info.op == PTRACE_SYSCALL_INFO_EXIT;
}

/* ---- waiting ---- */

static int message_of(pid_t tid)
{
	unsigned long message = 0;
	ptrace(PTRACE_GETEVENTMSG, tid, NULL, &message);
	return (int)message;
}

static struct lp_event classify(pid_t tid, int status)
{
	if (!WIFSTOPPED(status))
		return (struct lp_event){LP_EV_GONE, 0, 0};
	int signal = WSTOPSIG(status);
	switch (status >> 16) {
	case 0:
		return signal == (SIGTRAP | 0x80) ? (struct lp_event){LP_EV_SYSCALL, 0, 0}
						  : (struct lp_event){LP_EV_SIGNAL, signal, 0};
	case PTRACE_EVENT_STOP:
		return (struct lp_event){signal == SIGTRAP ? LP_EV_TRAP : LP_EV_GROUP, 0, 0};
	case PTRACE_EVENT_EXEC:
		return (struct lp_event){LP_EV_EXEC, 0, 0};
	case PTRACE_EVENT_CLONE:
		return (struct lp_event){LP_EV_CLONE, 0, message_of(tid)};
	default:
		return (struct lp_event){LP_EV_TRAP, 0, 0};
	}
}

#define FEW 4
#define NS_PER_STOP 2000 /* what a thread needs to stop, with two CPUs */
#define TICK_NS 2000000
#define PASS_NS 4000000 /* for the leader to take a signal: it may need to wait for a CPU */
#define PASS_LOOK_NS 10000
#define PEEK_AT_ONCE 8
#define PEEK_MAX 64 /* blocked signals can queue up in thousands; what comes behind so many is not looked for */
#define SPINS 64    /* looks at a single thread before the first sleep: it stops within some 20 us */

/* A timer sends SIGCHLD to this thread every TICK_NS. */
static _Thread_local bool ticking;

static void fill(sigset_t *chld)
{
	sigemptyset(chld);
	sigaddset(chld, SIGCHLD);
}

/*
 * Each thread needs the CPU for a moment in order to stop.  While many are
 * missing it would be wrong to be woken at every stop: that takes the CPU away
 * from those that are still to come.  For the last few it is right: when we
 * run again, the scheduler has had no reason to let others run before them.
 * The very last one is looked for a moment without sleeping: on another CPU it
 * stops sooner than we would wake up (measured: 60 instead of 75 us for the
 * whole pause of one thread), and on ours it costs it that moment.
 */
void lp_trace_nap(unsigned tries, size_t missing)
{
	sigset_t chld;
	if (missing == 1 && tries < SPINS)
		return;
	fill(&chld);
	if (missing > FEW && tries < 32)
		nanosleep(&(struct timespec){0, (long)missing * NS_PER_STOP}, NULL);
	else if (ticking)
		sigwaitinfo(&chld, NULL);
	else
		sigtimedwait(&chld, NULL, &(struct timespec){0, TICK_NS});
}

/*
 * Blocked, SIGCHLD waits for us to take it, whatever its disposition but
 * SIG_IGN.  A timer sends it too, so that no sleep needs a clock of its own:
 * setting and clearing one costs as much as stopping a thread does (measured:
 * 12 of 22 us).
 */
void lp_hush_begin(struct lp_hush *h)
{
	sigset_t chld;
	struct sigevent tick = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGCHLD};
	struct itimerspec every = {{0, TICK_NS}, {0, TICK_NS}};
	tick._sigev_un._tid = gettid();
	fill(&chld);
	pthread_sigmask(SIG_BLOCK, &chld, &h->old);
	h->has_timer = timer_create(CLOCK_MONOTONIC, &tick, &h->timer) == 0;
	ticking = h->has_timer && timer_settime(h->timer, 0, &every, NULL) == 0;
}

/* Signals about children of the program around us may have gone with ours: its handler, if any, gets one more. */
void lp_hush_end(const struct lp_hush *h)
{
	struct sigaction sa;
	if (h->has_timer)
		timer_delete(h->timer);
	ticking = false;
	if (sigaction(SIGCHLD, NULL, &sa) == 0 && sa.sa_handler != SIG_DFL && sa.sa_handler != SIG_IGN)
		kill(getpid(), SIGCHLD);
	pthread_sigmask(SIG_SETMASK, &h->old, NULL);
}

bool lp_trace_wait(pid_t tid, uint64_t deadline, struct lp_event *out)
{
	for (unsigned tries = 0;; tries++) {
		int status;
		pid_t got = waitpid(tid, &status, __WALL | WNOHANG);
		if (got == tid) {
			*out = classify(tid, status);
			return true;
		}
		if (got < 0 && errno != EINTR) { /* ECHILD: another thread's exec took its number away */
			*out = (struct lp_event){LP_EV_GONE, 0, 0};
			return true;
		}
		if (!deadline || lp_now() >= deadline) {
			*out = (struct lp_event){LP_EV_NONE, 0, 0};
			return false;
		}
		lp_trace_nap(tries, 1);
	}
}

int lp_trace_queued(pid_t tid, uint32_t flags, uint64_t blocked)
{
	siginfo_t infos[PEEK_AT_ONCE];
	struct __ptrace_peeksiginfo_args args = {.flags = flags, .nr = PEEK_AT_ONCE};
	for (long nr = PEEK_AT_ONCE; nr == PEEK_AT_ONCE && args.off < PEEK_MAX; args.off += PEEK_AT_ONCE) {
		nr = ptrace(PTRACE_PEEKSIGINFO, tid, &args, infos);
		if (nr < 0)
			return -errno;
		for (long i = 0; i < nr; i++) {
			if (!(blocked & lp_signal_bit(infos[i].si_signo)))
				return 1;
		}
	}
	return 0;
}

void lp_trace_let_signal_pass(pid_t tid, uint64_t blocked)
{
	for (uint64_t began = lp_now();
	     lp_trace_queued(tid, PTRACE_PEEKSIGINFO_SHARED, blocked) > 0 && lp_now() - began < PASS_NS;)
		nanosleep(&(struct timespec){0, PASS_LOOK_NS}, NULL); /* it may be our CPU that is needed for it */
}

enum lp_event_kind lp_trace_halt(pid_t tid, uint64_t deadline)
{
	for (;;) {
		struct lp_event ev;
		if (lp_trace_interrupt(tid) < 0)
			return LP_EV_GONE;
		if (!lp_trace_wait(tid, deadline, &ev) || ev.kind == LP_EV_TRAP || ev.kind == LP_EV_GROUP ||
		    ev.kind == LP_EV_GONE)
			return ev.kind;
		lp_trace_interrupt(tid); /* habit 1 */
		lp_trace_cont(tid, ev.signal);
	}
}

/* ---- letting go ---- */

bool lp_trace_our_eintr(const struct lp_arch *arch, pid_t tid, const struct lp_tregs *r, int taken, bool group)
{
	return arch->eintr(r) && !group && !lp_task_interrupted(tid, taken);
}

int lp_trace_release(const struct lp_arch *arch, pid_t tid, const struct lp_tregs *r, int taken, bool group)
{
	if (lp_trace_our_eintr(arch, tid, r, taken, group)) {
		struct lp_tregs again = *r;
		arch->resume(&again, LP_RESTART_EINTR);
		lp_trace_set_regs(tid, &again);
	}
	return lp_trace_detach(tid, taken);
}

/* ---- restartable sequences ---- */

lp_addr lp_trace_rseq(pid_t tid)
{
	struct __ptrace_rseq_configuration conf = {0};
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, (void *)sizeof conf, &conf) < 0 || !conf.rseq_abi_pointer)
		return 0;
	return conf.rseq_abi_pointer + 8; /* struct rseq: cpu_id_start, cpu_id, then the pointer (linux/rseq.h) */
}

lp_addr lp_trace_rseq_abort(pid_t tid, lp_addr cs_at, lp_addr pc)
{
	struct {
		uint32_t version, flags;
		uint64_t start, length, abort;
	} cs;
	if (!cs_at || lp_mem_copy(tid, cs_at, &cs, sizeof cs) < 0)
		return 0;
	return pc - cs.start < cs.length ? cs.abort : 0;
}

/* ---- threads that we could not let go of ---- */

/*
 * Only a stopped thread can be let go, and only a dead one can be reaped.  One
 * that does neither when it should stays ours: running, its interrupt still
 * due, so that it will stop; or dying, and then even its parent does not hear
 * of the end before we have reaped it.
 */
void lp_late_add(struct lp_proc *p, pid_t tid)
{
	if (!lp_late_has(p, tid))
		lp_vec_push(&p->late, tid);
}

bool lp_late_has(const struct lp_proc *p, pid_t tid)
{
	for (size_t i = 0; i < p->late.nr; i++) {
		if (p->late.items[i] == tid)
			return true;
	}
	return false;
}

static bool settled(const struct lp_proc *p, pid_t tid)
{
	struct lp_event ev;
	struct lp_tregs r;
	if (!lp_trace_wait(tid, 0, &ev))
		return false;
	if (ev.kind == LP_EV_GONE)
		return true;
	return lp_trace_regs(tid, &r) == 0 &&
	       lp_trace_release(p->arch, tid, &r, ev.signal, ev.kind == LP_EV_GROUP) == 0;
}

/* In rounds: the first thread's end is reported after those of all the others. */
void lp_late_settle(struct lp_proc *p, uint64_t deadline)
{
	for (unsigned tries = 0; p->late.nr; tries++) {
		size_t left = 0;
		for (size_t i = 0; i < p->late.nr; i++) {
			if (!settled(p, p->late.items[i]))
				p->late.items[left++] = p->late.items[i];
		}
		p->late.nr = left;
		if (left == 0 || lp_now() >= deadline)
			return;
		lp_trace_nap(tries, left);
	}
}
