/*
 * Frames of guest threads, by the call frame information (.eh_frame) of its
 * images and of patches.
 *
 * A thread that runs through a function again and again is unwound inside the
 * pause, sixty-four of them in a millisecond.  libdw takes tens of microseconds
 * to find the rules of one pc, so each is asked once and kept: how to find the
 * CFA (from sp or x29, in all code that compilers make), the return address and
 * the caller's x29.  From then on a frame costs a table look-up and two loads.
 *
 * Sources: DWARF 5 section 6.4; ABI for the Arm 64-bit Architecture, DWARF
 * (AADWARF64) section 4.1: registers 29, 30 and 31 are x29, x30 and sp.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <libelf.h>

#include "base/bits.h"
#include "space/guest_private.h"

enum { DWARF_FP = 29, DWARF_LR = 30, DWARF_SP = 31 };

/* How the caller's value of a register is found. */
enum where { SAME, AT_CFA, UNDEFINED, UNKNOWN };

struct rule {
	lp_addr pc; /* 0: an empty place in the table */
	int64_t cfa_offset;
	int64_t lr_offset, fp_offset; /* AT_CFA: from the CFA */
	uint8_t cfa_register;	      /* DWARF_SP, DWARF_FP; 0 = there is no rule */
	uint8_t lr, fp;		      /* enum where */
	bool is_signal;		      /* of a signal frame: what it returns to was interrupted, not calling */
};

/* An image, or the code of a patch. */
struct tables {
	struct lp_range range; /* of its code */
	uint64_t bias;
	struct lp_buf made; /* the file, for code of a patch */
	Elf *elf;
	Dwarf_CFI *cfi;
};

struct lp_guest_walker {
	LP_VEC(struct tables) tables; /* by address */
	struct rule *rules;
	size_t nr, mask;
};

/* ---- tables ---- */

static struct lp_range span_of(const struct lp_image *im)
{
	struct lp_range r = {UINT64_MAX, 0};

	for (size_t i = 0; i < lp_elf_phdr_count(im->elf); i++) {
		const Elf64_Phdr *ph = lp_elf_phdr(im->elf, i);
		if (ph->p_type != PT_LOAD)
			continue;
		r.start = im->bias + ph->p_vaddr < r.start ? im->bias + ph->p_vaddr : r.start;
		r.end = im->bias + ph->p_vaddr + ph->p_memsz > r.end ? im->bias + ph->p_vaddr + ph->p_memsz : r.end;
	}
	return r;
}

static void add_tables(struct lp_guest_walker *w, struct tables t)
{
	t.cfi = t.elf ? dwarf_getcfi_elf(t.elf) : NULL;
	if (t.cfi) {
		lp_vec_push(&w->tables, t);
		return;
	}
	elf_end(t.elf);
	lp_buf_free(&t.made);
}

static void add_image(struct lp_guest_walker *w, const struct lp_image *im)
{
	size_t len;
	const uint8_t *bytes = lp_elf_file(im->elf, &len);

	if (bytes) /* libelf's memory images are not written to */
		add_tables(w, (struct tables){.range = span_of(im),
					      .bias = im->bias,
					      .elf = elf_memory((char *)(uintptr_t)bytes, len)});
}

/* A room of ours that ends with a trailer: the guest can write there, it is believed as far as it speaks of its own room. */
static void add_room(struct lp_guest_target *g, struct lp_guest_walker *w, struct lp_range room)
{
	struct lp_room_trailer trailer;
	struct tables t = {.range = room};
	uint8_t *bytes;

	if (lp_mem_read(room.end - sizeof trailer, &trailer, sizeof trailer) ||
	    trailer.magic != LP_ROOM_TRAILER_MAGIC || !lp_range_has(room, trailer.eh_frame) ||
	    trailer.len > room.end - trailer.eh_frame || !trailer.len)
		return;
	bytes = lp_alloc(trailer.len);
	if (lp_mem_read(trailer.eh_frame, bytes, trailer.len) == 0) {
		lp_elf_make_frames(&t.made, EM_AARCH64, room,
				   (struct lp_range){trailer.eh_frame, trailer.eh_frame + trailer.len}, bytes);
		t.elf = elf_memory((char *)t.made.data, t.made.len);
		add_tables(w, t);
	}
	lp_free(bytes);
}

static bool is_room(const struct lp_guest_area *a)
{
	return strncmp(a->name, "livepatch-room.", strlen("livepatch-room.")) == 0;
}

