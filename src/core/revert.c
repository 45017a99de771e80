/*
 * Reverting: the same transaction with old and new exchanged.
 *
 * Several patches are reverted as one.  Where they stack on the same bytes
 * the edits are merged: what the newest wrote is expected, what the oldest
 * found is put back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "core/actions.h"
#include "core/inside.h"
#include "core/txn.h"

struct revert {
	struct lp_target *t;
	const struct lp_apply_opts *opts;
	struct lp_ledger ledger;
	LP_VEC(struct lp_ledger_entry) entries; /* newest first */
	LP_VEC(bool) live;			/* which of them were applied when we came */
	struct lp_txn x;
};

static int newest_first(const void *a, const void *b)
{
	const struct lp_ledger_entry *x = a, *y = b;
	return (x->id < y->id) - (x->id > y->id);
}

static bool among(const struct revert *r, uint64_t id)
{
	for (size_t i = 0; i < r->entries.nr; i++)
		if (r->entries.items[i].id == id)
			return true;
	return false;
}

static int add_entry(struct revert *r, struct lp_ledger_entry *e, struct lp_err *err)
{
	bool only_rooms = e->state == LP_REVERTED && r->opts->free_rooms;
	if (e->state != LP_APPLIED && !only_rooms) {
		int rc = lp_fail(err, LP_ENOPATCH, "patch %" PRIu64 " of %s is %s, not applied", e->id, r->t->label,
				 lp_entry_state_name((enum lp_entry_state)e->state));
		lp_ledger_entry_free(e);
		return rc;
	}
	if (among(r, e->id))
		lp_ledger_entry_free(e);
	else
		lp_vec_push(&r->entries, *e);
	return 0;
}

static int select_all(struct revert *r, struct lp_err *err)
{
	uint64_t off = 0;
	struct lp_ledger_entry e;
	int rc;
	while ((rc = lp_ledger_next(&r->ledger, &off, &e, err)) == 1) {
		if (e.state == LP_APPLIED || (e.state == LP_REVERTED && r->opts->free_rooms))
			lp_vec_push(&r->entries, e);
		else
			lp_ledger_entry_free(&e);
	}
	return rc;
}

