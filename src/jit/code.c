/* Memory for code: written in one mapping, executed in another, never both in one. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/vec.h"
#include "jit/private.h"

enum { SLOTS_SIZE = LP_SLOTS * sizeof(struct lp_jit_slot), STUBS_SIZE = LP_SLOTS * LP_STUB };
enum { CONSTANTS_SIZE = LP_CONSTANTS * sizeof(struct lp_constant) };
enum { COUNTS_SIZE = LP_SLOTS * sizeof(int32_t) };
#define REGION_SIZE (SLOTS_SIZE + CONSTANTS_SIZE + COUNTS_SIZE + STUBS_SIZE + (size_t)LP_SEGMENTS * LP_SEGMENT)
_Static_assert(sizeof(struct lp_jit_slot) == 32, "a slot is half a cache line");

static void *map_private(size_t size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Memory to be written, which can be executed at `rx`.  Without a descriptor: those are the guest's. */
static uint8_t *map_twice(uint8_t *rx, size_t size)
{
	uint8_t *rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (rw == MAP_FAILED)
		return NULL;
	/* A length of 0 asks for another mapping of the same pages (mremap(2)). */
	if (mremap(rw, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, rx) == MAP_FAILED ||
	    mprotect(rx, size, PROT_READ | PROT_EXEC)) {
		munmap(rw, size);
		return NULL;
	}
	return rw;
}

static struct lp_segment *new_segment(struct lp_jit *jit)
{
	size_t nr = atomic_load_explicit(&jit->nr_segments, memory_order_relaxed);
	struct lp_segment *s = &jit->segments[nr];

	if (nr >= jit->max_segments)
		return NULL;
	s->rx = jit->segment_area + nr * LP_SEGMENT;
	s->used = s->populated = 0;
	atomic_init(&s->nr_units, 0);
	if (!s->units)
		s->units = map_private(LP_SEGMENT_UNITS * sizeof s->units[0], PROT_READ | PROT_WRITE);
	if (!s->units)
		return NULL;
	s->rw = map_twice(s->rx, LP_SEGMENT);
	if (!s->rw)
		return NULL;
	atomic_store_explicit(&jit->nr_segments, nr + 1, memory_order_release);
	return s;
}

int lp_code_make(struct lp_jit *jit, struct lp_err *err)
{
	uint8_t *region = map_private(REGION_SIZE, PROT_NONE);

	if (!region)
		return lp_fail_sys(err, errno,
				   "nothing is translated: no address space for it (is there a limit, ulimit -v?)");
	jit->slot_array = (void *)region;
	jit->constants = (void *)(region + SLOTS_SIZE);
	jit->counts = (void *)(region + SLOTS_SIZE + CONSTANTS_SIZE);
	jit->slot_stubs = region + SLOTS_SIZE + CONSTANTS_SIZE + COUNTS_SIZE;
	jit->segment_area = jit->slot_stubs + STUBS_SIZE;
	jit->slot_stubs_rw = map_twice(jit->slot_stubs, STUBS_SIZE);
	if (mprotect(region, SLOTS_SIZE + CONSTANTS_SIZE + COUNTS_SIZE, PROT_READ | PROT_WRITE) ||
	    !jit->slot_stubs_rw || !new_segment(jit))
		return lp_fail_sys(err, errno, "nothing is translated: no memory that can be executed");
	return 0;
}

void lp_code_unmake(struct lp_jit *jit)
{
	if (jit->slot_stubs_rw)
		munmap(jit->slot_stubs_rw, STUBS_SIZE);
	for (size_t i = 0; i < LP_SEGMENTS; i++) {
		if (jit->segments[i].units)
			munmap(jit->segments[i].units, LP_SEGMENT_UNITS * sizeof jit->segments[i].units[0]);
		if (jit->segments[i].rw)
			munmap(jit->segments[i].rw, LP_SEGMENT);
	}
	if (jit->slot_array)
		munmap(jit->slot_array, REGION_SIZE);
}

enum { AT_FIRST = 32 << 10, AT_ONCE = 128 << 10 };

