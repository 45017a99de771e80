/*
 * Which host registers hold copies of the guest's vector registers.
 *
 * What an instruction writes stays in its host register and is dirty, until that is wanted for another or the unit is left.
 * A loop that goes back to the unit's begin keeps it there: registers that it writes are dirty at its head, and each is in
 * its place then.  Memory is written where somebody may look: at exits, in cold code where they are conditional; before
 * functions of C; and by the handler of a host fault, which finds in the unit's notes what is dirty where at each host
 * instruction.
 */
#include "jit/emit.h"

#include <string.h>

static uint32_t bit(unsigned v)
{
	return UINT32_C(1) << v;
}

static void load_bits(struct lp_tr *t, unsigned host, unsigned v, unsigned bits)
{
	enum lp_x86_vop op = bits <= 32 ? LP_VMOVSS_LOAD : bits <= 64 ? LP_VMOVSD_LOAD : LP_VMOVUPS;

	lp_x86_vex_rm(&t->x, op, 0, host, lp_cpu_v(v));
}

/* So many bits are copied, with zeros above them. */
static void load(struct lp_tr *t, unsigned v, unsigned bits)
{
	load_bits(t, (unsigned)t->v_host[v], v, bits);
	if (!t->v_fixed && !(t->v_written & bit(v)) && t->v_at_head[v] < bits)
		t->v_at_head[v] = (uint8_t)bits;
	t->v_loaded |= bit(v);
	t->v_cut_s &= ~bit(v);
	t->v_cut_d &= ~bit(v);
	t->v_cut_s |= bits <= 32 ? bit(v) : 0;
	t->v_cut_d |= bits <= 64 ? bit(v) : 0;
}

/* The copy has that many bits, if perhaps others above them. */
static bool has_bits(const struct lp_tr *t, unsigned v, unsigned bits)
{
	uint32_t cut = bits <= 32 ? 0 : bits <= 64 ? t->v_cut_s : t->v_cut_d;

	return t->v_loaded & ~cut & bit(v);
}

/* ---- dirty ones ---- */

enum { CLEAN = 31, NOTE_HOST = 5, NOTE_OFFSET = 10 };
_Static_assert(LP_UNIT_BYTES <= 1 << (32 - NOTE_OFFSET), "an offset has its place in a note");

/* From here on: `host` has v, which is dirty, or it is CLEAN. */
static void note(struct lp_tr *t, unsigned v, unsigned host)
{
	if (t->in_cold)
		return;
	if (t->nr_v_notes == LP_V_NOTES) {
		t->failed = true;
		return;
	}
	t->v_notes[t->nr_v_notes++] = (uint32_t)(t->x.at - t->code) << NOTE_OFFSET | v << NOTE_HOST | host;
}

void lp_v_dirty_at(const uint32_t *notes, unsigned nr, uint32_t offset, struct lp_v_dirty *out)
{
	out->mask = 0;
	for (unsigned i = 0; i < nr && notes[i] >> NOTE_OFFSET <= offset; i++) {
		unsigned v = notes[i] >> NOTE_HOST & 31, host = notes[i] & 31;
		out->mask &= ~bit(v);
		out->mask |= host == CLEAN ? 0 : bit(v);
		out->host[v] = (uint8_t)host;
	}
}

static bool is_low(unsigned host)
{
	return host < LP_V_SCRATCH;
}
static bool is_high(unsigned host)
{
	return host >= LP_V_HIGH && host < LP_NR_V_HOST;
}

bool lp_v_notes_are_good(const uint32_t *notes, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if ((notes[i] & 31) != CLEAN && !is_low(notes[i] & 31) && !is_high(notes[i] & 31))
			return false;
	return true;
}

static void store_from(struct lp_tr *t, unsigned v, unsigned host)
{
	lp_x86_vex_to(&t->x, LP_VMOVUPS_TO, 0, lp_cpu_v(v), host);
}

static void move(struct lp_tr *t, unsigned to, unsigned from)
{
	lp_x86_vex_rm(&t->x, LP_VMOVAPS, 0, to, lp_rm_reg(from));
}

static void is_clean(struct lp_tr *t, unsigned v)
{
	t->v_dirty &= ~bit(v);
	note(t, v, CLEAN);
}

