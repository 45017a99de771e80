/* A unit: from guest instructions to host code in its slot. */
#include "jit/emit.h"

#include <string.h>
#include <time.h>

#include "base/vec.h"
#include "emu/mem.h"
#include "emu/vdso.h"

enum { LOOK_AHEAD = 8, LOOK_DEPTH = 2 };
enum { INSN_BYTES = 1024 }; /* no instruction needs more host code, cold parts apart */

/* ---- flags: who asks for them ---- */

enum { READS_FLAGS = 1, WRITES_FLAGS = 2 };

static uint8_t flags_of(enum lp_a64_op op)
{
	switch (op) {
	case A64_OP_ADDS_IMM:
	case A64_OP_SUBS_IMM:
	case A64_OP_ANDS_IMM:
	case A64_OP_ANDS_REG:
	case A64_OP_BICS_REG:
	case A64_OP_ADDS_REG:
	case A64_OP_SUBS_REG:
	case A64_OP_ADDS_EXT:
	case A64_OP_SUBS_EXT:
	case A64_OP_FCMP:
	case A64_OP_FCMP_ZERO:
	case A64_OP_FCMPE:
	case A64_OP_FCMPE_ZERO:
		return WRITES_FLAGS;
	case A64_OP_ADCS:
	case A64_OP_SBCS:
	case A64_OP_CCMN_REG:
	case A64_OP_CCMN_IMM:
	case A64_OP_CCMP_REG:
	case A64_OP_CCMP_IMM:
	case A64_OP_FCCMP:
	case A64_OP_FCCMPE:
		return READS_FLAGS | WRITES_FLAGS;
	case A64_OP_ADC:
	case A64_OP_SBC:
	case A64_OP_B_COND:
	case A64_OP_CSEL:
	case A64_OP_CSINC:
	case A64_OP_CSINV:
	case A64_OP_CSNEG:
	case A64_OP_FCSEL:
	case A64_OP_RMIF:
	case A64_OP_SETF8:
	case A64_OP_SETF16:
	case A64_OP_CFINV:
	case A64_OP_AXFLAG:
	case A64_OP_XAFLAG:
	case A64_OP_MRS:
	case A64_OP_MSR_REG:
	case A64_OP_MSR_IMM:
	case A64_OP_SUBPS:
		return READS_FLAGS;
	default:
		return 0;
	}
}

/* What has been looked at. */
struct looks {
	struct lp_jit *jit;
	struct lp_look *at; /* LP_UNIT_LOOKED */
	unsigned nr;
};

static bool note_look(struct looks *l, uint64_t begin, uint64_t end)
{
	if (l->nr == LP_UNIT_LOOKED)
		return false;
	l->at[l->nr++] = (struct lp_look){.range = {begin, end}};
	return true;
}

/* DDI 0487 C4.1.88. */
bool lp_jit_branch_target(uint64_t pc, uint32_t word, uint64_t *target)
{
	int64_t offset;

	if ((word & 0x7c000000) == 0x14000000) /* b, bl */
		offset = (int64_t)((uint64_t)word << 38) >> 38;
	else if ((word & 0xff000000) == 0x54000000 || (word & 0x7e000000) == 0x34000000) /* b.cond, cbz, cbnz */
		offset = (int64_t)((uint64_t)word << 40) >> 45;
	else if ((word & 0x7e000000) == 0x36000000) /* tbz, tbnz */
		offset = (int64_t)((uint64_t)word << 45) >> 50;
	else
		return false;
	*target = pc + (uint64_t)offset * 4;
	return true;
}

/* What flags_of() says, in haste: without a look into the table, and with "reads" for what is seldom. */
static uint8_t flags_of_word(uint32_t word)
{
	switch (word >> 24 & 0x1f) {
	case 0x0a: /* logic on registers: ands, bics */
		return (word & 0x7f000000) == 0x6a000000 ? WRITES_FLAGS : 0;
	case 0x0b: /* sums of registers */
	case 0x11: /* and with immediates */
		return word >> 29 & 1 ? WRITES_FLAGS : 0;
	case 0x12: /* ands with an immediate; movn and the like */
		return (word & 0x7f800000) == 0x72000000 ? WRITES_FLAGS : 0;
	case 0x1a: /* adc, rmif, setf, ccmp, csel; shifts, divisions */
		return (word >> 21 & 7) <= 4 ? READS_FLAGS : 0;
	case 0x1e: /* scalar floating point: fcmp; fccmp and fcsel; and others besides */
		if ((word & 0xff20fc07) == 0x1e202000)
			return WRITES_FLAGS;
		return word >> 21 & 1 && word >> 10 & 1 ? READS_FLAGS : 0;
	case 0x14: /* b.cond; exceptions; b */
		return (word & 0xff000000) == 0x54000000 ? READS_FLAGS : 0;
	case 0x15: /* system registers, hints, barriers; b */
		return (word & 0xfe000000) == 0xd4000000 && word != 0xd503201f ? READS_FLAGS : 0;
	default:
		return 0;
	}
}

