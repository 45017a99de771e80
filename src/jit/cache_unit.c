/* A unit to the bytes of a record, and back. */
#include <string.h>

#include "base/bits.h"
#include "emu/mem.h"
#include "emu/vdso.h"
#include "jit/cache.h"

/* Behind it, in this order: constants, looks, references, words, offsets, notes of vectors, flags of each instruction, the instruction of each
 * uop, code. */
struct packed {
	uint64_t start; /* 0: it may be anywhere; else only there */
	uint32_t code_size, hot_size, v_narrow_s, v_narrow_d;
	uint16_t nr_insns, nr_looked, nr_refs, nr_constants, nr_uops, nr_v_notes;
	uint8_t is_loop, zero[3];
};
_Static_assert(sizeof(struct packed) == 40, "what follows is aligned");

/* Whatever a unit has is in its record too, or made anew in make(); regions have none. */
_Static_assert(sizeof(struct lp_unit) == 152, "has a unit something that a record has not?");

struct packed_look {
	int32_t from; /* where it begins, seen from the unit */
	uint32_t len; /* bytes */
	uint64_t seen;
};

struct parts {
	struct lp_constant *constants;
	struct packed_look *looked;
	struct lp_unit_ref *refs;
	uint32_t *words, *offsets, *v_notes;
	uint8_t *flags_at, *uops, *code;
	size_t size;
};

/* Below it an address fits into fewer bytes of code, and adrp might reach there: such units stay where they are. */
static const uint64_t movable_from = UINT64_C(1) << 34;

static void *part(uint8_t *base, size_t *at, size_t nr, size_t size)
{
	void *p = base + *at;

	*at += nr * size;
	return p;
}

static struct parts parts_of(const struct packed *p, uint8_t *base)
{
	struct parts parts;
	size_t at = sizeof *p;

	parts.constants = part(base, &at, p->nr_constants, sizeof *parts.constants);
	parts.looked = part(base, &at, p->nr_looked, sizeof *parts.looked);
	parts.refs = part(base, &at, p->nr_refs, sizeof *parts.refs);
	parts.words = part(base, &at, p->nr_insns, sizeof *parts.words);
	parts.offsets = part(base, &at, p->nr_insns, sizeof *parts.offsets);
	parts.v_notes = part(base, &at, p->nr_v_notes, sizeof *parts.v_notes);
	parts.flags_at = part(base, &at, p->nr_insns, 1);
	parts.uops = part(base, &at, p->nr_uops, 1);
	parts.code = part(base, &at, p->code_size, 1);
	parts.size = at;
	return parts;
}

/* ---- what code refers to ---- */

static bool is_in(uint64_t address, const void *start, size_t size)
{
	return address - (uint64_t)start < size;
}

/* From the unit's begin, in 32 bits. */
static bool put_distance(struct lp_unit_ref *r, uint64_t address, uint64_t start)
{
	r->value = (int32_t)(address - start);
	return (int64_t)(address - start) == r->value;
}

static bool put_index(struct lp_unit_ref *r, uint64_t address, const void *array, size_t size)
{
	r->value = (int32_t)((address - (uint64_t)array) / size);
	return (address - (uint64_t)array) % size == 0;
}

static bool put_ref(const struct lp_tr *t, const struct lp_x86_ref *from, struct lp_unit_ref *to)
{
	const struct lp_jit *jit = t->jit;
	uint64_t target = from->target;

	*to = (struct lp_unit_ref){.at = (uint16_t)from->at, .behind = from->behind};
	if (from->is_immediate && from->is_ours) {
		to->kind = LP_REF_UOP;
		return is_in(target, t->kept, 2 * t->nr_uops * sizeof t->uops[0]) &&
		       put_index(to, target, t->kept, 2 * sizeof t->uops[0]);
	}
	if (from->is_immediate) {
		to->kind = LP_REF_GUEST;
		return put_distance(to, target, t->start);
	}
	if (is_in(target, jit->slot_array, LP_SLOTS * sizeof jit->slot_array[0])) {
		to->kind = LP_REF_SLOT;
		return put_index(to, target, jit->slot_array, sizeof jit->slot_array[0]) &&
		       put_distance(to, jit->slot_array[to->value].pc, t->start);
	}
	if (is_in(target, jit->constants, LP_CONSTANTS * sizeof jit->constants[0])) {
		to->kind = LP_REF_CONSTANT;
		return put_index(to, target, jit->constants, sizeof jit->constants[0]);
	}
	to->kind = LP_REF_STUB;
	return is_in(target, jit->segments[0].rx, LP_SEGMENT) && put_index(to, target, jit->segments[0].rx, 1);
}

