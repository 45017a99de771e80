/*
 * Building the plan: rooms, bodies, writes.  Nothing in the target changes
 * here; addresses of rooms are chosen, not taken.
 *
 * Order matters twice.  Rooms are chosen before anything is linked, since
 * relocation needs addresses; and the code that a `jmp` is put on is analysed
 * as it was before any patch (the ledger's old bytes laid over what memory
 * holds), so that a second patch of a function finds the same place for its
 * jump as the first one did and the two stack exactly.
 */
#include "core/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/fdio.h"
#include "core/foreign.h"
#include "core/joined.h"
#include "core/preserve.h"

#define CODE_MAX 65536u /* bytes of a function that are looked at */
#define BEFORE 160u	/* bytes before it: a short jump reaches 128 back */
#define LOAD_MAX (UINT64_C(1) << 30)
#define NEW_MAX (UINT64_C(1) << 36)

/* ---- rooms ---- */

static bool uses_mem(const struct lp_addr_expr *e, const char *mem)
{
	return (e->kind == LP_ADDR_MEM || e->kind == LP_ADDR_MEMSYM) && strcmp(e->mem, mem) == 0;
}

/* Where the first jump into this memory stands; that jump should reach it directly. */
static struct lp_range wanted_near(struct lp_plan *p, const char *mem)
{
	for (size_t i = 0; i < p->ps->nr; i++) {
		const struct lp_op *op = &p->ps->ops[i];
		struct lp_place at;
		if (op->kind == LP_OP_JMP && uses_mem(&op->to, mem) && op->at.kind != LP_ADDR_MEM &&
		    op->at.kind != LP_ADDR_MEMSYM && lp_resolve(p, &op->at, &at, NULL) == 0)
			return (struct lp_range){at.addr, at.addr + LP_JUMP_MAX};
	}
	const struct lp_image *images;
	size_t nr;
	if (p->t->ops->images(p->t, &images, &nr, NULL) == 0 && nr) {
		lp_addr entry = images[0].bias + lp_elf_header(images[0].elf)->e_entry;
		return (struct lp_range){entry, entry + LP_JUMP_MAX};
	}
	return (struct lp_range){0, 0};
}

int lp_plan_choose_hole(struct lp_plan *p, struct lp_range near, uint64_t reach, uint64_t size, lp_addr *at,
			struct lp_err *err)
{
	int rc = p->t->ops->near_hole(p->t, near, reach, size, p->taken.items, p->taken.nr, at, err);
	if (rc == 0)
		lp_vec_push(&p->taken, ((struct lp_range){*at, *at + size}));
	return rc;
}

/* Within reach if there is a hole within reach, else anywhere: islands bridge the rest. */
static int choose_hole(struct lp_plan *p, struct lp_range near, uint64_t size, lp_addr *at, struct lp_err *err)
{
	int rc = lp_plan_choose_hole(p, near, p->t->isa->reach, size, at, NULL);
	return rc < 0 ? lp_plan_choose_hole(p, near, 0, size, at, err) : rc;
}

struct lp_room *lp_plan_add_room(struct lp_plan *p, enum lp_room_kind kind, const char *name, const char *path,
				 struct lp_range range)
{
	struct lp_room *r = lp_vec_add(&p->rooms);
	r->kind = kind;
	r->name = lp_strdup(name);
	r->path = lp_strdup(path);
	r->range = r->request.range = range;
	r->used = (size_t)(range.end - range.start);
	return r;
}

struct lp_room *lp_plan_add_plain_room(struct lp_plan *p, enum lp_room_kind kind, const char *name, const char *path,
				       struct lp_range range, unsigned prot)
{
	struct lp_room *r = lp_plan_add_room(p, kind, name, path, range);
	r->request.pieces[0].range = range;
	r->request.pieces[0].prot = prot;
	r->request.nr_pieces = 1;
	return r;
}

static int place_memory(struct lp_plan *p, struct lp_mem *m, enum lp_room_kind kind, uint64_t size, const char *path,
			struct lp_err *err)
{
	uint64_t whole = lp_align_up(size, LP_PAGE);
	int rc = choose_hole(p, wanted_near(p, m->op->mem), whole, &m->base, err);
	if (rc < 0)
		return rc;
	m->room = p->rooms.nr;
	m->size = size;
	/* Raw memory may be meant as data or as code; code written into it is ours to place, so it never needs to be
	 * writable: `load` that a `jmp` goes to is mapped executable instead. */
	bool is_code = false;
	for (size_t i = 0; i < p->ps->nr; i++)
		is_code |= kind == LP_ROOM_FILE && p->ps->ops[i].kind == LP_OP_JMP &&
			   uses_mem(&p->ps->ops[i].to, m->op->mem);
	struct lp_room *r =
		lp_plan_add_plain_room(p, kind, m->op->mem, path, (struct lp_range){m->base, m->base + whole},
				       LP_PROT_READ | (is_code ? LP_PROT_EXEC : LP_PROT_WRITE));
	r->used = size;
	return 0;
}

static int place_new(struct lp_plan *p, struct lp_mem *m, struct lp_err *err)
{
	if (m->op->size == 0 || m->op->size > NEW_MAX)
		return lp_fail(err, LP_ERANGE, "new $%s: a size of %" PRIu64 " bytes is not possible", m->op->mem,
			       m->op->size);
	return place_memory(p, m, LP_ROOM_MEMORY, m->op->size, NULL, err);
}

