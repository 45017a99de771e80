#include "emu/block.h"

#include <pthread.h>
#include <string.h>

#include "base/vec.h"
#include "emu/emu.h"

enum { BUCKET_BITS = 16, NR_BUCKETS = 1 << BUCKET_BITS };

/* One translation.  The uops behind `nr` instructions: one that goes on at the next pc, unless the last never gets there. */
struct block {
	struct lp_slot *slot;
	struct lp_range range;
	struct block *next; /* in its page's bucket, or among the dead */
	size_t nr;
	struct lp_uop uops[];
};

struct lp_blocks {
	struct lp_emu *emu;
	pthread_mutex_t lock; /* everything below but what readers of slots need */
	_Atomic(struct lp_slot *) slots[NR_BUCKETS];
	struct block *pages[NR_BUCKETS]; /* live blocks by page */
	struct block *dead;
	struct lp_block_stats stats;
};

/* ---- slots ---- */

/* An empty slot's code: leaves, to have pc translated. */
static const struct lp_uop *miss(struct lp_cpu *cpu, const struct lp_uop *u)
{
	cpu->leave = LP_LEAVE_LOOKUP;
	return NULL;
}

const struct lp_uop lp_slot_miss = {.run = miss};

static size_t hash(uint64_t key)
{
	return key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - BUCKET_BITS);
}

static struct lp_slot *find_slot(struct lp_blocks *b, uint64_t pc)
{
	struct lp_slot *s = atomic_load_explicit(&b->slots[hash(pc >> 2)], memory_order_acquire);

	while (s && s->pc != pc)
		s = atomic_load_explicit(&s->next, memory_order_acquire);
	return s;
}

/* With the lock held. */
static struct lp_slot *make_slot(struct lp_blocks *b, uint64_t pc)
{
	_Atomic(struct lp_slot *) *bucket = &b->slots[hash(pc >> 2)];
	struct lp_slot *s = find_slot(b, pc);

	if (s)
		return s;
	s = lp_alloc(sizeof *s);
	s->pc = pc;
	atomic_init(&s->entry, &lp_slot_miss);
	atomic_init(&s->next, atomic_load_explicit(bucket, memory_order_relaxed));
	atomic_store_explicit(bucket, s, memory_order_release);
	b->stats.slots++;
	return s;
}

struct lp_slot *lp_slot_of(struct lp_blocks *b, uint64_t pc)
{
	struct lp_slot *s = find_slot(b, pc);

	if (s)
		return s;
	pthread_mutex_lock(&b->lock);
	s = make_slot(b, pc);
	pthread_mutex_unlock(&b->lock);
	return s;
}

/* ---- building ---- */

/* Behind the last instruction of a block that was cut: on to the next. */
static const struct lp_uop *go_on(struct lp_cpu *cpu, const struct lp_uop *u)
{
	return lp_goto_slot(cpu, u->slot);
}

static const struct lp_uop *fetch_fault(struct lp_cpu *cpu, int signal, int code, uint64_t addr)
{
	cpu->leave = LP_LEAVE_FAULT;
	cpu->fault = (struct lp_fault){.signal = signal, .code = code, .addr = addr};
	return NULL;
}

/* As many instructions at pc as a block may hold, within [pc, until); 0: none can be read. */
static size_t fetch(uint64_t pc, uint64_t until, uint32_t words[LP_BLOCK_MAX])
{
	size_t room = (until - pc) / 4, nr = room < LP_BLOCK_MAX ? room : LP_BLOCK_MAX;

	return lp_mem_read(pc, words, nr * 4) ? 0 : nr;
}

static struct block *translate(struct lp_blocks *b, uint64_t pc, const uint32_t *words, size_t nr_words)
{
	struct lp_uop uops[LP_BLOCK_MAX + 1];
	struct block *block;
	size_t nr = 0;
	bool ended = false;

	while (nr < nr_words && !ended) {
		ended = lp_lower(b, &uops[nr], words[nr], pc + nr * 4);
		nr++;
	}
	if (!ended)
		uops[nr] = (struct lp_uop){.run = go_on, .pc = pc + nr * 4, .slot = lp_slot_of(b, pc + nr * 4)};
	block = lp_alloc(sizeof *block + (nr + !ended) * sizeof uops[0]);
	memcpy(block->uops, uops, (nr + !ended) * sizeof uops[0]);
	block->nr = nr;
	block->range = (struct lp_range){pc, pc + nr * 4};
	return block;
}

/* Puts the block into its slot, unless the code has changed meanwhile (then it is not used) or another thread was first. */
static const struct lp_uop *publish(struct lp_blocks *b, struct block *block, const uint32_t *words)
{
	struct block **page = &b->pages[hash(block->range.start / LP_GUEST_PAGE)];
	const struct lp_uop *entry;
	uint32_t now[LP_BLOCK_MAX];

	pthread_mutex_lock(&b->lock);
	block->slot = make_slot(b, block->range.start);
	entry = atomic_load_explicit(&block->slot->entry, memory_order_relaxed);
	/* An invalidation between our read and this moment found nothing to invalidate. */
	if (entry == &lp_slot_miss && lp_mem_read(block->range.start, now, block->nr * 4) == 0 &&
	    memcmp(now, words, block->nr * 4) == 0) {
		block->next = *page;
		*page = block;
		b->stats.built++;
		b->stats.insns += block->nr;
		b->stats.bytes += sizeof *block + (block->nr + 1) * sizeof block->uops[0];
		entry = block->uops;
		atomic_store_explicit(&block->slot->entry, entry, memory_order_release);
		block = NULL;
	}
	pthread_mutex_unlock(&b->lock);
	lp_free(block);
	return entry;
}

