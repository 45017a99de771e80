#include "core/contract.h"

#include "base/bits.h"
#include "core/actions.h"
#include "core/callers.h"
#include "core/functions.h"

#define DEPTH_MAX 8u	/* callees of callees that are asked what they read */
#define BODY_MAX 65536u /* bytes read of a function that lies in no file */

struct lp_function {
	lp_addr entry;
	bool has_effects, has_callee, busy;
	struct lp_effects effects;
	struct lp_callee callee;
	unsigned mark; /* of the last sum that counted it */
};

/* ---- code ---- */

const struct lp_piece_of_code *lp_side_piece(const struct lp_side *s, lp_addr at)
{
	for (size_t i = 0; i < s->pieces.nr; i++)
		if (lp_range_has(s->pieces.items[i].range, at))
			return &s->pieces.items[i];
	return NULL;
}

static const uint8_t *side_bytes(void *arg, lp_addr at, size_t *len)
{
	const struct lp_piece_of_code *piece = lp_side_piece(arg, at);
	if (!piece)
		return NULL;
	*len = (size_t)(piece->range.end - at);
	return piece->bytes + (at - piece->range.start);
}

static void add_segments(struct lp_contracts *c, const struct lp_image *img, size_t index)
{
	for (size_t i = 0; img->elf && i < lp_elf_phdr_count(img->elf); i++) {
		const Elf64_Phdr *ph = lp_elf_phdr(img->elf, i);
		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X))
			continue;
		const uint8_t *bytes = lp_elf_bytes_at_vaddr(img->elf, ph->p_vaddr, ph->p_filesz);
		lp_addr start = img->bias + ph->p_vaddr;
		if (bytes)
			lp_vec_push(&c->program.pieces,
				    ((struct lp_piece_of_code){{start, start + ph->p_filesz}, bytes, NULL, index}));
	}
}

static void add_rooms(struct lp_contracts *c)
{
	for (size_t i = 0; i < c->p->rooms.nr; i++) {
		const struct lp_room *r = &c->p->rooms.items[i];
		if (!r->bytes || lp_room_goes_with_jumps(r->kind))
			continue;
		for (size_t k = 0; k < r->request.nr_pieces; k++) {
			struct lp_range range = r->request.pieces[k].range;
			if (r->request.pieces[k].prot & LP_PROT_EXEC)
				lp_vec_push(&c->patch.pieces,
					    ((struct lp_piece_of_code){range, r->bytes + (range.start - r->range.start),
								       NULL, LP_NONE}));
		}
	}
}

void lp_contracts_add_memory(struct lp_contracts *c, lp_addr at)
{
	struct lp_area area;
	if (lp_side_piece(&c->patch, at) || c->p->t->ops->area(c->p->t, at, &area, NULL) < 0)
		return;
	size_t len = area.range.end - at < BODY_MAX ? (size_t)(area.range.end - at) : BODY_MAX;
	uint8_t *bytes = lp_alloc(len);
	if (c->p->t->ops->read(c->p->t, at, bytes, len, NULL) == 0)
		lp_vec_push(&c->patch.pieces, ((struct lp_piece_of_code){{at, at + len}, bytes, bytes, LP_NONE}));
	else
		lp_free(bytes);
}

/* ---- functions ---- */

