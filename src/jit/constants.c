/* Constants of vectors: each of them stands in memory once. */
#include "jit/emit.h"
#include "jit/private.h"

static size_t bucket(uint64_t low, uint64_t high)
{
	return ((low ^ high >> 7) + (high << 31)) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - __builtin_ctz(LP_CONSTANTS));
}

const struct lp_constant *lp_constant_of(struct lp_jit *jit, uint64_t low, uint64_t high)
{
	size_t i = bucket(low, high);

	for (; jit->has_constant[i]; i = (i + 1) % LP_CONSTANTS)
		if (jit->constants[i].low == low && jit->constants[i].high == high)
			return &jit->constants[i];
	if (jit->nr_constants == LP_CONSTANTS / 2) /* so that one is found soon */
		return NULL;
	jit->nr_constants++;
	jit->has_constant[i] = true;
	jit->constants[i] = (struct lp_constant){low, high};
	return &jit->constants[i];
}

struct lp_x86_rm lp_constant(struct lp_tr *t, uint64_t low, uint64_t high)
{
	const struct lp_constant *c = lp_constant_of(t->jit, low, high);

	if (c)
		return lp_rm_abs(c);
	t->failed = true;
	return lp_cpu_v(0);
}
