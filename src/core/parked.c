/*
 * Finding what nobody stands on.
 *
 * A coroutine that is not running is a stack somewhere, and one word somewhere
 * else: its stack pointer, kept for the day when it is resumed.  No list of
 * them exists.  But three things are true of every one that was made by a
 * compiler and a switch function:
 *
 *     its frames hold return addresses: aligned words that point behind a call
 *     a word that the switch function will return through lies at, or shortly
 *       above, the kept stack pointer; or the code address is kept beside it
 *     the kept stack pointer does not lie on the suspended stack itself, among
 *       the frames of functions that it calls
 *
 * So the search looks at all memory that the program has written, twice.  The
 * first time for pages with return addresses ("stacky" pages).  The second time
 * for words that point into one and have what it takes to be resumed: contexts.
 * ucontext_t, jmp_buf (also as glibc disguises it), and the control blocks of
 * private switchers all look like that, and need not be told apart.
 *
 * The search takes about a second for some gigabytes, and the target runs on.
 * In the pause, the word of each context is read again and then the stack that
 * it points to now: a coroutine that was running during the search and is
 * parked in the pause is seen all the same, if its context had been used before.
 *
 * What points into a dead stack?  Words on that stack itself: saved frame
 * pointers, addresses of locals.  Dead memory proves nothing, so a context that
 * lies among return addresses counts only if that stack is in use: a thread
 * stands on it, or it belongs to another context.  And a pointer to the stack
 * of a thread which is at home there is no context at all.
 *
 * Not found: a coroutine whose first suspension falls between search and
 * pause, one whose stack pointer is kept in some other disguise or unaligned,
 * code that resumes elsewhere than behind a call, stacks in shared memory.
 * docs/decisions/0004 weighs this.
 */
#include "core/parked.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "base/log.h"
#include "core/functions.h"

#define CHUNK (1u << 20)
#define MEMO 8192		       /* entries; a power of two */
#define CONTEXTS_MAX 131072	       /* re-read in the pause; a microsecond for each */
#define RESUME_REACH 512	       /* bytes: what a switch function may push, vector registers included */
#define GAP 8			       /* pages without return addresses that one large frame may take */
#define LOOK_MAX (UINT64_C(256) << 10) /* of one suspended stack */
#define BASE 256		       /* bytes at the bottom of a stack that are its control block, if anything */
#define FRAME_MAX (UINT64_C(8) << 10)  /* how far a pointer to a local points up, nearly always */
#define CLUSTER_GAP (UINT64_C(64) << 20)
#define CLUSTERS 6
#define OWNERS_MAX 8
#define PLACES_MAX 4 /* return addresses above a kept stack pointer that may be the one to resume at */
#define FRAMES_MAX 256
#define BLOCK 256		  /* bytes that a control block keeps registers in, around the stack pointer */
#define LONE (UINT64_C(16) << 10) /* a walk that broke off this far below a word says that it is of another stack */

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* ---- return addresses ---- */

static void learn_text(struct lp_parked *k)
{
	struct lp_area a;
	k->text.nr = k->clusters.nr = 0;
	for (lp_addr from = 0; k->t->ops->next_area(k->t, from, &a, NULL) == 0; from = a.range.end) {
		if (!(a.prot & LP_PROT_EXEC))
			continue;
		lp_vec_push(&k->text, a.range);
		struct lp_range *last = k->clusters.nr ? &k->clusters.items[k->clusters.nr - 1] : NULL;
		if (last && (a.range.start - last->end < CLUSTER_GAP || k->clusters.nr == CLUSTERS))
			last->end = a.range.end;
		else
			lp_vec_push(&k->clusters, a.range);
	}
}

static inline bool near_text(const struct lp_parked *k, lp_addr v)
{
	for (size_t i = 0; i < k->clusters.nr; i++)
		if (v - k->clusters.items[i].start < k->clusters.items[i].end - k->clusters.items[i].start)
			return true;
	return false;
}

/* The last range that starts at or below v; ranges ascend. */
static const struct lp_range *at_or_below(const struct lp_range *ranges, size_t nr, lp_addr v)
{
	size_t lo = 0, hi = nr;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (ranges[mid].start <= v)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo ? &ranges[lo - 1] : NULL;
}

/* Lengths of a call on x86 are 2 to 7; where instructions have one length, no other decodes. */
static bool is_behind_call(struct lp_parked *k, lp_addr v)
{
	uint8_t code[8];
	struct lp_insn in;
	if (v % k->t->isa->insn_align || k->t->ops->read(k->t, v - sizeof code, code, sizeof code, NULL) < 0)
		return false;
	for (size_t n = 2; n <= sizeof code; n++)
		if (k->t->isa->insn(code + sizeof code - n, n, v - n, &in) && in.len == n && in.is_call)
			return true;
	return false;
}

