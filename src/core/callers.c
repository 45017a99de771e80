/*
 * A table of all direct branches is made once for an image, by target: a
 * megabyte of code has tens of thousands, found in milliseconds without
 * decoding.  Branches of two bytes would be mistaken everywhere; but they are
 * close, and looked for when they are asked for.
 */
#include "core/callers.h"

#include <stdlib.h>

#define SHORT_REACH 130u /* a 2-byte jump leads no farther */

/* Addresses count from hull.start: there are many. */
struct branch {
	uint32_t target, at;
	uint8_t len;
	bool is_call;
};

struct lp_branches {
	size_t image;
	struct lp_range hull; /* of its code */
	LP_VEC(struct branch) items;
};

static int by_target(const void *a, const void *b)
{
	const struct branch *x = a, *y = b;
	return x->target != y->target ? (x->target > y->target) - (x->target < y->target)
				      : (x->at > y->at) - (x->at < y->at);
}

static void add_branch(void *arg, const struct lp_branch *found)
{
	struct lp_branches *b = arg;
	if (lp_range_has(b->hull, found->target))
		lp_vec_push(&b->items, ((struct branch){(uint32_t)(found->target - b->hull.start),
							(uint32_t)(found->at - b->hull.start),
							(uint8_t)(found->end - found->at), found->is_call}));
}

static struct lp_range hull_of(const struct lp_contracts *c, size_t image)
{
	struct lp_range hull = {UINT64_MAX, 0};
	for (size_t i = 0; i < c->program.pieces.nr; i++) {
		const struct lp_piece_of_code *p = &c->program.pieces.items[i];
		if (p->image != image)
			continue;
		hull.start = p->range.start < hull.start ? p->range.start : hull.start;
		hull.end = p->range.end > hull.end ? p->range.end : hull.end;
	}
	return hull;
}

static const struct lp_branches *branches_of(struct lp_contracts *c, size_t image)
{
	for (size_t i = 0; i < c->branches.nr; i++)
		if (c->branches.items[i].image == image)
			return &c->branches.items[i];
	struct lp_branches *b = lp_vec_add(&c->branches);
	*b = (struct lp_branches){.image = image, .hull = hull_of(c, image)};
	for (size_t i = 0; i < c->program.pieces.nr; i++) {
		const struct lp_piece_of_code *p = &c->program.pieces.items[i];
		if (p->image == image)
			c->p->t->isa->branches(p->bytes, (size_t)(p->range.end - p->range.start), p->range.start, false,
					       add_branch, b);
	}
	if (b->items.nr)
		qsort(b->items.items, b->items.nr, sizeof *b->items.items, by_target);
	return b;
}

static struct lp_branch absolute(const struct lp_branches *b, const struct branch *i)
{
	lp_addr at = b->hull.start + i->at;
	return (struct lp_branch){at, at + i->len, b->hull.start + i->target, i->is_call};
}

static void find_long(const struct lp_branches *b, struct lp_range into, lp_branch_vec *out)
{
	size_t lo = 0, hi = b->items.nr;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (b->hull.start + b->items.items[mid].target < into.start)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < b->items.nr && b->hull.start + b->items.items[lo].target < into.end; lo++)
		lp_vec_push(out, absolute(b, &b->items.items[lo]));
}

struct short_hunt {
	struct lp_range into;
	lp_branch_vec *out;
};

static void add_short(void *arg, const struct lp_branch *found)
{
	struct short_hunt *h = arg;
	if (found->end - found->at == 2 && lp_range_has(h->into, found->target))
		lp_vec_push(h->out, *found);
}

/* Short jumps are too many to keep, but all close. */
static void find_short(struct lp_contracts *c, struct lp_range into, lp_branch_vec *out)
{
	const struct lp_piece_of_code *p = lp_side_piece(&c->program, into.start);
	struct short_hunt h = {into, out};
	if (!p)
		return;
	lp_addr from = into.start - p->range.start > SHORT_REACH ? into.start - SHORT_REACH : p->range.start;
	lp_addr to = p->range.end - into.end > SHORT_REACH ? into.end + SHORT_REACH : p->range.end;
	c->p->t->isa->branches(p->bytes + (from - p->range.start), (size_t)(to - from), from, true, add_short, &h);
}

void lp_callers_find(struct lp_contracts *c, size_t image, struct lp_range into, lp_branch_vec *out)
{
	find_long(branches_of(c, image), into, out);
	find_short(c, into, out);
}

/* Another instruction can have a branch's bytes at its end: 0x73 and a displacement look like a jae. */
static bool leads_there(struct lp_contracts *c, const struct lp_piece_of_code *p, lp_addr at, const struct lp_branch *b)
{
	struct lp_insn in;
	return c->p->t->isa->insn(p->bytes + (at - p->range.start), (size_t)(p->range.end - at), at, &in) &&
	       in.has_target && in.target == b->target;
}

bool lp_caller_is_real(struct lp_contracts *c, struct lp_range function, const struct lp_branch *b)
{
	const struct lp_piece_of_code *p = lp_side_piece(&c->program, function.start);
	lp_addr at = function.start;
	while (p && at < b->end) {
		size_t n = c->p->t->isa->insn_length(p->bytes + (at - p->range.start), (size_t)(p->range.end - at), at);
		if (!n)
			return true; /* no telling */
		if (at + n == b->end)
			return leads_there(c, p, at, b);
		at += n;
		if (!lp_range_has(p->range, at))
			return true;
	}
	return !p;
}

void lp_callers_free(struct lp_contracts *c)
{
	for (size_t i = 0; i < c->branches.nr; i++)
		lp_vec_free(&c->branches.items[i].items);
	lp_vec_free(&c->branches);
}