/* br, blr, ret, svc, brk and the like, and words that are no instructions at all. */
static bool is_the_end(uint32_t word)
{
	return (word & 0xfe000000) == 0xd6000000 || (word & 0xff000000) == 0xd4000000 || word >> 16 == 0;
}

/* Whether code at pc may ask for the flags with which it is entered.  A look at a few instructions, and behind up to
 * `depth` branches; what was seen is noted, as the answer holds as long as they do. */
static bool asks_for_flags(struct looks *l, uint64_t pc, unsigned depth)
{
	uint64_t begin = pc, until = lp_align_down(pc, LP_GUEST_PAGE) + LP_GUEST_PAGE, target;
	uint32_t words[LOOK_AHEAD];
	size_t nr = (until - pc) / 4 < LOOK_AHEAD ? (until - pc) / 4 : LOOK_AHEAD;

	if (l->nr == LP_UNIT_LOOKED || pc & 3 || lp_mem_read(pc, words, nr * 4))
		return true;
	for (size_t i = 0; i < nr; i++, pc += 4) {
		uint8_t flags = flags_of_word(words[i]);
		/* Who stops at a breakpoint may look at them. */
		if (flags & READS_FLAGS || is_the_end(words[i]) || lp_block_is_breakpoint(l->jit->emu->blocks, pc))
			return true;
		if (flags & WRITES_FLAGS)
			return !note_look(l, begin, pc + 4);
		if (lp_jit_branch_target(pc, words[i], &target)) {
			if (depth == 0 || asks_for_flags(l, target, depth - 1))
				return true;
			if ((words[i] & 0x7c000000) == 0x14000000) /* b, bl */
				return !note_look(l, begin, pc + 4);
		}
	}
	return true;
}

bool lp_jit_flags_are_unasked(struct lp_jit *jit, uint64_t pc)
{
	struct lp_look looked[LP_UNIT_LOOKED];
	struct looks l = {.jit = jit, .at = looked};

	return !asks_for_flags(&l, pc, LOOK_DEPTH);
}

/* Loads and stores (DDI 0487 C4.1): where they fault somebody may look at all registers. */
static bool may_fault(uint32_t word)
{
	return (word & 0x0a000000) == 0x08000000;
}

/* From the end to the begin: flags_live, exit_live and end_live. */
static void find_live_flags(struct lp_tr *t)
{
	bool wanted = false;
	struct looks l = {.jit = t->jit, .at = t->looked};
	uint64_t target;
	unsigned i = t->nr;

	t->flags_live = t->exit_live = 0;
	if (!lp_jit_ends(t->insns[i - 1].op, t->insns[i - 1].word))
		wanted = asks_for_flags(&l, t->start + t->nr * 4, LOOK_DEPTH);
	t->end_live = wanted;
	while (i-- > 0) {
		enum lp_a64_op op = t->insns[i].op;
		uint8_t flags = flags_of(op);
		if (lp_jit_branch_target(t->start + i * 4, t->insns[i].word, &target)) {
			bool asks = asks_for_flags(&l, target, LOOK_DEPTH);
			t->flags_live |= (uint64_t)wanted << i;
			t->exit_live |= (uint64_t)asks << i;
			wanted |= asks;
		} else {
			wanted |= lp_jit_ends(op, t->insns[i].word);
			t->flags_live |= (uint64_t)wanted << i;
		}
		if (flags & WRITES_FLAGS)
			wanted = false;
		if (flags & READS_FLAGS || may_fault(t->insns[i].word))
			wanted = true;
	}
	t->nr_looked = l.nr;
}

