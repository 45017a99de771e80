/*
 * Code, decoded: how far behind its field a pc-relative address counts from, and which branches the assembler resolved
 * by itself because both ends are in one section.
 *
 * Compilers put every function into a section of its own, and no such branches exist.  Hand-written assembly has one
 * section for all; there, pieces that run or jump into each other by less than a full distance are joined, and the other
 * branches between pieces become refs, as if they had been relocated.
 */
#include "diff/model.h"

#include <string.h>

typedef void visitor(void *arg, struct piece *p, const struct lp_insn *insn, uint64_t at);

/* All instructions of a piece in order; what does not decode is skipped by the least that an instruction takes. */
static void walk(struct piece *p, visitor *visit, void *arg)
{
	const struct object *o = p->obj;
	const uint8_t *code = lp_piece_bytes(p);
	uint64_t size = p->limit - p->start;

	for (uint64_t at = 0; code && at < size;) {
		struct lp_insn insn;
		if (o->isa->insn(code + at, size - at, p->start + at, &insn)) {
			visit(arg, p, &insn, at);
			at += insn.len;
		} else {
			at += o->isa->insn_align;
		}
	}
}

/* ---- biases ---- */

static bool counts_from_pc(const struct ref *r)
{
	switch (r->howto->formula) {
	case LP_RELOC_PC:
	case LP_RELOC_PLT:
	case LP_RELOC_GOTPC:
	case LP_RELOC_GOTBASE:
	case LP_RELOC_GOTTP:
	case LP_RELOC_TLSGD:
	case LP_RELOC_TLSLD:
	case LP_RELOC_TLSDESC_PC:
		return true;
	default:
		return false;
	}
}

static void set_bias(void *arg, struct piece *p, const struct lp_insn *insn, uint64_t at)
{
	size_t *next = arg;

	for (; *next < p->refs.nr && p->refs.items[*next].at < at + insn->len; (*next)++) {
		struct ref *r = &p->refs.items[*next];
		if (r->at < at)
			continue;
		r->is_call = insn->is_call || insn->target_is_code;
		if (counts_from_pc(r))
			r->bias = (int64_t)insn->pc_at - (int64_t)(insn->pc_at ? r->at - at : 0);
	}
}

void lp_diff_decode_biases(struct object *o)
{
	for (size_t i = 0; i < o->pieces.nr; i++) {
		size_t next = 0;
		if (o->pieces.items[i]->kind == PIECE_CODE)
			walk(o->pieces.items[i], set_bias, &next);
	}
}

/* ---- pieces that cannot be moved apart ---- */

struct joins {
	const struct section *s;
	bool *with_next; /* by index in s->pieces */
	bool falls;	 /* the last instruction with an effect goes on behind itself */
	bool falls_by_call;
};

static size_t index_in(const struct section *s, const struct piece *p)
{
	size_t i = 0;

	while (i < s->pieces.nr && s->pieces.items[i] != p)
		i++;
	return i;
}

static void note_joins(void *arg, struct piece *p, const struct lp_insn *insn, uint64_t at)
{
	struct joins *j = arg;

	if (!insn->is_padding) {
		j->falls = insn->falls_through;
		j->falls_by_call = insn->is_call;
	}
	if (!insn->has_target || insn->distance_type || lp_piece_ref_at(p, at + insn->target_at))
		return;
	struct piece *to = lp_diff_piece_at(p->obj, p->section, (int64_t)insn->target);
	if (!to || to == p || insn->target >= j->s->size)
		return;
	size_t a = index_in(j->s, p), b = index_in(j->s, to);
	for (size_t i = a < b ? a : b; i < (a < b ? b : a); i++)
		j->with_next[i] = true;
}

static bool is_sized(const struct piece *p)
{
	return p->sym && p->sym->size;
}

static void absorb(struct piece *into, struct piece *p)
{
	for (size_t i = 0; i < p->entries.nr; i++) {
		struct symbol *s = p->obj->symbols + (p->entries.items[i] - p->obj->symbols);
		s->piece = into;
		lp_vec_push(&into->entries, s);
	}
	for (size_t i = 0; i < p->refs.nr; i++) {
		struct ref r = p->refs.items[i];
		r.at += p->start - into->start;
		lp_vec_push(&into->refs, r);
	}
	if (!into->sym && p->sym) {
		into->sym = p->sym;
		into->name = p->name;
	}
	into->end = p->end;
	into->limit = p->limit;
	lp_vec_free(&p->entries);
	lp_vec_free(&p->refs);
	p->obj = NULL; /* gone: swept by the caller */
}

static void join_section(struct section *s)
{
	struct joins j = {.s = s, .with_next = lp_alloc(s->pieces.nr * sizeof(bool))};
	size_t kept = 0;

	for (size_t i = 0; i < s->pieces.nr; i++) {
		struct piece *p = s->pieces.items[i];
		j.falls = j.falls_by_call = false;
		walk(p, note_joins, &j);
		if (i + 1 < s->pieces.nr && j.falls && !(j.falls_by_call && is_sized(p)))
			j.with_next[i] = true;
	}
	for (size_t i = 0; i < s->pieces.nr; i++) {
		if (i && j.with_next[i - 1])
			absorb(s->pieces.items[kept - 1], s->pieces.items[i]);
		else
			s->pieces.items[kept++] = s->pieces.items[i];
	}
	s->pieces.nr = kept;
	lp_free(j.with_next);
}

static void sweep_pieces(struct object *o)
{
	size_t kept = 0;

	for (size_t i = 0; i < o->pieces.nr; i++) {
		struct piece *p = o->pieces.items[i];
		if (!p->obj) {
			lp_free(p);
			continue;
		}
		p->order = kept;
		o->pieces.items[kept++] = p;
	}
	o->pieces.nr = kept;
}

void lp_diff_join_code(struct object *o)
{
	for (size_t i = 1; i < o->nr_sections; i++) {
		struct section *s = &o->sections[i];
		if (s->pieces.nr > 1 && s->pieces.items[0]->kind == PIECE_CODE)
			join_section(s);
	}
	sweep_pieces(o);
}

/* ---- branches without relocations ---- */

static void note_branch(void *arg, struct piece *p, const struct lp_insn *insn, uint64_t at)
{
	const struct section *s = &p->obj->sections[p->section];

	(void)arg;
	if (!insn->has_target || !insn->distance_type || insn->target >= s->size)
		return;
	if (insn->target >= p->start && insn->target < p->limit)
		return;
	if (lp_piece_ref_at(p, at + insn->target_at))
		return;
	struct piece *to = lp_diff_piece_at(p->obj, p->section, (int64_t)insn->target);
	int64_t bias = (int64_t)insn->pc_at - (int64_t)(insn->pc_at ? insn->target_at : 0);
	struct ref r = {
		.at = at + insn->target_at,
		.howto = p->obj->isa->howto(insn->distance_type),
		.addend = -bias,
		.bias = bias,
		.is_call = insn->is_call || insn->target_is_code,
		.to = to,
		.off = (int64_t)(insn->target - to->start),
	};
	size_t k = p->refs.nr;
	lp_vec_push(&p->refs, r);
	for (; k && p->refs.items[k - 1].at > r.at; k--)
		p->refs.items[k] = p->refs.items[k - 1];
	p->refs.items[k] = r;
}

void lp_diff_decode_branches(struct object *o)
{
	for (size_t i = 0; i < o->pieces.nr; i++) {
		struct piece *p = o->pieces.items[i];
		if (p->kind == PIECE_CODE && o->sections[p->section].pieces.nr > 1)
			walk(p, note_branch, NULL);
	}
}