static struct lp_function **probe(const struct lp_side *s, lp_addr entry)
{
	size_t i = (size_t)(entry * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (s->size - 1);
	while (s->table[i] && s->table[i]->entry != entry)
		i = (i + 1) & (s->size - 1);
	return &s->table[i];
}

static void grow(struct lp_side *s)
{
	struct lp_side bigger = {.size = s->size ? 2 * s->size : 256};
	bigger.table = lp_alloc(bigger.size * sizeof(struct lp_function *));
	for (size_t i = 0; i < s->size; i++)
		if (s->table[i])
			*probe(&bigger, s->table[i]->entry) = s->table[i];
	lp_free(s->table);
	s->table = bigger.table;
	s->size = bigger.size;
}

static struct lp_function *function_at(struct lp_side *s, lp_addr entry)
{
	if (2 * s->nr >= s->size)
		grow(s);
	struct lp_function **f = probe(s, entry);
	if (!*f) {
		*f = lp_alloc(sizeof **f);
		(*f)->entry = entry;
		s->nr++;
	}
	return *f;
}

static const struct lp_effects *effects_of(struct lp_side *s, struct lp_function *f)
{
	if (!f->has_effects)
		s->c->isa->effects(&s->code, f->entry, &f->effects);
	f->has_effects = true;
	return &f->effects;
}

const struct lp_effects *lp_side_effects(struct lp_side *s, lp_addr entry)
{
	return effects_of(s, function_at(s, entry));
}

/* A function and all that it calls, in any order. */
struct crowd {
	LP_VEC(struct lp_function *) items;
};

static void join_crowd(struct lp_side *s, struct crowd *crowd, lp_addr entry)
{
	struct lp_function *f = function_at(s, entry);
	if (f->mark == s->c->mark)
		return;
	f->mark = s->c->mark;
	lp_vec_push(&crowd->items, f);
}

static struct crowd crowd_of(struct lp_side *s, lp_addr entry)
{
	struct crowd crowd = {0};
	s->c->mark++;
	join_crowd(s, &crowd, entry);
	return crowd;
}

static void join_callees(struct lp_side *s, struct crowd *crowd, const struct lp_effects *e)
{
	for (size_t i = 0; i < e->calls.nr; i++)
		join_crowd(s, crowd, e->calls.items[i]);
}

lp_regs lp_side_changes(struct lp_side *s, lp_addr entry)
{
	struct crowd crowd = crowd_of(s, entry);
	lp_regs sum = 0;
	for (size_t i = 0; i < crowd.items.nr && i < LP_CONTRACT_FUNCTIONS_MAX && sum != s->c->isa->all; i++) {
		const struct lp_effects *e = effects_of(s, crowd.items.items[i]);
		sum |= e->leaves ? s->c->isa->all : e->writes & ~e->restored;
		join_callees(s, &crowd, e);
	}
	lp_vec_free(&crowd.items);
	return sum;
}

lp_regs lp_side_may_change(struct lp_side *s, lp_addr entry)
{
	struct crowd crowd = crowd_of(s, entry);
	lp_regs sum = 0;
	for (size_t i = 0; i < crowd.items.nr && sum != s->c->isa->all; i++) {
		const struct lp_effects *e = effects_of(s, crowd.items.items[i]);
		sum |= e->leaves || e->open || i == LP_CONTRACT_FUNCTIONS_MAX ? s->c->isa->all : e->writes | e->soils;
		join_callees(s, &crowd, e);
	}
	lp_vec_free(&crowd.items);
	return sum;
}

static bool function_around(void *arg, lp_addr at, struct lp_range *out)
{
	const struct lp_side *s = arg;
	if (s == &s->c->patch) {
		*out = s->c->replacement;
		return lp_range_has(*out, at);
	}
	return lp_function_around(s->c->p->t, at, out);
}

/* ---- what a call wants ---- */

/* The relocation that fills a slot of the GOT. */
static bool relocation_of(const struct lp_image *img, uint64_t vaddr, struct lp_elf_rela *out)
{
	struct lp_elf_rela_iter it = {0};
	while (lp_elf_rela_next(img->elf, &it, out, NULL) == 1)
		if (out->offset == vaddr)
			return true;
	return false;
}

static bool bound_by_rules(const struct lp_image *images, size_t nr, const struct lp_image *img, uint32_t index,
			   lp_addr *out)
{
	struct lp_elf_sym sym;
	struct lp_found found;
	if (!lp_elf_symbol(img->elf, LP_DYNSYM, index, &sym) ||
	    !lp_scope_bind(images, nr, sym.name, sym.version, &found) || found.sym.type == STT_GNU_IFUNC)
		return false;
	*out = found.addr;
	return true;
}

/*
 * The function that a pointer in a GOT leads to.  Before its first use a slot
 * leads back into its own object's PLT; then the loader's rules say what it
 * will hold.  One without a symbol (IRELATIVE) is filled at the start.
 */
static bool behind_pointer(struct lp_contracts *c, lp_addr slot, lp_addr *out)
{
	const struct lp_image *images;
	size_t nr, image;
	uint64_t vaddr;
	uint8_t pointer[8];
	struct lp_elf_rela r;
	if (c->p->t->ops->images(c->p->t, &images, &nr, NULL) < 0 ||
	    !lp_target_image_at(c->p->t, slot, &vaddr, &image) ||
	    c->p->t->ops->read(c->p->t, slot, pointer, sizeof pointer, NULL) < 0)
		return false;
	*out = lp_get64(pointer);
	const struct lp_piece_of_code *piece = lp_side_piece(&c->program, *out);
	if (piece && piece->image != image)
		return true;
	if (!relocation_of(&images[image], vaddr, &r))
		return false;
	return r.sym ? bound_by_rules(images, nr, &images[image], r.sym, out) : piece != NULL;
}

static struct lp_callee ask(struct lp_contracts *c, struct lp_function *f)
{
	struct lp_callee unknown = {.reads = c->isa->arguments};
	struct lp_liveness live;
	if (f->has_callee)
		return f->callee;
	if (f->busy || c->depth >= DEPTH_MAX || c->asked >= LP_CONTRACT_FUNCTIONS_MAX ||
	    !lp_side_piece(&c->program, f->entry))
		return unknown;
	c->asked++;
	c->depth++;
	f->busy = true;
	c->isa->live(&c->program.code, f->entry, c->isa->all, &live);
	f->callee = (struct lp_callee){live.read & c->isa->arguments, live.if_told & c->isa->arguments,
				       lp_side_changes(&c->program, f->entry)};
	f->has_callee = true;
	f->busy = false;
	c->depth--;
	return f->callee;
}

static struct lp_callee callee(void *arg, lp_addr entry, lp_addr through)
{
	struct lp_side *s = arg;
	lp_addr known;
	if (!through && entry)
		return ask(s->c, function_at(s, entry));
	struct lp_callee c = {.reads = s->c->isa->arguments};
	if (through && behind_pointer(s->c, through, &known))
		c = ask(s->c, function_at(s, known));
	c.kills = s->c->isa->all; /* nobody can have known which function it would be */
	return c;
}

/* ---- the whole ---- */

static bool is_code(const struct lp_plan *p, const struct lp_place *at)
{
	const struct lp_room *r = &p->rooms.items[p->mems.items[at->mem].room];
	for (size_t i = 0; i < r->request.nr_pieces; i++)
		if (lp_range_has(r->request.pieces[i].range, at->addr))
			return r->request.pieces[i].prot & LP_PROT_EXEC;
	return false;
}

/* Does a `set` of this plan change code that it brings?  Then nobody knows yet what that code will be. */
static bool edits_code(struct lp_plan *p)
{
	for (size_t i = 0; i < p->ps->nr; i++) {
		const struct lp_op *op = &p->ps->ops[i];
		struct lp_place at;
		bool own = op->kind == LP_OP_SET && (op->at.kind == LP_ADDR_MEM || op->at.kind == LP_ADDR_MEMSYM);
		if (own && lp_resolve(p, &op->at, &at, NULL) == 0 && is_code(p, &at))
			return true;
	}
	return false;
}

struct lp_contracts *lp_contracts_of(struct lp_plan *p)
{
	if (p->contracts)
		return p->contracts;
	struct lp_contracts *c = p->contracts = lp_alloc(sizeof *c);
	*c = (struct lp_contracts){.p = p, .isa = p->t->isa->regs};
	c->program.c = c->patch.c = c;
	c->program.code = (struct lp_code){side_bytes, callee, function_around, &c->program};
	c->patch.code = (struct lp_code){side_bytes, callee, function_around, &c->patch};
	const struct lp_image *images;
	size_t nr;
	if (p->t->ops->images(p->t, &images, &nr, NULL) == 0)
		for (size_t i = 0; i < nr; i++)
			add_segments(c, &images[i], i);
	if (!edits_code(p))
		add_rooms(c);
	return c;
}

void lp_contracts_ask(struct lp_contracts *c, const struct lp_place *to)
{
	c->asked = 0;
	c->replacement = (struct lp_range){to->addr, to->addr + to->size};
}

static void side_free(struct lp_side *s)
{
	for (size_t i = 0; i < s->size; i++)
		if (s->table[i]) {
			lp_effects_free(&s->table[i]->effects);
			lp_free(s->table[i]);
		}
	for (size_t i = 0; i < s->pieces.nr; i++)
		lp_free(s->pieces.items[i].owned);
	lp_free(s->table);
	lp_vec_free(&s->pieces);
}

void lp_contracts_free(struct lp_contracts *c)
{
	if (!c)
		return;
	side_free(&c->program);
	side_free(&c->patch);
	lp_callers_free(c);
	lp_free(c);
}