void lp_code_populate(void *start, size_t size, bool write)
{
	enum { POPULATE_READ = 22, POPULATE_WRITE = 23 }; /* Linux 5.14; without them pages come one by one */

	madvise(start, size, write ? POPULATE_WRITE : POPULATE_READ);
}

/* A little at first: a child may need no more. */
static void populate_to(struct lp_segment *s, size_t end)
{
	size_t size = s->populated < AT_ONCE ? AT_FIRST : AT_ONCE;

	if (end <= s->populated || s->populated == LP_SEGMENT)
		return;
	lp_code_populate(s->rw + s->populated, size, true);
	lp_code_populate(s->rx + s->populated, size, false);
	s->populated += size;
}

struct lp_segment *lp_code_room(struct lp_jit *jit, size_t size)
{
	size_t nr = atomic_load_explicit(&jit->nr_segments, memory_order_relaxed);
	struct lp_segment *s = &jit->segments[nr - 1];

	/* The first one is for the stubs. */
	if (nr == 1 || LP_SEGMENT - s->used < size ||
	    atomic_load_explicit(&s->nr_units, memory_order_relaxed) == LP_SEGMENT_UNITS)
		s = new_segment(jit);
	if (s)
		populate_to(s, s->used + LP_PAGE);
	return s;
}

void lp_code_freeze(struct lp_jit *jit)
{
	size_t nr = atomic_load_explicit(&jit->nr_segments, memory_order_relaxed);

	for (size_t i = 1; i < nr; i++)
		jit->segments[i].used = LP_SEGMENT;
}

bool lp_code_has(const struct lp_jit *jit, uint64_t rip)
{
	return rip - (uint64_t)jit->segment_area < (uint64_t)LP_SEGMENTS * LP_SEGMENT;
}

struct lp_unit *lp_code_find(struct lp_jit *jit, uint64_t rip)
{
	size_t index = (rip - (uint64_t)jit->segment_area) / LP_SEGMENT, low = 0, high;
	const struct lp_segment *s;
	struct lp_unit *u;

	if (!lp_code_has(jit, rip) || index >= atomic_load_explicit(&jit->nr_segments, memory_order_acquire))
		return NULL;
	s = &jit->segments[index];
	high = atomic_load_explicit(&s->nr_units, memory_order_acquire);
	while (low < high) {
		size_t middle = (low + high) / 2;
		if ((uint64_t)s->units[middle]->code <= rip)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return NULL;
	u = s->units[low - 1];
	return rip - (uint64_t)u->code < u->size ? u : NULL;
}

/* ---- what belongs to units ---- */

struct lp_kept {
	struct lp_kept *next;
};

void *lp_keep_room(struct lp_jit *jit, size_t size)
{
	struct lp_kept *chunk;

	if ((size_t)(jit->kept_end - jit->kept) >= size)
		return jit->kept;
	chunk = mmap(NULL, AT_ONCE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (chunk == MAP_FAILED)
		return NULL;
	chunk->next = jit->kept_chunks;
	jit->kept_chunks = chunk;
	jit->kept = (char *)(chunk + 1);
	jit->kept_end = (char *)chunk + AT_ONCE;
	return jit->kept;
}

void lp_keep_used(struct lp_jit *jit, void *end)
{
	jit->kept = end;
}

void lp_keep_nothing(struct lp_jit *jit)
{
	while (jit->kept_chunks) {
		struct lp_kept *chunk = jit->kept_chunks;
		jit->kept_chunks = chunk->next;
		munmap(chunk, AT_ONCE);
	}
	jit->kept = jit->kept_end = NULL;
}

void lp_code_release(struct lp_jit *jit, struct lp_segment *s)
{
	/* Another process may execute it still: our mappings go, the memory is not written to again. */
	munmap(s->rw, LP_SEGMENT);
	s->rw = NULL;
	(void)mmap(s->rx, LP_SEGMENT, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	atomic_store_explicit(&s->nr_units, 0, memory_order_relaxed);
}
