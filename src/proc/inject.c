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
 *  4. A last call of the batch waits for us, WAIT_NS at most.  Alive, we find the
 *     thread there, take the results and put R back ourselves, so that it leaves
 *     the stub at once.  No other stop is needed, and with two fewer for each
 *     call the thread is away for a tenth of the time (measured: 580 to 60 us).
 *     ppoll(2) of nothing, because it leaves restart_block alone, which may hold
 *     the rest of the call that the thread was found in.
 *
 * Where a signal comes in between, under a seccomp filter (which must then see
 * no call of ours that it need not see), and where the arch has no such call,
 * the system call stops are watched instead.
 *
 * A thread in the stub may be interrupted by signal handlers, be borrowed
 * again, be stopped: all its state is above its sp and in no register that the
 * kernel does not keep.
 *
 * A thread is left alone while a signal is on its way to it (its call must
 * then return EINTR), and when there is no room below its stack pointer.  Then
 * the next is tried.  In the vDSO it can be borrowed: what must not be entered
 * twice there are functions, which our calls are not, and a program that reads
 * the clock all day is hardly found anywhere else.
 *
 * When not to use it: under a strict seccomp mode; for calls that sleep, since
 * the borrowed thread's own work waits meanwhile.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "base/log.h"
#include "proc/loan.h"

#define CHOICE_MS 1000	   /* for any thread to be fit */
#define CALLS_MS 2000	   /* for the calls to be made */
#define DRAIN_MS 2000	   /* for threads that a dead livepatch left in the stub */
#define WAIT_NS 200000000L /* how long the thread waits for us at most: what our death may cost it */
#define SPIN_NS 150000	   /* a batch takes some 100 us: we look on, ... */
#define DOZE_NS 20000	   /* ... then doze, for it may be our CPU that the thread is waiting for, ... */
#define SLEEP_NS 1000000   /* ... then sleep between looks */
#define LOOK_NS 2000000	   /* ... and look closer at whether it waits by now */
#define HEADROOM LP_PAGE   /* below the block, for a signal handler's frame */

struct batch {
	struct lp_call *calls;
	size_t nr;
	const char *text; /* what LP_CALL_TEXT stands for; may be NULL */
};

/* A borrowed thread on its way to the stub and back. */
struct errand {
	struct lp_loan l;
	const struct lp_stub_text *text;
	lp_addr stub;
	bool waits; /* the batch ends with the wait for us */
	struct lp_borrow b;
};

static int place_stub(struct errand *e, struct lp_err *err)
{
	struct lp_proc *p = e->l.p;
	e->text = p->force_stub ? p->force_stub : p->arch->stub(e->l.tid);
	return lp_stub_place(p, e->text, p->arch->pc(&e->l.go_on), &e->stub, err);
}

/* The block must land in memory the thread itself could write, and leave room for a handler's frame. */
static bool write_block(struct errand *e)
{
	return lp_mem_readable(e->l.tid, e->b.block - HEADROOM) &&
	       lp_mem_write_honest(e->l.tid, e->b.block, e->b.bytes, e->b.len) == 0;
}

/* What the first nr calls returned lies in their records. */
static void collect(struct errand *e, const struct batch *b, size_t nr)
{
	uint64_t words[LP_CALLS_MAX * LP_RECORD_WORDS];
	if (nr && lp_mem_copy(e->l.tid, e->b.records, words, nr * LP_RECORD_WORDS * 8) < 0)
		memset(words, 0xff, sizeof words);
	for (size_t i = 0; i < nr; i++)
		b->calls[i].result = (int64_t)words[i * LP_RECORD_WORDS];
}

static bool will_restart(int64_t result)
{
	return result <= -512 && result >= -516; /* the kernel's ERESTART codes: the call is not over */
}

/* Has it come back from a call of ours?  Handlers that run on top of the stub make calls too. */
static bool left_our_call(const struct errand *e, const struct lp_tregs *r)
{
	const struct lp_arch *arch = e->l.p->arch;
	return arch->pc(r) == e->stub + e->text->after_syscall && arch->sp(r) == e->b.block &&
	       lp_trace_leaving(e->l.tid) == 1 && !will_restart(arch->result(r));
}

