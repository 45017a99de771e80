/*
 * Undoing what another tool did.
 *
 * Such a patch is an anonymous executable mapping that begins with a .kpatch
 * header.  The header leads to the records, relocated, and to an undo area: the
 * bytes that each jump has replaced, one slot per record.
 *
 * Its undoing is a patch of ours like any other: the plan writes the old bytes
 * where the jumps are, in one transaction, checked and recorded, so that being
 * killed in the middle is no different.  The last of its writes takes away the
 * magic, by which all tools of that family find a patch; its memory stays, as
 * after a revert of our own.
 *
 * What is believed of it: nothing that memory does not confirm.  The bytes at a
 * function must be a jump to the replacement, and the bytes that are put back
 * must be those of the file that the function was loaded from, or another such
 * jump.
 */
#include "core/foreign.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "patch/kpatch.h"

/* Of one process.  It may claim to have any number of them, and each costs a look at its memory. */
#define PATCHES_MAX 4096u
#define RECORDS_MAX 65536u
#define HEADER_MAX 688u
#define IMAGE_MAX (UINT64_C(1) << 30)

/* ---- finding them ---- */

struct image {
	const struct lp_kpatch_layout *layout;
	lp_addr at;
	uint8_t header[HEADER_MAX];
};

static uint32_t header_word(const struct image *i, uint32_t off)
{
	return lp_get32(i->header + off);
}

static bool read_header(struct lp_target *t, const struct lp_area *a, struct image *out)
{
	out->at = a->range.start;
	if (!(a->prot & LP_PROT_EXEC) || !a->is_private || a->name[0] || a->range.end - a->range.start < HEADER_MAX ||
	    t->ops->read(t, out->at, out->header, sizeof out->header, NULL) < 0 ||
	    !lp_kpatch_is(out->header, sizeof out->header))
		return false;
	for (int v = LP_KPATCH_PLUS; v <= LP_KPATCH_LIBCARE; v++) {
		out->layout = lp_kpatch_layout((enum lp_kpatch_variant)v);
		if (header_word(out, out->layout->kpatch_offset) == out->layout->header_size)
			return true;
	}
	return false;
}

static char *header_text(const struct image *i, uint32_t off, uint32_t size)
{
	const char *text = (const char *)i->header + off;
	char *whole = off ? lp_sprintf("%.*s", (int)strnlen(text, size), text) : NULL;
	char *line = lp_strdup_line(whole ? whole : "");
	lp_free(whole);
	return line;
}

/* The jump that the other tool puts on a function; its length, 0 when it cannot be. */
static size_t jump_bytes(struct lp_target *t, lp_addr from, lp_addr to, uint8_t out[LP_JUMP_MAX])
{
	uint8_t code[16];
	struct lp_piece pieces[2];
	struct lp_entry e = {.shape = LP_ENTRY_DIRECT, .jump_at = from};
	if (t->ops->read(t, from, code, sizeof code, NULL) < 0)
		return 0;
	e.jump_len = t->isa->insn_length(code, sizeof code, from);
	if (!e.jump_len || e.jump_len > LP_JUMP_MAX || !t->isa->reaches(&e, to) ||
	    t->isa->entry_bytes(&e, to, pieces) != 1 || pieces[0].len != e.jump_len ||
	    memcmp(pieces[0].bytes, code, e.jump_len) != 0)
		return 0;
	memcpy(out, code, e.jump_len);
	return e.jump_len;
}

/* The undo slots have the size of the jump, whether or not this one stands (its place may be taken by a later patch). */
static size_t hunk_size(struct lp_target *t, const struct lp_foreign_patch *f)
{
	uint8_t jump[LP_JUMP_MAX];
	for (size_t i = 0; i < f->nr_hunks; i++) {
		size_t n = jump_bytes(t, f->hunks[i].at, f->hunks[i].to, jump);
		if (n)
			return n;
	}
	return 0;
}

static void read_hunks(struct lp_target *t, const struct image *im, struct lp_foreign_patch *f, uint32_t *left)
{
	lp_addr info = im->at + header_word(im, im->layout->entries + 4 * LP_KPATCH_ENTRY_INFO);
	LP_VEC(struct lp_foreign_hunk) hunks = {0};
	for (uint32_t i = 0; *left; i++, --*left) {
		uint8_t bytes[LP_KPATCH_RECORD_SIZE];
		struct lp_kpatch_record r;
		if (t->ops->read(t, info + (uint64_t)i * sizeof bytes, bytes, sizeof bytes, NULL) < 0)
			break;
		lp_kpatch_record_decode(bytes, &r);
		if (lp_kpatch_record_is_end(&r))
			break;
		if (r.daddr && r.dlen)
			lp_vec_push(&hunks, ((struct lp_foreign_hunk){.at = r.daddr,
								      .to = r.saddr,
								      .old_len = r.dlen,
								      .new_len = r.slen,
								      .record = i}));
	}
	f->hunks = hunks.items;
	f->nr_hunks = hunks.nr;
}

