/* The translator as the emulator's engine. */
#include "jit/jit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/vec.h"
#include "emu/integer.h"
#include "jit/cache.h"
#include "jit/emit.h"

enum { DEAD_LIMIT = 16 << 20 }; /* bytes of code and what belongs to it */
enum { SETTLE_MAX = 64 };	/* instructions: as far as anybody looks ahead */
enum { MEMORY = sizeof(struct lp_jit) + LP_PAGE + 2 * sizeof(struct lp_tr) };
enum { HOT = 5000 };	     /* a region takes as long as some thousand turns of a loop */
enum { WORTH_A_FLUSH = 64 }; /* units that were made with the room that it gave */

const int8_t lp_pin[LP_NR_X] = {
#define PIN(guest, host) [guest] = host,
#define MEM(guest) [guest] = -1,
#include "jit/registers.def"
#undef PIN
#undef MEM
};

static const struct lp_uop *stop(struct lp_cpu *cpu, const struct lp_uop *u)
{
	return u;
}

const struct lp_uop lp_jit_stop = {.run = stop};

static struct lp_jit *jit_of(const struct lp_emu *emu)
{
	return emu->engine_data;
}

/* ---- threads ---- */

enum { JUMPS_SIZE = LP_JUMPS * sizeof(struct lp_jump_entry) };
enum { THREAD_MEMORY = LP_SHADOW_ROOM + LP_SHADOW_SIZE + LP_PAGE + JUMPS_SIZE };
enum { MOST_IDLE = 4 }; /* threads that have ended, whose memory is kept for the next */

static void empty_shadow(struct lp_cpu *cpu)
{
	cpu->jit.shadow_sp = cpu->jit.shadow_base;
}

enum { NO_PC = 4 }; /* of an empty entry 0, where pc 0 is looked for; that of the others is 0 */

static void forget_jumps(struct lp_cpu *cpu)
{
	struct lp_jump_entry *jumps = cpu->jit.jumps;

	memset(jumps, 0, JUMPS_SIZE);
	jumps[0].pc = NO_PC;
}

/* From the bottom: room for the handlers of host signals, the shadow stack, its last entry and behind it what is returned,
 * the jump cache. */
static struct lp_jit_thread *new_thread(const struct lp_jit *jit, bool is_main)
{
	char *memory =
		mmap(NULL, THREAD_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct lp_jit_thread *thread;
	uint64_t *bottom;

	if (memory == MAP_FAILED)
		return NULL;
	bottom = (void *)(memory + LP_SHADOW_ROOM + LP_SHADOW_SIZE);
	thread = (void *)(bottom + 2);
	thread->memory = memory;
	thread->bottom = bottom;
	thread->bottom[0] = (uint64_t)jit->stubs.bottom;
	thread->bottom[1] = LP_SHADOW_NOWHERE;
	thread->jumps = (void *)(memory + LP_SHADOW_ROOM + LP_SHADOW_SIZE + LP_PAGE);
	/* Any program comes to use all of it, a page at a time; a thread may not. */
	if (is_main)
		lp_code_populate(thread->jumps, JUMPS_SIZE, true);
	thread->jumps[0].pc = NO_PC; /* the others are 0 already */
	return thread;
}

static void free_thread(struct lp_jit_thread *thread)
{
	munmap(thread->memory, THREAD_MEMORY);
}

/* Of a thread that has ended, with jumps that are as good for another: slots stay where they are until all are forgotten. */
static struct lp_jit_thread *take_idle(struct lp_jit *jit)
{
	struct lp_jit_thread *thread;