/* ---- what is translated ---- */

bool lp_jit_ends(enum lp_a64_op op, uint32_t word)
{
	enum { IC_IVAU = 0xd50b7520, MSR_FPCR = 0xd51b4400 };

	if ((word & ~UINT32_C(31)) == IC_IVAU) /* what follows may be other code from here on */
		return true;
	if ((word & ~UINT32_C(31)) == MSR_FPCR) /* this thread may not be for translated code any more */
		return true;
	return lp_lower_ends(op);
}

static unsigned decode(struct lp_tr *t, const uint32_t *words, size_t nr_words)
{
	size_t nr = 0;

	while (nr < nr_words) {
		if (nr > 0 && lp_block_is_breakpoint(t->jit->emu->blocks, t->start + nr * 4))
			break;
		t->insns[nr] = (struct lp_insn){words[nr], (uint16_t)lp_a64_decode(words[nr])};
		nr++;
		if (lp_jit_ends(t->insns[nr - 1].op, words[nr - 1]))
			break;
	}
	return (unsigned)nr;
}

/* ---- parts that emit functions use ---- */

static bool is_full(const struct lp_jit *jit)
{
	return atomic_load_explicit(&jit->is_full, memory_order_relaxed);
}

static void set_full(struct lp_jit *jit)
{
	atomic_store_explicit(&jit->is_full, true, memory_order_relaxed);
}

struct lp_jit_slot *lp_tr_slot(struct lp_tr *t, uint64_t pc)
{
	struct lp_jit_slot *slot = lp_jit_slot_of(t->jit, pc);

	if (slot)
		return slot;
	t->failed = true;
	set_full(t->jit);
	return &t->jit->slot_array[0];
}

void lp_tr_count(struct lp_tr *t, int32_t nr)
{
	if (t->jit->emu->options.stats && nr)
		lp_x86_alu_imm(&t->x, LP_ALU_ADD, 1, LP_CPU(nr_insns), nr);
}

void lp_tr_count_rest(struct lp_tr *t, bool again)
{
	int32_t rest = (int32_t)t->nr - (int32_t)t->i - 1;

	lp_tr_count(t, again ? rest : -rest);
}

struct lp_cold *lp_cold_add(struct lp_tr *t, lp_cold_fn *emit)
{
	struct lp_cold *c = &t->cold[t->nr_cold];

	if (t->nr_cold + 1 < LP_COLD_MAX)
		t->nr_cold++;
	else
		t->failed = true;
	*c = (struct lp_cold){
		.emit = emit, .i = t->i, .flags = t->flags, .flags_kept = t->flags_kept, .v_loaded = t->v_loaded};
	c->v_is_s = t->v_is_s;
	c->v_is_d = t->v_is_d;
	c->v_cut_s = t->v_cut_s;
	c->v_cut_d = t->v_cut_d;
	memcpy(c->v_of, t->v_of, sizeof c->v_of);
	return c;
}

void lp_cold_back(struct lp_tr *t, struct lp_cold *c)
{
	if (c)
		c->back = t->x.at;
}

/* The uop with which the interpreter's function executes instruction i. */
static const struct lp_uop *uop_of(struct lp_tr *t, unsigned i)
{
	struct lp_uop *u = &t->uops[2 * t->nr_uops];

	for (unsigned k = 0; k < t->nr_uops; k++)
		if (t->uops[2 * k].pc == t->start + i * 4)
			return (const struct lp_uop *)t->kept + 2 * k;
	lp_lower(t->jit->emu->blocks, u, t->insns[i].word, t->start + i * 4);
	lp_vdso_lower(t->jit->emu, u);
	u[1] = lp_jit_stop;
	t->nr_uops++;
	return (const struct lp_uop *)t->kept + (u - t->uops);
}

static void call_stub(struct lp_tr *t, unsigned i, const void *stub)
{
	const struct lp_uop *u = uop_of(t, i);

	lp_x86_mov_imm64(&t->x, LP_RAX, (uint64_t)u);
	lp_x86_call(&t->x, stub);
}

/* Whose function may leave with a fault. */
static void call_fallback(struct lp_tr *t)
{
	lp_tr_count_rest(t, false);
	call_stub(t, t->i, t->jit->stubs.fallback);
	lp_tr_count_rest(t, true);
}

