/*
 * What must not differ, because the running program has already made something of it: variables hold values, constructors have
 * run, objects point to virtual tables, threads have their blocks.
 */
#include "diff/model.h"

#include <string.h>

static const char *unit_name(const struct piece *p)
{
	return p->obj->unit->name;
}

static bool holds_values(const struct piece *p)
{
	return p->kind == PIECE_DATA || p->kind == PIECE_CONST || p->kind == PIECE_TLS;
}

static const char *kind_text(enum piece_kind kind)
{
	return kind == PIECE_TLS ? "thread-local" : kind == PIECE_CONST ? "constant" : "writable";
}

/* ---- twins ---- */

static void judge_variable(struct lp_diff *d, const struct piece *p)
{
	uint64_t old_size = lp_piece_size(p->twin), new_size = lp_piece_size(p);

	if (p->kind == PIECE_TLS)
		lp_diff_refuse(d, REFUSE_TLS_CHANGED, p->name, unit_name(p), "thread-local variable %s: %s", p->name,
			       p->why);
	else if (old_size != new_size)
		lp_diff_refuse(d, REFUSE_DATA_SIZE, p->name, unit_name(p),
			       "variable %s has %" PRIu64 " bytes instead of %" PRIu64, p->name, new_size, old_size);
	else
		lp_diff_refuse(d, REFUSE_INITIALISER, p->name, unit_name(p),
			       "the initialiser of variable %s changed: %s", p->name, p->why);
}

/* What ran when the program started, and what the dynamic linker asked once. */
static void judge_runs_once(struct lp_diff *d, const struct piece *list)
{
	bool at_end = !strncmp(list->name, ".fini", 5) || !strncmp(list->name, ".dtors", 6);

	for (size_t i = 0; i < list->refs.nr && !at_end; i++) {
		const struct piece *p = list->refs.items[i].to;
		if (p && p->kind == PIECE_CODE && p->twin && p->changed && !lp_diff_is_initialiser(p->name))
			lp_diff_refuse(d, REFUSE_INIT, p->name, unit_name(p), "constructor %s changed: %s", p->name,
				       p->why);
	}
}

static bool is_resolver(const struct piece *p)
{
	return p->kind == PIECE_CODE && p->sym && p->sym->type == STT_GNU_IFUNC;
}

static void judge_twin(struct lp_diff *d, const struct piece *p)
{
	if (p->kind == PIECE_INIT)
		judge_runs_once(d, p);
	if (is_resolver(p) && p->changed)
		lp_diff_refuse(d, REFUSE_RESOLVER, p->name, unit_name(p), "the resolver of %s changed: %s", p->name,
			       p->why);
	if (holds_values(p) && p->kind != p->twin->kind)
		lp_diff_refuse(d, REFUSE_DATA_KIND, p->name, unit_name(p), "%s is %s, and was %s", p->name,
			       kind_text(p->kind), kind_text(p->twin->kind));
	else if (!p->changed)
		return;
	else if (p->kind == PIECE_DATA || p->kind == PIECE_TLS)
		judge_variable(d, p);
	else if (p->kind == PIECE_CONST && lp_diff_is_class_data(p->name))
		lp_diff_refuse(d, REFUSE_CLASS_DATA, p->name, unit_name(p), "class data %s changed: %s", p->name,
			       p->why);
	else if (p->kind == PIECE_INIT || (p->kind == PIECE_CODE && lp_diff_is_initialiser(p->name)))
		lp_diff_refuse(d, REFUSE_INIT, p->name, unit_name(p), "static initialisation (%s) changed: %s", p->name,
			       p->why);
}

/* ---- new and removed ---- */

static bool in_linker_set(const struct piece *p)
{
	return p->section && p->kind != PIECE_CODE && lp_diff_is_linker_set(p->obj->sections[p->section].name);
}

static void judge_new(struct lp_diff *d, const struct piece *p)
{
	if (p->kind == PIECE_INIT)
		lp_diff_refuse(d, REFUSE_INIT, p->name, unit_name(p),
			       "%s has static initialisation (%s) that it did not have", unit_name(p), p->name);
	else if (is_resolver(p))
		lp_diff_refuse(d, REFUSE_RESOLVER, p->name, unit_name(p), "%s is a new function with a resolver",
			       p->name);
	else if (in_linker_set(p))
		lp_diff_refuse(d, REFUSE_LINKER_SET, p->name, unit_name(p), "%s is a new member of the linker set %s",
			       p->name, p->obj->sections[p->section].name);
}

static void judge_removed(struct lp_diff *d, const struct piece *p)
{
	if (p->kind == PIECE_INIT)
		lp_diff_refuse(d, REFUSE_INIT, p->name, unit_name(p), "static initialisation (%s) of %s is gone",
			       p->name, unit_name(p));
	else if (in_linker_set(p))
		lp_diff_refuse(d, REFUSE_LINKER_SET, p->name, unit_name(p),
			       "%s is no member of the linker set %s any more", p->name,
			       p->obj->sections[p->section].name);
	else if ((p->kind == PIECE_DATA || p->kind == PIECE_TLS) && p->sym &&
		 (p->sym->bind == STB_LOCAL || !lp_diff_global(d, p->name)))
		lp_diff_refuse(d, REFUSE_REMOVED_DATA, p->name, unit_name(p), "variable %s of %s is gone", p->name,
			       unit_name(p));
}