static void clean(struct lp_tr *t, unsigned v)
{
	store_from(t, v, (unsigned)t->v_host[v]);
	is_clean(t, v);
}

static void flush(struct lp_tr *t, uint32_t which)
{
	for (uint32_t left = t->v_dirty & which; left; left &= left - 1)
		clean(t, (unsigned)__builtin_ctz(left));
}

void lp_v_store(struct lp_tr *t, unsigned v)
{
	flush(t, bit(v));
}

void lp_v_flush(struct lp_tr *t)
{
	flush(t, UINT32_MAX);
}

/* Of two jumps here: behind one of them the destination may have been overwritten already, which the interpreter's function
 * then writes. */
void lp_v_flush_cold(struct lp_tr *t, const struct lp_cold *c)
{
	struct lp_v_dirty dirty, other;

	lp_v_dirty_at(t->v_notes, t->nr_v_notes, (uint32_t)(c->from[0].next - t->code) - 1, &dirty);
	if (c->from[1].next) {
		lp_v_dirty_at(t->v_notes, t->nr_v_notes, (uint32_t)(c->from[1].next - t->code) - 1, &other);
		dirty.mask &= other.mask;
	}
	for (uint32_t left = dirty.mask; left; left &= left - 1)
		store_from(t, (unsigned)__builtin_ctz(left), dirty.host[__builtin_ctz(left)]);
}

/* ---- who is where ---- */

/* The host's rounds of SHA-256 have an operand in it. */
static bool needs_xmm0(const struct lp_tr *t)
{
	for (unsigned i = 0; i < t->nr; i++)
		if (t->insns[i].op == A64_OP_SHA256H || t->insns[i].op == A64_OP_SHA256H2)
			return true;
	return false;
}

void lp_v_empty(struct lp_tr *t)
{
	bool has_high = t->jit->host & LP_HOST_AVX512;

	memset(t->v_host, -1, sizeof t->v_host);
	for (unsigned h = 0; h < LP_NR_V_HOST; h++)
		t->v_of[h] = is_low(h) || (has_high && is_high(h)) ? -1 : LP_V_NOT_FOR_USE;
	if (needs_xmm0(t))
		t->v_of[0] = LP_V_NOT_FOR_USE;
}

static bool is_free(const struct lp_tr *t, unsigned host)
{
	return t->v_of[host] == -1 && !(t->v_taken >> host & 1) && (is_low(host) || !t->v_low_only);
}

/* Low ones are taken first: as long as few have been asked for it will get one, with those that take the place of its
 * operands.  Unless all have places. */
bool lp_v_may_be_high(const struct lp_tr *t, uint32_t word)
{
	enum { MOST_OF_AN_INSTRUCTION = 9 };
	bool has_vectors = (word & 0x0c000000) == 0x0c000000; /* DDI 0487 C4.1 */

	return has_vectors && t->jit->host & LP_HOST_AVX512 &&
	       (t->v_fixed || __builtin_popcount(t->v_used) > LP_V_SCRATCH - MOST_OF_AN_INSTRUCTION);
}

/* The one that was used least lately: an instruction never asks for so many that it loses one of its own. */
static unsigned choose(const struct lp_tr *t)
{
	unsigned best = LP_NR_V_HOST;

	for (unsigned h = 0; h < (t->v_low_only ? LP_V_SCRATCH : LP_NR_V_HOST); h++) {
		if (is_free(t, h))
			return h;
		if (t->v_of[h] >= 0 && (best == LP_NR_V_HOST || t->v_when[h] < t->v_when[best]))
			best = h;
	}
	return best;
}

static void evict(struct lp_tr *t, unsigned host)
{
	unsigned v = (unsigned)t->v_of[host];

	flush(t, bit(v));
	t->v_host[v] = -1;
	t->v_of[host] = -1;
	t->v_loaded &= ~bit(v);
}

/* v is in that host register from now on; who was there is where v was. */
static void change_places(struct lp_tr *t, unsigned v, unsigned to, unsigned scratch)
{
	unsigned from = (unsigned)t->v_host[v], when = t->v_when[to];
	int other = t->v_of[to];

	if (other >= 0)
		move(t, scratch, to);
	move(t, to, from);
	if (other >= 0) {
		move(t, from, scratch);
		t->v_host[other] = (int8_t)from;
	}
	t->v_of[from] = (int8_t)other;
	t->v_of[to] = (int8_t)v;
	t->v_host[v] = (int8_t)to;
	t->v_when[to] = t->v_when[from];
	t->v_when[from] = when;
	if (t->v_dirty & bit(v))
		note(t, v, to);
	if (other >= 0 && t->v_dirty & bit((unsigned)other))
		note(t, (unsigned)other, from);
}