static int place_load(struct lp_plan *p, struct lp_mem *m, struct lp_err *err)
{
	struct lp_buf b = {0};
	int rc = lp_read_file(m->op->path, &b, LOAD_MAX, err);
	if (rc == 0 && b.len == 0)
		rc = lp_fail(err, LP_EFILE, "%s is empty", m->op->path);
	rc = rc ? rc : place_memory(p, m, LP_ROOM_FILE, b.len, m->op->path, err);
	if (rc == 0) {
		struct lp_room *r = &p->rooms.items[m->room];
		r->bytes = lp_alloc(r->range.end - r->range.start);
		memcpy(r->bytes, b.data, b.len);
	}
	lp_buf_free(&b);
	return rc;
}

static int place_object(struct lp_plan *p, struct lp_mem *m, struct lp_err *err)
{
	int rc = lp_object_open(&m->object, m->op->path, p->t->isa, err);
	rc = rc ? rc : lp_object_bind(m->object, p->t, err);
	if (rc < 0)
		return rc;
	m->size = lp_object_span(m->object);
	rc = choose_hole(p, wanted_near(p, m->op->mem), m->size, &m->base, err);
	if (rc < 0)
		return rc;
	m->room = p->rooms.nr;
	struct lp_room *r = lp_plan_add_room(p, LP_ROOM_OBJECT, m->op->mem, m->op->path,
					     (struct lp_range){m->base, m->base + m->size});
	lp_object_room(m->object, m->base, &r->request);
	return 0;
}

/* The target's loader decides the address; until it was asked a likely one stands in. */
static int place_dlopen(struct lp_plan *p, struct lp_mem *m, struct lp_err *err)
{
	int rc = lp_elf_open(&m->file, m->op->path, err);
	if (rc < 0)
		return rc;
	if (lp_elf_header(m->file)->e_machine != p->t->isa->elf_machine || lp_elf_header(m->file)->e_type != ET_DYN)
		return lp_fail(err, LP_EISA, "%s is not a shared object for %s", m->op->path, p->t->isa->name);
	for (size_t i = 0; i < lp_elf_phdr_count(m->file); i++) {
		const Elf64_Phdr *ph = lp_elf_phdr(m->file, i);
		uint64_t end;
		if (ph->p_type != PT_LOAD)
			continue;
		if (__builtin_add_overflow(ph->p_vaddr, ph->p_memsz, &end) || end > NEW_MAX)
			return lp_fail(err, LP_EELF, "%s has a segment of impossible size", m->op->path);
		if (end > m->size)
			m->size = end;
	}
	m->size = lp_align_up(m->size, LP_PAGE);
	const struct lp_opened *o = lp_plan_opened(p, m->op);
	if (o) {
		m->base = o->base;
	} else {
		p->provisional = true;
		rc = choose_hole(p, (struct lp_range){0, 0}, m->size, &m->base, err);
	}
	m->room = p->rooms.nr;
	struct lp_room *r = lp_plan_add_room(p, LP_ROOM_HANDLE, m->op->mem, m->op->path,
					     (struct lp_range){m->base, m->base + m->size});
	r->handle = o ? o->handle : 0;
	return rc;
}

static int place_op(struct lp_plan *p, const struct lp_op *op, struct lp_err *err)
{
	if (op->kind != LP_OP_NEW && op->kind != LP_OP_LOAD && op->kind != LP_OP_DL)
		return 0;
	struct lp_mem *m = lp_vec_add(&p->mems);
	m->op = op;
	int rc = op->kind == LP_OP_NEW	  ? place_new(p, m, err)
		 : op->kind == LP_OP_LOAD ? place_load(p, m, err)
		 : op->dlopen		  ? place_dlopen(p, m, err)
					  : place_object(p, m, err);
	return lp_at_where(err, rc, &op->where);
}

static int link_mem(struct lp_plan *p, struct lp_mem *m, struct lp_err *err)
{
	if (m->relink)
		return lp_plan_link_kpatch(p, m, err);
	if (!m->object)
		return 0;
	struct lp_room *r = &p->rooms.items[m->room];
	r->bytes = lp_alloc(m->size);
	return lp_at_where(err, lp_object_link(m->object, m->base, p->t, r->bytes, err), &m->op->where);
}

/* ---- islands ---- */

#define ISLAND_CELL 32u /* rooms are given out in these */

static bool has_cells(struct lp_plan *p, const struct lp_room *r, const struct lp_entry *e, size_t len)
{
	return r->kind == LP_ROOM_ISLANDS && len <= r->range.end - r->range.start - r->used &&
	       p->t->isa->reaches(e, r->range.start + r->used);
}

static int add_islands(struct lp_plan *p, const struct lp_entry *e, lp_addr dest, struct lp_room **room,
		       struct lp_err *err)
{
	lp_addr hole, from = e->shape == LP_ENTRY_HOP ? e->hole_at : e->jump_at;
	struct lp_range near = {from, from + LP_JUMP_MAX};
	int rc = p->t->ops->near_hole(p->t, near, p->t->isa->reach, LP_PAGE, p->taken.items, p->taken.nr, &hole, err);
	if (rc < 0)
		return lp_fail(err, LP_EREACH,
			       "there is no free page within reach of " LP_ADDR " for an island to " LP_ADDR, from,
			       dest);
	lp_vec_push(&p->taken, ((struct lp_range){hole, hole + LP_PAGE}));
	*room = lp_plan_add_plain_room(p, LP_ROOM_ISLANDS, "islands", NULL, (struct lp_range){hole, hole + LP_PAGE},
				       LP_PROT_READ | LP_PROT_EXEC);
	(*room)->bytes = lp_alloc(LP_PAGE);
	(*room)->used = 0;
	return 0;
}

