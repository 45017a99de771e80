#include "core/kept.h"

#include "base/vec.h"

struct lp_kpatch *lp_kept_read(struct lp_target *t, const struct lp_entry_room *room)
{
	struct lp_kpatch *k = NULL;
	if (room->kind != LP_ROOM_SOURCE || !room->used || room->used > LP_KPATCH_FILE_MAX ||
	    room->used > room->range.end - room->range.start)
		return NULL;
	uint8_t *bytes = lp_alloc(room->used);
	if (t->ops->read(t, room->range.start, bytes, room->used, NULL) == 0)
		lp_kpatch_from_bytes(&k, bytes, room->used, room->name, NULL);
	lp_free(bytes);
	return k;
}
