/*
 * Callers that know too much.
 *
 * The calling convention lets a callee change rax, rcx, xmm0 and so on, but a
 * compiler that sees a function's body need not believe that it does.  gcc -O2
 * (-fipa-ra) keeps values in such registers across a call of a function of the
 * same file that leaves them alone.  A replacement was compiled without that
 * promise: diverted to it, the caller goes on with garbage.
 *
 * Constraints.  The promise is written down nowhere; it must be read out of the
 * code as it was compiled, that is from the file, not from memory, which
 * earlier patches may have changed.  Promises are passed on: who calls the
 * function, and leaves rcx alone otherwise, has himself promised rcx to his
 * callers.  And the answer may cost little: most functions can simply be
 * jumped from.
 *
 * Mechanism.
 *
 *     risky    =  registers that the replacement may change
 *                 less those that the old function changes for certain: nobody can have relied on these
 *     wanted   =  for each direct call of the old function, those of risky that may be read behind it before they
 *                 are written; and of those that come to the caller's own return, and that it does not
 *                 change itself, what its callers want, and so on up
 *
 * Nothing wanted: a plain jump.  Else the jump goes to a few instructions that
 * keep `wanted` around a call of the replacement (isa->regs->preserve).  That
 * moves the stack, so it is unlawful when arguments lie there, and the patch is
 * refused, naming caller and registers.
 *
 * Bounds go to the safe side: "changes for certain" counts only what is seen,
 * "may change" is everything as soon as something is not seen.  A register that
 * can carry a result is only kept when the old function provably returns
 * nothing in it, for keeping it would destroy the replacement's own result.
 *
 * Not seen: calls of a known function through a register (-mcmodel=large),
 * callers in code that no file was loaded from, and a callee that is itself
 * replaced later by one that reads more of its arguments.
 */
#include "core/preserve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/log.h"
#include "core/functions.h"

#define FUNCTIONS_MAX 4096u /* functions that one question may spread to */
#define DEPTH_MAX 8u	    /* callees of callees that are asked what they read */
#define BODY_MAX 65536u	    /* bytes read of a function that lies in no file */
#define SHORT_REACH 130u    /* a 2-byte jump leads no farther */

/* A piece of executable memory whose bytes we hold. */
struct piece {
	struct lp_range range;
	const uint8_t *bytes;
	uint8_t *owned;
	size_t image; /* LP_NONE: none */
};

struct function {
	lp_addr entry;
	bool has_effects, has_callee, busy;
	struct lp_effects effects;
	struct lp_callee callee;
	unsigned mark; /* of the last sum that counted it */
};

/* Code that is looked at in one way, and the functions met there. */
struct side {
	struct lp_contracts *c;
	struct lp_code code;
	LP_VEC(struct piece) pieces;
	struct function **table; /* open addressing by entry */
	size_t nr, size;
};

/* What may be the direct branches of an image, by target; addresses count from hull.start: there are many. */
struct branch {
	uint32_t target, at;
	uint8_t len;
	bool is_call;
};

struct branches {
	size_t image;
	struct lp_range hull; /* of its code */
	LP_VEC(struct branch) items;
};

struct lp_contracts {
	struct lp_plan *p;
	const struct lp_isa_regs *isa;
	struct side program; /* as it was compiled */
	struct side patch;   /* what this plan brings */
	LP_VEC(struct branches) branches;
	struct lp_range replacement; /* the one that is looked at */
	unsigned mark, depth;
	size_t asked;
};

/* ---- code ---- */

static const struct piece *piece_at(const struct side *s, lp_addr at)
{
	for (size_t i = 0; i < s->pieces.nr; i++)
		if (lp_range_has(s->pieces.items[i].range, at))
			return &s->pieces.items[i];
	return NULL;
}

static const uint8_t *side_bytes(void *arg, lp_addr at, size_t *len)
{
	const struct piece *piece = piece_at(arg, at);
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
				    ((struct piece){{start, start + ph->p_filesz}, bytes, NULL, index}));
	}
}