/* Has it made all calls, and waits?  At the entry of that call, or interrupted in it. */
static bool waits_for_us(const struct errand *e, const struct lp_tregs *r)
{
	const struct lp_arch *arch = e->l.p->arch;
	return e->waits && arch->pc(r) == e->stub + e->text->after_syscall && arch->sp(r) == e->b.block &&
	       arch->syscall_nr(r) == (int64_t)arch->sysno.ppoll;
}

static bool in_stub(const struct errand *e, const struct lp_tregs *r)
{
	lp_addr pc = e->l.p->arch->pc(r);
	return pc >= e->stub && pc < e->stub + e->text->len;
}

/* The record of the last call of the batch has its result, or happens to look as if it had not. */
static bool seems_done(const struct errand *e, const struct batch *b)
{
	uint64_t word;
	lp_addr at = e->b.records + (b->nr - 1) * LP_RECORD_WORDS * 8;
	return lp_mem_copy(e->l.tid, at, &word, sizeof word) == 0 && word != b->calls[b->nr - 1].nr;
}

/* Stops the thread when it seems to wait, and now and then besides; or takes what stops it before. */
static bool await(struct errand *e, const struct batch *b, uint64_t deadline, struct lp_event *ev)
{
	uint64_t began = lp_now(), look = began + LOOK_NS;
	for (unsigned tries = 0;; tries++) {
		if (lp_trace_wait(e->l.tid, 0, ev))
			return true;
		uint64_t now = lp_now();
		if (seems_done(e, b) || now >= look || now >= deadline) {
			lp_trace_interrupt(e->l.tid);
			return lp_trace_wait(e->l.tid, deadline, ev);
		}
		if (now - began > SLEEP_NS)
			lp_trace_nap(tries, 1);
		else if (now - began > SPIN_NS)
			nanosleep(&(struct timespec){0, DOZE_NS}, NULL);
	}
}

static int finish(struct errand *e, const struct batch *b, int signal)
{
	collect(e, b, b->nr);
	lp_trace_set_regs(e->l.tid, &e->l.go_on);
	if (!signal)
		lp_loan_let_signal_pass(&e->l);
	lp_trace_detach(e->l.tid, signal);
	return 0;
}

/* We were kept from the CPU for so long that it has gone on by itself, over the results. */
static int unobserved(struct errand *e, int signal, struct lp_err *err)
{
	lp_trace_detach(e->l.tid, signal);
	int rc = lp_fail(err, LP_ETIMEOUT,
			 "thread %d of process %d made its system calls for livepatch before anybody "
			 "looked: this machine is too busy",
			 (int)e->l.tid, (int)e->l.p->pid);
	if (err)
		err->tid = e->l.tid;
	return rc;
}

/* Without stops at system calls.  1: a signal is there, whose handler will run on top of the stub. */
static int watch_wait(struct errand *e, const struct batch *b, uint64_t deadline, int *signal, struct lp_err *err)
{
	for (;;) {
		struct lp_event ev;
		struct lp_tregs r;
		if (lp_trace_cont(e->l.tid, 0) < 0)
			return lp_loan_lost(&e->l, err);
		if (!await(e, b, deadline, &ev))
			return lp_loan_late(&e->l, CALLS_MS, err);
		if (ev.kind == LP_EV_GONE || lp_trace_regs(e->l.tid, &r) < 0)
			return lp_loan_lost(&e->l, err);
		if (waits_for_us(e, &r))
			return finish(e, b, ev.signal);
		if (!in_stub(e, &r))
			return unobserved(e, ev.signal, err);
		*signal = ev.signal;
		if (ev.signal)
			return 1;
	}
}

