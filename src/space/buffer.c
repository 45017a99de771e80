/*
 * Memory of the caller's that holds code of an emulated machine.
 *
 * Who executes it is not ours to stop: an instruction is one aligned word, and
 * a change of it one store, so that everybody sees the old or the new one.
 * New code is complete before the store that leads to it (release order).
 *
 * Room for new code lies in the same memory.  It is handed out upwards; what
 * was dropped may still be executed by somebody for a while, so it keeps its
 * content and is handed out again only when there is nothing else, oldest
 * first.  When nobody named any room, the middle of the largest run of zeroes
 * is taken: code and data of the guest grow towards it from both ends.
 */
#include "space/code.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/bits.h"
#include "base/vec.h"

enum { WORD = 4, ROOM_ALIGN = 16, CHOOSY = 1024 };

struct room {
	lp_addr start, next, end; /* [start, next) was handed out */
	bool is_found;		  /* nobody named it: only what is still zero may be used */
};

typedef LP_VEC(struct lp_range) ranges;

struct buffer {
	struct lp_code_space space;
	uint8_t *memory;
	pthread_mutex_t lock; /* of what follows */
	LP_VEC(struct room) rooms;
	ranges dropped; /* oldest first */
	ranges unused;	/* was dropped long ago; by address, none touches the next */
	/* Hull of all that was ever handed out, to be asked without the lock. */
	_Atomic lp_addr hull_start, hull_end;
};

static struct buffer *buffer_of(struct lp_code_space *s)
{
	return (struct buffer *)s;
}

/* The one place where an address of the target becomes a pointer. */
static uint32_t *word_at(const struct buffer *b, lp_addr at)
{
	return (uint32_t *)(void *)(b->memory + (at - b->space.range.start));
}

static uint32_t word_get(const struct buffer *b, lp_addr at)
{
	return __atomic_load_n(word_at(b, at), __ATOMIC_ACQUIRE);
}

static void word_put(const struct buffer *b, lp_addr at, uint32_t word)
{
	__atomic_store_n(word_at(b, at), word, __ATOMIC_RELEASE);
}

static int fail_at(struct lp_err *err, int rc, lp_addr at)
{
	if (err)
		err->addr = at;
	return rc;
}

static int check_range(const struct buffer *b, lp_addr at, size_t len, struct lp_err *err)
{
	struct lp_range r = b->space.range;

	if (lp_range_has(r, at) && len <= r.end - at)
		return 0;
	return fail_at(err,
		       lp_fail(err, LP_EOUTSIDE,
			       LP_ADDR " (%zu bytes) is outside of the memory, " LP_ADDR " to " LP_ADDR, at, len,
			       r.start, r.end),
		       at);
}

static int buffer_read(struct lp_code_space *s, lp_addr at, void *data, size_t len, struct lp_err *err)
{
	struct buffer *b = buffer_of(s);
	uint8_t *out = data;
	int rc = check_range(b, at, len, err);

	if (rc)
		return rc;
	while (len) {
		size_t skip = at % WORD, n = WORD - skip < len ? WORD - skip : len;
		uint32_t word = word_get(b, at - skip);

		memcpy(out, (uint8_t *)&word + skip, n);
		out += n;
		at += n;
		len -= n;
	}
	return 0;
}

/* ---- changing words ---- */

/* A word that is to change; `seq` keeps the caller's order among those of one address. */
struct store {
	lp_addr at;
	uint32_t expect, value;
	size_t seq;
};

typedef LP_VEC(struct store) stores;

static bool is_room(struct buffer *b, lp_addr at, size_t len)
{
	struct lp_range wanted = {at, at + len};
	bool found = false;

	if (!lp_range_overlaps(wanted, (struct lp_range){b->hull_start, b->hull_end}))
		return false;
	pthread_mutex_lock(&b->lock);
	for (size_t i = 0; i < b->rooms.nr && !found; i++)
		found = lp_range_overlaps(wanted, (struct lp_range){b->rooms.items[i].start, b->rooms.items[i].next});
	pthread_mutex_unlock(&b->lock);
	return found;
}

