/*
 * Giving memory back.
 *
 * A jump or a pointer that we wrote is gone after a revert; what the program
 * made of it is not: it may have stored the address of a function or string of
 * the patch anywhere.  So rooms are kept unless the user asks (--free), and
 * even then only go when nothing points into them: no register, no word of a
 * live stack (looked at in a pause), no aligned word of memory that the program
 * has written (looked at while the target runs; nobody can make a pointer out
 * of nothing meanwhile).  Memory that it made read-only since counts as well.
 *
 * The dead part of a stack, below the stack pointer, does not count: it is full
 * of the past.  But what is below a stack pointer is a dead stack only where
 * the mapping is a stack and nothing else: the kernel's [stack], or one with a
 * guard page below it.  A coroutine's stack may lie in the heap, among
 * everything else.
 *
 * Unwind tables are known to a run-time library, by pointers, and a thread that
 * throws through code whose tables it was told to forget ends the program.  So
 * they are forgotten only when nobody is in the code and nothing else points to
 * it; then all is looked at once more.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "core/actions.h"
#include "core/inside.h"
#include "core/quiesce.h"

#define CHUNK (1u << 20)

struct search {
	struct lp_target *t;
	LP_VEC(struct lp_range) rooms;
	LP_VEC(struct lp_range) sources; /* name addresses in the rooms, and go with them */
	LP_VEC(struct lp_range) tables;	 /* in the rooms: those who unwind may point there */
	LP_VEC(lp_addr) sps;
	lp_addr where;
};

static bool is_own(enum lp_room_kind kind)
{
	return kind == LP_ROOM_OBJECT || kind == LP_ROOM_FILE || kind == LP_ROOM_MEMORY || kind == LP_ROOM_PATCH;
}

bool lp_room_goes_with_jumps(uint32_t kind)
{
	return kind == LP_ROOM_ISLANDS || kind == LP_ROOM_SOURCE;
}

static bool in_tables(const struct search *s, lp_addr v)
{
	for (size_t i = 0; i < s->tables.nr; i++)
		if (lp_range_has(s->tables.items[i], v))
			return true;
	return false;
}

static bool in_rooms(const struct search *s, lp_addr v)
{
	for (size_t i = 0; i < s->rooms.nr; i++)
		if (lp_range_has(s->rooms.items[i], v))
			return true;
	return false;
}

static bool is_source(const struct search *s, lp_addr at)
{
	for (size_t i = 0; i < s->sources.nr; i++)
		if (lp_range_has(s->sources.items[i], at))
			return true;
	return false;
}

static int note_stacks(void *arg, struct lp_err *err)
{
	struct search *s = arg;
	size_t nr;
	const struct lp_thread *threads = s->t->ops->threads(s->t, &nr);
	s->sps.nr = 0;
	for (size_t i = 0; i < nr; i++)
		lp_vec_push(&s->sps, threads[i].sp);
	return 0;
}

#define GUARD_MAX (UINT64_C(64) << 10) /* what is larger is a reserve that a heap grows into */

static bool is_stack(const struct lp_area *a, const struct lp_area *below)
{
	return strcmp(a->name, "[stack]") == 0 || (below->range.end == a->range.start && !below->prot &&
						   below->range.end - below->range.start <= GUARD_MAX);
}

static lp_addr live_start(const struct search *s, const struct lp_area *a, const struct lp_area *below)
{
	lp_addr sp = a->range.start;
	size_t nr = 0;
	for (size_t i = 0; i < s->sps.nr; i++)
		if (lp_range_has(a->range, s->sps.items[i])) {
			sp = lp_align_down(s->sps.items[i], 8);
			nr++;
		}
	return nr == 1 && is_stack(a, below) ? sp : a->range.start;
}

static bool search_words(struct search *s, lp_addr at, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i + 8 <= len; i += 8)
		if (in_rooms(s, lp_get64(bytes + i)) && !in_tables(s, lp_get64(bytes + i))) {
			s->where = at + i;
			return true;
		}
	return false;
}

/* What cannot be read is unmapped meanwhile, behind the end of a file, or a device: it holds no pointers of the program. */
static bool search_chunk(struct search *s, lp_addr at, size_t len, uint8_t *chunk)
{
	if (s->t->ops->read(s->t, at, chunk, len, NULL) == 0)
		return search_words(s, at, chunk, len);
	for (size_t done = 0, n; done < len; done += n) {
		n = LP_PAGE - (size_t)((at + done) % LP_PAGE);
		n = n < len - done ? n : len - done;
		if (s->t->ops->read(s->t, at + done, chunk, n, NULL) == 0 && search_words(s, at + done, chunk, n))
			return true;
	}
	return false;
}

