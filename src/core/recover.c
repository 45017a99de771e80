/*
 * What a livepatch that died here left behind.
 *
 *     busy, an entry PREPARED     nothing refers to it: removed, rooms unmapped
 *     busy, an entry APPLYING     each of its writes is done or not: taken back.  Its user was never told that it
 *                                 succeeded.  Its rooms are kept: a thread may have run through them.
 *     busy, an entry REVERTING    finished: its user asked for it to go
 *     busy, otherwise             the index is rebuilt
 *
 * Done twice, or killed in the middle, the answer is the same: every edit
 * accepts both the old and the new bytes, and states move only forwards.
 */
#include <stdlib.h>

#include "base/log.h"
#include "core/actions.h"
#include "core/txn.h"

struct recover {
	struct lp_target *t;
	const struct lp_apply_opts *opts;
	struct lp_ledger ledger;
	LP_VEC(struct lp_ledger_entry) entries; /* unfinished ones and reverted ones whose housekeeping is open */
};

static bool is_unfinished(const struct lp_ledger_entry *e)
{
	return e->state == LP_PREPARED || e->state == LP_APPLYING || e->state == LP_REVERTING;
}

static int collect(struct recover *r, struct lp_err *err)
{
	uint64_t off = 0;
	struct lp_ledger_entry e;
	int rc;
	while ((rc = lp_ledger_next(&r->ledger, &off, &e, err)) == 1) {
		if (is_unfinished(&e) || e.state == LP_REVERTED)
			lp_vec_push(&r->entries, e);
		else
			lp_ledger_entry_free(&e);
	}
	return rc;
}

static int newest_first(const void *a, const void *b)
{
	const struct lp_ledger_entry *x = a, *y = b;
	return (x->id < y->id) - (x->id > y->id);
}

/* Several entries when patches that stack were being reverted as one. */
static void stage(struct recover *r, struct lp_txn *x)
{
	LP_VEC(const struct lp_entry_write *) all = {0};
	if (r->entries.nr)
		qsort(r->entries.items, r->entries.nr, sizeof *r->entries.items, newest_first);
	for (size_t i = 0; i < r->entries.nr; i++) {
		const struct lp_ledger_entry *e = &r->entries.items[i];
		if (e->state != LP_APPLYING && e->state != LP_REVERTING)
			continue;
		for (size_t k = 0; k < e->nr_writes; k++)
			lp_vec_push(&all, &e->writes[k]);
		for (size_t k = 0; k < e->nr_rooms; k++)
			if (e->rooms[k].kind == LP_ROOM_ISLANDS)
				lp_txn_watch_islands(x, e->rooms[k].range);
		lp_txn_entry(x, e->off, (enum lp_entry_state)e->state, LP_REVERTING, LP_REVERTED);
	}
	/* data that is neither is the program's own by now */
	lp_txn_take_back(x, all.items, all.nr, LP_ACCEPT_EITHER, LP_ACCEPT_SKIP, true);
	lp_vec_free(&all);
}

static int take_back(struct recover *r, struct lp_result *out, struct lp_err *err)
{
	struct lp_txn x;
	struct lp_quiesce_stats stats = {0};
	lp_txn_open(&x, r->t, &r->ledger);
	stage(r, &x);
	int rc = 0;
	if (x.states.nr) {
		rc = lp_txn_prepare(&x, err);
		rc = rc ? rc : lp_txn_commit(&x, r->opts, &stats, err);
		out->pause_ns = stats.pause_ns;
		out->nr_tries = stats.nr_tries;
		out->nr_threads = stats.nr_threads;
		out->nr_writes = x.edits.nr;
	}
	lp_txn_close(&x);
	return rc;
}

/* A reverted entry stays only for the memory it keeps. */
static bool keeps_rooms(const struct lp_ledger_entry *e)
{
	for (size_t i = 0; i < e->nr_rooms; i++)
		if (!lp_room_goes_with_jumps(e->rooms[i].kind))
			return true;
	return false;
}

/* A hook of a patch that never came to life may still be running in it. */
static bool may_be_in_use(struct recover *r, const struct lp_ledger_entry *e)
{
	for (size_t i = 0; i < e->nr_rooms; i++)
		if (e->rooms[i].kind == LP_ROOM_PATCH)
			return !lp_rooms_unused(r->t, e, 1, r->opts);
	return false;
}

static int tidy(struct recover *r, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < r->entries.nr && rc == 0; i++) {
		const struct lp_ledger_entry *e = &r->entries.items[i];
		bool never_lived = e->state == LP_PREPARED;
		if (never_lived && may_be_in_use(r, e)) {
			rc = lp_ledger_set_state(&r->ledger, e->off, LP_REVERTED, err);
			never_lived = false;
		}
		if (rc < 0)
			break;
		rc = lp_drop_rooms(r->t, e, never_lived, err);
		if (rc == 0 && (never_lived || !keeps_rooms(e)))
			rc = lp_ledger_remove(&r->ledger, e->off, err);
	}
	return rc;
}

static int recover(struct recover *r, struct lp_result *out, struct lp_err *err)
{
	int rc = lp_ledger_open(&r->ledger, r->t, err);
	if (rc < 0 || !r->ledger.present || !r->ledger.h.busy)
		return rc;
	lp_info("an earlier livepatch (pid %" PRIu64 ") did not finish in %s: recovering", r->ledger.h.busy,
		r->t->label);
	rc = lp_ledger_begin(&r->ledger, err);
	rc = rc ? rc : collect(r, err);
	rc = rc ? rc : take_back(r, out, err);
	rc = rc ? rc : tidy(r, err);
	rc = rc ? rc : lp_ledger_rebuild(&r->ledger, err);
	rc = rc ? rc : lp_ledger_end(&r->ledger, err);
	out->recovered = rc == 0;
	return rc < 0 ? lp_err_context(err, rc, "an earlier livepatch did not finish here, and recovering failed") : 0;
}

int lp_recover_locked(struct lp_target *t, const struct lp_apply_opts *opts, struct lp_result *out, struct lp_err *err)
{
	struct recover r = {.t = t, .opts = opts};
	int rc = recover(&r, out, err);
	for (size_t i = 0; i < r.entries.nr; i++)
		lp_ledger_entry_free(&r.entries.items[i]);
	lp_vec_free(&r.entries);
	return rc;
}

int lp_recover(struct lp_target *t, const struct lp_apply_opts *opts, struct lp_result *out, struct lp_err *err)
{
	*out = (struct lp_result){0};
	int rc = t->ops->lock(t, opts->timeout_ms, err);
	if (rc < 0)
		return rc;
	rc = lp_recover_locked(t, opts, out, err);
	t->ops->unlock(t);
	return rc;
}
