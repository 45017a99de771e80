/* A unit: from guest instructions to host code in its slot. */
#include "jit/emit.h"

#include <string.h>
#include <time.h>

#include "emu/mem.h"
#include "jit/cache.h"

enum { INSN_BYTES = 1024 }; /* no instruction needs more host code, cold parts apart */

bool lp_jit_ends(enum lp_a64_op op, uint32_t word)
{
	enum { IC_IVAU = 0xd50b7520, MSR_FPCR = 0xd51b4400 };

	if ((word & ~UINT32_C(31)) == IC_IVAU) /* what follows may be other code from here on */
		return true;
	if ((word & ~UINT32_C(31)) == MSR_FPCR) /* this thread may not be for translated code any more */
		return true;
	return lp_lower_ends(op);
}

bool lp_jit_goes_elsewhere(enum lp_a64_op op, uint32_t word)
{
	return lp_jit_ends(op, word) || (op == A64_OP_B_COND && lp_a64_field_condb(word) >= 14);
}

/* Where a unit ends its vectors are stored, and the next one loads them: a unit is longer where at least every third
 * instruction computes with some. */
static bool goes_on(const struct lp_tr *t, const uint32_t *words, size_t nr)
{
	unsigned nr_vectors = 0;

	if (!(t->jit->host & LP_HOST_V3))
		return false;
	for (size_t i = nr - LP_UNIT_MAX; i < nr; i++)
		nr_vectors += (words[i] & 0x0e000000) == 0x0e000000; /* DDI 0487 C4.1 */
	return nr_vectors >= LP_UNIT_MAX / 3;
}

/* A loop has more registers where what follows it asks for none. */
static bool goes_back_from(const struct lp_tr *t, size_t i)
{
	uint64_t target;

	return lp_jit_branch_target(t->start + i * 4, t->insns[i].word, &target) && target == t->start;
}

/* What stands behind a branch that was taken the first time is another unit's: more often than not it is never come to.  But
 * behind a loop it is, and what a branch goes a short way around in a loop is every few turns. */
enum { NEAR = 32 };

static bool was_left_at(const struct lp_tr *t, size_t nr, size_t executed)
{
	uint64_t pc = t->start + (nr - 1) * 4, target;

	return nr == executed && lp_jit_branch_target(pc, t->insns[nr - 1].word, &target) &&
	       (int64_t)(target - pc) > NEAR * 4;
}

static unsigned decode(struct lp_tr *t, const uint32_t *words, size_t nr_words)
{
	size_t nr = 0, executed = lp_jit_executed(t->jit, t->start);

	while (nr < nr_words) {
		if (nr > 0 && nr % LP_UNIT_MAX == 0 && !goes_on(t, words, nr))
			break;
		if (nr > 0 && lp_block_is_breakpoint(t->jit->emu->blocks, t->start + nr * 4))
			break;
		t->insns[nr] = (struct lp_insn){.word = words[nr], .op = (uint16_t)lp_a64_decode(words[nr])};
		nr++;
		if (lp_jit_ends(t->insns[nr - 1].op, words[nr - 1]) ||
		    (nr > LP_UNIT_MAX && goes_back_from(t, nr - 1)) || was_left_at(t, nr, executed))
			break;
	}
	return (unsigned)nr;
}

/* ---- its code ---- */

/* Before the unit's first instruction, and at the loops of a region. */
static void poll_cold(struct lp_tr *t, const struct lp_cold *c)
{
	lp_v_flush(t);
	lp_x86_mov_address(&t->x, LP_RAX, c->arg);
	lp_x86_jmp(&t->x, t->jit->stubs.exit_lookup);
}

static void poll_cold_in_region(struct lp_tr *t, const struct lp_cold *c)
{
	lp_pins_leave(t);
	poll_cold(t, c);
}

static void poll(struct lp_tr *t, uint64_t pc, lp_cold_fn *leave)
{
	struct lp_cold *c;

	lp_x86_alu_imm(&t->x, LP_ALU_CMP, 0, LP_CPU(poll), 0);
	c = lp_cold_add(t, leave);
	c->from[0] = lp_x86_jcc_forward(&t->x, LP_CC_NE);
	c->arg = pc;
	t->flags = LP_FLAGS_IN_MEMORY;
	t->flags_kept = true;
}

