/*
 * Streams and states.  Everything about a stream follows from the plan's seed, its
 * number and the row it is for; everything about a state from that and its own number.
 */
#include "differential.h"

#include <string.h>

#include "base/vec.h"
#include "isa/a64/operand.h"

/* Tries at a word that a row takes, and that suits the stream. */
#define MAX_TRIES 500

#define FPCR_BITS 0x07c80000 /* AHP, DN, FZ, RMode, FZ16 */
#define FPSR_BITS 0x0800009f /* QC, IDC, IXC to IOC */

enum { CLAIM_NONE, CLAIM_BASE, CLAIM_INDEX, CLAIM_TARGET, CLAIM_POINTER, CLAIM_MODES };

enum { ANYWHERE, ALIGNED, NO_FAULT };

struct making {
	const struct diff_plan *plan;
	struct diff_random r;
	struct diff_stream *s;
	uint32_t written; /* registers that no longer hold what they held at first, perhaps */
	uint32_t pool;	  /* registers that this stream likes */
	unsigned room;	  /* how many instructions there may be, for now */
	uint32_t zva;
};

static struct diff_random seeded(const struct diff_plan *plan, uint64_t number, uint64_t salt)
{
	struct diff_random r = {plan->seed * UINT64_C(0xd1342543de82ef95) ^ number * UINT64_C(0x2545f4914f6cdd1d) ^
				salt << 40};

	diff_random(&r);
	return r;
}

/* ---- words ---- */

/* Bits 0, 5, 10 and 16 are where registers stand; where they do not, nothing is lost. */
static uint32_t like_few_registers(struct making *m, uint32_t word)
{
	static const uint8_t places[] = {0, 5, 10, 16};

	for (size_t i = 0; i < sizeof places; i++)
		if (diff_chance(&m->r, 3))
			word = (word & ~(UINT32_C(31) << places[i])) | (m->pool >> diff_below(&m->r, 4) * 5 & 31)
									       << places[i];
	return word;
}

static bool random_word(struct making *m, enum lp_a64_op op, uint32_t *word)
{
	const struct lp_a64_row *row = lp_a64_row(op);
	uint32_t random = (uint32_t)diff_random(&m->r);

	if (diff_chance(&m->r, 2))
		random = like_few_registers(m, random);
	*word = (random & ~row->mask) | row->match;
	/* Three times in four a name; and anything. */
	if (!diff_chance(&m->r, 4) || op == A64_OP_SYS || m->plan->with_zva) {
		uint32_t named;

		if (diff_system_word(op, random >> 5, m->plan->with_zva, &named))
			*word = named | (random & 31);
	}
	return lp_a64_is(op, *word) && !diff_word_skipped(op, *word);
}

static uint32_t with_field(uint32_t word, unsigned lsb, unsigned width, uint32_t value)
{
	uint32_t mask = (uint32_t)((UINT64_C(1) << width) - 1);

	return (word & ~(mask << lsb)) | (value & mask) << lsb;
}

/* Literals come from the slot's data, branches go forward. */
static uint32_t aimed(struct making *m, const struct lp_a64_operand *o, uint32_t word, unsigned at, unsigned nr)
{
	bool is_load = (word & 0x3b000000) == 0x18000000;
	uint32_t here = at + 1, there;

	if (is_load)
		there = DIFF_DATA + diff_below(&m->r, DIFF_NR_DATA - 4);
	else
		there = here + 1 + diff_below(&m->r, nr - at);
	return with_field(word, o->arg[0], o->arg[1], there - here);
}

static uint32_t aim(struct making *m, enum lp_a64_op op, uint32_t word, unsigned at, unsigned nr)
{
	const struct lp_a64_operand *o = lp_a64_operands(lp_a64_form_of(op, word));

	for (; o->kind != A64_OPERAND_END; o++)
		if (o->kind == A64_OPERAND_LABEL)
			return aimed(m, o, word, at, nr);
	return word;
}

