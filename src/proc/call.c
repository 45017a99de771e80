/*
 * Calling a C function on a borrowed thread: dlopen() and dlclose(), for
 * objects that need the target's own loader.
 *
 * Constraints.  The function takes locks and allocates.  A thread that stands
 * inside the allocator or the loader would wait for itself, or find lists half
 * changed; so the thread is unwound first, and every frame must be known and
 * in none of the functions of busy.def, nor in the dynamic linker.  Other
 * threads keep running, so locks that they hold are let go.
 *
 * Mechanism.  As for system calls (inject.c), the thread must come back
 * without us.  A C function destroys more than the system call stub saves
 * (vector registers, x87 state), so what lies on the stack is a signal frame,
 * and a stub calls the function and then issues rt_sigreturn.  Alive, we stop
 * it on its way into that call and put everything back ourselves, because
 * sigreturn would forget how to restart a nanosleep() or a poll().  If we are
 * dead, such a call returns EINTR, as after any signal with a handler.
 *
 * When not to use it: whenever system calls will do.  The function runs for as
 * long as its constructors do, and the thread's own work waits.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "proc/loan.h"

#define FRAMES_MAX 512
#define EAGER_ROUNDS 20 /* of looks at all threads, one behind the other */
#define LAZY_ROUND 200	/* from here on there is no hurry */
#define EAGER_NS 100000
#define LAZY_NS 10000000
#define STACK_NEEDED (UINT64_C(64) << 10) /* below the frame: the loader's own use, and modest constructors */

/* ---- where a thread must not stand ---- */

static const char *const busy_names[] = {
#define BUSY(name) name,
#include "proc/busy.def"
#undef BUSY
};

static bool is_busy(const char *name)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(busy_names); i++) {
		const char *star = strchr(busy_names[i], '*');
		if (star ? !strncmp(name, busy_names[i], (size_t)(star - busy_names[i])) : !strcmp(name, busy_names[i]))
			return true;
	}
	return false;
}

static bool exports(const struct lp_image *im, const char *name)
{
	size_t cursor = 0;
	struct lp_elf_sym sym;
	return lp_elf_symbol_by_name(im->elf, LP_DYNSYM, name, &cursor, &sym) && sym.shndx != SHN_UNDEF;
}

/* musl's dynamic linker is its C library: there the names must decide. */
static bool is_linker(const struct lp_image *im)
{
	return !strncmp(im->name, "ld-", 3) && !exports(im, "printf");
}

/* A library that is an allocator (jemalloc, tcmalloc): its inner functions are reached by jumps and have no names. */
static bool is_allocator(const struct lp_proc *p, const struct lp_image *im)
{
	return im != &p->images.items[0] && exports(im, "malloc") && !exports(im, "printf");
}

/* NULL = the frame is harmless. */
static const char *frame_objection(struct lp_proc *p, lp_addr at)
{
	struct lp_elf_sym sym;
	int i = lp_image_of(p, at);
	if (i < 0 && lp_known_holds(p, at))
		return NULL;
	if (i < 0)
		return "it runs code that belongs to no file";
	const struct lp_image *im = &p->images.items[i];
	if (is_linker(im))
		return "it is in the dynamic linker";
	if (is_allocator(p, im))
		return "it is in the allocator";
	if (im->debug && lp_elf_symbol_at(im->debug, at - im->bias, &sym) && sym.size && is_busy(sym.name))
		return "it is in the allocator, the loader or fork";
	if (lp_elf_symbol_at(im->elf, at - im->bias, &sym) && is_busy(sym.name))
		return "it is in the allocator, the loader or fork";
	return NULL;
}

static bool has_linker(const struct lp_proc *p)
{
	for (size_t i = 1; i < p->images.nr; i++)
		if (is_linker(&p->images.items[i]) || exports(&p->images.items[i], "printf"))
			return true;
	return false;
}