/* Room for code of `len` bytes that e can reach. */
static int take_cells(struct lp_plan *p, const struct lp_entry *e, lp_addr dest, size_t len, uint8_t **bytes,
		      lp_addr *at, struct lp_err *err)
{
	struct lp_room *room = NULL;
	for (size_t i = 0; i < p->rooms.nr && !room; i++)
		if (has_cells(p, &p->rooms.items[i], e, len))
			room = &p->rooms.items[i];
	int rc = room ? 0 : add_islands(p, e, dest, &room, err);
	if (rc < 0)
		return rc;
	*at = room->range.start + room->used;
	*bytes = room->bytes + room->used;
	room->used += lp_align_up(len, ISLAND_CELL);
	return 0;
}

/* An island that e can reach, with a jump to dest in it. */
static int make_island(struct lp_plan *p, const struct lp_entry *e, lp_addr dest, lp_addr *at, struct lp_err *err)
{
	uint8_t *bytes;
	int rc = take_cells(p, e, dest, LP_ISLAND_MAX, &bytes, at, err);
	if (rc == 0)
		p->t->isa->island(bytes, *at, dest);
	return rc;
}

/* One that calls dest and keeps registers meanwhile. */
static int make_thunk(struct lp_plan *p, const struct lp_entry *e, lp_addr dest, const struct lp_keep *keep,
		      lp_addr *at, struct lp_err *err)
{
	uint8_t scratch[LP_PRESERVE_MAX], *bytes;
	size_t len = p->t->isa->regs->preserve(scratch, 0, dest, keep->regs, keep->vector_bytes);
	int rc = take_cells(p, e, dest, len, &bytes, at, err);
	if (rc < 0)
		return rc;
	p->t->isa->regs->preserve(bytes, *at, dest, keep->regs, keep->vector_bytes);
	lp_vec_push(&p->thunks, ((struct lp_thunk){*at, len}));
	return 0;
}

/* ---- what stands there, and who wrote it ---- */

static int by_id_descending(const void *a, const void *b)
{
	const struct lp_ledger_entry *x = a, *y = b;
	return (x->id < y->id) - (x->id > y->id);
}

struct writers {
	struct lp_ledger_entry *items; /* newest first */
	size_t nr;
};

static int writers_of(struct lp_plan *p, struct lp_range range, struct writers *out, struct lp_err *err)
{
	*out = (struct writers){0};
	lp_off_vec offs = {0};
	int rc = lp_ledger_writers(&p->ledger, range, &offs, err);
	out->items = lp_alloc(offs.nr * sizeof *out->items);
	for (size_t i = 0; i < offs.nr && rc == 0; i++) {
		rc = lp_ledger_read(&p->ledger, offs.items[i], &out->items[out->nr], err);
		out->nr += rc == 0;
	}
	if (out->nr)
		qsort(out->items, out->nr, sizeof *out->items, by_id_descending);
	lp_vec_free(&offs);
	return rc;
}

static void writers_free(struct writers *w)
{
	for (size_t i = 0; i < w->nr; i++)
		lp_ledger_entry_free(&w->items[i]);
	lp_free(w->items);
}

/* Memory as it was before any patch: newest old bytes first, so that the oldest end up on top. */
int lp_plan_read_original(struct lp_plan *p, lp_addr at, uint8_t *data, size_t len, struct lp_err *err)
{
	struct writers who;
	int rc = p->t->ops->read(p->t, at, data, len, err);
	if (rc < 0)
		return rc;
	rc = writers_of(p, (struct lp_range){at, at + len}, &who, err);
	for (size_t i = 0; i < who.nr && rc == 0; i++)
		for (size_t k = 0; k < who.items[i].nr_writes; k++) {
			const struct lp_entry_write *w = &who.items[i].writes[k];
			for (size_t b = 0; b < w->len; b++)
				if (w->at + b >= at && w->at + b < at + len)
					data[w->at + b - at] = w->old_bytes[b];
		}
	writers_free(&who);
	return rc ? rc : lp_foreign_take_off(p, at, data, len, err);
}

void lp_plan_add_dep(struct lp_plan *p, uint64_t id)
{
	size_t i = 0;
	while (i < p->deps.nr && p->deps.items[i] < id)
		i++;
	if (i < p->deps.nr && p->deps.items[i] == id)
		return;
	lp_vec_push(&p->deps, id);
	memmove(&p->deps.items[i + 1], &p->deps.items[i], (p->deps.nr - 1 - i) * sizeof *p->deps.items);
	p->deps.items[i] = id;
}

/* A destination in an earlier patch's memory makes that patch one we build on. */
static int depend_on_owner(struct lp_plan *p, lp_addr at, struct lp_err *err)
{
	uint64_t off;
	struct lp_ledger_entry e;
	int rc = lp_ledger_owner(&p->ledger, at, &off, err);
	if (rc < 0 || !off)
		return rc;
	rc = lp_ledger_read(&p->ledger, off, &e, err);
	if (rc == 0) {
		lp_plan_add_dep(p, e.id);
		lp_ledger_entry_free(&e);
	}
	return rc;
}

