/*
 * A target made of our own memory: one data area, ledger extents, rooms at
 * made-up addresses.  Writes can be made to "kill" the writer: from the k-th on
 * every write fails and has no effect, as if the process had died before it.
 */
#ifndef TESTS_FAKE_H
#define TESTS_FAKE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/core.h"
#include "core/ledger.h"

#define FAKE_DATA UINT64_C(0x10000000)
#define FAKE_DATA_SIZE (1u << 20)
#define FAKE_LEDGER UINT64_C(0x20000000)
#define FAKE_ROOMS UINT64_C(0x7000000000)

struct fake_room {
	struct lp_range range;
	uint64_t id;
};

struct fake {
	struct lp_target target;
	uint8_t *data;
	struct {
		struct lp_range range;
		uint8_t *bytes;
	} extents[LP_LEDGER_EXTENTS];
	LP_VEC(struct fake_room) rooms;
	lp_addr next_room;
	uint64_t writes;    /* changes made so far */
	uint64_t die_at;    /* the change that does not happen any more, nor any after it; 0 = never */
	uint64_t fail_at;   /* the first change that fails; 0 = none */
	uint64_t fail_more; /* of those after it fail too */
	bool paused;
	/* the threads that a pause shows; before each pause `move` may change them */
	struct lp_thread *threads;
	size_t nr_threads;
	unsigned pauses;
	void (*move)(struct fake *f);
	lp_addr frames[8];
	int nr_frames; /* what unwinding any thread gives; negative = it fails */
	unsigned unwinds;
};

static inline struct fake *fake_of(struct lp_target *t)
{
	return (struct fake *)t;
}

/* One more change of the target: may it happen? */
static inline int fake_change(struct fake *f, struct lp_err *err)
{
	f->writes++;
	if (f->die_at && f->writes >= f->die_at)
		return lp_fail(err, LP_EGONE, "the writer is dead");
	if (f->fail_at && f->writes >= f->fail_at && f->writes <= f->fail_at + f->fail_more)
		return lp_fail(err, EIO, "change %d fails", (int)f->writes);
	return 0;
}

static inline uint8_t *fake_bytes(struct fake *f, lp_addr at, size_t len)
{
	if (at >= FAKE_DATA && at - FAKE_DATA <= FAKE_DATA_SIZE && len <= FAKE_DATA_SIZE - (at - FAKE_DATA))
		return f->data + (at - FAKE_DATA);
	for (size_t i = 0; i < LP_LEDGER_EXTENTS; i++)
		if (f->extents[i].bytes && lp_range_has(f->extents[i].range, at) && len <= f->extents[i].range.end - at)
			return f->extents[i].bytes + (at - f->extents[i].range.start);
	return NULL;
}

static inline int fake_lock(struct lp_target *t, unsigned timeout_ms, struct lp_err *err)
{
	return 0;
}

static inline void fake_unlock(struct lp_target *t)
{
}

static inline int fake_read(struct lp_target *t, lp_addr at, void *data, size_t len, struct lp_err *err)
{
	uint8_t *p = fake_bytes(fake_of(t), at, len);
	if (!p)
		return lp_fail(err, LP_EUNMAPPED, "no memory at " LP_ADDR, at);
	memcpy(data, p, len);
	return 0;
}

static inline int fake_read_many(struct lp_target *t, const struct lp_range *r, void *const *data, size_t nr,
				 struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < nr && rc == 0; i++)
		rc = fake_read(t, r[i].start, data[i], r[i].end - r[i].start, err);
	return rc;
}

static inline int fake_write(struct lp_target *t, lp_addr at, const void *data, size_t len, struct lp_err *err)
{
	struct fake *f = fake_of(t);
	uint8_t *p = fake_bytes(f, at, len);
	bool room = false;
	for (size_t i = 0; i < f->rooms.nr; i++)
		room = room || lp_range_has(f->rooms.items[i].range, at);
	if (!p && !room)
		return lp_fail(err, LP_EUNMAPPED, "no memory at " LP_ADDR, at);
	/* As the kernel does it: page by page, and we may die between two. */
	const uint8_t *from = data;
	while (len) {
		size_t n = LP_PAGE - (size_t)(at % LP_PAGE);
		n = n < len ? n : len;
		int rc = fake_change(f, err);
		if (rc < 0)
			return rc;
		if (p) {
			memcpy(p, from, n);
			p += n;
		}
		from += n;
		at += n;
		len -= n;
	}
	return 0;
}

static inline int fake_area(struct lp_target *t, lp_addr at, struct lp_area *out, struct lp_err *err)
{
	if (at < FAKE_DATA || at >= FAKE_DATA + FAKE_DATA_SIZE)
		return lp_fail(err, LP_EUNMAPPED, "no area at " LP_ADDR, at);
	*out = (struct lp_area){.range = {FAKE_DATA, FAKE_DATA + FAKE_DATA_SIZE},
				.prot = LP_PROT_READ | LP_PROT_WRITE,
				.is_private = true};
	return 0;
}

static inline int fake_next_area(struct lp_target *t, lp_addr from, struct lp_area *out, struct lp_err *err)
{
	return from < FAKE_DATA + FAKE_DATA_SIZE ? fake_area(t, from < FAKE_DATA ? FAKE_DATA : from, out, err)
						 : -LP_EUNMAPPED;
}