static bool has_merged(const struct lp_diff *d, const struct piece *p)
{
	const struct object *after = d->units.items[p->obj->unit_index].after;

	return p->kind == PIECE_CODE && after && lp_diff_code_named(after, p->name, strlen(p->name));
}

static void tell_removed(struct lp_diff *d, const struct piece *p)
{
	bool known = p->sym && !has_merged(d, p) && (p->sym->bind == STB_LOCAL || !lp_diff_global(d, p->name));
	struct lp_diff_change *c;

	if (!known || p->parent || (p->kind != PIECE_CODE && p->kind != PIECE_DATA))
		return;
	c = lp_diff_tell(d, p->kind == PIECE_CODE ? LP_DIFF_FUNCTION_REMOVED : LP_DIFF_DATA_REMOVED, p,
			 "not in the new source");
	c->old_size = lp_piece_size(p);
	c->new_size = 0;
}

void lp_diff_judge(struct lp_diff *d, struct unit *u)
{
	for (size_t i = 0; u->after && i < u->after->pieces.nr; i++) {
		struct piece *p = u->after->pieces.items[i];
		if (p->by_content || p->kind == PIECE_UNWIND || p->kind == PIECE_HOOKS)
			continue;
		if (p->twin)
			judge_twin(d, p);
		else
			judge_new(d, p);
	}
	for (size_t i = 0; u->before && i < u->before->pieces.nr; i++) {
		struct piece *p = u->before->pieces.items[i];
		if (p->by_content || p->twin || p->kind == PIECE_UNWIND || p->kind == PIECE_HOOKS)
			continue;
		judge_removed(d, p);
		tell_removed(d, p);
	}
}

/* ---- constants that changed, and who uses them ---- */

static bool is_changed_constant(const struct piece *p)
{
	return p->kind == PIECE_CONST && p->twin && p->changed && !p->by_content && !lp_diff_is_class_data(p->name);
}

static bool leads_to(const struct ref *r, const struct piece *p)
{
	if (r->to)
		return r->to == p;
	return r->sym && p->sym->bind != STB_LOCAL && !strcmp(r->sym->name, p->name);
}

static bool uses(const struct piece *p, const struct piece *constant)
{
	for (size_t i = 0; i < p->refs.nr; i++)
		if (leads_to(&p->refs.items[i], constant))
			return true;
	return false;
}

static bool change_user(struct lp_diff *d, struct piece *p, const struct piece *constant)
{
	if (p->changed || !p->twin || p == constant || p->kind == PIECE_UNWIND || !uses(p, constant))
		return false;
	if (p->kind == PIECE_DATA || p->kind == PIECE_TLS || p->kind == PIECE_INIT) {
		lp_diff_refuse(d, REFUSE_CONST_USED, constant->name, unit_name(constant),
			       "constant %s changed, and variable %s points to it", constant->name, p->name);
		return false;
	}
	p->changed = true;
	lp_free(p->why);
	p->why = lp_sprintf("uses constant %s, which changed", constant->name);
	return true;
}

static bool is_wanted_by(struct lp_elf *e, const char *name)
{
	struct lp_elf_sym s;

	for (size_t at = 0; lp_elf_symbol_by_name(e, LP_SYMTAB, name, &at, &s);)
		if (s.bind != STB_LOCAL) /* undefined, or a copy of its own of what is inline */
			return true;
	return false;
}

/* Units that are not in the input have the constant's old address, or even its old value, in their code. */
static void judge_strangers(struct lp_diff *d, const struct piece *p)
{
	if (p->sym->bind == STB_LOCAL)
		return;
	if (!d->in.nr_others)
		lp_diff_refuse(d, REFUSE_CONST_USED, p->name, unit_name(p),
			       "constant %s changed, and other units of the program may use it", p->name);
	for (size_t i = 0; i < d->in.nr_others; i++)
		if (is_wanted_by(d->in.others[i], p->name))
			lp_diff_refuse(d, REFUSE_CONST_USED, p->name, unit_name(p),
				       "constant %s changed, and %s uses it", p->name, lp_elf_name(d->in.others[i]));
}

typedef bool piece_step(struct lp_diff *d, struct piece *p, const struct piece *constant);

static bool for_all_after(struct lp_diff *d, piece_step *step, const struct piece *constant)
{
	bool any = false;

	for (size_t i = 0; i < d->units.nr; i++) {
		struct object *o = d->units.items[i].after;
		for (size_t k = 0; o && k < o->pieces.nr; k++)
			any |= step(d, o->pieces.items[k], constant);
	}
	return any;
}

/* Who uses a changed constant changes; a constant that does is a changed constant in its turn. */
static bool change_users_of(struct lp_diff *d, struct piece *p, const struct piece *unused)
{
	(void)unused;
	return is_changed_constant(p) && for_all_after(d, change_user, p);
}

static bool judge_strangers_of(struct lp_diff *d, struct piece *p, const struct piece *unused)
{
	(void)unused;
	if (is_changed_constant(p))
		judge_strangers(d, p);
	return false;
}

void lp_diff_spread(struct lp_diff *d)
{
	while (for_all_after(d, change_users_of, NULL))
		;
	for_all_after(d, judge_strangers_of, NULL);
	for (size_t i = 0; i < d->units.nr; i++)
		if (d->units.items[i].after)
			lp_diff_spread_over_parts(d->units.items[i].after);
}
