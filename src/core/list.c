/*
 * What is there: the ledger as a listing, and memory compared with it.
 */
#include <stdlib.h>
#include <string.h>

#include "core/actions.h"
#include "core/kept.h"

static void list_writes(const struct lp_ledger_entry *e, struct lp_listed *out)
{
	out->nr_writes = e->nr_writes;
	out->writes = lp_alloc(e->nr_writes * sizeof *out->writes);
	for (size_t i = 0; i < e->nr_writes; i++) {
		const struct lp_entry_write *w = &e->writes[i];
		out->writes[i] = (struct lp_listed_write){.at = w->at,
							  .len = w->len,
							  .kind = (enum lp_write_kind)w->kind,
							  .symbol = lp_strdup_line(w->symbol),
							  .old_bytes = lp_memdup(w->old_bytes, w->len),
							  .new_bytes = lp_memdup(w->new_bytes, w->len)};
	}
}

static void list_rooms(const struct lp_ledger_entry *e, struct lp_listed *out)
{
	out->rooms = lp_alloc(e->nr_rooms * sizeof *out->rooms);
	for (size_t i = 0; i < e->nr_rooms; i++) {
		const struct lp_entry_room *r = &e->rooms[i];
		if (e->state == LP_REVERTED && lp_room_goes_with_jumps(r->kind))
			continue; /* gone with the jumps */
		out->rooms[out->nr_rooms++] = (struct lp_listed_room){.kind = (enum lp_room_kind)r->kind,
								      .name = lp_strdup_line(r->name),
								      .path = lp_strdup_line(r->path),
								      .range = r->range,
								      .kept = e->state == LP_REVERTED};
	}
}

static void list_object(const struct lp_kpatch *k, struct lp_listed_object *out)
{
	char hex[2 * LP_BUILD_ID_MAX + 1];
	lp_build_id_hex(&k->build_id, hex);
	*out = (struct lp_listed_object){.id = lp_strdup_line(k->id),
					 .object = lp_strdup_line(k->object),
					 .build_id = lp_strdup(hex),
					 .tool = lp_strdup_line(k->tool),
					 .level = k->level,
					 .nr_functions = (size_t)k->nr_records};
}

static void list_objects(struct lp_target *t, const struct lp_ledger_entry *e, struct lp_listed *out)
{
	out->objects = lp_alloc((e->nr_rooms + 1) * sizeof *out->objects);
	for (size_t i = 0; e->state == LP_APPLIED && i < e->nr_rooms; i++) {
		struct lp_kpatch *k = lp_kept_read(t, &e->rooms[i]);
		if (k)
			list_object(k, &out->objects[out->nr_objects++]);
		lp_kpatch_free(k);
	}
}

static void list_entry(struct lp_target *t, const struct lp_ledger_entry *e, struct lp_listed *out)
{
	*out = (struct lp_listed){.id = e->id,
				  .state = (enum lp_entry_state)e->state,
				  .name = lp_strdup_line(e->name),
				  .time = e->time,
				  .pid_of_tool = e->tool_pid,
				  .builds_on = lp_memdup(e->deps, e->nr_deps * sizeof *e->deps),
				  .nr_builds_on = e->nr_deps};
	list_writes(e, out);
	list_rooms(e, out);
	list_objects(t, e, out);
}

static int by_id(const void *a, const void *b)
{
	const struct lp_listed *x = a, *y = b;
	return (x->id > y->id) - (x->id < y->id);
}

#define READ_LOCK_MS 2000

static int list(struct lp_target *t, struct lp_listing *out, struct lp_err *err);

/* Not while another livepatch writes; but a process that is traced, or whose livepatch hangs, can be listed too. */
int lp_ledger_list(struct lp_target *t, struct lp_listing *out, struct lp_err *err)
{
	bool locked = t->ops->lock && t->ops->lock(t, READ_LOCK_MS, NULL) == 0;
	int rc = list(t, out, err);
	if (locked)
		t->ops->unlock(t);
	return rc;
}

static int list(struct lp_target *t, struct lp_listing *out, struct lp_err *err)
{
	*out = (struct lp_listing){0};
	struct lp_ledger l;
	int rc = lp_ledger_open(&l, t, err);
	if (rc < 0 || !l.present)
		return rc;
	out->ledger = l.h.extents[0].addr;
	out->ledger_bytes = l.h.end;
	out->unfinished = l.h.busy != 0;
	LP_VEC(struct lp_listed) items = {0};
	uint64_t off = 0;
	struct lp_ledger_entry e;
	while ((rc = lp_ledger_next(&l, &off, &e, err)) == 1) {
		list_entry(t, &e, lp_vec_add(&items));
		lp_ledger_entry_free(&e);
	}
	out->items = items.items;
	out->nr = items.nr;
	if (out->nr)
		qsort(out->items, out->nr, sizeof *out->items, by_id);
	if (rc < 0)
		lp_listing_free(out);
	return rc;
}

