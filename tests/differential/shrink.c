/*
 * A case that two emulators disagree about, made smaller: fewer instructions,
 * then registers, modes and memory of zero.  Many candidates go through the
 * emulators at once, so that a case takes a second and not a minute.
 */
#include "differential.h"

#include <string.h>

#include "base/vec.h"

#define MAX_CANDIDATES 64
#define NOP UINT32_C(0xd503201f)

struct shrinking {
	const struct diff_emulator *const *emulator;
	bool is_sigill;
	struct diff_batch *batch;
	struct diff_case best;
	struct diff_case candidates[MAX_CANDIDATES];
	unsigned nr;
	struct diff_random r;
};

static void place(struct diff_batch *b, const struct diff_case *c)
{
	unsigned slot = b->nr_slots;
	struct diff_input *in;

	diff_slot_fill(diff_batch_slot(b), c->words, c->nr, c->data);
	in = diff_batch_input(b);
	*in = c->input;
	diff_state_move(&in->state, 0, slot);
}

static bool differs(const struct shrinking *s, unsigned i, struct diff_outcome out[2])
{
	const struct diff_batch *b = s->batch;

	diff_batch_outcome(b, 0, i, &out[0]);
	if (s->is_sigill)
		diff_expect_sigill(&b->inputs[i], &out[1]);
	else
		diff_batch_outcome(b, 1, i, &out[1]);
	return diff_compare(&b->slots[i * DIFF_SLOT_WORDS], &out[0], &out[1]).what;
}

static void run_candidates(struct shrinking *s)
{
	const struct diff_emulator *const both[2] = {s->emulator[0], s->is_sigill ? NULL : s->emulator[1]};

	diff_batch_clear(s->batch, s->best.page);
	s->batch->head->guarded = s->best.guarded;
	for (unsigned i = 0; i < s->nr; i++)
		place(s->batch, &s->candidates[i]);
	diff_batch_run(s->batch, both);
}

static struct diff_case *candidate(struct shrinking *s)
{
	struct diff_case *c = &s->candidates[s->nr++];

	*c = s->best;
	return c;
}

/* The first candidate that still differs, in the order they were made, becomes the best. */
static bool take_first(struct shrinking *s)
{
	struct diff_outcome out[2];

	if (!s->nr)
		return false;
	run_candidates(s);
	for (unsigned i = 0; i < s->nr; i++)
		if (differs(s, i, out)) {
			s->best = s->candidates[i];
			s->nr = 0;
			return true;
		}
	s->nr = 0;
	return false;
}

/* ---- instructions ---- */

/* Without its company an instruction with a key differs for another reason: always. */
static bool is_loose(const struct diff_case *c, unsigned at)
{
	for (unsigned i = 0; i < c->nr; i++)
		if (lp_a64_row(lp_a64_decode(c->words[i]))->feature == A64_FEATURE_PAUTH)
			return lp_a64_row(lp_a64_decode(c->words[at]))->feature != A64_FEATURE_PAUTH &&
			       lp_a64_decode(c->words[at]) != A64_OP_AND_IMM;
	return true;
}

static void remove_word(struct diff_case *c, unsigned at)
{
	memmove(&c->words[at], &c->words[at + 1], (c->nr - at - 1) * sizeof *c->words);
	c->nr--;
}

static bool fewer_words(struct shrinking *s)
{
	/* One of them alone; one less. */
	for (unsigned i = 0; i < s->best.nr && s->best.nr > 1; i++) {
		struct diff_case *c = candidate(s);

		for (unsigned k = s->best.nr; k--;)
			if (k != i && is_loose(&s->best, k))
				remove_word(c, k);
		if (c->nr == s->best.nr)
			s->nr--;
	}
	for (unsigned i = 0; i < s->best.nr && s->best.nr > 1; i++)
		if (is_loose(&s->best, i))
			remove_word(candidate(s), i);
	for (unsigned i = 0; i < s->best.nr && s->best.nr > 1; i++)
		if (s->best.words[i] != NOP && is_loose(&s->best, i))
			candidate(s)->words[i] = NOP;
	return take_first(s);
}

/* ---- state: 31 x, 32 v as two halves, nzcv, fpcr, fpsr, data, in this order ---- */

enum { NR_ITEMS = 31 + 64 + 3 + 1 };