static void allot(struct lp_tr *t, unsigned v)
{
	unsigned host;

	t->v_used |= bit(v);
	if (t->v_low_only) {
		t->v_wants_low |= bit(v);
		if (t->v_host[v] >= 0 && !is_low((unsigned)t->v_host[v]))
			change_places(t, v, choose(t), LP_V_SWAP);
	}
	if (t->v_host[v] < 0) {
		host = choose(t);
		if (t->v_of[host] >= 0)
			evict(t, host);
		t->v_of[host] = (int8_t)v;
		t->v_host[v] = (int8_t)host;
	}
	t->v_when[t->v_host[v]] = ++t->v_turn;
}

/* What stands between rounds of SHA-256, and leaves all scratch registers but the first alone. */
static bool leaves_rounds(enum lp_a64_op op)
{
	switch (op) {
	case A64_OP_SHA256H:
	case A64_OP_SHA256SU0:
	case A64_OP_SHA256SU1:
	case A64_OP_ADD_V:
	case A64_OP_ORR_V:
	case A64_OP_LD1:
	case A64_OP_LD1_POST:
	case A64_OP_LDR_Q_UIMM:
	case A64_OP_LDR_Q_POST:
	case A64_OP_ADD_IMM:
	case A64_OP_SUB_IMM:
		return true;
	default:
		return false;
	}
}

void lp_v_next(struct lp_tr *t)
{
	if (!leaves_rounds(t->insns[t->i].op))
		t->v_rounds = -1;
	t->v_read = t->v_asked = t->v_taken = t->v_copied = 0;
	t->v_low_only = false;
}

void lp_v_set_hosts(struct lp_tr *t, const int8_t v_of[LP_NR_V_HOST])
{
	memset(t->v_host, -1, sizeof t->v_host);
	memcpy(t->v_of, v_of, sizeof t->v_of);
	if (!memcmp(v_of, t->v_host, sizeof t->v_of))
		return; /* nobody is anywhere */
	for (unsigned h = 0; h < LP_NR_V_HOST; h++)
		if (v_of[h] >= 0)
			t->v_host[v_of[h]] = (int8_t)h;
}

/* Another one for the new value of v, at best its place, and nobody else's; LP_NR_V_HOST: there is none. */
static unsigned choose_second(const struct lp_tr *t, unsigned v)
{
	if (t->v_place[v] >= 0 && is_free(t, (unsigned)t->v_place[v]))
		return (unsigned)t->v_place[v];
	for (unsigned h = LP_V_SCRATCH; h-- > 0;) /* places are the lowest */
		if (is_free(t, h))
			return h;
	for (unsigned h = LP_NR_V_HOST; h-- > LP_V_HIGH;)
		if (is_free(t, h))
			return h;
	return LP_NR_V_HOST;
}

/* Of v, which is dirty, while the old value stays where it is, if anybody may ask for it: not for what the instruction writes
 * without having read it, when that is executed anew. */
static unsigned dest_of_dirty(struct lp_tr *t, unsigned v)
{
	unsigned host;

	if (!(t->v_read & bit(v)) && !lp_may_fault(t->insns[t->i].word)) {
		is_clean(t, v);
		return (unsigned)t->v_host[v];
	}
	host = choose_second(t, v);
	if (host == LP_NR_V_HOST) {
		clean(t, v);
		return (unsigned)t->v_host[v];
	}
	t->v_taken |= 1U << host;
	t->v_when[host] = ++t->v_turn;
	return host;
}

unsigned lp_v_dest(struct lp_tr *t, unsigned v)
{
	allot(t, v);
	if (!(t->v_asked & bit(v))) {
		t->v_asked |= bit(v);
		t->v_new[v] = (uint8_t)(t->v_dirty & bit(v) ? dest_of_dirty(t, v) : (unsigned)t->v_host[v]);
	}
	return t->v_new[v];
}

