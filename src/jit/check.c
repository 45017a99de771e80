/*
 * --jit=check: what translated code does is held against the interpreter, a unit at a time.
 *
 * The interpreter executes the unit's instructions first, on the thread's own registers and memory.  What memory each of
 * them touches is noted before.  Then memory and registers are put back, the translated unit runs, and the two results are
 * compared: registers, flags where somebody may ask for them, where it goes on, and the memory that was noted.  Slots never
 * lead to units, so that each comes back here at its end; a loop within a unit is one run of it.
 *
 * Not compared, and executed all the same: a process with more than one thread, whose memory others change meanwhile; code
 * that reads a clock or random numbers; a unit in which an instruction faults, whose interpreted execution counts then; a
 * unit that is left early because somebody asks for the thread, or because a loop's scalars have something above them.  What a system call does is not executed twice: it ends
 * its unit.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/vec.h"
#include "emu/access_address.h"
#include "emu/fp.h"
#include "emu/mem.h"
#include "emu/vdso.h"
#include "jit/private.h"

enum { INSNS_MAX = 4096, AREA = 64 /* bytes: no access is longer */, STATUS = 125 };

/* ---- what is compared ---- */

struct state {
	uint64_t x[32];
	union lp_vreg v[32];
	uint64_t pc, tpidr;
	uint32_t fpsr, fpcr, nzcv;
	enum lp_leave leave;
	struct lp_fault fault;
};

static void take(struct state *s, const struct lp_cpu *cpu)
{
	memset(s, 0, sizeof *s);
	memcpy(s->x, cpu->x, sizeof s->x);
	memcpy(s->v, cpu->vr, sizeof s->v);
	s->pc = cpu->pc;
	s->tpidr = cpu->tpidr;
	s->fpsr = lp_fpsr_read(cpu);
	s->fpcr = cpu->fpcr;
	s->nzcv = lp_cpu_nzcv(cpu);
	s->leave = cpu->leave;
	if (s->leave == LP_LEAVE_FAULT)
		s->fault = cpu->fault;
}

/* ---- what is put back ---- */

/* Registers of the cpu that instructions write, and those of the host that stand for some of them. */
struct saved {
	struct state state;
	int64_t n;
	uint64_t z;
	uint8_t c, v, btype;
	bool fp_exact, dit, ssbs;
	uint32_t fpsr, mxcsr;
	uint64_t pauth[LP_NR_PAUTH_KEYS][2], branch, nr_insns;
	char exclusive[sizeof((struct lp_cpu *)0)->exclusive];
};

static void save(struct saved *s, const struct lp_cpu *cpu)
{
	s->mxcsr = _mm_getcsr();
	take(&s->state, cpu);
	s->n = cpu->n;
	s->z = cpu->z;
	s->c = cpu->c;
	s->v = cpu->v;
	s->btype = cpu->btype;
	s->fp_exact = cpu->fp_exact;
	s->dit = cpu->dit;
	s->ssbs = cpu->ssbs;
	s->fpsr = cpu->fpsr;
	s->branch = cpu->branch;
	s->nr_insns = cpu->nr_insns;
	memcpy(s->pauth, cpu->pauth, sizeof s->pauth);
	memcpy(s->exclusive, &cpu->exclusive, sizeof s->exclusive);
}

static void put_back(const struct saved *s, struct lp_cpu *cpu)
{
	memcpy(cpu->x, s->state.x, sizeof s->state.x);
	memcpy(cpu->vr, s->state.v, sizeof cpu->vr);
	cpu->pc = s->state.pc;
	cpu->tpidr = s->state.tpidr;
	cpu->fpcr = s->state.fpcr;
	cpu->leave = s->state.leave;
	cpu->n = s->n;
	cpu->z = s->z;
	cpu->c = s->c;
	cpu->v = s->v;
	cpu->btype = s->btype;
	cpu->fp_exact = s->fp_exact;
	cpu->dit = s->dit;
	cpu->ssbs = s->ssbs;
	cpu->fpsr = s->fpsr;
	cpu->branch = s->branch;
	cpu->nr_insns = s->nr_insns;
	memcpy(cpu->pauth, s->pauth, sizeof cpu->pauth);
	memcpy(&cpu->exclusive, s->exclusive, sizeof s->exclusive);
	_mm_setcsr(s->mxcsr);
}

/* ---- memory ---- */

struct area {
	uint64_t at, pc; /* of the instruction */
	size_t size;
	uint8_t before[AREA], after[AREA];
};