/* Patches stack exactly or not at all: the newest patch on these bytes must have changed just these. */
static int stack_on(struct lp_plan *p, struct lp_write *w, struct lp_err *err)
{
	struct writers who;
	struct lp_range mine = {w->at, w->at + w->len};
	int rc = writers_of(p, mine, &who, err);
	for (size_t i = 0; i < who.nr && rc == 0; i++)
		for (size_t k = 0; k < who.items[i].nr_writes && rc == 0; k++) {
			const struct lp_entry_write *o = &who.items[i].writes[k];
			if (!lp_range_overlaps(mine, (struct lp_range){o->at, o->at + o->len}))
				continue;
			if (o->at != w->at || o->len != w->len) {
				rc = lp_fail(err, LP_EOVERLAP,
					     "%s (" LP_ADDR ", %zu bytes) overlaps bytes that patch %" PRIu64
					     " changed (%s, " LP_ADDR ", %u bytes); revert that one first",
					     w->symbol, w->at, w->len, who.items[i].id, o->symbol, o->at, o->len);
			} else if (!w->over) {
				w->over = who.items[i].id;
				lp_plan_add_dep(p, w->over);
				/* What is being replaced now is the earlier replacement. */
				if (o->replacement.start < o->replacement.end)
					lp_vec_push(&p->guards,
						    ((struct lp_guard){w->allow_active ? (struct lp_range){0, 0}
										       : o->replacement,
								       lp_sprintf("%s (patch %" PRIu64 ")", o->symbol,
										  who.items[i].id)}));
			}
		}
	writers_free(&who);
	return rc;
}

/* ---- writes ---- */

struct lp_write *lp_plan_add_write(struct lp_plan *p, const struct lp_op *op, enum lp_write_kind kind, lp_addr at,
				   const void *bytes, size_t len, const char *symbol)
{
	struct lp_write *w = lp_vec_add(&p->writes);
	w->at = at;
	w->len = len;
	w->kind = kind;
	w->new_bytes = lp_memdup(bytes, len);
	w->old_bytes = lp_alloc(len);
	w->symbol = lp_strdup(symbol);
	w->where = op->where;
	w->allow_active = op->allow_active || p->opts.allow_active;
	return w;
}

int lp_plan_finish_write(struct lp_plan *p, struct lp_write *w, struct lp_err *err)
{
	int rc = p->t->ops->read(p->t, w->at, w->old_bytes, w->len, err);
	return rc ? rc : stack_on(p, w, err);
}

static int executable(struct lp_plan *p, const struct lp_place *place, struct lp_err *err)
{
	if (place->mem != LP_NONE) {
		const struct lp_room *r = &p->rooms.items[p->mems.items[place->mem].room];
		for (size_t i = 0; i < r->request.nr_pieces; i++)
			if (lp_range_has(r->request.pieces[i].range, place->addr) &&
			    !(r->request.pieces[i].prot & LP_PROT_EXEC))
				return lp_fail(err, LP_ENOTCODE, "%s (" LP_ADDR ") is not executable", place->name,
					       place->addr);
		return 0;
	}
	struct lp_area area;
	int rc = p->t->ops->area(p->t, place->addr, &area, err);
	if (rc == 0 && !(area.prot & LP_PROT_EXEC))
		rc = lp_fail(err, LP_ENOTCODE, "%s (" LP_ADDR ") lies in memory of %s that is not executable",
			     place->name, place->addr, area.name[0] ? area.name : p->t->label);
	return rc;
}

/* Reads the code around a place, as it was before any patch. */
static int read_code(struct lp_plan *p, const struct lp_place *at, uint8_t **window, struct lp_entry_request *req,
		     struct lp_err *err)
{
	struct lp_area area;
	int rc = p->t->ops->area(p->t, at->addr, &area, err);
	if (rc < 0)
		return rc;
	uint64_t room = area.range.end - at->addr;
	uint64_t size = at->size < CODE_MAX ? at->size : 0;
	uint64_t limit = at->limit.end > at->addr ? at->limit.end - at->addr : 0;
	uint64_t want = size ? size : 64;
	if (limit > want)
		want = limit < want + 64 ? limit : want + 64;
	if (want > room)
		want = room;
	uint64_t before = at->addr - area.range.start < BEFORE ? at->addr - area.range.start : BEFORE;
	*window = lp_alloc(before + want);
	rc = lp_plan_read_original(p, at->addr - before, *window, before + want, err);
	*req = (struct lp_entry_request){.addr = at->addr,
					 .code = *window + before,
					 .code_len = want,
					 .size = size <= want ? size : 0,
					 .pad = limit > size ? (limit < want ? limit : want) - size : 0,
					 .before = *window,
					 .before_len = before};
	return rc;
}

static struct lp_range body_of(const struct lp_place *at)
{
	return (struct lp_range){at->addr, at->addr + at->size};
}

static int jump_writes(struct lp_plan *p, const struct lp_op *op, const struct lp_place *at, const struct lp_place *to,
		       const struct lp_entry *e, lp_addr aim, const struct lp_keep *keep, struct lp_err *err)
{
	struct lp_piece pieces[2];
	int nr = p->t->isa->entry_bytes(e, aim, pieces), rc = 0;
	if (nr == 0)
		return lp_fail(err, LP_EREACH, "a jump at %s cannot reach " LP_ADDR, at->name, aim);
	/* The old code comes back to its first byte: a thread that stands there may be in the middle of it. */
	if (e->revisited)
		lp_vec_push(&p->guards,
			    ((struct lp_guard){{e->jump_at - 1, e->jump_at + e->jump_len}, lp_strdup(at->name)}));
	for (int i = 0; i < nr && rc == 0; i++) {
		struct lp_write *w =
			lp_plan_add_write(p, op, LP_WRITE_CODE, pieces[i].at, pieces[i].bytes, pieces[i].len, at->name);
		/* The hole of a hop is padding: nobody runs there, only the entry has a body to be clear of. */
		if (i == nr - 1) {
			w->body = body_of(at);
			w->cold = at->cold;
			w->replacement = (struct lp_range){to->addr, to->addr + (to->size ? to->size : 1)};
			w->preserves = lp_strdup(keep->text);
		}
		rc = lp_plan_finish_write(p, w, err);
	}
	return rc;
}