bool lp_cache_note(struct lp_tr *t, const uint8_t *code, size_t size)
{
	t->nr_unit_refs = 0;
	if (t->x.nr_refs > t->x.max_refs || size > UINT16_MAX)
		return false;
	for (unsigned i = 0; i < t->x.nr_refs; i++) {
		const struct lp_x86_ref *r = &t->x.refs[i];
		/* Jumps within the unit move with it. */
		if (!r->is_immediate && is_in(r->target, code, size))
			continue;
		if (!put_ref(t, r, &t->unit_refs[t->nr_unit_refs++]))
			return false;
	}
	return true;
}

/* ---- to a record ---- */

/* What stands in code instead of a reference. */
static void blank(uint8_t *code, const struct lp_unit_ref *r)
{
	memset(code + r->at, 0, lp_unit_ref_size(r));
}

/* The index of a constant in the record. */
static int32_t pack_constant(const struct lp_jit *jit, struct packed *p, struct lp_constant *constants, int32_t index)
{
	struct lp_constant c = jit->constants[index];
	uint16_t i = 0;

	while (i < p->nr_constants && (constants[i].low != c.low || constants[i].high != c.high))
		i++;
	if (i == p->nr_constants)
		constants[p->nr_constants++] = c;
	return i;
}

static void pack_looks(const struct lp_unit *u, struct packed_look *out)
{
	for (unsigned i = 0; i < u->nr_looked; i++)
		out[i] = (struct packed_look){.from = (int32_t)(u->looked[i].range.start - u->range.start),
					      .len = (uint32_t)(u->looked[i].range.end - u->looked[i].range.start),
					      .seen = u->looked[i].seen};
}

/* Whether what was looked at is near enough, which branches cannot but be. */
static bool looks_are_near(const struct lp_unit *u)
{
	for (unsigned i = 0; i < u->nr_looked; i++)
		if (!lp_fits_signed((int64_t)(u->looked[i].range.start - u->range.start), 32))
			return false;
	return true;
}

enum { REFS_MAX = LP_UNIT_REFS };

size_t lp_cache_pack(struct lp_jit *jit, const struct lp_unit *u, uint8_t *out, size_t room)
{
	struct lp_constant constants[REFS_MAX];
	struct lp_unit_ref refs[REFS_MAX];
	struct parts parts;
	struct packed p = {.start = u->range.start >= movable_from ? 0 : u->range.start,
			   .code_size = u->size,
			   .hot_size = u->hot_size,
			   .v_narrow_s = u->v_narrow_s,
			   .v_narrow_d = u->v_narrow_d,
			   .nr_insns = u->nr_insns,
			   .nr_looked = u->nr_looked,
			   .nr_refs = u->nr_refs,
			   .nr_v_notes = u->nr_v_notes,
			   .is_loop = u->is_loop};

	if (u->interpreted || u->is_dead || u->region || u->nr_refs > REFS_MAX || !looks_are_near(u))
		return 0;
	for (unsigned i = 0; i < u->nr_refs; i++) {
		refs[i] = u->refs[i];
		if (refs[i].kind == LP_REF_UOP && refs[i].value >= p.nr_uops)
			p.nr_uops = (uint16_t)(refs[i].value + 1);
		if (refs[i].kind == LP_REF_CONSTANT)
			refs[i].value = pack_constant(jit, &p, constants, refs[i].value);
	}
	if (parts_of(&p, out).size > room)
		return 0;
	parts = parts_of(&p, out);
	memcpy(out, &p, sizeof p);
	memcpy(parts.constants, constants, p.nr_constants * sizeof constants[0]);
	pack_looks(u, parts.looked);
	memcpy(parts.refs, refs, p.nr_refs * sizeof refs[0]);
	memcpy(parts.words, u->words, p.nr_insns * sizeof u->words[0]);
	memcpy(parts.offsets, u->offsets, p.nr_insns * sizeof u->offsets[0]);
	memcpy(parts.v_notes, u->v_notes, p.nr_v_notes * sizeof u->v_notes[0]);
	memcpy(parts.flags_at, u->flags_at, p.nr_insns);
	for (unsigned i = 0; i < p.nr_uops; i++)
		parts.uops[i] = (uint8_t)((u->uops[2 * (size_t)i].pc - u->range.start) / 4);
	memcpy(parts.code, u->code, u->size);
	for (unsigned i = 0; i < p.nr_refs; i++)
		blank(parts.code, &refs[i]);
	return parts.size;
}

