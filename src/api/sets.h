/* Private to api/: patch files' entries as requests. */
#ifndef LP_API_SETS_H
#define LP_API_SETS_H

#include "api/system.h"

/* Is this an entry of the library's own formats (INLINE to REDIRECT)? */
bool lp_op_is_patch(const struct lp_op *op);

/*
 * The request that the entry is, with addresses and code as they are now: names stand for functions of the transaction
 * and of the system.  It points into the op; there is nothing to free.
 */
int lp_op_request(struct lp_txn *t, const struct lp_op *op, uint32_t file, struct lp_request *r, struct lp_err *err);

/* `rc` and the error, if it is one, told with the entry's place. */
int lp_op_blame(const struct lp_op *op, int rc, struct lp_err *err);

/* ---- scripts: entries that only a space with a core target can do, all of a set in one go ---- */

bool lp_set_is_script(LivePatchSystem *system, const struct lp_patchset *set);
int lp_script_put(struct lp_txn *t, const struct lp_sourced *s, struct lp_err *err);
/* Scripts of files that are not among `sets` any more, or changed: are taken back; new ones are put.  The count. */
int lp_scripts_replace(struct lp_txn *t, const struct lp_sourced *sets, size_t nr, struct lp_err *err);
/* All of them are taken back; the count. */
int lp_scripts_take_all(struct lp_txn *t);
/* What has this number in the ledger was taken back: it is in the list no more, if it was. */
void lp_scripts_delist(LivePatchSystem *system, uint64_t id);
void lp_scripts_free(LivePatchSystem *system);

#endif