void lp_cold_fallback(struct lp_tr *t, const struct lp_cold *c)
{
	call_fallback(t);
	lp_v_restore(t, c);
	lp_x86_jmp_back(&t->x, c->back);
}

static void leave_to_c(struct lp_tr *t)
{
	enum lp_a64_op op = t->insns[t->i].op;

	lp_flags_clobber(t);
	t->jit->stats.left_to_c++;
	if (lp_jit_ends(op, t->insns[t->i].word)) {
		lp_x86_mov_imm(&t->x, LP_RAX, t->pc + 4);
		lp_x86_mov_to(&t->x, 1, LP_CPU(pc), LP_RAX);
		call_stub(t, t->i, t->jit->stubs.call_c);
		t->has_ended = true;
		return;
	}
	call_fallback(t);
	lp_v_forget(t);
}

void lp_x_write_imm(struct lp_tr *t, unsigned r, uint64_t value)
{
	if (lp_pin[r] >= 0) {
		lp_x86_mov_imm(&t->x, (unsigned)lp_pin[r], value);
	} else if (r != LP_SINK && (int64_t)value == (int32_t)value) {
		lp_x86_store_imm(&t->x, 8, lp_cpu_x(r), (int32_t)value);
	} else if (r != LP_SINK) {
		lp_x86_mov_imm(&t->x, LP_RAX, value);
		lp_x86_mov_to(&t->x, 1, lp_cpu_x(r), LP_RAX);
	}
}

/* Out, to the pc in arg; the interpreter goes on as long as need be. */
static void exit_cold(struct lp_tr *t, const struct lp_cold *c)
{
	lp_tr_count_rest(t, false);
	lp_x86_mov_imm(&t->x, LP_RAX, c->arg);
	lp_x86_jmp(&t->x, t->jit->stubs.exit_lookup);
}

void lp_sp_changed(struct lp_tr *t)
{
	uint8_t at_access = t->flags_at[t->i];
	struct lp_cold *c;

	lp_flags_clobber(t);
	t->flags_at[t->i] = at_access;
	lp_x86_test_imm_sized(&t->x, 1, lp_x_rm(LP_SP), 15);
	c = lp_cold_add(t, exit_cold);
	c->arg = t->pc + 4;
	c->from[0] = lp_x86_jcc_forward(&t->x, LP_CC_NE);
}

/* ---- a unit ---- */

/* Before the unit's first instruction. */
static void poll_cold(struct lp_tr *t, const struct lp_cold *c)
{
	lp_x86_mov_imm(&t->x, LP_RAX, t->start);
	lp_x86_jmp(&t->x, t->jit->stubs.exit_lookup);
}

static void begin(struct lp_tr *t)
{
	struct lp_cold *c;

	t->head = t->x.at;
	lp_x86_alu_imm(&t->x, LP_ALU_CMP, 0, LP_CPU(poll), 0);
	c = lp_cold_add(t, poll_cold);
	c->from[0] = lp_x86_jcc_forward(&t->x, LP_CC_NE);
	t->flags = LP_FLAGS_IN_MEMORY;
	t->flags_kept = true;
	lp_tr_count(t, (int32_t)t->nr);
	if (t->jit->emu->options.branches) {
		lp_x86_mov_imm(&t->x, LP_RAX, t->start);
		lp_x86_mov_to(&t->x, 1, LP_CPU(branch), LP_RAX);
	}
}

static void emit_insn(struct lp_tr *t)
{
	const struct lp_insn *insn = &t->insns[t->i];
	lp_emit_fn *emit = t->jit->emit[insn->op];

	if (t->taken >> t->i & 1)
		return;
	t->x.flags_clobbered = false;
	if (!emit || !emit(t, insn->word))
		leave_to_c(t);
}

static void emit_cold(struct lp_tr *t)
{
	for (unsigned k = 0; k < t->nr_cold; k++) {
		const struct lp_cold c = t->cold[k];
		if (lp_x86_room(&t->x) < INSN_BYTES) {
			t->failed = true;
			return;
		}
		for (unsigned f = 0; f < 2; f++)
			if (c.from[f].next)
				lp_x86_bind(&t->x, c.from[f]);
		t->i = c.i;
		t->pc = t->start + c.i * 4;
		t->flags = c.flags;
		t->flags_kept = c.flags_kept;
		t->v_loaded = c.v_loaded;
		t->v_is_s = c.v_is_s;
		t->v_is_d = c.v_is_d;
		t->v_cut_s = c.v_cut_s;
		t->v_cut_d = c.v_cut_d;
		memcpy(t->v_of, c.v_of, sizeof t->v_of);
		c.emit(t, &c);
	}
}