/* With --smc=strict: whether what stands in memory is what is translated here.  Where it is not, the thread leaves, and
 * find_unit() sees it as well. */
static void verify(struct lp_tr *t)
{
	struct lp_cold *c;

	lp_x86_mov_address(&t->x, LP_RCX, t->start);
	for (unsigned i = 0; i < t->nr; i += 2) {
		bool two = i + 1 < t->nr;
		uint64_t words = t->insns[i].word | (two ? (uint64_t)t->insns[i + 1].word << 32 : 0);
		lp_x86_mov_imm(&t->x, LP_RAX, words);
		lp_x86_alu(&t->x, LP_ALU_XOR, two, LP_RAX, lp_rm_mem(LP_RCX, (int32_t)i * 4));
		if (i == 0)
			lp_x86_mov(&t->x, 1, LP_RDX, lp_rm_reg(LP_RAX));
		else
			lp_x86_alu(&t->x, LP_ALU_OR, 1, LP_RDX, lp_rm_reg(LP_RAX));
	}
	lp_x86_alu(&t->x, LP_ALU_OR, 1, LP_RDX, lp_rm_reg(LP_RDX));
	c = lp_cold_add(t, poll_cold);
	c->from[0] = lp_x86_jcc_forward(&t->x, LP_CC_NE);
	c->arg = t->start;
}

static void note_branch(struct lp_tr *t, uint64_t pc)
{
	if (!t->jit->emu->options.branches)
		return;
	lp_x86_mov_address(&t->x, LP_RAX, pc);
	lp_x86_mov_to(&t->x, 1, LP_CPU(branch), LP_RAX);
}

/* A loop within the unit, which goes back to the head without a slot: counted in cold code as long as it is at all. */
static void count_cold(struct lp_tr *t, const struct lp_cold *c)
{
	struct lp_x86_rm count = lp_rm_abs((const void *)lp_jit_count_of(t->jit, lp_tr_slot(t, t->start)));

	lp_x86_alu_imm(&t->x, LP_ALU_ADD, 0, count, 1);
	lp_x86_alu_imm(&t->x, LP_ALU_CMP, 0, count, t->jit->hot);
	lp_x86_jcc_back(&t->x, LP_CC_NE, c->back);
	lp_v_flush(t);
	lp_x86_mov_imm(&t->x, LP_RAX, t->start);
	lp_x86_jmp(&t->x, t->jit->stubs.exit_lookup);
}

static bool goes_back(const struct lp_tr *t)
{
	uint64_t target;

	for (unsigned i = 0; i < t->nr; i++)
		if (lp_jit_branch_target(t->start + i * 4, t->insns[i].word, &target) && target == t->start &&
		    t->insns[i].op != A64_OP_BL)
			return true;
	return false;
}

static void count_turns(struct lp_tr *t)
{
	struct lp_x86_rm count = lp_rm_abs((const void *)lp_jit_count_of(t->jit, lp_tr_slot(t, t->start)));
	struct lp_cold *c;

	lp_x86_alu_imm(&t->x, LP_ALU_CMP, 0, count, t->jit->hot);
	c = lp_cold_add(t, count_cold);
	c->from[0] = lp_x86_jcc_forward(&t->x, LP_CC_L);
	c->back = t->x.at;
}

static void begin(struct lp_tr *t)
{
	t->head = t->x.at;
	t->pc = t->start;
	poll(t, t->start, poll_cold);
	if (t->is_verified)
		verify(t);
	if (lp_emit_counts(t, t->start) && goes_back(t))
		count_turns(t);
	lp_tr_count(t, (int32_t)t->nr);
	note_branch(t, t->start);
}

/* All but what is only ever appended to, and counted; and who takes the next instruction says so last. */
static void copy_state(struct lp_tr *to, const struct lp_tr *from)
{
	memcpy(to, from, offsetof(struct lp_tr, cold));
}

/* Registers above 15 are not for all instructions: one that has written such a one is emitted anew with others.  It takes
 * others behind it again. */
