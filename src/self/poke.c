/*
 * Bytes of code in the place of others, while threads run through them.
 *
 * Constraints.  An instruction of several bytes is not fetched in one piece,
 * so a thread may see part of a change; and a thread can be preempted between
 * two of the instructions that go away together, or be in a signal handler
 * that interrupted it there, and go on in the middle of what comes instead.
 *
 * Mechanism, for all sites at once:
 *
 *     old:    55 48 89 e5 41        push rbp; mov rbp,rsp; ...
 *     1       cc 48 89 e5 41        a breakpoint, which is one store: nobody begins with the old code any more
 *     2                             all cores have seen it; threads between the instructions go on elsewhere
 *     3       cc .. .. .. ..        the other bytes, which nobody executes now
 *     4                             all cores have seen them
 *     5       e9 .. .. .. ..        the first byte
 *
 * Where it fails before 5 the same steps lead back.  Running threads are
 * stopped all the while (stop.h says why sleeping ones are not).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/vec.h"
#include "self/maps.h"
#include "self/private.h"
#include "self/quarantine.h"
#include "self/stop.h"
#include "self/traps.h"
#include "self/write.h"

#define OLD_STACK 256 /* bytes of an edit that are compared at a time */
#define TRY_AGAIN_NS 1000000

struct poke {
	const struct lp_self_edit *edits;
	size_t nr;
	struct lp_way *ways; /* of the edits, and of what waits in quarantine */
	size_t nr_ways;
	struct lp_writer writer;
};

/* ---- before: nothing is stopped, anything may be allocated ---- */

