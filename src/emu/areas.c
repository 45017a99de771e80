#include "emu/areas.h"

#include <string.h>
#include <sys/mman.h>

/* ---- files ---- */

static struct lp_area_file **bucket(struct lp_areas *a, const char *name, uint64_t ino)
{
	uint64_t h = ino;

	for (; *name; name++)
		h = h * 31 + (unsigned char)*name;
	return &a->files[(h * UINT64_C(0x9e3779b97f4a7c15) >> 32) % LP_AREA_BUCKETS];
}

struct lp_area_file *lp_areas_file(struct lp_areas *a, const char *name, uint64_t dev, uint64_t ino)
{
	struct lp_area_file **head = bucket(a, name, ino), *f;

	for (f = *head; f; f = f->next) {
		if (f->dev == dev && f->ino == ino && !strcmp(f->name, name))
			return f;
	}
	f = lp_alloc(sizeof *f);
	*f = (struct lp_area_file){.next = *head, .name = lp_strdup(name), .dev = dev, .ino = ino};
	*head = f;
	return f;
}

struct lp_area_file *lp_areas_nameless(struct lp_areas *a)
{
	/* The kernel's own name for it; no file system has this device number. */
	return lp_areas_file(a, "/dev/zero (deleted)", UINT64_MAX, ++a->nr_nameless);
}

/* ---- questions ---- */

size_t lp_areas_find(const struct lp_areas *a, lp_addr addr)
{
	size_t low = 0, high = a->list.nr;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (a->list.items[mid].range.end > addr)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

struct lp_area *lp_areas_at(const struct lp_areas *a, lp_addr addr)
{
	size_t i = lp_areas_find(a, addr);

	return i < a->list.nr && lp_range_has(a->list.items[i].range, addr) ? &a->list.items[i] : NULL;
}

/* The part of an area that begins at `start`. */
static struct lp_area from(struct lp_area area, lp_addr start)
{
	bool runs_on = area.file->ino || area.file->dev;

	if (runs_on)
		area.offset += start - area.range.start;
	area.range.start = start;
	return area;
}

bool lp_areas_piece(const struct lp_areas *a, struct lp_range range, struct lp_area *out)
{
	size_t i = lp_areas_find(a, range.start);

	if (range.start >= range.end || i == a->list.nr || a->list.items[i].range.start >= range.end)
		return false;
	*out = a->list.items[i];
	if (out->range.start < range.start)
		*out = from(*out, range.start);
	if (out->range.end > range.end)
		out->range.end = range.end;
	return true;
}

bool lp_areas_hole(const struct lp_areas *a, struct lp_range range, struct lp_range *out)
{
	lp_addr at = range.start;
	size_t i = lp_areas_find(a, at);

	while (i < a->list.nr && a->list.items[i].range.start <= at)
		at = a->list.items[i++].range.end;
	if (at >= range.end)
		return false;
	*out = (struct lp_range){at, range.end};
	if (i < a->list.nr && a->list.items[i].range.start < range.end)
		out->end = a->list.items[i].range.start;
	return true;
}

bool lp_areas_cover(const struct lp_areas *a, struct lp_range range)
{
	struct lp_range hole;

	return range.start < range.end && !lp_areas_hole(a, range, &hole);
}

/* ---- changes ---- */

static void insert(struct lp_areas *a, size_t at, const struct lp_area *area)
{
	struct lp_area *items;

	(void)lp_vec_add(&a->list);
	items = a->list.items;
	memmove(&items[at + 1], &items[at], (a->list.nr - 1 - at) * sizeof *items);
	items[at] = *area;
}

static void drop(struct lp_areas *a, size_t at, size_t nr)
{
	struct lp_area *items = a->list.items;

	if (nr)
		memmove(&items[at], &items[at + nr], (a->list.nr - at - nr) * sizeof *items);
	a->list.nr -= nr;
}

/* An area begins at addr, if one holds it. */
static void split(struct lp_areas *a, lp_addr addr)
{
	size_t i = lp_areas_find(a, addr);
	struct lp_area behind;

	if (i == a->list.nr || !lp_range_has_inside(a->list.items[i].range, addr))
		return;
	behind = from(a->list.items[i], addr);
	a->list.items[i].range.end = addr;
	insert(a, i + 1, &behind);
}

void lp_areas_cut(struct lp_areas *a, struct lp_range range)
{
	size_t first, last;

	if (range.start >= range.end)
		return;
	split(a, range.start);
	split(a, range.end);
	first = last = lp_areas_find(a, range.start);
	while (last < a->list.nr && a->list.items[last].range.end <= range.end)
		last++;
	drop(a, first, last - first);
}

static bool goes_on(const struct lp_area *one, const struct lp_area *next)
{
	return one->range.end == next->range.start && one->prot == next->prot && one->flags == next->flags &&
	       one->file == next->file && from(*one, one->range.end).offset == next->offset;
}

/* Joins the area at i with the one behind it when they are one mapping. */
static void join(struct lp_areas *a, size_t i)
{
	struct lp_area *items = a->list.items;

	if (i + 1 >= a->list.nr || !goes_on(&items[i], &items[i + 1]))
		return;
	items[i].range.end = items[i + 1].range.end;
	drop(a, i + 1, 1);
}

void lp_areas_add(struct lp_areas *a, const struct lp_area *area)
{
	size_t i;

	if (area->range.start >= area->range.end)
		return;
	lp_areas_cut(a, area->range);
	i = lp_areas_find(a, area->range.start);
	insert(a, i, area);
	join(a, i);
	if (i > 0)
		join(a, i - 1);
}

void lp_areas_free(struct lp_areas *a)
{
	for (size_t i = 0; i < LP_AREA_BUCKETS; i++) {
		while (a->files[i]) {
			struct lp_area_file *f = a->files[i];
			a->files[i] = f->next;
			lp_free(f->name);
			lp_free(f);
		}
	}
	lp_vec_free(&a->list);
}