static void reset(struct lp_tr *t, struct lp_segment *s)
{
	t->x = (struct lp_x86){
		.at = s->rw + s->used, .end = s->rw + s->used + LP_UNIT_BYTES, .run_offset = s->rx - s->rw};
	t->nr_cold = t->nr_uops = 0;
	t->has_ended = t->is_loop = t->failed = false;
	t->v_loaded = t->v_used = t->v_turn = t->v_is_s = t->v_is_d = 0;
	t->v_cut_s = t->v_cut_d = t->v_written = 0;
	t->taken = 0;
	memset(t->v_when, 0, sizeof t->v_when);
	if (!t->v_fixed) {
		memset(t->v_host, -1, sizeof t->v_host);
		memset(t->v_of, -1, sizeof t->v_of);
		memset(t->v_at_head, 0, sizeof t->v_at_head);
		t->v_in_loop = 0;
	}
}

/* The code, where the segment is free; *hot: how much of it is not cold. */
static void emit_all(struct lp_tr *t, struct lp_segment *s, size_t *hot)
{
	uint8_t *code = s->rw + s->used;

	reset(t, s);
	lp_v_preload(t);
	begin(t);
	for (t->i = 0; t->i < t->nr && !t->failed; t->i++) {
		t->pc = t->start + t->i * 4;
		t->offsets[t->i] = (uint32_t)(t->x.at - code);
		t->flags_at[t->i] = t->flags_kept ? LP_FLAGS_IN_MEMORY : (uint8_t)t->flags;
		if (lp_x86_room(&t->x) < INSN_BYTES) {
			t->failed = true;
			return;
		}
		emit_insn(t);
	}
	if (!t->has_ended) {
		if (t->end_live)
			lp_flags_keep(t);
		lp_emit_goto(t, t->start + t->nr * 4);
	}
	*hot = (size_t)(t->x.at - code);
	emit_cold(t);
}

static size_t aligned(size_t size)
{
	return lp_align_up(size, 16);
}

/* Room for what is kept of a unit beside its code: its uops come first, as code refers to them. */
static bool reserve_unit(struct lp_tr *t)
{
	size_t most = sizeof t->uops + sizeof *t->unit + sizeof t->looked + sizeof t->insns + sizeof t->offsets +
		      sizeof t->flags_at + 64;

	t->kept = lp_keep_room(t->jit, most);
	return t->kept;
}

static void *kept(struct lp_tr *t, const void *data, size_t size)
{
	void *to = t->kept;

	memcpy(to, data, size);
	t->kept += lp_align_up(size, 8);
	return to;
}

static struct lp_unit *keep_unit(struct lp_tr *t, struct lp_segment *s, size_t hot, size_t size)
{
	uint32_t words[LP_UNIT_MAX];
	struct lp_unit u = {
		.code = s->rx + s->used,
		.size = (uint32_t)size,
		.hot_size = (uint32_t)hot,
		.nr_insns = (uint16_t)t->nr,
		.nr_looked = (uint16_t)t->nr_looked,
		.is_loop = t->is_loop,
		.range = {t->start, t->start + t->nr * 4},
	};

	for (unsigned i = 0; i < t->nr; i++)
		words[i] = t->insns[i].word;
	u.uops = kept(t, t->uops, 2 * t->nr_uops * sizeof t->uops[0]);
	u.looked = kept(t, t->looked, t->nr_looked * sizeof t->looked[0]);
	u.words = kept(t, words, t->nr * sizeof words[0]);
	u.offsets = kept(t, t->offsets, t->nr * sizeof t->offsets[0]);
	u.flags_at = kept(t, t->flags_at, t->nr);
	t->unit = kept(t, &u, sizeof u);
	lp_keep_used(t->jit, t->kept);
	return t->unit;
}

