/*
 * Giving up a part of what a patch did, because the target has put something
 * else there: its place leaves the ledger, and nothing is written anywhere else.
 *
 * The entry is written anew without it.  Islands that its jump may have gone
 * over are nobody's from then on, and stay: what came over the jump may lead
 * there, as a hooking library's copy of the first instructions does.
 */
#include <string.h>

#include "core/actions.h"

static bool is_there(const struct lp_entry_write *w, struct lp_range place)
{
	return w->at == place.start && w->at + w->len == place.end;
}

static bool claims(const struct lp_ledger_entry *e, struct lp_range place)
{
	for (size_t i = 0; i < e->nr_writes; i++)
		if (is_there(&e->writes[i], place))
			return true;
	return false;
}

/* `less` owns the two arrays alone. */
static void leave_out(const struct lp_ledger_entry *e, struct lp_range place, struct lp_ledger_entry *less)
{
	*less = *e;
	less->writes = lp_alloc(e->nr_writes * sizeof *less->writes);
	less->rooms = lp_alloc((e->nr_rooms + 1) * sizeof *less->rooms);
	less->nr_writes = less->nr_rooms = 0;
	for (size_t i = 0; i < e->nr_writes; i++)
		if (!is_there(&e->writes[i], place))
			less->writes[less->nr_writes++] = e->writes[i];
	for (size_t i = 0; i < e->nr_rooms; i++)
		if (e->rooms[i].kind != LP_ROOM_ISLANDS)
			less->rooms[less->nr_rooms++] = e->rooms[i];
}

static int rewrite(struct lp_ledger *l, const struct lp_ledger_entry *e, struct lp_range place, struct lp_err *err)
{
	struct lp_ledger_entry less;
	uint64_t off;

	leave_out(e, place, &less);
	int rc = lp_ledger_add(l, &less, &off, err);
	rc = rc ? rc : lp_ledger_remove(l, e->off, err);
	lp_free(less.writes);
	lp_free(less.rooms);
	return rc;
}

static int forsake_one(struct lp_ledger *l, uint64_t id, struct lp_range place, struct lp_err *err)
{
	struct lp_ledger_entry e;
	int rc = lp_ledger_read_id(l, id, &e, err);

	if (rc < 0)
		return rc;
	if (e.state == LP_APPLIED && claims(&e, place))
		rc = rewrite(l, &e, place, err);
	lp_ledger_entry_free(&e);
	/* Who builds on whom, and who changed what, is derived: anew, from the records. */
	return rc ? rc : lp_ledger_rebuild(l, err);
}

static int forsake_locked(struct lp_target *t, const uint64_t *ids, size_t nr, struct lp_range place,
			  const struct lp_apply_opts *opts, struct lp_err *err)
{
	struct lp_ledger l;
	struct lp_result result = {0};
	int rc = lp_recover_locked(t, opts, &result, err);

	rc = rc ? rc : lp_ledger_open(&l, t, err);
	if (rc == 0 && !l.present)
		return lp_fail(err, LP_ENOPATCH, "%s was never patched", t->label);
	rc = rc ? rc : lp_ledger_begin(&l, err);
	for (size_t i = 0; i < nr && rc == 0; i++)
		rc = forsake_one(&l, ids[i], place, err);
	return rc ? rc : lp_ledger_end(&l, err);
}

int lp_forsake(struct lp_target *t, const uint64_t *ids, size_t nr, struct lp_range place,
	       const struct lp_apply_opts *opts, struct lp_err *err)
{
	int rc = t->ops->lock(t, opts->timeout_ms, err);

	if (rc < 0)
		return rc;
	rc = forsake_locked(t, ids, nr, place, opts, err);
	t->ops->unlock(t);
	return rc;
}
