/* The units that there are: known by their slots and pages, and forgotten when their code changes. */
#include "jit/cache.h"
#include "jit/private.h"

#include <string.h>

#include "emu/thread.h"

static size_t page_bucket(uint64_t addr)
{
	return lp_page_bucket(addr, LP_UNIT_BUCKETS);
}

void lp_unit_append(struct lp_segment *s, struct lp_unit *u)
{
	size_t nr = atomic_load_explicit(&s->nr_units, memory_order_relaxed);

	s->units[nr] = u;
	atomic_store_explicit(&s->nr_units, nr + 1, memory_order_release);
	s->used += lp_align_up(u->size, 16);
}

static struct lp_jit_made made_of(const struct lp_unit *u)
{
	return (struct lp_jit_made){
		.pc = u->range.start,
		.nr_insns = u->nr_insns,
		.words = u->words,
		.offsets = u->offsets,
		.code = u->code,
		.size = u->size,
		.hot_size = u->hot_size,
		.unit = u,
	};
}

static void tell(struct lp_jit *jit, const struct lp_unit *u)
{
	struct lp_jit_made made = made_of(u);

	made.cold = jit->cold;
	made.nr_cold = jit->nr_cold;
	if (jit->made && !u->interpreted)
		jit->made(&made, jit->made_arg);
	jit->nr_cold = 0; /* what is not translated now but was kept somewhere has none */
}

void lp_jit_each_made(struct lp_emu *emu, void (*made)(const struct lp_jit_made *made, void *arg), void *arg)
{
	struct lp_jit *jit = emu->engine_data;
	const struct lp_segment *shared = &jit->segments[0];

	pthread_mutex_lock(&jit->lock);
	made(&(struct lp_jit_made){.code = shared->rx, .size = LP_PAGE}, arg);
	for (size_t i = 1; i < atomic_load_explicit(&jit->nr_segments, memory_order_relaxed); i++)
		for (size_t k = 0; k < atomic_load_explicit(&jit->segments[i].nr_units, memory_order_relaxed); k++) {
			struct lp_jit_made m = made_of(jit->segments[i].units[k]);
			made(&m, arg);
		}
	pthread_mutex_unlock(&jit->lock);
}

/* In one access: a page of the tables that is read before it is written faults twice. */
#define exchange(place, value) __atomic_exchange_n(place, value, __ATOMIC_RELAXED)

void lp_unit_publish(struct lp_jit *jit, struct lp_unit *u, struct lp_jit_slot *slot)
{
	u->slot = slot;
	u->next = exchange(&jit->pages[page_bucket(u->range.start)], u);
	for (unsigned i = 0; i < u->nr_looked; i++) {
		u->looked[i].unit = u;
		u->looked[i].next = exchange(&jit->looks[page_bucket(u->looked[i].range.start)], &u->looked[i]);
	}
	jit->nr_since++;
	jit->stats.units++;
	jit->stats.insns += u->nr_insns;
	tell(jit, u);
	atomic_store_explicit(&slot->unit, u, memory_order_release);
	if (!u->interpreted && !jit->checks)
		atomic_store_explicit(&slot->code, u->code, memory_order_release);
}

static bool overlaps(struct lp_range a, struct lp_range b)
{
	return a.start < b.end && b.start < a.end;
}

/* Who is in a loop of its own comes to no slot, which alone says that the unit is dead. */
static void ask_to_leave(struct lp_jit *jit, const struct lp_unit *u)
{
	jit->has_dead_loops |= u->is_loop || u->region;
}

void lp_unit_replace(struct lp_jit *jit, struct lp_unit *u)
{
	u->is_dead = true; /* its page finds it so */
	ask_to_leave(jit, u);
	atomic_fetch_add_explicit(&jit->dead_bytes, u->size + sizeof *u, memory_order_relaxed);
}

static void kill_unit(struct lp_jit *jit, struct lp_unit *u)
{
	lp_jit_slot_empty(jit, u->slot);
	u->is_dead = true;
	ask_to_leave(jit, u);
	atomic_fetch_add_explicit(&jit->dead_bytes, u->size + sizeof *u, memory_order_relaxed);
	jit->stats.invalidated++;
}

/* Their own buckets find those units dead, sooner or later. */
static void kill_who_looked(struct lp_jit *jit, struct lp_look **link, struct lp_range range)
{
	for (struct lp_look *look; (look = *link);) {
		if (!look->unit->is_dead && overlaps(look->range, range))
			kill_unit(jit, look->unit);
		if (look->unit->is_dead)
			*link = look->next;
		else
			link = &look->next;
	}
}

static void kill_in_bucket(struct lp_jit *jit, size_t bucket, struct lp_range range)
{
	struct lp_unit **link = &jit->pages[bucket], *u;

	while ((u = *link)) {
		if (u->is_dead || overlaps(u->range, range)) {
			if (!u->is_dead)
				kill_unit(jit, u);
			*link = u->next;
		} else {
			link = &u->next;
		}
	}
	kill_who_looked(jit, &jit->looks[bucket], range);
}

void lp_jit_expect(struct lp_jit *jit, struct lp_range range)
{
	size_t bucket = page_bucket(range.start);

	pthread_mutex_lock(&jit->lock);
	for (const struct lp_unit *u = jit->pages[bucket]; u; u = u->next)
		__builtin_prefetch(u->slot, 1);
	for (const struct lp_look *look = jit->looks[bucket]; look; look = look->next)
		__builtin_prefetch(look->unit);
	pthread_mutex_unlock(&jit->lock);
}

void lp_jit_invalidate(struct lp_jit *jit, struct lp_range range)
{
	/* What begins in the page before may reach into this one; nothing is looked at beyond its own page. */
	lp_addr page = range.start / LP_GUEST_PAGE, last = (range.end - 1) / LP_GUEST_PAGE;

	atomic_fetch_add_explicit(&jit->nr_invalidations, 1, memory_order_acq_rel);
	pthread_mutex_lock(&jit->lock);
	if (last - page >= LP_UNIT_BUCKETS) {
		for (size_t i = 0; i < LP_UNIT_BUCKETS; i++)
			kill_in_bucket(jit, i, range);
	} else {
		for (; page <= last; page++)
			kill_in_bucket(jit, page_bucket(page * LP_GUEST_PAGE), range);
	}
	lp_cache_changed(jit, range);
	if (jit->has_dead_loops)
		lp_threads_leave_code(jit->emu);
	jit->has_dead_loops = false;
	pthread_mutex_unlock(&jit->lock);
}

/* Everything: of one unit alone nobody knows who is in it. */
void lp_jit_flush(struct lp_jit *jit)
{
	size_t nr = atomic_load_explicit(&jit->nr_segments, memory_order_relaxed);

	lp_jit_slots_forget(jit);
	memset(jit->looks, 0, sizeof jit->looks);
	memset(jit->pages, 0, sizeof jit->pages);
	lp_keep_nothing(jit);
	for (size_t i = 1; i < nr; i++)
		lp_code_release(jit, &jit->segments[i]);
	atomic_store_explicit(&jit->nr_segments, 1, memory_order_release);
	atomic_store_explicit(&jit->dead_bytes, 0, memory_order_relaxed);
	jit->nr_since = 0;
	jit->stats.flushed++;
}
