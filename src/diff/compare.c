/*
 * Are twins the same?  Bytes outside of refs must be, and refs must mean the same: twins at the same offset, equal strings, the
 * same name.  Pieces without an identity (strings, jump tables, exception tables) are compared by what they hold; a
 * jump table leads back into its function, so a pair that is being compared counts as equal.
 */
#include "diff/model.h"

#include <string.h>

static bool same_piece(struct lp_diff *d, const struct piece *b, const struct piece *a, char **why);
static bool same_ref_here(struct lp_diff *d, const struct ref *b, const struct ref *a);

/* ---- names ---- */

static const char *ref_name(const struct ref *r)
{
	if (r->to && r->to->kind == PIECE_STRINGS)
		return "a string";
	if (r->to)
		return r->to->name;
	return r->sym ? r->sym->name : "nothing";
}

/* The name under which other units know what the ref leads to; NULL when they do not. */
static const char *global_name(const struct ref *r, int64_t *off)
{
	if (!r->sym || r->sym->type == STT_SECTION || r->sym->bind == STB_LOCAL) {
		const struct symbol *s = r->to ? r->to->sym : NULL;
		if (!s || s->bind == STB_LOCAL)
			return NULL;
		*off = r->off - (int64_t)(s->value - r->to->start);
		return s->name;
	}
	*off = r->addend + r->bias;
	return r->sym->name;
}

/* ---- contents without identity ---- */

static bool same_fragment(const struct ref *b, const struct ref *a)
{
	uint64_t size = lp_diff_fragment_size(b->to, b->anchor);

	if (!size || size != lp_diff_fragment_size(a->to, a->anchor) || b->off - b->anchor != a->off - a->anchor)
		return false;
	return !memcmp(lp_piece_bytes(b->to) + b->anchor, lp_piece_bytes(a->to) + a->anchor, size);
}

static bool is_merged(const struct piece *p)
{
	return p->kind == PIECE_STRINGS || p->kind == PIECE_LITERALS;
}

/* From `from` to the next mark: one string, one table of a section that compilers fill with such. */
static uint64_t extent(const struct piece *p, uint64_t from)
{
	for (size_t i = 0; i < p->marks.nr; i++)
		if (p->marks.items[i] > from)
			return p->marks.items[i] < lp_piece_size(p) ? p->marks.items[i] - from
								    : lp_piece_size(p) - from;
	return lp_piece_size(p) - from;
}

static bool is_zero(const uint8_t *bytes, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; bytes && i < to; i++)
		if (bytes[i])
			return false;
	return true;
}

/* What follows the shorter one has to be padding. */
static bool same_extent(struct lp_diff *d, const struct pair *x)
{
	const struct piece *b = x->a, *a = x->b;
	const uint8_t *p = lp_piece_bytes(b), *q = lp_piece_bytes(a);
	uint64_t nb = extent(b, x->from_a), na = extent(a, x->from_b), n = nb < na ? nb : na;
	size_t i = lp_piece_ref_from(b, x->from_a), k = lp_piece_ref_from(a, x->from_b);
	uint64_t at = 0;

	for (; at < n; at++) {
		const struct ref *r =
			i < b->refs.nr && b->refs.items[i].at == x->from_a + at ? &b->refs.items[i] : NULL;
		const struct ref *s =
			k < a->refs.nr && a->refs.items[k].at == x->from_b + at ? &a->refs.items[k] : NULL;
		if (!r != !s)
			return false;
		if (r) {
			if (!same_ref_here(d, r, s))
				return false;
			i++;
			k++;
			at += r->howto->width - 1u;
		} else if ((p ? p[x->from_a + at] : 0) != (q ? q[x->from_b + at] : 0)) {
			return false;
		}
	}
	bool more_refs = (i < b->refs.nr && b->refs.items[i].at < x->from_a + nb) ||
			 (k < a->refs.nr && a->refs.items[k].at < x->from_b + na);
	return !more_refs && is_zero(p, x->from_a + n, x->from_a + nb) && is_zero(q, x->from_b + n, x->from_b + na);
}