/* ---- claims: what a register must hold at first for an address to make sense ---- */

static bool can_claim(const struct making *m, unsigned reg)
{
	return m->s->claims[reg].how == CLAIM_NONE && (reg == 31 || !(m->written >> reg & 1));
}

/* LDRAA, LDRAB: where they fault, the base stays signed. */
static bool is_signed(uint32_t word)
{
	return (word & 0xff200400) == 0xf8200400;
}

static bool claim_address(struct making *m, uint32_t word, const struct diff_address *a)
{
	unsigned base = word >> 5 & 31, index = word >> 16 & 31;

	/* sp is a base, never an index. */
	if (!can_claim(m, base) || (base == 31 && a->offset & 15))
		return false;
	if (a->is_indexed && index != 31 && (index == base || !can_claim(m, index)))
		return false;
	m->s->memory = true;
	m->s->claims[base].how = CLAIM_BASE;
	m->s->claims[base].aligned = is_signed(word) ? NO_FAULT : diff_must_be_aligned(word) ? ALIGNED : ANYWHERE;
	m->s->claims[base].offset = a->offset;
	m->s->claims[base].index = 31;
	if (!a->is_indexed || index == 31)
		return true;
	m->s->claims[base].index = (uint8_t)index;
	m->s->claims[base].option = (uint8_t)a->option;
	m->s->claims[base].shift = (uint8_t)a->shift;
	m->s->claims[index].how = CLAIM_INDEX;
	m->s->claims[index].option = (uint8_t)a->option;
	return true;
}

static bool is_indirect(enum lp_a64_op op)
{
	switch (op) {
	case A64_OP_BR:
	case A64_OP_BLR:
	case A64_OP_RET:
	case A64_OP_BRAA:
	case A64_OP_BRAB:
	case A64_OP_BLRAA:
	case A64_OP_BLRAB:
	case A64_OP_BRAAZ:
	case A64_OP_BRABZ:
	case A64_OP_BLRAAZ:
	case A64_OP_BLRABZ:
	case A64_OP_RETAA:
	case A64_OP_RETAB:
		return true;
	default:
		return false;
	}
}

static bool claim_target(struct making *m, enum lp_a64_op op, uint32_t word, unsigned at, unsigned nr)
{
	unsigned reg = op == A64_OP_RETAA || op == A64_OP_RETAB ? 30 : word >> 5 & 31;

	if (reg == 31 || !can_claim(m, reg))
		return false;
	m->s->claims[reg].how = CLAIM_TARGET;
	/* What strips the pointer's signature stands behind it and is not jumped over. */
	m->s->claims[reg].offset = 4 * (at + 2 + (diff_company(op, 0) ? 0 : diff_below(&m->r, nr - at)));
	return true;
}

/*
 * What is signed or authenticated.  Only addresses of user space: what the others give depends on TBI1, which
 * emulators of user space have no opinion of (qemu 7.2 loses bit 55).
 */
static bool claim_pointer(struct making *m, enum lp_a64_op op, uint32_t word)
{
	unsigned reg = word & 31;

	if ((word & 0xfffff01f) == 0xd503201f) /* a hint: x17 if it says 1716, or x30 */
		reg = strstr(lp_a64_row(op)->name, "1716") ? 17 : 30;
	if (op == A64_OP_PACGA || reg == 31)
		return true;
	if (!can_claim(m, reg))
		return false;
	m->s->claims[reg].how = CLAIM_POINTER;
	return true;
}

/* MSR FPCR, FPSR: which of the bits without a function here read as written is the CPU's own affair. */
static bool claim_modes(struct making *m, unsigned reg, bool is_fpsr)
{
	if (reg == 31)
		return true;
	if (!can_claim(m, reg))
		return false;
	m->s->claims[reg].how = CLAIM_MODES;
	m->s->claims[reg].option = is_fpsr;
	return true;
}