unsigned lp_v_dest_in_place(struct lp_tr *t, unsigned v)
{
	unsigned to;

	allot(t, v);
	if (t->v_dirty & bit(v)) {
		to = choose_second(t, v);
		if (to == LP_NR_V_HOST) {
			clean(t, v);
		} else {
			move(t, to, (unsigned)t->v_host[v]);
			note(t, v, to);
			t->v_taken |= 1U << to;
			t->v_copied |= bit(v);
		}
	}
	return lp_v_dest_last(t, v);
}

unsigned lp_v_dest_last(struct lp_tr *t, unsigned v)
{
	allot(t, v);
	t->v_asked |= bit(v);
	t->v_new[v] = (uint8_t)t->v_host[v];
	return t->v_new[v];
}

/* The host register of the new value, from now on. */
static unsigned take_new(struct lp_tr *t, unsigned v)
{
	unsigned host = t->v_new[v], was = (unsigned)t->v_host[v];

	t->v_asked &= ~bit(v);
	t->v_taken &= ~(1U << host);
	if (host != was) {
		t->v_of[was] = -1;
		t->v_of[host] = (int8_t)v;
		t->v_host[v] = (int8_t)host;
		t->v_dirty &= ~bit(v); /* there */
	}
	return host;
}

/* ---- reading and writing ---- */

unsigned lp_v_read_bits(struct lp_tr *t, unsigned v, unsigned bits)
{
	allot(t, v);
	t->v_read |= bit(v);
	if (!has_bits(t, v, bits))
		load(t, v, bits);
	return (unsigned)t->v_host[v];
}

unsigned lp_v_read(struct lp_tr *t, unsigned v)
{
	return lp_v_read_bits(t, v, 128);
}

void lp_v_low_unless(struct lp_tr *t, unsigned feature)
{
	t->v_low_only |= !(t->jit->host & feature);
}

bool lp_v_is_stored(const struct lp_tr *t, unsigned v)
{
	return !(t->v_dirty & bit(v));
}

void lp_v_spread(struct lp_tr *t, unsigned v, unsigned host, bool upper)
{
	if (t->v_spread != (int)v || t->v_spread_upper != upper)
		lp_x86_vex(&t->x, upper ? LP_VPUNPCKHDQ : LP_VPUNPCKLDQ, 0, LP_V_SPREAD, host, lp_rm_reg(host));
	t->v_spread = (int)v;
	t->v_spread_upper = upper;
}

struct lp_x86_rm lp_v_rm(struct lp_tr *t, unsigned v, unsigned bits)
{
	if (has_bits(t, v, bits))
		allot(t, v);
	return has_bits(t, v, bits) ? lp_rm_reg((unsigned)t->v_host[v]) : lp_cpu_v(v);
}

void lp_v_write(struct lp_tr *t, unsigned v, unsigned from)
{
	unsigned host;

	allot(t, v);
	if (t->v_spread == (int)v)
		t->v_spread = -1;
	if (t->v_rounds_y == (int)v || t->v_rounds == (int)v)
		t->v_rounds = -1;
	host = t->v_asked & bit(v) ? take_new(t, v) : (unsigned)t->v_host[v];
	if (host != from)
		move(t, host, from);
	if (!(t->v_dirty & ~t->v_copied & bit(v)))
		note(t, v, host);
	t->v_dirty |= bit(v);
	t->v_written |= bit(v);
	t->v_loaded |= bit(v);
	t->v_is_s &= ~bit(v);
	t->v_is_d &= ~bit(v);
	t->v_cut_s &= ~bit(v);
	t->v_cut_d &= ~bit(v);
}

void lp_v_write_bits(struct lp_tr *t, unsigned v, unsigned from, unsigned bits)
{
	lp_v_write(t, v, from);
	t->v_is_s |= bits <= 32 ? bit(v) : 0;
	t->v_is_d |= bits <= 64 ? bit(v) : 0;
}

bool lp_v_is_zero_above(const struct lp_tr *t, unsigned v, unsigned bits)
{
	uint32_t cut = bits <= 32 ? t->v_cut_s : t->v_cut_d, is = bits <= 32 ? t->v_is_s : t->v_is_d;

	return (is | (cut & t->v_loaded)) & bit(v);
}