	pthread_mutex_lock(&jit->lock);
	thread = jit->idle;
	if (thread) {
		jit->idle = thread->next;
		jit->nr_idle--;
	}
	pthread_mutex_unlock(&jit->lock);
	return thread;
}

/* With the lock. */
static void forget_idle(struct lp_jit *jit)
{
	while (jit->idle) {
		struct lp_jit_thread *thread = jit->idle;
		jit->idle = thread->next;
		free_thread(thread);
	}
	jit->nr_idle = 0;
}

static bool begin_thread(struct lp_jit *jit, struct lp_cpu *cpu)
{
	struct lp_jit_thread *thread = take_idle(jit);

	if (!thread)
		thread = new_thread(jit, cpu == &cpu->emu->main->cpu);
	if (!thread)
		return false;
	thread->is_loose = false;
	cpu->jit.shadow_base = (uint64_t)thread->bottom;
	cpu->jit.shadow_limit = (uint64_t)thread->memory + LP_SHADOW_ROOM;
	cpu->jit.jumps = thread->jumps;
	empty_shadow(cpu);
	cpu->engine = thread;
	return true;
}

static void thread_ended(struct lp_cpu *cpu)
{
	struct lp_jit *jit = jit_of(cpu->emu);
	struct lp_jit_thread *thread = cpu->engine;

	if (!thread)
		return;
	cpu->engine = NULL;
	pthread_mutex_lock(&jit->lock);
	if (jit->nr_idle < MOST_IDLE) {
		thread->next = jit->idle;
		jit->idle = thread;
		jit->nr_idle++;
		thread = NULL;
	}
	pthread_mutex_unlock(&jit->lock);
	if (thread)
		free_thread(thread);
}

/* ---- running ---- */

/* At a function that has just been called: flags mean nothing there (AAPCS64 6.1), and who is at its first instruction is
 * not yet in it, which matters to who patches it. */
static bool is_called(const struct lp_cpu *cpu)
{
	uint32_t word;

	if (lp_mem_get(cpu->x[30] - 4, &word))
		return false;
	if ((word & 0xfffffc1f) == 0xd63f0000) /* blr */
		return cpu->x[word >> 5 & 31] == cpu->pc;
	return word >> 26 == 0x25 && cpu->x[30] - 4 + (uint64_t)(lp_signed_field(word, 0, 26) * 4) == cpu->pc;
}

/* On to where the flags are what they should be. */
static void settle(struct lp_cpu *cpu)
{
	struct lp_jit_thread *thread = cpu->engine;
	uint64_t branch = cpu->branch;

	if (!thread || !thread->is_loose)
		return;
	thread->is_loose = false;
	for (unsigned i = 0; i < SETTLE_MAX && cpu->leave == LP_LEAVE_LOOKUP && !is_called(cpu) &&
			     lp_jit_flags_are_unasked(jit_of(cpu->emu), cpu->pc);
	     i++)
		lp_cpu_step(cpu);
	cpu->branch = branch;
}

/* The guest's words are not those that were translated.  What is left to the interpreter looks for itself. */
static bool has_changed(const struct lp_unit *unit)
{
	uint32_t words[LP_LONG_UNIT_MAX];

	return !unit->interpreted && unit->nr_insns <= LP_LONG_UNIT_MAX &&
	       (lp_mem_read(unit->range.start, words, unit->nr_insns * 4) ||
		memcmp(words, unit->words, unit->nr_insns * 4) != 0);
}

/* The slot at pc, or NULL: what was missed where it stands, it stands at most of the time. */
static struct lp_jit_slot *find_slot(struct lp_jit *jit, struct lp_cpu *cpu)
{
	struct lp_jit_slot *missed = cpu->jit.missed;