/* What the instruction's addresses are made of; false: other registers, please. */
static bool claim(struct making *m, enum lp_a64_op op, uint32_t word, unsigned at, unsigned nr)
{
	struct diff_address a;

	if (is_indirect(op))
		return claim_target(m, op, word, at, nr);
	if (op == A64_OP_SYS && (word & 0x0000f000) == 0x7000) {
		m->s->memory = true;
		if ((word & 31) == 31)
			return true;
		return claim_address(m, with_field(word, 5, 5, word & 31), &(struct diff_address){0});
	}
	if ((word & 0xffffffc0) == 0xd51b4400)
		return claim_modes(m, word & 31, word >> 5 & 1);
	if (diff_address_of(op, word, &a))
		return claim_address(m, word, &a);
	return lp_a64_row(op)->feature != A64_FEATURE_PAUTH || claim_pointer(m, op, word);
}

static void put(struct making *m, enum lp_a64_op op, uint32_t word)
{
	struct diff_address a;

	m->s->words[m->s->nr++] = word;
	m->s->without |= diff_row_without(op);
	m->written |= diff_registers_of(op, word);
	if (diff_address_of(op, word, &a) && a.is_base_written)
		m->written |= UINT32_C(1) << (word >> 5 & 31);
}

/* ---- instructions that stand beside others ---- */

static uint32_t other_of(struct making *m, const struct diff_company *c, uint32_t word)
{
	const struct lp_a64_row *row = lp_a64_row(c->other);
	uint32_t other = ((uint32_t)diff_random(&m->r) & ~row->mask) | row->match;

	if (c->other == A64_OP_AND_IMM) /* and xd, xd, #0xffffffff */
		other = with_field(UINT32_C(0x92407c00), 0, 5, word);
	for (unsigned i = 0; i < 2; i++)
		if (c->to[i] >= 0)
			other = with_field(other, (unsigned)c->to[i], c->to[i] == 30 ? 2 : 5, word >> c->from[i]);
	if (c->other == A64_OP_AND_IMM)
		other = with_field(other, 5, 5, word);
	return other;
}

static const struct diff_company *company_of(struct making *m, enum lp_a64_op op)
{
	unsigned nr = 0;

	while (diff_company(op, nr))
		nr++;
	if (!nr)
		return NULL;

	const struct diff_company *c = diff_company(op, diff_below(&m->r, nr));
	return c->after && diff_chance(&m->r, 4) ? NULL : c;
}

/* What is left in the register of an authenticated pointer is signed still. */
static void put_strip(struct making *m, enum lp_a64_op op, const struct diff_company *c, uint32_t word)
{
	uint32_t reg = c->from[0] < 0 ? 30 : word >> c->from[0] & 31;

	if (is_indirect(op))
		put(m, A64_OP_XPACI, 0xdac143e0 | reg);
	else
		put(m, A64_OP_XPACD, 0xdac147e0 | reg);
}

/* An authentication takes the pointer that is claimed; the claim is made for the pair before either is written. */
static bool put_pair(struct making *m, enum lp_a64_op op, const struct diff_company *c, uint32_t word, unsigned nr)
{
	uint32_t other = other_of(m, c, word);

	if (!lp_a64_is(c->other, other) || diff_word_skipped(c->other, other))
		return false;
	/* What is loaded is not the address any more. */
	if (c->to[1] == 30 && ((other & 31) == (other >> 5 & 31) || (other >> 10 & 31) == (other >> 5 & 31)))
		return false;
	if (!claim(m, op, word, m->s->nr + c->after, nr))
		return false;
	if (c->after)
		put(m, c->other, other);
	put(m, op, word);
	if (!c->after)
		put(m, c->other, other);
	if (c->strip)
		put_strip(m, op, c, word);
	return true;
}

