/* The mappings of this process, ascending, as /proc/self/maps tells them. */
#ifndef LP_SELF_MAPS_H
#define LP_SELF_MAPS_H

#include "base/err.h"
#include "base/vec.h"

struct lp_self_map {
	struct lp_range range;
	bool exec;
	bool heap; /* grows upwards */
};

struct lp_self_maps {
	LP_VEC(struct lp_self_map) all;
};

int lp_self_maps_read(struct lp_self_maps *m, struct lp_err *err);
void lp_self_maps_free(struct lp_self_maps *m);

/* 0 when [at, at + len) is executable throughout; -LP_EUNMAPPED, -LP_ENOTCODE. */
int lp_self_maps_check(const struct lp_self_maps *m, lp_addr at, size_t len, struct lp_err *err);

/* The nearest free place of `size` bytes, no byte of it farther than `reach` from near; 0 when there is none. */
lp_addr lp_self_maps_gap(const struct lp_self_maps *m, lp_addr near, uint64_t reach, size_t size);

/* Where the mapping around `at` ends; 0 when there is none.  Allocates nothing. */
lp_addr lp_self_maps_end(const struct lp_self_maps *m, lp_addr at);

#endif
