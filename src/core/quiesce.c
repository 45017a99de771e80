/*
 * Constraints: the target may not be held stopped while we think, and a
 * thread must never be able to execute a half-changed instruction or return
 * into one.
 *
 * Mechanism: one pause is one look.  Inside it each thread's pc is compared
 * with the watches, then every aligned word of its live stack: a word that
 * points into a watch *may* be a return address, or a stale one, left from a
 * call that is long over.  That look costs about a nanosecond a word, and it
 * cannot miss a return address.  When nothing is found, act() runs at once.
 *
 * A suspicion is settled after everybody runs again, by unwinding the copies
 * of registers and stack that the pause took: either a frame really returns
 * into the watch (wait, look again until the deadline), or the word is stale
 * (remember thread, pc, sp and the stack's checksum; the next look skips a
 * suspicion that is equal in all of them, since equal stacks unwind equally).
 * A thread whose stale words change faster than we look is unwound inside the
 * pause, once looking has failed a few times: a longer pause, but an end.
 *
 * A stack that cannot be unwound counts as guilty.
 *
 * Stacks that no thread stands on (suspended coroutines) are looked for in the
 * target's memory before the pause, and looked at in it like those of threads:
 * parked.c.
 */
#include "core/quiesce.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "base/log.h"

#define STALE_ROUNDS 4	/* looks that found only new stale words, before unwinding inside the pause */
#define FRAMES_MAX 4096 /* a recursion may be deep; what is deeper counts as guilty */

void lp_quiesce_watch(struct lp_quiesce *q, struct lp_range range, enum lp_watch_kind kind, const char *symbol)
{
	if (range.start >= range.end)
		return;
	lp_vec_push(&q->watches, ((struct lp_watch){range, kind, symbol}));
	if (q->watches.nr == 1 || range.start < q->hull.start)
		q->hull.start = range.start;
	if (range.end > q->hull.end)
		q->hull.end = range.end;
	if (range.end - range.start > q->widest)
		q->widest = range.end - range.start;
}

static int by_start(const void *a, const void *b)
{
	const struct lp_watch *x = a, *y = b;
	return (x->range.start > y->range.start) - (x->range.start < y->range.start);
}

enum where { AT_PC, ON_STACK, IN_REGISTER };

static bool hits(const struct lp_watch *w, lp_addr v, enum where where)
{
	switch (w->kind) {
	case LP_WATCH_BYTES:
	case LP_WATCH_BODY:
		return where != IN_REGISTER && lp_range_has_inside(w->range, v);
	case LP_WATCH_PC:
		return where == AT_PC && lp_range_has(w->range, v);
	case LP_WATCH_ROOM:
		return lp_range_has(w->range, v);
	}
	return false;
}

/* Watches are sorted by start; none is wider than q->widest. */
static const struct lp_watch *watch_within(const struct lp_quiesce *q, lp_addr v, enum where where)
{
	size_t lo = 0, hi = q->watches.nr;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (q->watches.items[mid].range.start <= v)
			lo = mid + 1;
		else
			hi = mid;
	}
	while (lo-- > 0 && v - q->watches.items[lo].range.start < q->widest)
		if (hits(&q->watches.items[lo], v, where))
			return &q->watches.items[lo];
	return NULL;
}

/* Nearly all words are outside of all watches. */
static inline const struct lp_watch *watch_of(const struct lp_quiesce *q, lp_addr v, enum where where)
{
	v &= q->t->isa->code_bits;
	return lp_range_has(q->hull, v) ? watch_within(q, v, where) : NULL;
}

static int by_identity(const void *a, const void *b)
{
	const struct lp_stale *x = a, *y = b;
	if (x->slot != y->slot)
		return (x->slot > y->slot) - (x->slot < y->slot);
	if (x->pc != y->pc)
		return (x->pc > y->pc) - (x->pc < y->pc);
	if (x->sp != y->sp)
		return (x->sp > y->sp) - (x->sp < y->sp);
	if (x->tid != y->tid)
		return (x->tid > y->tid) - (x->tid < y->tid);
	return (x->stack_crc > y->stack_crc) - (x->stack_crc < y->stack_crc);
}