typedef LP_VEC(struct area) areas;

/* As much behind the address as is the guest's and can be read: what lies behind may be our own. */
static void note_area(const struct lp_cpu *cpu, areas *all, uint64_t pc, uint64_t at)
{
	uint64_t end = lp_align_down(at, LP_PAGE) + LP_PAGE;
	struct area a = {.at = at, .pc = pc, .size = AREA};

	if (!lp_mem_is_guest(cpu->emu, at, 1))
		return;
	if (end - at < AREA && (!lp_mem_is_guest(cpu->emu, end, 1) || lp_mem_read(end, a.before, 1)))
		a.size = end - at;
	if (lp_mem_read(a.at, a.before, a.size) == 0)
		lp_vec_push(all, a);
}

/* From the last to the first, as some lie over each other. */
static bool undo(areas *all)
{
	bool is_undone = true;

	for (size_t i = 0; i < all->nr; i++)
		is_undone &= lp_mem_read(all->items[i].at, all->items[i].after, all->items[i].size) == 0;
	for (size_t i = all->nr; i-- > 0;) {
		struct area *a = &all->items[i];
		uint8_t now[AREA];
		if (lp_mem_read(a->at, now, a->size) || memcmp(now, a->before, a->size) != 0)
			is_undone &= lp_mem_write(a->at, a->before, a->size) == 0;
	}
	return is_undone;
}

/* ---- the interpreter's turn ---- */

/* Two executions of it give two results. */
static bool is_of_the_moment(const struct lp_emu *emu, uint32_t word, uint64_t pc)
{
	struct lp_uop plain = {.word = word, .pc = pc}, there = plain;

	lp_vdso_lower(emu, &there);
	if (there.run != plain.run)
		return true;
	return (word & 0xffffff00) == 0xd53be000 || (word & 0xfffff000) == 0xd53b2000; /* mrs CNT*, RNDR */
}

/* A branch to where it would go on anyway: whether translated code has left there nobody can tell. */
static bool goes_nowhere(uint32_t word, uint64_t pc)
{
	uint64_t target;

	return lp_jit_branch_target(pc, word, &target) && target == pc + 4;
}

/* The interpreter goes on alone with such a thread: translated code has left behind what made its sp so. */
static bool is_misaligned(const struct lp_cpu *cpu)
{
	return cpu->x[LP_SP] % 16;
}

/* Going from one instruction to the next leads out of translated code. */
static bool is_left(const struct lp_unit *unit, uint64_t from, uint64_t to)
{
	if (unit->region)
		return to < unit->range.start || to >= unit->range.end ||
		       !lp_unit_region_has(unit->region, (unsigned)(to - unit->range.start) / 4);
	return to == from + 4 ? to == unit->range.end : !(to == unit->range.start && unit->is_loop);
}

/* The program has changed it meanwhile, and perhaps told nobody. */
static bool is_other(const struct lp_unit *unit, uint64_t pc, uint32_t word)
{
	return unit->words[(pc - unit->range.start) / 4] != word;
}

/* False: it cannot be compared; the cpu is somewhere, and everything is to be put back. */
static bool interpret(struct lp_cpu *cpu, const struct lp_unit *unit, areas *all)
{
	uint64_t before, at;
	uint32_t word;
	bool write;

	for (unsigned i = 0; i < INSNS_MAX; i++) {
		before = cpu->pc;
		if (lp_mem_get(before, &word) || is_other(unit, before, word) ||
		    is_of_the_moment(cpu->emu, word, before) || goes_nowhere(word, before) || is_misaligned(cpu))
			return false;
		if (lp_access_address(cpu, before, word, &at, &write))
			note_area(cpu, all, before,
				  (word & 0xffffffe0) == 0xd50b7420 ? lp_align_down(at, AREA) : at); /* dc zva */
		lp_cpu_step(cpu);
		if (cpu->leave != LP_LEAVE_LOOKUP)
			return true;
		if (is_left(unit, before, cpu->pc))
			return true;
	}
	return false;
}

/* ---- the difference ---- */

static void say(const char *what, unsigned number, uint64_t is, uint64_t should_be)
{
	fprintf(stderr, "  %s", what);
	if (number != ~0U)
		fprintf(stderr, "%u", number);
	fprintf(stderr, " is %#llx, and should be %#llx\n", (unsigned long long)is, (unsigned long long)should_be);
}