static bool search_area(struct search *s, const struct lp_area *a, lp_addr start, uint8_t *chunk)
{
	for (lp_addr at = start; at < a->range.end; at += CHUNK) {
		size_t len = a->range.end - at < CHUNK ? (size_t)(a->range.end - at) : CHUNK;
		if (search_chunk(s, at, len, chunk))
			return true;
	}
	return false;
}

/* Writable, or private memory that may have been written before it was protected. */
static bool may_hold_pointers(const struct lp_area *a)
{
	return (a->prot & LP_PROT_WRITE) || (a->is_private && a->prot == LP_PROT_READ);
}

/* The ledger names every room; it is ours, not the program's. */
static bool is_ledger(const struct lp_area *a)
{
	static const char name[] = "memfd:livepatch-ledger";
	return strncmp(a->name, name, sizeof name - 1) == 0;
}

static bool pointed_to(struct search *s)
{
	uint8_t *chunk = lp_alloc(CHUNK);
	struct lp_area a, below = {0};
	bool found = false;
	for (lp_addr from = 0; !found && s->t->ops->next_area(s->t, from, &a, NULL) == 0; from = a.range.end, below = a)
		if (may_hold_pointers(&a) && !is_ledger(&a) && !in_rooms(s, a.range.start) &&
		    !is_source(s, a.range.start))
			found = search_area(s, &a, live_start(s, &a, &below), chunk);
	lp_free(chunk);
	return found;
}

/* The run-time library points to the tables it knows; false: some must stay known. */
static bool forget_frames(struct lp_target *t, const struct lp_ledger_entry *entries, size_t nr)
{
	bool all = true;
	for (size_t i = 0; i < nr; i++)
		for (size_t k = 0; k < entries[i].nr_rooms && all; k++) {
			const struct lp_entry_room *r = &entries[i].rooms[k];
			if (r->kind == LP_ROOM_PATCH && r->handle)
				all = lp_frames_forget(t, r->range, r->handle);
		}
	return all;
}

/* The code stays, and may throw. */
static void remember_frames(struct lp_target *t, const struct lp_ledger_entry *entries, size_t nr,
			    const struct lp_apply_opts *opts)
{
	for (size_t i = 0; i < nr; i++)
		for (size_t k = 0; k < entries[i].nr_rooms; k++) {
			const struct lp_entry_room *r = &entries[i].rooms[k];
			if (r->kind == LP_ROOM_PATCH && r->handle)
				lp_frames_register(t, r->range, r->handle, opts->timeout_ms, NULL);
		}
}

static void note_tables(struct search *s, const struct lp_entry_room *r)
{
	struct lp_room_trailer trailer;
	lp_addr object = r->range.end - LP_FRAMES_OBJECT, at = r->range.end - sizeof trailer;
	if (!r->handle || s->t->ops->read(s->t, at, &trailer, sizeof trailer, NULL) < 0 ||
	    trailer.magic != LP_ROOM_TRAILER_MAGIC || trailer.eh_frame != r->handle ||
	    trailer.len > object - trailer.eh_frame)
		return;
	lp_vec_push(&s->tables, ((struct lp_range){trailer.eh_frame, trailer.eh_frame + trailer.len}));
	lp_vec_push(&s->tables, ((struct lp_range){object, r->range.end}));
	/* libgcc 13 and later know tables by the first byte of their code. */
	lp_vec_push(&s->tables, ((struct lp_range){r->range.start, r->range.start + 1}));
}

static void note_rooms(struct search *s, struct lp_quiesce *q, const struct lp_ledger_entry *e, bool tables_too)
{
	for (size_t k = 0; k < e->nr_rooms; k++) {
		const struct lp_entry_room *r = &e->rooms[k];
		if (r->kind == LP_ROOM_SOURCE)
			lp_vec_push(&s->sources, r->range);
		if (!is_own(r->kind))
			continue;
		lp_vec_push(&s->rooms, r->range);
		lp_quiesce_watch(q, r->range, LP_WATCH_ROOM, r->name);
		if (!tables_too && r->kind == LP_ROOM_PATCH)
			note_tables(s, r);
	}
}