static int check_edit(struct buffer *b, const struct lp_code_edit *e, struct lp_err *err)
{
	int rc = check_range(b, e->at, e->len, err);

	if (rc)
		return rc;
	if (e->at % WORD || e->len % WORD || !e->len)
		return fail_at(err,
			       lp_fail(err, LP_EMISALIGNED, LP_ADDR " (%u bytes) is not made of whole instructions",
				       e->at, (unsigned)e->len),
			       e->at);
	if (is_room(b, e->at, e->len))
		return fail_at(err, lp_fail(err, LP_EOVERLAP, LP_ADDR " is room that holds code of a patch", e->at),
			       e->at);
	return 0;
}

static int fail_changed(const struct store *s, uint32_t found, struct lp_err *err)
{
	return fail_at(err,
		       lp_fail(err, LP_ECHANGED, "the word at " LP_ADDR " is %08" PRIx32 ", not %08" PRIx32, s->at,
			       found, s->expect),
		       s->at);
}

static int store_word(const struct buffer *b, const struct store *s, struct lp_err *err)
{
	uint32_t found = s->expect;

	if (__atomic_compare_exchange_n(word_at(b, s->at), &found, s->value, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return 0;
	return fail_changed(s, found, err);
}

static int check_words(const struct buffer *b, const stores *list, struct lp_err *err)
{
	for (size_t i = 0; i < list->nr; i++) {
		uint32_t found = word_get(b, list->items[i].at);

		if (found != list->items[i].expect)
			return fail_changed(&list->items[i], found, err);
	}
	return 0;
}

/* What somebody else changes in this very moment is found by the store itself. */
static int store_words(const struct buffer *b, const stores *list, struct lp_err *err)
{
	int rc = check_words(b, list, err);
	size_t done = 0;

	while (!rc && done < list->nr)
		rc = store_word(b, &list->items[done++], err);
	if (!rc)
		return 0;
	for (done -= done ? 1 : 0; done > 0; done--) {
		const struct store *s = &list->items[done - 1];
		store_word(b, &(struct store){s->at, s->value, s->expect, 0}, NULL);
	}
	return rc;
}

static int add_stores(struct buffer *b, stores *list, const struct lp_code_edit *e, bool undo, struct lp_err *err)
{
	const uint8_t *from = undo ? e->new_bytes : e->old_bytes, *to = undo ? e->old_bytes : e->new_bytes;
	int rc = check_edit(b, e, err);

	for (size_t i = 0; !rc && i < e->len; i += WORD) {
		struct store s = {e->at + i, lp_get32(from + i), lp_get32(to + i), list->nr};
		lp_vec_push(list, s);
	}
	return rc;
}

static int add_all(struct buffer *b, stores *list, const struct lp_code_edit *edits, size_t nr, bool undo,
		   struct lp_err *err)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < nr; i++)
		rc = add_stores(b, list, &edits[i], undo, err);
	return rc;
}