static const char *objection(struct lp_loan *l)
{
	struct lp_err why = {0};
	lp_addr frames[FRAMES_MAX];
	if (lp_exec_is_held(l->p, l->p->arch->pc(&l->found))) {
		if (has_linker(l->p))
			return NULL;
		l->refusal = LP_ENOTHREAD; /* it waits for us: nothing is gained by waiting for it */
		return "its program is static and has not begun: its library is not ready";
	}
	if (lp_range_has(l->p->vdso, l->p->arch->pc(&l->found)))
		return "it is in the vDSO";
	if (lp_look_at(l->p, l->tid, &why) < 0)
		return "its stack cannot be read";
	int nr = lp_unwind(l->p, l->tid, frames, FRAMES_MAX, &why);
	if (nr < 0) {
		lp_debug("%s", why.text);
		return "its stack cannot be unwound";
	}
	const char *no = NULL;
	/* A return address may be the first byte behind its function; the call before it is inside. */
	for (int i = 0; i < nr && !no; i++)
		no = frame_objection(l->p, frames[i] - (i > 0));
	return no;
}

/* ---- going there ---- */

struct trip {
	struct lp_loan l;
	lp_addr stub;
	struct lp_vectors vectors;
	struct lp_call_frame frame;
};

/* Room below the frame, all of it writable; the main stack grows by itself. */
static bool has_stack(struct trip *t)
{
	const struct lp_range *bounds = lp_stack_bounds(t->l.p, t->frame.at);
	return bounds && lp_mem_write_honest(t->l.tid, t->frame.at, t->frame.bytes, t->frame.len) == 0 &&
	       (t->frame.at - bounds->start >= STACK_NEEDED || t->l.p->main_stack == bounds->start);
}

static const char *pack(struct trip *t, lp_addr fn, const uint64_t args[6])
{
	const struct lp_arch *arch = t->l.p->arch;
	uint64_t sigmask;
	if (t->l.filtered)
		return "it is under a seccomp filter, which knows nothing of what the function will do";
	if (!lp_stack_is_home(t->l.p, &t->l.found))
		return "it is on a stack whose bounds are not known";
	const char *no = arch->no_sigreturn(t->l.tid);
	if (no || (no = objection(&t->l)))
		return no;
	if (lp_trace_vectors(t->l.tid, arch->vector_set, &t->vectors) < 0 || lp_trace_sigmask(t->l.tid, &sigmask) < 0)
		return "its vector registers cannot be read";
	arch->call(t->stub, &t->l.go_on, &t->vectors, sigmask, fn, args, &t->frame);
	return has_stack(t) ? NULL : "its stack has too little room";
}

/* At the entry of the sigreturn: the function is done, and nothing of ours is needed any more. */
static bool at_the_end(const struct trip *t, const struct lp_tregs *r)
{
	const struct lp_arch *arch = t->l.p->arch;
	return arch->pc(r) == t->stub + arch->call_stub->after_syscall && arch->sp(r) == t->frame.at &&
	       arch->syscall_nr(r) == (int64_t)arch->nr_rt_sigreturn && lp_trace_leaving(t->l.tid) == 0;
}

static int come_home(struct trip *t, uint64_t *result, struct lp_err *err)
{
	const struct lp_arch *arch = t->l.p->arch;
	int rc = lp_mem_copy(t->l.tid, t->frame.result_at, result, sizeof *result);
	if (lp_trace_set_vectors(t->l.tid, arch->vector_set, &t->vectors) == 0)
		lp_trace_set_regs(t->l.tid, &t->l.go_on); /* else the sigreturn does it */
	lp_trace_detach(t->l.tid, 0);
	return rc < 0 ? lp_fail(err, LP_EREMOTE, "the function's result in thread %d cannot be read", (int)t->l.tid)
		      : 0;
}

