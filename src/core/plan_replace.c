/*
 * The part of a plan that undoes what a replaced patch did and this one does
 * not do anew.
 *
 * A patch of a higher level stands in for the one below it, and whoever applies
 * it expects to find afterwards what he would have found if only the new one
 * had ever been applied.  Functions that both replace take care of themselves:
 * patches stack.  For the rest the new patch gets writes that put the
 * original's bytes back.  So the change is one transaction like any other, it
 * is recovered like any other, and a revert of both finds what it needs: the
 * older patch stays in the ledger, below this one.
 */
#include "core/plan.h"

#include <string.h>

bool lp_plan_replaces(const struct lp_plan *p, uint64_t id)
{
	for (size_t i = 0; i < p->opts.nr_replaces; i++)
		if (p->opts.replaces[i] == id)
			return true;
	return false;
}

static bool done_anew(const struct lp_plan *p, const struct lp_entry_write *w)
{
	struct lp_range there = {w->at, w->at + w->len};
	for (size_t i = 0; i < p->writes.nr; i++)
		if (lp_range_overlaps(there, (struct lp_range){p->writes.items[i].at,
							       p->writes.items[i].at + p->writes.items[i].len}))
			return true;
	return false;
}

static int refuse_stacked(const struct lp_plan *p, const struct lp_write *w, uint64_t id, struct lp_err *err)
{
	return lp_fail(err, LP_EDEPENDED,
		       "patch %" PRIu64 " cannot be replaced: patch %" PRIu64
		       " has replaced %s on top of it; revert %" PRIu64 " first",
		       id, w->over, w->symbol, w->over);
}

/* Data is left alone: no .kpatch writes any, and what a script wrote the program may have gone on from. */
static int restore(struct lp_plan *p, uint64_t id, const struct lp_entry_write *w, struct lp_err *err)
{
	if (w->kind != LP_WRITE_CODE || done_anew(p, w))
		return 0;
	uint8_t *original = lp_alloc(w->len), *now = lp_alloc(w->len);
	int rc = p->t->ops->read(p->t, w->at, now, w->len, err);
	rc = rc ? rc : lp_plan_read_original(p, w->at, original, w->len, err);
	if (rc == 0 && memcmp(original, now, w->len) != 0) {
		struct lp_write *mine =
			lp_plan_add_write(p, &p->ps->ops[0], LP_WRITE_CODE, w->at, original, w->len, w->symbol);
		/* When this is reverted, the original is what is replaced again. */
		mine->replacement = w->body;
		rc = lp_plan_finish_write(p, mine, err);
		if (rc == 0 && !lp_plan_replaces(p, mine->over))
			rc = refuse_stacked(p, mine, id, err);
	}
	lp_free(original);
	lp_free(now);
	return rc;
}

int lp_plan_restore_replaced(struct lp_plan *p, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < p->opts.nr_replaces && rc == 0; i++) {
		struct lp_ledger_entry e;
		rc = lp_ledger_read_id(&p->ledger, p->opts.replaces[i], &e, err);
		for (size_t k = 0; rc == 0 && k < e.nr_writes; k++)
			rc = restore(p, e.id, &e.writes[k], err);
		if (rc == 0) {
			lp_plan_add_dep(p, e.id);
			lp_ledger_entry_free(&e);
		}
	}
	return rc;
}
