#include "emu/block.h"

#include <pthread.h>
#include <string.h>

#include "base/vec.h"
#include "emu/branch.h"
#include "emu/emu.h"
#include "emu/features.h"
#include "emu/hot.h"
#include "emu/mem.h"
#include "emu/vdso.h"

enum { NR_BUCKETS = 1 << 16 };
enum { DEAD_LIMIT = 8 << 20 }; /* bytes */
enum { MAX_ALIASES = 16 };

/* One translation.  In front of its instructions stands a landing pad's check if the page is guarded; behind them what
 * goes on at the next pc, unless the last never gets there. */
struct block {
	struct lp_slot *slot;
	struct lp_range range;
	struct block *next; /* in its page's bucket, or among the dead */
	size_t nr_insns, nr_uops;
	struct lp_uop uops[];
};

static size_t size_of(const struct block *block)
{
	return sizeof *block + block->nr_uops * sizeof block->uops[0];
}

struct lp_blocks {
	struct lp_emu *emu;
	pthread_mutex_t lock; /* everything below but what readers of slots need */
	_Atomic(struct lp_slot *) slots[NR_BUCKETS];
	struct block *pages[NR_BUCKETS]; /* live blocks by page */
	struct block *dead;
	_Atomic uint64_t dead_bytes;
	_Atomic uint64_t nr_invalidations;
	LP_VEC(uint64_t) breakpoints;
	_Atomic size_t nr_breakpoints;
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

/* Buckets of slots: what is near in the guest is near in the tables, or each entry touches a page of them. */
enum { OF_A_PAGE = 64 };

static size_t slot_bucket(uint64_t pc)
{
	return lp_page_bucket(pc, NR_BUCKETS / OF_A_PAGE) * OF_A_PAGE + (pc >> 2) % OF_A_PAGE;
}

static size_t page_bucket(uint64_t addr)
{
	return lp_page_bucket(addr, NR_BUCKETS);
}

static struct lp_slot *find_slot(struct lp_blocks *b, uint64_t pc)
{
	struct lp_slot *s = atomic_load_explicit(&b->slots[slot_bucket(pc)], memory_order_acquire);

	while (s && s->pc != pc)
		s = atomic_load_explicit(&s->next, memory_order_acquire);
	return s;
}

/* With the lock held. */
static struct lp_slot *make_slot(struct lp_blocks *b, uint64_t pc)
{
	_Atomic(struct lp_slot *) *bucket = &b->slots[slot_bucket(pc)];
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
	GO(u->slot);
}

static const struct lp_uop *fetch_fault(struct lp_cpu *cpu, int signal, int code, uint64_t esr)
{
	cpu->leave = LP_LEAVE_FAULT;
	cpu->fault = (struct lp_fault){.signal = signal, .code = code, .addr = cpu->pc, .esr = esr};
	return NULL;
}

/* As many instructions at pc as a block may hold, within [pc, until); 0: none can be read. */
static size_t fetch(uint64_t pc, uint64_t until, uint32_t words[LP_BLOCK_MAX])
{
	size_t room = (until - pc) / 4, nr = room < LP_BLOCK_MAX ? room : LP_BLOCK_MAX;

	return lp_mem_read(pc, words, nr * 4) ? 0 : nr;
}

/* once: see lp_lower_once(), or NULL. */
static bool lower(struct lp_blocks *b, struct lp_uop *uop, uint32_t word, uint64_t pc, bool guarded,
		  struct lp_slot *once)
{
	bool ends = once ? lp_lower_once(once, uop, word, pc) : lp_lower(b, uop, word, pc);