/* ---- and back ---- */

static bool ref_is_good(const struct lp_jit *jit, const struct packed *p, const struct lp_unit_ref *r)
{
	static const uint32_t guest = INT32_MAX;
	const uint32_t limits[] = {[LP_REF_SLOT] = guest,
				   [LP_REF_STUB] = (uint32_t)jit->segments[0].used,
				   [LP_REF_CONSTANT] = p->nr_constants,
				   [LP_REF_UOP] = p->nr_uops,
				   [LP_REF_GUEST] = guest};
	if (r->kind >= LP_REF_KINDS || (size_t)r->at + lp_unit_ref_size(r) + r->behind > p->code_size)
		return false;
	return limits[r->kind] == guest || (uint32_t)r->value < limits[r->kind];
}

static bool offsets_are_good(const struct packed *p, const struct parts *parts)
{
	for (unsigned i = 0; i < p->nr_insns; i++)
		if (parts->offsets[i] > p->hot_size || (i > 0 && parts->offsets[i] < parts->offsets[i - 1]) ||
		    parts->flags_at[i] > LP_FLAGS_FP_BACK)
			return false;
	return true;
}

/* Everything in it that anything is to be found by. */
static bool is_good(const struct lp_jit *jit, const struct packed *p, const struct parts *parts, size_t len)
{
	if (parts->size != len || p->nr_insns == 0 || p->nr_insns > LP_LONG_UNIT_MAX || p->nr_looked > LP_UNIT_LOOKED ||
	    p->nr_uops > LP_LONG_UNIT_MAX || p->code_size > LP_UNIT_BYTES || p->hot_size > p->code_size ||
	    !offsets_are_good(p, parts) || !lp_v_notes_are_good(parts->v_notes, p->nr_v_notes))
		return false;
	for (unsigned i = 0; i < p->nr_refs; i++)
		if (!ref_is_good(jit, p, &parts->refs[i]))
			return false;
	for (unsigned i = 0; i < p->nr_uops; i++)
		if (parts->uops[i] >= p->nr_insns)
			return false;
	return true;
}

/* Whether what was looked at is still there, and in one page. */
static bool look_holds(struct lp_jit *jit, uint64_t start, const struct packed_look *l)
{
	uint64_t at = start + (uint64_t)(int64_t)l->from;
	uint32_t words[LP_LOOK_WORDS];

	if (l->len == 0 || l->len > sizeof words || at % 4 || l->len % 4 ||
	    at / LP_GUEST_PAGE != (at + l->len - 1) / LP_GUEST_PAGE || lp_mem_read(at, words, l->len))
		return false;
	return !lp_block_has_breakpoint(jit->emu->blocks, (struct lp_range){at, at + l->len}) &&
	       lp_cache_hash(0, words, l->len) == l->seen;
}

/* Whether it is what would be made of what stands there. */
static bool is_of(struct lp_jit *jit, const struct packed *p, const struct parts *parts, uint64_t pc, size_t nr)
{
	uint32_t words[LP_LONG_UNIT_MAX];

	if (p->nr_insns > nr || lp_mem_read(pc, words, p->nr_insns * 4) ||
	    memcmp(parts->words, words, p->nr_insns * 4) != 0 || p->start != (pc >= movable_from ? 0 : pc) ||
	    lp_block_has_breakpoint(jit->emu->blocks, (struct lp_range){pc + 4, pc + p->nr_insns * 4}))
		return false;
	for (unsigned i = 0; i < p->nr_looked; i++)
		if (!look_holds(jit, pc, &parts->looked[i]))
			return false;
	return true;
}

/* The address that a reference is to; 0: there is no room for it. */
static uint64_t target_of(struct lp_jit *jit, const struct lp_unit *u, const struct parts *parts,
			  const struct lp_unit_ref *r)
{
	const struct lp_constant *c;

	switch (r->kind) {
	case LP_REF_SLOT:
		return (uint64_t)lp_jit_slot_of(jit, u->range.start + (uint64_t)(int64_t)r->value);
	case LP_REF_STUB:
		return (uint64_t)jit->segments[0].rx + (uint32_t)r->value;
	case LP_REF_CONSTANT:
		c = &parts->constants[r->value];
		return (uint64_t)lp_constant_of(jit, c->low, c->high);
	case LP_REF_UOP:
		return (uint64_t)&u->uops[2 * (size_t)r->value];
	default:
		return u->range.start + (uint64_t)(int64_t)r->value;
	}
}