/* An address inside a function that we know must be where one of its instructions begins. */
static int on_instruction(struct lp_plan *p, const struct lp_place *place, struct lp_err *err)
{
	struct lp_found f;
	if (place->mem != LP_NONE || !lp_target_symbol_at(p->t, place->addr, &f) || f.addr == place->addr ||
	    place->addr - f.addr >= f.sym.size || f.sym.size > CODE_MAX)
		return 0;
	uint8_t *code = lp_alloc(f.sym.size);
	int rc = lp_plan_read_original(p, f.addr, code, f.sym.size, err);
	uint64_t at = 0, wanted = place->addr - f.addr, n = 1;
	for (; rc == 0 && n && at < wanted; at += n)
		n = p->t->isa->insn_length(code + at, f.sym.size - at, f.addr + at);
	if (rc == 0 && n && at != wanted)
		rc = lp_fail(err, LP_EENCODING, "%s (" LP_ADDR ") is inside of an instruction of %s", place->name,
			     place->addr, f.sym.name);
	lp_free(code);
	return rc;
}

static int check_ends(struct lp_plan *p, const struct lp_place *at, const struct lp_place *to, struct lp_err *err)
{
	if (at->mem != LP_NONE)
		return lp_fail(err, LP_ENOTCODE, "%s is memory of this patch; put the jump into the object instead",
			       at->name);
	if (at->addr == to->addr)
		return lp_fail(err, LP_EOVERLAP, "a jump from %s to itself would never end", at->name);
	int rc = executable(p, at, err);
	rc = rc ? rc : executable(p, to, err);
	rc = rc ? rc : on_instruction(p, at, err);
	return rc ? rc : on_instruction(p, to, err);
}

/*
 * Where the jump can stand so that all code finds what it comes for: where
 * other functions go on in the middle of the bytes that it would take, this one
 * is as short as if it ended there.
 */
static int find_entry(struct lp_plan *p, const struct lp_place *at, struct lp_entry_request *req, struct lp_entry *e,
		      struct lp_err *err)
{
	struct lp_branch other;
	int rc = p->t->isa->entry(req, e, err);
	if (rc < 0 || !lp_joined_find(p, at, (struct lp_range){e->jump_at + 1, e->jump_at + e->jump_len}, &other))
		return rc;
	req->size = (size_t)(other.target - at->addr);
	req->pad = 0;
	if (p->t->isa->entry(req, e, NULL) == 0)
		return 0;
	return lp_fail(err, LP_EBRANCHED,
		       "the code at " LP_ADDR " jumps to " LP_ADDR ", and before that there is no room for a jump",
		       other.at, other.target);
}

int lp_plan_jump(struct lp_plan *p, const struct lp_op *op, const struct lp_place *at, const struct lp_place *to,
		 struct lp_err *err)
{
	uint8_t *window = NULL;
	struct lp_entry_request req;
	struct lp_entry e = {0};
	int rc = check_ends(p, at, to, err);
	rc = rc ? rc : read_code(p, at, &window, &req, err);
	if (rc == 0) {
		req.body_stays_live = op->allow_active || p->opts.allow_active;
		rc = find_entry(p, at, &req, &e, err);
		if (rc < 0)
			rc = lp_err_context(err, rc, "cannot put a jump on %s", at->name);
	}
	lp_addr aim = to->addr;
	struct lp_keep keep = {0};
	if (rc == 0 && !op->clobber)
		rc = lp_keep_find(p, at, to, &keep, err);
	if (rc == 0 && keep.regs)
		rc = make_thunk(p, &e, to->addr, &keep, &aim, err);
	else if (rc == 0 && !p->t->isa->reaches(&e, aim))
		rc = make_island(p, &e, to->addr, &aim, err);
	rc = rc ? rc : jump_writes(p, op, at, to, &e, aim, &keep, err);
	rc = rc ? rc : depend_on_owner(p, to->addr, err);
	lp_keep_free(&keep);
	lp_free(window);
	return rc;
}

static int plan_jmp(struct lp_plan *p, const struct lp_op *op, struct lp_err *err)
{
	struct lp_place at = {0}, to = {0};
	int rc = lp_resolve(p, &op->at, &at, err);
	rc = rc ? rc : lp_resolve(p, &op->to, &to, err);
	if (rc < 0)
		return rc;
	rc = lp_plan_jump(p, op, &at, &to, err);
	lp_buf_printf(&p->ops_text, "jmp " LP_ADDR " " LP_ADDR "\n", at.addr, to.addr);
	return lp_at_where(err, rc, &op->where);
}

/* Every page of [at, at+len) must be mapped; *prot receives what they have in common. */
static int mapped(struct lp_plan *p, lp_addr at, size_t len, unsigned *prot, struct lp_err *err)
{
	lp_addr end;
	*prot = LP_PROT_READ | LP_PROT_WRITE | LP_PROT_EXEC;
	if (__builtin_add_overflow(at, len, &end))
		return lp_fail(err, LP_ERANGE, LP_ADDR " plus %zu bytes is no address", at, len);
	for (lp_addr a = at; a < end;) {
		struct lp_area area;
		int rc = p->t->ops->area(p->t, a, &area, err);
		if (rc < 0)
			return lp_fail(err, LP_EUNMAPPED,
				       "%zu bytes at " LP_ADDR " reach into memory that is not mapped (" LP_ADDR ")",
				       len, at, a);
		*prot &= area.prot;
		a = area.range.end;
	}
	return 0;
}