	lp_vdso_lower(b->emu, uop);
	if (guarded)
		lp_guard(uop);
	return ends;
}

/* ---- breakpoints ---- */

static const struct lp_uop *stop_here(struct lp_cpu *cpu, const struct lp_uop *u)
{
	cpu->pc = u->pc;
	cpu->leave = LP_LEAVE_BREAKPOINT;
	return NULL;
}

static size_t find_breakpoint(const struct lp_blocks *b, uint64_t pc)
{
	size_t i = 0;

	while (i < b->breakpoints.nr && b->breakpoints.items[i] != pc)
		i++;
	return i;
}

bool lp_block_breakpoints_exist(const struct lp_blocks *b)
{
	return atomic_load_explicit(&b->nr_breakpoints, memory_order_acquire) > 0;
}

bool lp_block_is_breakpoint(struct lp_blocks *b, uint64_t pc)
{
	bool is;

	if (!lp_block_breakpoints_exist(b))
		return false;
	pthread_mutex_lock(&b->lock);
	is = find_breakpoint(b, pc) < b->breakpoints.nr;
	pthread_mutex_unlock(&b->lock);
	return is;
}

bool lp_block_has_breakpoint(struct lp_blocks *b, struct lp_range range)
{
	bool has = false;

	if (!lp_block_breakpoints_exist(b))
		return false;
	pthread_mutex_lock(&b->lock);
	for (uint64_t pc = range.start; pc < range.end && !has; pc += 4)
		has = find_breakpoint(b, pc) < b->breakpoints.nr;
	pthread_mutex_unlock(&b->lock);
	return has;
}

void lp_block_breakpoint(struct lp_blocks *b, uint64_t pc, bool on)
{
	pthread_mutex_lock(&b->lock);
	size_t i = find_breakpoint(b, pc);
	if (on && i == b->breakpoints.nr)
		lp_vec_push(&b->breakpoints, pc);
	else if (!on && i < b->breakpoints.nr)
		b->breakpoints.items[i] = b->breakpoints.items[--b->breakpoints.nr];
	atomic_store_explicit(&b->nr_breakpoints, b->breakpoints.nr, memory_order_release);
	pthread_mutex_unlock(&b->lock);
	lp_block_invalidate(b, (struct lp_range){pc, pc + 4});
}

/* ---- statistics ---- */

/* In front of each instruction, when somebody wants to know how many were executed. */
static const struct lp_uop *count(struct lp_cpu *cpu, const struct lp_uop *u)
{
	cpu->nr_insns++;
	return u + 1;
}

/* ---- code that changes without being told of ---- */

/* In front of a block: u->imm is what its u->word words were. */
static const struct lp_uop *verify(struct lp_cpu *cpu, const struct lp_uop *u)
{
	const void *were = (const void *)(uintptr_t)u->imm; /* NOLINT(performance-no-int-to-ptr) */
	uint32_t words[LP_BLOCK_MAX];

	if (lp_mem_read(u->pc, words, u->word * 4) == 0 && memcmp(words, were, u->word * 4) == 0)
		return u + 1;
	lp_block_invalidate(cpu->emu->blocks, (struct lp_range){u->pc, u->pc + u->word * 4});
	cpu->pc = u->pc;
	cpu->leave = LP_LEAVE_LOOKUP;
	return NULL;
}

static void keep_words(struct block *block, const uint32_t *words, size_t first)
{
	uint32_t *kept = (uint32_t *)&block->uops[block->nr_uops];

	memcpy(kept, words, block->nr_insns * 4);
	block->uops[first].imm = (uint64_t)(uintptr_t)kept;
	block->uops[first].word = (uint32_t)block->nr_insns;
}

static struct block *translate(struct lp_blocks *b, uint64_t pc, const uint32_t *words, size_t nr_words, bool guarded)
{
	struct lp_uop uops[2 * LP_BLOCK_MAX + 3];
	struct block *block;
	size_t nr = 0, nr_insns = 0;
	bool ended = false, verified = b->emu->options.smc_strict && lp_mem_may_change(b->emu, pc);

