/*
 * How guest threads stop for gdb, and go on.
 *
 * A thread that has something to tell waits with it in a state that counts as
 * standing still, wakes the stub's thread, and that one stops all others. One
 * thread tells at a time; what the others had to tell is looked at again
 * when it is their turn, since gdb may have taken the breakpoint away by then.
 *
 * Stepping, watchpoints and holding threads back are all done by LP_POLL_TRACE:
 * the thread asks before each instruction.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "gdb/access.h"
#include "gdb/stub.h"

/* ---- what a thread has to do; with the lock held ---- */

static struct lp_gdb_thread *find(struct lp_gdb *g, int tid)
{
	for (size_t i = 0; i < g->threads.nr; i++)
		if (g->threads.items[i].tid == tid)
			return &g->threads.items[i];
	return NULL;
}

static struct lp_gdb_thread *thread_of(struct lp_gdb *g, int tid)
{
	struct lp_gdb_thread *th = find(g, tid);

	if (!th) {
		th = lp_vec_add(&g->threads);
		*th = (struct lp_gdb_thread){.tid = tid};
	}
	return th;
}

static bool is_breakpoint(const struct lp_gdb *g, uint64_t pc)
{
	for (size_t i = 0; i < g->breakpoints.nr; i++)
		if (g->breakpoints.items[i] == pc)
			return true;
	return false;
}

/* ---- telling ---- */

static void wake(struct lp_gdb *g)
{
	while (write(g->wake[1], "", 1) < 0 && errno == EINTR)
		;
}

static bool is_stale(const struct lp_gdb *g, const struct lp_guest_thread *t, const struct lp_gdb_stop *stop)
{
	return stop->why == LP_GDB_BREAK && !is_breakpoint(g, t->cpu.pc);
}

/* Returns when gdb has had its say.  With the lock held; false: there is nobody to be told, or nothing any more. */
static bool tell(struct lp_gdb *g, struct lp_guest_thread *t, struct lp_gdb_stop stop)
{
	stop.tid = t->tid;
	while (g->is_connected && g->has_stop)
		pthread_cond_wait(&g->resumed, &g->lock);
	if (!g->is_connected || is_stale(g, t, &stop))
		return false;
	g->has_stop = true;
	g->stop = stop;
	wake(g);
	while (g->has_stop)
		pthread_cond_wait(&g->resumed, &g->lock);
	return true;
}

/* Around the waiting: a thread that waits for gdb stands still. */
static void enter(struct lp_gdb *g, struct lp_guest_thread *t)
{
	lp_thread_enter_host(t);
	pthread_mutex_lock(&g->lock);
}

static void leave(struct lp_gdb *g, struct lp_guest_thread *t)
{
	pthread_mutex_unlock(&g->lock);
	lp_thread_leave_host(t);
}

/* ---- before each instruction ---- */

static const struct lp_gdb_watch *watch_hit(const struct lp_gdb *g, const struct lp_guest_thread *t)
{
	struct lp_gdb_access a;
	uint32_t word;

	if (g->watches.nr == 0 || lp_mem_get(t->cpu.pc, &word) || !lp_gdb_access_of(&t->cpu, word, &a))
		return NULL;
	for (size_t i = 0; i < g->watches.nr; i++) {
		const struct lp_gdb_watch *w = &g->watches.items[i];
		if (lp_range_overlaps(w->range, a.range) && ((w->reads && a.reads) || (w->writes && a.writes)))
			return w;
	}
	return NULL;
}

static const char *watch_name(const struct lp_gdb_watch *w)
{
	return w->reads && w->writes ? "awatch" : w->reads ? "rwatch" : "watch";
}

static bool has_stepped(const struct lp_gdb_thread *th, uint64_t pc)
{
	return th->action == LP_GDB_STEP && th->primed && !lp_range_has(th->within, pc);
}

static void stop_tracing(struct lp_guest_thread *t)
{
	atomic_fetch_and(&t->cpu.poll, ~(uint32_t)LP_POLL_TRACE);
}

static void hold(struct lp_gdb *g, int tid)
{
	while (g->is_connected && thread_of(g, tid)->action == LP_GDB_HOLD)
		pthread_cond_wait(&g->resumed, &g->lock);
}

