/*
 * Twins: which piece of `after` is which piece of `before`.
 *
 * A plain name is an identity within its unit.  Names that the compiler numbered (static locals: count.0, clones: f.isra.3) are
 * not: adding one variable renumbers the others.  For a static local, the functions that use it say which one it is: the first
 * `count` that f mentions is its first `count` of before.  What that leaves open is paired when only one is left of a base name, or when name and content agree;
 * else it stays unpaired, and a removed variable is a refusal rather than a mixed-up one.
 *
 * Clones of functions may be paired by number even when the optimizer reshuffled them: callers that are not replaced
 * are those whose calls still lead to the twin, so that old callers and new clones agree whatever the names are.
 */
#include "diff/model.h"

#include <stdlib.h>
#include <string.h>

/* ---- lists of unpaired pieces by name ---- */

struct list {
	LP_VEC(struct piece *) p;
};

static int by_name(const void *a, const void *b)
{
	const struct piece *x = *(struct piece *const *)a, *y = *(struct piece *const *)b;
	int c = strcmp(x->name, y->name);

	return c ? c : x->order < y->order ? -1 : x->order > y->order;
}

static int by_base(const void *a, const void *b)
{
	const struct piece *x = *(struct piece *const *)a, *y = *(struct piece *const *)b;
	size_t lx = lp_diff_base_length(x->name), ly = lp_diff_base_length(y->name);
	int c = strncmp(x->name, y->name, lx < ly ? lx : ly);

	if (c || lx != ly)
		return c ? c : lx < ly ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static bool same_base(const struct piece *a, const struct piece *b)
{
	size_t len = lp_diff_base_length(a->name);

	return len == lp_diff_base_length(b->name) && !strncmp(a->name, b->name, len);
}

static struct list list_of(const struct object *o, bool (*wanted)(const struct piece *),
			   int (*order)(const void *, const void *))
{
	struct list l = {0};

	for (size_t i = 0; i < o->pieces.nr; i++) {
		struct piece *p = o->pieces.items[i];
		if (!p->twin && !p->by_content && p->kind != PIECE_UNWIND && wanted(p))
			lp_vec_push(&l.p, p);
	}
	if (l.p.nr)
		qsort(l.p.items, l.p.nr, sizeof *l.p.items, order);
	return l;
}

/* Code with code, data with data; whether it is still the same kind of data is for judge.c. */
static bool comparable(const struct piece *a, const struct piece *b)
{
	bool data_a = a->kind == PIECE_DATA || a->kind == PIECE_CONST || a->kind == PIECE_TLS;
	bool data_b = b->kind == PIECE_DATA || b->kind == PIECE_CONST || b->kind == PIECE_TLS;

	return a->kind == b->kind || (data_a && data_b);
}

static void pair_up(struct piece *before, struct piece *after)
{
	before->twin = after;
	after->twin = before;
}

/* ---- plain names, and whatever has the same name and comes in the same order ---- */

static bool plain(const struct piece *p)
{
	return !p->sym || p->sym->bind != STB_LOCAL || !lp_diff_is_numbered(p->name) || p->parent;
}

static void pair_by_name(struct unit *u, bool (*wanted)(const struct piece *))
{
	struct list b = list_of(u->before, wanted, by_name), a = list_of(u->after, wanted, by_name);

	for (size_t i = 0, k = 0; i < b.p.nr && k < a.p.nr;) {
		int c = strcmp(b.p.items[i]->name, a.p.items[k]->name);
		if (!c && comparable(b.p.items[i], a.p.items[k]))
			pair_up(b.p.items[i], a.p.items[k]);
		i += c <= 0;
		k += c >= 0;
	}
	lp_vec_free(&b.p);
	lp_vec_free(&a.p);
}

/* ---- clones: by name, then in order among those of one base ---- */

static bool clone(const struct piece *p)
{
	return p->kind == PIECE_CODE && !plain(p);
}

static size_t run_of(const struct list *l, size_t from)
{
	size_t n = 1;

	while (from + n < l->p.nr && same_base(l->p.items[from], l->p.items[from + n]))
		n++;
	return n;
}

typedef void run_pairer(struct piece **before, size_t nr_before, struct piece **after, size_t nr_after);

/* Calls `pair` for each base name that is on both sides. */
static void by_runs(struct unit *u, bool (*wanted)(const struct piece *), run_pairer *pair)
{
	struct list b = list_of(u->before, wanted, by_base), a = list_of(u->after, wanted, by_base);

	for (size_t i = 0, k = 0; i < b.p.nr && k < a.p.nr;) {
		size_t n = run_of(&b, i), m = run_of(&a, k);
		if (same_base(b.p.items[i], a.p.items[k])) {
			pair(b.p.items + i, n, a.p.items + k, m);
			i += n;
			k += m;
		} else if (by_base(&b.p.items[i], &a.p.items[k]) < 0) {
			i += n;
		} else {
			k += m;
		}
	}
	lp_vec_free(&b.p);
	lp_vec_free(&a.p);
}

static void pair_in_order(struct piece **before, size_t nr_before, struct piece **after, size_t nr_after)
{
	if (nr_before != nr_after)
		return;
	for (size_t i = 0; i < nr_before; i++)
		pair_up(before[i], after[i]);
}

/* ---- numbered data: by who uses it ---- */

static bool numbered_data(const struct piece *p)
{
	return p->kind != PIECE_CODE && !plain(p);
}

static bool contains(const struct list *l, const struct piece *p)
{
	for (size_t i = 0; i < l->p.nr; i++)
		if (l->p.items[i] == p)
			return true;
	return false;
}

/* The unpaired numbered data that a function mentions, in the order of their first mention. */
static struct list mentioned(const struct piece *function)
{
	struct list l = {0};

	for (size_t i = 0; i < function->refs.nr; i++) {
		struct piece *to = function->refs.items[i].to;
		if (to && !to->twin && !to->by_content && numbered_data(to) && !contains(&l, to))
			lp_vec_push(&l.p, to);
	}
	return l;
}

static size_t count_like(const struct list *l, const struct piece *p)
{
	size_t n = 0;

	for (size_t i = 0; i < l->p.nr; i++)
		n += same_base(l->p.items[i], p);
	return n;
}

static struct piece *first_unpaired_like(const struct list *l, const struct piece *p)
{
	for (size_t i = 0; i < l->p.nr; i++)
		if (!l->p.items[i]->twin && same_base(l->p.items[i], p))
			return l->p.items[i];
	return NULL;
}

static bool pair_by_user(struct piece *before, struct piece *after)
{
	struct list b = mentioned(before), a = mentioned(after);
	bool any = false;

	for (size_t i = 0; i < b.p.nr; i++) {
		struct piece *p = b.p.items[i];
		if (p->twin || count_like(&b, p) != count_like(&a, p))
			continue;
		struct piece *q = first_unpaired_like(&a, p);
		if (q && comparable(p, q)) {
			pair_up(p, q);
			any = true;
		}
	}
	lp_vec_free(&b.p);
	lp_vec_free(&a.p);
	return any;
}

static void pair_by_users(struct unit *u)
{
	for (size_t i = 0; i < u->before->pieces.nr; i++) {
		struct piece *p = u->before->pieces.items[i];
		if (p->twin)
			pair_by_user(p, p->twin);
	}
}

static bool same_contents(const struct piece *a, const struct piece *b)
{
	const uint8_t *x = lp_piece_bytes(a), *y = lp_piece_bytes(b);
	uint64_t size = lp_piece_size(a);

	if (size != lp_piece_size(b) || a->refs.nr != b->refs.nr)
		return false;
	return x && y ? !memcmp(x, y, size) : !x == !y;
}

static void pair_the_rest(struct piece **before, size_t nr_before, struct piece **after, size_t nr_after)
{
	if (nr_before == 1 && nr_after == 1 && comparable(*before, *after)) {
		pair_up(*before, *after);
		return;
	}
	for (size_t i = 0; i < nr_before; i++)
		for (size_t k = 0; k < nr_after; k++)
			if (!before[i]->twin && !after[k]->twin && !strcmp(before[i]->name, after[k]->name) &&
			    comparable(before[i], after[k]) && same_contents(before[i], after[k]))
				pair_up(before[i], after[k]);
}

void lp_diff_correlate(struct unit *u)
{
	if (!u->before || !u->after)
		return;
	pair_by_name(u, plain);
	pair_by_name(u, clone);
	by_runs(u, clone, pair_in_order);
	pair_by_users(u);
	by_runs(u, numbered_data, pair_the_rest);
}

/* ---- what moved from one unit to another ---- */

static bool moved(const struct piece *p)
{
	return p->sym && p->sym->bind == STB_GLOBAL && p->kind != PIECE_INIT && p->kind != PIECE_HOOKS;
}

static void append(struct list *to, const struct object *o)
{
	struct list l = o ? list_of(o, moved, by_name) : (struct list){0};

	for (size_t i = 0; i < l.p.nr; i++)
		lp_vec_push(&to->p, l.p.items[i]);
	lp_vec_free(&l.p);
}

static int by_name_alone(const void *a, const void *b)
{
	return strcmp((*(struct piece *const *)a)->name, (*(struct piece *const *)b)->name);
}

void lp_diff_correlate_across(struct lp_diff *d)
{
	struct list b = {0}, a = {0};

	for (size_t i = 0; i < d->units.nr; i++) {
		append(&b, d->units.items[i].before);
		append(&a, d->units.items[i].after);
	}
	if (b.p.nr)
		qsort(b.p.items, b.p.nr, sizeof *b.p.items, by_name_alone);
	for (size_t i = 0; b.p.nr && i < a.p.nr; i++) {
		struct piece **found = bsearch(&a.p.items[i], b.p.items, b.p.nr, sizeof *b.p.items, by_name_alone);
		if (found && !(*found)->twin && comparable(*found, a.p.items[i]))
			pair_up(*found, a.p.items[i]);
	}
	lp_vec_free(&b.p);
	lp_vec_free(&a.p);
}