static int set_in_room(struct lp_plan *p, const struct lp_place *at, const uint8_t *value, size_t len,
		       struct lp_err *err)
{
	const struct lp_mem *m = &p->mems.items[at->mem];
	struct lp_room *r = &p->rooms.items[m->room];
	uint64_t off = at->addr - r->range.start;
	if (len > m->size - off)
		return lp_fail(err, LP_ERANGE, "%zu bytes at %s do not fit into the %" PRIu64 " bytes of $%s", len,
			       at->name, m->size, m->op->mem);
	if (!r->bytes)
		r->bytes = lp_alloc(r->range.end - r->range.start);
	memcpy(r->bytes + off, value, len);
	return 0;
}

static int check_expected(const struct lp_op *op, const struct lp_write *w, struct lp_err *err)
{
	size_t n = op->expect_len < w->len ? op->expect_len : w->len;
	if (!op->expect || memcmp(w->old_bytes, op->expect, n) == 0)
		return 0;
	struct lp_buf is = {0}, want = {0};
	lp_buf_hex(&is, w->old_bytes, n < 24 ? n : 24);
	lp_buf_hex(&want, op->expect, n < 24 ? n : 24);
	int rc = lp_fail(err, LP_ECHANGED, "memory at %s (" LP_ADDR ") is not what was expected: found %s, expected %s",
			 w->symbol, w->at, lp_buf_cstr(&is), lp_buf_cstr(&want));
	if (err)
		err->addr = w->at;
	lp_buf_free(&is);
	lp_buf_free(&want);
	return rc;
}

/* Bytes in the place of others; code when they can be executed. */
static int plan_bytes(struct lp_plan *p, const struct lp_op *op, const struct lp_place *at, const uint8_t *value,
		      size_t len, struct lp_err *err)
{
	unsigned prot = 0;
	int rc = mapped(p, at->addr, len, &prot, err);
	if (rc < 0)
		return rc;
	struct lp_write *w = lp_plan_add_write(p, op, prot & LP_PROT_EXEC ? LP_WRITE_CODE : LP_WRITE_DATA, at->addr,
					       value, len, at->name);
	w->body = op->body;
	rc = lp_plan_finish_write(p, w, err);
	return rc ? rc : check_expected(op, w, err);
}

static int plan_set(struct lp_plan *p, const struct lp_op *op, struct lp_err *err)
{
	struct lp_place at, to = {0};
	uint8_t pointer[8];
	const uint8_t *value = op->value;
	size_t len = op->value_len;
	int rc = lp_resolve(p, &op->at, &at, err);
	if (rc == 0 && op->value_is_addr) {
		/* A number is a value like any other: 0 is what a program compares pointers with. */
		if (op->to.kind == LP_ADDR_INT)
			to = (struct lp_place){.addr = op->to.number, .mem = LP_NONE};
		else
			rc = lp_resolve(p, &op->to, &to, err);
		lp_put64(pointer, to.addr);
		value = pointer;
		len = sizeof pointer;
	}
	if (rc < 0)
		return rc;
	lp_buf_printf(&p->ops_text, "set " LP_ADDR " %s ", at.addr, op->type_name);
	if (op->value_is_addr)
		lp_buf_printf(&p->ops_text, LP_ADDR "\n", to.addr);
	else if (strcmp(op->type_name, "str") == 0)
		lp_buf_printf(&p->ops_text, "%.*s\n", (int)(len ? len - 1 : 0), (const char *)value);
	else if (strcmp(op->type_name, "hex") == 0)
		lp_buf_hex(&p->ops_text, value, len), lp_buf_str(&p->ops_text, "\n");
	else
		lp_buf_printf(&p->ops_text, "%" PRId64 "\n",
			      len == 1	 ? (int64_t)(int8_t)value[0]
			      : len == 2 ? (int64_t)(int16_t)lp_get16(value)
			      : len == 4 ? (int64_t)(int32_t)lp_get32(value)
					 : (int64_t)lp_get64(value));
	/* Memory that only this patch knows is filled before anything refers to it. */
	if (at.mem != LP_NONE && !p->mems.items[at.mem].file)
		return lp_at_where(err, set_in_room(p, &at, value, len, err), &op->where);
	/* Nothing is there yet: the target's loader has not been asked. */
	if (at.mem != LP_NONE && p->provisional)
		return 0;
	rc = plan_bytes(p, op, &at, value, len, err);
	if (rc == 0 && op->value_is_addr)
		rc = depend_on_owner(p, to.addr, err);
	return lp_at_where(err, rc, &op->where);
}

/* Instructions from the first to the last of these bytes, none of them cut. */
static int check_whole(struct lp_plan *p, const struct lp_place *at, const uint8_t *bytes, size_t len,
		       const char *which, struct lp_err *err)
{
	size_t done = 0, n = 1;
	for (; n && done < len; done += n)
		n = p->t->isa->insn_length(bytes + done, len - done, at->addr + done);
	if (n)
		return 0;
	return lp_fail(err, LP_EENCODING, "%s bytes at %s (" LP_ADDR ") are not whole instructions: %zu of %zu are",
		       which, at->name, at->addr, done, len);
}

