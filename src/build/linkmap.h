/*
 * The linker's map: which section of which object went where.
 *
 *     struct lp_linkmap map;
 *     rc = lp_linkmap_parse(&map, text, len, err);
 *     ... map.rows, in the order of the file ...
 *     lp_linkmap_free(&map);
 *
 * Understands what GNU ld (bfd and gold), lld and mold print.  Rows of sections that are not loaded (debug information) and of
 * sections that the linker dropped are left out; of a map of `ld -r`, where every output section begins at 0, all are kept
 * and addresses are offsets.  A line that is not understood is passed over: what stands there is then unknown.
 */
#ifndef LP_BUILD_LINKMAP_H
#define LP_BUILD_LINKMAP_H

#include "base/err.h"
#include "base/vec.h"

struct lp_linkmap_row {
	char *file;    /* as the linker names it: an object, or an archive */
	char *member;  /* of the archive; NULL = file is the object */
	char *section; /* the input section */
	char *output;  /* the section it went into */
	uint64_t addr, size;
};

struct lp_linkmap {
	LP_VEC(struct lp_linkmap_row) rows;
};

int lp_linkmap_parse(struct lp_linkmap *out, const char *text, size_t len, bool relocatable, struct lp_err *err);
void lp_linkmap_free(struct lp_linkmap *map);

#endif
