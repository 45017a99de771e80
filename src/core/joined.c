#include "core/joined.h"

#include "core/callers.h"
#include "core/functions.h"

/* Bytes among the instructions of the function that is joined are no place to come to. */
static bool is_instruction(struct lp_contracts *c, lp_addr from, lp_addr to)
{
	const struct lp_piece_of_code *p = lp_side_piece(&c->program, from);

	for (size_t n = 1; n && from < to && lp_range_has(p->range, from); from += n)
		n = c->p->t->isa->insn_length(p->bytes + (from - p->range.start), (size_t)(p->range.end - from), from);
	return from == to;
}

/* The old function's own parts come back into it only for calls of it. */
static bool is_of_another(struct lp_contracts *c, const struct lp_place *at, const struct lp_branch *b)
{
	struct lp_range function;

	if (lp_range_has(at->cold, b->at) || lp_range_has((struct lp_range){at->addr, at->addr + at->size}, b->at))
		return false;
	if (!lp_function_around(c->p->t, b->at, &function))
		return true;
	return function.start != at->addr && lp_caller_is_real(c, function, b);
}

/* Does an instruction begin at `at`, once the code from bytes.start on is `now`? */
static bool is_instruction_of(struct lp_target *t, const uint8_t *now, struct lp_range bytes, lp_addr at)
{
	lp_addr from = bytes.start;

	for (size_t n = 1; n && from < at; from += n)
		n = t->isa->insn_length(now + (from - bytes.start), (size_t)(bytes.end - from), from);
	return from == at;
}

static bool is_written(struct lp_plan *p, const struct lp_branch *b)
{
	for (size_t i = 0; i < p->writes.nr; i++) {
		const struct lp_write *w = &p->writes.items[i];

		if (b->at < w->at + w->len && w->at < b->end)
			return true;
	}
	return false;
}

static bool is_real(struct lp_contracts *c, const struct lp_branch *b)
{
	struct lp_range function;

	return !lp_function_around(c->p->t, b->at, &function) || lp_caller_is_real(c, function, b);
}

bool lp_joined_cut(struct lp_plan *p, struct lp_range bytes, const uint8_t *now, struct lp_branch *out)
{
	lp_branch_vec all = {0};
	bool found = false;

	if (!p->t->isa->branches)
		return false;
	struct lp_contracts *c = lp_contracts_of(p);
	const struct lp_piece_of_code *piece = lp_side_piece(&c->program, bytes.start);
	if (!piece)
		return false;
	lp_callers_find(c, piece->image, (struct lp_range){bytes.start + 1, bytes.end}, &all);
	for (size_t i = 0; i < all.nr && !found; i++) {
		const struct lp_branch *b = &all.items[i];

		found = is_instruction(c, bytes.start, b->target) && !is_written(p, b) && is_real(c, b) &&
			!is_instruction_of(p->t, now, bytes, b->target);
		if (found)
			*out = *b;
	}
	lp_vec_free(&all);
	return found;
}

static bool begins_function(struct lp_target *t, lp_addr at)
{
	struct lp_range function;

	return !lp_function_around(t, at, &function) || function.start == at;
}

bool lp_joined_find(struct lp_plan *p, const struct lp_place *at, struct lp_range bytes, struct lp_branch *out)
{
	lp_branch_vec all = {0};
	bool found = false;

	if (!p->t->isa->branches || !begins_function(p->t, at->addr))
		return false;
	struct lp_contracts *c = lp_contracts_of(p);
	const struct lp_piece_of_code *piece = lp_side_piece(&c->program, at->addr);
	if (!piece)
		return false;
	lp_callers_find(c, piece->image, bytes, &all);
	for (size_t i = 0; i < all.nr; i++) {
		const struct lp_branch *b = &all.items[i];
		if ((found && b->target >= out->target) || !is_instruction(c, at->addr, b->target) ||
		    !is_of_another(c, at, b))
			continue;
		*out = *b;
		found = true;
	}
	lp_vec_free(&all);
	return found;
}
