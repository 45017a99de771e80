/*
 * Inside the pause, in this order:
 *
 *     read all places and the ledger's mark in one go; compare
 *     keep the old values of data in the ledger
 *     state words: applying (reverting); but who ends when the target ends needs none for a single write in a page
 *     write, in runs
 *     state words: applied (reverted)
 *
 * A *run* is a set of neighbouring code edits in one page: they are merged
 * with the bytes between them, which were just read and cannot change while
 * everybody stands still, into one pwrite.  That is one system call instead of
 * many, and a pwrite inside one page is all or nothing even when we are
 * killed.  Data is never merged: the bytes between belong to the program and
 * perhaps to a device or another process.
 *
 * A write that fails is followed by the undo of it and of those before it, in
 * reverse, from the bytes found; then the state words go back.
 */
#include "core/txn.h"

#include <stdlib.h>
#include <string.h>

enum { OPEN, PREPARED, COMMITTED, ABORTED };

static const struct lp_sm_state txn_states[] = {
	[OPEN] = {"open", LP_SM(PREPARED) | LP_SM(ABORTED)},
	[PREPARED] = {"prepared", LP_SM(COMMITTED) | LP_SM(ABORTED)},
	[COMMITTED] = {"committed", 0},
	[ABORTED] = {"aborted", 0},
};

/* Bytes [at, at+len) written by one call. */
struct lp_run {
	lp_addr at;
	size_t len;
	size_t first, nr; /* edits in it */
	uint8_t *old_bytes, *new_bytes;
};

void lp_txn_open(struct lp_txn *x, struct lp_target *t, struct lp_ledger *ledger)
{
	*x = (struct lp_txn){.sm = {"a transaction", txn_states, OPEN}, .t = t, .ledger = ledger, .quiesce = {.t = t}};
}

struct lp_edit *lp_txn_edit(struct lp_txn *x, struct lp_edit e)
{
	lp_vec_push(&x->edits, e);
	/* Nobody may stand in the middle of an instruction that changes under them. */
	if (e.kind == LP_WRITE_CODE)
		lp_txn_watch(x, (struct lp_range){e.at, e.at + e.len}, LP_WATCH_BYTES, e.symbol);
	return &x->edits.items[x->edits.nr - 1];
}

struct place {
	const struct lp_entry_write *w;
	size_t order;
};

static int by_address_then_age(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	if (x->w->at != y->w->at)
		return (x->w->at > y->w->at) - (x->w->at < y->w->at);
	if (x->w->len != y->w->len)
		return (x->w->len > y->w->len) - (x->w->len < y->w->len);
	return (x->order > y->order) - (x->order < y->order);
}

static void take_back_one(struct lp_txn *x, const struct lp_entry_write *top, const struct lp_entry_write *bottom,
			  enum lp_edit_accept accept, bool by_page)
{
	for (size_t from = 0, n; from < top->len; from += n) {
		size_t page = LP_PAGE - (size_t)((top->at + from) % LP_PAGE);
		n = by_page && page < top->len - from ? page : top->len - from;
		lp_txn_edit(x, (struct lp_edit){.at = top->at + from,
						.len = n,
						.expect = top->new_bytes + from,
						.put = bottom->old_bytes + from,
						.kind = (enum lp_write_kind)top->kind,
						.accept = accept,
						.symbol = top->symbol});
	}
	/* The edits watch themselves; where two of them meet may be the middle of an instruction. */
	if (top->kind == LP_WRITE_CODE)
		lp_txn_watch(x, (struct lp_range){top->at, top->at + top->len}, LP_WATCH_BYTES, top->symbol);
}

void lp_txn_take_back(struct lp_txn *x, const struct lp_entry_write *const *writes, size_t nr, enum lp_edit_accept code,
		      enum lp_edit_accept data, bool by_page)
{
	struct place *order = lp_alloc(nr * sizeof *order);
	for (size_t i = 0; i < nr; i++)
		order[i] = (struct place){writes[i], i};
	if (nr)
		qsort(order, nr, sizeof *order, by_address_then_age);
	for (size_t i = 0, end; i < nr; i = end) {
		const struct lp_entry_write *top = order[i].w;
		for (end = i + 1; end < nr && order[end].w->at == top->at && order[end].w->len == top->len; end++)
			;
		take_back_one(x, top, order[end - 1].w, top->kind == LP_WRITE_DATA ? data : code, by_page);
	}
	lp_free(order);
}

void lp_txn_entry(struct lp_txn *x, uint64_t off, enum lp_entry_state now, enum lp_entry_state during,
		  enum lp_entry_state after)
{
	lp_vec_push(&x->states, ((struct lp_txn_state){lp_ledger_state_addr(x->ledger, off), now, during, after}));
}

void lp_txn_watch(struct lp_txn *x, struct lp_range range, enum lp_watch_kind kind, const char *symbol)
{
	lp_quiesce_watch(&x->quiesce, range, kind, symbol);
}

