/*
 * Transactions of clients.  livepatch.h has one for each thread; the server has
 * one thread and many clients, so each client's lies aside while others are
 * served.
 */
#include "runner/private.h"

#include "api/api.h"
#include "base/vec.h"

/* What one client has prepared; `queue` only tells clients apart. */
struct prepared {
	const struct lp_txn_queue *queue;
	struct lp_txn *txn;
	unsigned changes; /* of the queue that are it */
};

static LP_VEC(struct prepared *) all;

static struct prepared *find(const struct lp_txn_queue *queue)
{
	for (size_t i = 0; i < all.nr; i++)
		if (all.items[i]->queue == queue)
			return all.items[i];
	return NULL;
}

static void drop(struct prepared *p)
{
	for (size_t i = 0; i < all.nr; i++)
		if (all.items[i] == p) {
			all.items[i] = all.items[--all.nr];
			break;
		}
	if (p->txn) {
		lp_txn_take_up(p->txn);
		livepatch_abort(livepatch_get_system());
	}
	lp_free(p);
}

static void release(void *change)
{
	struct prepared *p = change;

	if (--p->changes == 0)
		drop(p);
}

int lp_api_result(int rc, struct lp_err *err)
{
	const livepatch_error *e = livepatch_last_error();

	return rc < 0 ? lp_fail(err, -e->code, "%s", e->text) : rc;
}

int lp_changes_enter(struct lp_call *c, struct lp_err *err)
{
	struct prepared *p = find(c->changes);

	if (p) {
		lp_txn_take_up(p->txn);
		return 0;
	}
	return lp_api_result(livepatch_begin(livepatch_get_system()), err);
}

int lp_changes_leave(struct lp_call *c, int rc, struct lp_err *err)
{
	struct prepared *p = find(c->changes);
	int result = err->code ? rc : lp_api_result(rc, err);

	if (!p && result < 0) {
		livepatch_abort(livepatch_get_system());
		return result;
	}
	if (!p) {
		p = lp_alloc(sizeof *p);
		p->queue = c->changes;
		lp_vec_push(&all, p);
	}
	p->txn = lp_txn_lay_aside(livepatch_get_system());
	if (result < 0)
		return result;
	p->changes++;
	lp_change_add(c, &(struct lp_change){.release = release, .change = p});
	return 0;
}

int lp_changes_none(struct lp_call *c, const char *what, struct lp_err *err)
{
	if (!find(c->changes))
		return 0;
	return lp_fail(err, LP_ETRANSACTION, "%s is done at once: commit what is prepared first", what);
}

int lp_changes_commit(int rank, void *const *changes, size_t nr, struct lp_err *err)
{
	struct prepared *p = changes[0];

	lp_txn_take_up(p->txn);
	p->txn = NULL;
	return lp_api_result(livepatch_commit(livepatch_get_system()), err);
}

void lp_changes_forked(void)
{
	while (all.nr)
		drop(all.items[0]);
}