/* False: slots or constants have run out. */
static bool refer(struct lp_jit *jit, const struct lp_unit *u, const struct parts *parts, unsigned nr, uint8_t *code)
{
	for (unsigned i = 0; i < nr; i++) {
		const struct lp_unit_ref *r = &parts->refs[i];
		uint64_t target = target_of(jit, u, parts, r);
		int32_t distance = (int32_t)(target - ((uint64_t)u->code + r->at + 4 + r->behind));
		if (!target)
			return false;
		if (lp_unit_ref_size(r) == 8)
			memcpy(code + r->at, &target, 8);
		else
			memcpy(code + r->at, &distance, 4);
	}
	return true;
}

static void *keep(char **at, size_t size)
{
	void *p = *at;

	*at += lp_align_up(size, 8);
	return p;
}

static void make_uops(struct lp_jit *jit, const struct lp_unit *u, const uint8_t *insns, unsigned nr)
{
	for (size_t i = 0; i < nr; i++) {
		struct lp_uop *uop = &u->uops[2 * i];
		memset(uop, 0, sizeof *uop);
		lp_lower(jit->emu->blocks, uop, u->words[insns[i]], u->range.start + insns[i] * 4);
		lp_vdso_lower(jit->emu, uop);
		uop[1] = lp_jit_stop;
	}
}

/* What belongs to it beside its code; NULL: there is no memory. */
static struct lp_unit *make(struct lp_jit *jit, const struct packed *p, const struct parts *parts, uint64_t pc)
{
	size_t most = 2 * p->nr_uops * sizeof(struct lp_uop) + sizeof(struct lp_unit) +
		      p->nr_looked * sizeof(struct lp_look) + p->nr_insns * 9 + p->nr_v_notes * 4 + 64;
	char *at = lp_keep_room(jit, most);
	struct lp_unit *u;

	if (!at)
		return NULL;
	u = keep(&at, sizeof *u);
	*u = (struct lp_unit){.size = p->code_size,
			      .hot_size = p->hot_size,
			      .v_narrow_s = p->v_narrow_s,
			      .v_narrow_d = p->v_narrow_d,
			      .nr_insns = p->nr_insns,
			      .nr_looked = p->nr_looked,
			      .is_loop = p->is_loop,
			      .nr_v_notes = p->nr_v_notes,
			      .range = {pc, pc + p->nr_insns * 4}};
	u->uops = keep(&at, 2 * p->nr_uops * sizeof u->uops[0]);
	u->looked = keep(&at, p->nr_looked * sizeof u->looked[0]);
	u->words = memcpy(keep(&at, p->nr_insns * 4), parts->words, p->nr_insns * 4);
	u->offsets = memcpy(keep(&at, p->nr_insns * 4), parts->offsets, p->nr_insns * 4);
	u->v_notes = memcpy(keep(&at, p->nr_v_notes * 4), parts->v_notes, p->nr_v_notes * 4);
	u->flags_at = memcpy(keep(&at, p->nr_insns), parts->flags_at, p->nr_insns);
	for (unsigned i = 0; i < p->nr_looked; i++) {
		uint64_t from = pc + (uint64_t)(int64_t)parts->looked[i].from;
		u->looked[i] =
			(struct lp_look){.range = {from, from + parts->looked[i].len}, .seen = parts->looked[i].seen};
	}
	make_uops(jit, u, parts->uops, p->nr_uops);
	lp_keep_used(jit, at);
	return u;
}

struct lp_unit *lp_cache_unpack(struct lp_jit *jit, const uint8_t *record, size_t len, uint64_t pc, size_t nr)
{
	struct lp_segment *s;
	struct parts parts;
	struct lp_unit *u;
	struct packed p;

	if (len < sizeof p)
		return NULL;
	memcpy(&p, record, sizeof p);
	parts = parts_of(&p, (uint8_t *)record);
	if (parts.size != len || !is_good(jit, &p, &parts, len) || !is_of(jit, &p, &parts, pc, nr))
		return NULL;
	s = lp_code_room(jit, p.code_size);
	u = s ? make(jit, &p, &parts, pc) : NULL;
	if (u) {
		u->code = s->rx + s->used;
		memcpy(s->rw + s->used, parts.code, p.code_size);
	}
	if (!u || !refer(jit, u, &parts, p.nr_refs, s->rw + s->used)) {
		lp_jit_set_full(jit);
		return NULL;
	}
	lp_unit_append(s, u);
	return u;
}