static void add_rooms(struct lp_contracts *c)
{
	for (size_t i = 0; i < c->p->rooms.nr; i++) {
		const struct lp_room *r = &c->p->rooms.items[i];
		if (!r->bytes || r->kind == LP_ROOM_ISLANDS)
			continue;
		for (size_t k = 0; k < r->request.nr_pieces; k++) {
			struct lp_range range = r->request.pieces[k].range;
			if (r->request.pieces[k].prot & LP_PROT_EXEC)
				lp_vec_push(&c->patch.pieces,
					    ((struct piece){range, r->bytes + (range.start - r->range.start), NULL,
							    LP_NONE}));
		}
	}
}

/* Code of an earlier patch, or made by the program: what is there now. */
static void add_memory(struct lp_contracts *c, lp_addr at)
{
	struct lp_area area;
	if (piece_at(&c->patch, at) || c->p->t->ops->area(c->p->t, at, &area, NULL) < 0)
		return;
	size_t len = area.range.end - at < BODY_MAX ? (size_t)(area.range.end - at) : BODY_MAX;
	uint8_t *bytes = lp_alloc(len);
	if (c->p->t->ops->read(c->p->t, at, bytes, len, NULL) == 0)
		lp_vec_push(&c->patch.pieces, ((struct piece){{at, at + len}, bytes, bytes, LP_NONE}));
	else
		lp_free(bytes);
}

/* ---- functions ---- */

