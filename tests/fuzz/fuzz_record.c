/* Records of compilers' runs, archives and compilation databases: what a build leaves for the builder to read. */
#include <string.h>

#include "build/archive.h"
#include "build/compdb.h"
#include "build/record.h"
#include "fuzz.h"

static void read_record(const uint8_t *data, size_t size)
{
	struct lp_record r;
	if (lp_record_parse(&r, (const char *)data, size, "fuzz", NULL) == 0)
		lp_record_clear(&r);
}

static void read_archive(const uint8_t *data, size_t size)
{
	struct lp_archive a;
	if (lp_archive_parse(&a, data, size, "fuzz", NULL) < 0)
		return;
	for (size_t i = 0; i < a.members.nr; i++)
		if (a.members.items[i].bytes &&
		    (a.members.items[i].bytes < data ||
		     a.members.items[i].len > (size_t)(data + size - a.members.items[i].bytes)))
			__builtin_trap();
	lp_archive_free(&a);
}

static void read_compdb(const uint8_t *data, size_t size)
{
	lp_record_vec records = {0};
	lp_compdb_parse(&records, (const char *)data, size, "/nowhere");
	lp_records_free(&records);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_record(data, size);
	read_archive(data, size);
	read_compdb(data, size);
	return 0;
}
