/* A library that hooks functions of whoever loads it, and is all that gets loaded. */
#include "base/err.h"
#include "self/self.h"

__attribute__((visibility("default"))) int alone_hook(lp_addr fn, lp_addr replacement, lp_addr *original);

int alone_hook(lp_addr fn, lp_addr replacement, lp_addr *original)
{
	static struct lp_self_hook h;
	struct lp_self_hook *const all[] = {&h};
	int rc;

	h = (struct lp_self_hook){.fn = fn, .replacement = replacement};
	rc = lp_self_prepare(&h, NULL);
	*original = h.original;
	return rc ? rc : lp_self_commit(all, 1, NULL);
}