/* Neither what goes nor what comes may leave half an instruction behind. */
static int check_inline(struct lp_plan *p, const struct lp_op *op, const struct lp_place *at, struct lp_err *err)
{
	if (at->addr % p->t->isa->insn_align)
		return lp_fail(err, LP_EMISALIGNED, "%s (" LP_ADDR ") is not the address of an instruction", at->name,
			       at->addr);
	unsigned prot = 0;
	uint8_t *original = lp_alloc(op->value_len);
	int rc = mapped(p, at->addr, op->value_len, &prot, err);
	rc = rc ? rc : executable(p, at, err);
	rc = rc ? rc : on_instruction(p, at, err);
	rc = rc ? rc : lp_plan_read_original(p, at->addr, original, op->value_len, err);
	rc = rc ? rc : check_whole(p, at, original, op->value_len, "the old", err);
	rc = rc ? rc : check_whole(p, at, op->value, op->value_len, "the new", err);
	lp_free(original);
	return rc;
}

static int plan_inline(struct lp_plan *p, const struct lp_op *op, struct lp_err *err)
{
	struct lp_place at;
	int rc = lp_resolve(p, &op->at, &at, err);
	rc = rc ? rc : check_inline(p, op, &at, err);
	rc = rc ? rc : plan_bytes(p, op, &at, op->value, op->value_len, err);
	if (rc == 0) {
		lp_buf_printf(&p->ops_text, "inline " LP_ADDR " ", at.addr);
		lp_buf_hex(&p->ops_text, op->value, op->value_len);
		lp_buf_str(&p->ops_text, "\n");
	}
	return lp_at_where(err, rc, &op->where);
}

static int plan_got(struct lp_plan *p, const struct lp_op *op, struct lp_err *err)
{
	struct lp_place to;
	struct lp_symspec spec;
	size_t image;
	int rc = lp_resolve(p, &op->to, &to, err);
	rc = rc ? rc : lp_resolve_got(p, &op->at, &image, &spec, err);
	if (rc < 0)
		return rc;
	lp_addr_vec slots = {0};
	rc = lp_link_got_slots(p->t, image, spec.name, spec.version, &slots, err);
	if (rc == 0 && slots.nr == 0) {
		const struct lp_image *images;
		size_t nr;
		p->t->ops->images(p->t, &images, &nr, NULL);
		rc = lp_fail(err, LP_ENOSYM, "%s has no GOT entry for %s (it may call it directly, or not at all)",
			     images[image].name, spec.name);
	}
	for (size_t i = 0; i < slots.nr && rc == 0; i++) {
		uint8_t pointer[8];
		lp_put64(pointer, to.addr);
		struct lp_write *w =
			lp_plan_add_write(p, op, LP_WRITE_GOT, slots.items[i], pointer, sizeof pointer, spec.name);
		w->replacement = (struct lp_range){to.addr, to.addr + (to.size ? to.size : 1)};
		rc = lp_plan_finish_write(p, w, err);
		lp_buf_printf(&p->ops_text, "got " LP_ADDR " " LP_ADDR "\n", w->at, to.addr);
	}
	rc = rc ? rc : depend_on_owner(p, to.addr, err);
	lp_vec_free(&slots);
	lp_symspec_free(&spec);
	return lp_at_where(err, rc, &op->where);
}

static void tell_room(struct lp_plan *p, const struct lp_op *op)
{
	for (size_t i = 0; i < p->mems.nr; i++) {
		const struct lp_mem *m = &p->mems.items[i];
		if (m->op != op)
			continue;
		static const char *const verbs[] = {[LP_OP_NEW] = "new", [LP_OP_LOAD] = "load", [LP_OP_DL] = "dl"};
		lp_buf_printf(&p->ops_text, "%s %s @ " LP_ADDR " [%" PRIu64 "]%s%s\n", verbs[op->kind], op->mem,
			      m->base, m->size, op->path ? " " : "", op->path ? op->path : "");
	}
}

static int plan_op(struct lp_plan *p, const struct lp_op *op, struct lp_err *err)
{
	switch (op->kind) {
	case LP_OP_NEW:
	case LP_OP_LOAD:
	case LP_OP_DL:
		tell_room(p, op);
		return 0;
	case LP_OP_SET:
		return plan_set(p, op, err);
	case LP_OP_JMP:
		return plan_jmp(p, op, err);
	case LP_OP_GOT:
		return plan_got(p, op, err);
	case LP_OP_OBJECT:
		return lp_plan_apply_kpatch(p, op, err);
	case LP_OP_UNDO:
		return lp_plan_undo_foreign(p, op, err);
	case LP_OP_INLINE:
		return plan_inline(p, op, err);
	case LP_OP_INSERT:
	case LP_OP_FUNC:
	case LP_OP_NOP:
	case LP_OP_BRANCH:
	case LP_OP_REDIRECT:
		return lp_at_where(err, lp_fail(err, LP_EUSAGE, "instructions at addresses are for the library"),
				   &op->where);
	}
	return -EINVAL;
}

static int by_place(const void *a, const void *b)
{
	const struct lp_write *const *x = a, *const *y = b;
	return ((*x)->at > (*y)->at) - ((*x)->at < (*y)->at);
}

static int check_entered_inline(struct lp_plan *p, const struct lp_op *op, struct lp_err *err)
{
	struct lp_place at;
	struct lp_branch other;
	int rc = lp_resolve(p, &op->at, &at, err);
	if (rc < 0 || !lp_joined_cut(p, (struct lp_range){at.addr, at.addr + op->value_len}, op->value, &other))
		return rc;
	rc = lp_fail(err, LP_EBRANCHED,
		     "the code at " LP_ADDR " jumps to " LP_ADDR ", where no instruction of the new code of %s begins",
		     other.at, other.target, at.name);
	return lp_at_where(err, rc, &op->where);
}