static int watch_calls(struct errand *e, const struct batch *b, uint64_t deadline, int signal, struct lp_err *err)
{
	for (size_t made = 0;;) {
		struct lp_event ev;
		struct lp_tregs r;
		if (lp_trace_syscall(e->l.tid, signal) < 0)
			return lp_loan_lost(&e->l, err);
		if (!lp_trace_wait(e->l.tid, deadline, &ev))
			return lp_loan_late(&e->l, CALLS_MS, err);
		if (ev.kind == LP_EV_GONE)
			return lp_loan_lost(&e->l, err);
		signal = ev.signal;
		if (lp_trace_regs(e->l.tid, &r) < 0)
			continue;
		if (waits_for_us(e, &r))
			return finish(e, b, signal);
		if (e->waits || ev.kind != LP_EV_SYSCALL || !left_our_call(e, &r) || ++made < b->nr)
			continue;
		collect(e, b, b->nr - 1);
		b->calls[b->nr - 1].result = e->l.p->arch->result(&r); /* not in its record yet */
		lp_trace_set_regs(e->l.tid, &e->l.go_on);
		lp_trace_detach(e->l.tid, 0);
		return 0;
	}
}

static int watch(struct errand *e, const struct batch *b, struct lp_err *err)
{
	uint64_t deadline = lp_deadline(CALLS_MS);
	int signal = 0;
	int rc = e->waits ? watch_wait(e, b, deadline, &signal, err) : 1;
	return rc == 1 ? watch_calls(e, b, deadline, signal, err) : rc;
}

/* The last record's place holds the text; arguments that stand for its address get it. */
static void lay_text(struct lp_borrow *b, const char *text, size_t nr)
{
	const size_t at = (LP_RECORDS_MAX - 1) * LP_RECORD_WORDS * 8;
	uint8_t *records = b->bytes + (b->records - b->block);
	memcpy(records + at, text, strlen(text) + 1);
	for (size_t word = 0; word < nr * LP_RECORD_WORDS; word++) {
		if (word % LP_RECORD_WORDS && lp_get64(records + word * 8) == LP_CALL_TEXT)
			lp_put64(records + word * 8, b->records + at);
	}
}

/* ppoll(NULL, 0, &time, NULL, time.tv_sec): the time lies in the words of the last two arguments, which nobody reads. */
static void lay_wait(struct lp_borrow *b, size_t nr)
{
	const size_t at = nr * LP_RECORD_WORDS * 8;
	uint8_t *record = b->bytes + (b->records - b->block) + at;
	lp_put64(record + 3 * 8, b->records + at + 5 * 8);
	lp_put64(record + 6 * 8, WAIT_NS);
}

static void lay_calls(struct errand *e, const struct batch *b)
{
	const struct lp_arch *arch = e->l.p->arch;
	struct lp_call calls[LP_CALLS_MAX + 1];
	memcpy(calls, b->calls, b->nr * sizeof *calls);
	calls[b->nr] = (struct lp_call){.nr = arch->sysno.ppoll};
	e->waits = arch->sysno.ppoll && !e->l.filtered;
	arch->borrow(e->text, e->stub, &e->l.go_on, calls, b->nr + e->waits, &e->b);
	if (e->waits)
		lay_wait(&e->b, b->nr);
	if (b->text)
		lay_text(&e->b, b->text, b->nr);
}

enum verdict { NEXT, DONE, FAILED };

static enum verdict go(struct errand *e, const struct batch *b, int *rc, struct lp_err *err)
{
	struct lp_proc *p = e->l.p;
	*rc = place_stub(e, err);
	if (*rc < 0)
		return FAILED;
	if (!lp_stack_is_home(p, &e->l.found)) {
		e->l.unfit = "it is on a stack whose bounds are not known";
		return NEXT;
	}
	if (e->l.filtered && !lp_seccomp_spares(p, e->l.tid, b->calls, b->nr, e->stub + e->text->after_syscall)) {
		e->l.refusal = LP_ESECCOMP;
		e->l.unfit = "its seccomp filter would kill it for our system calls if livepatch died in the middle";
		return NEXT;
	}
	lay_calls(e, b);
	if (!write_block(e)) {
		e->l.unfit = "there is no room below its stack pointer";
		return NEXT;
	}
	if (e->text->tail_len)
		*rc = lp_mem_write(p, e->stub + e->text->tail_at, e->b.tail, e->text->tail_len, err);
	return *rc < 0 ? FAILED : DONE;
}

