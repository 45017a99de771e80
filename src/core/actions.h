/*
 * What apply, revert and recover share.  Private to core/; the target is
 * locked in all of them.
 */
#ifndef LP_CORE_ACTIONS_H
#define LP_CORE_ACTIONS_H

#include "core/ledger.h"

/* Remove an entry that never took effect: rooms, index, record.  Best effort: what fails is left for recover, and the
 * ledger then stays busy. */
int lp_abandon(struct lp_ledger *l, uint64_t off, struct lp_err *err);

/* Finish or remove what a dead livepatch left; 0 at once when there is nothing.  Sets out->recovered. */
int lp_recover_locked(struct lp_target *t, const struct lp_apply_opts *opts, struct lp_result *out, struct lp_err *err);

/* Can the rooms of these (reverted) entries go?  False, with a warning in the log that says why, when a thread or
 * anything writable still points into one of them. */
bool lp_rooms_unused(struct lp_target *t, const struct lp_ledger_entry *entries, size_t nr,
		     const struct lp_apply_opts *opts);

/* What only the patch's jumps or we refer to, so that it goes with them. */
bool lp_room_goes_with_jumps(uint32_t kind);

/* Unmap an entry's islands, and with `own_too` its objects, files and memory.  What is mapped there now by somebody else
 * stays; doing it twice is harmless.  Objects of the target's loader are not touched. */
int lp_drop_rooms(struct lp_target *t, const struct lp_ledger_entry *e, bool own_too, struct lp_err *err);

/* An entry that has been reverted: its changed bytes leave the index; it stays as long as it keeps rooms. */
int lp_retire(struct lp_ledger *l, struct lp_ledger_entry *e, bool drop_all, size_t *kept_bytes, struct lp_err *err);

#endif
