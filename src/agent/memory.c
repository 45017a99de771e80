/*
 * May these bytes be read, be written?  Asked of /proc/self/maps: trying would
 * be a fault, and writing back what stands there would lose what another
 * thread writes meanwhile.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/fdio.h"

#define MAPS_MAX (64u << 20)

/* One line; false at the end. */
static bool next_map(const char **line, struct lp_range *range, char perms[5])
{
	unsigned long start, end;

	if (!*line || sscanf(*line, "%lx-%lx %4s", &start, &end, perms) != 3)
		return false;
	*range = (struct lp_range){start, end};
	*line = strchr(*line, '\n');
	*line += *line != NULL;
	return true;
}

static int check(const char *maps, struct lp_range want, bool write, struct lp_err *err)
{
	struct lp_range r;
	char perms[5];

	for (const char *line = maps; want.start < want.end && next_map(&line, &r, perms);) {
		if (!lp_range_has(r, want.start))
			continue;
		if (perms[0] != 'r')
			break;
		if (write && perms[1] != 'w')
			return lp_fail(err, LP_EREADONLY, "memory at " LP_ADDR " cannot be written", want.start);
		want.start = r.end;
	}
	return want.start >= want.end ? 0
				      : lp_fail(err, LP_EUNMAPPED, "memory at " LP_ADDR " cannot be read", want.start);
}

int lp_memory_check(lp_addr at, size_t size, bool write, struct lp_err *err)
{
	struct lp_buf maps = {0};
	int rc = at + size < at ? lp_fail(err, LP_EUNMAPPED, "memory at " LP_ADDR " cannot be read", at) : 0;

	rc = rc ? rc : lp_read_file("/proc/self/maps", &maps, MAPS_MAX, err);
	rc = rc < 0 ? rc : check(lp_buf_cstr(&maps), (struct lp_range){at, at + size}, write, err);
	lp_buf_free(&maps);
	if (rc < 0 && err)
		err->addr = at;
	return rc;
}