void lp_v_forget(struct lp_tr *t)
{
	t->v_loaded = t->v_dirty = t->v_is_s = t->v_is_d = 0;
	t->v_forgot = true;
	t->v_spread = t->v_rounds = -1;
}

static unsigned copied(const struct lp_cold *c, unsigned v)
{
	return c->v_cut_s & bit(v) ? 32 : c->v_cut_d & bit(v) ? 64 : 128;
}

void lp_v_restore(struct lp_tr *t, const struct lp_cold *c)
{
	for (unsigned h = 0; h < LP_NR_V_HOST; h++)
		if (c->v_of[h] >= 0 && c->v_loaded & bit((unsigned)c->v_of[h]))
			load_bits(t, h, (unsigned)c->v_of[h], copied(c, (unsigned)c->v_of[h]));
}

/* ---- loops ---- */

/* v is dirty at the head, and so all of it is wanted: where that is zeros above a scalar, and stays so, they are looked at
 * once. */
static void widen(struct lp_tr *t, unsigned v)
{
	if (t->is_region) {
		t->v_at_head[v] = 128;
	} else if (t->v_at_head[v] == 32 && !(t->v_wide_s & bit(v))) {
		t->v_narrow_s |= bit(v);
	} else if (t->v_at_head[v] && t->v_at_head[v] <= 64 && !(t->v_wide_d & bit(v))) {
		t->v_at_head[v] = 64;
		t->v_narrow_d |= bit(v);
	} else {
		t->v_at_head[v] = 128;
	}
}

static int nr_hosts(const struct lp_tr *t)
{
	int nr = 0;

	for (unsigned h = 0; h < LP_NR_V_HOST; h++)
		nr += t->v_of[h] != LP_V_NOT_FOR_USE;
	return nr;
}

/* The lowest places that are left; there are enough. */
static void place(struct lp_tr *t, uint32_t which)
{
	unsigned host = 0;

	for (uint32_t left = which; left; left &= left - 1) {
		unsigned v = (unsigned)__builtin_ctz(left);
		while (t->v_of[host] != -1)
			host++;
		t->v_host[v] = t->v_place[v] = (int8_t)host;
		t->v_of[host] = (int8_t)v;
	}
}

void lp_v_fix(struct lp_tr *t)
{
	t->v_fixed = __builtin_popcount(t->v_used) <= nr_hosts(t);
	t->v_in_loop = t->v_dirty_in_loop = t->v_narrow_s = t->v_narrow_d = 0;
	if (!t->v_fixed)
		return;
	lp_v_empty(t);
	t->v_dirty_in_loop = t->v_written_in_loop;
	place(t, t->v_used & t->v_wants_low);
	place(t, t->v_used & ~t->v_wants_low);
	for (uint32_t left = t->v_used; left; left &= left - 1) {
		unsigned v = (unsigned)__builtin_ctz(left);
		if (t->v_written_in_loop & bit(v))
			widen(t, v);
		t->v_in_loop |= t->v_at_head[v] ? bit(v) : 0;
	}
}

/* The copy is what the loop found at its head, or as good. */
static bool is_as_at_head(const struct lp_tr *t, unsigned v)
{
	unsigned bits = t->v_at_head[v], loaded = t->v_dirty_in_loop & bit(v) ? 128 : bits;

	return has_bits(t, v, loaded) && (bits == 128 || lp_v_is_zero_above(t, v, bits));
}

static bool is_elsewhere(const struct lp_tr *t, unsigned v)
{
	return t->v_place[v] >= 0 && t->v_host[v] != t->v_place[v];
}

/* Where places are free first: that takes one move, not three. */
static void go_to_places(struct lp_tr *t)
{
	bool goes_on = true;

	while (goes_on) {
		goes_on = false;
		for (unsigned v = 0; v < 32; v++)
			if (is_elsewhere(t, v) && t->v_of[t->v_place[v]] < 0) {
				change_places(t, v, (unsigned)t->v_place[v], LP_V_SCRATCH);
				goes_on = true;
			}
	}
	for (unsigned v = 0; v < 32; v++)
		if (is_elsewhere(t, v))
			change_places(t, v, (unsigned)t->v_place[v], LP_V_SCRATCH);
}

/* Of what has been written, or may have been by C, only those are narrow that are known to be. */
static void note_wide(struct lp_tr *t)
{
	uint32_t written = t->v_forgot ? UINT32_MAX : t->v_written;

	t->v_wide_s |= written & ~t->v_is_s;
	t->v_wide_d |= written & ~t->v_is_d;
}

