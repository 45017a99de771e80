/*
 * The text of /proc/PID/maps: the kernel writes it, but the names in it are the
 * program's own.  Whatever comes in, what comes out is sorted, disjoint, and
 * found again; a hole is never where something is mapped.
 */
#include <stdlib.h>

#include "fuzz.h"
#include "proc/proc.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check_order(const struct lp_maps *m)
{
	for (size_t i = 0; i < m->nr; i++) {
		must(m->items[i].range.start < m->items[i].range.end);
		must(i == 0 || m->items[i - 1].range.end <= m->items[i].range.start);
		must(lp_maps_find(m, m->items[i].range.start) == &m->items[i]);
		must(lp_maps_find(m, m->items[i].range.end - 1) == &m->items[i]);
	}
}

static void check_hole(const struct lp_maps *m, uint64_t reach)
{
	lp_addr near = m->nr ? m->items[m->nr / 2].range.start : 0x400000;
	lp_addr at = lp_maps_hole(m, (struct lp_range){near, near + 16}, reach, 2 * LP_PAGE, NULL, 0);
	if (at == 0)
		return;
	struct lp_range hole = {at, at + 2 * LP_PAGE};
	must(at % LP_PAGE == 0 && hole.end > hole.start);
	for (size_t i = 0; i < m->nr; i++)
		must(!lp_range_overlaps(hole, m->items[i].range));
	if (reach) {
		uint64_t far = at > near ? hole.end - near : near + 16 - at;
		must(far <= reach);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_maps m = {0};
	if (lp_maps_parse(&m, (const char *)data, size, NULL) == 0) {
		check_order(&m);
		check_hole(&m, 0);
		check_hole(&m, UINT64_C(1) << 31);
	}
	lp_maps_free(&m);
	return 0;
}
