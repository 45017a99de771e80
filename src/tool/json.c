/*
 * The JSON that --json prints; man/livepatch.1.in documents every member.
 * Addresses and bytes are hex strings, because JSON numbers are doubles to
 * many readers.
 */
#include "tool/tool.h"

#include <stdio.h>
#include <string.h>

json_t *json_bytes(const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	if (!bytes)
		return json_null();
	char *hex = lp_alloc(2 * len + 1);
	for (size_t i = 0; i < len; i++) {
		hex[2 * i] = digits[bytes[i] >> 4];
		hex[2 * i + 1] = digits[bytes[i] & 15];
	}
	json_t *text = json_stringn_nocheck(hex, 2 * len);
	lp_free(hex);
	return text;
}

static json_t *json_range(struct lp_range r)
{
	return json_pack("{s:o, s:o}", "start", json_addr(r.start), "end", json_addr(r.end));
}

json_t *json_answer(pid_t pid, json_t *members)
{
	json_t *answer = json_pack("{s:b, s:i}", "ok", 1, "pid", (int)pid);
	json_object_update_new(answer, members);
	return answer;
}

json_t *json_result(const struct lp_result *r)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:i, s:I, s:b}", "id", (json_int_t)r->id, "patches",
			 (json_int_t)r->nr_patches, "writes", (json_int_t)r->nr_writes, "threads",
			 (json_int_t)r->nr_threads, "pause_ns", (json_int_t)r->pause_ns, "pauses", (int)r->nr_tries,
			 "kept_bytes", (json_int_t)r->kept_bytes, "recovered", r->recovered);
}

/* ---- plans ---- */

static json_t *protection(unsigned prot)
{
	char text[] = {prot & LP_PROT_READ ? 'r' : '-', prot & LP_PROT_WRITE ? 'w' : '-',
		       prot & LP_PROT_EXEC ? 'x' : '-', 0};
	return json_string(text);
}

static json_t *plan_room(const struct lp_room *r)
{
	json_t *pieces = json_array();
	for (size_t i = 0; i < r->request.nr_pieces; i++) {
		json_t *piece = json_range(r->request.pieces[i].range);
		json_object_set_new(piece, "protection", protection(r->request.pieces[i].prot));
		json_array_append_new(pieces, piece);
	}
	json_t *room = json_range(r->range);
	json_object_set_new(room, "kind", json_string(lp_room_kind_name(r->kind)));
	json_object_set_new(room, "name", json_text(r->name));
	json_object_set_new(room, "path", json_text(r->path));
	json_object_set_new(room, "used", json_integer((json_int_t)r->used));
	json_object_set_new(room, "pieces", pieces);
	return room;
}

static json_t *write_row(lp_addr at, const char *symbol, enum lp_write_kind kind, const uint8_t *old_bytes,
			 const uint8_t *new_bytes, size_t len)
{
	return json_pack("{s:o, s:o, s:s, s:o, s:o}", "address", json_addr(at), "symbol", json_text(symbol), "kind",
			 lp_write_kind_name(kind), "old", json_bytes(old_bytes, len), "new",
			 json_bytes(new_bytes, len));
}

static json_t *plan_write(const struct lp_write *w)
{
	json_t *row = write_row(w->at, w->symbol, w->kind, w->old_bytes, w->new_bytes, w->len);
	if (w->over)
		json_object_set_new(row, "over", json_integer((json_int_t)w->over));
	json_object_set_new(row, "line", json_integer(w->where.line));
	return row;
}

json_t *json_plan(const struct lp_plan *p)
{
	size_t nr;
	json_t *rooms = json_array(), *writes = json_array();
	const struct lp_room *room = lp_plan_rooms(p, &nr);
	for (size_t i = 0; i < nr; i++)
		json_array_append_new(rooms, plan_room(&room[i]));
	const struct lp_write *write = lp_plan_writes(p, &nr);
	for (size_t i = 0; i < nr; i++)
		json_array_append_new(writes, plan_write(&write[i]));
	return json_pack("{s:b, s:o, s:o}", "dry_run", 1, "rooms", rooms, "writes", writes);
}