static struct function **probe(const struct side *s, lp_addr entry)
{
	size_t i = (size_t)(entry * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (s->size - 1);
	while (s->table[i] && s->table[i]->entry != entry)
		i = (i + 1) & (s->size - 1);
	return &s->table[i];
}

static void grow(struct side *s)
{
	struct side bigger = {.size = s->size ? 2 * s->size : 256};
	bigger.table = lp_alloc(bigger.size * sizeof(struct function *));
	for (size_t i = 0; i < s->size; i++)
		if (s->table[i])
			*probe(&bigger, s->table[i]->entry) = s->table[i];
	lp_free(s->table);
	s->table = bigger.table;
	s->size = bigger.size;
}

static struct function *function_at(struct side *s, lp_addr entry)
{
	if (2 * s->nr >= s->size)
		grow(s);
	struct function **f = probe(s, entry);
	if (!*f) {
		*f = lp_alloc(sizeof **f);
		(*f)->entry = entry;
		s->nr++;
	}
	return *f;
}

static const struct lp_effects *effects_of(struct side *s, struct function *f)
{
	if (!f->has_effects)
		s->c->isa->effects(&s->code, f->entry, &f->effects);
	f->has_effects = true;
	return &f->effects;
}

/* A function and all that it calls, in any order. */
struct crowd {
	LP_VEC(struct function *) items;
};

static void join_crowd(struct side *s, struct crowd *crowd, lp_addr entry)
{
	struct function *f = function_at(s, entry);
	if (f->mark == s->c->mark)
		return;
	f->mark = s->c->mark;
	lp_vec_push(&crowd->items, f);
}

static struct crowd crowd_of(struct side *s, lp_addr entry)
{
	struct crowd crowd = {0};
	s->c->mark++;
	join_crowd(s, &crowd, entry);
	return crowd;
}

static void join_callees(struct side *s, struct crowd *crowd, const struct lp_effects *e)
{
	for (size_t i = 0; i < e->calls.nr; i++)
		join_crowd(s, crowd, e->calls.items[i]);
}

/*
 * What the function changes for certain, as its compiler saw it.  A call that
 * leaves for parts unknown changes everything by convention, whether it is ever
 * reached or not.
 */
static lp_regs changed_for_certain(struct side *s, lp_addr entry)
{
	struct crowd crowd = crowd_of(s, entry);
	lp_regs sum = 0;
	for (size_t i = 0; i < crowd.items.nr && i < FUNCTIONS_MAX && sum != s->c->isa->all; i++) {
		const struct lp_effects *e = effects_of(s, crowd.items.items[i]);
		sum |= e->leaves ? s->c->isa->all : e->writes & ~e->restored;
		join_callees(s, &crowd, e);
	}
	lp_vec_free(&crowd.items);
	return sum;
}

static lp_regs changed_perhaps(struct side *s, lp_addr entry)
{
	struct crowd crowd = crowd_of(s, entry);
	lp_regs sum = 0;
	for (size_t i = 0; i < crowd.items.nr && sum != s->c->isa->all; i++) {
		const struct lp_effects *e = effects_of(s, crowd.items.items[i]);
		sum |= e->leaves || e->open || i == FUNCTIONS_MAX ? s->c->isa->all : e->writes | e->soils;
		join_callees(s, &crowd, e);
	}
	lp_vec_free(&crowd.items);
	return sum;
}

static bool function_around(void *arg, lp_addr at, struct lp_range *out)
{
	const struct side *s = arg;
	if (s == &s->c->patch) {
		*out = s->c->replacement;
		return lp_range_has(*out, at);
	}
	return lp_function_around(s->c->p->t, at, out);
}

/* ---- what a call wants ---- */

static bool binds_to(struct lp_contracts *c, const struct lp_image *images, size_t nr, size_t image, uint32_t index,
		     lp_addr *out)
{
	struct lp_elf_sym sym;
	struct lp_found found;
	(void)c;
	if (!lp_elf_symbol(images[image].elf, LP_DYNSYM, index, &sym) ||
	    !lp_scope_bind(images, nr, sym.name, sym.version, &found) || found.sym.type == STT_GNU_IFUNC)
		return false;
	*out = found.addr;
	return true;
}

/* The function that the loader's rules put into a slot of the GOT. */
static bool bound_by_rules(struct lp_contracts *c, lp_addr slot, lp_addr *out)
{
	const struct lp_image *images;
	size_t nr, image;
	uint64_t vaddr;
	struct lp_elf_rela_iter it = {0};
	struct lp_elf_rela r;
	if (c->p->t->ops->images(c->p->t, &images, &nr, NULL) < 0 || !lp_target_image_at(c->p->t, slot, &vaddr, &image))
		return false;
	while (lp_elf_rela_next(images[image].elf, &it, &r, NULL) == 1)
		if (r.offset == vaddr && r.sym)
			return binds_to(c, images, nr, image, r.sym, out);
	return false;
}

/* The function that a pointer in a GOT leads to.  Before its first use a slot leads back into its own object's PLT. */
static bool behind_pointer(struct lp_contracts *c, lp_addr slot, lp_addr *out)
{
	uint8_t pointer[8];
	uint64_t vaddr;
	size_t image;
	if (!lp_target_image_at(c->p->t, slot, &vaddr, &image))
		return false;
	const struct piece *piece = c->p->t->ops->read(c->p->t, slot, pointer, sizeof pointer, NULL) == 0
					    ? piece_at(&c->program, lp_get64(pointer))
					    : NULL;
	if (!piece || piece->image == image)
		return bound_by_rules(c, slot, out);
	*out = lp_get64(pointer);
	return true;
}

static struct lp_callee ask(struct lp_contracts *c, struct function *f)
{
	struct lp_callee unknown = {.reads = c->isa->arguments};
	struct lp_liveness live;
	if (f->has_callee)
		return f->callee;
	if (f->busy || c->depth >= DEPTH_MAX || c->asked >= FUNCTIONS_MAX || !piece_at(&c->program, f->entry))
		return unknown;
	c->asked++;
	c->depth++;
	f->busy = true;
	c->isa->live(&c->program.code, f->entry, c->isa->all, &live);
	f->callee = (struct lp_callee){live.read & c->isa->arguments, live.if_told & c->isa->arguments,
				       changed_for_certain(&c->program, f->entry)};
	f->has_callee = true;
	f->busy = false;
	c->depth--;
	return f->callee;
}

static struct lp_callee callee(void *arg, lp_addr entry, lp_addr through)
{
	struct side *s = arg;
	lp_addr known;
	if (!through && entry)
		return ask(s->c, function_at(s, entry));
	struct lp_callee c = {.reads = s->c->isa->arguments};
	if (through && behind_pointer(s->c, through, &known))
		c = ask(s->c, function_at(s, known));
	c.kills = s->c->isa->all; /* nobody can have known which function it would be */
	return c;
}

/* ---- who calls ---- */

static int by_target(const void *a, const void *b)
{
	const struct branch *x = a, *y = b;
	return x->target != y->target ? (x->target > y->target) - (x->target < y->target)
				      : (x->at > y->at) - (x->at < y->at);
}

static void add_branch(void *arg, const struct lp_branch *found)
{
	struct branches *b = arg;
	if (lp_range_has(b->hull, found->target))
		lp_vec_push(&b->items, ((struct branch){(uint32_t)(found->target - b->hull.start),
							(uint32_t)(found->at - b->hull.start),
							(uint8_t)(found->end - found->at), found->is_call}));
}

static struct lp_range hull_of(const struct lp_contracts *c, size_t image)
{
	struct lp_range hull = {UINT64_MAX, 0};
	for (size_t i = 0; i < c->program.pieces.nr; i++) {
		const struct piece *p = &c->program.pieces.items[i];
		if (p->image != image)
			continue;
		hull.start = p->range.start < hull.start ? p->range.start : hull.start;
		hull.end = p->range.end > hull.end ? p->range.end : hull.end;
	}
	return hull;
}

static const struct branches *branches_of(struct lp_contracts *c, size_t image)
{
	for (size_t i = 0; i < c->branches.nr; i++)
		if (c->branches.items[i].image == image)
			return &c->branches.items[i];
	struct branches *b = lp_vec_add(&c->branches);
	*b = (struct branches){.image = image, .hull = hull_of(c, image)};
	for (size_t i = 0; i < c->program.pieces.nr; i++) {
		const struct piece *p = &c->program.pieces.items[i];
		if (p->image == image)
			c->isa->branches(p->bytes, (size_t)(p->range.end - p->range.start), p->range.start, false,
					 add_branch, b);
	}
	if (b->items.nr)
		qsort(b->items.items, b->items.nr, sizeof *b->items.items, by_target);
	return b;
}

typedef LP_VEC(struct lp_branch) branch_vec;

static struct lp_branch absolute(const struct branches *b, const struct branch *i)
{
	lp_addr at = b->hull.start + i->at;
	return (struct lp_branch){at, at + i->len, b->hull.start + i->target, i->is_call};
}

static void find_long(const struct branches *b, struct lp_range into, branch_vec *out)
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
	branch_vec *out;
};