	if (guarded)
		uops[nr++] = (struct lp_uop){.run = lp_landing, .pc = pc, .imm = lp_landing_accepts(words[0])};
	if (verified)
		uops[nr++] = (struct lp_uop){.run = verify, .pc = pc};
	while (nr_insns < nr_words && !ended) {
		if (b->emu->options.stats)
			uops[nr++] = (struct lp_uop){.run = count, .pc = pc + nr_insns * 4};
		ended = lower(b, &uops[nr], words[nr_insns], pc + nr_insns * 4, guarded, NULL);
		if (lp_block_is_breakpoint(b, pc + nr_insns * 4))
			uops[nr].run = stop_here;
		nr_insns++;
		nr++;
	}
	for (size_t i = guarded + verified; i + 1 < nr && !b->emu->options.stats; i++)
		lp_hot_pair(&uops[i]);
	pc += nr_insns * 4;
	if (!ended)
		uops[nr++] = (struct lp_uop){.run = go_on, .pc = pc, .slot = lp_slot_of(b, pc)};
	block = lp_alloc(sizeof *block + nr * sizeof uops[0] + (verified ? nr_insns * sizeof words[0] : 0));
	memcpy(block->uops, uops, nr * sizeof uops[0]);
	block->nr_insns = nr_insns;
	block->nr_uops = nr;
	if (verified)
		keep_words(block, words, guarded);
	block->range = (struct lp_range){pc - nr_insns * 4, pc};
	return block;
}

/* Puts the block into its slot, unless another thread was first, or something was invalidated since `when`: code or its
 * permission may have changed behind our look at it, and nobody found a block to take away. */
static const struct lp_uop *publish(struct lp_blocks *b, struct block *block, uint64_t when)
{
	struct block **page = &b->pages[page_bucket(block->range.start)];
	const struct lp_uop *entry;

	pthread_mutex_lock(&b->lock);
	block->slot = make_slot(b, block->range.start);
	entry = atomic_load_explicit(&block->slot->entry, memory_order_relaxed);
	if (entry == &lp_slot_miss && atomic_load_explicit(&b->nr_invalidations, memory_order_relaxed) == when) {
		block->next = *page;
		*page = block;
		b->stats.built++;
		b->stats.insns += block->nr_insns;
		b->stats.bytes += size_of(block);
		entry = block->uops;
		atomic_store_explicit(&block->slot->entry, entry, memory_order_release);
		block = NULL;
	}
	pthread_mutex_unlock(&b->lock);
	lp_free(block);
	return entry;
}

/* Whether the guest may execute at pc, and how far the answer holds. */
static bool may_fetch(struct lp_blocks *b, struct lp_cpu *cpu, bool *guarded, uint64_t *until)
{
	int code;

	if (cpu->pc & 3) {
		fetch_fault(cpu, SIGBUS, BUS_ADRALN, LP_ESR_PC_ALIGNMENT);
		return false;
	}
	code = lp_mem_fetch(b->emu, cpu->pc, guarded, until);
	if (code) {
		fetch_fault(cpu, SIGSEGV, code,
			    code == SEGV_ACCERR ? LP_ESR_FETCH_PERMISSION : LP_ESR_FETCH_TRANSLATION);
		return false;
	}
	return true;
}

/* Translates what stands at cpu->pc; NULL: the fetch faulted. */
static const struct lp_uop *make(struct lp_blocks *b, struct lp_cpu *cpu)
{
	uint64_t until, when = atomic_load_explicit(&b->nr_invalidations, memory_order_acquire);
	uint32_t words[LP_BLOCK_MAX];
	bool guarded;
	size_t nr;

	if (!may_fetch(b, cpu, &guarded, &until))
		return NULL;
	nr = fetch(cpu->pc, until, words);
	if (nr == 0)
		return fetch_fault(cpu, SIGSEGV, SEGV_MAPERR, LP_ESR_FETCH_TRANSLATION);
	return publish(b, translate(b, cpu->pc, words, nr, guarded), when);
}

const struct lp_uop *lp_block_enter(struct lp_blocks *b, struct lp_cpu *cpu)
{
	const struct lp_slot *slot;
	const struct lp_uop *entry;

	cpu->pc = lp_untagged(cpu->pc);
	slot = find_slot(b, cpu->pc);
	entry = slot ? atomic_load_explicit(&slot->entry, memory_order_acquire) : &lp_slot_miss;
	if (entry == &lp_slot_miss)
		entry = make(b, cpu);
	if (!entry || entry == &lp_slot_miss)
		return entry;
	if (entry->run != lp_landing)
		cpu->btype = LP_BTYPE_NONE;
	cpu->jumps[cpu->pc >> 2 & (LP_JUMP_CACHE - 1)] =
		(struct lp_jump){cpu->pc, slot ? slot : lp_slot_of(b, cpu->pc)};
	return entry;
}

/* Behind one instruction: out, whatever translation there is of the next. */
static const struct lp_uop *leave_behind(struct lp_cpu *cpu, const struct lp_uop *u)
{
	cpu->pc = u->pc;
	cpu->leave = LP_LEAVE_LOOKUP;
	return NULL;
}

/* The words of what is executed once, `most` of them; 0: the fetch, or the landing, faulted. */
static size_t fetch_once(struct lp_blocks *b, struct lp_cpu *cpu, uint32_t *words, size_t most, bool *guarded)
{
	uint64_t until;
	size_t nr;

	cpu->pc = lp_untagged(cpu->pc);
	if (!may_fetch(b, cpu, guarded, &until))
		return 0;
	nr = (until - cpu->pc) / 4 < most ? (until - cpu->pc) / 4 : most;
	if (lp_mem_read(cpu->pc, words, nr * 4)) {
		fetch_fault(cpu, SIGSEGV, SEGV_MAPERR, LP_ESR_FETCH_TRANSLATION);
		return 0;
	}
	if (*guarded && cpu->btype && !(lp_landing_accepts(words[0]) >> cpu->btype & 1)) {
		fetch_fault(cpu, SIGILL, ILL_ILLOPC, 0);
		return 0;
	}
	cpu->btype = LP_BTYPE_NONE;
	return nr;
}

const struct lp_uop *lp_block_single(struct lp_blocks *b, struct lp_cpu *cpu, struct lp_uop uops[2])
{
	bool guarded;
	uint32_t word;

	if (!fetch_once(b, cpu, &word, 1, &guarded))
		return NULL;
	lower(b, &uops[0], word, cpu->pc, guarded, NULL);
	uops[1] = (struct lp_uop){.run = leave_behind, .pc = cpu->pc + 4};
	return uops;
}

static const struct lp_uop *make_piece(struct lp_blocks *b, struct lp_block_once *room);

/* Behind a branch that was not taken. */
static const struct lp_uop *make_next_piece(struct lp_cpu *cpu, const struct lp_uop *u)
{
	return make_piece(cpu->emu->blocks, (void *)(uintptr_t)u->imm); /* NOLINT(performance-no-int-to-ptr) */
}

static const struct lp_uop *make_piece(struct lp_blocks *b, struct lp_block_once *room)
{
	struct lp_uop *u = room->uops;
	uint64_t pc = room->pc + room->next * 4;
	bool ended = false, breaks = lp_block_breakpoints_exist(b);

	for (; room->next < room->nr && !ended; room->next++, u++, pc += 4) {
		if (b->emu->options.stats)
			*u++ = (struct lp_uop){.run = count, .pc = pc};
		ended = lower(b, u, room->words[room->next], pc, room->guarded, &room->slot);
		if (breaks && lp_block_is_breakpoint(b, pc))
			u->run = stop_here;
	}
	*u = (struct lp_uop){.run = room->next < room->nr ? make_next_piece : leave_behind,
			     .pc = pc,
			     .imm = (uint64_t)(uintptr_t)room};
	return room->uops;
}

const struct lp_uop *lp_block_once(struct lp_blocks *b, struct lp_cpu *cpu, struct lp_block_once *room)
{
	room->next = 0;
	atomic_init(&room->slot.entry, &lp_slot_miss);
	room->nr = fetch_once(b, cpu, room->words, LP_BLOCK_MAX, &room->guarded);
	room->pc = cpu->pc;
	return room->nr ? make_piece(b, room) : NULL;
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
		atomic_fetch_add_explicit(&b->dead_bytes, size_of(block), memory_order_relaxed);
		b->stats.invalidated++;
	}
}