/* settle() keeps them sorted. */
static bool is_stale(const struct lp_quiesce *q, const struct lp_suspect *s)
{
	struct lp_stale key = {s->tid, s->pc, s->sp, s->slot, s->stack_crc};
	return q->stale.nr && bsearch(&key, q->stale.items, q->stale.nr, sizeof key, by_identity);
}

/*
 * The checksum of a stack from its stack pointer up to a slot, for one slot
 * after the other: a deep recursion has a suspicion in each frame, and a sum
 * from the beginning for each of them would make the pause seconds long.
 */
struct stack_sum {
	const uint8_t *bytes;
	size_t done;
	uint32_t crc;
};

static uint32_t sum_to(struct stack_sum *sum, size_t len)
{
	sum->crc = lp_crc32c(sum->crc, sum->bytes + sum->done, len - sum->done);
	sum->done = len;
	return sum->crc;
}

static void suspect_context(struct lp_quiesce *q, const struct lp_context *c, const struct lp_watch *w, lp_addr slot,
			    lp_addr value, uint32_t stack_crc)
{
	struct lp_suspect s = {.pc = c->at,
			       .sp = c->sp,
			       .slot = slot,
			       .value = value,
			       .symbol = w->symbol,
			       .symbol_at = w->range.start,
			       .stack_crc = stack_crc,
			       .context = c};
	if (!is_stale(q, &s))
		lp_vec_push(&q->suspects, s);
}

static void suspect(struct lp_quiesce *q, const struct lp_thread *th, const struct lp_watch *w, lp_addr slot,
		    lp_addr value, uint32_t stack_crc)
{
	struct lp_suspect s = {.tid = th->tid,
			       .pc = th->resume_pc,
			       .sp = th->sp,
			       .slot = slot,
			       .value = value,
			       .symbol = w->symbol,
			       .symbol_at = w->range.start,
			       .stack_crc = stack_crc,
			       /* memory that vanishes must not be pointed to at all: no frame can excuse the word */
			       .certain = slot == 0 || w->kind == LP_WATCH_ROOM};
	if (s.certain || !is_stale(q, &s))
		lp_vec_push(&q->suspects, s);
}

/* No stack to look at, or not all of it (a handler on a signal stack, a coroutine): only unwinding can clear this thread,
 * and if it cannot, the thread counts as guilty. */
static void cannot_look(struct lp_quiesce *q, const struct lp_thread *th)
{
	lp_vec_push(&q->suspects, ((struct lp_suspect){.tid = th->tid,
						       .pc = th->resume_pc,
						       .sp = th->sp,
						       .slot = th->sp,
						       .symbol = q->watches.items[0].symbol,
						       .unseen = true,
						       .visible = th->stack_bytes != NULL}));
	q->unseen = true;
}

/* The first of the words from i on that may be in a watch; nr: there is none.  A stack has thousands of them. */
static size_t next_near(const struct lp_quiesce *q, const uint8_t *words, size_t i, size_t nr)
{
	uint64_t bits = q->t->isa->code_bits, start = q->hull.start, len = q->hull.end - start;

	while (i < nr && (lp_get64(words + 8 * i) & bits) - start >= len)
		i++;
	return i;
}

static void look_at_stack(struct lp_quiesce *q, const struct lp_thread *th)
{
	if (!th->stack_is_whole || !th->stack_bytes || th->stack.start > th->sp)
		cannot_look(q, th);
	if (!th->stack_bytes || th->stack.start > th->sp)
		return;
	size_t from = (size_t)(th->sp - th->stack.start);
	size_t first = (size_t)(lp_align_up(th->sp, 8) - th->stack.start);
	size_t nr = th->stack_len > first ? (th->stack_len - first) / 8 : 0;
	const uint8_t *words = th->stack_bytes + first;
	struct stack_sum sum = {.bytes = th->stack_bytes + from};
	for (size_t i = 0; (i = next_near(q, words, i, nr)) < nr; i++) {
		lp_addr v = lp_get64(words + 8 * i);
		const struct lp_watch *w = watch_of(q, v, ON_STACK);
		if (w)
			suspect(q, th, w, th->stack.start + first + 8 * i, v, sum_to(&sum, first + 8 * i + 8 - from));
	}
}

