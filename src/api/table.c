#include "api/table.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/vec.h"

/*
 * Entries are found by linear probing from the place where their instruction
 * belongs: eight instructions that are neighbours share a line of the cache,
 * and lines are scattered.  An entry holds the low half of the instruction's
 * number, which is nearly always all of it, and the patch's.
 *
 * Patches lie in chunks that never move, found through a directory of two
 * levels whose first never moves either: a patch that reaches from one shard
 * into the next can be read by who holds the second alone.
 */
enum {
	SHARDS_SHIFT = 5,
	SHARDS = 1 << SHARDS_SHIFT,
	PAGE_SHIFT = 12,
	CHUNK = 128,
	CHUNKS = 512,
	DIRECTORIES = 512,
	SLOTS_MIN = 16,
};

_Static_assert(CHUNK *CHUNKS *DIRECTORIES == LP_TABLE_MAX, "what fits in one shard");

struct slot {
	uint32_t tag; /* low half of the instruction's number */
	uint32_t id;  /* the patch's, plus one; 0 = free */
};

/* The patch comes first: the address of the one is that of the other. */
union cell {
	struct lp_patch patch;
	union cell *next; /* of the free ones */
};

struct shard {
	pthread_mutex_t lock;
	struct slot *slots;
	unsigned slots_shift; /* log2 of how many there are */
	size_t used;
	union cell **chunks[DIRECTORIES];
	uint32_t made; /* cells that were ever handed out */
	size_t nr;     /* patches that begin here */
	union cell *unused;
	struct lp_tally tally;
	uint8_t apart[64]; /* from the next one's lock, in the cache */
};

struct lp_table {
	unsigned insn_shift;
	bool shared;
	unsigned nr;
	struct shard *shards;
};

/* ---- shards ---- */

static uint64_t scatter(uint64_t v)
{
	return v * UINT64_C(0x9e3779b97f4a7c15);
}

static unsigned shard_number(const struct lp_table *t, lp_addr at)
{
	return t->nr == 1 ? 0 : (unsigned)(scatter(at >> PAGE_SHIFT) >> (64 - SHARDS_SHIFT));
}

static struct shard *shard_of(const struct lp_table *t, lp_addr at)
{
	return &t->shards[shard_number(t, at)];
}

static uint32_t all_of(const struct lp_table *t)
{
	return t->nr == 1 ? 1 : UINT32_MAX;
}

_Static_assert(SHARDS == 32, "struct lp_held has a bit for each");

static uint32_t shards_of(const struct lp_table *t, lp_addr at, uint64_t size)
{
	lp_addr page = at >> PAGE_SHIFT, last = (at + (size ? size - 1 : 0)) >> PAGE_SHIFT;
	uint32_t set = 0;

	if (last - page >= SHARDS)
		return all_of(t);
	for (; page <= last; page++)
		set |= 1u << shard_number(t, page << PAGE_SHIFT);
	return set;
}

static struct lp_held lock_set(struct lp_table *t, uint32_t set)
{
	if (t->shared) {
		for (uint32_t rest = set; rest; rest &= rest - 1)
			pthread_mutex_lock(&t->shards[__builtin_ctz(rest)].lock);
	}
	return (struct lp_held){set};
}

struct lp_held lp_table_lock(struct lp_table *t, lp_addr at, uint64_t size)
{
	return lock_set(t, shards_of(t, at, size));
}

struct lp_held lp_table_lock_all(struct lp_table *t)
{
	return lock_set(t, all_of(t));
}

void lp_table_unlock(struct lp_table *t, struct lp_held held)
{
	if (t->shared) {
		for (uint32_t rest = held.shards; rest; rest &= rest - 1)
			pthread_mutex_unlock(&t->shards[__builtin_ctz(rest)].lock);
	}
}

bool lp_table_holds(const struct lp_table *t, struct lp_held held, const struct lp_patch *p)
{
	return !(shards_of(t, p->at, p->extent) & ~held.shards);
}

/* ---- cells ---- */

static union cell *cell_of(const struct lp_table *t, uint32_t id)
{
	uint32_t local = id >> SHARDS_SHIFT;
	const struct shard *s = &t->shards[id & (SHARDS - 1)];

	return &s->chunks[local / CHUNK / CHUNKS][local / CHUNK % CHUNKS][local % CHUNK];
}

/* The number of a cell is not kept: whoever removes a patch has it from an entry. */
static uint32_t cell_make(struct lp_table *t, unsigned shard)
{
	struct shard *s = &t->shards[shard];
	if (s->made == LP_TABLE_MAX)
		abort(); /* gigabytes of patches in each 32nd page */
	uint32_t local = s->made++;
	union cell ***directory = &s->chunks[local / CHUNK / CHUNKS];

	if (!*directory)
		*directory = lp_alloc(CHUNKS * sizeof **directory);
	if (local % CHUNK == 0)
		(*directory)[local / CHUNK % CHUNKS] = lp_alloc(CHUNK * sizeof(union cell));
	return local << SHARDS_SHIFT | shard;
}

