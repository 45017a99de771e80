/*
 * The text of /proc/PID/maps as the scan for build-ids reads it.  Whatever
 * comes in, what comes out are objects with a path, or a sentence.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "store/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_seen seen = {0};
	struct lp_err err = {0};
	int rc = lp_scan_maps(&seen, (const char *)data, size, &err);
	if ((rc < 0) != (err.text[0] != 0))
		abort();
	for (size_t i = 0; i < seen.objects.nr; i++) {
		const struct lp_seen_object *o = &seen.objects.items[i];
		if (!o->path || o->path[0] != '/' || o->build_id[0] || !lp_seen_name(o))
			abort();
	}
	lp_seen_free(&seen);
	return 0;
}
