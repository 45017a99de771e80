/*
 * Which instructions make a region: the loops through a pc.
 *
 * A region is all from where one comes back to its entry by direct branches, within so many instructions: loops in it, and
 * ways that part and meet again.  Calls, returns and system calls never come back that way: what leads to them is an exit.
 */
#include "jit/emit.h"

#include <string.h>

#include "emu/mem.h"

enum { ENTRY = LP_REGION_MAX - 1, DEPTH_MAX = 5 };

/* ---- what there is ---- */

static bool fetch_page(struct lp_jit *jit, uint64_t at)
{
	uint64_t until;
	bool guarded;

	return lp_mem_fetch(jit->emu, at, &guarded, &until) == 0 && !guarded;
}

void lp_region_fetch(struct lp_jit *jit, uint64_t pc, struct lp_window *w)
{
	uint64_t page = lp_align_down(pc, LP_GUEST_PAGE);
	unsigned before = (unsigned)(pc - page) / 4, behind = (unsigned)(page + LP_GUEST_PAGE - pc) / 4;

	w->pc = pc;
	w->begin = w->end = 0;
	if (before < ENTRY && page > 0 && fetch_page(jit, page - 4))
		before = ENTRY;
	if (behind < LP_REGION_MAX && fetch_page(jit, page + LP_GUEST_PAGE))
		behind = LP_REGION_MAX;
	before = before < ENTRY ? before : ENTRY;
	behind = behind < LP_REGION_MAX ? behind : LP_REGION_MAX;
	if (lp_mem_read(pc - before * 4, w->words + ENTRY - before, (before + behind) * 4))
		return;
	w->begin = ENTRY - before;
	w->end = ENTRY + behind;
}

/* ---- which of it ---- */

struct search {
	struct lp_tr *t;
	const struct lp_window *w;
	uint16_t op[LP_WINDOW];
	bool seen[LP_WINDOW]; /* come to from the entry */
	bool back[LP_WINDOW]; /* and from there back to it */
	uint16_t todo[LP_WINDOW];
	unsigned nr_todo;
};

static uint64_t pc_of(const struct search *s, unsigned k)
{
	return s->w->pc + ((uint64_t)k - ENTRY) * 4;
}

/* Where one goes from there, within the window: up to two. */
static unsigned ways(const struct search *s, unsigned k, unsigned to[2])
{
	uint32_t word = s->w->words[k];
	uint64_t target, at;
	unsigned nr = 0;

	if (lp_jit_branch_target(pc_of(s, k), word, &target) && s->op[k] != A64_OP_BL) {
		at = (target - s->w->pc) / 4 + ENTRY;
		if (at >= s->w->begin && at < s->w->end)
			to[nr++] = (unsigned)at;
	}
	if (!lp_jit_goes_elsewhere(s->op[k], word) && k + 1 < s->w->end)
		to[nr++] = k + 1;
	return nr;
}

static void see(struct search *s, unsigned k)
{
	if (s->seen[k] || lp_block_is_breakpoint(s->t->jit->emu->blocks, pc_of(s, k)))
		return;
	s->seen[k] = true;
	s->op[k] = (uint16_t)lp_a64_decode(s->w->words[k]);
	s->todo[s->nr_todo++] = (uint16_t)k;
}

static void find_seen(struct search *s)
{
	unsigned to[2];

	see(s, ENTRY);
	while (s->nr_todo > 0) {
		unsigned k = s->todo[--s->nr_todo];
		for (unsigned nr = ways(s, k, to); nr-- > 0;)
			see(s, to[nr]);
	}
}

static bool leads_back(const struct search *s, unsigned k)
{
	unsigned to[2];

	for (unsigned nr = ways(s, k, to); nr-- > 0;)
		if (s->back[to[nr]])
			return true;
	return false;
}

