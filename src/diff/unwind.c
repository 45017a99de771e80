/*
 * .eh_frame of an object: which entry describes which piece.  Format: LSB core specification, "Exception Frames".  In an
 * object the pc of an entry is a relocation at its third word, so the encodings in the augmentation need not be understood;
 * of an entry's other relocations, the one into an exception table is its LSDA.
 */
#include "diff/model.h"

#include "base/bits.h"

static const struct ref *lsda_of(const struct piece *unwind, const struct unwind_entry *e)
{
	for (uint64_t at = e->at + 9; at < e->at + e->size; at++) {
		const struct ref *r = lp_piece_ref_at(unwind, at);
		if (r && r->to && r->to->kind == PIECE_LSDA)
			return r;
	}
	return NULL;
}

static void add_entry(struct object *o, const struct unwind_entry *e)
{
	const struct ref *lsda = e->piece ? lsda_of(o->unwind, e) : NULL;

	lp_vec_push(&o->unwind_entries, *e);
	if (!lsda || e->piece->lsda)
		return;
	e->piece->lsda = lsda->to;
	e->piece->lsda_at = lsda->off;
}

int lp_diff_read_unwind(struct object *o, struct lp_err *err)
{
	const uint8_t *bytes = o->unwind ? lp_piece_bytes(o->unwind) : NULL;
	uint64_t size = bytes ? lp_piece_size(o->unwind) : 0;

	for (uint64_t at = 0; at + 4 <= size;) {
		uint64_t len = lp_get32(bytes + at);
		if (!len)
			break;
		if (len == UINT32_MAX || len < 4 || len > size - at - 4)
			return lp_fail(err, LP_EELF, "%s (%s): malformed .eh_frame at +0x%" PRIx64, o->unit->name,
				       o->which, at);
		uint64_t back = lp_get32(bytes + at + 4);
		struct unwind_entry e = {.at = at, .size = len + 4};
		if (back) {
			const struct ref *pc = lp_piece_ref_at(o->unwind, at + 8);
			e.cie = at + 4 - back;
			e.piece = pc && pc->to && pc->to->kind == PIECE_CODE ? pc->to : NULL;
		}
		if (!back || (e.piece && back <= at + 4))
			add_entry(o, &e);
		at += e.size;
	}
	return 0;
}

const struct unwind_entry *lp_diff_unwind_entry(const struct object *o, uint64_t at)
{
	for (size_t i = 0; i < o->unwind_entries.nr; i++)
		if (o->unwind_entries.items[i].at == at)
			return &o->unwind_entries.items[i];
	return NULL;
}
