#include "self/stop.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/vec.h"
#include "self/private.h"
#include "self/signals.h"
#include "self/stack.h"
#include "self/threads.h"
#include "self/write.h"

enum state {
	NEW,	   /* nothing known yet */
	RESTING,   /* slept when we looked */
	OUTSIDE,   /* slept, and was not in the way, when the breakpoints stood already: never will be */
	CALLED,	   /* the signal is on its way */
	ANSWERING, /* in the handler */
	PARKED,	   /* in the handler, `context` is valid */
	GONE,	   /* ended */
	DROPPED,   /* nobody waits for its answer any more */
};

enum phase {
	SCOUTING, /* nothing is stopped: what takes long to find out */
	STOPPING, /* who runs is called */
	SETTLING, /* the breakpoints stand */
};

struct slot {
	_Atomic uint64_t word; /* generation << 8 | state: an answer to an old call changes nothing */
	int tid;
	bool deaf;	      /* blocks the usual call */
	enum phase looked_at; /* last */
	ucontext_t *context;
};

#define SLOTS_FIRST 64
#define CHUNKS_MAX 20 /* 64 + 128 + ...: more than the kernel has thread numbers */

#define LOOK_AGAIN_NS 1000000 /* a thread that ends does not answer */
#define QUIET_WALKS 3	      /* without a new thread, where exits hide whether all were listed */

static struct {
	/* Odd while the world is stopped; parked threads wait for it to change. */
	_Atomic uint32_t generation;
	_Atomic uint32_t answers;
	struct slot *_Atomic chunks[CHUNKS_MAX]; /* never given back: answers may come late */
	size_t nr, capacity;
	struct lp_threads threads;
	struct lp_self_maps maps; /* where stacks end */
	bool park_all;
	enum phase phase;
	int self;
	uint64_t signals;  /* that the caller blocked before */
	uint64_t deadline; /* ns */
	int culprit;
	lp_addr culprit_at;
	int strict; /* a thread that neither a call nor a breakpoint may meet (lp_thread_ways); 0: there is none */
	struct lp_way *ways;
	size_t nr_ways;
} world;

unsigned lp_self_patience_ms = 1000;

/* ---- slots ---- */

/* Chunk k holds 64 << k of them. */
static struct slot *slot_at(size_t i)
{
	unsigned k = 63 - (unsigned)__builtin_clzll(i / SLOTS_FIRST + 1);

	return &atomic_load(&world.chunks[k])[i - SLOTS_FIRST * ((1u << k) - 1)];
}

static void grow_slots(size_t want)
{
	for (unsigned k = 0; world.capacity < want && k < CHUNKS_MAX; k++) {
		if (world.chunks[k])
			continue;
		atomic_store(&world.chunks[k], lp_alloc(((size_t)SLOTS_FIRST << k) * sizeof(struct slot)));
		world.capacity += (size_t)SLOTS_FIRST << k;
	}
}

static uint64_t word_of(enum state state)
{
	return (uint64_t)atomic_load(&world.generation) << 8 | state;
}

static enum state state_of(const struct slot *s)
{
	return (enum state)(atomic_load(&s->word) & 0xff);
}

static void set_state(struct slot *s, enum state state)
{
	atomic_store(&s->word, word_of(state));
}

/* Walks list threads in the same order, so the one behind the last is nearly always the right one. */
static struct slot *slot_of(int tid, size_t *hint)
{
	for (size_t n = 0; n < world.nr; n++) {
		size_t i = (*hint + n) % world.nr;

		if (slot_at(i)->tid == tid) {
			*hint = i + 1;
			return slot_at(i);
		}
	}
	return NULL;
}

/* ---- waiting ---- */

static uint64_t now(void)
{
	struct timespec t;

	lp_raw(SYS_clock_gettime, CLOCK_MONOTONIC, &t, 0, 0, 0, 0);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t while_it_is, uint64_t ns)
{
	struct timespec t = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};

	lp_raw(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_it_is, ns ? &t : NULL, 0, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
	lp_raw(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, 0, 0, 0);
}