static int by_address(const void *a, const void *b)
{
	const struct store *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Several changes of one word become one. */
static int merge_stores(stores *list, struct lp_err *err)
{
	size_t nr = 0;

	qsort(list->items, list->nr, sizeof *list->items, by_address);
	for (size_t i = 0; i < list->nr; i++) {
		const struct store *s = &list->items[i];
		struct store *last = nr ? &list->items[nr - 1] : NULL;

		if (!last || last->at != s->at)
			list->items[nr++] = *s;
		else if (last->value != s->expect)
			return fail_changed(s, last->value, err);
		else
			last->value = s->value;
	}
	list->nr = nr;
	return 0;
}

static int buffer_exchange(struct lp_code_space *s, struct lp_code_edit *undone, size_t nr_undone,
			   struct lp_code_edit *edits, size_t nr, unsigned flags, struct lp_err *err)
{
	struct buffer *b = buffer_of(s);
	stores list = {0};
	int rc = add_all(b, &list, undone, nr_undone, true, err);

	rc = rc ? rc : add_all(b, &list, edits, nr, false, err);
	if (!rc && nr && nr_undone)
		rc = merge_stores(&list, err);
	rc = rc ? rc : store_words(b, &list, err);
	lp_vec_free(&list);
	return rc;
}

static int change_one(struct buffer *b, const struct lp_code_edit *e, bool undo, struct lp_err *err)
{
	int rc = check_edit(b, e, err);
	uint32_t was = rc ? 0 : lp_get32(e->old_bytes), is = rc ? 0 : lp_get32(e->new_bytes);

	return rc ? rc : store_word(b, &(struct store){e->at, undo ? is : was, undo ? was : is, 0}, err);
}

static int buffer_commit(struct lp_code_space *s, struct lp_code_edit *edits, size_t nr, unsigned flags,
			 struct lp_err *err)
{
	if (nr == 1 && edits->len == WORD)
		return change_one(buffer_of(s), edits, false, err);
	return buffer_exchange(s, NULL, 0, edits, nr, flags, err);
}

static int buffer_undo(struct lp_code_space *s, struct lp_code_edit *edits, size_t nr, unsigned flags,
		       struct lp_err *err)
{
	if (nr == 1 && edits->len == WORD)
		return change_one(buffer_of(s), edits, true, err);
	return buffer_exchange(s, edits, nr, NULL, 0, flags, err);
}

/* ---- room ---- */

static bool is_zero(const struct buffer *b, lp_addr at, size_t size, lp_addr *not_zero)
{
	for (size_t i = 0; i < size; i += WORD) {
		if (word_get(b, at + i)) {
			*not_zero = at + i;
			return false;
		}
	}
	return true;
}

static const struct room *room_over(const struct buffer *b, lp_addr at)
{
	for (size_t i = 0; i < b->rooms.nr; i++) {
		const struct room *r = &b->rooms.items[i];
		if (at >= r->start && at < r->end)
			return r;
	}
	return NULL;
}

/* Where the next room begins, or `end`. */
static lp_addr room_behind(const struct buffer *b, lp_addr at, lp_addr end)
{
	for (size_t i = 0; i < b->rooms.nr; i++) {
		const struct room *r = &b->rooms.items[i];
		if (r->start >= at && r->start < end)
			end = r->start;
	}
	return end;
}

/* The longest run of zeroes in `in`, if it is longer than *best. */
static void look_for_zeroes(const struct buffer *b, struct lp_range in, struct lp_range *best)
{
	lp_addr start = in.start;

	for (lp_addr at = in.start; at < in.end; at += WORD) {
		if (word_get(b, at))
			start = at + WORD;
		else if (at + WORD - start > best->end - best->start)
			*best = (struct lp_range){start, at + WORD};
	}
}

/* The longest run of zeroes in `in` that is no room yet. */
static struct lp_range zeroes(const struct buffer *b, struct lp_range in)
{
	struct lp_range best = {0}, part = in;

	while (part.start < in.end) {
		const struct room *room = room_over(b, part.start);

		part.end = room ? lp_align_up(room->end, WORD) : room_behind(b, part.start, in.end);
		if (!room)
			look_for_zeroes(b, part, &best);
		part.start = part.end;
	}
	return best;
}

/* Where all of [at, at + size) must lie to be in reach of a jump at `near`. */
static struct lp_range reach_of(const struct buffer *b, lp_addr near)
{
	struct lp_range r = b->space.range;
	uint64_t reach = b->space.isa->reach;

	if (!near)
		return r;
	if (near > reach && near - reach > r.start)
		r.start = lp_align_up(near - reach, WORD);
	if (near + reach > near && near + reach < r.end)
		r.end = lp_align_down(near + reach, WORD);
	return r;
}

static bool take_from_room(struct buffer *b, struct room *room, struct lp_range reach, size_t size, lp_addr *out)
{
	lp_addr at = lp_align_up(room->next, ROOM_ALIGN), dirty;

	if (at < reach.start) /* what lies before is lost to nobody: the room is not used there yet */
		return false;
	for (;;) {
		if (at >= room->end || room->end - at < size || at >= reach.end || reach.end - at < size)
			return false;
		if (!room->is_found || is_zero(b, at, size, &dirty))
			break;
		at = lp_align_up(dirty + WORD, ROOM_ALIGN);
	}
	room->next = at + size;
	*out = at;
	return true;
}

static bool take_from_rooms(struct buffer *b, struct lp_range reach, size_t size, lp_addr *out)
{
	for (size_t i = 0; i < b->rooms.nr; i++) {
		if (take_from_room(b, &b->rooms.items[i], reach, size, out))
			return true;
	}
	return false;
}

static int range_by_address(const void *a, const void *b)
{
	const struct lp_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* All that was dropped becomes usable, neighbours one. */
static void recycle(struct buffer *b)
{
	ranges *unused = &b->unused;
	size_t nr = 0;

	for (size_t i = 0; i < b->dropped.nr; i++)
		lp_vec_push(unused, b->dropped.items[i]);
	b->dropped.nr = 0;
	if (unused->nr)
		qsort(unused->items, unused->nr, sizeof *unused->items, range_by_address);
	for (size_t i = 0; i < unused->nr; i++) {
		if (nr && unused->items[nr - 1].end >= unused->items[i].start)
			unused->items[nr - 1].end = unused->items[i].end;
		else
			unused->items[nr++] = unused->items[i];
	}
	unused->nr = nr;
}

static bool take_from_unused(struct buffer *b, struct lp_range reach, size_t size, lp_addr *out)
{
	for (size_t i = 0; i < b->unused.nr; i++) {
		struct lp_range *r = &b->unused.items[i];
		lp_addr at = r->start, end = r->end < reach.end ? r->end : reach.end;

		if (at < reach.start || at >= end || end - at < size)
			continue;
		r->start += size;
		if (r->start == r->end)
			memmove(r, r + 1, (--b->unused.nr - i) * sizeof *r);
		*out = at;
		return true;
	}
	return false;
}

static bool names_rooms(const struct buffer *b)
{
	for (size_t i = 0; i < b->rooms.nr; i++) {
		if (!b->rooms.items[i].is_found)
			return true;
	}
	return false;
}

/* The middle half of the longest run of zeroes in reach: its upper part first, which is the middle itself. */
static bool find_room(struct buffer *b, struct lp_range reach, size_t size)
{
	struct lp_range run = zeroes(b, reach);
	lp_addr quarter = lp_align_down((run.end - run.start) / 4, ROOM_ALIGN), middle;

	if (run.end - run.start < size + ROOM_ALIGN)
		return false;
	middle = lp_align_up(run.start + (run.end - run.start) / 2, ROOM_ALIGN);
	if (quarter < size || quarter < CHOOSY) /* too short to leave anything */
		lp_vec_push(&b->rooms, ((struct room){run.start, run.start, run.end, true}));
	else
		lp_vec_push(&b->rooms, ((struct room){middle, middle, middle + quarter, true}));
	return true;
}

static void widen_hull(struct buffer *b, lp_addr at, size_t size)
{
	if (b->hull_start == b->hull_end) {
		b->hull_start = at;
		b->hull_end = at + size;
	} else if (at < b->hull_start) {
		b->hull_start = at;
	} else if (at + size > b->hull_end) {
		b->hull_end = at + size;
	}
}

static int fail_room(const struct buffer *b, lp_addr near, size_t size, struct lp_err *err)
{
	if (near && b->rooms.nr)
		return fail_at(err,
			       lp_fail(err, LP_EREACH,
				       "no room for %zu bytes of code within reach of a branch at " LP_ADDR, size,
				       near),
			       near);
	return fail_at(err, lp_fail(err, LP_ENOROOM, "no room for %zu bytes of code in the memory", size), near);
}

static bool take_room(struct buffer *b, struct lp_range reach, size_t size, lp_addr *out)
{
	if (take_from_rooms(b, reach, size, out))
		return true;
	recycle(b);
	if (take_from_unused(b, reach, size, out))
		return true;
	return !names_rooms(b) && find_room(b, reach, size) && take_from_rooms(b, reach, size, out);
}

static int buffer_room_make(struct lp_code_space *s, lp_addr near, size_t size, lp_addr *out, struct lp_err *err)
{
	struct buffer *b = buffer_of(s);

	size = lp_align_up(size ? size : 1, ROOM_ALIGN);
	pthread_mutex_lock(&b->lock);
	int rc = take_room(b, reach_of(b, near), size, out) ? 0 : fail_room(b, near, size, err);
	if (!rc)
		widen_hull(b, *out, size);
	pthread_mutex_unlock(&b->lock);
	return rc;
}

static int buffer_room_fill(struct lp_code_space *s, lp_addr at, const void *bytes, size_t len, struct lp_err *err)
{
	struct buffer *b = buffer_of(s);
	int rc = check_range(b, at, len, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < len; i += WORD) {
		uint32_t word = 0;

		memcpy(&word, (const uint8_t *)bytes + i, len - i < WORD ? len - i : WORD);
		word_put(b, at + i, word);
	}
	return 0;
}

static void buffer_room_drop(struct lp_code_space *s, lp_addr at, size_t size)
{
	struct buffer *b = buffer_of(s);
	struct lp_range gone = {at, at + lp_align_up(size ? size : 1, ROOM_ALIGN)};

	pthread_mutex_lock(&b->lock);
	lp_vec_push(&b->dropped, gone);
	pthread_mutex_unlock(&b->lock);
}

static int buffer_room_add(struct lp_code_space *s, lp_addr at, size_t size, struct lp_err *err)
{
	struct buffer *b = buffer_of(s);
	struct room room = {at, at, at + size, false};
	int rc = check_range(b, at, size, err);

	if (rc)
		return rc;
	if (at % WORD || size < WORD)
		return fail_at(err, lp_fail(err, LP_EMISALIGNED, "room begins at an instruction and has one at least"),
			       at);
	pthread_mutex_lock(&b->lock);
	for (size_t i = 0; !rc && i < b->rooms.nr; i++) {
		const struct room *old = &b->rooms.items[i];
		struct lp_range taken = {old->start, old->is_found ? old->next : old->end};
		if (lp_range_overlaps((struct lp_range){at, at + size}, taken))
			rc = fail_at(err, lp_fail(err, LP_EOVERLAP, LP_ADDR " is room already", taken.start),
				     taken.start);
	}
	if (!rc)
		lp_vec_push(&b->rooms, room);
	pthread_mutex_unlock(&b->lock);
	return rc;
}

/* ---- names, and the rest ---- */

static int buffer_resolve(struct lp_code_space *s, const struct lp_addr_expr *e, lp_addr *at, uint64_t *size,
			  struct lp_err *err)
{
	*size = 0;
	if (e->kind != LP_ADDR_INT)
		return lp_fail(err, LP_ENOSYM, "%s: memory of the caller's has no symbols",
			       e->symbol ? e->symbol : e->mem);
	*at = e->number;
	return 0;
}

static bool buffer_function(struct lp_code_space *s, lp_addr at, struct lp_range *out)
{
	return false;
}

/* It has no diverts, and keeps no books about edits. */
static int buffer_disown(struct lp_code_space *s, const struct lp_code_edit *edits, size_t nr, struct lp_err *err)
{
	return 0;
}

static void buffer_close(struct lp_code_space *s)
{
	struct buffer *b = buffer_of(s);

	lp_vec_free(&b->rooms);
	lp_vec_free(&b->dropped);
	lp_vec_free(&b->unused);
	pthread_mutex_destroy(&b->lock);
	lp_free(b);
}

static const struct lp_code_ops buffer_ops = {
	.name = "buffer",
	.read = buffer_read,
	.commit = buffer_commit,
	.undo = buffer_undo,
	.exchange = buffer_exchange,
	.room_make = buffer_room_make,
	.room_fill = buffer_room_fill,
	.room_drop = buffer_room_drop,
	.room_add = buffer_room_add,
	.disown = buffer_disown,
	.resolve = buffer_resolve,
	.function = buffer_function,
	.close = buffer_close,
};

static int check_memory(const void *memory, size_t size, lp_addr base, struct lp_err *err)
{
	if (!memory)
		return lp_fail(err, LP_EUSAGE, "there is no memory");
	if ((uintptr_t)memory % WORD || base % WORD)
		return lp_fail(err, LP_EMISALIGNED,
			       "the memory (%p) and its address (" LP_ADDR ") must be multiples of %d", memory, base,
			       WORD);
	if (size < WORD || base + size < base)
		return lp_fail(err, LP_EOUTSIDE, "%zu bytes at " LP_ADDR " are no memory", size, base);
	return 0;
}

int lp_code_open_buffer(struct lp_code_space **out, void *memory, size_t size, lp_addr base, struct lp_err *err)
{
	int rc = check_memory(memory, size, base, err);

	if (rc)
		return rc;
	struct buffer *b = lp_alloc(sizeof *b);
	b->space = (struct lp_code_space){
		.ops = &buffer_ops,
		.isa = lp_isa_of_guests(),
		.range = {base, base + lp_align_down(size, WORD)},
		.concurrent = true,
	};
	b->memory = memory;
	pthread_mutex_init(&b->lock, NULL);
	*out = &b->space;
	return 0;
}
