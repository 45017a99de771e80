/*
 * The unwind tables of the patch's functions, picked out of those of the linked program; private to kpatch_*.c.
 */
#ifndef LP_BUILD_KPATCH_EH_FRAME_H
#define LP_BUILD_KPATCH_EH_FRAME_H

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

/* A pointer in the tables: what it points to, by its address in the linked program. */
struct eh_pointer {
	uint64_t at; /* offset in the new table */
	uint64_t to;
	uint8_t width;
	bool relative;	  /* to its own place */
	bool personality; /* of a CIE */
};

struct eh_tables {
	struct lp_buf bytes; /* ended by four zeros when there is any */
	LP_VEC(struct eh_pointer) pointers;
	bool handlers; /* some function has an exception table */
};

/* `bytes` is .eh_frame at address `vaddr`; functions in [low, high) are taken. */
int eh_tables_pick(const uint8_t *bytes, size_t len, uint64_t vaddr, uint64_t low, uint64_t high, struct eh_tables *out,
		   struct lp_err *err);
void eh_tables_free(struct eh_tables *t);

#endif