/* ---- what is there ---- */

static json_t *listed_room(const struct lp_listed_room *r)
{
	json_t *room = json_range(r->range);
	json_object_set_new(room, "kind", json_string(lp_room_kind_name(r->kind)));
	json_object_set_new(room, "name", json_text(r->name));
	json_object_set_new(room, "path", json_text(r->path));
	json_object_set_new(room, "kept", json_boolean(r->kept));
	return room;
}

static json_t *listed_object(const struct lp_listed_object *o)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:I, s:I}", "id", json_text(o->id), "object", json_text(o->object),
			 "build_id", json_text(o->build_id), "tool", json_text(o->tool), "level", (json_int_t)o->level,
			 "functions", (json_int_t)o->nr_functions);
}

static json_t *listed_patch(const struct lp_listed *p)
{
	json_t *writes = json_array(), *rooms = json_array(), *needs = json_array(), *objects = json_array();
	for (size_t i = 0; i < p->nr_objects; i++)
		json_array_append_new(objects, listed_object(&p->objects[i]));
	for (size_t i = 0; i < p->nr_writes; i++) {
		const struct lp_listed_write *w = &p->writes[i];
		json_array_append_new(writes, write_row(w->at, w->symbol, w->kind, w->old_bytes, w->new_bytes, w->len));
	}
	for (size_t i = 0; i < p->nr_rooms; i++)
		json_array_append_new(rooms, listed_room(&p->rooms[i]));
	for (size_t i = 0; i < p->nr_builds_on; i++)
		json_array_append_new(needs, json_integer((json_int_t)p->builds_on[i]));
	return json_pack("{s:I, s:s, s:o, s:I, s:o, s:o, s:o, s:o}", "id", (json_int_t)p->id, "state",
			 lp_entry_state_name(p->state), "name", json_text(p->name), "time", (json_int_t)p->time,
			 "builds_on", needs, "objects", objects, "writes", writes, "rooms", rooms);
}

json_t *json_listing(const struct lp_listing *l)
{
	json_t *patches = json_array();
	for (size_t i = 0; i < l->nr; i++)
		json_array_append_new(patches, listed_patch(&l->items[i]));
	return patches;
}

json_t *json_foreign(const struct lp_foreign_list *l)
{
	json_t *patches = json_array();
	for (size_t i = 0; i < l->items.nr; i++) {
		const struct lp_foreign_patch *f = &l->items.items[i];
		json_t *row = json_range(f->memory);
		json_object_update_new(row,
				       json_pack("{s:s, s:o, s:o, s:o, s:I, s:I, s:I}", "tool", f->tool, "id",
						 json_text(f->id), "object", json_text(f->object), "build_id",
						 json_text(f->build_id), "level", (json_int_t)f->level, "functions",
						 (json_int_t)f->nr_hunks, "standing", (json_int_t)f->nr_standing));
		json_array_append_new(patches, row);
	}
	return patches;
}

static json_t *check_row(const struct lp_check_item *c)
{
	return json_pack("{s:I, s:o, s:o, s:s, s:o, s:o}", "id", (json_int_t)c->id, "address", json_addr(c->at),
			 "symbol", json_text(c->symbol), "kind", lp_write_kind_name(c->kind), "expected",
			 json_bytes(c->expected, c->len), "found", json_bytes(c->found, c->len));
}

json_t *json_check(const struct lp_check_report *r, bool intact)
{
	json_t *rows = json_array();
	for (size_t i = 0; i < r->nr; i++)
		json_array_append_new(rows, check_row(&r->items[i]));
	return json_pack("{s:b, s:I, s:b, s:o}", "intact", intact, "checked", (json_int_t)r->nr_checked, "unfinished",
			 r->unfinished, "differences", rows);
}