static void add_short(void *arg, const struct lp_branch *found)
{
	struct short_hunt *h = arg;
	if (found->end - found->at == 2 && lp_range_has(h->into, found->target))
		lp_vec_push(h->out, *found);
}

/* Short jumps are too many to keep, but all close. */
static void find_short(struct lp_contracts *c, struct lp_range into, branch_vec *out)
{
	const struct piece *p = piece_at(&c->program, into.start);
	struct short_hunt h = {into, out};
	if (!p)
		return;
	lp_addr from = into.start - p->range.start > SHORT_REACH ? into.start - SHORT_REACH : p->range.start;
	lp_addr to = p->range.end - into.end > SHORT_REACH ? into.end + SHORT_REACH : p->range.end;
	c->isa->branches(p->bytes + (from - p->range.start), (size_t)(to - from), from, true, add_short, &h);
}

/* ---- who wants what ---- */

/* A function whose callers shall be asked about registers. */
struct claim {
	struct lp_range entries; /* where they arrive: its entry, or anywhere in it */
	struct lp_range body;	 /* who asks itself is no caller */
	lp_regs regs;
};

struct inquiry {
	struct lp_contracts *c;
	size_t image;
	LP_VEC(struct claim) claims; /* settled ones too: none is made twice */
	lp_regs wanted;
	unsigned vector_bytes;
	struct lp_branch first; /* of those that want something */
	size_t nr_wanting;
};

/* Do instructions, read from the function's start, come to these bytes? */
static bool is_instruction(struct lp_contracts *c, struct lp_range function, const struct lp_branch *b)
{
	const struct piece *p = piece_at(&c->program, function.start);
	lp_addr at = function.start;
	while (p && at < b->end) {
		size_t n = c->p->t->isa->insn_length(p->bytes + (at - p->range.start), (size_t)(p->range.end - at), at);
		if (!n)
			return true; /* no telling */
		at += n;
		if (at == b->end)
			return true;
		if (!lp_range_has(p->range, at))
			return true;
	}
	return !p;
}

/* Exceptions come out of nowhere: then it cannot be told on which ways a place is reached. */
static bool has_landing_pads(struct lp_contracts *c, size_t image)
{
	const struct lp_image *images;
	size_t nr;
	return c->p->t->ops->images(c->p->t, &images, &nr, NULL) < 0 || image >= nr || !images[image].elf ||
	       lp_elf_section_count(images[image].elf) == 0 ||
	       lp_elf_section_find(images[image].elf, ".gcc_except_table");
}