static int select_ids(struct revert *r, const uint64_t *ids, size_t nr, struct lp_err *err)
{
	for (size_t i = 0; i < nr; i++) {
		struct lp_ledger_entry e;
		int rc = lp_ledger_read_id(&r->ledger, ids[i], &e, err);
		rc = rc ? rc : add_entry(r, &e, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Who builds on `id`, besides those that are reverted with it? */
static int find_dependent(struct revert *r, uint64_t id, uint64_t *who, struct lp_err *err)
{
	uint64_t off = 0;
	struct lp_ledger_entry e;
	int rc;
	*who = 0;
	while ((rc = lp_ledger_next(&r->ledger, &off, &e, err)) == 1) {
		for (size_t i = 0; i < e.nr_deps && e.state == LP_APPLIED; i++)
			if (e.deps[i] == id && !among(r, e.id) && e.id > *who)
				*who = e.id;
		lp_ledger_entry_free(&e);
	}
	return rc;
}

static int check_dependents(struct revert *r, struct lp_err *err)
{
	/* Each dependency inside the set excuses one; what is left over is a patch outside of it. */
	for (size_t i = 0; i < r->entries.nr; i++) {
		const struct lp_ledger_entry *e = &r->entries.items[i];
		uint64_t inside = 0;
		if (e->state != LP_APPLIED || !e->nr_dependents)
			continue;
		for (size_t k = 0; k < i; k++) /* newest first: dependents come before */
			for (size_t d = 0; d < r->entries.items[k].nr_deps; d++)
				inside +=
					r->entries.items[k].state == LP_APPLIED && r->entries.items[k].deps[d] == e->id;
		if (inside >= e->nr_dependents)
			continue;
		uint64_t who;
		int rc = find_dependent(r, e->id, &who, err);
		if (rc < 0)
			return rc;
		if (who)
			return lp_fail(err, LP_EDEPENDED,
				       "patch %" PRIu64 " cannot be reverted: patch %" PRIu64
				       " builds on it; revert %" PRIu64 " first",
				       e->id, who, who);
	}
	return 0;
}

/* All writes of all entries, which come newest first. */
static void stage_writes(struct revert *r)
{
	LP_VEC(const struct lp_entry_write *) all = {0};
	for (size_t i = 0; i < r->entries.nr; i++)
		for (size_t k = 0; r->entries.items[i].state == LP_APPLIED && k < r->entries.items[i].nr_writes; k++)
			lp_vec_push(&all, &r->entries.items[i].writes[k]);
	lp_txn_take_back(&r->x, all.items, all.nr, LP_ACCEPT_OLD, r->opts->force ? LP_ACCEPT_ANY : LP_ACCEPT_OLD,
			 false);
	lp_vec_free(&all);
}

static void stage_watches(struct revert *r)
{
	for (size_t i = 0; i < r->entries.nr; i++) {
		const struct lp_ledger_entry *e = &r->entries.items[i];
		for (size_t k = 0; k < e->nr_writes && !r->opts->allow_active; k++)
			lp_txn_watch(&r->x, e->writes[k].replacement, LP_WATCH_BODY, e->writes[k].symbol);
		for (size_t k = 0; k < e->nr_rooms && e->state == LP_APPLIED; k++)
			if (e->rooms[k].kind == LP_ROOM_ISLANDS)
				lp_txn_watch_islands(&r->x, e->rooms[k].range);
		if (e->state == LP_APPLIED)
			lp_txn_entry(&r->x, e->off, LP_APPLIED, LP_REVERTING, LP_REVERTED);
	}
}

static int retire_all(struct revert *r, struct lp_result *out, struct lp_err *err)
{
	bool drop = r->opts->free_rooms && lp_rooms_unused(r->t, r->entries.items, r->entries.nr, r->opts);
	int rc = 0;
	for (size_t i = 0; i < r->entries.nr && rc == 0; i++)
		rc = lp_retire(&r->ledger, &r->entries.items[i], drop, &out->kept_bytes, err);
	return rc ? rc : lp_ledger_end(&r->ledger, err);
}

static int change_back(struct revert *r, struct lp_result *out, struct lp_err *err)
{
	struct lp_quiesce_stats stats = {0};
	lp_txn_open(&r->x, r->t, &r->ledger);
	stage_writes(r);
	stage_watches(r);
	int rc = lp_txn_prepare(&r->x, err);
	rc = rc ? rc : lp_ledger_begin(&r->ledger, err);
	if (rc == 0) {
		rc = lp_txn_commit(&r->x, r->opts, &stats, err);
		if (rc < 0 && !r->x.torn)
			lp_ledger_end(&r->ledger, NULL);
	}
	out->pause_ns = stats.pause_ns;
	out->nr_tries = stats.nr_tries;
	out->nr_threads = stats.nr_threads;
	out->nr_writes = r->x.edits.nr;
	lp_txn_close(&r->x);
	return rc;
}

/* The newest patch's hooks first. */
static int run_hooks(struct revert *r, enum lp_kpatch_hook kind, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < r->entries.nr && rc == 0; i++) {
		lp_hook_vec hooks = {0};
		if (r->live.items[i])
			lp_hooks_of_entry(r->t, &r->entries.items[i], &hooks);
		rc = lp_hooks_run(r->t, hooks.items, hooks.nr, kind, r->opts->timeout_ms, err);
		lp_vec_free(&hooks);
	}
	return rc;
}

static void note_live(struct revert *r)
{
	for (size_t i = 0; i < r->entries.nr; i++)
		lp_vec_push(&r->live, r->entries.items[i].state == LP_APPLIED);
}

static void finish(struct revert *r)
{
	struct lp_err err = {0};
	if (run_hooks(r, LP_HOOK_POST_REVERT, &err) < 0)
		lp_warn("%s; the patches are reverted all the same", err.text);
}

static int revert_locked(struct revert *r, const uint64_t *ids, size_t nr, struct lp_result *out, struct lp_err *err)
{
	int rc = lp_recover_locked(r->t, r->opts, out, err);
	rc = rc ? rc : lp_ledger_open(&r->ledger, r->t, err);
	if (rc == 0 && !r->ledger.present)
		return nr ? lp_fail(err, LP_ENOPATCH, "%s was never patched", r->t->label) : 0;
	rc = rc ? rc : nr ? select_ids(r, ids, nr, err) : select_all(r, err);
	if (rc < 0 || r->entries.nr == 0)
		return rc;
	qsort(r->entries.items, r->entries.nr, sizeof *r->entries.items, newest_first);
	note_live(r);
	rc = check_dependents(r, err);
	rc = rc ? rc : run_hooks(r, LP_HOOK_PRE_REVERT, err);
	rc = rc ? rc : change_back(r, out, err);
	if (rc < 0)
		return rc;
	finish(r);
	out->id = r->entries.items[0].id;
	out->nr_patches = r->entries.nr;
	/* The program is as it was.  What follows is housekeeping: a failure of it is told, but is not one of the revert,
	 * and whoever comes next does it. */
	struct lp_err left = {0};
	if (retire_all(r, out, &left) < 0)
		lp_warn("%s; the patches are reverted, and livepatch recover will tidy up", left.text);
	return 0;
}

int lp_revert(struct lp_target *t, const uint64_t *ids, size_t nr, const struct lp_apply_opts *opts,
	      struct lp_result *out, struct lp_err *err)
{
	*out = (struct lp_result){0};
	struct revert r = {.t = t, .opts = opts};
	int rc = t->ops->lock(t, opts->timeout_ms, err);
	if (rc < 0)
		return rc;
	rc = revert_locked(&r, ids, nr, out, err);
	for (size_t i = 0; i < r.entries.nr; i++)
		lp_ledger_entry_free(&r.entries.items[i]);
	lp_vec_free(&r.entries);
	lp_vec_free(&r.live);
	t->ops->unlock(t);
	return rc;
}
