/*
 * The part of a plan that comes from .kpatch files.
 *
 * Each file gives two rooms: one for its code and data, near the image that it
 * patches, and one that keeps the file itself in the target, so that whoever
 * comes later (list, info, a patch that uses symbols of this one) needs nothing
 * but the process.  Its writes come from the records of .kpatch.info.
 *
 * Checked before anything is planned: is the image there; is a patch of this id
 * on it already; are the patches there that it needs; and does memory hold the
 * code that the patch was made for.  For the last the ledger's old bytes are
 * laid over what memory holds: a function that an earlier patch of ours has
 * replaced is still the original one.
 */
#include "core/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "core/kept.h"

/* ---- patches that are there ---- */

static void note_source(struct lp_plan *p, uint64_t id, const struct lp_entry_room *room)
{
	if (room->kind != LP_ROOM_SOURCE)
		return;
	struct lp_kept *kept = lp_vec_add(&p->kept);
	*kept = (struct lp_kept){.id = id, .name = lp_strdup(room->name), .room = *room};
	kept->room.name = kept->name;
	kept->room.path = NULL;
}

static int newest_first(const void *a, const void *b)
{
	const struct lp_kept *x = a, *y = b;
	return (x->id < y->id) - (x->id > y->id);
}

static int read_kept(struct lp_plan *p, struct lp_err *err)
{
	uint64_t off = 0;
	struct lp_ledger_entry e;
	int rc = 0;
	if (p->kept_read || !p->ledger.present)
		return 0;
	while ((rc = lp_ledger_next(&p->ledger, &off, &e, err)) == 1) {
		for (size_t i = 0; e.state == LP_APPLIED && i < e.nr_rooms; i++)
			note_source(p, e.id, &e.rooms[i]);
		lp_ledger_entry_free(&e);
	}
	if (p->kept.nr)
		qsort(p->kept.items, p->kept.nr, sizeof *p->kept.items, newest_first);
	p->kept_read = rc == 0;
	return rc;
}

void lp_plan_forget_kept(struct lp_plan *p)
{
	for (size_t i = 0; i < p->kept.nr; i++) {
		lp_kpatch_free(p->kept.items[i].k);
		lp_free(p->kept.items[i].name);
	}
	p->kept.nr = 0;
	p->kept_read = false;
}

static const struct lp_kpatch *source_of(struct lp_plan *p, struct lp_kept *kept)
{
	if (!kept->tried)
		kept->k = lp_kept_read(p->t, &kept->room);
	kept->tried = true;
	return kept->k;
}

/* In another object of this plan that has its place already. */
static bool find_beside(const struct lp_plan *p, const char *name, lp_addr *addr, uint64_t *size)
{
	for (size_t i = 0; i < p->mems.nr; i++)
		if (p->mems.items[i].relink &&
		    lp_relink_symbol(p->mems.items[i].relink, p->mems.items[i].base, name, addr, size))
			return true;
	return false;
}

static int find_earlier(void *arg, const char *name, lp_addr *addr, uint64_t *size, struct lp_err *err)
{
	struct lp_plan *p = arg;
	int rc = read_kept(p, err);
	if (rc == 0 && find_beside(p, name, addr, size))
		return 1;
	for (size_t i = 0; rc == 0 && i < p->kept.nr; i++) {
		const struct lp_kpatch *k = source_of(p, &p->kept.items[i]);
		if (k && lp_relink_symbol_of(k, name, addr, size) == 1) {
			lp_plan_add_dep(p, p->kept.items[i].id);
			return 1;
		}
	}
	return rc;
}

/* An id has no blanks, but may have an '@'; a build-id has neither. */
static bool has_id(const struct lp_kept *kept, const char *id)
{
	const char *at = strrchr(kept->name, '@');
	size_t len = strlen(id);
	return at && (size_t)(at - kept->name) == len && memcmp(kept->name, id, len) == 0;
}

static bool is_for(const struct lp_kept *kept, const struct lp_kpatch *k)
{
	char hex[2 * LP_BUILD_ID_MAX + 1];
	const char *at = strrchr(kept->name, '@');
	lp_build_id_hex(&k->build_id, hex);
	return at && strcmp(at + 1, hex) == 0;
}

static int check_not_applied(struct lp_plan *p, const struct lp_kpatch *k, struct lp_err *err)
{
	int rc = read_kept(p, err);
	for (size_t i = 0; rc == 0 && k->id[0] && i < p->kept.nr; i++)
		if (has_id(&p->kept.items[i], k->id) && is_for(&p->kept.items[i], k))
			return lp_fail(err, LP_EAPPLIED,
				       "%s: a patch with the id %s is applied to %s already, as patch %" PRIu64
				       " of %s",
				       k->path, k->id, k->object[0] ? k->object : "that object", p->kept.items[i].id,
				       p->t->label);
	return rc;
}