/* Old bytes, and whether the jump is there. */
static void look_at_hunks(struct lp_target *t, const struct image *im, struct lp_foreign_patch *f)
{
	lp_addr undo = im->at + header_word(im, im->layout->entries + 4 * LP_KPATCH_ENTRY_UNDO);
	size_t size = hunk_size(t, f);
	for (size_t i = 0; i < f->nr_hunks; i++) {
		struct lp_foreign_hunk *h = &f->hunks[i];
		h->len = jump_bytes(t, h->at, h->to, h->jump);
		h->stands = h->len == size && size &&
			    t->ops->read(t, undo + (uint64_t)h->record * size, h->old_bytes, size, NULL) == 0;
		f->nr_standing += h->stands;
	}
}

static void add_foreign(struct lp_target *t, const struct image *im, const struct lp_area *a, uint32_t *left,
			struct lp_foreign_list *out)
{
	struct lp_foreign_patch *f = lp_vec_add(&out->items);
	*f = (struct lp_foreign_patch){.tool = im->layout->name,
				       .id = header_text(im, im->layout->id, 8),
				       .object = header_text(im, im->layout->modulename, 64),
				       .build_id = header_text(im, im->layout->buildid, im->layout->buildid_size),
				       .memory = a->range};
	f->level = header_word(im, im->layout->entries + 4 * LP_KPATCH_ENTRY_LEVEL);
	uint64_t total = im->layout->total_mem_size ? lp_get64(im->header + im->layout->total_mem_size) : 0;
	if (total > f->memory.end - f->memory.start && total < IMAGE_MAX)
		f->memory.end = lp_align_up(f->memory.start + total, LP_PAGE);
	read_hunks(t, im, f, left);
	look_at_hunks(t, im, f);
}

int lp_foreign_scan(struct lp_target *t, struct lp_foreign_list *out, struct lp_err *err)
{
	struct lp_area a;
	struct image im;
	uint32_t left = RECORDS_MAX;
	*out = (struct lp_foreign_list){0};
	if (!t->ops->next_area)
		return 0;
	for (lp_addr from = 0; left && out->items.nr < PATCHES_MAX && t->ops->next_area(t, from, &a, NULL) == 0;
	     from = a.range.end)
		if (read_header(t, &a, &im))
			add_foreign(t, &im, &a, &left, out);
	if (!left || out->items.nr == PATCHES_MAX)
		lp_warn("%s looks as if it had more patches of other tools than are looked at", t->label);
	return 0;
}

int lp_foreign_patches(struct lp_target *t, struct lp_foreign_list *out, struct lp_err *err)
{
	return lp_foreign_scan(t, out, err);
}

void lp_foreign_free(struct lp_foreign_list *l)
{
	for (size_t i = 0; i < l->items.nr; i++) {
		lp_free(l->items.items[i].id);
		lp_free(l->items.items[i].object);
		lp_free(l->items.items[i].build_id);
		lp_free(l->items.items[i].hunks);
	}
	lp_vec_free(&l->items);
}

/* ---- as if they were not there ---- */

static int know(struct lp_plan *p, struct lp_err *err)
{
	int rc = p->foreign_read ? 0 : lp_foreign_scan(p->t, &p->foreign, err);
	p->foreign_read = rc == 0;
	return rc;
}

int lp_foreign_take_off(struct lp_plan *p, lp_addr at, uint8_t *data, size_t len, struct lp_err *err)
{
	int rc = know(p, err);
	for (size_t i = 0; i < p->foreign.items.nr && rc == 0; i++) {
		const struct lp_foreign_patch *f = &p->foreign.items.items[i];
		for (size_t k = 0; k < f->nr_hunks; k++) {
			const struct lp_foreign_hunk *h = &f->hunks[k];
			if (h->stands && h->at >= at && h->len <= len && h->at - at <= len - h->len &&
			    memcmp(data + (h->at - at), h->jump, h->len) == 0)
				memcpy(data + (h->at - at), h->old_bytes, h->len);
		}
	}
	return rc;
}

/* ---- undoing one ---- */