static int compare_range(const void *a, const void *b)
{
	const struct lp_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static int check_overlap(const struct lp_self_edit *edits, size_t nr, struct lp_err *err)
{
	struct lp_range *ranges = lp_alloc(nr * sizeof *ranges + 1);
	int rc = 0;

	for (size_t i = 0; i < nr; i++)
		ranges[i] = (struct lp_range){edits[i].at, edits[i].at + edits[i].len};
	qsort(ranges, nr, sizeof *ranges, compare_range);
	for (size_t i = 1; i < nr && !rc; i++) {
		if (lp_range_overlaps(ranges[i - 1], ranges[i]))
			rc = lp_fail(err, LP_EOVERLAP, "two changes of the bytes at " LP_ADDR, ranges[i].start);
	}
	lp_free(ranges);
	return rc;
}

static int check_old(const struct lp_self_edit *e, struct lp_err *err)
{
	uint8_t now[OLD_STACK];

	for (size_t done = 0, part; done < e->len; done += part) {
		part = e->len - done < sizeof now ? e->len - done : sizeof now;
		if (lp_self_read(e->at + done, now, part) != part)
			return lp_fail(err, LP_EUNMAPPED, LP_ADDR " is not mapped", e->at + done);
		if (memcmp(now, e->old_bytes + done, part))
			return lp_fail(err, LP_ECHANGED, "the bytes at " LP_ADDR " are not what they were", e->at);
	}
	return 0;
}

static int check_edit(const struct lp_self_edit *e, struct lp_err *err)
{
	int rc;

	if (e->at % lp_self_isa()->insn_align || e->len % lp_self_isa()->insn_align)
		rc = lp_fail(err, LP_EMISALIGNED, LP_ADDR " is not the address of an instruction", e->at);
	else if (e->len < lp_self_arch.trap_len || e->at + e->len < e->at)
		rc = lp_fail(err, LP_ERANGE, "%zu bytes at " LP_ADDR " are no code", e->len, e->at);
	else
		rc = check_old(e, err);
	if (rc && err)
		err->addr = e->at;
	return rc;
}

static int check(const struct lp_self_edit *edits, size_t nr, struct lp_err *err)
{
	int rc = check_overlap(edits, nr, err);

	for (size_t i = 0; i < nr && !rc; i++)
		rc = check_edit(&edits[i], err);
	return rc;
}

/* Where the trap's victim, or a thread that stands right there, goes on; 0 when nobody said. */
static lp_addr move_of(const struct lp_self_edit *e, lp_addr from)
{
	for (size_t i = 0; i < e->nr_moves; i++) {
		if (e->moves[i].from == from)
			return e->moves[i].to;
	}
	return 0;
}

/* Does a call among the old instructions return into the middle of them? */
static bool returns_inside(const struct lp_self_edit *e)
{
	struct lp_insn in;

	for (size_t i = 0; i < e->len && lp_self_isa()->insn(e->old_bytes + i, e->len - i, e->at + i, &in);
	     i += in.len) {
		if (in.is_call && i + in.len < e->len)
			return true;
	}
	return false;
}

static bool is_one_instruction(const struct lp_self_edit *e)
{
	return lp_self_isa()->insn_length(e->old_bytes, e->len, e->at) == e->len;
}

static void add_way(struct poke *p, const struct lp_self_edit *e)
{
	bool at_too = move_of(e, e->at) != 0;

	if (!at_too && is_one_instruction(e))
		return;
	p->ways[p->nr_ways++] =
		(struct lp_way){.range = {e->at + !at_too, e->at + e->len}, .edit = e, .returns = returns_inside(e)};
}

static int compare_way(const void *a, const void *b)
{
	return compare_range(&((const struct lp_way *)a)->range, &((const struct lp_way *)b)->range);
}

static void find_ways(struct poke *p)
{
	size_t waiting = lp_quarantine_nr();

	p->ways = lp_alloc((p->nr + waiting + 1) * sizeof *p->ways);
	for (size_t i = 0; i < p->nr; i++)
		add_way(p, &p->edits[i]);
	lp_quarantine_ways(p->ways + p->nr_ways);
	p->nr_ways += waiting;
	qsort(p->ways, p->nr_ways, sizeof *p->ways, compare_way);
}

static int prepare(struct poke *p, struct lp_err *err)
{
	for (size_t i = 0; i < p->nr; i++)
		lp_traps_prepare(p->edits[i].at);
	find_ways(p);
	return lp_writer_open(&p->writer, err);
}

/* ---- the moment ---- */

static int write_first(const struct poke *p, const struct lp_self_edit *e, const uint8_t *bytes)
{
	return lp_writer_write(&p->writer, e->at, bytes, lp_self_arch.trap_len);
}

static int write_rest(const struct poke *p, const struct lp_self_edit *e, const uint8_t *bytes)
{
	size_t first = lp_self_arch.trap_len;

	return e->len > first ? lp_writer_write(&p->writer, e->at + first, bytes + first, e->len - first) : 0;
}

static int plant(const struct poke *p, size_t *done)
{
	int rc = 0;

	for (*done = 0; *done < p->nr && !rc; *done += !rc) {
		const struct lp_self_edit *e = &p->edits[*done];

		lp_traps_arm(e->at, move_of(e, e->at));
		rc = write_first(p, e, lp_self_arch.trap);
		if (rc)
			lp_traps_disarm(e->at);
	}
	return rc ? rc : lp_writer_sync();
}

static int write_rests(const struct poke *p, size_t *done)
{
	int rc = 0;

	for (*done = 0; *done < p->nr && !rc; *done += !rc)
		rc = write_rest(p, &p->edits[*done], p->edits[*done].new_bytes);
	return rc ? rc : lp_writer_sync();
}

static int write_firsts(const struct poke *p)
{
	int rc = 0;

	for (size_t i = 0; i < p->nr && !rc; i++)
		rc = write_first(p, &p->edits[i], p->edits[i].new_bytes);
	return rc ? rc : lp_writer_sync();
}

static void disarm(const struct poke *p, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		lp_traps_disarm(p->edits[i].at);
}

/* Some may be complete already: they get their breakpoint again first. */
static void unwrite_rests(const struct poke *p, size_t nr)
{
	for (size_t i = 0; i < p->nr; i++)
		write_first(p, &p->edits[i], lp_self_arch.trap);
	lp_writer_sync();
	for (size_t i = nr; i--;)
		write_rest(p, &p->edits[i], p->edits[i].old_bytes);
	lp_writer_sync();
}

static void unplant(const struct poke *p, size_t nr)
{
	for (size_t i = nr; i--;)
		write_first(p, &p->edits[i], p->edits[i].old_bytes);
	lp_writer_sync();
	disarm(p, nr);
}

/* No lock, no allocation, nobody else's code. */
static int change(struct poke *p)
{
	size_t planted = 0, written = 0;
	int rc;

	rc = plant(p, &planted);
	if (rc)
		goto unplant;
	rc = lp_stop_settle(p->ways, p->nr_ways);
	if (rc)
		goto unplant;
	rc = write_rests(p, &written);
	if (rc)
		goto unwrite;
	rc = write_firsts(p);
	if (rc)
		goto unwrite;
	disarm(p, p->nr);
	return 0;
unwrite:
	unwrite_rests(p, written);
unplant:
	unplant(p, planted);
	return rc;
}

static int stop_and_change(struct poke *p, struct lp_err *err)
{
	bool reap = false;
	int rc = lp_stop_prepare(err);

	if (rc)
		return rc;
	rc = lp_stop_begin();
	if (!rc) {
		rc = change(p);
		reap = !rc && !lp_traps_busy();
	}
	lp_stop_end();
	if (reap)
		lp_quarantine_reap(p->ways, p->nr_ways);
	return rc ? lp_stop_explain(rc, err) : 0;
}

/* ---- all of it ---- */

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* A thread that was in the way has nothing to wait for but its own progress; so has the world after a deadline. */
static void let_others_run(void)
{
	struct timespec t = {0, TRY_AGAIN_NS};

	lp_raw(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, NULL, 0, 0);
}

int lp_self_poke_locked(const struct lp_self_edit *edits, size_t nr, struct lp_err *err)
{
	struct poke p = {.edits = edits, .nr = nr};
	uint64_t deadline = now_ms() + lp_self_patience_ms;
	int rc = check(edits, nr, err);

	if (rc || !nr)
		return rc;
	rc = prepare(&p, err);
	while (!rc && (rc = stop_and_change(&p, err)) == -LP_EBUSY && now_ms() < deadline) {
		let_others_run();
		for (size_t i = 0; i < p.nr_ways; i++)
			p.ways[i].seen = false;
		rc = 0;
	}
	lp_writer_close(&p.writer);
	lp_free(p.ways);
	return rc;
}

static int check_code(const struct lp_self_edit *edits, size_t nr, struct lp_err *err)
{
	struct lp_self_maps maps;
	int rc = lp_self_maps_read(&maps, err);

	for (size_t i = 0; i < nr && !rc; i++)
		rc = lp_self_maps_check(&maps, edits[i].at, edits[i].len, err);
	lp_self_maps_free(&maps);
	return rc;
}

int lp_self_poke(const struct lp_self_edit *edits, size_t nr, struct lp_err *err)
{
	int rc = lp_self_enter(err);

	if (rc)
		return rc;
	rc = check_code(edits, nr, err);
	rc = rc ? rc : lp_self_poke_locked(edits, nr, err);
	lp_self_leave();
	return rc;
}

/* ---- who is in there ---- */

static int look_at_ways(struct lp_way *ways, size_t nr, struct lp_err *err)
{
	int rc = lp_stop_prepare(err);

	if (rc)
		return rc;
	rc = lp_stop_begin();
	rc = rc ? rc : lp_stop_settle(ways, nr);
	lp_stop_end();
	return rc ? lp_stop_explain(rc, err) : 0;
}

/*
 * The range; and the islands on the way there, because a thread that stands on one has only the jump before it.  Of what
 * waits in quarantine nobody remembers where it leads, and nobody stays in there for long.
 *
 * Overlapping ranges cannot be asked about at once (struct lp_way); one after the other they can.
 */
static int look(struct lp_range range, bool *inside, struct lp_err *err)
{
	size_t islands = lp_hook_islands(range, NULL), nr = 1 + islands + lp_quarantine_nr();
	struct lp_way *ways = lp_alloc(nr * sizeof *ways);

	ways[0] = (struct lp_way){.range = range, .returns = true};
	lp_hook_islands(range, ways + 1);
	lp_quarantine_ways(ways + 1 + islands);
	qsort(ways, nr, sizeof *ways, compare_way);
	int rc = look_at_ways(ways, nr, err);
	*inside = false;
	for (size_t i = 0; i < nr && !rc; i++)
		*inside = *inside || ways[i].seen;
	lp_free(ways);
	return rc;
}

int lp_self_look(const struct lp_range *ranges, bool *inside, size_t nr, struct lp_err *err)
{
	int rc = lp_self_enter(err);

	if (rc)
		return rc;
	for (size_t i = 0; i < nr && !rc; i++)
		rc = look(ranges[i], &inside[i], err);
	lp_self_leave();
	return rc;
}