/* The whole, or as much of it from its begin as fits. */
static bool emit_what_fits(struct lp_tr *t, struct lp_segment *s, size_t *hot)
{
	for (;; t->nr /= 2) {
		t->v_fixed = false;
		find_live_flags(t);
		emit_all(t, s, hot);
		if (t->is_loop && t->v_used && !t->failed) {
			lp_v_fix(t);
			if (t->v_fixed)
				emit_all(t, s, hot);
		}
		if (!t->failed && !t->x.out_of_reach)
			return true;
		if (t->nr == 1)
			return false;
	}
}

/* The interpreter executes what stands there: a guarded page, an instruction that is a breakpoint, or too much code. */
static struct lp_unit *leave_alone(struct lp_jit *jit, uint64_t pc)
{
	struct lp_unit *u = lp_keep_room(jit, sizeof *u);

	if (!u)
		return NULL;
	*u = (struct lp_unit){.interpreted = true, .nr_insns = 1, .range = {pc, pc + 4}};
	lp_keep_used(jit, u + 1);
	return u;
}

static struct lp_unit *make_unit(struct lp_tr *t)
{
	struct lp_segment *s = lp_code_room(t->jit, LP_UNIT_BYTES);
	size_t hot = 0, size, nr;
	struct lp_unit *u;

	if (!s || !reserve_unit(t)) {
		set_full(t->jit);
		return NULL;
	}
	if (!emit_what_fits(t, s, &hot))
		return is_full(t->jit) ? NULL : leave_alone(t->jit, t->start);
	size = (size_t)(t->x.at - (s->rw + s->used));
	u = keep_unit(t, s, hot, size);
	nr = atomic_load_explicit(&s->nr_units, memory_order_relaxed);
	s->units[nr] = u;
	atomic_store_explicit(&s->nr_units, nr + 1, memory_order_release);
	s->used += aligned(size);
	t->jit->stats.bytes += size;
	return u;
}

static size_t page_bucket(uint64_t addr)
{
	return (addr / LP_GUEST_PAGE) * UINT64_C(0x9e3779b97f4a7c15) >> (64 - __builtin_ctz(LP_UNIT_BUCKETS));
}

static void publish(struct lp_jit *jit, struct lp_unit *u, struct lp_jit_slot *slot)
{
	struct lp_unit **page = &jit->pages[page_bucket(u->range.start)];

	u->slot = slot;
	u->next = *page;
	*page = u;
	for (unsigned i = 0; i < u->nr_looked; i++) {
		struct lp_look **look = &jit->looks[page_bucket(u->looked[i].range.start)];
		u->looked[i].unit = u;
		u->looked[i].next = *look;
		*look = &u->looked[i];
	}
	jit->nr_since++;
	jit->stats.units++;
	jit->stats.insns += u->nr_insns;
	atomic_store_explicit(&slot->unit, u, memory_order_release);
	if (!u->interpreted && !jit->checks)
		atomic_store_explicit(&slot->code, u->code, memory_order_release);
}

static struct lp_unit *translate(struct lp_jit *jit, uint64_t pc, const uint32_t *words, size_t nr)
{
	static struct lp_tr t; /* with the lock */

	t.jit = jit;
	t.start = pc;
	t.nr = decode(&t, words, nr);
	return make_unit(&t);
}

/* The same, with the time that it takes. */
static struct lp_unit *translate_timed(struct lp_jit *jit, uint64_t pc, const uint32_t *words, size_t nr)
{
	struct timespec begin, end;
	struct lp_unit *u;

	if (!jit->emu->options.stats)
		return translate(jit, pc, words, nr);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	u = translate(jit, pc, words, nr);
	clock_gettime(CLOCK_MONOTONIC, &end);
	jit->stats.ns += (uint64_t)(end.tv_sec - begin.tv_sec) * 1000000000 + (uint64_t)(end.tv_nsec - begin.tv_nsec);
	return u;
}

/* What the guest may execute at pc, up to the end of its page. */
struct fetched {
	uint32_t words[LP_UNIT_MAX];
	size_t nr;
	bool guarded;
};

static bool fetch(struct lp_jit *jit, uint64_t pc, struct fetched *f)
{
	uint64_t until;

	if (pc & 3 || lp_mem_fetch(jit->emu, pc, &f->guarded, &until))
		return false;
	f->nr = (until - pc) / 4 < LP_UNIT_MAX ? (until - pc) / 4 : LP_UNIT_MAX;
	return lp_mem_read(pc, f->words, f->nr * 4) == 0;
}