/* Applied before, or with this one. */
static bool is_there(struct lp_plan *p, const char *id)
{
	for (size_t i = 0; i < p->kept.nr; i++)
		if (has_id(&p->kept.items[i], id)) {
			lp_plan_add_dep(p, p->kept.items[i].id);
			return true;
		}
	for (size_t i = 0; i < p->ps->nr; i++)
		if (p->ps->ops[i].kpatch && strcmp(p->ps->ops[i].kpatch->id, id) == 0)
			return true;
	return false;
}

static int check_needs(struct lp_plan *p, const struct lp_kpatch *k, struct lp_err *err)
{
	for (size_t i = 0; i < k->needs.nr; i++)
		if (!is_there(p, k->needs.items[i]))
			return lp_fail(err, LP_ENEEDS, "%s builds on the patch %s, which is not applied to %s", k->path,
				       k->needs.items[i], p->t->label);
	return 0;
}

/* ---- rooms ---- */

static int place_code(struct lp_plan *p, struct lp_mem *m, struct lp_err *err)
{
	const struct lp_kpatch *k = m->op->kpatch;
	m->size = lp_relink_span(m->relink);
	if (!m->size)
		return lp_fail(err, LP_EKPATCH, "%s holds neither code nor data", k->path);
	int rc = lp_plan_choose_hole(p, lp_relink_near(m->relink), p->t->isa->reach, m->size, &m->base, err);
	if (rc < 0)
		return lp_err_context(err, rc, "%s", k->path);
	m->room = p->rooms.nr;
	struct lp_room *r = lp_plan_add_room(p, LP_ROOM_PATCH, k->id[0] ? k->id : "patch", k->path,
					     (struct lp_range){m->base, m->base + m->size});
	lp_relink_room(m->relink, m->base, &r->request);
	return 0;
}

static int place_source(struct lp_plan *p, const struct lp_mem *m, struct lp_err *err)
{
	const struct lp_kpatch *k = m->op->kpatch;
	char hex[2 * LP_BUILD_ID_MAX + 1];
	uint64_t whole = lp_align_up(k->len, LP_PAGE);
	lp_addr at;
	int rc = lp_plan_choose_hole(p, lp_relink_near(m->relink), 0, whole, &at, err);
	if (rc < 0)
		return rc;
	lp_build_id_hex(&k->build_id, hex);
	char *name = lp_sprintf("%s@%s", k->id, hex);
	struct lp_room *r = lp_plan_add_plain_room(p, LP_ROOM_SOURCE, name, k->path, (struct lp_range){at, at + whole},
						   LP_PROT_READ);
	r->used = k->len;
	r->bytes = lp_alloc(whole);
	lp_free(name);
	return 0;
}

static int place_kpatch(struct lp_plan *p, const struct lp_op *op, struct lp_err *err)
{
	struct lp_relink_earlier earlier = {find_earlier, p};
	struct lp_relink *relink;
	size_t image;
	int rc = lp_relink_find_image(p->t, op->kpatch, &image, err);
	rc = rc ? rc : check_not_applied(p, op->kpatch, err);
	rc = rc ? rc : check_needs(p, op->kpatch, err);
	rc = rc ? rc : lp_relink_open(&relink, op->kpatch, p->t, &earlier, err);
	if (rc < 0)
		return rc;
	size_t i = p->mems.nr;
	*lp_vec_add(&p->mems) = (struct lp_mem){.op = op, .relink = relink};
	rc = place_code(p, &p->mems.items[i], err);
	return rc ? rc : place_source(p, &p->mems.items[i], err);
}

static bool is_placed(const struct lp_plan *p, const struct lp_op *op)
{
	for (size_t i = 0; i < p->mems.nr; i++)
		if (p->mems.items[i].op == op)
			return true;
	return false;
}

/*
 * An object may use symbols that another of the same patchset brings, in
 * whatever order they were named: what lacks a symbol waits until the others
 * have their places.
 */
int lp_plan_place_kpatches(struct lp_plan *p, struct lp_err *err)
{
	for (size_t placed = 1; placed;) {
		int lacking = 0;
		placed = 0;
		for (size_t i = 0; i < p->ps->nr; i++) {
			const struct lp_op *op = &p->ps->ops[i];
			if (op->kind != LP_OP_OBJECT || is_placed(p, op))
				continue;
			int rc = place_kpatch(p, op, err);
			if (rc < 0 && rc != -LP_ENOSYM)
				return rc;
			placed += rc == 0;
			lacking = rc ? rc : lacking;
		}
		if (!placed || !lacking)
			return lacking;
	}
	return 0;
}

int lp_plan_link_kpatch(struct lp_plan *p, struct lp_mem *m, struct lp_err *err)
{
	struct lp_room *r = &p->rooms.items[m->room];
	r->bytes = lp_alloc(m->size);
	int rc = lp_relink_link(m->relink, m->base, r->bytes, err);
	if (rc < 0)
		return rc;
	r->handle = m->relink->eh_frame.start;
	lp_relink_source(m->relink, m->base, r[1].bytes);
	return 0;
}

