/*
 * Names to numbers: a hash table of strings that it keeps copies of.
 * Zero-initialise.  One thread at a time.
 */
#ifndef LP_API_NAMES_H
#define LP_API_NAMES_H

#include "base/addr.h"

struct lp_names {
	struct lp_name {
		char *name; /* NULL = free */
		uint64_t number;
	} * slots;
	size_t nr, size; /* size is a power of two, or 0 */
};

/* False, and nothing changed, when the name is there already. */
bool lp_names_add(struct lp_names *n, const char *name, uint64_t number);
bool lp_names_find(const struct lp_names *n, const char *name, size_t len, uint64_t *number);
void lp_names_remove(struct lp_names *n, const char *name);
void lp_names_free(struct lp_names *n);
size_t lp_names_bytes(const struct lp_names *n);

#endif