/* A word of the row at the end of the stream, perhaps with company; nr: how many instructions it will have. */
static bool put_row(struct making *m, enum lp_a64_op op, unsigned nr)
{
	const struct diff_company *c = nr - m->s->nr > 2 ? company_of(m, op) : NULL;
	uint32_t word;

	for (unsigned i = 0; i < MAX_TRIES; i++) {
		if (!random_word(m, op, &word))
			continue;
		if (c && put_pair(m, op, c, word, nr))
			return true;
		if (c)
			continue;
		word = aim(m, op, word, m->s->nr, nr);
		if (!lp_a64_is(op, word) || !claim(m, op, word, m->s->nr, nr))
			continue;
		put(m, op, word);
		return true;
	}
	return false;
}

/* What emulators do together with `op`, behind it; or nothing. */
static void put_follower(struct making *m, enum lp_a64_op op, unsigned nr)
{
	enum lp_a64_op next = diff_follower(op, (uint32_t)diff_random(&m->r) >> 8);

	if (next != A64_OP_UNALLOCATED && m->s->nr < m->room && !diff_chance(&m->r, 3))
		put_row(m, next, nr);
}

/* Something beside the row: any other, as long as it needs no company of its own. */
static void put_filler(struct making *m, unsigned nr)
{
	enum lp_a64_op op;

	do
		op = 1 + diff_below(&m->r, A64_OP_COUNT - 1);
	while (diff_row_skipped(op) || diff_company(op, 0) || diff_feature_absent(lp_a64_row(op)->feature) ||
	       op == A64_OP_UDF || op == A64_OP_SYS || op == A64_OP_SYSL || op == A64_OP_MRS || op == A64_OP_MSR_REG ||
	       (lp_a64_row(op)->match & 0xff000000) == 0xd4000000);
	if (put_row(m, op, nr))
		put_follower(m, op, nr);
}

static bool put_unallocated(struct making *m)
{
	m->s->memory = true; /* the reference may know a store there, and later cases would see what it wrote */
	for (unsigned i = 0; i < MAX_TRIES; i++) {
		uint32_t word = (uint32_t)diff_random(&m->r);

		/* Next to an instruction, where that can be. */
		if (!diff_chance(&m->r, 3)) {
			word = (word & ~lp_a64_row(1 + word % (A64_OP_COUNT - 1))->mask) |
			       lp_a64_row(1 + word % (A64_OP_COUNT - 1))->match;
			word ^= UINT32_C(1) << diff_below(&m->r, 32);
		}
		if (lp_a64_decode(word) != A64_OP_UNALLOCATED)
			continue;
		m->s->words[m->s->nr++] = word;
		return true;
	}
	return false;
}

bool diff_stream_make(const struct diff_plan *plan, uint64_t number, enum lp_a64_op target, struct diff_stream *s)
{
	struct making m = {.plan = plan, .r = seeded(plan, number, 1), .s = s};
	bool is_absent = target == A64_OP_UNALLOCATED || diff_feature_absent(lp_a64_row(target)->feature);

	*s = (struct diff_stream){.target = target, .is_sigill = is_absent, .kind = DIFF_NR_KINDS};
	m.pool = (uint32_t)diff_random(&m.r);
	for (unsigned i = 0; i < DIFF_NR_DATA; i += 2) {
		uint64_t value = diff_lanes(&m.r, (enum diff_kind)diff_below(&m.r, DIFF_NR_KINDS));

		s->data[i] = (uint32_t)value;
		s->data[i + 1] = (uint32_t)(value >> 32);
	}
	if (target == A64_OP_UNALLOCATED)
		return put_unallocated(&m);
	if (is_absent)
		return put_row(&m, target, 1);

	/* Three for company.  Half of the streams are as short as can be: what fails there needs no shrinking. */
	unsigned nr = diff_company(target, 0) ? 3 : 1;
	unsigned fillers = plan->alone || diff_chance(&m.r, 2) ? 0 : diff_below(&m.r, DIFF_MAX_INSNS - nr + 1);
	unsigned before = diff_below(&m.r, fillers + 1);

	m.room = before;
	for (unsigned i = 0; i < before && s->nr < before; i++)
		put_filler(&m, nr + fillers);
	unsigned first = s->nr;
	if (!put_row(&m, target, nr + fillers))
		return false;
	s->kind = diff_kind_of(target, s->words[first]);
	m.room = nr + fillers;
	put_follower(&m, target, nr + fillers);
	for (unsigned i = 0; i < fillers && s->nr < nr + fillers; i++)
		put_filler(&m, nr + fillers);
	while (s->nr < nr + fillers) /* branches may aim there */
		s->words[s->nr++] = UINT32_C(0xd503201f);
	return true;
}

