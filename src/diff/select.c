/*
 * What travels: every changed function that is in the original, hooks, and all that these need and the original does not have.
 */
#include "diff/model.h"

#include <string.h>

static void include(struct lp_diff *d, struct piece *p, char *why)
{
	if (p->included) {
		lp_free(why);
		return;
	}
	p->included = true;
	if (p->why)
		lp_free(why);
	else
		p->why = why;
	lp_vec_push(&d->included, p);
}

static void include_fragment(struct lp_diff *d, const struct ref *r, struct piece *p)
{
	struct fragment f = {.from = p, .at = (uint64_t)r->anchor, .size = lp_diff_fragment_size(p, r->anchor)};

	for (size_t i = 0; i < d->fragments.nr; i++)
		if (d->fragments.items[i].from == p && d->fragments.items[i].at == f.at)
			return;
	f.align = p->obj->sections[p->section].header->sh_addralign;
	lp_vec_push(&d->fragments, f);
}

static char *why_needed(const struct piece *user, const struct ref *r, const struct piece *p)
{
	bool called = p->kind == PIECE_CODE && (r->is_call || r->howto->formula == LP_RELOC_PLT);
	const char *how = called ? "called by" : "used by";

	if (p->by_content || p->kind == PIECE_LSDA)
		return lp_sprintf("belongs to %s", user->name);
	if (p->parent)
		return lp_sprintf("part of %s", p->parent->name);
	return lp_sprintf("%s %s, and %s", how, user->name, p->twin ? "not in the original" : "new");
}

static void need(struct lp_diff *d, struct piece *user, const struct ref *r)
{
	struct target t = lp_diff_target_of(d, user, r);

	if (t.kind == TARGET_FRAGMENT)
		include_fragment(d, r, t.piece);
	else if (t.kind == TARGET_PIECE)
		include(d, t.piece, why_needed(user, r, t.piece));
}

static void need_range(struct lp_diff *d, struct piece *p, uint64_t from, uint64_t to)
{
	for (size_t i = 0; i < p->refs.nr; i++)
		if (p->refs.items[i].at >= from && p->refs.items[i].at < to)
			need(d, p, &p->refs.items[i]);
}

/* What the unwinder needs: the personality routine, the exception table. */
static void need_unwind(struct lp_diff *d, const struct piece *p)
{
	struct object *o = p->obj;

	for (size_t i = 0; i < o->unwind_entries.nr; i++) {
		const struct unwind_entry *e = &o->unwind_entries.items[i];
		const struct unwind_entry *cie = e->piece == p ? lp_diff_unwind_entry(o, e->cie) : NULL;
		if (!cie)
			continue;
		need_range(d, o->unwind, e->at, e->at + e->size);
		need_range(d, o->unwind, cie->at, cie->at + cie->size);
	}
}

/* Included pieces are appended while the list is walked. */
static void close_over_refs(struct lp_diff *d)
{
	for (size_t i = 0; i < d->included.nr; i++) {
		struct piece *p = d->included.items[i];
		for (size_t k = 0; k < p->refs.nr; k++)
			need(d, p, &p->refs.items[k]);
		if (p->kind == PIECE_CODE)
			need_unwind(d, p);
	}
}

/* ---- replaced functions ---- */

static bool is_entry_point(const struct symbol *s)
{
	return s->type == STT_FUNC || s->type == STT_GNU_IFUNC || s->type == STT_NOTYPE;
}

static bool listed_before(const struct piece *p, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (p->entries.items[k]->value == p->entries.items[i]->value)
			return true;
	return false;
}

static const struct symbol *same_entry(const struct piece *before, const struct piece *after, size_t i)
{
	const char *name = after->entries.items[i]->name;

	for (size_t k = 0; k < before->entries.nr; k++)
		if (!strcmp(before->entries.items[k]->name, name))
			return before->entries.items[k];
	return i ? NULL : before->sym; /* a clone that was renumbered */
}

/* A function without a size of its own ends where the next entry of the piece, or the piece, does. */
static uint64_t size_of_entry(const struct piece *p, const struct symbol *s)
{
	uint64_t end = p->end;

	if (s->size)
		return s->size;
	for (size_t i = 0; i < p->entries.nr; i++)
		if (p->entries.items[i]->value > s->value && p->entries.items[i]->value < end)
			end = p->entries.items[i]->value;
	return end - s->value;
}

static void refuse_place(struct lp_diff *d, const struct piece *p, enum origin_state state)
{
	if (state == ORIGIN_AMBIGUOUS)
		lp_diff_refuse(d, REFUSE_AMBIGUOUS, p->name, p->obj->unit->name,
			       "%s changed (%s), and the original has several of that name", p->name, p->why);
}

/* True when at least one entry of the function is in the original. */
static bool replace(struct lp_diff *d, struct piece *p)
{
	bool any = false;

	for (size_t i = 0; i < p->entries.nr; i++) {
		const struct symbol *s = p->entries.items[i], *old = same_entry(p->twin, p, i);
		struct replacement r = {.piece = p, .entry = s, .before = p->twin};
		if (!is_entry_point(s) || listed_before(p, i) || !old)
			continue;
		enum origin_state state = lp_diff_origin_of(d, p->twin, old, &r.origin);
		refuse_place(d, p, state);
		if (state != ORIGIN_FOUND)
			continue;
		if (!r.origin.size) /* as linked it may be shorter: branches within one section are */
			r.origin.size = size_of_entry(p->twin, old);
		lp_vec_push(&d->replaced, r);
		any = true;
	}
	return any;
}