void lp_block_invalidate(struct lp_blocks *b, struct lp_range range)
{
	lp_addr page = range.start / LP_GUEST_PAGE, last = (range.end - 1) / LP_GUEST_PAGE;

	if (range.start >= range.end)
		return;
	pthread_mutex_lock(&b->lock);
	atomic_fetch_add_explicit(&b->nr_invalidations, 1, memory_order_release);
	if (last - page >= NR_BUCKETS) {
		for (size_t i = 0; i < NR_BUCKETS; i++)
			kill_in_bucket(b, i, range);
	} else {
		for (; page <= last; page++)
			kill_in_bucket(b, page_bucket(page * LP_GUEST_PAGE), range);
	}
	pthread_mutex_unlock(&b->lock);
	if (b->emu->engine)
		b->emu->engine->invalidate(b->emu, range);
}

/* The same bytes of the same file, mapped elsewhere: where programs that write code have it to be executed. */
static void invalidate_aliases(struct lp_blocks *b, struct lp_range line)
{
	struct lp_range aliases[MAX_ALIASES];
	size_t nr = lp_mem_aliases(b->emu, line, aliases, MAX_ALIASES);

	for (size_t i = 0; i < nr && i < MAX_ALIASES; i++)
		lp_block_invalidate(b, aliases[i]);
	if (nr > MAX_ALIASES)
		lp_block_invalidate(b, (struct lp_range){0, UINT64_MAX});
}

void lp_block_icache_line(struct lp_blocks *b, uint64_t addr)
{
	uint64_t line = lp_align_down(lp_untagged(addr), LP_CACHE_LINE);

	lp_block_invalidate(b, (struct lp_range){line, line + LP_CACHE_LINE});
	invalidate_aliases(b, (struct lp_range){line, line + LP_CACHE_LINE});
	lp_emu_tell(b->emu, icache, b->emu, line);
}

bool lp_blocks_are_littered(const struct lp_blocks *b)
{
	return atomic_load_explicit(&b->dead_bytes, memory_order_relaxed) > DEAD_LIMIT;
}

void lp_blocks_reclaim(struct lp_blocks *b)
{
	pthread_mutex_lock(&b->lock);
	while (b->dead) {
		struct block *block = b->dead;
		b->dead = block->next;
		b->stats.bytes -= size_of(block);
		lp_free(block);
	}
	atomic_store_explicit(&b->dead_bytes, 0, memory_order_relaxed);
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
	lp_vec_free(&b->breakpoints);
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