static const struct lp_foreign_patch *find(struct lp_plan *p, const char *word, size_t *nr)
{
	const struct lp_foreign_patch *found = NULL;
	*nr = 0;
	for (size_t i = 0; i < p->foreign.items.nr; i++) {
		const struct lp_foreign_patch *f = &p->foreign.items.items[i];
		char at[32];
		snprintf(at, sizeof at, LP_ADDR, f->memory.start);
		if (strcmp(at, word) != 0 && strcmp(f->id, word) != 0)
			continue;
		++*nr;
		found = f;
	}
	return found;
}

/* What stood there before any patch, by the file that it was loaded from. */
static bool is_of_the_file(struct lp_plan *p, const struct lp_foreign_hunk *h)
{
	uint64_t vaddr;
	const struct lp_image *image = lp_target_image_at(p->t, h->at, &vaddr, NULL);
	const uint8_t *bytes = image ? lp_elf_bytes_at_vaddr(image->elf, vaddr, h->len) : NULL;
	return bytes && memcmp(bytes, h->old_bytes, h->len) == 0;
}

/* ... or the jump of an earlier patch of that family to its replacement. */
static bool is_earlier_jump(struct lp_plan *p, const struct lp_foreign_hunk *h)
{
	for (size_t i = 0; i < p->foreign.items.nr; i++)
		for (size_t k = 0; k < p->foreign.items.items[i].nr_hunks; k++) {
			const struct lp_foreign_hunk *o = &p->foreign.items.items[i].hunks[k];
			struct lp_entry e = {.shape = LP_ENTRY_DIRECT, .jump_at = h->at, .jump_len = h->len};
			struct lp_piece pieces[2];
			if (o != h && o->at == h->at && p->t->isa->reaches(&e, o->to) &&
			    p->t->isa->entry_bytes(&e, o->to, pieces) == 1 && pieces[0].len == h->len &&
			    memcmp(pieces[0].bytes, h->old_bytes, h->len) == 0)
				return true;
		}
	return false;
}

static int check_hunk(struct lp_plan *p, const struct lp_foreign_patch *f, const struct lp_foreign_hunk *h,
		      struct lp_err *err)
{
	char name[256];
	lp_target_describe(p->t, h->at, name, sizeof name);
	if (!h->stands)
		return lp_fail(
			err, LP_ECHANGED,
			"%s does not begin with the jump that patch %s of %s put there: a later patch may stand on "
			"it; revert that one first",
			name, f->id, f->tool);
	if (!is_of_the_file(p, h) && !is_earlier_jump(p, h))
		return lp_fail(
			err, LP_EORIGINAL,
			"the bytes that patch %s of %s has kept for %s are not those of the file it was loaded from",
			f->id, f->tool, name);
	return 0;
}

static int undo_hunk(struct lp_plan *p, const struct lp_op *op, const struct lp_foreign_patch *f,
		     const struct lp_foreign_hunk *h, struct lp_err *err)
{
	char name[256];
	int rc = check_hunk(p, f, h, err);
	if (rc < 0)
		return rc;
	lp_target_describe(p->t, h->at, name, sizeof name);
	struct lp_write *w = lp_plan_add_write(p, op, LP_WRITE_CODE, h->at, h->old_bytes, h->len, name);
	w->body = (struct lp_range){h->to, h->to + h->new_len};
	lp_buf_printf(&p->ops_text, "undo " LP_ADDR " %s\n", h->at, name);
	return lp_plan_finish_write(p, w, err);
}

/* Without it no tool takes the memory for a patch any more. */
static int take_magic(struct lp_plan *p, const struct lp_op *op, const struct lp_foreign_patch *f, struct lp_err *err)
{
	static const uint8_t nothing[sizeof LP_KPATCH_MAGIC];
	struct lp_write *w = lp_plan_add_write(p, op, LP_WRITE_CODE, f->memory.start, nothing, sizeof nothing,
					       "the other tool's mark");
	return lp_plan_finish_write(p, w, err);
}

int lp_plan_undo_foreign(struct lp_plan *p, const struct lp_op *op, struct lp_err *err)
{
	size_t nr;
	int rc = know(p, err);
	if (rc < 0)
		return rc;
	const struct lp_foreign_patch *f = find(p, op->mem, &nr);
	if (!nr)
		return lp_fail(err, LP_ENOPATCH, "no patch %s of another tool is in %s", op->mem, p->t->label);
	if (nr > 1)
		return lp_fail(err, LP_EAMBIGUOUS,
			       "%s has %zu patches of other tools with the id %s; give the address that "
			       "list shows",
			       p->t->label, nr, op->mem);
	for (size_t i = 0; i < f->nr_hunks && rc == 0; i++)
		rc = undo_hunk(p, op, f, &f->hunks[i], err);
	return rc ? rc : take_magic(p, op, f, err);
}
