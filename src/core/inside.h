/*
 * What a patch has the target itself do: run its hooks, and tell the target's
 * exception handling about its functions.  Everything here calls functions on a
 * borrowed thread of the running target, never in a pause.  Private to core/.
 *
 *     apply:   rooms filled -> register -> pre-apply -> the pause -> post-apply
 *     revert:  pre-revert -> the pause -> post-revert -> rooms dropped (forget first)
 */
#ifndef LP_CORE_INSIDE_H
#define LP_CORE_INSIDE_H

#include "core/ledger.h"
#include "core/relink.h"

typedef LP_VEC(struct lp_relink_hook) lp_hook_vec;

/* Hooks of an entry in the ledger, in file order; appended. */
void lp_hooks_of_entry(struct lp_target *t, const struct lp_ledger_entry *e, lp_hook_vec *out);

/*
 * Runs those of one kind in order, until one says no (-LP_EHOOK).  Any other
 * error but -LP_ENOTHREAD and a refusal before anything ran means that a hook
 * may still be running: then the memory of its patch must stay.
 */
int lp_hooks_run(struct lp_target *t, const struct lp_relink_hook *hooks, size_t nr, enum lp_kpatch_hook kind,
		 unsigned timeout_ms, struct lp_err *err);
/* May a thread still be in a hook after this? */
bool lp_hook_may_run(int rc);

/* Bytes at the end of a patch's room: for the run-time library's own use, a mark, and an lp_room_trailer. */
#define LP_FRAMES_OBJECT 128u

/*
 * `eh_frame`: unwind tables in the room.  0 also when the target has nobody to
 * tell (a C program without libgcc): then nobody will unwind, either.
 */
int lp_frames_register(struct lp_target *t, struct lp_range room, lp_addr eh_frame, unsigned timeout_ms,
		       struct lp_err *err);
/* Before a room with unwind tables is unmapped.  False: they may still be known to somebody, and it must stay. */
bool lp_frames_forget(struct lp_target *t, struct lp_range room, lp_addr eh_frame);

#endif