void lp_txn_watch_islands(struct lp_txn *x, struct lp_range range)
{
	lp_txn_watch(x, range, LP_WATCH_PC, "the patch's islands");
	lp_txn_watch(x, range, LP_WATCH_BODY, "the patch's islands");
}

/* ---- prepare ---- */

static int by_place(const void *a, const void *b)
{
	const struct lp_edit *x = a, *y = b;
	return (x->at > y->at) - (x->at < y->at);
}

static bool joins(const struct lp_run *r, const struct lp_edit *first, const struct lp_edit *e)
{
	return first->kind == LP_WRITE_CODE && e->kind == LP_WRITE_CODE &&
	       lp_align_down(r->at, LP_PAGE) == lp_align_down(e->at + e->len - 1, LP_PAGE);
}

static void plan_runs(struct lp_txn *x)
{
	x->runs = lp_alloc(x->edits.nr * sizeof *x->runs);
	for (size_t i = 0; i < x->edits.nr; i++) {
		const struct lp_edit *e = &x->edits.items[i];
		struct lp_run *r = x->nr_runs ? &x->runs[x->nr_runs - 1] : NULL;
		if (r && joins(r, &x->edits.items[r->first], e)) {
			r->len = (size_t)(e->at + e->len - r->at);
			r->nr++;
		} else {
			x->runs[x->nr_runs++] = (struct lp_run){.at = e->at, .len = e->len, .first = i, .nr = 1};
		}
	}
	size_t total = 0;
	for (size_t i = 0; i < x->nr_runs; i++)
		total += x->runs[i].len;
	x->found = lp_alloc(total * 2);
	x->ranges = lp_alloc((x->nr_runs + 1) * sizeof *x->ranges);
	x->data = lp_alloc((x->nr_runs + 1) * sizeof *x->data);
	uint8_t *p = x->found;
	for (size_t i = 0; i < x->nr_runs; i++) {
		struct lp_run *r = &x->runs[i];
		r->old_bytes = p;
		r->new_bytes = p + total;
		for (size_t k = r->first; k < r->first + r->nr; k++)
			x->edits.items[k].found = p + (x->edits.items[k].at - r->at);
		p += r->len;
		x->ranges[i] = (struct lp_range){r->at, r->at + r->len};
		x->data[i] = r->old_bytes;
	}
	x->ranges[x->nr_runs] =
		(struct lp_range){x->ledger->h.extents[0].addr + offsetof(struct lp_ledger_header, generation),
				  x->ledger->h.extents[0].addr + offsetof(struct lp_ledger_header, next_id)};
	x->data[x->nr_runs] = x->ledger_mark;
}

int lp_txn_prepare(struct lp_txn *x, struct lp_err *err)
{
	if (x->edits.nr)
		qsort(x->edits.items, x->edits.nr, sizeof *x->edits.items, by_place);
	for (size_t i = 1; i < x->edits.nr; i++) {
		const struct lp_edit *a = &x->edits.items[i - 1], *b = &x->edits.items[i];
		if (b->at < a->at + a->len)
			return lp_fail(err, LP_EOVERLAP,
				       "%s at " LP_ADDR " and %s at " LP_ADDR " would change the same bytes", a->symbol,
				       a->at, b->symbol, b->at);
	}
	plan_runs(x);
	lp_sm_move(&x->sm, PREPARED);
	return 0;
}

/* ---- the pause ---- */

static int changed(const struct lp_edit *e, struct lp_err *err)
{
	struct lp_buf want = {0}, is = {0};
	size_t n = e->len < 24 ? e->len : 24;
	lp_buf_hex(&want, e->expect, n);
	lp_buf_hex(&is, e->found, n);
	int rc = lp_fail(err, LP_ECHANGED, "memory at %s (" LP_ADDR ") is not what was expected: found %s, expected %s",
			 e->symbol, e->at, lp_buf_cstr(&is), lp_buf_cstr(&want));
	if (err)
		err->addr = e->at;
	lp_buf_free(&want);
	lp_buf_free(&is);
	return rc;
}

static int compare(struct lp_edit *e, struct lp_err *err)
{
	bool is_old = memcmp(e->found, e->expect, e->len) == 0;
	switch (e->accept) {
	case LP_ACCEPT_ANY:
		return 0;
	case LP_ACCEPT_SKIP:
		e->skip = !is_old;
		return 0;
	case LP_ACCEPT_EITHER:
		return is_old || memcmp(e->found, e->put, e->len) == 0 ? 0 : changed(e, err);
	case LP_ACCEPT_OLD:
		break;
	}
	return is_old ? 0 : changed(e, err);
}

static int verify(struct lp_txn *x, struct lp_err *err)
{
	int rc = x->t->ops->read_many(x->t, x->ranges, x->data, x->nr_runs + 1, err);
	if (rc < 0)
		return rc;
	if (x->ledger_mark[0] != x->ledger->h.generation || x->ledger_mark[1] != x->ledger->h.busy)
		return lp_fail(err, LP_ELOCKED, "another livepatch has changed the ledger in %s meanwhile",
			       x->t->label);
	for (size_t i = 0; i < x->edits.nr && rc == 0; i++)
		rc = compare(&x->edits.items[i], err);
	return rc;
}

