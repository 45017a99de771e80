/*
 * Several changes, or none.
 *
 *     struct lp_txn_queue q = {0};
 *     lp_queue_add(&q, &change);                            // prepared; by lp_change_add() of a command
 *     rc = lp_queue_commit(&q, together, &err);             // all are committed, or none
 *     lp_queue_release(&q);                                 // always
 *
 * Commits go by rank, within a rank in the order in which they were added.
 * Those of one rank that have no `commit` of their own are handed over at once.  When one
 * refuses, those before it are undone in reverse.
 */
#ifndef LP_CONTROL_TXN_H
#define LP_CONTROL_TXN_H

#include "base/vec.h"
#include "control/control.h"

#define LP_TXN_CHANGES_MAX 4096

struct lp_txn_queue {
	LP_VEC(struct lp_change) changes;
};

typedef int lp_txn_together_fn(int rank, void *const *changes, size_t nr, struct lp_err *err);

void lp_queue_add(struct lp_txn_queue *q, const struct lp_change *change);
bool lp_queue_is_full(const struct lp_txn_queue *q);
/* One of them has to wait for a moment in which nobody reads. */
bool lp_queue_is_quiescent(const struct lp_txn_queue *q);
int lp_queue_commit(struct lp_txn_queue *q, lp_txn_together_fn *together, struct lp_err *err);
void lp_queue_release(struct lp_txn_queue *q);

#endif