static bool is_zero(const struct diff_case *c, unsigned item)
{
	const struct diff_state *s = &c->input.state;

	if (item < 31)
		return !s->x[item];
	if (item < 95)
		return !s->v[(item - 31) / 2][(item - 31) % 2];
	if (item < 98)
		return !(&s->nzcv)[item - 95];
	for (unsigned i = 0; i < DIFF_NR_DATA; i++)
		if (c->data[i])
			return false;
	return true;
}

static void make_zero(struct diff_case *c, unsigned item)
{
	struct diff_state *s = &c->input.state;

	if (item < 31)
		s->x[item] = 0;
	else if (item < 95)
		s->v[(item - 31) / 2][(item - 31) % 2] = 0;
	else if (item < 98)
		(&s->nzcv)[item - 95] = 0;
	else
		memset(c->data, 0, sizeof c->data);
}

static unsigned nonzero_items(const struct diff_case *c, uint8_t items[NR_ITEMS])
{
	unsigned nr = 0;

	for (unsigned i = 0; i < NR_ITEMS; i++)
		if (!is_zero(c, i))
			items[nr++] = (uint8_t)i;
	return nr;
}

/* Nearly all of them at once at first, then fewer, down to half of them. */
static bool fewer_items(struct shrinking *s)
{
	uint8_t items[NR_ITEMS];
	unsigned nr = nonzero_items(&s->best, items);

	for (unsigned k = 0; k < MAX_CANDIDATES && nr; k++) {
		struct diff_case *c = candidate(s);
		unsigned zeroed = 0;

		for (unsigned i = 0; i < nr; i++)
			if (!diff_chance(&s->r, 2 + (MAX_CANDIDATES - k) / 2)) {
				make_zero(c, items[i]);
				zeroed++;
			}
		if (!zeroed)
			s->nr--;
	}
	return take_first(s);
}

/* Every single one, to be sure. */
static bool one_item_less(struct shrinking *s)
{
	uint8_t items[NR_ITEMS];
	unsigned nr = nonzero_items(&s->best, items);

	for (unsigned from = 0; from < nr; from += MAX_CANDIDATES) {
		for (unsigned i = from; i < nr && i < from + MAX_CANDIDATES; i++)
			make_zero(candidate(s), items[i]);
		if (take_first(s))
			return true;
	}
	return false;
}

/* ---- memory: one page for all candidates, so one at a time ---- */

static bool still_differs(struct shrinking *s)
{
	struct diff_outcome out[2];

	s->nr = 0;
	candidate(s);
	run_candidates(s);
	s->nr = 0;
	return differs(s, 0, out);
}

static void less_memory(struct shrinking *s, uint64_t *page)
{
	for (unsigned size = 512; size; size /= 8)
		for (unsigned at = 0; at < 512; at += size) {
			uint64_t was[512];
			bool any = false;

			for (unsigned i = at; i < at + size; i++)
				any |= page[i];
			if (!any)
				continue;
			memcpy(was, page, sizeof was);
			memset(&page[at], 0, size * sizeof *page);
			if (!still_differs(s))
				memcpy(page, was, sizeof was);
		}
}

/* Differs on each of a few runs, each with keys and addresses of its own. */
static bool is_stable(struct shrinking *s)
{
	for (unsigned i = 0; i < 3; i++)
		if (!still_differs(s))
			return false;
	return true;
}

bool diff_shrink(struct diff_case *c, bool is_sigill, const struct diff_emulator *const emulator[2], uint64_t page[512],
		 struct diff_outcome out[2])
{
	struct shrinking *s = lp_alloc(sizeof *s);
	unsigned failures = 0;
	bool differed;

	memcpy(page, c->page, DIFF_PAGE_SIZE);
	*s = (struct shrinking){.emulator = emulator, .is_sigill = is_sigill, .best = *c, .r = {1}};
	s->best.page = page;
	s->batch = diff_batch_new(MAX_CANDIDATES, MAX_CANDIDATES);
	differed = is_stable(s);
	if (differed) {
		while (!is_sigill && fewer_words(s))
			;
		while (failures < 2)
			failures = fewer_items(s) ? 0 : failures + 1;
		while (one_item_less(s))
			;
		less_memory(s, page);
		differed = is_stable(s);
	}
	candidate(s);
	run_candidates(s);
	differs(s, 0, out);
	*c = s->best;
	diff_batch_free(s->batch);
	lp_free(s);
	return differed;
}