void lp_v_loop(struct lp_tr *t)
{
	t->v_written_in_loop |= t->v_written;
	note_wide(t);
	if ((t->v_narrow_s & t->v_wide_s) | (t->v_narrow_d & t->v_wide_d))
		t->failed = true; /* never: the first translation knew */
	flush(t, ~t->v_dirty_in_loop);
	go_to_places(t);
	for (unsigned v = 0; v < 32; v++)
		if (t->v_in_loop & bit(v) && !is_as_at_head(t, v))
			load(t, v, t->v_dirty_in_loop & bit(v) ? 128 : t->v_at_head[v]);
}

/* Jumps where a register is not as narrow as the loop takes it to be. */
static void look_above(struct lp_tr *t)
{
	struct lp_x86_rm above;
	struct lp_cold *c;

	lp_x86_mov_imm32(&t->x, LP_RAX, 0);
	for (uint32_t left = t->v_narrow_s | t->v_narrow_d; left; left &= left - 1) {
		above = lp_cpu_v((unsigned)__builtin_ctz(left));
		above.disp += 8;
		lp_x86_alu(&t->x, LP_ALU_OR, 1, LP_RAX, above);
		above.disp -= 4;
		if (left & -left & t->v_narrow_s)
			lp_x86_alu(&t->x, LP_ALU_OR, 1, LP_RAX, above);
	}
	lp_x86_test(&t->x, 1, lp_rm_reg(LP_RAX), LP_RAX);
	c = lp_cold_add(t, lp_cold_first);
	c->from[0] = lp_x86_jcc_forward(&t->x, LP_CC_NE);
}

bool lp_v_is_met(const struct lp_tr *t)
{
	if (t->v_dirty & ~t->v_dirty_in_loop)
		return false;
	for (unsigned v = 0; v < 32; v++)
		if (is_elsewhere(t, v) || (t->v_in_loop & bit(v) && !is_as_at_head(t, v)))
			return false;
	return true;
}

/* The notes go on from what was emitted before, which need not lead here. */
void lp_v_meet(struct lp_tr *t)
{
	for (uint32_t left = t->v_dirty & ~t->v_dirty_in_loop; left; left &= left - 1)
		note(t, (unsigned)__builtin_ctz(left), CLEAN);
	for (uint32_t left = t->v_dirty_in_loop; left; left &= left - 1) {
		unsigned v = (unsigned)__builtin_ctz(left);
		if (!(t->v_dirty & bit(v)) || is_elsewhere(t, v))
			note(t, v, (unsigned)t->v_place[v]);
	}
	lp_v_forget(t);
	lp_v_empty(t);
	for (unsigned v = 0; v < 32; v++)
		if (t->v_place[v] >= 0) {
			t->v_host[v] = t->v_place[v];
			t->v_of[t->v_place[v]] = (int8_t)v;
		}
	t->v_loaded = t->v_in_loop;
	t->v_dirty = t->v_dirty_in_loop;
	t->v_cut_s = t->v_cut_d = 0;
	for (unsigned v = 0; v < 32; v++) {
		t->v_cut_s |= t->v_in_loop & bit(v) && t->v_at_head[v] <= 32 ? bit(v) : 0;
		t->v_cut_d |= t->v_in_loop & bit(v) && t->v_at_head[v] <= 64 ? bit(v) : 0;
	}
}

/* What the loop writes is as good as dirty here, where memory and copy are the same: then it is at the head. */
void lp_v_preload(struct lp_tr *t)
{
	if (t->v_narrow_s | t->v_narrow_d)
		look_above(t);
	for (unsigned v = 0; v < 32; v++)
		if (t->v_in_loop & bit(v))
			load(t, v, t->v_dirty_in_loop & bit(v) ? 128 : t->v_at_head[v]);
	t->v_is_s = t->v_narrow_s;
	t->v_is_d = t->v_narrow_s | t->v_narrow_d;
	t->v_dirty = t->v_dirty_in_loop;
	for (uint32_t left = t->v_dirty; left; left &= left - 1)
		note(t, (unsigned)__builtin_ctz(left), (unsigned)t->v_host[__builtin_ctz(left)]);
}