void diff_slot_fill(uint32_t *slot, const uint32_t *words, unsigned nr, const uint32_t *data)
{
	memset(slot, 0, DIFF_SLOT);
	*slot++ = 0xd53bd05e; /* mrs x30, tpidr_el0 */
	memcpy(slot, words, nr * sizeof *words);
	slot[nr] = 0xd51bd05e;	   /* msr tpidr_el0, x30 */
	slot[nr + 1] = 0x5800005e; /* ldr x30, .+8 */
	slot[nr + 2] = 0xd61f03c0; /* br x30 */
	slot[nr + 3] = DIFF_EXIT;
	memcpy(slot + DIFF_DATA - 1, data, DIFF_NR_DATA * sizeof *data);
}

/* ---- states ---- */

static enum diff_kind theme(struct diff_random *r, enum diff_kind preferred)
{
	if (preferred != DIFF_NR_KINDS && !diff_chance(r, 4))
		return preferred;
	return (enum diff_kind)diff_below(r, DIFF_NR_KINDS);
}

static void fill_vectors(struct diff_random *r, enum diff_kind kind, struct diff_state *s)
{
	for (unsigned i = 0; i < 32; i++) {
		if (i && diff_chance(r, 6)) { /* one that is there already, perhaps negative */
			unsigned from = diff_below(r, i);
			uint64_t flip = diff_chance(r, 2) ? UINT64_C(0x8000000080000000) : 0;

			s->v[i][0] = s->v[from][0] ^ flip;
			s->v[i][1] = s->v[from][1] ^ flip;
			continue;
		}
		for (unsigned k = 0; k < 2; k++)
			s->v[i][k] = diff_lanes(r, theme(r, kind));
	}
}

static void fill_general(struct diff_random *r, enum diff_kind kind, struct diff_state *s)
{
	for (unsigned i = 0; i < 31; i++) {
		if (kind > DIFF_INT64 && kind < DIFF_NR_KINDS && diff_chance(r, 4))
			s->x[i] = diff_lanes(r, kind);
		else if (diff_chance(r, 4))
			s->x[i] = diff_lanes(r, DIFF_INT32);
		else if (diff_chance(r, 16))
			s->x[i] = DIFF_PAGE + diff_below(r, DIFF_PAGE_SIZE);
		else
			s->x[i] = diff_value(r, DIFF_INT64);
	}
	s->sp = DIFF_PAGE + 16 * (uint64_t)diff_below(r, DIFF_PAGE_SIZE / 16);
}

static void fill_modes(struct diff_random *r, struct diff_state *s)
{
	s->nzcv = diff_random(r) & 0xf0000000;
	s->fpcr = diff_chance(r, 2) ? 0 : diff_random(r) & FPCR_BITS;
	s->fpsr = diff_chance(r, 2) ? 0 : diff_random(r) & FPSR_BITS;
}

static uint64_t extended(uint64_t value, unsigned option)
{
	if (option == 2)
		return (uint32_t)value;
	return option == 6 ? (uint64_t)(int32_t)value : value;
}

