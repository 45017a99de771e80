/* Slots: where the code of each guest pc begins. */
#include "jit/private.h"

#include <string.h>

/* Buckets: what is near in the guest is near in the table, or each entry touches a page of it. */
enum { OF_A_PAGE = 64 };

static size_t hash(uint64_t pc)
{
	return lp_page_bucket(pc, LP_SLOT_BUCKETS / OF_A_PAGE) * OF_A_PAGE + (pc >> 2) % OF_A_PAGE;
}

static _Atomic bool *used_page(struct lp_jit *jit, size_t bucket)
{
	return &jit->slots_used[bucket * sizeof jit->slots[0] / LP_GUEST_PAGE];
}

struct lp_jit_slot *lp_jit_slot_find(struct lp_jit *jit, uint64_t pc)
{
	size_t bucket = hash(pc);
	struct lp_jit_slot *s;

	/* Who reads an untouched page first faults twice: for zeros, and for a page of its own when it writes. */
	if (!atomic_load_explicit(used_page(jit, bucket), memory_order_relaxed))
		return NULL;
	s = atomic_load_explicit(&jit->slots[bucket], memory_order_acquire);
	while (s && s->pc != pc)
		s = atomic_load_explicit(&s->next, memory_order_acquire);
	return s;
}

static uint8_t *stub_of(struct lp_jit *jit, const struct lp_jit_slot *slot)
{
	return jit->slot_stubs + (size_t)(slot - jit->slot_array) * LP_STUB;
}

/* Of the next slots.  What they are depends on nothing but their place, so that processes that share the memory since a
 * fork may both write them. */
static void write_stubs(struct lp_jit *jit)
{
	uint8_t *at = jit->slot_stubs_rw + jit->nr_stubs * LP_STUB;
	struct lp_x86 x = {.run_offset = jit->slot_stubs - jit->slot_stubs_rw};

	lp_code_populate(at, LP_STUBS_AT_ONCE * LP_STUB, true);
	lp_code_populate(&jit->slot_array[jit->nr_stubs], LP_STUBS_AT_ONCE * sizeof jit->slot_array[0], true);

	for (size_t i = 0; i < LP_STUBS_AT_ONCE; i++) {
		x.at = at + i * LP_STUB;
		x.end = x.at + LP_STUB;
		lp_x86_lea(&x, 1, LP_RAX, lp_rm_abs(&jit->slot_array[jit->nr_stubs + i]));
		lp_x86_jmp(&x, jit->stubs.miss);
	}
	jit->nr_stubs += LP_STUBS_AT_ONCE;
}

struct lp_jit_slot *lp_jit_slot_of(struct lp_jit *jit, uint64_t pc)
{
	_Atomic(struct lp_jit_slot *) *bucket = &jit->slots[hash(pc)];
	struct lp_jit_slot *s = lp_jit_slot_find(jit, pc), *first = NULL;

	if (s || jit->nr_slots >= jit->max_slots)
		return s;
	if (jit->nr_slots == jit->nr_stubs)
		write_stubs(jit);
	s = &jit->slot_array[jit->nr_slots++];
	s->pc = pc;
	lp_jit_count_anew(jit, s);
	atomic_init(&s->unit, NULL);
	atomic_init(&s->code, stub_of(jit, s));
	if (atomic_load_explicit(used_page(jit, hash(pc)), memory_order_relaxed))
		first = atomic_load_explicit(bucket, memory_order_relaxed);
	atomic_init(&s->next, first);
	atomic_store_explicit(bucket, s, memory_order_release);
	atomic_store_explicit(used_page(jit, hash(pc)), true, memory_order_release);
	return s;
}

void lp_jit_slots_forget(struct lp_jit *jit)
{
	memset(jit->slots, 0, sizeof jit->slots);
	jit->nr_slots = 0;
}

void lp_jit_slot_empty(struct lp_jit *jit, struct lp_jit_slot *slot)
{
	atomic_store_explicit(&slot->code, stub_of(jit, slot), memory_order_release);
	atomic_store_explicit(&slot->unit, NULL, memory_order_release);
	lp_jit_count_anew(jit, slot);
}