static bool has_entry(struct lp_target *t, uint64_t id)
{
	struct lp_ledger l;
	struct lp_ledger_entry e;
	if (lp_ledger_open(&l, t, NULL) < 0 || !l.present || lp_ledger_read_id(&l, id, &e, NULL) < 0)
		return false;
	lp_ledger_entry_free(&e);
	return true;
}

bool lp_ledger_lists(struct lp_target *t, uint64_t id)
{
	bool locked = t->ops->lock && t->ops->lock(t, READ_LOCK_MS, NULL) == 0;
	bool has = has_entry(t, id);
	if (locked)
		t->ops->unlock(t);
	return has;
}

void lp_listing_free(struct lp_listing *l)
{
	for (size_t i = 0; i < l->nr; i++) {
		struct lp_listed *e = &l->items[i];
		for (size_t k = 0; k < e->nr_writes; k++) {
			lp_free(e->writes[k].symbol);
			lp_free(e->writes[k].old_bytes);
			lp_free(e->writes[k].new_bytes);
		}
		for (size_t k = 0; k < e->nr_rooms; k++) {
			lp_free(e->rooms[k].name);
			lp_free(e->rooms[k].path);
		}
		for (size_t k = 0; k < e->nr_objects; k++) {
			lp_free(e->objects[k].id);
			lp_free(e->objects[k].object);
			lp_free(e->objects[k].build_id);
			lp_free(e->objects[k].tool);
		}
		lp_free(e->writes);
		lp_free(e->rooms);
		lp_free(e->objects);
		lp_free(e->builds_on);
		lp_free(e->name);
	}
	lp_free(l->items);
	*l = (struct lp_listing){0};
}

/* ---- check ---- */

static int compare(struct lp_target *t, const struct lp_listed *e, const struct lp_listed_write *w,
		   struct lp_check_item *out, struct lp_err *err)
{
	uint8_t *found = lp_alloc(w->len);
	int rc = t->ops->read(t, w->at, found, w->len, err);
	*out = (struct lp_check_item){.id = e->id,
				      .at = w->at,
				      .kind = w->kind,
				      .intact = rc == 0 && memcmp(found, w->new_bytes, w->len) == 0,
				      .len = w->len,
				      .found = found};
	if (rc == 0 && !out->intact) {
		out->symbol = lp_strdup_line(w->symbol);
		out->expected = lp_memdup(w->new_bytes, w->len);
	} else {
		lp_free(found);
	}
	return rc;
}

struct top {
	lp_addr at;
	size_t entry, write;
};

/* Oldest first among equals, so that the last of a group is the one on top. */
static int by_place(const void *a, const void *b)
{
	const struct top *x = a, *y = b;
	if (x->at != y->at)
		return (x->at > y->at) - (x->at < y->at);
	return (x->entry > y->entry) - (x->entry < y->entry);
}

int lp_check(struct lp_target *t, struct lp_check_report *out, struct lp_err *err)
{
	*out = (struct lp_check_report){0};
	struct lp_listing l;
	int rc = lp_ledger_list(t, &l, err);
	if (rc < 0)
		return rc;
	out->unfinished = l.unfinished;
	LP_VEC(struct top) tops = {0};
	for (size_t i = 0; i < l.nr; i++)
		for (size_t k = 0; l.items[i].state == LP_APPLIED && k < l.items[i].nr_writes; k++)
			lp_vec_push(&tops, ((struct top){l.items[i].writes[k].at, i, k}));
	if (tops.nr)
		qsort(tops.items, tops.nr, sizeof *tops.items, by_place);
	LP_VEC(struct lp_check_item) items = {0};
	for (size_t i = 0; i < tops.nr && rc == 0; i++) {
		const struct top *top = &tops.items[i];
		if (i + 1 < tops.nr && tops.items[i + 1].at == top->at)
			continue;
		struct lp_check_item item;
		rc = compare(t, &l.items[top->entry], &l.items[top->entry].writes[top->write], &item, err);
		out->nr_checked++;
		if (rc == 0 && !item.intact)
			lp_vec_push(&items, item);
	}
	out->items = items.items;
	out->nr = items.nr;
	lp_vec_free(&tops);
	lp_listing_free(&l);
	if (rc < 0)
		lp_check_report_free(out);
	return rc;
}

void lp_check_report_free(struct lp_check_report *r)
{
	for (size_t i = 0; i < r->nr; i++) {
		lp_free(r->items[i].symbol);
		lp_free(r->items[i].expected);
		lp_free(r->items[i].found);
	}
	lp_free(r->items);
	*r = (struct lp_check_report){0};
}