static bool same_content(struct lp_diff *d, const struct piece *b, int64_t from_b, const struct piece *a,
			 int64_t from_a)
{
	struct pair x = {b, a, (uint64_t)from_b, (uint64_t)from_a};

	/* A table addressed from before its begin: nothing says which, so all has to be the same. */
	if (from_b < 0 || from_a < 0 || x.from_a > lp_piece_size(b) || x.from_b > lp_piece_size(a))
		return from_b == from_a && same_piece(d, b, a, NULL);
	for (size_t i = 0; i < d->equal_pairs.nr; i++)
		if (!memcmp(&d->equal_pairs.items[i], &x, sizeof x))
			return true;
	size_t mark = d->equal_pairs.nr;
	lp_vec_push(&d->equal_pairs, x);
	bool same = same_extent(d, &x);
	if (!same)
		d->equal_pairs.nr = mark; /* and what was found equal on that assumption */
	return same;
}

/* Enough of what a by_content piece is for it to be of the other's sort. */
static bool same_sort(const struct piece *b, const struct piece *a)
{
	return b->kind == a->kind && b->by_content && a->by_content;
}

/* ---- refs ---- */

static bool same_type(const struct ref *b, const struct ref *a)
{
	bool pc_b = b->howto->formula == LP_RELOC_PC || b->howto->formula == LP_RELOC_PLT;
	bool pc_a = a->howto->formula == LP_RELOC_PC || a->howto->formula == LP_RELOC_PLT;

	return b->howto == a->howto || (pc_b && pc_a && b->howto->width == a->howto->width);
}

static bool same_global(const struct ref *b, const struct ref *a)
{
	int64_t off_b = 0, off_a = 0;
	const char *name_b = global_name(b, &off_b), *name_a = global_name(a, &off_a);

	return name_b && name_a && off_b == off_a && !strcmp(name_b, name_a);
}

static bool same_ref_here(struct lp_diff *d, const struct ref *b, const struct ref *a)
{
	if (!same_type(b, a))
		return false;
	if (!b->to || !a->to)
		return same_global(b, a);
	if (is_merged(b->to) || is_merged(a->to))
		return b->to->kind == a->to->kind && same_fragment(b, a);
	if (same_sort(b->to, a->to))
		return same_content(d, b->to, b->off, a->to, a->off);
	if (b->to->twin == a->to)
		return b->off == a->off;
	return same_global(b, a);
}

/* ---- bytes ---- */

/* The first byte that differs and belongs to no ref; the size when there is none. */
static uint64_t first_difference(const struct piece *b, const struct piece *a)
{
	const uint8_t *x = lp_piece_bytes(b), *y = lp_piece_bytes(a);
	uint64_t size = lp_piece_size(b), at = 0;

	for (size_t i = 0; i <= b->refs.nr; i++) {
		uint64_t stop = i < b->refs.nr ? b->refs.items[i].at : size;
		for (; at < stop; at++)
			if ((x ? x[at] : 0) != (y ? y[at] : 0))
				return at;
		if (i < b->refs.nr && at < stop + b->refs.items[i].howto->width)
			at = stop + b->refs.items[i].howto->width;
	}
	return size;
}

static bool differ(char **why, char *text)
{
	if (why)
		*why = text;
	else
		lp_free(text);
	return false;
}

static const char *what(const struct piece *p)
{
	return p->kind == PIECE_CODE ? "code" : "contents";
}

static const char *sort_of(const struct piece *p)
{
	if (p->kind == PIECE_STRINGS)
		return "string";
	return p->by_content ? "string or table" : p->name;
}

