/* Maps of linkers: build systems and linkers of any version write them. */
#include "build/linkmap.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_linkmap map;
	int relocatable = size && data[0] & 1;
	if (lp_linkmap_parse(&map, (const char *)data, size, relocatable, NULL) == 0)
		for (size_t i = 0; i < map.rows.nr; i++)
			if (!map.rows.items[i].file || !map.rows.items[i].section)
				__builtin_trap();
	lp_linkmap_free(&map);
	return 0;
}