static int keep_old_data(struct lp_txn *x, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < x->edits.nr && rc == 0; i++) {
		const struct lp_edit *e = &x->edits.items[i];
		if (e->accept == LP_ACCEPT_ANY && e->keep && memcmp(e->found, e->expect, e->len) != 0)
			rc = x->t->ops->write(x->t, e->keep, e->found, e->len, err);
	}
	return rc;
}

static int set_states(struct lp_txn *x, size_t field, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < x->states.nr && rc == 0; i++) {
		struct lp_txn_state *s = &x->states.items[i];
		rc = x->t->ops->write(x->t, s->at, (const uint8_t *)s + field, sizeof s->during, err);
	}
	return rc;
}

static void fill_run(struct lp_txn *x, struct lp_run *r)
{
	memcpy(r->new_bytes, r->old_bytes, r->len);
	for (size_t k = r->first; k < r->first + r->nr; k++) {
		const struct lp_edit *e = &x->edits.items[k];
		if (!e->skip)
			memcpy(r->new_bytes + (e->at - r->at), e->put, e->len);
	}
}

/* A write that failed may have changed the pages before the one that it failed at, which cannot be written at all. */
static bool undo_run(struct lp_txn *x, const struct lp_run *r)
{
	uint8_t is[LP_PAGE];
	for (size_t from = 0, n; from < r->len; from += n) {
		lp_addr at = r->at + from;
		n = LP_PAGE - (size_t)(at % LP_PAGE);
		n = n < r->len - from ? n : r->len - from;
		if (x->t->ops->read(x->t, at, is, n, NULL) == 0 && memcmp(is, r->old_bytes + from, n) == 0)
			continue;
		if (x->t->ops->write(x->t, at, r->old_bytes + from, n, NULL) < 0)
			return false;
	}
	return true;
}

/* Newest first; what cannot be undone is left to recover, which the state words will call for. */
static void undo_runs(struct lp_txn *x, size_t nr)
{
	struct lp_err err = {0};
	for (size_t i = nr; i-- > 0 && !x->torn;)
		x->torn = !undo_run(x, &x->runs[i]);
	if (!x->torn)
		x->torn = set_states(x, offsetof(struct lp_txn_state, now), &err) < 0;
}

static int write_runs(struct lp_txn *x, size_t *done, struct lp_err *err)
{
	for (*done = 0; *done < x->nr_runs; ++*done) {
		struct lp_run *r = &x->runs[*done];
		fill_run(x, r);
		if (memcmp(r->new_bytes, r->old_bytes, r->len) == 0)
			continue;
		int rc = x->t->ops->write(x->t, r->at, r->new_bytes, r->len, err);
		if (rc < 0)
			return lp_err_context(err, rc, "writing %s", x->edits.items[r->first].symbol);
	}
	return 0;
}

/* Which happens, or does not. */
static bool is_one_write(const struct lp_txn *x)
{
	const struct lp_run *r = x->runs;

	return x->nr_runs == 1 && lp_align_down(r->at, LP_PAGE) == lp_align_down(r->at + r->len - 1, LP_PAGE);
}

static int act(void *arg, struct lp_err *err)
{
	struct lp_txn *x = arg;
	size_t done = 0;
	int rc = verify(x, err);
	rc = rc ? rc : keep_old_data(x, err);
	if (rc < 0)
		return rc;
	rc = x->t->shares_fate && is_one_write(x) ? 0 : set_states(x, offsetof(struct lp_txn_state, during), err);
	rc = rc ? rc : write_runs(x, &done, err);
	rc = rc ? rc : set_states(x, offsetof(struct lp_txn_state, after), err);
	if (rc < 0) {
		undo_runs(x, done < x->nr_runs ? done + 1 : done);
		if (x->torn)
			lp_err_append(err, "; undoing it failed too: run livepatch recover");
	}
	return rc;
}

int lp_txn_commit(struct lp_txn *x, const struct lp_apply_opts *opts, struct lp_quiesce_stats *stats,
		  struct lp_err *err)
{
	x->quiesce.timeout_ms = opts->timeout_ms;
	x->quiesce.interrupted = opts->interrupted;
	x->quiesce.search_most = opts->search_most;
	if (x->t->ops->expect)
		x->t->ops->expect(x->t, x->ranges, x->nr_runs);
	int rc = lp_quiesce_run(&x->quiesce, act, x, stats, err);
	lp_sm_move(&x->sm, rc < 0 ? ABORTED : COMMITTED);
	return rc;
}

void lp_txn_close(struct lp_txn *x)
{
	if (lp_sm_may(&x->sm, ABORTED))
		lp_sm_move(&x->sm, ABORTED);
	lp_quiesce_free(&x->quiesce);
	lp_vec_free(&x->edits);
	lp_vec_free(&x->states);
	lp_free(x->found);
	lp_free(x->ranges);
	lp_free(x->data);
	lp_free(x->runs);
}