static struct lp_unit *make(struct lp_jit *jit, uint64_t pc, const struct fetched *f)
{
	if (f->guarded || lp_block_is_breakpoint(jit->emu->blocks, pc))
		return leave_alone(jit, pc);
	return translate_timed(jit, pc, f->words, f->nr);
}

/* The lock of the address space is taken before ours, never behind it: who unmaps code has both.  So what is fetched may be
 * of yesterday when it is translated, which the count of invalidations tells.  Code that changes from then on is
 * invalidated when this unit can be found. */
struct lp_jit_slot *lp_translate(struct lp_jit *jit, uint64_t pc)
{
	struct lp_jit_slot *slot;
	struct lp_unit *u = NULL;
	struct fetched f;
	uint64_t when;

	do {
		when = atomic_load_explicit(&jit->nr_invalidations, memory_order_acquire);
		if (is_full(jit) || !fetch(jit, pc, &f))
			return NULL;
		pthread_mutex_lock(&jit->lock);
		slot = lp_jit_slot_of(jit, pc);
		if (!slot)
			set_full(jit);
		if (slot && !atomic_load_explicit(&slot->unit, memory_order_relaxed) &&
		    atomic_load_explicit(&jit->nr_invalidations, memory_order_acquire) == when) {
			u = make(jit, pc, &f);
			if (u)
				publish(jit, u, slot);
			else
				slot = NULL;
		}
		pthread_mutex_unlock(&jit->lock);
	} while (slot && !u && !atomic_load_explicit(&slot->unit, memory_order_acquire));
	return slot;
}

/* ---- forgetting ---- */

static bool overlaps(struct lp_range a, struct lp_range b)
{
	return a.start < b.end && b.start < a.end;
}

static void kill_unit(struct lp_jit *jit, struct lp_unit *u)
{
	lp_jit_slot_empty(jit, u->slot);
	u->is_dead = true;
	atomic_fetch_add_explicit(&jit->dead_bytes, u->size + sizeof *u, memory_order_relaxed);
	jit->stats.invalidated++;
}

static void kill_in_bucket(struct lp_jit *jit, size_t bucket, struct lp_range range)
{
	struct lp_unit **link = &jit->pages[bucket], *u;

	while ((u = *link)) {
		if (u->is_dead || overlaps(u->range, range)) {
			if (!u->is_dead)
				kill_unit(jit, u);
			*link = u->next;
		} else {
			link = &u->next;
		}
	}
	for (struct lp_look *look = jit->looks[bucket]; look; look = look->next)
		if (!look->unit->is_dead && overlaps(look->range, range))
			kill_unit(jit, look->unit); /* its own bucket finds it dead, sooner or later */
}

void lp_jit_invalidate(struct lp_jit *jit, struct lp_range range)
{
	/* What begins in the page before may reach into this one; nothing is looked at beyond its own page. */
	lp_addr page = range.start / LP_GUEST_PAGE, last = (range.end - 1) / LP_GUEST_PAGE;

	atomic_fetch_add_explicit(&jit->nr_invalidations, 1, memory_order_acq_rel);
	pthread_mutex_lock(&jit->lock);
	if (last - page >= LP_UNIT_BUCKETS) {
		for (size_t i = 0; i < LP_UNIT_BUCKETS; i++)
			kill_in_bucket(jit, i, range);
	} else {
		for (; page <= last; page++)
			kill_in_bucket(jit, page_bucket(page * LP_GUEST_PAGE), range);
	}
	pthread_mutex_unlock(&jit->lock);
}

/* Everything: of one unit alone nobody knows who is in it. */
void lp_jit_flush(struct lp_jit *jit)
{
	size_t nr = atomic_load_explicit(&jit->nr_segments, memory_order_relaxed);

	lp_jit_slots_forget(jit);
	memset(jit->looks, 0, sizeof jit->looks);
	memset(jit->pages, 0, sizeof jit->pages);
	lp_keep_nothing(jit);
	for (size_t i = 1; i < nr; i++)
		lp_code_release(jit, &jit->segments[i]);
	atomic_store_explicit(&jit->nr_segments, 1, memory_order_release);
	atomic_store_explicit(&jit->dead_bytes, 0, memory_order_relaxed);
	jit->nr_since = 0;
	jit->stats.flushed++;
}