/* Code that jumps into the bytes of an `inline` finds an instruction there; other operations may change that code too. */
static int check_entered(struct lp_plan *p, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < p->ps->nr && rc == 0; i++)
		if (p->ps->ops[i].kind == LP_OP_INLINE)
			rc = check_entered_inline(p, &p->ps->ops[i], err);
	return rc;
}

static int check_overlaps(struct lp_plan *p, struct lp_err *err)
{
	if (p->writes.nr < 2)
		return 0;
	int rc = 0;
	struct lp_write **sorted = lp_alloc(p->writes.nr * sizeof(struct lp_write *));
	for (size_t i = 0; i < p->writes.nr; i++)
		sorted[i] = &p->writes.items[i];
	qsort(sorted, p->writes.nr, sizeof(struct lp_write *), by_place);
	for (size_t i = 1; i < p->writes.nr && rc == 0; i++) {
		const struct lp_write *a = sorted[i - 1], *b = sorted[i];
		if (b->at < a->at + a->len) {
			const struct lp_write *later = a->where.line > b->where.line ? a : b,
					      *earlier = later == a ? b : a;
			rc = lp_fail(err, LP_EOVERLAP,
				     "%s (" LP_ADDR ", %zu bytes) overlaps what line %u changes (%s, " LP_ADDR
				     ", %zu bytes)",
				     later->symbol, later->at, later->len, earlier->where.line, earlier->symbol,
				     earlier->at, earlier->len);
			rc = lp_at_where(err, rc, &later->where);
		}
	}
	lp_free(sorted);
	return rc;
}

int lp_plan_build(struct lp_plan *p, struct lp_err *err)
{
	lp_plan_reset(p);
	int rc = lp_ledger_open(&p->ledger, p->t, err);
	for (size_t i = 0; i < p->ps->nr && rc == 0; i++)
		rc = place_op(p, &p->ps->ops[i], err);
	rc = rc ? rc : lp_plan_place_kpatches(p, err);
	for (size_t i = 0; i < p->mems.nr && rc == 0; i++)
		rc = link_mem(p, &p->mems.items[i], err);
	for (size_t i = 0; i < p->ps->nr && rc == 0; i++)
		rc = plan_op(p, &p->ps->ops[i], err);
	rc = rc ? rc : lp_plan_restore_replaced(p, err);
	rc = rc ? rc : check_overlaps(p, err);
	return rc ? rc : check_entered(p, err);
}

/* ---- the value ---- */

int lp_plan_make(struct lp_plan **out, struct lp_target *t, const struct lp_patchset *ps,
		 const struct lp_apply_opts *opts, struct lp_err *err)
{
	struct lp_plan *p = lp_alloc(sizeof *p);
	p->t = t;
	p->ps = ps;
	p->opts = *opts;
	/* The ledger is read: not while another livepatch is in the middle of writing it. */
	int rc = t->ops->lock(t, opts->timeout_ms, err);
	if (rc == 0) {
		rc = lp_plan_build(p, err);
		t->ops->unlock(t);
	}
	if (rc < 0) {
		lp_plan_free(p);
		p = NULL;
	}
	*out = p;
	return rc;
}

const struct lp_opened *lp_plan_opened(const struct lp_plan *p, const struct lp_op *op)
{
	for (size_t i = 0; i < p->opened.nr; i++)
		if (p->opened.items[i].op == op)
			return &p->opened.items[i];
	return NULL;
}

const struct lp_room *lp_plan_rooms(const struct lp_plan *p, size_t *nr)
{
	*nr = p->rooms.nr;
	return p->rooms.items;
}

const struct lp_write *lp_plan_writes(const struct lp_plan *p, size_t *nr)
{
	*nr = p->writes.nr;
	return p->writes.items;
}

void lp_plan_print_ops(const struct lp_plan *p, struct lp_buf *out)
{
	lp_buf_add(out, p->ops_text.data, p->ops_text.len);
}

void lp_plan_reset(struct lp_plan *p)
{
	for (size_t i = 0; i < p->mems.nr; i++) {
		lp_object_close(p->mems.items[i].object);
		lp_relink_close(p->mems.items[i].relink);
		lp_elf_close(p->mems.items[i].file);
	}
	for (size_t i = 0; i < p->rooms.nr; i++) {
		lp_free(p->rooms.items[i].name);
		lp_free(p->rooms.items[i].path);
		lp_free(p->rooms.items[i].bytes);
	}
	for (size_t i = 0; i < p->writes.nr; i++) {
		lp_free(p->writes.items[i].old_bytes);
		lp_free(p->writes.items[i].new_bytes);
		lp_free(p->writes.items[i].symbol);
		lp_free(p->writes.items[i].preserves);
	}
	for (size_t i = 0; i < p->guards.nr; i++)
		lp_free(p->guards.items[i].symbol);
	p->mems.nr = p->rooms.nr = p->writes.nr = p->guards.nr = p->deps.nr = p->taken.nr = p->thunks.nr = 0;
	lp_plan_forget_kept(p);
	lp_foreign_free(&p->foreign);
	p->foreign_read = false;
	lp_contracts_free(p->contracts);
	p->contracts = NULL;
	lp_buf_free(&p->ops_text);
	p->provisional = false;
}

void lp_plan_free(struct lp_plan *p)
{
	if (!p)
		return;
	lp_plan_reset(p);
	lp_vec_free(&p->mems);
	lp_vec_free(&p->rooms);
	lp_vec_free(&p->writes);
	lp_vec_free(&p->guards);
	lp_vec_free(&p->deps);
	lp_vec_free(&p->taken);
	lp_vec_free(&p->opened);
	lp_vec_free(&p->thunks);
	lp_vec_free(&p->kept);
	lp_free(p);
}