/* Pieces of a room follow each other under one name: code first, data last. */
static void add_rooms(struct lp_guest_target *g, struct lp_guest_walker *w)
{
	struct lp_guest_area a;
	struct lp_range room = {0, 0};

	for (lp_addr at = 0; lp_mem_next(g->emu, at, &a); at = a.range.end) {
		if (is_room(&a) && a.range.start == room.end) {
			room.end = a.range.end;
			continue;
		}
		if (room.end)
			add_room(g, w, room);
		room = is_room(&a) ? a.range : (struct lp_range){0, 0};
	}
	if (room.end)
		add_room(g, w, room);
}

static struct lp_guest_walker *new_walker(struct lp_guest_target *g, struct lp_err *err)
{
	const struct lp_image *images;
	size_t nr;
	int rc = lp_guest_images(g, &images, &nr, err);
	struct lp_guest_walker *w;

	if (rc < 0)
		return NULL;
	elf_version(EV_CURRENT);
	w = lp_alloc(sizeof *w);
	w->mask = 1023;
	w->rules = lp_alloc((w->mask + 1) * sizeof *w->rules);
	for (size_t i = 0; i < nr; i++)
		add_image(w, &images[i]);
	add_rooms(g, w);
	return w;
}

void lp_guest_walker_free(struct lp_guest_walker *w)
{
	if (!w)
		return;
	for (size_t i = 0; i < w->tables.nr; i++) {
		dwarf_cfi_end(w->tables.items[i].cfi);
		elf_end(w->tables.items[i].elf);
		lp_buf_free(&w->tables.items[i].made);
	}
	lp_vec_free(&w->tables);
	lp_free(w->rules);
	lp_free(w);
}

/* ---- rules ---- */

static bool read_cfa(Dwarf_Frame *frame, struct rule *r)
{
	Dwarf_Op *ops;
	size_t nr;

	if (dwarf_frame_cfa(frame, &ops, &nr) != 0 || nr != 1)
		return false;
	if (ops[0].atom >= DW_OP_breg0 && ops[0].atom <= DW_OP_breg31) {
		r->cfa_register = (uint8_t)(ops[0].atom - DW_OP_breg0);
		r->cfa_offset = (int64_t)ops[0].number;
	} else if (ops[0].atom == DW_OP_bregx && ops[0].number <= DWARF_SP) {
		r->cfa_register = (uint8_t)ops[0].number;
		r->cfa_offset = (int64_t)ops[0].number2;
	} else {
		return false;
	}
	return r->cfa_register == DWARF_SP || r->cfa_register == DWARF_FP;
}

static enum where read_register(Dwarf_Frame *frame, int reg, int64_t *offset)
{
	Dwarf_Op memory[3], *ops;
	size_t nr;

	*offset = 0;
	if (dwarf_frame_register(frame, reg, memory, &ops, &nr) != 0)
		return UNKNOWN;
	if (nr == 0)
		return ops ? UNDEFINED : SAME;
	if (ops[0].atom != DW_OP_call_frame_cfa || nr > 2)
		return UNKNOWN;
	if (nr == 2 && ops[1].atom != DW_OP_plus_uconst)
		return UNKNOWN;
	*offset = nr == 2 ? (int64_t)ops[1].number : 0;
	return AT_CFA;
}

static struct tables *tables_of(struct lp_guest_walker *w, lp_addr pc)
{
	for (size_t i = 0; i < w->tables.nr; i++)
		if (lp_range_has(w->tables.items[i].range, pc))
			return &w->tables.items[i];
	return NULL;
}

static struct rule find_rule(struct lp_guest_walker *w, lp_addr pc)
{
	struct rule r = {.pc = pc};
	struct tables *t = tables_of(w, pc);
	Dwarf_Frame *frame;

	if (!t || dwarf_cfi_addrframe(t->cfi, pc - t->bias, &frame) != 0)
		return r;
	dwarf_frame_info(frame, NULL, NULL, &r.is_signal);
	if (read_cfa(frame, &r)) {
		r.lr = (uint8_t)read_register(frame, DWARF_LR, &r.lr_offset);
		r.fp = (uint8_t)read_register(frame, DWARF_FP, &r.fp_offset);
	} else {
		r.cfa_register = 0;
	}
	free(frame);
	return r;
}

static struct rule *place_of(struct rule *rules, size_t mask, lp_addr pc)
{
	size_t i = (pc >> 1) * UINT64_C(0x9e3779b97f4a7c15) >> 32 & mask;