static inline int fake_hole(struct lp_target *t, struct lp_range near, uint64_t reach, uint64_t size,
			    const struct lp_range *taken, size_t nr, lp_addr *out, struct lp_err *err)
{
	lp_addr at = fake_of(t)->next_room;
	for (size_t i = 0; i < nr; i++)
		if (taken[i].end > at)
			at = taken[i].end;
	*out = at;
	return 0;
}

static inline int fake_make_rooms(struct lp_target *t, uint64_t id, const struct lp_room_request *rooms, size_t nr,
				  struct lp_err *err)
{
	struct fake *f = fake_of(t);
	for (size_t i = 0; i < nr; i++) {
		for (size_t k = 0; k < f->rooms.nr; k++)
			if (lp_range_overlaps(f->rooms.items[k].range, rooms[i].range))
				return lp_fail(err, EEXIST, "taken");
		int rc = fake_change(f, err);
		if (rc < 0)
			return rc;
		lp_vec_push(&f->rooms, ((struct fake_room){rooms[i].range, id}));
		if (rooms[i].range.end > f->next_room)
			f->next_room = rooms[i].range.end;
	}
	return 0;
}

static inline int fake_drop_rooms(struct lp_target *t, uint64_t id, const struct lp_range *ranges, size_t nr,
				  struct lp_err *err)
{
	struct fake *f = fake_of(t);
	for (size_t i = 0; i < nr; i++)
		for (size_t k = 0; k < f->rooms.nr; k++)
			if (f->rooms.items[k].id == id && f->rooms.items[k].range.start == ranges[i].start) {
				int rc = fake_change(f, err);
				if (rc < 0)
					return rc;
				f->rooms.items[k] = f->rooms.items[--f->rooms.nr];
			}
	return 0;
}

static inline int fake_ledger_find(struct lp_target *t, unsigned index, struct lp_range *out, struct lp_err *err)
{
	*out = index < LP_LEDGER_EXTENTS ? fake_of(t)->extents[index].range : (struct lp_range){0, 0};
	return 0;
}

static inline int fake_ledger_make(struct lp_target *t, unsigned index, uint64_t size, struct lp_range *out,
				   struct lp_err *err)
{
	struct fake *f = fake_of(t);
	int rc = fake_change(f, err);
	if (rc < 0)
		return rc;
	lp_addr at = FAKE_LEDGER;
	for (unsigned i = 0; i < index; i++)
		at = f->extents[i].range.end + LP_PAGE;
	f->extents[index].range = *out = (struct lp_range){at, at + size};
	f->extents[index].bytes = calloc(1, size);
	return 0;
}

static inline int fake_images(struct lp_target *t, const struct lp_image **images, size_t *nr, struct lp_err *err)
{
	*images = NULL;
	*nr = 0;
	return 0;
}

static inline void fake_refresh(struct lp_target *t)
{
}

static inline int fake_pause(struct lp_target *t, struct lp_err *err)
{
	struct fake *f = fake_of(t);
	assert_false(f->paused);
	f->paused = true;
	f->pauses++;
	if (f->move)
		f->move(f);
	return 0;
}

static inline const struct lp_thread *fake_threads(struct lp_target *t, size_t *nr)
{
	*nr = fake_of(t)->nr_threads;
	return fake_of(t)->threads;
}

static inline int fake_unwind(struct lp_target *t, int tid, lp_addr *frames, size_t max, struct lp_err *err)
{
	struct fake *f = fake_of(t);
	f->unwinds++;
	for (int i = 0; i < f->nr_frames; i++)
		frames[i] = f->frames[i];
	return f->nr_frames;
}

static inline void fake_resume(struct lp_target *t, struct lp_pause_stats *stats)
{
	assert_true(fake_of(t)->paused);
	fake_of(t)->paused = false;
	*stats = (struct lp_pause_stats){.ns = 1};
}

static const struct lp_target_ops fake_ops = {.lock = fake_lock,
					      .unlock = fake_unlock,
					      .read = fake_read,
					      .read_many = fake_read_many,
					      .write = fake_write,
					      .area = fake_area,
					      .next_area = fake_next_area,
					      .near_hole = fake_hole,
					      .make_rooms = fake_make_rooms,
					      .drop_rooms = fake_drop_rooms,
					      .ledger_find = fake_ledger_find,
					      .ledger_make = fake_ledger_make,
					      .images = fake_images,
					      .refresh = fake_refresh,
					      .pause = fake_pause,
					      .threads = fake_threads,
					      .resume = fake_resume,
					      .unwind = fake_unwind};

static inline struct fake *fake_new(void)
{
	struct fake *f = calloc(1, sizeof *f);
	f->target.ops = &fake_ops;
	f->target.isa = &lp_isa_x64;
	f->target.label = strdup("the fake");
	f->data = calloc(1, FAKE_DATA_SIZE);
	f->next_room = FAKE_ROOMS;
	return f;
}

static inline void fake_free(struct fake *f)
{
	for (size_t i = 0; i < LP_LEDGER_EXTENTS; i++)
		free(f->extents[i].bytes);
	lp_vec_free(&f->rooms);
	free(f->target.label);
	free(f->data);
	free(f);
}

#endif