/* A function pointer may have a call before it too: of the function before, which ends in one that does not return. */
static bool follows_call(struct lp_parked *k, lp_addr v)
{
	struct lp_range f;
	return is_behind_call(k, v) && !(lp_function_around(k->t, v, &f) && f.start == v);
}

static bool is_return(struct lp_parked *k, uint64_t word)
{
	lp_addr v = word & k->t->isa->code_bits;
	if (!near_text(k, v))
		return false;
	const struct lp_range *r = at_or_below(k->text.items, k->text.nr, v);
	if (!r || v >= r->end || v - r->start < 8)
		return false;
	size_t i = (v ^ v >> 13) % MEMO;
	if (k->memo[i].v != v) {
		k->memo[i].v = v;
		k->memo[i].is = follows_call(k, v);
	}
	return k->memo[i].is;
}

/* ---- memory ---- */

static void note_area(void *arg, const struct lp_own_memory *m)
{
	struct lp_parked *k = arg;
	lp_vec_push(&k->areas, ((struct lp_parked_area){m->area.range, m->is_stack}));
	for (size_t i = 0; i < m->nr_runs; i++)
		lp_vec_push(&k->runs, m->runs[i]);
}

static const struct lp_parked_area *area_of(const struct lp_parked *k, lp_addr at)
{
	size_t lo = 0, hi = k->areas.nr;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (k->areas.items[mid].range.end <= at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < k->areas.nr && lp_range_has(k->areas.items[lo].range, at) ? &k->areas.items[lo] : NULL;
}

static void read_chunk(struct lp_parked *k, lp_addr at, size_t len,
		       void (*each)(struct lp_parked *k, lp_addr at, size_t len))
{
	if (k->t->ops->read(k->t, at, k->chunk, len, NULL) == 0) {
		each(k, at, len);
		return;
	}
	/* Some of it went away since the pages were listed. */
	for (size_t i = 0; len > LP_PAGE && i < len; i += LP_PAGE)
		read_chunk(k, at + i, len - i < LP_PAGE ? len - i : LP_PAGE, each);
}

static void each_chunk(struct lp_parked *k, void (*each)(struct lp_parked *k, lp_addr at, size_t len))
{
	uint64_t left = k->most ? k->most : LP_SEARCH_USUAL;
	for (size_t i = 0; i < k->runs.nr; i++) {
		struct lp_range r = k->runs.items[i];
		for (size_t n; r.start < r.end && !(k->interrupted && *k->interrupted); r.start += n) {
			n = r.end - r.start < CHUNK ? (size_t)(r.end - r.start) : CHUNK;
			if (left < n) {
				k->cut = true;
				return;
			}
			left -= n;
			read_chunk(k, r.start, n, each);
		}
	}
}

/* ---- first: pages with return addresses ---- */

static void see(struct lp_parked *k, lp_addr page)
{
	size_t h = page / LP_PAGE % 65536;
	k->seen[h / 8] |= (uint8_t)(1 << h % 8);
}

static inline bool may_be_seen(const struct lp_parked *k, lp_addr at)
{
	size_t h = at / LP_PAGE % 65536;
	return k->seen[h / 8] >> h % 8 & 1;
}

static void find_pages(struct lp_parked *k, lp_addr at, size_t len)
{
	for (size_t i = 0; i + 8 <= len; i += 8) {
		uint64_t v = lp_get64(k->chunk + i);
		if (!near_text(k, v & k->t->isa->code_bits) || !is_return(k, v))
			continue;
		lp_addr page = lp_align_down(at + i, LP_PAGE);
		lp_vec_push(&k->pages, page);
		see(k, page);
		see(k, page - LP_PAGE);
		i = (size_t)(page + LP_PAGE - at) - 8; /* one is enough */
	}
}

/* Index of the first page with return addresses at or above `at`. */
static size_t page_from(const struct lp_parked *k, lp_addr at)
{
	size_t lo = 0, hi = k->pages.nr;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (k->pages.items[mid] + LP_PAGE > at)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

/* The end of the stack around sp, going by pages with return addresses; 0 = there is no stack. */
static lp_addr stack_end(const struct lp_parked *k, lp_addr sp)
{
	const struct lp_parked_area *a = area_of(k, sp);
	lp_addr end = 0, last = lp_align_down(sp, LP_PAGE);
	for (size_t i = page_from(k, sp); a && i < k->pages.nr; i++) {
		lp_addr page = k->pages.items[i];
		if (page - last > (GAP + 1) * LP_PAGE || page >= a->range.end || page >= sp + LOOK_MAX)
			break;
		last = page;
		end = page + LP_PAGE;
	}
	return end;
}

/* ---- second: words that point into them ---- */

static uint64_t undisguised(const struct lp_parked *k, uint64_t word)
{
	unsigned r = k->jmpbuf.rotate % 64;
	return (r ? word >> r | word << (64 - r) : word) ^ k->jmpbuf.key;
}

static int pc_place(const struct lp_parked *k, bool disguised)
{
	return LP_CONTEXT_NEAR + (disguised ? k->jmpbuf.pc_at : 1);
}

static uint64_t kept(const struct lp_parked *k, const struct lp_context *c, int place)
{
	return c->disguised ? undisguised(k, c->near[place]) : c->near[place];
}

static struct lp_range near_of(const struct lp_context *c)
{
	struct lp_range r = {c->at - LP_CONTEXT_NEAR * 8, c->at + (LP_CONTEXT_NEAR + 1) * 8};
	r.start = r.start < c->may.start ? c->may.start : r.start;
	r.end = r.end > c->may.end ? c->may.end : r.end;
	return r;
}

static uint8_t *near_at(struct lp_context *c, lp_addr at)
{
	return (uint8_t *)c->near + (at - (c->at - LP_CONTEXT_NEAR * 8));
}

static bool read_near(struct lp_parked *k, struct lp_context *c)
{
	struct lp_range r = near_of(c);
	memset(c->near, 0, sizeof c->near);
	return k->t->ops->read(k->t, r.start, near_at(c, r.start), (size_t)(r.end - r.start), NULL) == 0;
}

static bool may_be_sp(const struct lp_parked *k, uint64_t v)
{
	return v % 8 == 0 && v >> 47 == 0 && may_be_seen(k, v) && stack_end(k, v);
}

/* A return address behind a stack pointer that points far away, or down, is not on a stack but kept beside that pointer. */
static bool is_kept_pc(const struct lp_parked *k, lp_addr at, uint64_t before)
{
	return before - at > FRAME_MAX && may_be_sp(k, before);
}

/* How many words of `words`, as far as they are in `within`, look like return addresses on a stack. */
static unsigned count_returns(struct lp_parked *k, struct lp_range words, struct lp_range within)
{
	uint64_t w[RESUME_REACH / 8 + 1];
	unsigned nr = 0;
	words.start = words.start < within.start ? within.start : words.start;
	words.end = words.end > within.end ? within.end : words.end;
	if (words.start >= words.end || words.end - words.start > sizeof w ||
	    k->t->ops->read(k->t, words.start, w, (size_t)(words.end - words.start), NULL) < 0)
		return 0;
	size_t n = (size_t)(words.end - words.start) / 8;
	for (size_t i = 0; i < n; i++)
		nr += is_return(k, w[i]) && !(i && is_kept_pc(k, words.start + i * 8, w[i - 1]));
	return nr;
}

/* Saved registers and addresses of locals: what a frame says of the frames above it on the same stack. */
static bool is_of_own_stack(const struct lp_parked_area *a, lp_addr at, lp_addr sp)
{
	if (!lp_range_has(a->range, sp) || sp <= at)
		return false;
	return a->is_stack && at - a->range.start >= BASE;
}

static void consider(struct lp_parked *k, lp_addr at, lp_addr sp, bool disguised)
{
	const struct lp_parked_area *home = area_of(k, at), *a = area_of(k, sp);
	/* what points to just above itself is a structure with a pointer into itself */
	if (!home || !a || !stack_end(k, sp) || is_of_own_stack(home, at, sp) || sp - at < RESUME_REACH)
		return;
	struct lp_context c = {.at = at, .may = home->range, .disguised = disguised};
	if (!read_near(k, &c))
		return;
	c.has_pc = is_return(k, kept(k, &c, pc_place(k, disguised)));
	if (disguised && !c.has_pc)
		return;
	unsigned nr = c.has_pc ? 0 : count_returns(k, (struct lp_range){sp, sp + RESUME_REACH}, a->range);
	if (!c.has_pc && !nr)
		return;
	c.is_lone = nr == 1;
	c.on_stack = !disguised && count_returns(k, (struct lp_range){at - RESUME_REACH / 2, at + RESUME_REACH / 2},
						 home->range) >= 2;
	if (c.on_stack && home == a && sp > at && sp - at < FRAME_MAX)
		return;
	if (k->contexts.nr == CONTEXTS_MAX)
		k->cut = true;
	else
		lp_vec_push(&k->contexts, c);
}

/* Registers that were saved beside a stack pointer and a code address may point up the same stack. */
static bool is_register_of(const struct lp_parked *k, const struct lp_context *c, const struct lp_context *top)
{
	lp_addr sp = kept(k, c, LP_CONTEXT_NEAR), from = kept(k, top, LP_CONTEXT_NEAR);
	return top->has_pc && !c->has_pc && top->at - c->at + BLOCK < 2 * BLOCK && sp > from && sp < stack_end(k, from);
}

/* They ascend: what belongs together is together. */
static void drop_registers(struct lp_parked *k)
{
	size_t left = 0;
	struct lp_context *c = k->contexts.items;
	for (size_t i = 0; i < k->contexts.nr; i++) {
		bool drop = false;
		for (size_t j = left; j-- > 0 && c[i].at - c[j].at < BLOCK && !drop;)
			drop = is_register_of(k, &c[i], &c[j]);
		for (size_t j = i + 1; j < k->contexts.nr && c[j].at - c[i].at < BLOCK && !drop; j++)
			drop = is_register_of(k, &c[i], &c[j]);
		if (!drop)
			c[left++] = c[i];
	}
	k->contexts.nr = left;
}

static void find_contexts(struct lp_parked *k, lp_addr at, size_t len)
{
	for (size_t i = 0; i + 8 <= len; i += 8) {
		uint64_t v = lp_get64(k->chunk + i);
		if (may_be_sp(k, v))
			consider(k, at + i, v, false);
		if (!k->has_jmpbuf)
			continue;
		v = undisguised(k, v);
		if (may_be_sp(k, v))
			consider(k, at + i, v, true);
	}
}

static int by_number(const void *a, const void *b)
{
	const lp_addr *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static size_t count_equal(const lp_addr *sorted, size_t nr, lp_addr v)
{
	size_t lo = 0, hi = nr;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (sorted[mid] < v)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (hi = lo; hi < nr && sorted[hi] == v && hi - lo <= OWNERS_MAX;)
		hi++;
	return hi - lo;
}

/*
 * A number may look like a return address, and then every pointer to just
 * below it like the stack pointer of something suspended.  Where one return
 * address is all there is, and many say that it is theirs, it is a number.
 */
static void drop_numbers(struct lp_parked *k)
{
	LP_VEC(lp_addr) sps = {0};
	size_t left = 0;
	for (size_t i = 0; i < k->contexts.nr; i++)
		if (k->contexts.items[i].is_lone)
			lp_vec_push(&sps, kept(k, &k->contexts.items[i], LP_CONTEXT_NEAR));
	if (sps.nr)
		qsort(sps.items, sps.nr, sizeof *sps.items, by_number);
	for (size_t i = 0; i < k->contexts.nr; i++) {
		const struct lp_context *c = &k->contexts.items[i];
		if (!c->is_lone || count_equal(sps.items, sps.nr, kept(k, c, LP_CONTEXT_NEAR)) <= OWNERS_MAX)
			k->contexts.items[left++] = *c;
	}
	k->contexts.nr = left;
	lp_vec_free(&sps);
}

/* ---- the search ---- */

static void prepare(struct lp_parked *k)
{
	if (!k->chunk) {
		k->chunk = lp_alloc(CHUNK);
		k->seen = lp_alloc(65536 / 8);
		k->memo = lp_alloc(MEMO * sizeof *k->memo);
		k->has_jmpbuf = k->t->ops->jmpbuf && k->t->ops->jmpbuf(k->t, &k->jmpbuf) &&
				abs(k->jmpbuf.pc_at) <= LP_CONTEXT_NEAR;
		learn_text(k);
	}
	memset(k->seen, 0, 65536 / 8);
	k->areas.nr = k->runs.nr = k->pages.nr = k->contexts.nr = 0;
	k->cut = false;
}

/* So that the pause allocates nothing; pages that are there already cost nothing in it. */
static void reserve(struct lp_parked *k)
{
	k->spans = lp_realloc(k->spans, (k->contexts.nr + 1) * sizeof *k->spans);
	k->open = lp_realloc(k->open, (k->contexts.nr + 1) * sizeof *k->open);
	size_t size = 0;
	for (size_t i = 0; i < k->contexts.nr; i++) {
		const struct lp_context *c = &k->contexts.items[i];
		lp_addr sp = kept(k, c, LP_CONTEXT_NEAR);
		lp_addr end = stack_end(k, sp);
		size += end ? (size_t)(end - sp) + 2 * LP_PAGE : 2 * LP_PAGE;
	}
	if (size <= k->arena_size)
		return;
	lp_free(k->arena);
	k->arena = lp_alloc(size);
	memset(k->arena, 0xff, size);
	k->arena_size = size;
}

void lp_parked_search(struct lp_parked *k)
{
	if (!k->t->ops->own_memory)
		return;
	uint64_t began = now_ns();
	struct lp_err why = {0};
	prepare(k);
	if (k->t->ops->own_memory(k->t, note_area, k, &why) < 0)
		lp_debug("suspended coroutines are not looked for: %s", why.text);
	each_chunk(k, find_pages);
	if (k->pages.nr)
		each_chunk(k, find_contexts);
	drop_registers(k);
	drop_numbers(k);
	reserve(k);
	k->at_ns = now_ns();
	k->cost_ns = k->at_ns - began;
	lp_debug("%zu pages with return addresses, %zu contexts, %zu areas, %.1f ms", k->pages.nr, k->contexts.nr,
		 k->areas.nr, (double)k->cost_ns / 1e6);
	if (k->cut)
		lp_info("%s has more memory, or more coroutines, than is looked at for suspended ones", k->t->label);
}

/* ---- the look ---- */

/* All or nothing is too much to ask: memory may have been given back since the search. */
static void read_each(struct lp_parked *k, const struct lp_range *ranges, void *const *data, size_t nr, bool *ok)
{
	bool all = nr && k->t->ops->read_many(k->t, ranges, data, nr, NULL) == 0;
	for (size_t i = 0; i < nr; i++)
		ok[i] = all || k->t->ops->read(k->t, ranges[i].start, data[i],
					       (size_t)(ranges[i].end - ranges[i].start), NULL) == 0;
}

#define BATCH 1024 /* as many pieces as the kernel takes at once */
_Static_assert(BATCH * 2 * sizeof((struct lp_context *)0)->near <= CHUNK, "the pieces fit");

/*
 * Neighbours are read at once: what a call costs is the number of pieces.
 * Contexts ascend, and so do the pieces.
 */
static void reread(struct lp_parked *k, const uint32_t *which, size_t nr)
{
	struct lp_range ranges[BATCH];
	void *data[BATCH];
	bool ok[BATCH];
	static const size_t room = sizeof k->contexts.items->near * 2;
	size_t pieces = 0;
	uint32_t piece_of[BATCH];
	for (size_t i = 0; i < nr; i++) {
		struct lp_range r = near_of(&k->contexts.items[which[i]]);
		struct lp_range *last = pieces ? &ranges[pieces - 1] : NULL;
		if (last && r.start <= last->end && r.end - last->start <= room)
			last->end = r.end > last->end ? r.end : last->end;
		else
			ranges[pieces++] = r;
		piece_of[i] = (uint32_t)(pieces - 1);
	}
	for (size_t i = 0; i < pieces; i++)
		data[i] = k->chunk + i * room;
	read_each(k, ranges, data, pieces, ok);
	for (size_t i = 0; i < nr; i++) {
		struct lp_context *c = &k->contexts.items[which[i]];
		struct lp_range r = near_of(c);
		c->live = ok[piece_of[i]];
		memcpy(near_at(c, r.start), (const uint8_t *)data[piece_of[i]] + (r.start - ranges[piece_of[i]].start),
		       (size_t)(r.end - r.start));
	}
}

static int by_start(const void *a, const void *b)
{
	const struct lp_range *x = a, *y = b;
	return (x->start > y->start) - (x->start < y->start);
}

/* The stacks that threads stand on at home: with what is below the stack pointer, where that is known to be free. */
static void note_homes(struct lp_parked *k, const struct lp_thread *threads, size_t nr)
{
	k->homes.nr = 0;
	for (size_t i = 0; i < nr; i++) {
		const struct lp_parked_area *a = area_of(k, threads[i].sp);
		lp_addr start = a && a->is_stack ? a->range.start : threads[i].sp;
		if (threads[i].stack_is_whole && start < threads[i].stack.end)
			lp_vec_push(&k->homes, ((struct lp_range){start, threads[i].stack.end}));
	}
	if (k->homes.nr)
		qsort(k->homes.items, k->homes.nr, sizeof *k->homes.items, by_start);
}

/* Does a thread stand on the stack that sp points to, at home, so that whatever is there is the thread's matter? */
static bool is_a_threads(const struct lp_parked *k, lp_addr sp)
{
	const struct lp_range *r = at_or_below(k->homes.items, k->homes.nr, sp);
	return r && sp < r->end;
}

static void place(struct lp_parked *k, struct lp_context *c)
{
	c->bytes = NULL;
	if (!c->live)
		return;
	uint64_t pc = kept(k, c, pc_place(k, c->disguised));
	c->sp = kept(k, c, LP_CONTEXT_NEAR);
	c->pc = near_text(k, pc & k->t->isa->code_bits) ? pc & k->t->isa->code_bits : 0;
	c->stack = (struct lp_range){c->sp, c->sp % 8 ? 0 : stack_end(k, c->sp)};
	c->live = c->stack.end && (!c->disguised || c->pc) && !is_a_threads(k, c->sp);
}

static bool on_live_thread(const struct lp_thread *threads, size_t nr, lp_addr at)
{
	for (size_t i = 0; i < nr; i++)
		if (at >= threads[i].sp && at < threads[i].stack.end)
			return true;
	return false;
}

/* The stacks of live contexts, ascending, none overlapping; k->spans was made large enough. */
static size_t live_spans(struct lp_parked *k)
{
	size_t nr = 0, left = 0;
	for (size_t i = 0; i < k->contexts.nr; i++)
		if (k->contexts.items[i].live)
			k->spans[nr++] = k->contexts.items[i].stack;
	if (nr)
		qsort(k->spans, nr, sizeof *k->spans, by_start);
	for (size_t i = 0; i < nr; i++) {
		struct lp_range *last = left ? &k->spans[left - 1] : NULL;
		if (last && k->spans[i].start < last->end)
			last->end = k->spans[i].end > last->end ? k->spans[i].end : last->end;
		else
			k->spans[left++] = k->spans[i];
	}
	return left;
}

/* From what is certain outwards: contexts on stacks are live when the stack is. */
static void spread(struct lp_parked *k, const struct lp_thread *threads, size_t nr)
{
	size_t nr_open = 0;
	for (size_t i = 0; i < k->contexts.nr; i++) {
		struct lp_context *c = &k->contexts.items[i];
		if (!c->live || !c->on_stack || on_live_thread(threads, nr, c->at))
			continue;
		c->live = false;
		/* what points up within its own stack adds nothing to it */
		if (c->sp < c->at || stack_end(k, c->at) < c->sp)
			k->open[nr_open++] = (uint32_t)i;
	}
	for (bool more = nr_open > 0; more;) {
		size_t spans = live_spans(k), left = 0;
		for (size_t i = 0; i < nr_open; i++) {
			struct lp_context *c = &k->contexts.items[k->open[i]];
			const struct lp_range *r = at_or_below(k->spans, spans, c->at);
			c->live = r && c->at < r->end;
			if (!c->live)
				k->open[left++] = k->open[i];
		}
		more = left < nr_open && left > 0;
		nr_open = left;
	}
}

/* It was made for what was to be expected; coroutines that have gone deeper since cost page faults in the pause. */
static void ensure_arena(struct lp_parked *k)
{
	size_t total = 0;
	for (size_t i = 0; i < k->contexts.nr; i++)
		if (k->contexts.items[i].live)
			total += (size_t)(k->contexts.items[i].stack.end - k->contexts.items[i].sp);
	if (total <= k->arena_size)
		return;
	lp_free(k->arena);
	k->arena = lp_alloc(total);
	k->arena_size = total;
}

static void copy_stacks(struct lp_parked *k)
{
	struct lp_range ranges[BATCH];
	void *data[BATCH];
	bool ok[BATCH];
	size_t used = 0;
	ensure_arena(k);
	for (size_t i = 0; i < k->contexts.nr;) {
		struct lp_context *of[BATCH];
		size_t n = 0;
		for (; i < k->contexts.nr && n < BATCH; i++) {
			struct lp_context *c = &k->contexts.items[i];
			size_t len = (size_t)(c->stack.end - c->sp);
			if (!c->live)
				continue;
			of[n] = c;
			ranges[n] = c->stack;
			data[n++] = k->arena + used;
			used += len;
		}
		read_each(k, ranges, data, n, ok);
		for (size_t j = 0; j < n; j++)
			of[j]->bytes = ok[j] ? data[j] : NULL;
	}
}

/*
 * Most words that point to the stack of a thread which is at home do so for
 * good: what a coroutine was resumed from, locals.  They are not asked again.
 */
static void reread_all(struct lp_parked *k)
{
	uint32_t which[BATCH];
	size_t n = 0;
	for (size_t i = 0; i < k->contexts.nr; i++) {
		struct lp_context *c = &k->contexts.items[i];
		c->live = false;
		if (!is_a_threads(k, kept(k, c, LP_CONTEXT_NEAR)))
			which[n++] = (uint32_t)i;
		if (n == BATCH || i + 1 == k->contexts.nr)
			reread(k, which, n);
		n = n == BATCH ? 0 : n;
	}
}

void lp_parked_look(struct lp_parked *k)
{
	size_t nr;
	const struct lp_thread *threads = k->t->ops->threads(k->t, &nr);
	note_homes(k, threads, nr);
	reread_all(k);
	for (size_t i = 0; i < k->contexts.nr; i++)
		place(k, &k->contexts.items[i]);
	spread(k, threads, nr);
	copy_stacks(k);
}

/* ---- walking ---- */

enum quality {
	BOGUS,	   /* this is not where a suspended stack begins */
	TABLELESS, /* it may be, but no unwind table covers the code */
	GOOD,	   /* the first step leads from code to code */
};

struct walk {
	struct lp_frame frames[FRAMES_MAX];
	size_t nr;
	bool whole;	   /* it came to an end */
	lp_addr missed;	   /* ... or went on outside of the stack */
	lp_addr resume_at; /* the word that it starts from; 0 = beside the stack pointer */
	enum quality quality;
};

static bool is_code(const struct lp_parked *k, lp_addr v)
{
	const struct lp_range *r = at_or_below(k->text.items, k->text.nr, v);
	return r && v < r->end;
}

/* `shift`: the stack is walked as if it lay that much higher, and frames are told as they lie. */
static enum quality walk_from(struct lp_parked *k, const struct lp_context *c, lp_addr pc, lp_addr sp, lp_addr fp,
			      uint64_t shift, struct walk *w)
{
	struct lp_suspended s = {.pc = pc,
				 .sp = sp + shift,
				 .fp = fp,
				 .stack = {c->stack.start + shift, c->stack.end + shift},
				 .bytes = c->bytes};
	int rc = k->t->ops->unwind_suspended(k->t, &s, w->frames, FRAMES_MAX, &w->nr, NULL);
	w->whole = rc >= 0;
	w->missed = s.missed;
	for (size_t i = 0; i < w->nr; i++)
		w->frames[i].sp -= shift;
	if (w->nr < 2)
		return rc == -ENOENT ? TABLELESS : BOGUS;
	const struct lp_frame *next = &w->frames[1];
	bool plausible = next->sp > sp && next->sp <= c->stack.end && (!next->pc || is_code(k, next->pc));
	return plausible ? GOOD : BOGUS;
}

static bool walk_with(struct lp_parked *k, const struct lp_context *c, lp_addr pc, lp_addr sp, lp_addr fp,
		      struct walk *w)
{
	if (fp && (fp % 8 || fp < sp || fp >= c->stack.end))
		return false;
	enum quality q = walk_from(k, c, pc, sp, fp, 0, w);
	w->quality = q > w->quality ? q : w->quality;
	return q == GOOD;
}

/* The frame pointer is among the registers that were saved: beside the stack pointer or below the return address. */
static bool walk_in_place(struct lp_parked *k, const struct lp_context *c, lp_addr pc, lp_addr sp, struct walk *w)
{
	if (walk_with(k, c, pc, sp, 0, w))
		return true;
	for (int i = 0; i <= 2 * LP_CONTEXT_NEAR; i++)
		if (kept(k, c, i) && walk_with(k, c, pc, sp, kept(k, c, i), w))
			return true;
	for (lp_addr at = c->sp; at + 8 <= sp && at - c->sp < RESUME_REACH; at += 8) {
		lp_addr fp = lp_get64(c->bytes + (at - c->sp));
		if (fp && walk_with(k, c, pc, sp, fp, w))
			return true;
	}
	return false;
}

/*
 * Some switchers run all coroutines on one stack and copy the frames of those
 * that wait away; saved frame pointers then lead to where the frames ran, which
 * is told beside the address of the copy.
 */
static void walk_as_copy(struct lp_parked *k, const struct lp_context *c, lp_addr pc, lp_addr sp, struct walk *w)
{
	struct walk *other = lp_alloc(sizeof *other);
	for (int i = 0; i <= 2 * LP_CONTEXT_NEAR; i++) {
		lp_addr ran_at = c->near[i];
		const struct lp_parked_area *a = area_of(k, ran_at);
		if (ran_at % 8 || !a || !a->is_stack || lp_range_has(a->range, c->sp))
			continue;
		other->quality = walk_from(k, c, pc, sp, 0, ran_at - c->sp, other);
		other->resume_at = w->resume_at;
		if (other->quality > w->quality || (other->quality == GOOD && other->nr > w->nr))
			*w = *other;
	}
	lp_free(other);
}

static void walk_at(struct lp_parked *k, const struct lp_context *c, lp_addr pc, lp_addr sp, struct walk *w)
{
	w->quality = BOGUS;
	w->whole = false;
	if (!walk_in_place(k, c, pc, sp, w) || !w->whole)
		walk_as_copy(k, c, pc, sp, w);
}

/*
 * The next place where c may be resumed, and the walk from there; false when
 * there is none left.  *at: 0 at first.
 */
static bool next_walk(struct lp_parked *k, const struct lp_context *c, lp_addr *at, struct walk *w)
{
	lp_addr end = c->stack.end - c->sp < RESUME_REACH ? c->stack.end : c->sp + RESUME_REACH;
	if (*at == 0) {
		*at = c->sp;
		w->resume_at = 0;
		if (c->pc && is_return(k, c->pc)) {
			walk_at(k, c, c->pc, c->sp, w);
			return true;
		}
	}
	for (; *at + 8 <= end; *at += 8) {
		uint64_t v = lp_get64(c->bytes + (*at - c->sp));
		if (!is_return(k, v))
			continue;
		w->resume_at = *at;
		*at += 8;
		walk_at(k, c, v & k->t->isa->code_bits, *at, w);
		return true;
	}
	return false;
}

/* ---- judging ---- */

/* A walk up a dead stack comes to where a thread is, if it is that thread's. */
static bool meets_thread(struct lp_parked *k, lp_addr from, lp_addr to)
{
	size_t nr;
	const struct lp_thread *threads = k->t->ops->threads(k->t, &nr);
	for (size_t i = 0; i < nr; i++)
		if (threads[i].sp > from && threads[i].sp < to)
			return true;
	return false;
}

static enum lp_verdict verdict_of(struct lp_parked *k, const struct lp_context *c, lp_addr slot, const struct walk *w)
{
	const struct lp_frame *f = w->frames;
	if (w->quality != GOOD)
		return w->quality == TABLELESS || c->disguised ? LP_UNSETTLED : LP_IDLE;
	if (w->resume_at && c->at >= c->sp && c->at < w->resume_at)
		return LP_IDLE; /* a list's link in freed memory: no stack pointer is kept below what it leads to */
	if (slot == w->resume_at)
		return LP_GUILTY;
	for (size_t i = 1; i < w->nr; i++) {
		if (f[i].sp <= f[i - 1].sp || f[i].sp > c->stack.end)
			return LP_UNSETTLED;
		if (meets_thread(k, f[i - 1].sp, f[i].sp))
			return LP_IDLE;
		if (f[i].sp > slot)
			return f[i].pc == (lp_get64(c->bytes + (slot - c->sp)) & k->t->isa->code_bits) ? LP_GUILTY
												       : LP_IDLE;
	}
	if (w->whole || slot - f[w->nr - 1].sp > LONE)
		return LP_IDLE;
	/* a copy of frames that ran elsewhere, and no word of where beside it: left over */
	return w->missed && area_of(k, w->missed) != area_of(k, c->sp) ? LP_IDLE : LP_UNSETTLED;
}

/*
 * The walk to believe: the first that comes to an end, else the first that
 * begins well.  A switch function pushes registers only, so the lowest return
 * address is nearly always the one; where it is not, the walk goes astray.
 */
static struct walk *best_walk(struct lp_parked *k, const struct lp_context *c)
{
	struct walk *best = lp_alloc(sizeof *best), *w = lp_alloc(sizeof *w);
	lp_addr at = 0, passed = 0;
	bool any = false;
	for (unsigned i = 0; i < PLACES_MAX && next_walk(k, c, &at, w); i++) {
		if (w->resume_at && w->resume_at < passed && !w->whole)
			continue;
		if (w->quality == GOOD)
			passed = w->frames[w->nr - 1].sp;
		if (!any || w->quality > best->quality || (w->quality == GOOD && w->whole && !best->whole))
			*best = *w;
		any = true;
		if (best->quality == GOOD && best->whole)
			break;
	}
	lp_free(w);
	return best;
}

static lp_addr end_of(const struct walk *w)
{
	return w->quality == GOOD ? w->frames[w->nr - 1].sp : 0;
}

/* The end of the frames that c is the top of; 0 = it is not known to be one. */
static lp_addr frames_end(struct lp_parked *k, const struct lp_context *c)
{
	struct walk *w = best_walk(k, c);
	lp_addr end = end_of(w);
	lp_free(w);
	return end;
}

/*
 * Registers that were saved with a stack pointer, and locals of the frames
 * above it, may point into the middle of those frames.  What is kept so is no
 * context of its own.
 */
static bool is_part_of(struct lp_parked *k, const struct lp_context *c, const struct lp_context *top)
{
	if (top == c || !top->live || !top->bytes || top->sp >= c->sp || c->sp >= top->stack.end || c->disguised)
		return false;
	bool same_block = c->at - top->at + BLOCK < 2 * BLOCK && (top->has_pc || !c->has_pc);
	return (same_block || lp_range_has(top->stack, c->at)) && c->sp < frames_end(k, top);
}

static bool is_part(struct lp_parked *k, const struct lp_context *c)
{
	for (size_t i = 0; i < k->contexts.nr; i++)
		if (is_part_of(k, c, &k->contexts.items[i]))
			return true;
	return false;
}

enum lp_verdict lp_parked_judge(struct lp_parked *k, const struct lp_context *c, lp_addr slot, struct lp_frame *frames,
				size_t max, size_t *nr)
{
	*nr = 0;
	if (slot && !is_return(k, lp_get64(c->bytes + (slot - c->sp))))
		return LP_IDLE; /* a number, or an address that is not come back to */
	struct walk *w = best_walk(k, c);
	enum lp_verdict verdict = verdict_of(k, c, slot, w);
	if (verdict == LP_GUILTY) {
		*nr = w->nr < max ? w->nr : max;
		memcpy(frames, w->frames, *nr * sizeof *frames);
	}
	lp_free(w);
	return verdict != LP_IDLE && is_part(k, c) ? LP_IDLE : verdict;
}

void lp_parked_free(struct lp_parked *k)
{
	lp_vec_free(&k->contexts);
	lp_vec_free(&k->text);
	lp_vec_free(&k->clusters);
	lp_vec_free(&k->areas);
	lp_vec_free(&k->runs);
	lp_vec_free(&k->pages);
	lp_vec_free(&k->homes);
	lp_free(k->seen);
	lp_free(k->memo);
	lp_free(k->chunk);
	lp_free(k->arena);
	lp_free(k->spans);
	lp_free(k->open);
}