static bool emit_with_high(struct lp_tr *t, lp_emit_fn *emit, uint32_t word)
{
	struct lp_tr *before = t->jit->before;
	bool done, failed;

	if (!lp_v_may_be_high(t, word))
		return emit(t, word);
	copy_state(before, t);
	done = emit(t, word);
	if (!t->x.out_of_reach)
		return done;
	failed = t->failed;
	copy_state(t, before);
	t->failed = failed;
	t->v_low_only = true;
	return emit(t, word);
}

/* Without AVX2 and what comes with it there is less that the host executes than there are functions that write it: what an
 * instruction took that is not there is taken back, all of it. */
static bool emit_for_host(struct lp_tr *t, lp_emit_fn *emit, uint32_t word)
{
	struct lp_tr *before = t->jit->before;
	bool failed;

	if (t->jit->host & LP_HOST_V3)
		return emit_with_high(t, emit, word);
	copy_state(before, t);
	if (emit(t, word) && !t->x.beyond_sse4)
		return true;
	failed = t->failed;
	copy_state(t, before);
	if (t->i + 1 < t->nr)
		t->insns[t->i + 1].is_taken = false;
	t->failed = failed;
	return false;
}

static void emit_insn(struct lp_tr *t)
{
	const struct lp_insn *insn = &t->insns[t->i];
	lp_emit_fn *emit = t->jit->emit[insn->op];

	if (t->insns[t->i].is_taken)
		return;
	t->x.flags_clobbered = false;
	lp_v_next(t);
	if (!emit || !emit_for_host(t, emit, insn->word))
		lp_tr_leave_to_c(t);
}

static void note_cold(struct lp_tr *t, unsigned k, uint32_t offset, unsigned insn)
{
	if (!t->jit->cold)
		return;
	t->jit->cold[k] = (struct lp_jit_cold_part){offset, insn};
	t->jit->nr_cold = k + 1;
}

static void emit_cold(struct lp_tr *t, const uint8_t *code)
{
	t->in_cold = true;
	if (t->is_region) /* where a way leads from everywhere to everywhere */
		t->v_written_in_loop = t->v_written;
	for (unsigned k = 0; k < t->nr_cold; k++) {
		const struct lp_cold c = t->cold[k];
		note_cold(t, k, (uint32_t)(t->x.at - code), c.i);
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
		t->v_dirty = c.v_dirty;
		t->v_written = c.v_written;
		t->v_is_s = c.v_is_s;
		t->v_is_d = c.v_is_d;
		t->v_cut_s = c.v_cut_s;
		t->v_cut_d = c.v_cut_d;
		lp_v_set_hosts(t, c.v_of);
		c.emit(t, &c);
	}
}