void lp_stop_answer(uint64_t value, ucontext_t *uc)
{
	uint32_t generation = (uint32_t)(value >> 32);
	uint64_t called = (uint64_t)generation << 8 | CALLED;
	struct slot *s;

	if (atomic_load(&world.generation) != generation)
		return;
	s = slot_at((uint32_t)value);
	if (!atomic_compare_exchange_strong(&s->word, &called, (uint64_t)generation << 8 | ANSWERING))
		return;
	s->context = uc;
	atomic_store(&s->word, (uint64_t)generation << 8 | PARKED);
	atomic_fetch_add(&world.answers, 1);
	futex_wake(&world.answers);
	while (atomic_load(&world.generation) == generation)
		futex_wait(&world.generation, generation, 0);
	lp_self_arch.serialize();
}

void lp_stop_wait_moment(void)
{
	uint32_t generation = atomic_load(&world.generation);

	if (generation & 1)
		futex_wait(&world.generation, generation, LOOK_AGAIN_NS);
}

/* ---- what is in the way ---- */

static struct lp_way *way_at(lp_addr pc)
{
	size_t low = 0, high = world.nr_ways;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (pc >= world.ways[middle].range.end)
			low = middle + 1;
		else
			high = middle;
	}
	return low < world.nr_ways && lp_range_has(world.ways[low].range, pc) ? &world.ways[low] : NULL;
}

static struct lp_range span_of_ways(void)
{
	return world.nr_ways ? (struct lp_range){world.ways[0].range.start, world.ways[world.nr_ways - 1].range.end}
			     : (struct lp_range){0};
}

/* Where a thread at pc goes on; false when nobody said. */
static bool move(const struct lp_way *way, lp_addr pc, lp_addr *to)
{
	for (size_t i = 0; i < way->edit->nr_moves; i++) {
		if (way->edit->moves[i].from == pc) {
			*to = way->edit->moves[i].to;
			return true;
		}
	}
	return false;
}

/* One thread, looked at. */
struct looked {
	bool parked;
	bool in_the_way;
	lp_addr at;
};

static void in_the_way(struct looked *l, lp_addr at)
{
	l->in_the_way = true;
	l->at = at;
}

static void on_word(void *arg, const struct lp_stack_word *w)
{
	struct looked *l = arg;
	struct lp_way *way = way_at(w->value);
	lp_addr to;

	if (!way)
		return;
	if (!way->edit)
		way->seen = true;
	else if (w->is_frame && l->parked && move(way, w->value, &to))
		*(lp_addr *)(uintptr_t)w->at = to;
	else if (w->is_frame || way->returns)
		in_the_way(l, w->value);
}

static void look_at_stack(struct looked *l, lp_addr sp)
{
	bool whole = lp_stack_scan(sp, &world.maps, span_of_ways(), on_word, l);

	for (size_t i = 0; !whole && i < world.nr_ways; i++)
		world.ways[i].seen = true; /* for all that we know */
}

/* A parked thread is moved out of the way. */
static bool clear_parked(struct slot *s)
{
	struct looked l = {.parked = true};
	lp_addr pc = lp_self_arch.pc(s->context), to;
	struct lp_way *way = way_at(pc);

	if (way && !way->edit)
		way->seen = true;
	else if (way && move(way, pc, &to))
		lp_self_arch.set_pc(s->context, to);
	else if (way)
		in_the_way(&l, pc);
	look_at_stack(&l, lp_self_arch.sp(s->context));
	if (l.in_the_way) {
		world.culprit = s->tid;
		world.culprit_at = l.at;
	}
	return !l.in_the_way;
}

/* A sleeper can only be left where it is, or be called.  It counts if it slept all the while. */
static bool is_outside(const struct slot *s, lp_addr pc, lp_addr sp)
{
	struct looked l = {0};
	struct lp_way *way = way_at(pc);
	lp_addr pc_then, sp_then;

	if (way && way->edit)
		return false;
	if (way)
		way->seen = true;
	look_at_stack(&l, sp);
	return !l.in_the_way && lp_thread_rests(&world.threads, s->tid, &pc_then, &sp_then) && pc_then == pc &&
	       sp_then == sp;
}

/* ---- who does what ---- */

static int send_call(const struct slot *s, size_t index)
{
	return lp_signals_call(s->tid, (uint64_t)atomic_load(&world.generation) << 32 | index, s->deaf);
}

static void call(struct slot *s, size_t index)
{
	int rc;

	set_state(s, CALLED);
	rc = send_call(s, index);
	if (rc == -ESRCH)
		set_state(s, GONE);
	else if (rc)
		set_state(s, NEW); /* too many signals queued: at the next walk */
}