/* Where pc may be fetched from: checks what the guest mapped there, and the landing pad of a guarded page. */
static bool may_fetch(struct lp_blocks *b, struct lp_cpu *cpu, uint64_t *until)
{
	bool bti;
	int code;

	if (cpu->pc & 3) {
		fetch_fault(cpu, SIGBUS, BUS_ADRALN, cpu->pc);
		return false;
	}
	code = lp_mem_fetch(b->emu, cpu->pc, &bti, until);
	if (code) {
		fetch_fault(cpu, SIGSEGV, code, cpu->pc);
		return false;
	}
	return true;
}

const struct lp_uop *lp_block_enter(struct lp_blocks *b, struct lp_cpu *cpu)
{
	struct lp_jump *jump = &cpu->jumps[cpu->pc >> 2 & (LP_JUMP_CACHE - 1)];
	uint32_t words[LP_BLOCK_MAX];
	const struct lp_slot *slot = find_slot(b, cpu->pc);
	const struct lp_uop *entry;
	uint64_t until;
	size_t nr;

	if (slot) {
		entry = atomic_load_explicit(&slot->entry, memory_order_acquire);
		if (entry != &lp_slot_miss) {
			*jump = (struct lp_jump){cpu->pc, slot};
			return entry;
		}
	}
	if (!may_fetch(b, cpu, &until))
		return NULL;
	nr = fetch(cpu->pc, until, words);
	if (nr == 0)
		return fetch_fault(cpu, SIGSEGV, SEGV_MAPERR, cpu->pc);
	entry = publish(b, translate(b, cpu->pc, words, nr), words);
	if (entry != &lp_slot_miss)
		*jump = (struct lp_jump){cpu->pc, lp_slot_of(b, cpu->pc)};
	return entry;
}

const struct lp_uop *lp_block_single(struct lp_blocks *b, struct lp_cpu *cpu, struct lp_uop uops[2])
{
	uint64_t until;
	uint32_t word;

	if (!may_fetch(b, cpu, &until))
		return NULL;
	if (lp_mem_read(cpu->pc, &word, sizeof word))
		return fetch_fault(cpu, SIGSEGV, SEGV_MAPERR, cpu->pc);
	lp_lower(b, &uops[0], word, cpu->pc);
	uops[1] = (struct lp_uop){.run = go_on, .pc = cpu->pc + 4, .slot = lp_slot_of(b, cpu->pc + 4)};
	return uops;
}

/* ---- forgetting ---- */

static bool overlaps(struct lp_range a, struct lp_range b)
{
	return a.start < b.end && b.start < a.end;
}

static void kill_in_bucket(struct lp_blocks *b, size_t bucket, struct lp_range range)
{
	struct block **link = &b->pages[bucket];

	while (*link) {
		struct block *block = *link;
		if (!overlaps(block->range, range)) {
			link = &block->next;
			continue;
		}
		*link = block->next;
		atomic_store_explicit(&block->slot->entry, &lp_slot_miss, memory_order_release);
		block->next = b->dead;
		b->dead = block;
		b->stats.invalidated++;
	}
}

void lp_block_invalidate(struct lp_blocks *b, struct lp_range range)
{
	lp_addr page = range.start / LP_GUEST_PAGE, last = (range.end - 1) / LP_GUEST_PAGE;

	if (range.start >= range.end)
		return;
	pthread_mutex_lock(&b->lock);
	if (last - page >= NR_BUCKETS) {
		for (size_t i = 0; i < NR_BUCKETS; i++)
			kill_in_bucket(b, i, range);
	} else {
		for (; page <= last; page++)
			kill_in_bucket(b, hash(page), range);
	}
	pthread_mutex_unlock(&b->lock);
}

void lp_blocks_reclaim(struct lp_blocks *b)
{
	pthread_mutex_lock(&b->lock);
	while (b->dead) {
		struct block *block = b->dead;
		b->dead = block->next;
		b->stats.bytes -= sizeof *block + (block->nr + 1) * sizeof block->uops[0];
		lp_free(block);
	}
	pthread_mutex_unlock(&b->lock);
}

/* ---- life ---- */

struct lp_blocks *lp_blocks_new(struct lp_emu *emu)
{
	struct lp_blocks *b = lp_alloc(sizeof *b);

	b->emu = emu;
	pthread_mutex_init(&b->lock, NULL);
	return b;
}

void lp_blocks_free(struct lp_blocks *b)
{
	if (!b)
		return;
	lp_block_invalidate(b, (struct lp_range){0, UINT64_MAX});
	lp_blocks_reclaim(b);
	for (size_t i = 0; i < NR_BUCKETS; i++) {
		struct lp_slot *s = atomic_load_explicit(&b->slots[i], memory_order_relaxed);
		while (s) {
			struct lp_slot *next = atomic_load_explicit(&s->next, memory_order_relaxed);
			lp_free(s);
			s = next;
		}
	}
	pthread_mutex_destroy(&b->lock);
	lp_free(b);
}

void lp_blocks_lock(struct lp_blocks *b)
{
	pthread_mutex_lock(&b->lock);
}

void lp_blocks_unlock(struct lp_blocks *b)
{
	pthread_mutex_unlock(&b->lock);
}

void lp_blocks_stats(struct lp_blocks *b, struct lp_block_stats *out)
{
	pthread_mutex_lock(&b->lock);
	*out = b->stats;
	pthread_mutex_unlock(&b->lock);
}