/* Whoever reads a register behind a call has put something there before it. */
static lp_regs meant(struct inquiry *q, struct lp_range caller, const struct lp_branch *b, lp_regs read)
{
	if (!read || has_landing_pads(q->c, q->image))
		return read;
	return read & q->c->isa->defined(&q->c->program.code, caller.start, b->at);
}

static void want(struct inquiry *q, const struct lp_branch *b, lp_regs regs, unsigned vector_bytes)
{
	if (!regs)
		return;
	if (!q->nr_wanting++)
		q->first = *b;
	q->wanted |= regs;
	q->vector_bytes = vector_bytes > q->vector_bytes ? vector_bytes : q->vector_bytes;
}

static void claim(struct inquiry *q, struct lp_range entries, struct lp_range body, lp_regs regs)
{
	for (size_t i = 0; i < q->claims.nr; i++)
		if (q->claims.items[i].entries.start == entries.start && q->claims.items[i].entries.end == entries.end)
			regs &= ~q->claims.items[i].regs;
	if (regs)
		lp_vec_push(&q->claims, ((struct claim){entries, body, regs}));
}

/* What the caller at this branch makes of the registers when the call is over. */
static struct lp_liveness behind(struct inquiry *q, const struct lp_branch *b, lp_regs regs)
{
	struct lp_liveness live = {.escapes = regs};
	if (b->is_call)
		q->c->isa->live(&q->c->program.code, b->end, regs, &live);
	return live;
}

static void ask_caller(struct inquiry *q, const struct lp_branch *b, lp_regs regs)
{
	struct lp_range caller;
	bool known = lp_function_around(q->c->p->t, b->at, &caller);
	struct lp_liveness live = behind(q, b, regs);
	if (!(live.read | live.escapes) || (known && !is_instruction(q->c, caller, b)))
		return;
	if (!known || q->claims.nr > FUNCTIONS_MAX) {
		want(q, b, live.read | live.escapes, live.vector_bytes);
		return;
	}
	unsigned width = effects_of(&q->c->program, function_at(&q->c->program, caller.start))->vector_bytes;
	want(q, b, meant(q, caller, b, live.read), live.vector_bytes > width ? live.vector_bytes : width);
	claim(q, caller, caller, live.escapes & ~changed_for_certain(&q->c->program, caller.start));
}

static void settle(struct inquiry *q, struct claim claim)
{
	branch_vec callers = {0};
	find_long(branches_of(q->c, q->image), claim.entries, &callers);
	find_short(q->c, claim.entries, &callers);
	for (size_t i = 0; i < callers.nr; i++)
		if (!lp_range_has(claim.body, callers.items[i].at))
			ask_caller(q, &callers.items[i], claim.regs);
	lp_vec_free(&callers);
}

static void inquire(struct inquiry *q, const struct lp_place *at, lp_regs risky)
{
	struct lp_range body = {at->addr, at->addr + (at->size ? at->size : 1)};
	claim(q, (struct lp_range){at->addr, at->addr + 1}, body, risky);
	for (size_t i = 0; i < q->claims.nr; i++)
		settle(q, q->claims.items[i]);
	lp_vec_free(&q->claims);
}

/* ---- the verdict ---- */

/* The place that is jumped from is not where a function begins: nobody calls it. */
static bool is_inside(struct lp_contracts *c, lp_addr at)
{
	struct lp_found f;
	return lp_target_symbol_at(c->p->t, at, &f) && f.addr != at && at - f.addr < f.sym.size;
}

static lp_regs replacement_changes(struct lp_contracts *c, const struct lp_place *to)
{
	/* What is not of this patch may itself be patched later. */
	if (to->mem == LP_NONE || !piece_at(&c->patch, to->addr))
		return c->isa->all;
	return changed_perhaps(&c->patch, to->addr);
}

static lp_regs risky_registers(struct lp_contracts *c, const struct lp_place *at, const struct lp_place *to)
{
	lp_regs risky = replacement_changes(c, to) & ~changed_for_certain(&c->program, at->addr);
	lp_regs perhaps_results =
		risky & c->isa->results ? changed_perhaps(&c->program, at->addr) & c->isa->results : 0;
	return risky & ~perhaps_results;
}

