#include "control/txn.h"

#include <stdlib.h>

void lp_queue_add(struct lp_txn_queue *q, const struct lp_change *change)
{
	lp_vec_push(&q->changes, *change);
}

bool lp_queue_is_full(const struct lp_txn_queue *q)
{
	return q->changes.nr >= LP_TXN_CHANGES_MAX;
}

bool lp_queue_is_quiescent(const struct lp_txn_queue *q)
{
	for (size_t i = 0; i < q->changes.nr; i++)
		if (q->changes.items[i].quiescent)
			return true;
	return false;
}

/* ---- commit ---- */

/* In the order of their commits. */
struct order {
	LP_VEC(const struct lp_change *) changes;
	size_t committed; /* so many of them, from the first */
};

/* By rank; those of a rank that are handed over together last; otherwise as they were added, which their addresses tell. */
static int compare(const void *a, const void *b)
{
	const struct lp_change *x = *(const struct lp_change *const *)a, *y = *(const struct lp_change *const *)b;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	if (!x->commit != !y->commit)
		return x->commit ? -1 : 1;
	return x < y ? -1 : x > y;
}

static void put_in_order(struct order *o, const struct lp_txn_queue *q)
{
	for (size_t i = 0; i < q->changes.nr; i++)
		lp_vec_push(&o->changes, &q->changes.items[i]);
	if (o->changes.nr)
		qsort(o->changes.items, o->changes.nr, sizeof *o->changes.items, compare);
}

static int commit_one(struct order *o, struct lp_err *err)
{
	const struct lp_change *c = o->changes.items[o->committed];
	int rc = c->commit(c->change, err);
	o->committed += rc >= 0;
	return rc;
}

static int commit_group(struct order *o, lp_txn_together_fn *together, struct lp_err *err)
{
	LP_VEC(void *) group = {0};
	int rank = o->changes.items[o->committed]->rank;
	for (size_t i = o->committed; i < o->changes.nr; i++) {
		const struct lp_change *c = o->changes.items[i];
		if (c->rank != rank || c->commit)
			break;
		lp_vec_push(&group, c->change);
	}
	int rc = together ? together(rank, group.items, group.nr, err) : 0;
	o->committed += rc >= 0 ? group.nr : 0;
	lp_vec_free(&group);
	return rc;
}

static void undo(struct order *o)
{
	while (o->committed) {
		const struct lp_change *c = o->changes.items[--o->committed];
		if (c->undo)
			c->undo(c->change);
	}
}

int lp_queue_commit(struct lp_txn_queue *q, lp_txn_together_fn *together, struct lp_err *err)
{
	struct order o = {0};
	int rc = 0;
	put_in_order(&o, q);
	while (rc >= 0 && o.committed < o.changes.nr)
		rc = o.changes.items[o.committed]->commit ? commit_one(&o, err) : commit_group(&o, together, err);
	if (rc < 0)
		undo(&o);
	lp_vec_free(&o.changes);
	return rc < 0 ? rc : 0;
}

void lp_queue_release(struct lp_txn_queue *q)
{
	for (size_t i = q->changes.nr; i-- > 0;) {
		const struct lp_change *c = &q->changes.items[i];
		if (c->release)
			c->release(c->change);
	}
	lp_vec_free(&q->changes);
}