static void reset(struct lp_tr *t, struct lp_segment *s)
{
	t->x = (struct lp_x86){
		.at = s->rw + s->used, .end = s->rw + s->used + LP_UNIT_BYTES, .run_offset = s->rx - s->rw};
	if (t->image) {
		t->x.begin = t->x.at;
		t->x.refs = t->refs;
		t->x.max_refs = LP_UNIT_REFS;
	}
	t->code = t->x.at;
	t->nr_cold = t->nr_uops = t->nr_v_notes = 0;
	t->jit->nr_cold = 0;
	t->has_ended = t->is_loop = t->failed = t->in_cold = false;
	t->v_loaded = t->v_dirty = t->v_used = t->v_turn = t->v_is_s = t->v_is_d = 0;
	t->v_cut_s = t->v_cut_d = t->v_written = t->v_written_in_loop = t->v_wide_s = t->v_wide_d = 0;
	t->v_forgot = false;
	t->v_spread = t->v_rounds = -1;
	t->i = 0;
	t->flags = LP_FLAGS_IN_MEMORY;
	t->flags_kept = true;
	t->nr_pending = 0;
	for (unsigned i = 0; i < t->nr; i++) {
		t->insns[i].is_taken = false;
		t->insns[i].code = NULL;
	}
	memset(t->v_when, 0, sizeof t->v_when);
	if (!t->v_fixed) {
		lp_v_empty(t);
		t->v_wants_low = 0;
		memset(t->v_place, -1, sizeof t->v_place);
		memset(t->v_at_head, 0, sizeof t->v_at_head);
		t->v_in_loop = t->v_dirty_in_loop = t->v_narrow_s = t->v_narrow_d = 0;
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
	emit_cold(t, code);
	if (t->x.beyond_sse4 && !(t->jit->host & LP_HOST_V3))
		t->failed = true;
}

/* ---- the code of a region ---- */

static void enter_region(struct lp_tr *t)
{
	t->i = t->entry;
	poll(t, t->start + t->entry * 4, poll_cold);
	lp_pins_enter(t);
	lp_v_preload(t);
	if (t->entry > 0)
		t->pending[t->nr_pending++] = (struct lp_pending){t->entry, lp_x86_jmp_forward(&t->x)};
}

static void begin_line(struct lp_tr *t)
{
	lp_region_arrive(t);
	if (t->insns[t->i].is_head)
		poll(t, t->pc, poll_cold_in_region);
	lp_tr_count(t, t->insns[t->i].nr_behind + 1);
	note_branch(t, t->pc);
}

static void emit_region(struct lp_tr *t, struct lp_segment *s, size_t *hot)
{
	uint8_t *code = s->rw + s->used;

	reset(t, s);
	enter_region(t);
	for (t->i = 0; t->i < t->nr && !t->failed; t->i++) {
		t->pc = t->start + t->i * 4;
		t->offsets[t->i] = (uint32_t)(t->x.at - code);
		if (lp_x86_room(&t->x) < INSN_BYTES) {
			t->failed = true;
			return;
		}
		if (!t->insns[t->i].is_in)
			continue;
		if (t->insns[t->i].is_leader)
			begin_line(t);
		t->flags_at[t->i] = t->flags_kept ? LP_FLAGS_IN_MEMORY : (uint8_t)t->flags;
		t->has_ended = false;
		emit_insn(t);
		if (!t->has_ended && !lp_tr_goes_on(t, t->i))
			lp_region_fall(t);
	}
	*hot = (size_t)(t->x.at - code);
	emit_cold(t, code);
	if (t->x.beyond_sse4 && !(t->jit->host & LP_HOST_V3))
		t->failed = true;
}

/* Once to see what it asks for, and once with that where it is best. */
static bool emit_region_twice(struct lp_tr *t, struct lp_segment *s, size_t *hot)
{
	t->v_fixed = false;
	memcpy(t->pin, lp_pin, sizeof t->pin);
	memset(t->x_uses, 0, sizeof t->x_uses);
	t->x_cost = 0;
	lp_tr_find_live_flags(t);
	emit_region(t, s, hot);
	if (t->failed)
		return false;
	lp_pins_choose(t);
	lp_v_fix(t);
	emit_region(t, s, hot);
	return !t->failed && !t->x.out_of_reach;
}

/* ---- what is kept ---- */

/* Room for what is kept of a unit beside its code: its uops come first, as code refers to them. */
static bool reserve_unit(struct lp_tr *t)
{
	size_t of_each = 2 * sizeof t->uops[0] + sizeof t->insns[0].word + sizeof t->offsets[0] +
			 sizeof t->flags_at[0] + LP_V_NOTES / LP_REGION_MAX * sizeof t->v_notes[0];
	size_t most = t->nr * of_each + sizeof *t->unit + sizeof t->looked + sizeof(struct lp_unit_region) + 64;

	if (t->image)
		most += LP_UNIT_REFS * sizeof t->unit_refs[0];

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

static const struct lp_unit_region *keep_region(struct lp_tr *t)
{
	struct lp_unit_region r = {0};

	memcpy(r.pin, t->pin, sizeof r.pin);
	for (unsigned i = 0; i < t->nr; i++) {
		r.has[i / 64] |= (uint64_t)t->insns[i].is_in << (i % 64);
		r.nr_behind[i] = t->insns[i].nr_behind;
	}
	return kept(t, &r, sizeof r);
}

static struct lp_unit *keep_unit(struct lp_tr *t, struct lp_segment *s, size_t hot, size_t size)
{
	uint32_t words[LP_REGION_MAX];
	struct lp_unit u = {
		.code = s->rx + s->used,
		.size = (uint32_t)size,
		.hot_size = (uint32_t)hot,
		.nr_insns = (uint16_t)t->nr,
		.nr_looked = (uint16_t)t->nr_looked,
		.nr_v_notes = (uint16_t)t->nr_v_notes,
		.v_narrow_s = t->v_narrow_s,
		.v_narrow_d = t->v_narrow_d,
		.is_loop = t->is_loop,
		.range = {t->start, t->start + t->nr * 4},
	};

	bool is_kept = t->image && lp_cache_note(t, u.code, size);

	for (unsigned i = 0; i < t->nr; i++)
		words[i] = t->insns[i].word;
	u.uops = kept(t, t->uops, 2 * t->nr_uops * sizeof t->uops[0]);
	u.looked = kept(t, t->looked, t->nr_looked * sizeof t->looked[0]);
	u.words = kept(t, words, t->nr * sizeof words[0]);
	u.offsets = kept(t, t->offsets, t->nr * sizeof t->offsets[0]);
	u.flags_at = kept(t, t->flags_at, t->nr);
	u.v_notes = kept(t, t->v_notes, t->nr_v_notes * sizeof t->v_notes[0]);
	if (t->is_region)
		u.region = keep_region(t);
	if (is_kept) {
		u.image = (uint16_t)t->image;
		u.nr_refs = (uint16_t)t->nr_unit_refs;
		u.refs = kept(t, t->unit_refs, t->nr_unit_refs * sizeof t->unit_refs[0]);
	}
	t->unit = kept(t, &u, sizeof u);
	lp_keep_used(t->jit, t->kept);
	return t->unit;
}

/* The whole, or as much of it from its begin as fits. */
static bool emit_what_fits(struct lp_tr *t, struct lp_segment *s, size_t *hot)
{
	memcpy(t->pin, lp_pin, sizeof t->pin);
	for (;; t->nr /= 2) {
		t->v_fixed = false;
		lp_tr_find_live_flags(t);
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
	size_t hot = 0, size;
	struct lp_unit *u;

	if (!s || !reserve_unit(t)) {
		lp_jit_set_full(t->jit);
		return NULL;
	}
	if (t->is_region) {
		if (!emit_region_twice(t, s, &hot))
			return NULL;
	} else if (!emit_what_fits(t, s, &hot)) {
		return lp_jit_is_full(t->jit) ? NULL : leave_alone(t->jit, t->start);
	}
	size = (size_t)(t->x.at - (s->rw + s->used));
	u = keep_unit(t, s, hot, size);
	lp_unit_append(s, u);
	t->jit->stats.bytes += size;
	return u;
}

/* What the guest may execute at pc, up to the end of its page. */
struct fetched {
	uint32_t words[LP_LONG_UNIT_MAX]; /* only once it is to be translated */
	size_t nr;
	bool guarded;
	unsigned image;			/* lp_cache_image() */
	bool may_change;		/* and is to be compared whenever it is executed */
	const struct lp_window *window; /* NULL: no region is to be tried */
};

static struct lp_unit *translate_line(struct lp_tr *t, uint64_t pc, const struct fetched *f)
{
	static struct lp_x86_ref refs[LP_UNIT_REFS]; /* with the lock */
	static struct lp_unit_ref unit_refs[LP_UNIT_REFS];

	t->is_region = false;
	t->is_verified = f->may_change;
	t->image = f->image;
	t->refs = refs;
	t->unit_refs = unit_refs;
	t->start = pc;
	t->nr = decode(t, f->words, f->nr);
	return make_unit(t);
}

static struct lp_unit *translate_region(struct lp_tr *t, const struct lp_window *window)
{
	struct lp_unit *u;

	if (!lp_region_form(t, window))
		return NULL;
	t->is_region = true;
	t->image = 0; /* regions are not kept */
	u = make_unit(t);
	t->jit->stats.regions += u != NULL;
	return u;
}

/* A region, if one is to be tried. */
static struct lp_unit *translate(struct lp_jit *jit, uint64_t pc, const struct fetched *f)
{
	struct lp_unit *u = NULL;

	jit->tr->jit = jit;
	if (f->window)
		u = translate_region(jit->tr, f->window);
	if (!u && f->nr > 0 && !lp_jit_is_full(jit))
		u = translate_line(jit->tr, pc, f);
	return u;
}

/* The same, with the time that it takes. */
static struct lp_unit *translate_timed(struct lp_jit *jit, uint64_t pc, const struct fetched *f)
{
	struct timespec begin, end;
	struct lp_unit *u;

	if (!jit->emu->options.stats)
		return translate(jit, pc, f);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	u = translate(jit, pc, f);
	clock_gettime(CLOCK_MONOTONIC, &end);
	jit->stats.ns += (uint64_t)(end.tv_sec - begin.tv_sec) * 1000000000 + (uint64_t)(end.tv_nsec - begin.tv_nsec);
	return u;
}

static bool fetch(struct lp_jit *jit, uint64_t pc, struct fetched *f)
{
	uint64_t until;

	if (pc & 3 || lp_mem_fetch(jit->emu, pc, &f->guarded, &until))
		return false;
	f->window = NULL;
	f->nr = (until - pc) / 4 < LP_LONG_UNIT_MAX ? (until - pc) / 4 : LP_LONG_UNIT_MAX;
	f->may_change = jit->emu->options.smc_strict && lp_mem_may_change(jit->emu, pc);
	if (f->may_change && f->nr > LP_VERIFIED_MAX)
		f->nr = LP_VERIFIED_MAX;
	f->image = f->may_change ? 0 : lp_cache_image(jit, pc);
	return true;
}

static struct lp_unit *make(struct lp_jit *jit, uint64_t pc, struct fetched *f)
{
	struct lp_unit *u;

	if (f->guarded || lp_block_is_breakpoint(jit->emu->blocks, pc))
		return leave_alone(jit, pc);
	u = f->image ? lp_cache_load(jit, f->image, pc, f->nr) : NULL;
	if (u)
		return u;
	return lp_mem_read(pc, f->words, f->nr * 4) ? NULL : translate_timed(jit, pc, f);
}

/* The lock of the address space is taken before ours, never behind it: who unmaps code has both.  So what is fetched may be
 * of yesterday when it is translated, which the count of invalidations tells.  Code that changes from then on is
 * invalidated when this unit can be found. */
struct lp_jit_slot *lp_translate(struct lp_jit *jit, uint64_t pc, struct lp_jit_slot *slot)
{
	struct lp_unit *u = NULL;
	struct lp_window window;
	struct fetched f;
	uint64_t when;

	do {
		when = atomic_load_explicit(&jit->nr_invalidations, memory_order_acquire);
		if (lp_jit_is_full(jit) || !fetch(jit, pc, &f))
			return NULL;
		if (jit->tier == LP_JIT_TIER2) {
			lp_region_fetch(jit, pc, &window);
			f.window = &window;
		}
		pthread_mutex_lock(&jit->lock);
		if (!slot)
			slot = lp_jit_slot_of(jit, pc);
		if (!slot)
			lp_jit_set_full(jit);
		if (slot && !atomic_load_explicit(&slot->unit, memory_order_relaxed) &&
		    atomic_load_explicit(&jit->nr_invalidations, memory_order_acquire) == when) {
			u = make(jit, pc, &f);
			if (u) {
				lp_unit_publish(jit, u, slot);
				lp_children_report(jit, pc);
			} else
				slot = NULL;
		}
		pthread_mutex_unlock(&jit->lock);
	} while (slot && !u && !atomic_load_explicit(&slot->unit, memory_order_acquire));
	return slot;
}

void lp_translate_hot(struct lp_jit *jit, struct lp_jit_slot *slot)
{
	uint64_t when = atomic_load_explicit(&jit->nr_invalidations, memory_order_acquire);
	struct lp_window window;
	struct fetched f = {.window = &window};
	struct lp_unit *was, *u;

	lp_region_fetch(jit, slot->pc, &window);
	pthread_mutex_lock(&jit->lock);
	was = atomic_load_explicit(&slot->unit, memory_order_relaxed);
	/* Another thread may have been here, and the code may have changed; then it becomes hot again, if it does. */
	if (was && !was->interpreted && lp_jit_is_hot(jit, slot) &&
	    atomic_load_explicit(&jit->nr_invalidations, memory_order_acquire) == when) {
		atomic_store_explicit(lp_jit_count_of(jit, slot), INT32_MAX, memory_order_relaxed);
		u = translate_timed(jit, slot->pc, &f);
		if (u) {
			lp_unit_replace(jit, was);
			lp_unit_publish(jit, u, slot);
		}
	} else if (lp_jit_is_hot(jit, slot)) {
		lp_jit_count_anew(jit, slot);
	}
	pthread_mutex_unlock(&jit->lock);
}