/* Whether there is a way back at all. */
static bool find_back(struct search *s)
{
	bool goes_on = true;

	s->back[ENTRY] = true;
	while (goes_on) {
		goes_on = false;
		for (unsigned k = s->w->end; k-- > s->w->begin;)
			if (s->seen[k] && !s->back[k] && leads_back(s, k))
				s->back[k] = goes_on = true;
	}
	return s->seen[ENTRY] && leads_back(s, ENTRY);
}

/* ---- as a translation ---- */

static bool take(struct search *s)
{
	struct lp_tr *t = s->t;
	unsigned begin = s->w->begin, end = s->w->end;

	while (!s->back[begin])
		begin++;
	while (!s->back[end - 1])
		end--;
	if (end - begin > LP_REGION_MAX)
		return false;
	t->start = pc_of(s, begin);
	t->nr = end - begin;
	t->entry = ENTRY - begin;
	for (unsigned k = begin; k < end; k++)
		t->insns[k - begin] =
			(struct lp_insn){.word = s->w->words[k], .op = s->op[k], .is_in = s->back[k], .weight = 1};
	return true;
}

int lp_region_at(const struct lp_tr *t, uint64_t pc)
{
	uint64_t i = (pc - t->start) / 4;

	return i < t->nr && t->insns[i].is_in ? (int)i : -1;
}

static int branch_of(const struct lp_tr *t, unsigned i)
{
	uint64_t target;

	return lp_jit_branch_target(t->start + i * 4, t->insns[i].word, &target) ? lp_region_at(t, target) : -1;
}

static bool falls(const struct lp_tr *t, unsigned i)
{
	return i + 1 < t->nr && t->insns[i + 1].is_in && !lp_jit_goes_elsewhere(t->insns[i].op, t->insns[i].word);
}

/* From its head to the last branch that goes back there, a loop's instructions count more. */
static void weigh_loop(struct lp_tr *t, unsigned head)
{
	unsigned last = head;

	for (unsigned i = head; i < t->nr; i++)
		if (t->insns[i].is_in && branch_of(t, i) == (int)head)
			last = i;
	for (unsigned i = head; i <= last; i++)
		if (t->insns[i].weight < 1 << (2 * DEPTH_MAX))
			t->insns[i].weight *= 4;
}

static void find_leaders(struct lp_tr *t)
{
	uint8_t nr_ways[LP_REGION_MAX] = {0}; /* that lead there; at most 2 are told apart */

	t->insns[t->entry].is_leader = true;
	nr_ways[t->entry] = 2;
	for (unsigned i = 0; i < t->nr; i++) {
		int to = t->insns[i].is_in ? branch_of(t, i) : -1;
		if (!t->insns[i].is_in)
			continue;
		if (falls(t, i))
			nr_ways[i + 1] |= nr_ways[i + 1] ? 2 : 1;
		if (to < 0)
			continue;
		t->insns[to].is_leader = true;
		t->insns[to].is_head |= to <= (int)i;
		nr_ways[to] |= nr_ways[to] ? 2 : 1;
	}
	for (unsigned i = 0; i < t->nr; i++)
		if (t->insns[i].is_leader && !t->insns[i].is_head && nr_ways[i] == 1 &&
		    !(i > 0 && t->insns[i - 1].is_in && falls(t, i - 1)))
			t->insns[i].inherits = !t->jit->emu->options.stats;
	for (unsigned i = 0; i < t->nr; i++)
		if (t->insns[i].is_head)
			weigh_loop(t, i);
	for (unsigned i = t->nr; i-- > 0;)
		if (falls(t, i) && !t->insns[i + 1].is_leader && t->insns[i].is_in)
			t->insns[i].nr_behind = (uint8_t)(t->insns[i + 1].nr_behind + 1);
}

bool lp_region_form(struct lp_tr *t, const struct lp_window *w)
{
	struct search s;

	if (w->begin == w->end)
		return false;
	memset(&s, 0, sizeof s);
	s.t = t;
	s.w = w;
	find_seen(&s);
	if (!find_back(&s) || !take(&s))
		return false;
	find_leaders(t);
	return true;
}