static void look_at(struct lp_quiesce *q, const struct lp_thread *th)
{
	const struct lp_watch *w = watch_of(q, th->resume_pc, AT_PC);
	if (w || (w = watch_of(q, th->pc, AT_PC))) {
		suspect(q, th, w, 0, th->resume_pc, 0);
		return;
	}
	if (th->lr && (w = watch_of(q, th->lr, ON_STACK)))
		suspect(q, th, w, 0, th->lr, 0);
	for (size_t i = 0; i < th->nr_regs; i++)
		if ((w = watch_of(q, th->regs[i], IN_REGISTER)))
			suspect(q, th, w, 0, th->regs[i], 0);
	look_at_stack(q, th);
}

/* Pointers into memory that vanishes are searched for in all memory (rooms.c): here only who would return there counts. */
static void look_at_context(struct lp_quiesce *q, const struct lp_context *c)
{
	const struct lp_watch *w = c->pc ? watch_of(q, c->pc, ON_STACK) : NULL;
	if (w && w->kind != LP_WATCH_ROOM)
		suspect_context(q, c, w, 0, c->pc, 0);
	struct stack_sum sum = {.bytes = c->bytes};
	for (lp_addr at = c->sp; at + 8 <= c->stack.end; at += 8) {
		lp_addr v = lp_get64(c->bytes + (at - c->sp));
		w = watch_of(q, v, ON_STACK);
		if (w && w->kind != LP_WATCH_ROOM)
			suspect_context(q, c, w, at, v, sum_to(&sum, (size_t)(at + 8 - c->sp)));
	}
}

static void look_at_contexts(struct lp_quiesce *q)
{
	lp_parked_look(&q->parked);
	for (size_t i = 0; i < q->parked.contexts.nr; i++) {
		const struct lp_context *c = &q->parked.contexts.items[i];
		if (c->live && c->bytes)
			look_at_context(q, c);
	}
}

static void look(struct lp_quiesce *q, size_t *nr_threads)
{
	q->suspects.nr = 0;
	q->unseen = false;
	const struct lp_thread *threads = q->t->ops->threads(q->t, nr_threads);
	for (size_t i = 0; i < *nr_threads && q->watches.nr; i++)
		look_at(q, &threads[i]);
	if (q->parked.contexts.nr)
		look_at_contexts(q);
}

/* ---- settling ---- */

static bool frame_hits(const struct lp_quiesce *q, lp_addr frame)
{
	return watch_of(q, frame, ON_STACK) != NULL;
}

/* What unwinding gave; that of a thread serves all suspicions about its stack, which come one after the other. */
struct walked {
	int tid; /* 0 = nobody, or a coroutine */
	int nr;	 /* negative = not to the end */
	lp_addr frames[FRAMES_MAX];
};

static enum lp_verdict judge_context(struct lp_quiesce *q, const struct lp_suspect *s, struct walked *w)
{
	struct lp_frame walk[FRAMES_MAX];
	size_t n;
	enum lp_verdict v = lp_parked_judge(&q->parked, s->context, s->slot, walk, FRAMES_MAX, &n);
	for (size_t i = 0; i < n; i++)
		w->frames[i] = walk[i].pc;
	w->tid = 0;
	w->nr = v == LP_GUILTY ? (int)n : -1;
	return v;
}

static void unwind(struct lp_quiesce *q, int tid, struct walked *w)
{
	if (w->tid == tid)
		return;
	memset(w->frames, 0, sizeof w->frames);
	w->tid = tid;
	w->nr = q->t->ops->unwind(q->t, tid, w->frames, FRAMES_MAX, NULL);
}

/* Is the suspicion true?  *w is for the message. */
static enum lp_verdict judge(struct lp_quiesce *q, const struct lp_suspect *s, struct walked *w)
{
	if (s->context)
		return judge_context(q, s, w);
	unwind(q, s->tid, w);
	if (s->certain || (w->nr < 0 && !s->visible))
		return LP_GUILTY;
	/* A coroutine's stack ends in code without unwind tables: what came before that end is true all the same. */
	for (int i = 1; i < FRAMES_MAX && w->frames[i]; i++)
		if (frame_hits(q, w->frames[i]))
			return LP_GUILTY;
	return LP_IDLE;
}