static bool compare_registers(const struct state *is, const struct state *should, bool with_flags)
{
	bool same = true;

	for (unsigned i = 0; i < 32; i++)
		if (is->x[i] != should->x[i]) {
			say(i == LP_SP ? "sp, x" : "x", i, is->x[i], should->x[i]);
			same = false;
		}
	for (unsigned i = 0; i < 64; i++)
		if (is->v[i / 2].d[i % 2] != should->v[i / 2].d[i % 2]) {
			say(i % 2 ? "upper half of v" : "lower half of v", i / 2, is->v[i / 2].d[i % 2],
			    should->v[i / 2].d[i % 2]);
			same = false;
		}
	const struct {
		const char *name;
		uint64_t is, should;
	} rest[] = {
		{"pc", is->pc, should->pc},
		{"nzcv", with_flags ? is->nzcv : 0, with_flags ? should->nzcv : 0},
		{"fpsr", is->fpsr, should->fpsr},
		{"fpcr", is->fpcr, should->fpcr},
		{"tpidr_el0", is->tpidr, should->tpidr},
		{"the way out", is->leave, should->leave},
		{"the fault's address", is->fault.addr, should->fault.addr},
		{"the fault's signal", (uint64_t)is->fault.signal, (uint64_t)should->fault.signal},
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(rest); i++)
		if (rest[i].is != rest[i].should) {
			say(rest[i].name, ~0U, rest[i].is, rest[i].should);
			same = false;
		}
	return same;
}

static bool compare_memory(const areas *all)
{
	bool same = true;

	for (size_t i = 0; i < all->nr; i++) {
		const struct area *a = &all->items[i];
		uint8_t now[AREA];
		if (lp_mem_read(a->at, now, a->size) == 0 && memcmp(now, a->after, a->size) == 0)
			continue;
		fprintf(stderr, "  memory at %#llx, which is touched at pc %#llx\n", (unsigned long long)a->at,
			(unsigned long long)a->pc);
		same = false;
	}
	return same;
}

static void differ(const struct lp_unit *unit)
{
	fprintf(stderr, "arm64_runner: --jit=check: above is what a unit of %u instructions at %#llx does otherwise:\n",
		unit->nr_insns, (unsigned long long)unit->range.start);
	for (unsigned i = 0; i < unit->nr_insns; i++)
		fprintf(stderr, "  %#llx %08x\n", (unsigned long long)unit->range.start + i * 4ULL, unit->words[i]);
	_exit(STATUS);
}

/* ---- both ---- */

static void run_alone(struct lp_jit *jit, struct lp_cpu *cpu, const struct lp_unit *unit)
{
	jit->stubs.enter(cpu, unit->code);
}

/* Where it may leave because somebody wants the thread. */
static bool is_polled(const struct lp_unit *unit, uint64_t pc)
{
	return unit->region ? !is_left(unit, pc, pc) : pc == unit->range.start;
}

/* Translated code executes one instruction only. */
static bool is_entered_oddly(const struct lp_cpu *cpu, const struct lp_unit *unit)
{
	for (unsigned v = 0; v < 32; v++) {
		const union lp_vreg *r = &cpu->vr[v];
		if (unit->v_narrow_s >> v & 1 && r->d[0] >> 32 | r->d[1])
			return true;
		if (unit->v_narrow_d >> v & 1 && r->d[1])
			return true;
	}
	return false;
}

void lp_check_run(struct lp_jit *jit, struct lp_cpu *cpu, const struct lp_unit *unit)
{
	static areas all; /* of the only thread; what a fault left is from an earlier run */
	struct state should, is;
	struct saved before;
	bool can_be_compared, agree;

	if (cpu->emu->threads->next || is_entered_oddly(cpu, unit)) {
		run_alone(jit, cpu, unit);
		return;
	}
	all.nr = 0;
	save(&before, cpu);
	can_be_compared = interpret(cpu, unit, &all);
	take(&should, cpu);
	can_be_compared &= undo(&all);
	put_back(&before, cpu);
	run_alone(jit, cpu, unit);
	if (!can_be_compared || (is_polled(unit, cpu->pc) && atomic_load(&cpu->poll)))
		return;
	take(&is, cpu);
	agree = compare_registers(&is, &should, !lp_jit_flags_are_unasked(jit, cpu->pc));
	if (!compare_memory(&all) || !agree)
		differ(unit);
	atomic_fetch_add_explicit(&jit->nr_compared, 1, memory_order_relaxed);
}