/* Somewhere in the page; once in a while, or two times in three, across its end, where a fault is due. */
static uint64_t place(struct diff_random *r, unsigned how, bool faults)
{
	uint64_t at = diff_below(r, DIFF_PAGE_SIZE - 80);
	bool is_aligned = how != ANYWHERE;

	if (how != NO_FAULT && (faults ? !diff_chance(r, 3) : diff_chance(r, 40)))
		at = diff_chance(r, 2) ? DIFF_PAGE_SIZE - diff_below(r, 64) : -(uint64_t)diff_below(r, 64);
	if (how == ALIGNED && diff_chance(r, 30))
		return DIFF_PAGE + (at & ~UINT64_C(3));
	return DIFF_PAGE + (is_aligned || diff_chance(r, 2) ? at & ~UINT64_C(15) : at);
}

/* Once in a while with a tag, or with what a signature left behind. */
static uint64_t user_address(struct diff_random *r)
{
	uint64_t address = diff_random(r) >> 16;

	if (diff_chance(r, 4))
		address |= diff_random(r) << 56;
	if (diff_chance(r, 8))
		address |= (diff_random(r) & 0x7f) << 48;
	return address;
}

static void honour_claims(struct diff_random *r, const struct diff_stream *stream, bool faults, struct diff_state *s)
{
	for (unsigned i = 0; i < 31; i++) {
		if (stream->claims[i].how == CLAIM_TARGET)
			s->x[i] = DIFF_CODE + (uint64_t)stream->claims[i].offset;
		if (stream->claims[i].how == CLAIM_POINTER)
			s->x[i] = user_address(r);
		if (stream->claims[i].how == CLAIM_MODES)
			s->x[i] = diff_random(r) & (stream->claims[i].option ? FPSR_BITS : FPCR_BITS);
		if (stream->claims[i].how != CLAIM_INDEX)
			continue;
		s->x[i] = (uint64_t)diff_below(r, 17) - 8;
		if (stream->claims[i].option == 2)
			s->x[i] = (diff_random(r) & ~UINT64_C(0xffffffff)) | diff_below(r, 128);
		else if (stream->claims[i].option == 6)
			s->x[i] = (diff_random(r) & ~UINT64_C(0xffffffff)) | (uint32_t)s->x[i];
	}
	for (unsigned i = 0; i < 32; i++) {
		if (stream->claims[i].how != CLAIM_BASE)
			continue;

		uint64_t address = place(r, stream->claims[i].aligned, faults) - (uint64_t)stream->claims[i].offset;
		unsigned index = stream->claims[i].index;
		if (index < 31)
			address -= extended(s->x[index], stream->claims[i].option) << stream->claims[i].shift;
		if (i == 31) {
			s->sp = address & ~UINT64_C(15);
			continue;
		}
		s->x[i] = address;
		if (diff_chance(r, 30)) /* the top byte is no part of an address */
			s->x[i] ^= diff_random(r) << 56;
	}
}

void diff_state_make(const struct diff_plan *plan, uint64_t number, unsigned state, const struct diff_stream *stream,
		     struct diff_state *out)
{
	struct diff_random r = seeded(plan, number, 2 + state);
	enum diff_kind kind = stream->kind;

	*out = (struct diff_state){.pc = DIFF_CODE};
	fill_vectors(&r, kind, out);
	fill_general(&r, kind, out);
	fill_modes(&r, out);
	out->fpcr &= ~(uint64_t)stream->without;
	honour_claims(&r, stream, plan->faults, out);
}

void diff_page_make(struct diff_random *r, uint64_t *page)
{
	for (unsigned i = 0; i < DIFF_PAGE_SIZE / 8; i++)
		page[i] = diff_lanes(r, (enum diff_kind)diff_below(r, DIFF_NR_KINDS));
}

void diff_state_move(struct diff_state *s, unsigned from, unsigned to)
{
	uint64_t start = DIFF_CODE + from * (uint64_t)DIFF_SLOT, by = (to - (uint64_t)from) * DIFF_SLOT;

	for (unsigned i = 0; i < 31; i++)
		if (s->x[i] - start < DIFF_SLOT)
			s->x[i] += by;
	s->pc = DIFF_CODE + to * (uint64_t)DIFF_SLOT;
}
