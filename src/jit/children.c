/*
 * What forked children had to translate.  They run what their parent never does (the other way behind its fork), each of
 * them the same, and each would make a segment of its own for it.  So a child notes in a page that it shares with its
 * parent where it had to translate, and the parent has that ready before its next fork.
 *
 * What a child notes is a hint: the parent translates what stands there in its own memory, if it may be executed at all,
 * and no more than the page holds.
 */
#include "jit/private.h"

#include <sys/mman.h>

enum { MOST = 64 }; /* units */

struct lp_reports {
	_Atomic uint32_t nr; /* that were to be noted since the parent has looked */
	_Atomic uint64_t pcs[MOST];
};

static struct lp_reports *own_reports(struct lp_jit *jit)
{
	void *page;

	pthread_mutex_lock(&jit->lock);
	if (!jit->reports) {
		page = mmap(NULL, sizeof *jit->reports, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		jit->reports = page == MAP_FAILED ? NULL : page;
	}
	pthread_mutex_unlock(&jit->lock);
	return jit->reports;
}

static bool has_unit(struct lp_jit *jit, uint64_t pc)
{
	const struct lp_jit_slot *slot = lp_jit_slot_find(jit, pc);

	return slot && atomic_load_explicit(&slot->unit, memory_order_acquire);
}

void lp_children_expect(struct lp_jit *jit)
{
	struct lp_reports *r = own_reports(jit);
	uint32_t nr = r ? atomic_exchange(&r->nr, 0) : 0;

	for (uint32_t i = 0; i < nr && i < MOST; i++) {
		uint64_t pc = atomic_load(&r->pcs[i]);
		if (!has_unit(jit, pc))
			lp_translate(jit, pc, NULL);
	}
}

void lp_children_report(struct lp_jit *jit, uint64_t pc)
{
	struct lp_reports *r = jit->parents_reports;
	uint32_t i;

	/* Whoever has noted enough stays out of the page. */
	if (!r || jit->nr_reported == MOST)
		return;
	jit->nr_reported++;
	i = atomic_fetch_add(&r->nr, 1);
	if (i < MOST)
		atomic_store(&r->pcs[i], pc);
}

void lp_children_forked(struct lp_jit *jit)
{
	if (jit->parents_reports)
		munmap(jit->parents_reports, sizeof *jit->parents_reports);
	jit->parents_reports = jit->reports;
	jit->reports = NULL;
	jit->nr_reported = 0;
}
