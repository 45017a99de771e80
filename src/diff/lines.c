/*
 * Does a function differ from its twin only in line numbers?
 *
 * A line inserted above moves every __LINE__ below.  Such a number is the last one loaded into its argument's register before
 * the call of a function that lines.def knows to take a line there.  The same instruction with another number, for another
 * argument or in front of any other call, is a change.
 */
#include "diff/model.h"

#include <string.h>

#define LOOK_AHEAD 40	       /* instructions between the number and the call */
#define PUSHED 6	       /* lp_insn.argument of what lies on the stack */
#define LINE_MAX_EVER 10000000 /* no source is longer */

static const struct {
	const char *name;
	unsigned argument;
} line_functions[] = {
#define LINE(name, argument) {name, argument},
#include "diff/lines.def"
#undef LINE
};

/* f.constprop.0 and f.part.0 take what f takes, in the same place as far as anybody can tell. */
static bool is_named(const char *name, const char *base)
{
	size_t len = strlen(base);

	return !strncmp(name, base, len) && (!name[len] || name[len] == '.');
}

/* The user's functions are given by name alone: any number may be the line. */
static bool tells_lines(const struct lp_diff *d, const char *name, unsigned argument)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(line_functions); i++)
		if (line_functions[i].argument == argument && is_named(name, line_functions[i].name))
			return true;
	for (size_t i = 0; i < d->in.nr_line_functions; i++)
		if (is_named(name, d->in.line_functions[i]))
			return true;
	return false;
}

static const struct ref *ref_within(const struct piece *p, uint64_t from, uint64_t to)
{
	for (size_t i = 0; i < p->refs.nr; i++)
		if (p->refs.items[i].at >= from && p->refs.items[i].at < to)
			return &p->refs.items[i];
	return NULL;
}

static const char *name_of(const struct ref *r)
{
	if (r->to)
		return r->to->name;
	return r->sym ? r->sym->name : "";
}

static bool calls_line_function(const struct lp_diff *d, const struct piece *p, uint64_t at, const struct lp_insn *insn,
				unsigned argument)
{
	const struct ref *r = ref_within(p, at, at + insn->len);

	return r && tells_lines(d, name_of(r), argument);
}

/*
 * Compilers that save space load the arguments above a conditional jump that leads to the call itself, past nothing that could
 * load others.
 */
static bool may_jump_to_call(const struct lp_diff *d, const struct piece *p, const struct lp_insn *jump,
			     unsigned argument)
{
	uint64_t size = lp_piece_size(p);
	struct lp_insn insn;

	if (!jump->falls_through || jump->is_call || !jump->has_target || !jump->target_is_code || jump->target >= size)
		return false;
	if (!d->isa->insn(lp_piece_bytes(p) + jump->target, size - jump->target, jump->target, &insn))
		return false;
	return insn.is_call && calls_line_function(d, p, jump->target, &insn, argument);
}

/* Is the number that was loaded before `at` the line that the next call takes? */
static bool line_is_taken(const struct lp_diff *d, const struct piece *p, uint64_t at, unsigned argument)
{
	const uint8_t *code = lp_piece_bytes(p);
	uint64_t size = lp_piece_size(p);
	struct lp_insn insn;

	for (unsigned n = 0; n < LOOK_AHEAD && at < size; n++, at += insn.len) {
		if (!d->isa->insn(code + at, size - at, at, &insn))
			return false;
		bool leaves = insn.is_call || /* a call in tail position is a jump */
			      (!insn.falls_through && ref_within(p, at, at + insn.len));
		if (leaves)
			return calls_line_function(d, p, at, &insn, argument);
		if (may_jump_to_call(d, p, &insn, argument))
			return true;
		if (insn.loads_argument && insn.argument == argument && argument < PUSHED)
			return false;
		if (!insn.falls_through) {
			if (!insn.has_target || !insn.target_is_code || insn.target >= size)
				return false;
			at = insn.target - insn.len; /* a common call at the end of the function */
		}
	}
	return false;
}

static bool is_line(int64_t n)
{
	return n > 0 && n < LINE_MAX_EVER;
}

static bool same_but_line(const struct lp_diff *d, const struct piece *b, const struct piece *a, uint64_t at,
			  const struct lp_insn *x, const struct lp_insn *y)
{
	if (!x->loads_argument || !y->loads_argument || x->argument != y->argument || x->imm_at != y->imm_at ||
	    x->imm_len != y->imm_len || !is_line(x->imm) || !is_line(y->imm))
		return false;
	const uint8_t *p = lp_piece_bytes(b) + at, *q = lp_piece_bytes(a) + at;
	if (memcmp(p, q, x->imm_at) ||
	    memcmp(p + x->imm_at + x->imm_len, q + x->imm_at + x->imm_len, x->len - x->imm_at - x->imm_len))
		return false;
	return line_is_taken(d, b, at + x->len, x->argument) && line_is_taken(d, a, at + y->len, y->argument);
}

/* Refs are known to be equal: the bytes that they cover do not count. */
static bool same_bytes(const struct piece *b, const struct piece *a, uint64_t from, uint64_t to)
{
	const uint8_t *x = lp_piece_bytes(b), *y = lp_piece_bytes(a);

	for (uint64_t at = from; at < to; at++) {
		if (x[at] == y[at])
			continue;
		bool covered = false;
		for (size_t i = 0; i < b->refs.nr && !covered; i++) {
			const struct ref *r = &b->refs.items[i];
			covered = at >= r->at && at < r->at + r->howto->width;
		}
		if (!covered)
			return false;
	}
	return true;
}

bool lp_diff_only_lines(struct lp_diff *d, const struct piece *b, const struct piece *a)
{
	const uint8_t *x = lp_piece_bytes(b), *y = lp_piece_bytes(a);
	uint64_t size = lp_piece_size(b);

	if (!x || !y || size != lp_piece_size(a))
		return false;
	for (uint64_t at = 0; at < size;) {
		struct lp_insn i, k;
		if (!d->isa->insn(x + at, size - at, at, &i) || !d->isa->insn(y + at, size - at, at, &k) ||
		    i.len != k.len)
			return false;
		if (!same_bytes(b, a, at, at + i.len) && !same_but_line(d, b, a, at, &i, &k))
			return false;
		at += i.len;
	}
	return true;
}
