#include "self/maps.h"

#include <fcntl.h>
#include <string.h>

#include "base/fdio.h"

#define MAPS_MAX (64u << 20)
#define LOWEST 0x10000 /* what kernels let programs map, with the usual vm.mmap_min_addr */
#define HIGHEST (UINT64_C(1) << 47)

static bool hex(const char **p, lp_addr *out)
{
	const char *start = *p;

	for (*out = 0;; (*p)++) {
		char c = **p;

		if (c >= '0' && c <= '9')
			*out = *out << 4 | (lp_addr)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*out = *out << 4 | (lp_addr)(c - 'a' + 10);
		else
			return *p != start;
	}
}

/* 55d0c0a1c000-55d0c0a1d000 r-xp 00001000 fd:01 1234   /path */
static bool parse_line(const char *line, const char *end, struct lp_self_map *m)
{
	static const char heap[] = "[heap]";
	const char *p = line;

	if (!hex(&p, &m->range.start) || *p++ != '-' || !hex(&p, &m->range.end) || *p++ != ' ' || end - p < 4)
		return false;
	m->exec = p[2] == 'x';
	m->heap = end - line > (ptrdiff_t)sizeof heap && !memcmp(end - strlen(heap), heap, strlen(heap));
	return m->range.start < m->range.end;
}

int lp_self_maps_read(struct lp_self_maps *m, struct lp_err *err)
{
	struct lp_buf text = {0};
	int rc = lp_read_file("/proc/self/maps", &text, MAPS_MAX, err);

	*m = (struct lp_self_maps){0};
	lp_buf_add(&text, "", 1);
	for (const char *line = (const char *)text.data, *end; !rc && (end = strchr(line, '\n')); line = end + 1) {
		struct lp_self_map map;

		if (parse_line(line, end, &map))
			lp_vec_push(&m->all, map);
	}
	lp_buf_free(&text);
	return rc;
}

void lp_self_maps_free(struct lp_self_maps *m)
{
	lp_vec_free(&m->all);
}

int lp_self_maps_check(const struct lp_self_maps *m, lp_addr at, size_t len, struct lp_err *err)
{
	lp_addr next = at, end = at + len;

	for (size_t i = 0; i < m->all.nr && next < end; i++) {
		const struct lp_self_map *map = &m->all.items[i];

		if (!lp_range_has(map->range, next))
			continue;
		if (!map->exec)
			return lp_fail(err, LP_ENOTCODE, LP_ADDR " is not executable", next);
		next = map->range.end;
	}
	return next >= end ? 0 : lp_fail(err, LP_EUNMAPPED, LP_ADDR " is not mapped", next);
}

static uint64_t distance(lp_addr a, lp_addr b)
{
	return a > b ? a - b : b - a;
}

/* The place in a free range that is nearest to `near`. */
static lp_addr place_in(struct lp_range hole, lp_addr near, size_t size)
{
	if (hole.end <= near)
		return hole.end - size;
	return hole.start > near ? hole.start : near;
}

lp_addr lp_self_maps_gap(const struct lp_self_maps *m, lp_addr near, uint64_t reach, size_t size)
{
	struct lp_range hole = {LOWEST, 0};
	lp_addr best = 0;

	for (size_t i = 0; i <= m->all.nr; i++) {
		const struct lp_self_map *next = i < m->all.nr ? &m->all.items[i] : NULL;
		lp_addr at;

		hole.end = next ? next->range.start : HIGHEST;
		/* The heap keeps the space into which it grows. */
		if (hole.end > hole.start && hole.end - hole.start >= size && !(i && m->all.items[i - 1].heap)) {
			at = place_in(hole, near, size);
			if (distance(at, near) < reach && distance(at + size, near) < reach &&
			    (!best || distance(at, near) < distance(best, near)))
				best = at;
		}
		if (next)
			hole.start = next->range.end;
	}
	return best;
}

lp_addr lp_self_maps_end(const struct lp_self_maps *m, lp_addr at)
{
	size_t low = 0, high = m->all.nr;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (at >= m->all.items[middle].range.end)
			low = middle + 1;
		else
			high = middle;
	}
	return low < m->all.nr && lp_range_has(m->all.items[low].range, at) ? m->all.items[low].range.end : 0;
}