	cpu->jit.missed = NULL;
	return missed && missed->pc == cpu->pc ? missed : lp_jit_slot_find(jit, cpu->pc);
}

static const struct lp_unit *unit_of(struct lp_jit_slot *slot)
{
	return slot ? atomic_load_explicit(&slot->unit, memory_order_acquire) : NULL;
}

/* Its unit, made now if need be; NULL: the interpreter's turn.  *slot: lp_jit_slot_find() before, the unit's behind it. */
static const struct lp_unit *find_unit(struct lp_jit *jit, uint64_t pc, struct lp_jit_slot **slot)
{
	const struct lp_unit *unit = unit_of(*slot);

	if (unit && jit->emu->options.smc_strict && has_changed(unit)) {
		lp_jit_invalidate(jit, unit->range);
		unit = NULL;
	}
	if (!unit && !atomic_load_explicit(&jit->gives_up, memory_order_relaxed)) {
		*slot = lp_translate(jit, pc, *slot);
		unit = unit_of(*slot);
	}
	if (unit && lp_jit_is_hot(jit, *slot)) {
		lp_translate_hot(jit, *slot);
		unit = unit_of(*slot);
	}
	return unit && !unit->interpreted ? unit : NULL;
}

/*
 * Most code of most programs is executed once, and to translate an instruction takes as long as to interpret it several times.
 * What has been come to is noted by the hash of its pc; of two with the same one the second does not wait.  Children of a fork
 * share the notes, as what each of them executes once is executed often.  Threads may lose each other's notes: no harm.
 */
static _Atomic uint8_t *note_of(const struct lp_jit *jit, uint64_t pc)
{
	return &jit->seen[(pc >> 2 ^ pc >> 20) % LP_SEEN_BYTES];
}

static bool is_first_time(struct lp_jit *jit, uint64_t pc)
{
	_Atomic uint8_t *note = note_of(jit, pc);

	if (atomic_load_explicit(note, memory_order_relaxed))
		return false;
	atomic_store_explicit(note, LP_SEEN_ONLY, memory_order_relaxed);
	return true;
}

static void note_executed(struct lp_jit *jit, uint64_t pc, size_t nr)
{
	if (nr && nr < LP_SEEN_ONLY)
		atomic_store_explicit(note_of(jit, pc), (uint8_t)nr, memory_order_relaxed);
}

unsigned lp_jit_executed(const struct lp_jit *jit, uint64_t pc)
{
	unsigned nr = jit->seen ? atomic_load_explicit(note_of(jit, pc), memory_order_relaxed) : 0;

	return nr == LP_SEEN_ONLY ? 0 : nr;
}

static _Atomic uint8_t *new_notes(void)
{
	void *notes = mmap(NULL, LP_SEEN_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return notes == MAP_FAILED ? NULL : notes;
}

/* Nobody has been here yet, nor has an earlier run found that it pays. */
static bool waits(struct lp_jit *jit, uint64_t pc, struct lp_jit_slot *slot)
{
	return jit->seen && !unit_of(slot) && is_first_time(jit, pc) && !lp_cache_has(jit, pc);
}

/* Flags that nobody asked for may still be of some time ago behind it, but not where it ends otherwise than by a branch: up to
 * there they were written, or the thread stands before a fault. */
static void interpret_once(struct lp_cpu *cpu, bool was_loose)
{
	struct lp_jit_thread *thread = cpu->engine;
	uint64_t pc = cpu->pc;

	note_executed(jit_of(cpu->emu), pc, lp_cpu_run_once(cpu));
	if (thread)
		thread->is_loose = was_loose && cpu->leave == LP_LEAVE_LOOKUP;
}

static bool run(struct lp_cpu *cpu)
{
	struct lp_jit *jit = jit_of(cpu->emu);
	struct lp_jit_thread *thread = cpu->engine;
	bool was_loose = thread && thread->is_loose;
	const struct lp_unit *unit;
	struct lp_jit_slot *slot;

	cpu->pc = lp_untagged(cpu->pc);
	if (thread)
		thread->is_loose = false;
	slot = find_slot(jit, cpu);
	if (waits(jit, cpu->pc, slot)) {
		interpret_once(cpu, was_loose);
		return true;
	}
	/* Translated code relies on both. */
	if (cpu->fp_exact || cpu->x[LP_SP] & 15)
		return false;
	if (!thread && !begin_thread(jit, cpu))
		return false;
	thread = cpu->engine;
	unit = find_unit(jit, cpu->pc, &slot);
	if (!unit)
		return false;
	cpu->btype = 0;
	((struct lp_jump_entry *)cpu->jit.jumps)[cpu->pc >> 2 & (LP_JUMPS - 1)] = (struct lp_jump_entry){cpu->pc, slot};
	if (jit->checks)
		lp_check_run(jit, cpu, unit);
	else
		jit->stubs.enter(cpu, atomic_load_explicit(&slot->code, memory_order_acquire));
	thread->is_loose = cpu->leave == LP_LEAVE_LOOKUP;
	return true;
}

/* ---- faults ---- */

static const greg_t host_register[] = {
	[LP_RAX] = REG_RAX, [LP_RCX] = REG_RCX, [LP_RDX] = REG_RDX, [LP_RBX] = REG_RBX,
	[LP_RSP] = REG_RSP, [LP_RBP] = REG_RBP, [LP_RSI] = REG_RSI, [LP_RDI] = REG_RDI,
	[LP_R8] = REG_R8,   [LP_R9] = REG_R9,	[LP_R10] = REG_R10, [LP_R11] = REG_R11,
	[LP_R12] = REG_R12, [LP_R13] = REG_R13, [LP_R14] = REG_R14, [LP_R15] = REG_R15,
};

static unsigned insn_at(const struct lp_unit *u, uint32_t offset)
{
	unsigned i = 0;

	while (i + 1 < u->nr_insns && u->offsets[i + 1] <= offset)
		i++;
	return i;
}

/* xmm16 and above, where the kernel has put them (Intel's manual, volume 1, 13.4: the standard format; asm/sigcontext.h). */
enum { XSTATE_MAGIC = 0x46505853, XSTATE_HEADER = 512, XSTATE_HIGH = 7, HIGH_SIZE = 16 * 64 };

static void take_high(union lp_vreg *to, const struct _libc_fpstate *fp, unsigned offset, unsigned host)
{
	const char *area = (const char *)fp;
	struct _fpx_sw_bytes sw;
	uint64_t present;

	memset(to, 0, sizeof *to); /* what is not there has its first value */
	memcpy(&sw, fp->__glibc_reserved1 + 12, sizeof sw);
	if (sw.magic1 != XSTATE_MAGIC || !offset || offset + HIGH_SIZE > sw.xstate_size)
		return;
	memcpy(&present, area + XSTATE_HEADER, sizeof present);
	if (present >> XSTATE_HIGH & 1)
		memcpy(to, area + offset + (host - 16) * 64, sizeof *to);
}

/* Those that are in host registers alone. */
static void take_vectors(struct lp_cpu *cpu, const struct lp_unit *unit, const ucontext_t *context)
{
	const struct _libc_fpstate *fp = context->uc_mcontext.fpregs;
	struct lp_v_dirty dirty;

	lp_v_dirty_at(unit->v_notes, unit->nr_v_notes,
		      (uint32_t)((uint64_t)context->uc_mcontext.gregs[REG_RIP] - (uint64_t)unit->code), &dirty);
	for (unsigned v = 0; v < 32; v++)
		if (!(dirty.mask >> v & 1))
			continue;
		else if (dirty.host[v] >= 16)
			take_high(&cpu->vr[v], fp, lp_host_high_at(), dirty.host[v]);
		else
			memcpy(&cpu->vr[v], &fp->_xmm[dirty.host[v]], sizeof cpu->vr[v]);
}

static const struct lp_uop *faulted(struct lp_cpu *cpu, const ucontext_t *context)
{
	const greg_t *regs = context->uc_mcontext.gregs;
	const struct lp_unit *unit = lp_code_find(jit_of(cpu->emu), (uint64_t)regs[REG_RIP]);
	struct lp_jit_thread *thread = cpu->engine;
	const int8_t *pin;
	unsigned i;

	if (!unit || !thread)
		return NULL;
	/* Cold code touches no guest memory. */
	pin = unit->region ? unit->region->pin : lp_pin;
	i = insn_at(unit, (uint32_t)((uint64_t)regs[REG_RIP] - (uint64_t)unit->code));
	for (unsigned r = 0; r < LP_NR_X; r++)
		if (pin[r] >= 0)
			cpu->x[r] = (uint64_t)regs[host_register[pin[r]]];
	take_vectors(cpu, unit, context);
	lp_flags_set_from(cpu, unit->flags_at[i], (uint64_t)regs[REG_EFL]);
	cpu->jit.shadow_sp = (uint64_t)regs[REG_RSP];
	thread->at = (struct lp_uop){.word = unit->words[i], .pc = unit->range.start + i * 4};
	if (cpu->emu->options.stats)
		cpu->nr_insns -= unit->region ? unit->region->nr_behind[i] : unit->nr_insns - i - 1;
	return &thread->at;
}

/* ---- forgetting ---- */

static void invalidate(struct lp_emu *emu, struct lp_range range)
{
	lp_jit_invalidate(jit_of(emu), range);
}

static void expect(struct lp_emu *emu, struct lp_range range)
{
	lp_jit_expect(jit_of(emu), range);
}

static bool is_littered(const struct lp_emu *emu)
{
	const struct lp_jit *jit = jit_of(emu);

	return atomic_load_explicit(&jit->dead_bytes, memory_order_relaxed) > jit->max_dead ||
	       atomic_load_explicit(&jit->is_full, memory_order_relaxed);
}

static void reclaim(struct lp_emu *emu)
{
	struct lp_jit *jit = jit_of(emu);

	if (!is_littered(emu))
		return;
	pthread_mutex_lock(&jit->lock);
	for (struct lp_guest_thread *t = lp_guest_threads(emu); t; t = t->next)
		if (t->cpu.engine) {
			empty_shadow(&t->cpu);
			forget_jumps(&t->cpu);
			t->cpu.jit.missed = NULL;
		}
	forget_idle(jit);
	/* What has become full at once will again. */
	if (atomic_load_explicit(&jit->is_full, memory_order_relaxed) && jit->nr_since < WORTH_A_FLUSH)
		atomic_store_explicit(&jit->gives_up, true, memory_order_relaxed);
	lp_jit_flush(jit);
	atomic_store_explicit(&jit->is_full, false, memory_order_relaxed);
	pthread_mutex_unlock(&jit->lock);
}

/* ---- fork ---- */

static void forking(struct lp_emu *emu)
{
	lp_children_expect(jit_of(emu));
}

static void lock(struct lp_emu *emu)
{
	pthread_mutex_lock(&jit_of(emu)->lock);
}

static void unlock(struct lp_emu *emu)
{
	pthread_mutex_unlock(&jit_of(emu)->lock);
}

/* What there is the parent goes on writing. */
static void forked(struct lp_emu *emu)
{
	lp_code_freeze(jit_of(emu));
	lp_children_forked(jit_of(emu));
}

/* ---- life ---- */

/* Rows of features that the guest is not offered are the interpreter's, which knows what to do about them. */
static void fill_table(struct lp_jit *jit)
{
	static const struct lp_emit_row *const tables[] = {
		lp_emit_integer,     lp_emit_branch,	lp_emit_memory,	    lp_emit_vector_memory,
		lp_emit_atomic,	     lp_emit_fp,	lp_emit_fp_convert, lp_emit_fp_vector,
		lp_emit_simd_across, lp_emit_simd_move, lp_emit_simd_same,  lp_emit_simd_saturate,
		lp_emit_simd_shift,  lp_emit_simd_wide, lp_emit_crypto,	    lp_emit_struct,
	};

	for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
		for (const struct lp_emit_row *row = tables[i]; row->emit; row++)
			if (lp_cpu_offers(lp_a64_row(row->op)->feature))
				jit->emit[row->op] = row->emit;
}

static const struct lp_engine engine = {
	.run = run,
	.settle = settle,
	.faulted = faulted,
	.expect = expect,
	.invalidate = invalidate,
	.is_littered = is_littered,
	.reclaim = reclaim,
	.thread_ended = thread_ended,
	.forking = forking,
	.lock = lock,
	.unlock = unlock,
	.forked = forked,
};

int lp_jit_attach(struct lp_emu *emu, const struct lp_jit_options *options, struct lp_err *err)
{
	struct lp_jit *jit;
	int rc;

	if (!lp_host_can())
		return lp_fail(err, ENOTSUP, "this CPU has no SSE4.2 and POPCNT: nothing is translated");
	jit = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (jit == MAP_FAILED)
		return lp_fail_sys(err, errno, "no memory for the translator");
	jit->tr = (void *)((char *)jit + lp_align_up(sizeof *jit, LP_PAGE));
	jit->emu = emu;
	jit->host = lp_host_usable(lp_host_features() & ~options->without);
	jit->checks = options->checks;
	jit->made = options->made;
	jit->made_arg = options->made_arg;
	jit->before = jit->tr + 1;
	jit->cold = options->made ? lp_alloc(LP_COLD_MAX * sizeof jit->cold[0]) : NULL;
	/* What is in a region is not all looked at when it is come to. */
	if (emu->options.smc_strict)
		jit->tier = LP_JIT_TIER1;
	else
		jit->tier = options->checks && options->tier == LP_JIT_BOTH ? LP_JIT_TIER1 : options->tier;
	jit->hot = options->hot ? options->hot : HOT;
	jit->max_slots = options->max_slots ? options->max_slots : LP_SLOTS;
	jit->max_segments = options->max_segments ? options->max_segments : LP_SEGMENTS;
	jit->max_dead = options->max_dead ? options->max_dead : DEAD_LIMIT;
	if (options->waits)
		jit->seen = new_notes();
	pthread_mutex_init(&jit->lock, NULL);
	fill_table(jit);
	rc = lp_code_make(jit, err);
	if (rc == 0 && lp_stubs_make(jit))
		rc = lp_fail(err, ENOMEM, "nothing is translated: its memory is too far apart");
	if (rc) {
		lp_code_unmake(jit);
		if (jit->seen)
			munmap((void *)jit->seen, LP_SEEN_BYTES);
		lp_free(jit->cold);
		munmap(jit, MEMORY);
		return rc;
	}
	emu->engine_data = jit;
	emu->engine = &engine;
	/* What is compared must be what is made now; and where there is a unit already no region is tried. */
	if (options->cache_bytes && !jit->checks && jit->tier == LP_JIT_TIER1)
		lp_cache_begin(jit, options->cache_bytes);
	return 0;
}

void lp_jit_stats(struct lp_emu *emu, struct lp_jit_stats *out)
{
	struct lp_jit *jit = jit_of(emu);

	pthread_mutex_lock(&jit->lock);
	*out = jit->stats;
	out->host = jit->host;
	out->units -= out->loaded;
	out->insns -= out->loaded_insns;
	out->compared = atomic_load_explicit(&jit->nr_compared, memory_order_relaxed);
	pthread_mutex_unlock(&jit->lock);
}
