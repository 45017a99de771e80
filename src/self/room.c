/*
 * Memory for code: chunks that are readable and executable and nothing else,
 * each near something that needed one.  Units of 16 bytes, a bit each.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/vec.h"
#include "self/maps.h"
#include "self/private.h"
#include "self/quarantine.h"
#include "self/write.h"

#define UNIT 16
#define CHUNK 65536
#define PLACE_TRIES 8 /* times that somebody else may map something where we wanted to */

struct chunk {
	struct lp_range range;
	uint8_t *used; /* a byte for each unit: 0 or 1 */
};

static LP_VEC(struct chunk) chunks;

static size_t units(size_t size)
{
	return (size + UNIT - 1) / UNIT;
}

/* ---- in a chunk ---- */

/* First unit of `want` free ones in a row, at or behind `from`; false when there are not so many. */
static bool find_run(const struct chunk *c, size_t want, size_t *out)
{
	size_t all = (c->range.end - c->range.start) / UNIT, run = 0;

	for (size_t i = 0; i < all; i++) {
		run = c->used[i] ? 0 : run + 1;
		if (run == want) {
			*out = i + 1 - want;
			return true;
		}
	}
	return false;
}

static bool in_reach(struct lp_range r, lp_addr near)
{
	uint64_t reach = lp_self_isa()->reach;
	uint64_t low = r.start > near ? r.start - near : near - r.start,
		 high = r.end > near ? r.end - near : near - r.end;

	return low < reach && high < reach;
}

static bool take_from_chunk(struct chunk *c, size_t size, lp_addr *out)
{
	size_t first;

	if (!find_run(c, units(size), &first))
		return false;
	memset(c->used + first, 1, units(size));
	*out = c->range.start + first * UNIT;
	return true;
}

static struct chunk *chunk_of(lp_addr at)
{
	for (size_t i = 0; i < chunks.nr; i++) {
		if (lp_range_has(chunks.items[i].range, at))
			return &chunks.items[i];
	}
	return NULL;
}

/* ---- chunks ---- */

static int map_at(lp_addr at, size_t size, lp_addr *out)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | (at ? MAP_FIXED_NOREPLACE : 0);
	void *p = mmap((void *)(uintptr_t)at, size, PROT_READ | PROT_EXEC, flags, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	*out = (lp_addr)(uintptr_t)p;
	if (!at || *out == at)
		return 0;
	munmap(p, size); /* before Linux 4.17, or an emulator: the flag was a wish */
	return -EEXIST;
}

static int place_chunk(lp_addr near, size_t size, lp_addr *out, struct lp_err *err)
{
	struct lp_self_maps maps;
	int rc = lp_self_maps_read(&maps, err);
	lp_addr at;

	if (rc)
		return rc;
	at = lp_align_down(lp_self_maps_gap(&maps, near, lp_self_isa()->reach - LP_PAGE, size), LP_PAGE);
	lp_self_maps_free(&maps);
	if (!at)
		return lp_fail(err, LP_EREACH, "no free memory within reach of a direct jump from " LP_ADDR, near);
	return map_at(at, size, out);
}

static int make_chunk(lp_addr near, bool reach, size_t want, struct lp_err *err)
{
	size_t size = lp_align_up(want > CHUNK ? want : CHUNK, LP_PAGE);
	lp_addr at = 0;
	int rc = -EEXIST;

	for (int i = 0; i < PLACE_TRIES && rc == -EEXIST; i++)
		rc = reach ? place_chunk(near, size, &at, err) : map_at(0, size, &at);
	if (rc == -LP_EREACH)
		return rc;
	if (rc)
		return lp_fail_sys(err, -rc, "cannot map memory for code");
	lp_vec_push(&chunks, ((struct chunk){{at, at + size}, lp_alloc(size / UNIT)}));
	return 0;
}

/* ---- the calls ---- */

static bool take(lp_addr near, bool reach, size_t size, lp_addr *out)
{
	for (size_t i = chunks.nr; i--;) {
		if ((!reach || in_reach(chunks.items[i].range, near)) && take_from_chunk(&chunks.items[i], size, out))
			return true;
	}
	return false;
}

int lp_self_alloc_locked(lp_addr near, bool reach, size_t size, lp_addr *out, struct lp_err *err)
{
	int rc;

	*out = 0;
	if (!size || size > SIZE_MAX / 2)
		return lp_fail(err, LP_ERANGE, "no memory of %zu bytes for code", size);
	if (take(near, reach, size, out))
		return 0;
	rc = make_chunk(near, reach, size, err);
	if (!rc && !take(near, reach, size, out))
		rc = lp_fail(err, LP_EREACH, "memory for code near " LP_ADDR " lies too far away", near);
	return rc;
}

int lp_self_fill_locked(lp_addr at, const void *bytes, size_t len, struct lp_err *err)
{
	const struct chunk *c = chunk_of(at);
	struct lp_writer w;
	int rc;

	if (!c || len > c->range.end - at)
		return lp_fail(err, LP_EOUTSIDE, LP_ADDR " is not memory for code", at);
	rc = lp_writer_open(&w, err);
	if (rc)
		return rc;
	rc = lp_writer_write(&w, at, bytes, len);
	if (!rc)
		rc = lp_writer_sync();
	lp_writer_close(&w);
	return rc ? lp_fail_sys(err, -rc, "cannot write code to " LP_ADDR, at) : 0;
}

void lp_room_release(lp_addr at, size_t size)
{
	struct chunk *c = chunk_of(at);

	if (c)
		memset(c->used + (at - c->range.start) / UNIT, 0, units(size));
}

void lp_self_free_locked(lp_addr at, size_t size)
{
	if (at && size && chunk_of(at))
		lp_quarantine_add(at, size);
}

int lp_self_code_alloc(lp_addr near, bool reach, size_t size, lp_addr *out, struct lp_err *err)
{
	int rc = lp_self_enter(err);

	*out = 0;
	if (rc)
		return rc;
	rc = lp_self_alloc_locked(near, reach, size, out, err);
	lp_self_leave();
	return rc;
}

int lp_self_code_fill(lp_addr at, const void *bytes, size_t len, struct lp_err *err)
{
	int rc = lp_self_enter(err);

	if (rc)
		return rc;
	rc = lp_self_fill_locked(at, bytes, len, err);
	lp_self_leave();
	return rc;
}

void lp_self_code_free(lp_addr at, size_t size)
{
	if (lp_self_enter(NULL))
		return;
	lp_self_free_locked(at, size);
	lp_self_leave();
}