static enum verdict try_thread(struct errand *e, const struct batch *b, int *rc, struct lp_err *err)
{
	if (!lp_loan_take(&e->l))
		return NEXT;
	enum verdict v = go(e, b, rc, err);
	if (v != DONE) {
		lp_loan_return(&e->l);
		return v;
	}
	*rc = lp_trace_set_regs(e->l.tid, &e->b.enter) < 0 ? lp_loan_lost(&e->l, err) : watch(e, b, err);
	return *rc < 0 ? FAILED : DONE;
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
int lp_stub_drain(struct lp_proc *p, struct lp_err *err)
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
			rc = lp_fail(err, LP_ENOTHREAD,
				     "thread %d still has system calls to make for an earlier livepatch", tid);
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

/* One round over the candidates.  `last` keeps the most hopeful reason: one that may pass beats a refusal for good. */
static enum verdict try_all(struct lp_proc *p, const struct batch *b, struct lp_loan *last, int *rc, struct lp_err *err)
{
	lp_candidate_vec who = {0};
	enum verdict v = NEXT;
	*last = (struct lp_loan){.p = p, .tid = p->pid, .unfit = "it has no thread that could"};
	*rc = lp_loan_candidates(p, &who, err);
	for (size_t i = 0; *rc >= 0 && v == NEXT && i < who.nr; i++) {
		struct errand e = {.l = {.p = p, .tid = who.items[i].tid}};
		v = try_thread(&e, b, rc, err);
		if (v != NEXT)
			break;
		lp_debug("thread %d cannot be borrowed: %s", (int)e.l.tid, e.l.unfit);
		if (i == 0 || !e.l.refusal)
			*last = e.l;
	}
	lp_vec_free(&who);
	return *rc < 0 ? FAILED : v;
}

static int inject(struct lp_proc *p, const struct batch *b, struct lp_err *err)
{
	struct lp_loan last;
	int rc = lp_proc_check(p, err);
	rc = rc < 0 ? rc : lp_stub_drain(p, err);
	rc = rc < 0 ? rc : lp_stack_learn(p, err);
	if (rc < 0)
		return rc;
	lp_hush_begin(&p->hush);
	for (uint64_t deadline = lp_deadline(CHOICE_MS);; sched_yield()) {
		lp_late_settle(p, 0); /* the only thread may be one that was slow to stop */
		if (try_all(p, b, &last, &rc, err) != NEXT)
			break;
		if ((last.refusal && !p->late.nr) || lp_now() > deadline) { /* late ones may be fit yet */
			rc = lp_loan_none(&last, err);
			break;
		}
	}
	lp_hush_end(&p->hush);
	return rc;
}

int lp_inject(struct lp_proc *p, struct lp_call *calls, size_t nr, struct lp_err *err)
{
	if (nr == 0 || nr > LP_CALLS_MAX || p->paused)
		return lp_fail(err, LP_EINTERNAL, "%zu system calls cannot be injected%s", nr,
			       p->paused ? " in a pause" : "");
	return inject(p, &(struct batch){calls, nr, NULL}, err);
}

int lp_inject_text(struct lp_proc *p, struct lp_call *calls, size_t nr, const char *text, struct lp_err *err)
{
	if (nr == 0 || nr > LP_CALLS_MAX || strlen(text) >= LP_CALL_TEXT_MAX || p->paused)
		return lp_fail(err, LP_EINTERNAL, "%zu system calls and the text \"%s\" cannot be injected", nr, text);
	return inject(p, &(struct batch){calls, nr, text}, err);
}

int lp_inject_settle(struct lp_proc *p, struct lp_err *err)
{
	return lp_stub_drain(p, err);
}