static int watch(struct trip *t, uint64_t *result, uint64_t deadline, unsigned timeout_ms, struct lp_err *err)
{
	for (int signal = 0;;) {
		struct lp_event ev;
		struct lp_tregs r;
		if (lp_trace_syscall(t->l.tid, signal) < 0)
			return lp_loan_lost(&t->l, err);
		if (!lp_trace_wait(t->l.tid, deadline, &ev))
			return lp_loan_late(&t->l, timeout_ms, err);
		if (ev.kind == LP_EV_GONE)
			return lp_loan_lost(&t->l, err);
		signal = ev.signal;
		if (ev.kind == LP_EV_SYSCALL && lp_trace_regs(t->l.tid, &r) == 0 && at_the_end(t, &r))
			return come_home(t, result, err);
	}
}

/* One round over the candidates: 1 = done, 0 = none was fit. */
static int try_all(struct lp_proc *p, struct trip *t, lp_addr fn, const uint64_t args[6], struct lp_err *err)
{
	lp_candidate_vec who = {0};
	int found = 0, rc = lp_loan_candidates(p, &who, err);
	struct lp_loan last = {.p = p, .tid = p->pid, .unfit = "it has no thread that could"};
	for (size_t i = 0; rc >= 0 && !found && i < who.nr; i++) {
		t->l = (struct lp_loan){.p = p, .tid = who.items[i].tid};
		if (lp_loan_take(&t->l)) {
			t->l.unfit = t->l.group ? "it is stopped by job control" : pack(t, fn, args);
			found = !t->l.unfit;
			if (!found)
				lp_loan_return(&t->l);
		}
		if (!found && (i == 0 || !t->l.refusal))
			last = t->l;
	}
	lp_vec_free(&who);
	if (!found)
		t->l = last;
	return rc < 0 ? rc : found;
}

/* A thread that is in the allocator will soon be elsewhere; one that job control has stopped may stay so for days. */
static void wait_a_little(unsigned round)
{
	if (round < EAGER_ROUNDS)
		sched_yield();
	else
		nanosleep(&(struct timespec){0, round < LAZY_ROUND ? EAGER_NS : LAZY_NS}, NULL);
}

static int none(const struct trip *t, struct lp_err *err)
{
	int rc = lp_loan_none(&t->l, err);
	if (t->l.group)
		lp_err_append(err, "\nkill -CONT %d lets it go on", (int)t->l.p->pid);
	return rc;
}

static int call_on_some_thread(struct lp_proc *p, struct trip *t, lp_addr fn, const uint64_t args[6], uint64_t *result,
			       unsigned timeout_ms, struct lp_err *err)
{
	uint64_t deadline = lp_deadline(timeout_ms);
	for (unsigned round = 0;; wait_a_little(round++)) {
		lp_late_settle(p, 0);
		int rc = try_all(p, t, fn, args, err);
		if (rc < 0)
			return rc;
		if (rc > 0 && lp_trace_set_regs(t->l.tid, &t->frame.enter) < 0)
			return lp_loan_lost(&t->l, err);
		if (rc > 0)
			return watch(t, result, deadline, timeout_ms, err);
		if ((t->l.refusal && !p->late.nr) || lp_now() > deadline) /* late ones may be fit yet */
			return none(t, err);
	}
}

int lp_call_function(struct lp_proc *p, lp_addr fn, const uint64_t args[6], uint64_t *result, unsigned timeout_ms,
		     struct lp_err *err)
{
	const struct lp_image *images;
	size_t nr;
	if (p->paused)
		return lp_fail(err, LP_EINTERNAL, "no function can be called in a pause");
	/* Everything slow before a thread is held. */
	int rc = lp_images(p, NULL, &images, &nr, err);
	rc = rc < 0 ? rc : lp_unwind_prepare(p, err);
	rc = rc < 0 ? rc : lp_stub_drain(p, err);
	rc = rc < 0 ? rc : lp_stack_learn(p, err);
	if (rc < 0)
		return rc;
	struct trip *t = aligned_alloc(64, lp_align_up(sizeof *t, 64));
	if (!t)
		abort();
	lp_hush_begin(&p->hush);
	rc = lp_stub_place(p, p->arch->call_stub, 0, &t->stub, err);
	if (rc == 0)
		rc = call_on_some_thread(p, t, fn, args, result, timeout_ms, err);
	lp_hush_end(&p->hush);
	free(t);
	return rc;
}
