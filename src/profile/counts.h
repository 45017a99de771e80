/* How often each text was seen; bounded, for it is the guest that makes them up. */
#ifndef LP_PROFILE_COUNTS_H
#define LP_PROFILE_COUNTS_H

#include "base/buf.h"
#include "base/vec.h"

/* Distinct texts; what comes beyond them is counted as `lost`. */
enum { LP_COUNTS_MAX = 1 << 17 };

struct lp_count {
	char *text;
	uint64_t nr;
};

/* Zeroed to begin with. */
struct lp_counts {
	LP_VEC(struct lp_count) all;
	uint32_t *slots; /* index in `all` plus one, 0 = free; a power of two of them */
	size_t nr_slots;
	uint64_t lost;
};

void lp_counts_add(struct lp_counts *counts, const char *text);
/* "TEXT NR" lines in the order of the texts, and "[too many stacks] NR" when some were lost.  Sorts. */
void lp_counts_print(struct lp_counts *counts, struct lp_buf *out);
void lp_counts_free(struct lp_counts *counts);

#endif