/* What it blocks; what that means for calling it is remembered.  Of an emulator's threads /proc does not tell what the
 * program blocks in them. */
static uint64_t listen(struct slot *s)
{
	struct lp_thread_ways ways = {.blocked = UINT64_MAX};

	if (lp_threads_tell_rest())
		ways = lp_thread_ways(&world.threads, s->tid);
	s->deaf = lp_signals_deaf(ways.blocked);
	if (ways.strict)
		world.strict = s->tid;
	return ways.blocked;
}

/* A sleeper that would die of a breakpoint when it wakes is no sleeper to us. */
static void scout(struct slot *s)
{
	lp_addr pc, sp;
	bool would_die = listen(s) & lp_signals_needed();

	if (!world.park_all && !would_die && lp_thread_rests(&world.threads, s->tid, &pc, &sp))
		set_state(s, RESTING);
}

static void examine(struct slot *s, size_t index)
{
	enum state state = state_of(s);
	lp_addr pc, sp;
	bool rests = lp_thread_rests(&world.threads, s->tid, &pc, &sp);

	if (rests && !pc && !sp)
		set_state(s, GONE);
	else if (lp_thread_is_the_emulators(&world.threads, s->tid))
		set_state(s, OUTSIDE);
	else if (!rests || world.park_all)
		call(s, index);
	else if (state == NEW && listen(s) & lp_signals_needed())
		call(s, index);
	else if (world.phase == STOPPING)
		set_state(s, RESTING);
	else if (is_outside(s, pc, sp))
		set_state(s, OUTSIDE);
	else
		call(s, index);
}

static struct slot *add_slot(int tid, size_t *hint)
{
	struct slot *s;

	if (world.nr == world.capacity)
		return NULL;
	s = slot_at(world.nr++);
	s->tid = tid;
	s->deaf = false;
	set_state(s, NEW);
	*hint = world.nr;
	return s;
}

/* Looks at one thread if there is need; true when it was known, or has ended. */
static bool visit(struct slot *s, size_t index)
{
	bool had_ended = state_of(s) == GONE;

	if (had_ended) /* its number has a new owner, or it takes its time to vanish */
		set_state(s, NEW);
	if (state_of(s) != NEW && (state_of(s) != RESTING || s->looked_at == world.phase))
		return true;
	s->looked_at = world.phase;
	if (world.phase == SCOUTING)
		scout(s);
	else
		examine(s, index);
	return had_ended && state_of(s) == GONE;
}

/* True when nobody turned up who was not known. */
static bool walk(void)
{
	bool quiet = true;
	size_t hint = 0;
	int tid;

	lp_threads_first(&world.threads);
	while ((tid = lp_threads_next(&world.threads))) {
		struct slot *s = tid == world.self ? NULL : slot_of(tid, &hint);

		if (tid == world.self)
			continue;
		if (!s && !(s = add_slot(tid, &hint)))
			return false; /* the deadline ends it, and the next try has more room */
		quiet = visit(s, hint - 1) && quiet;
	}
	return quiet;
}

/* It has ended; or turns out to be none of the program's, once it has set its mask. */
static bool will_not_answer(const struct slot *s)
{
	lp_addr pc, sp;

	return !lp_thread_exists(s->tid) || (lp_thread_rests(&world.threads, s->tid, &pc, &sp) && !pc && !sp) ||
	       lp_thread_is_the_emulators(&world.threads, s->tid);
}

/* One who was called and has not answered; world.nr when there is none. */
static size_t first_missing(void)
{
	for (size_t i = 0; i < world.nr; i++) {
		enum state state = state_of(slot_at(i));

		if (state == CALLED || state == ANSWERING)
			return i;
	}
	return world.nr;
}

/* It was called a while ago.  Since it was listened to it may have ended, or may block what it did not block then. */
static void ask_again(struct slot *s, size_t index)
{
	if (state_of(s) != CALLED)
		return;
	if (will_not_answer(s))
		set_state(s, GONE);
	else if (!s->deaf && listen(s) && s->deaf)
		send_call(s, index);
}

/* Waits until everybody who was called has answered. */
static int gather(void)
{
	for (;;) {
		uint32_t answers = atomic_load(&world.answers);
		size_t missing = first_missing();

		if (missing == world.nr)
			return 0;
		if (now() > world.deadline) {
			world.culprit = slot_at(missing)->tid;
			return -LP_EBUSY;
		}
		futex_wait(&world.answers, answers, LOOK_AGAIN_NS);
		if (atomic_load(&world.answers) == answers)
			ask_again(slot_at(missing), missing);
	}
}