/* ---- entries ---- */

static uint64_t insn_number(const struct lp_table *t, lp_addr at)
{
	return at >> t->insn_shift;
}

static size_t home_of(const struct shard *s, uint32_t tag)
{
	size_t line = (size_t)(scatter(tag >> 3) >> (64 - s->slots_shift + 3));

	return line << 3 | (tag & 7);
}

static size_t mask_of(const struct shard *s)
{
	return ((size_t)1 << s->slots_shift) - 1;
}

static void slot_put(struct shard *s, struct slot new)
{
	size_t i = home_of(s, new.tag);

	while (s->slots[i].id)
		i = (i + 1) & mask_of(s);
	s->slots[i] = new;
}

static void slots_grow(struct shard *s)
{
	struct slot *old = s->slots;
	size_t nr = old ? mask_of(s) + 1 : 0;

	s->slots_shift = old ? s->slots_shift + 1 : (unsigned)__builtin_ctz(SLOTS_MIN);
	s->slots = lp_alloc((mask_of(s) + 1) * sizeof *s->slots);
	for (size_t i = 0; i < nr; i++) {
		if (old[i].id)
			slot_put(s, old[i]);
	}
	lp_free(old);
}

static bool covers(const struct lp_patch *p, lp_addr at)
{
	return at - p->at < p->extent;
}

/* The entry for the instruction at `at`, or NULL. */
static struct slot *slot_find(const struct lp_table *t, lp_addr at)
{
	struct shard *s = shard_of(t, at);
	uint32_t tag = (uint32_t)insn_number(t, at);

	if (!s->slots)
		return NULL;
	for (size_t i = home_of(s, tag); s->slots[i].id; i = (i + 1) & mask_of(s)) {
		if (s->slots[i].tag == tag && covers(&cell_of(t, s->slots[i].id - 1)->patch, at))
			return &s->slots[i];
	}
	return NULL;
}

/* Entries behind the gap move up, those that may: none is ever found beyond a free place. */
static void slot_remove(struct shard *s, struct slot *gone)
{
	size_t gap = (size_t)(gone - s->slots), mask = mask_of(s);

	for (size_t i = (gap + 1) & mask; s->slots[i].id; i = (i + 1) & mask) {
		size_t home = home_of(s, s->slots[i].tag);

		if (((i - home) & mask) >= ((i - gap) & mask)) {
			s->slots[gap] = s->slots[i];
			gap = i;
		}
	}
	s->slots[gap].id = 0;
	s->used--;
}

/* ---- patches ---- */

struct lp_patch *lp_table_find(const struct lp_table *t, lp_addr at)
{
	struct slot *slot = slot_find(t, at);

	return slot ? &cell_of(t, slot->id - 1)->patch : NULL;
}

struct lp_patch *lp_table_overlap(const struct lp_table *t, lp_addr at, uint64_t size)
{
	lp_addr end = at + (size ? size : 1);
	uint64_t step = UINT64_C(1) << t->insn_shift;

	for (lp_addr a = at; a < end; a += step) {
		struct lp_patch *p = lp_table_find(t, a);
		if (p)
			return p;
	}
	return NULL;
}

static void enter(struct lp_table *t, lp_addr at, uint32_t id)
{
	struct shard *s = shard_of(t, at);

	if (!s->slots || 4 * (s->used + 1) > 3 * (mask_of(s) + 1))
		slots_grow(s);
	slot_put(s, (struct slot){(uint32_t)insn_number(t, at), id + 1});
	s->used++;
}

static uint32_t cell_take(struct lp_table *t, unsigned shard)
{
	struct shard *s = &t->shards[shard];
	union cell *c = s->unused;

	if (!c)
		return cell_make(t, shard);
	s->unused = c->next;
	return (uint32_t)c->patch.extent;
}

struct lp_patch *lp_table_add(struct lp_table *t, const struct lp_patch *p)
{
	unsigned shard = shard_number(t, p->at);
	uint32_t id = cell_take(t, shard);
	struct lp_patch *copy = &cell_of(t, id)->patch;

	*copy = *p;
	for (uint64_t offset = 0; offset < p->extent; offset += UINT64_C(1) << t->insn_shift)
		enter(t, p->at + offset, id);
	t->shards[shard].nr++;
	return copy;
}

void lp_table_remove(struct lp_table *t, struct lp_patch *p)
{
	const struct lp_patch gone = *p;
	struct shard *s = shard_of(t, gone.at);
	union cell *c = (union cell *)p;
	uint32_t id = 0;

	for (uint64_t offset = 0; offset < gone.extent; offset += UINT64_C(1) << t->insn_shift) {
		struct slot *slot = slot_find(t, gone.at + offset);
		id = slot->id - 1;
		slot_remove(shard_of(t, gone.at + offset), slot);
	}
	c->patch = (struct lp_patch){.extent = id};
	c->next = s->unused;
	s->unused = c;
	s->nr--;
}