static void before_instruction(struct lp_guest_thread *t, void *arg)
{
	struct lp_gdb *g = arg;
	const struct lp_gdb_watch *w;
	struct lp_gdb_thread *th;

	enter(g, t);
	while (t == g->emu->main && !g->stop.tid && !g->is_connected && !g->is_over)
		pthread_cond_wait(&g->resumed, &g->lock);
	hold(g, t->tid);
	th = thread_of(g, t->tid);
	w = t->is_vfork_child || th->primed ? NULL : watch_hit(g, t);
	if (t->is_vfork_child) {
		if (th->primed) /* over the breakpoint that was not its */
			stop_tracing(t);
		th->primed = true;
	} else if (t == g->emu->main && !g->is_over && g->stop.why == LP_GDB_STARTED && !g->stop.tid) {
		tell(g, t, (struct lp_gdb_stop){.why = LP_GDB_STARTED, .signal = SIGTRAP});
	} else if (has_stepped(th, t->cpu.pc)) {
		tell(g, t, (struct lp_gdb_stop){.why = LP_GDB_STEPPED, .signal = SIGTRAP});
	} else if (w) {
		tell(g, t,
		     (struct lp_gdb_stop){.why = LP_GDB_WATCH,
					  .signal = SIGTRAP,
					  .watch = watch_name(w),
					  .watch_addr = w->range.start});
	}
	hold(g, t->tid);
	th = thread_of(g, t->tid);
	if (!t->is_vfork_child)
		th->primed = th->action == LP_GDB_STEP;
	if (!t->is_vfork_child && th->action == LP_GDB_CONTINUE && g->watches.nr == 0)
		stop_tracing(t);
	leave(g, t);
}

static void at_breakpoint(struct lp_guest_thread *t, void *arg)
{
	struct lp_gdb *g = arg;

	enter(g, t);
	if (t->is_vfork_child || !tell(g, t, (struct lp_gdb_stop){.why = LP_GDB_BREAK, .signal = SIGTRAP})) {
		thread_of(g, t->tid)->primed = false;
		atomic_fetch_or(&t->cpu.poll, LP_POLL_TRACE); /* one instruction by itself, and on */
	}
	hold(g, t->tid);
	leave(g, t);
}

/* ---- signals and faults ---- */

static int on_signal(struct lp_guest_thread *t, const siginfo_t *info, void *arg)
{
	struct lp_gdb *g = arg;
	int sig = info->si_signo;

	enter(g, t);
	if (!t->is_vfork_child && tell(g, t, (struct lp_gdb_stop){.why = LP_GDB_SIGNAL, .signal = sig}))
		sig = thread_of(g, t->tid)->deliver;
	thread_of(g, t->tid)->deliver = 0;
	leave(g, t);
	return sig;
}

/* The guest's own brk is one like any other: gdb decides whether its handler is to see it. */
static bool on_fault(struct lp_guest_thread *t, void *arg)
{
	struct lp_gdb *g = arg;
	bool swallowed = false;

	enter(g, t);
	if (!t->is_vfork_child &&
	    tell(g, t, (struct lp_gdb_stop){.why = LP_GDB_SIGNAL, .signal = t->cpu.fault.signal})) {
		swallowed = thread_of(g, t->tid)->deliver == 0;
		thread_of(g, t->tid)->deliver = 0;
	}
	leave(g, t);
	return swallowed;
}

/* ---- coming and going ---- */

static void started(struct lp_guest_thread *t, void *arg)
{
	struct lp_gdb *g = arg;

	pthread_mutex_lock(&g->lock);
	if (g->is_connected && g->watches.nr)
		atomic_fetch_or(&t->cpu.poll, LP_POLL_TRACE);
	pthread_mutex_unlock(&g->lock);
}

static void exiting(struct lp_emu *emu, int status, void *arg)
{
	struct lp_gdb *g = arg;
	struct lp_guest_thread *t = lp_guest_self();

	if (t) {
		enter(g, t);
		tell(g, t, (struct lp_gdb_stop){.why = LP_GDB_EXITED, .status = status});
		leave(g, t);
	}
	if (g->path)
		unlink(g->path);
}