	while (rules[i].pc && rules[i].pc != pc)
		i = (i + 1) & mask;
	return &rules[i];
}

static void grow(struct lp_guest_walker *w)
{
	size_t mask = 2 * w->mask + 1;
	struct rule *rules = lp_alloc((mask + 1) * sizeof *rules);

	for (size_t i = 0; i <= w->mask; i++)
		if (w->rules[i].pc)
			*place_of(rules, mask, w->rules[i].pc) = w->rules[i];
	lp_free(w->rules);
	w->rules = rules;
	w->mask = mask;
}

static const struct rule *rule_at(struct lp_guest_walker *w, lp_addr pc)
{
	struct rule *r = place_of(w->rules, w->mask, pc);

	if (r->pc)
		return r;
	if (2 * w->nr > w->mask) {
		grow(w);
		r = place_of(w->rules, w->mask, pc);
	}
	w->nr++;
	*r = find_rule(w, pc);
	return r;
}

/* ---- walking ---- */

static bool read_word(struct lp_guest_walk *from, lp_addr at, uint64_t *out)
{
	if (from->bytes && at >= from->stack.start && at <= from->stack.end && from->stack.end - at >= sizeof *out) {
		*out = lp_get64(from->bytes + (at - from->stack.start));
		return true;
	}
	if (from->live && lp_mem_read(at, out, sizeof *out) == 0)
		return true;
	from->missed = at;
	return false;
}

/* The caller's value of a register; false: it cannot be known. */
static bool restore(struct lp_guest_walk *from, enum where where, lp_addr at, uint64_t *value)
{
	return where == AT_CFA ? read_word(from, at, value) : where == SAME;
}

/* One frame out.  1: there is one; 0: this was the outermost; negative: nobody can tell. */
static int step(struct lp_guest_walk *from, const struct rule *r, lp_addr *pc, lp_addr *sp, lp_addr *fp, lp_addr *lr)
{
	lp_addr cfa;

	if (!r->cfa_register)
		return -ENOENT;
	cfa = (r->cfa_register == DWARF_SP ? *sp : *fp) + (uint64_t)r->cfa_offset;
	if (r->lr == UNDEFINED)
		return 0;
	if (r->lr == SAME && !from->has_lr)
		return -ENOENT;
	if (!restore(from, r->lr, cfa + (uint64_t)r->lr_offset, lr) ||
	    (r->fp != UNDEFINED && !restore(from, r->fp, cfa + (uint64_t)r->fp_offset, fp)))
		return -EFAULT;
	/* The caller's x30 is lost in its own call; a signal interrupted somebody who may still need his. */
	from->has_lr = r->is_signal;
	*lr &= UINT64_C(0x0000ffffffffffff); /* signed by PAuth */
	if (*lr == 0)
		return 0;
	/* Frames rise; only a leaf without a frame has its caller's stack pointer. */
	if (cfa < *sp || (cfa == *sp && *pc == *lr))
		return -ELOOP;
	*sp = cfa;
	*pc = *lr;
	return 1;
}

int lp_guest_walk(struct lp_guest_target *g, struct lp_guest_walk *from, struct lp_frame *frames, size_t max,
		  size_t *nr, struct lp_err *err)
{
	lp_addr pc = from->pc, sp = from->sp, fp = from->fp, lr = from->lr;
	bool called = false;
	int rc = 1;

	*nr = 0;
	from->missed = 0;
	if (!g->walker && !(g->walker = new_walker(g, err)))
		return -LP_EINTERNAL;
	while (rc > 0 && *nr < max) {
		const struct rule *r = rule_at(g->walker, pc - called);
		frames[(*nr)++] = (struct lp_frame){pc, sp};
		called = !r->is_signal;
		rc = step(from, r, &pc, &sp, &fp, &lr);
	}
	if (rc == 0)
		return (int)*nr;
	if (rc == -ENOENT && *nr < 2)
		return lp_fail(err, ENOENT, "there is no unwind table for the code at " LP_ADDR, from->pc);
	return lp_fail(err, LP_EBUSY, "the stack at " LP_ADDR " cannot be unwound beyond frame %zu: %s", from->sp, *nr,
		       rc > 0	       ? "it is deeper than expected"
		       : rc == -ENOENT ? "there is no unwind table"
		       : rc == -EFAULT ? "it goes on in other memory"
				       : "it goes in circles");
}