/* ---- the original ---- */

static void ignore(const struct lp_kpatch_old *o, uint8_t *a, uint8_t *b)
{
	for (uint32_t i = 0; i < o->nr_ignore; i++) {
		uint32_t start = lp_get32(o->ignore + 8 * i), len = lp_get32(o->ignore + 8 * i + 4);
		memset(a + start, 0, len);
		memset(b + start, 0, len);
	}
}

static size_t first_difference(const uint8_t *a, const uint8_t *b, size_t len)
{
	size_t i = 0;
	while (i < len && a[i] == b[i])
		i++;
	return i;
}

static int refuse_old(struct lp_plan *p, const struct lp_relink *r, lp_addr at, uint8_t is, uint8_t wanted,
		      struct lp_err *err)
{
	char name[256];
	int rc = lp_fail(
		err, LP_EORIGINAL,
		"%s was made for other code than %s runs: at %s there is %02x, and it was made for %02x. Build it "
		"from the source and with the compiler of the program that runs",
		r->k->path, p->t->label, lp_target_describe(p->t, at, name, sizeof name), is, wanted);
	if (err)
		err->addr = at;
	return rc;
}

static int check_old(struct lp_plan *p, const struct lp_relink *r, const struct lp_kpatch_old *o, struct lp_err *err)
{
	uint8_t *is = lp_alloc(o->len), *wanted = lp_memdup(o->bytes, o->len);
	lp_addr at = r->bias + o->vaddr;
	int rc = o->len ? lp_plan_read_original(p, at, is, o->len, err) : 0;
	if (rc < 0)
		rc = lp_err_context(err, rc, "%s: reading the original", r->k->path);
	if (rc == 0) {
		ignore(o, is, wanted);
		size_t i = first_difference(is, wanted, o->len);
		if (i < o->len)
			rc = refuse_old(p, r, at + i, is[i], wanted[i], err);
	}
	lp_free(is);
	lp_free(wanted);
	return rc;
}

static void guard_old(struct lp_plan *p, const struct lp_relink *r, const struct lp_kpatch_old *o)
{
	if (!(o->flags & LP_KPATCH_OLD_WATCH) || p->opts.allow_active)
		return;
	const char *of = "a replaced function";
	for (size_t i = 0; i < r->functions.nr; i++)
		if (r->functions.items[i].record == o->record)
			of = r->functions.items[i].name;
	lp_addr at = r->bias + o->vaddr;
	lp_vec_push(&p->guards, ((struct lp_guard){{at, at + o->len}, lp_sprintf("%s (cold part)", of)}));
}

static int check_originals(struct lp_plan *p, const struct lp_relink *r, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < r->k->olds.nr && rc == 0; i++) {
		rc = check_old(p, r, &r->k->olds.items[i], err);
		guard_old(p, r, &r->k->olds.items[i]);
	}
	return rc;
}

/* ---- writes ---- */

static int jump(struct lp_plan *p, size_t mem, const struct lp_relink_function *f, struct lp_err *err)
{
	struct lp_place at, to = {.addr = f->new_body.start,
				  .size = f->new_body.end - f->new_body.start,
				  .mem = mem,
				  .own_object = true};
	int rc = lp_resolve_number(p, f->old_body.start, &at, err);
	if (rc < 0)
		return rc;
	/* The file was made from the binary itself and knows the length; symbols may be stripped. */
	at.size = f->old_body.end - f->old_body.start;
	snprintf(at.name, sizeof at.name, "%s", f->name);
	snprintf(to.name, sizeof to.name, "%.140s (new)", f->name);
	lp_buf_printf(&p->ops_text, "jmp " LP_ADDR " " LP_ADDR "\n", at.addr, to.addr);
	return lp_plan_jump(p, p->mems.items[mem].op, &at, &to, err);
}

static size_t mem_of(const struct lp_plan *p, const struct lp_op *op)
{
	size_t i = 0;
	while (i < p->mems.nr && p->mems.items[i].op != op)
		i++;
	return i;
}

int lp_plan_apply_kpatch(struct lp_plan *p, const struct lp_op *op, struct lp_err *err)
{
	size_t mem = mem_of(p, op);
	const struct lp_relink *r = p->mems.items[mem].relink;
	int rc = check_originals(p, r, err);
	lp_buf_printf(&p->ops_text, "kpatch %s @ " LP_ADDR " [%" PRIu64 "] %s\n", op->kpatch->id,
		      p->mems.items[mem].base, p->mems.items[mem].size, op->path);
	for (size_t i = 0; i < r->functions.nr && rc == 0; i++) {
		const struct lp_relink_function *f = &r->functions.items[i];
		if (f->old_body.start)
			rc = jump(p, mem, f, err);
		if (rc < 0)
			rc = lp_err_context(err, rc, "%s", op->path);
	}
	return rc;
}