/* Until all threads are known and have answered. */
static int gather_all(void)
{
	unsigned quiet = 0;

	for (;;) {
		bool nobody_new = walk();
		int rc = gather();

		if (rc)
			return rc;
		if (nobody_new && (lp_threads_seen_all(&world.threads) || ++quiet >= QUIET_WALKS))
			return 0;
		if (!nobody_new)
			quiet = 0;
		if (now() > world.deadline) {
			world.culprit = 0;
			return -LP_EBUSY;
		}
	}
}

/* ---- the calls ---- */

int lp_stop_setup(struct lp_err *err)
{
	world.threads.dir = -1;
	grow_slots(1);
	return lp_threads_setup() ? lp_fail(err, LP_EPERM, "cannot list this process's threads in /proc/self/task") : 0;
}

static void let_go(void)
{
	lp_threads_close(&world.threads);
	lp_self_maps_free(&world.maps);
}

static int refuse_strict(struct lp_err *err)
{
	let_go();
	lp_fail(err, LP_ESECCOMP,
		"thread %d is in the strict mode of seccomp: the kernel would end it for being stopped", world.strict);
	if (err)
		err->tid = world.strict;
	return -LP_ESECCOMP;
}

int lp_stop_prepare(struct lp_err *err)
{
	int rc = lp_signals_take(err);

	rc = rc ? rc : lp_threads_open(&world.threads, err);
	if (rc)
		return rc;
	rc = lp_self_maps_read(&world.maps, err);
	if (rc) {
		lp_threads_close(&world.threads);
		return rc;
	}
	lp_threads_first(&world.threads);
	grow_slots((size_t)world.threads.before * 2 + SLOTS_FIRST);
	world.self = lp_thread_self();
	world.park_all = !lp_writer_syncs() || lp_threads_traced(&world.threads);
	world.nr = 0;
	world.phase = SCOUTING;
	world.strict = 0;
	walk();
	return world.strict ? refuse_strict(err) : 0;
}

int lp_stop_begin(void)
{
	world.culprit = 0;
	world.culprit_at = 0;
	world.phase = STOPPING;
	world.nr_ways = 0;
	world.deadline = now() + (uint64_t)lp_self_patience_ms * 1000000u;
	lp_signals_block(&world.signals);
	atomic_fetch_add(&world.generation, 1);
	return gather_all();
}

int lp_stop_settle(struct lp_way *ways, size_t nr)
{
	int rc;

	world.ways = ways;
	world.nr_ways = nr;
	world.phase = SETTLING;
	rc = gather_all();
	for (size_t i = 0; !rc && i < world.nr; i++) {
		if (state_of(slot_at(i)) == PARKED && !clear_parked(slot_at(i)))
			rc = -LP_EBUSY;
	}
	return rc;
}

void lp_stop_end(void)
{
	for (size_t i = 0; i < world.nr; i++) {
		uint64_t called = word_of(CALLED);

		atomic_compare_exchange_strong(&slot_at(i)->word, &called, word_of(DROPPED));
	}
	atomic_fetch_add(&world.generation, 1);
	futex_wake(&world.generation);
	lp_signals_unblock(world.signals);
	let_go();
}

int lp_stop_explain(int rc, struct lp_err *err)
{
	if (rc != -LP_EBUSY)
		return lp_fail_sys(err, -rc, "cannot change code");
	if (world.culprit_at)
		lp_fail(err, LP_EBUSY,
			"thread %d is at " LP_ADDR ", or returns to it: in the middle of what is to be replaced",
			world.culprit, world.culprit_at);
	else if (world.culprit)
		lp_fail(err, LP_EBUSY,
			"thread %d did not stop within %u ms: it blocks even the C library's signals, or "
			"does not return from the kernel",
			world.culprit, lp_self_patience_ms);
	else
		lp_fail(err, LP_EBUSY, "threads are created faster than they can be stopped");
	if (err) {
		err->tid = world.culprit;
		err->addr = world.culprit_at;
	}
	return rc;
}

void lp_stop_forked(void)
{
	lp_threads_close(&world.threads);
	world.nr = 0;
}
