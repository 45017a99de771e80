/*
 * The transaction: edits that become real together, in one pause, with a
 * ledger state before and after.  Private to core/.
 *
 *     struct lp_txn x;
 *     lp_txn_open(&x, target, ledger);
 *     lp_txn_edit(&x, ...);                            // what to change, with what is expected there
 *     lp_txn_entry(&x, off, LP_APPLYING, LP_APPLIED);  // what the ledger says meanwhile and afterwards
 *     lp_txn_watch(&x, ...)                            // where no thread may be
 *     rc = lp_txn_prepare(&x, err);                    // everything that can be done while the target runs
 *     rc = lp_txn_commit(&x, opts, &stats, err);       // the pause; on failure the target is as before
 *     lp_txn_close(&x);
 */
#ifndef LP_CORE_TXN_H
#define LP_CORE_TXN_H

#include "base/sm.h"
#include "core/ledger.h"
#include "core/quiesce.h"

enum lp_edit_accept {
	LP_ACCEPT_OLD,	  /* memory must hold `expect` */
	LP_ACCEPT_EITHER, /* ... or already `put` */
	LP_ACCEPT_ANY,	  /* data: whatever is there becomes the old value */
	LP_ACCEPT_SKIP,	  /* where memory is not `expect`, leave it alone */
};

struct lp_edit {
	lp_addr at;
	size_t len;
	const uint8_t *expect, *put; /* live as long as the transaction */
	enum lp_write_kind kind;
	enum lp_edit_accept accept;
	lp_addr keep; /* ACCEPT_ANY: where in the ledger the old value goes */
	const char *symbol;
	/* filled in by prepare and commit */
	uint8_t *found;
	bool skip;
};

struct lp_txn_state {
	lp_addr at; /* of the state word */
	uint64_t now, during, after;
};

struct lp_txn {
	struct lp_sm sm;
	struct lp_target *t;
	struct lp_ledger *ledger;
	struct lp_quiesce quiesce;
	LP_VEC(struct lp_edit) edits;
	LP_VEC(struct lp_txn_state) states;
	/* made by prepare, so that the pause allocates nothing */
	uint8_t *found;
	struct lp_range *ranges;
	void **data;
	struct lp_run *runs;
	size_t nr_runs;
	uint64_t ledger_mark[2];
	bool torn; /* a failed commit could not be undone: nothing it refers to may be released */
};

void lp_txn_open(struct lp_txn *x, struct lp_target *t, struct lp_ledger *ledger);
struct lp_edit *lp_txn_edit(struct lp_txn *x, struct lp_edit e);
/*
 * Edits that put back what these writes replaced.  Newest first: of writes
 * that stack on the same bytes what the newest wrote is expected, and what the
 * oldest found is put back.  by_page: a write that crosses pages may be half
 * done, so each page is an edit of its own.
 */
void lp_txn_take_back(struct lp_txn *x, const struct lp_entry_write *const *writes, size_t nr, enum lp_edit_accept code,
		      enum lp_edit_accept data, bool by_page);
void lp_txn_entry(struct lp_txn *x, uint64_t off, enum lp_entry_state now, enum lp_entry_state during,
		  enum lp_entry_state after);
void lp_txn_watch(struct lp_txn *x, struct lp_range range, enum lp_watch_kind kind, const char *symbol);
/* Islands are about to be unmapped: nobody may stand in them, nor come back to one that keeps registers around a call. */
void lp_txn_watch_islands(struct lp_txn *x, struct lp_range range);
int lp_txn_prepare(struct lp_txn *x, struct lp_err *err);
int lp_txn_commit(struct lp_txn *x, const struct lp_apply_opts *opts, struct lp_quiesce_stats *stats,
		  struct lp_err *err);
void lp_txn_close(struct lp_txn *x);

#endif
