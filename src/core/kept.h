/*
 * The .kpatch file that a patch has left in the target (LP_ROOM_SOURCE):
 * as it was read, but its own sections' sh_addr are where they are in the
 * target, .livepatch.hooks holds addresses, and .livepatch.sum nothing.
 * Private to core/.
 */
#ifndef LP_CORE_KEPT_H
#define LP_CORE_KEPT_H

#include "core/ledger.h"
#include "patch/kpatch.h"

/* NULL when the room is not one, cannot be read, or holds no such file any more.  Freed with lp_kpatch_free(). */
struct lp_kpatch *lp_kept_read(struct lp_target *t, const struct lp_entry_room *room);

#endif