/* Of several copies of an inline function, one stands for all. */
static bool is_stood_for(const struct lp_diff *d, const struct piece *p)
{
	struct piece *first = p->sym && p->sym->bind != STB_LOCAL ? lp_diff_global(d, p->sym->name) : NULL;

	return first && first != p && first->changed && first->obj != p->obj;
}

static void select_changed(struct lp_diff *d, struct object *o)
{
	for (size_t i = 0; i < o->pieces.nr; i++) {
		struct piece *p = o->pieces.items[i];
		if (p->kind == PIECE_HOOKS)
			include(d, p, lp_sprintf("hooks"));
		if (p->kind != PIECE_CODE || !p->changed || !p->twin || p->parent || is_stood_for(d, p))
			continue;
		if (!p->sym)
			lp_diff_refuse(d, REFUSE_NOT_FOUND, p->name, o->unit->name,
				       "code in section %s changed (%s), and has no name to find it by", p->name,
				       p->why);
		else if (replace(d, p))
			include(d, p, NULL);
	}
}

/* ---- merged functions ---- */

static const struct symbol *entry_called(const struct piece *p, const char *name)
{
	for (size_t i = 0; i < p->entries.nr; i++)
		if (!strcmp(p->entries.items[i]->name, name))
			return p->entries.items[i];
	return NULL;
}

/*
 * Compilers make one function of two with equal code, and give it both names.  When that is so in `after` alone, one of
 * the two has lost its twin, and may well have changed all the same.
 */
static void select_merged(struct lp_diff *d, struct unit *u, const struct piece *p)
{
	struct piece *q = lp_diff_code_named(u->after, p->name, strlen(p->name));
	struct replacement r = {.piece = q, .before = p};
	char *why;

	if (!q || lp_diff_same(d, p, q, &why))
		return;
	r.entry = entry_called(q, p->name);
	if (lp_diff_origin_of(d, p, NULL, &r.origin) != ORIGIN_FOUND) {
		lp_free(why);
		return;
	}
	if (!r.origin.size)
		r.origin.size = lp_piece_size(p);
	lp_vec_push(&d->replaced, r);
	include(d, q, why);
}

static void select_all_merged(struct lp_diff *d, struct unit *u)
{
	for (size_t i = 0; u->before && u->after && i < u->before->pieces.nr; i++) {
		const struct piece *p = u->before->pieces.items[i];
		if (p->kind == PIECE_CODE && !p->twin && p->sym && !p->parent)
			select_merged(d, u, p);
	}
}

/* ---- telling ---- */

/* One line for each function of before that the piece replaces; false when there is none. */
static bool tell_replaced(struct lp_diff *d, const struct piece *p)
{
	const struct piece *last = NULL;

	for (size_t i = 0; i < d->replaced.nr; i++) {
		const struct replacement *r = &d->replaced.items[i];
		if (r->piece != p || r->before == last)
			continue;
		struct lp_diff_change *c = lp_diff_tell(d, LP_DIFF_FUNCTION_CHANGED, p, p->why);
		if (r->before != p->twin)
			c->name = r->entry->name;
		c->old_addr = r->origin.addr;
		c->old_size = r->origin.size;
		last = r->before;
	}
	return last;
}

static void tell(struct lp_diff *d, const struct piece *p)
{
	if (p->by_content || p->parent || p->kind == PIECE_LSDA)
		return;
	if (p->kind == PIECE_HOOKS) {
		lp_diff_tell(d, LP_DIFF_HOOK, p, "asked for in the new source");
	} else if (p->kind == PIECE_CODE) {
		if (!tell_replaced(d, p))
			lp_diff_tell(d, LP_DIFF_FUNCTION_NEW, p, p->why);
	} else {
		bool constant = p->kind == PIECE_CONST && p->twin;
		struct lp_diff_change *c =
			lp_diff_tell(d, constant ? LP_DIFF_CONST_CHANGED : LP_DIFF_DATA_NEW, p, p->why);
		c->old_size = constant ? lp_piece_size(p->twin) : 0;
	}
}

static void tell_all(struct lp_diff *d)
{
	for (size_t i = 0; i < d->units.nr; i++) {
		struct object *o = d->units.items[i].after;
		for (size_t k = 0; o && k < o->pieces.nr; k++)
			if (o->pieces.items[k]->included)
				tell(d, o->pieces.items[k]);
	}
}

void lp_diff_select(struct lp_diff *d)
{
	for (size_t i = 0; i < d->units.nr; i++)
		if (d->units.items[i].after)
			select_changed(d, d->units.items[i].after);
	for (size_t i = 0; i < d->units.nr; i++)
		select_all_merged(d, &d->units.items[i]);
	close_over_refs(d);
	tell_all(d);
}