/* The replacement is what runs behind the frame; what it does with its arguments the old function may tell, too. */
static bool may_take_stack_arguments(struct lp_contracts *c, const struct lp_place *at, const struct lp_place *to)
{
	if (!piece_at(&c->program, to->addr))
		add_memory(c, to->addr);
	struct side *s = piece_at(&c->patch, to->addr) ? &c->patch : &c->program;
	const struct lp_effects *new = effects_of(s, function_at(s, to->addr));
	const struct lp_effects *old = effects_of(&c->program, function_at(&c->program, at->addr));
	return new->stack_args || (new->open && (old->stack_args || old->open));
}

static void name_registers(const struct lp_isa_regs *isa, lp_regs regs, struct lp_buf *out)
{
	for (unsigned i = 0; i < 64; i++)
		if (regs >> i & 1)
			lp_buf_printf(out, "%s%s", out->len ? " " : "", isa->name(i));
}

static int refuse(struct lp_contracts *c, const struct inquiry *q, const struct lp_place *at, const char *why,
		  struct lp_err *err)
{
	char caller[256];
	struct lp_buf names = {0};
	name_registers(c->isa, q->wanted, &names);
	int rc = lp_fail(
		err, LP_ECONTRACT,
		"%s relies on %s leaving %s alone, as the compiler saw it do; the replacement may change them, and %s. "
		"If the caller is known not to mind, `jmp --clobber` jumps all the same",
		lp_target_describe(c->p->t, q->first.at, caller, sizeof caller), at->name, lp_buf_cstr(&names), why);
	if (err) {
		err->addr = q->first.at;
		snprintf(err->function, sizeof err->function, "%.120s", at->name);
	}
	lp_buf_free(&names);
	return rc;
}

static void describe(struct lp_contracts *c, const struct inquiry *q, struct lp_keep *out)
{
	char caller[256];
	struct lp_buf text = {0};
	name_registers(c->isa, q->wanted, &text);
	lp_buf_printf(&text, " for %s", lp_target_describe(c->p->t, q->first.at, caller, sizeof caller));
	if (q->nr_wanting > 1)
		lp_buf_printf(&text, " and %zu more", q->nr_wanting - 1);
	*out = (struct lp_keep){q->wanted, q->vector_bytes, lp_strdup(lp_buf_cstr(&text))};
	lp_buf_free(&text);
}

static int judge(struct lp_contracts *c, const struct inquiry *q, const struct lp_place *at, const struct lp_place *to,
		 struct lp_keep *out, struct lp_err *err)
{
	uint8_t scratch[LP_PRESERVE_MAX];
	if (!q->wanted)
		return 0;
	if (!c->isa->preserve(scratch, 0, to->addr, q->wanted, q->vector_bytes))
		return refuse(c, q, at, "these registers cannot be saved around it", err);
	/* What the target's loader has yet to load cannot be looked at; the plan is made again when it has. */
	bool unloaded = c->p->provisional && to->mem != LP_NONE && c->p->mems.items[to->mem].file;
	if (!unloaded && may_take_stack_arguments(c, at, to))
		return refuse(c, q, at,
			      "it may take arguments on the stack, so it cannot be called with them saved there", err);
	describe(c, q, out);
	return 0;
}

static struct lp_contracts *contracts_of(struct lp_plan *p)
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
	add_rooms(c);
	return c;
}

int lp_keep_find(struct lp_plan *p, const struct lp_place *at, const struct lp_place *to, struct lp_keep *out,
		 struct lp_err *err)
{
	*out = (struct lp_keep){0};
	if (!p->t->isa->regs)
		return 0;
	struct lp_contracts *c = contracts_of(p);
	const struct piece *piece = piece_at(&c->program, at->addr);
	if (!piece || is_inside(c, at->addr))
		return 0;
	struct inquiry q = {.c = c, .image = piece->image};
	c->asked = 0;
	c->replacement = (struct lp_range){to->addr, to->addr + to->size};
	inquire(&q, at, risky_registers(c, at, to));
	return judge(c, &q, at, to, out, err);
}

void lp_keep_free(struct lp_keep *k)
{
	lp_free(k->text);
}

static void side_free(struct side *s)
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
	for (size_t i = 0; i < c->branches.nr; i++)
		lp_vec_free(&c->branches.items[i].items);
	lp_vec_free(&c->branches);
	lp_free(c);
}
