/* Constants of vectors: each of them stands in memory once. */
#include "jit/emit.h"
#include "jit/private.h"

_Static_assert(LP_CONSTANTS <= UINT16_MAX, "numbers fit in a table of 16 bits");

static size_t bucket(uint64_t low, uint64_t high)
{
	return ((low ^ high >> 7) + (high << 31)) * UINT64_C(0x9e3779b97f4a7c15) >>
	       (64 - __builtin_ctz(LP_CONSTANT_BUCKETS));
}

/* One after the other, so that few pages are touched for few of them. */
const struct lp_constant *lp_constant_of(struct lp_jit *jit, uint64_t low, uint64_t high)
{
	uint16_t *first = &jit->constant_buckets[bucket(low, high)];
	size_t i = *first;

	for (; i; i = jit->next_constant[i - 1])
		if (jit->constants[i - 1].low == low && jit->constants[i - 1].high == high)
			return &jit->constants[i - 1];
	if (jit->nr_constants == LP_CONSTANTS)
		return NULL;
	i = ++jit->nr_constants;
	jit->next_constant[i - 1] = *first;
	*first = (uint16_t)i;
	jit->constants[i - 1] = (struct lp_constant){low, high};
	return &jit->constants[i - 1];
}

struct lp_x86_rm lp_constant(struct lp_tr *t, uint64_t low, uint64_t high)
{
	const struct lp_constant *c = lp_constant_of(t->jit, low, high);

	if (c)
		return lp_rm_abs(c);
	t->failed = true;
	return lp_cpu_v(0);
}