/* ---- all of them ---- */

/* A patch is told from what else its cell may hold by its entry. */
void lp_table_each(const struct lp_table *t, void (*fn)(struct lp_patch *p, void *arg), void *arg)
{
	for (unsigned i = 0; i < t->nr; i++) {
		const struct shard *s = &t->shards[i];

		for (size_t k = 0; s->slots && k <= mask_of(s); k++) {
			if (!s->slots[k].id)
				continue;
			struct lp_patch *p = &cell_of(t, s->slots[k].id - 1)->patch;
			if ((uint32_t)insn_number(t, p->at) == s->slots[k].tag && shard_of(t, p->at) == s)
				fn(p, arg);
		}
	}
}

size_t lp_table_count(const struct lp_table *t)
{
	size_t nr = 0;

	for (unsigned i = 0; i < t->nr; i++)
		nr += t->shards[i].nr;
	return nr;
}

struct lp_tally *lp_table_tally(struct lp_table *t, lp_addr at)
{
	return &shard_of(t, at)->tally;
}

struct lp_tally lp_table_total(const struct lp_table *t)
{
	struct lp_tally total = {0};

	for (unsigned i = 0; i < t->nr; i++) {
		const struct lp_tally *one = &t->shards[i].tally;

		for (unsigned k = 0; k < LP_PATCH_TYPES; k++) {
			total.applied[k] += one->applied[k];
			total.reverted[k] += one->reverted[k];
		}
		total.bytes += one->bytes;
	}
	return total;
}

struct list {
	struct lp_patch **items;
	size_t nr;
};

static void collect(struct lp_patch *p, void *arg)
{
	struct list *l = arg;

	l->items[l->nr++] = p;
}

static int by_address(const void *a, const void *b)
{
	const struct lp_patch *x = *(struct lp_patch *const *)a, *y = *(struct lp_patch *const *)b;

	return x->at < y->at ? -1 : x->at > y->at;
}

struct lp_patch **lp_table_sorted(const struct lp_table *t, size_t *nr)
{
	struct list l = {.items = lp_alloc(lp_table_count(t) * sizeof *l.items)};

	lp_table_each(t, collect, &l);
	qsort(l.items, l.nr, sizeof *l.items, by_address);
	*nr = l.nr;
	return l.items;
}

static size_t shard_bytes(const struct shard *s)
{
	size_t chunks = (s->made + CHUNK - 1) / CHUNK;

	return (s->slots ? (mask_of(s) + 1) * sizeof *s->slots : 0) + chunks * CHUNK * sizeof(union cell) +
	       (chunks + CHUNKS - 1) / CHUNKS * CHUNKS * sizeof(union cell *);
}

size_t lp_table_bytes(const struct lp_table *t)
{
	size_t bytes = sizeof *t + t->nr * sizeof *t->shards;

	for (unsigned i = 0; i < t->nr; i++)
		bytes += shard_bytes(&t->shards[i]);
	return bytes;
}

/* ---- life ---- */

/* A mutex that begins as zeros, as glibc's does, is in memory that begins as zeros: each shard's is a page that nobody
 * touches before there are patches. */
static void init_lock(pthread_mutex_t *lock)
{
	static const union {
		pthread_mutex_t lock;
		char bytes[sizeof(pthread_mutex_t)];
	} initial = {.lock = PTHREAD_MUTEX_INITIALIZER};
	static const char zeros[sizeof initial];

	if (memcmp(zeros, initial.bytes, sizeof zeros) != 0)
		pthread_mutex_init(lock, NULL);
}

struct lp_table *lp_table_new(unsigned insn_align, bool shared)
{
	struct lp_table *t = lp_alloc(sizeof *t);

	t->insn_shift = (unsigned)__builtin_ctz(insn_align);
	t->shared = shared;
	t->nr = shared ? SHARDS : 1;
	t->shards = lp_alloc(t->nr * sizeof *t->shards);
	for (unsigned i = 0; i < t->nr; i++)
		init_lock(&t->shards[i].lock);
	return t;
}

static void shard_free(struct shard *s)
{
	for (uint32_t chunk = 0; chunk * CHUNK < s->made; chunk++)
		lp_free(s->chunks[chunk / CHUNKS][chunk % CHUNKS]);
	for (unsigned i = 0; i < DIRECTORIES; i++)
		lp_free(s->chunks[i]);
	lp_free(s->slots);
	pthread_mutex_destroy(&s->lock);
}

void lp_table_free(struct lp_table *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < t->nr; i++)
		shard_free(&t->shards[i]);
	lp_free(t->shards);
	lp_free(t);
}