static bool same_refs(struct lp_diff *d, const struct piece *b, const struct piece *a, char **why)
{
	for (size_t i = 0; i < b->refs.nr && i < a->refs.nr; i++) {
		const struct ref *r = &b->refs.items[i], *s = &a->refs.items[i];
		if (r->at != s->at)
			return differ(why,
				      lp_sprintf("%s differs at +0x%" PRIx64, what(a), r->at < s->at ? r->at : s->at));
		if (same_ref_here(d, r, s))
			continue;
		if (r->to && s->to && (r->to->by_content || !strcmp(ref_name(r), ref_name(s))))
			return differ(why,
				      lp_sprintf("refers to a different %s at +0x%" PRIx64, sort_of(s->to), s->at));
		return differ(why,
			      lp_sprintf("refers to %s instead of %s at +0x%" PRIx64, ref_name(s), ref_name(r), s->at));
	}
	if (b->refs.nr != a->refs.nr)
		return differ(why, lp_sprintf("%zu references instead of %zu", a->refs.nr, b->refs.nr));
	return true;
}

static bool same_entries(const struct piece *b, const struct piece *a, char **why)
{
	for (size_t i = 0; i < b->entries.nr && b->entries.nr > 1; i++) {
		const struct symbol *s = b->entries.items[i];
		for (size_t k = 0; k < a->entries.nr; k++) {
			const struct symbol *t = a->entries.items[k];
			if (!strcmp(s->name, t->name) && s->value - b->start != t->value - a->start)
				return differ(why, lp_sprintf("%s moved within %s", s->name, a->name));
		}
	}
	return true;
}

static bool same_piece(struct lp_diff *d, const struct piece *b, const struct piece *a, char **why)
{
	uint64_t old_size = lp_piece_size(b), new_size = lp_piece_size(a), at;

	if (old_size != new_size)
		return differ(why, lp_sprintf("size %" PRIu64 " instead of %" PRIu64, new_size, old_size));
	if (!same_entries(b, a, why) || !same_refs(d, b, a, why))
		return false;
	at = first_difference(b, a);
	if (at == new_size)
		return true;
	if (a->kind == PIECE_CODE && lp_diff_only_lines(d, b, a))
		return true;
	return differ(why, lp_sprintf("%s differs at +0x%" PRIx64, what(a), at));
}

/* Catching what was not caught before is a change as well, and in the code there may be no trace of it. */
static bool same_lsda(struct lp_diff *d, const struct piece *b, const struct piece *a, char **why)
{
	if (!b->lsda && !a->lsda)
		return true;
	if (b->lsda && a->lsda && same_content(d, b->lsda, b->lsda_at, a->lsda, a->lsda_at))
		return true;
	return differ(why, lp_sprintf("handles exceptions differently"));
}

bool lp_diff_same(struct lp_diff *d, const struct piece *before, const struct piece *after, char **why)
{
	*why = NULL;
	if (!same_piece(d, before, after, why))
		return false;
	return after->kind != PIECE_CODE || same_lsda(d, before, after, why);
}

void lp_diff_spread_over_parts(struct object *o)
{
	for (size_t i = 0; i < o->pieces.nr; i++) {
		struct piece *p = o->pieces.items[i];
		if (!p->parent || p->parent->changed || !p->parent->twin)
			continue;
		if (p->changed || !p->twin) {
			p->parent->changed = true;
			p->parent->why = lp_sprintf("its part %s %s", p->name, p->why ? p->why : "is new");
		}
	}
	for (size_t i = 0; i < o->pieces.nr; i++) {
		struct piece *p = o->pieces.items[i];
		if (p->parent && p->parent->changed)
			p->changed = true;
	}
}

void lp_diff_compare(struct lp_diff *d, struct unit *u)
{
	struct object *o = u->after;

	for (size_t i = 0; u->before && o && i < o->pieces.nr; i++) {
		struct piece *p = o->pieces.items[i];
		if (p->twin && p->kind != PIECE_UNWIND && p->kind != PIECE_HOOKS)
			p->changed = !lp_diff_same(d, p->twin, p, &p->why);
	}
	if (o)
		lp_diff_spread_over_parts(o);
}