/* `tables_too`: also not to unwind tables in the rooms. */
static bool nobody_points_there(struct lp_target *t, const struct lp_ledger_entry *entries, size_t nr,
				const struct lp_apply_opts *opts, bool tables_too)
{
	struct search s = {.t = t};
	struct lp_quiesce q = {.t = t, .timeout_ms = opts->timeout_ms, .interrupted = opts->interrupted};
	for (size_t i = 0; i < nr; i++)
		note_rooms(&s, &q, &entries[i], tables_too);
	struct lp_quiesce_stats stats;
	struct lp_err err = {0};
	bool unused = true;
	if (s.rooms.nr) {
		t->ops->refresh(t);
		if (lp_quiesce_run(&q, note_stacks, &s, &stats, &err) < 0) {
			lp_warn("patch memory is kept: %s", err.text);
			unused = false;
		} else if (pointed_to(&s)) {
			char text[256];
			lp_warn("patch memory is kept: the word at " LP_ADDR " (%s) points into it", s.where,
				lp_target_describe(t, s.where, text, sizeof text));
			unused = false;
		}
	}
	lp_quiesce_free(&q);
	lp_vec_free(&s.rooms);
	lp_vec_free(&s.sources);
	lp_vec_free(&s.tables);
	lp_vec_free(&s.sps);
	return unused;
}

bool lp_rooms_unused(struct lp_target *t, const struct lp_ledger_entry *entries, size_t nr,
		     const struct lp_apply_opts *opts)
{
	if (!nobody_points_there(t, entries, nr, opts, false))
		return false;
	bool unused = forget_frames(t, entries, nr) && nobody_points_there(t, entries, nr, opts, true);
	if (!unused)
		remember_frames(t, entries, nr, opts);
	return unused;
}

int lp_drop_rooms(struct lp_target *t, const struct lp_ledger_entry *e, bool own_too, struct lp_err *err)
{
	LP_VEC(struct lp_range) gone = {0};
	for (size_t i = 0; i < e->nr_rooms; i++) {
		const struct lp_entry_room *r = &e->rooms[i];
		bool goes = lp_room_goes_with_jumps(r->kind) || (own_too && is_own(r->kind));
		if (goes && r->kind == LP_ROOM_PATCH && r->handle)
			goes = lp_frames_forget(t, r->range, r->handle);
		if (goes)
			lp_vec_push(&gone, r->range);
	}
	int rc = gone.nr ? t->ops->drop_rooms(t, e->id, gone.items, gone.nr, err) : 0;
	lp_vec_free(&gone);
	return rc;
}

/* After the record is gone: killed in between, the library stays loaded, which beats closing it twice. */
static int close_handles(struct lp_target *t, const struct lp_ledger_entry *e, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < e->nr_rooms && rc == 0; i++)
		if (e->rooms[i].kind == LP_ROOM_HANDLE)
			rc = t->ops->dlclose(t, e->rooms[i].handle, 5000, err);
	return rc;
}

static size_t bytes_kept(const struct lp_ledger_entry *e)
{
	size_t sum = 0;
	for (size_t i = 0; i < e->nr_rooms; i++)
		if (!lp_room_goes_with_jumps(e->rooms[i].kind))
			sum += (size_t)(e->rooms[i].range.end - e->rooms[i].range.start);
	return sum;
}

/* An entry that is reverted already had its places taken out of the index and its dependencies given back. */
static int leave_index(struct lp_ledger *l, struct lp_ledger_entry *e, struct lp_err *err)
{
	int rc = lp_ledger_index_remove(l, e, err);
	if (rc == 0 && e->state != LP_REVERTED)
		rc = lp_ledger_add_dependents(l, e, -1, err);
	e->state = LP_REVERTED;
	return rc;
}

int lp_retire(struct lp_ledger *l, struct lp_ledger_entry *e, bool drop_all, size_t *kept_bytes, struct lp_err *err)
{
	int rc = leave_index(l, e, err);
	rc = rc ? rc : lp_drop_rooms(l->t, e, drop_all, err);
	if (rc < 0)
		return rc;
	size_t kept = drop_all ? 0 : bytes_kept(e);
	*kept_bytes += kept;
	if (kept)
		return lp_ledger_index_add(l, e, err);
	rc = lp_ledger_remove(l, e->off, err);
	return rc ? rc : close_handles(l->t, e, err);
}

int lp_abandon(struct lp_ledger *l, uint64_t off, struct lp_err *err)
{
	struct lp_ledger_entry e;
	int rc = lp_ledger_read(l, off, &e, err);
	if (rc < 0)
		return rc;
	/* Its share of the index and of its dependencies' counts may be half entered: rebuild once it is gone. */
	rc = lp_drop_rooms(l->t, &e, true, err);
	rc = rc ? rc : lp_ledger_remove(l, off, err);
	rc = rc ? rc : lp_ledger_rebuild(l, err);
	rc = rc ? rc : lp_ledger_end(l, err);
	lp_ledger_entry_free(&e);
	return rc;
}