/* The child has no stub: what was inherited of it goes. */
static void forked(struct lp_emu *emu, void *arg)
{
	struct lp_gdb *g = arg;
	struct lp_guest_thread *t = lp_guest_self();

	pthread_mutex_init(&g->lock, NULL);
	g->is_connected = g->has_stop = false;
	g->is_over = true;
	close(g->wire.fd);
	close(g->listener);
	g->wire.fd = g->listener = -1;
	g->path = NULL;
	g->watches.nr = g->threads.nr = 0;
	while (g->breakpoints.nr)
		lp_block_breakpoint(emu->blocks, g->breakpoints.items[--g->breakpoints.nr], false);
	if (t)
		stop_tracing(t);
}

void lp_gdb_watch_events(struct lp_gdb *g)
{
	lp_emu_watch(g->emu, &(struct lp_emu_events){.block = before_instruction,
						     .breakpoint = at_breakpoint,
						     .fault = on_fault,
						     .signal = on_signal,
						     .started = started,
						     .forked = forked,
						     .exiting = exiting,
						     .arg = g});
}

/* ---- the stub's thread ---- */

void lp_gdb_set_breakpoint(struct lp_gdb *g, uint64_t pc, bool on)
{
	pthread_mutex_lock(&g->lock);
	if (on && !is_breakpoint(g, pc))
		lp_vec_push(&g->breakpoints, pc);
	for (size_t i = 0; !on && i < g->breakpoints.nr; i++)
		if (g->breakpoints.items[i] == pc)
			g->breakpoints.items[i] = g->breakpoints.items[--g->breakpoints.nr];
	pthread_mutex_unlock(&g->lock);
	lp_block_breakpoint(g->emu->blocks, pc, on);
}

static bool is_same_watch(const struct lp_gdb_watch *a, const struct lp_gdb_watch *b)
{
	return a->range.start == b->range.start && a->range.end == b->range.end && a->reads == b->reads &&
	       a->writes == b->writes;
}

void lp_gdb_set_watch(struct lp_gdb *g, const struct lp_gdb_watch *w, bool on)
{
	pthread_mutex_lock(&g->lock);
	if (on)
		lp_vec_push(&g->watches, *w);
	for (size_t i = 0; !on && i < g->watches.nr; i++)
		if (is_same_watch(&g->watches.items[i], w)) {
			g->watches.items[i] = g->watches.items[--g->watches.nr];
			break;
		}
	pthread_mutex_unlock(&g->lock);
}

void lp_gdb_act(struct lp_gdb *g, const struct lp_gdb_thread *acts, size_t nr, enum lp_gdb_action rest)
{
	pthread_mutex_lock(&g->lock);
	for (struct lp_guest_thread *t = lp_guest_threads(g->emu); t; t = t->next) {
		struct lp_gdb_thread *th = thread_of(g, t->tid);
		th->action = rest;
		th->primed = false;
		th->deliver = 0;
		th->within = (struct lp_range){0, 0};
		for (size_t i = 0; i < nr; i++)
			if (acts[i].tid == t->tid) {
				*th = acts[i];
				break;
			}
		if (th->action != LP_GDB_CONTINUE || g->watches.nr)
			atomic_fetch_or(&t->cpu.poll, LP_POLL_TRACE);
	}
	pthread_mutex_unlock(&g->lock);
}

void lp_gdb_let_go(struct lp_gdb *g)
{
	pthread_mutex_lock(&g->lock);
	g->has_stop = false;
	pthread_cond_broadcast(&g->resumed);
	pthread_mutex_unlock(&g->lock);
	if (g->stopped)
		lp_threads_go(g->emu);
	g->stopped = false;
}

void lp_gdb_disconnect(struct lp_gdb *g)
{
	pthread_mutex_lock(&g->lock);
	g->is_connected = false;
	g->threads.nr = g->watches.nr = 0;
	pthread_mutex_unlock(&g->lock);
	while (g->breakpoints.nr)
		lp_gdb_set_breakpoint(g, g->breakpoints.items[0], false);
	lp_gdb_let_go(g);
}