static int accuse(const struct lp_suspect *s, struct lp_err *err)
{
	const char *how = s->slot == 0 ? "is in" : "will return into";
	if (s->context)
		return lp_fail(err, LP_EBUSY,
			       "a suspended coroutine %s %s, which is being changed; its stack is at " LP_ADDR
			       " (kept at " LP_ADDR ")",
			       how, s->symbol, s->sp, s->context->at);
	return lp_fail(err, LP_EBUSY, "thread %d %s %s, which is being changed", s->tid, how, s->symbol);
}

static int busy(struct lp_quiesce *q, const struct lp_suspect *s, const lp_addr *frames, int nr, struct lp_err *err)
{
	char text[256];
	int rc = accuse(s, err);
	if (!err)
		return rc;
	err->tid = s->tid;
	err->addr = s->value;
	snprintf(err->function, sizeof err->function, "%s", s->symbol);
	if (nr <= 0)
		lp_err_append(err,
			      "\n  its stack cannot be unwound; the word " LP_ADDR " at " LP_ADDR
			      " looks like a return address",
			      s->value, s->slot);
	for (int i = 0; i < nr && i < 12; i++)
		lp_err_append(err, "\n  #%d " LP_ADDR " %s", i, frames[i],
			      lp_target_describe(q->t, frames[i], text, sizeof text));
	return rc;
}

/* What is certain is told rather than what nobody can tell. */
static int settle(struct lp_quiesce *q, bool *only_stale, struct lp_err *err)
{
	struct walked w = {0};
	const struct lp_suspect *unsettled = NULL;
	int rc = 0;
	size_t was = q->stale.nr;
	for (size_t i = 0; i < q->suspects.nr && rc == 0; i++) {
		const struct lp_suspect *s = &q->suspects.items[i];
		switch (judge(q, s, &w)) {
		case LP_GUILTY:
			rc = busy(q, s, w.frames, w.nr, err);
			break;
		case LP_UNSETTLED:
			unsettled = s;
			break;
		case LP_IDLE:
			if (!s->unseen)
				lp_vec_push(&q->stale,
					    ((struct lp_stale){s->tid, s->pc, s->sp, s->slot, s->stack_crc}));
			break;
		}
	}
	if (rc == 0 && unsettled)
		rc = busy(q, unsettled, w.frames, -1, err);
	*only_stale = rc == 0 && q->stale.nr > was;
	if (q->stale.nr > was)
		qsort(q->stale.items, q->stale.nr, sizeof *q->stale.items, by_identity);
	return rc;
}

/* ---- the loop ---- */

static uint64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool interrupted(const struct lp_quiesce *q)
{
	return q->interrupted && *q->interrupted;
}

/* Not a guess at how long something takes: nothing tells us when a function of another process returns. */
static void wait_a_little(unsigned *ms)
{
	poll(NULL, 0, (int)*ms);
	if (*ms < 50)
		*ms *= 2;
}

/*
 * A coroutine that was suspended for the first time after the search was not
 * looked at.  What act() did keeps everybody from entering the watches anew, so
 * that a search now finds all there are.  To take the change back would not
 * undo that both ran: it is told, and the coroutine finishes in what it began.
 */
static void look_back(struct lp_quiesce *q, struct lp_quiesce_stats *stats)
{
	struct walked w = {0};
	struct lp_err err = {0};
	lp_parked_search(&q->parked);
	if (!q->parked.contexts.nr || q->t->ops->pause(q->t, &err) < 0)
		return;
	q->suspects.nr = 0;
	look_at_contexts(q);
	struct lp_pause_stats pause;
	q->t->ops->resume(q->t, &pause);
	for (size_t i = 0; i < q->suspects.nr && !stats->late; i++) {
		if (judge(q, &q->suspects.items[i], &w) != LP_GUILTY)
			continue;
		stats->late = true;
		busy(q, &q->suspects.items[i], w.frames, w.nr, &err);
		lp_warn("it was suspended while the change was being made, and finishes in the code that it began in: "
			"%s",
			err.text);
	}
}

