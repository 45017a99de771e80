/* Private to api/: patch files' entries as requests. */
#ifndef LP_API_SETS_H
#define LP_API_SETS_H

#include "api/system.h"

typedef LP_VEC(struct lp_range) lp_ranges;

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
/* Scripts of files that are not among `sets` any more, or changed, are taken back; with `puts`: new ones are put, which comes
 * last.  The count. */
int lp_scripts_replace(struct lp_txn *t, const struct lp_sourced *sets, size_t nr, bool puts);
/* All of them are taken back, or all that the target did not write over; the count. */
int lp_scripts_take_all(struct lp_txn *t, bool lost_too);
/* Where patches do not lie over each other: does one change [at, at + size) that the transaction leaves there? */
int lp_scripts_check(struct lp_txn *t, lp_addr at, uint64_t size, struct lp_err *err);
/* What was there before those that the transaction takes back, or before all, where they cover [at, at + len). */
void lp_scripts_lay_original(struct lp_txn *t, bool all, lp_addr at, uint8_t *bytes, size_t len);
/* Are .kpatch files possible here? */
int lp_objects_check(LivePatchSystem *system, struct lp_err *err);
/* What has this number in the ledger was taken back: it is in the list no more, if it was. */
void lp_scripts_delist(LivePatchSystem *system, uint64_t id);
void lp_scripts_free(LivePatchSystem *system);

#endif