static bool has_coroutines(const struct lp_quiesce *q)
{
	for (size_t i = 0; i < q->parked.contexts.nr; i++)
		if (q->parked.contexts.items[i].live)
			return true;
	return false;
}

static bool has_frames_to_mind(const struct lp_quiesce *q)
{
	for (size_t i = 0; i < q->watches.nr; i++)
		if (q->watches.items[i].kind == LP_WATCH_BODY || q->watches.items[i].kind == LP_WATCH_BYTES)
			return true;
	return false;
}

/* As often as it may cost half of the waiting. */
static void search_parked(struct lp_quiesce *q)
{
	q->parked.t = q->t;
	q->parked.interrupted = q->interrupted;
	q->parked.most = q->search_most;
	if (!q->parked.at_ns || now_ms() * 1000000 - q->parked.at_ns > q->parked.cost_ns)
		lp_parked_search(&q->parked);
}

static int one_pause(struct lp_quiesce *q, bool settle_inside, int (*act)(void *, struct lp_err *), void *arg,
		     struct lp_quiesce_stats *stats, struct lp_err *err)
{
	int rc = q->t->ops->pause(q->t, err);
	if (rc < 0)
		return rc;
	look(q, &stats->nr_threads);
	bool stale = false;
	q->settled = q->suspects.nr && (settle_inside || (q->unseen && q->warm));
	if (q->settled && settle(q, &stale, err) == 0)
		q->suspects.nr = 0;
	rc = q->suspects.nr ? -LP_EBUSY : act(arg, err);
	struct lp_pause_stats pause;
	q->t->ops->resume(q->t, &pause);
	stats->pause_ns = pause.ns;
	stats->nr_tries++;
	return rc;
}

int lp_quiesce_run(struct lp_quiesce *q, int (*act)(void *arg, struct lp_err *err), void *arg,
		   struct lp_quiesce_stats *stats, struct lp_err *err)
{
	if (q->watches.nr)
		qsort(q->watches.items, q->watches.nr, sizeof *q->watches.items, by_start);
	*stats = (struct lp_quiesce_stats){0};
	bool minds_frames = q->search_most != LP_SEARCH_NONE && has_frames_to_mind(q);
	if (minds_frames)
		search_parked(q);
	/* The first search is no waiting: in a large memory it takes longer than people are willing to wait for a function. */
	uint64_t deadline = now_ms() + q->timeout_ms, told = now_ms() + 500;
	unsigned wait_ms = 1, stale_rounds = 0;
	for (;;) {
		if (interrupted(q))
			return lp_fail(err, LP_EINTERRUPTED, "interrupted; nothing was changed");
		int rc = one_pause(q, stale_rounds > STALE_ROUNDS, act, arg, stats, err);
		if (rc == 0 && has_coroutines(q))
			look_back(q, stats);
		if (rc != -LP_EBUSY)
			return rc;
		bool only_stale = false;
		rc = q->settled ? rc : settle(q, &only_stale, err);
		/* Unwinding for the first time reads files; from now on it is quick enough for a pause. */
		bool try_inside = q->unseen && !q->warm;
		q->warm = true;
		if (rc == 0 && (only_stale || try_inside)) {
			stale_rounds++;
			continue;
		}
		if (now_ms() >= deadline) {
			lp_err_append(err, "\n  waited %u ms for it to leave; %s", q->timeout_ms,
				      q->t->if_busy ? q->t->if_busy
						    : "--timeout waits longer, --allow-active does not wait");
			return rc < 0 ? rc : -LP_EBUSY;
		}
		if (now_ms() >= told) {
			lp_info("waiting: %s", err ? err->text : lp_strerror(rc));
			told += 1000;
		}
		wait_a_little(&wait_ms);
		if (minds_frames)
			search_parked(q);
	}
}

void lp_quiesce_free(struct lp_quiesce *q)
{
	lp_vec_free(&q->watches);
	lp_vec_free(&q->suspects);
	lp_vec_free(&q->stale);
	lp_parked_free(&q->parked);
}
