#include "machine.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unicorn/unicorn.h>

#include "base/bits.h"

#define LOW_SIZE 0x10000u /* what null pointers with offsets point to */
#define HEAP UINT64_C(0x20000000)
#define HEAP_SIZE 0x100000u
#define STACK UINT64_C(0x30000000)
#define STACK_SIZE 0x40000u
#define STEPS_MAX 400

struct reg {
	int id;
	const char *name;
	enum {
		NUMBER,	 /* 8 bytes */
		SCRATCH, /* ... that may change between functions */
		VECTOR,	 /* 16 bytes */
		CONTROL, /* begins as it is in a fresh machine */
	} what;
};

/* What is different between instruction sets. */
struct kind {
	uint16_t machine;
	uc_arch arch;
	uc_mode mode;
	int cpu;
	int pc, sp, thread, flags;
	uint64_t flags_mask, flags_fixed;
	unsigned red_zone;
	const struct reg *regs;
	size_t nr_regs;
	void (*prepare)(uc_engine *uc);
};

#define X(name, what)                          \
	{                                      \
		UC_X86_REG_##name, #name, what \
	}
#define X8(name, what)                                                                                              \
	X(name##0, what), X(name##1, what), X(name##2, what), X(name##3, what), X(name##4, what), X(name##5, what), \
		X(name##6, what), X(name##7, what)
static const struct reg x64_regs[] = {
	X(RAX, NUMBER),	  X(RCX, NUMBER),   X(RDX, NUMBER),   X(RBX, NUMBER),	X(RSP, NUMBER),	   X(RBP, NUMBER),
	X(RSI, NUMBER),	  X(RDI, NUMBER),   X(R8, NUMBER),    X(R9, NUMBER),	X(R10, NUMBER),	   X(R11, NUMBER),
	X(R12, NUMBER),	  X(R13, NUMBER),   X(R14, NUMBER),   X(R15, NUMBER),	X(EFLAGS, NUMBER), X8(XMM, VECTOR),
	X(XMM8, VECTOR),  X(XMM9, VECTOR),  X(XMM10, VECTOR), X(XMM11, VECTOR), X(XMM12, VECTOR),  X(XMM13, VECTOR),
	X(XMM14, VECTOR), X(XMM15, VECTOR), X8(ST, CONTROL),  X(FPSW, CONTROL), X(MXCSR, CONTROL),
};

#define A(name, what)                            \
	{                                        \
		UC_ARM64_REG_##name, #name, what \
	}
#define A10(t, what)                                                                                             \
	A(t##0, what), A(t##1, what), A(t##2, what), A(t##3, what), A(t##4, what), A(t##5, what), A(t##6, what), \
		A(t##7, what), A(t##8, what), A(t##9, what)
static const struct reg a64_regs[] = {
	A10(X, NUMBER), A(X10, NUMBER),	 A(X11, NUMBER),  A(X12, NUMBER),  A(X13, NUMBER),
	A(X14, NUMBER), A(X15, NUMBER),	 A(X16, SCRATCH), A(X17, SCRATCH), A(X18, NUMBER),
	A(X19, NUMBER), A10(X2, NUMBER), A(X30, NUMBER),  A(SP, NUMBER),   A(NZCV, NUMBER),
	A10(Q, VECTOR), A10(Q1, VECTOR), A10(Q2, VECTOR), A(Q30, VECTOR),  A(Q31, VECTOR),
};
_Static_assert(LP_ARRAY_SIZE(a64_regs) <= MACHINE_REGS, "every register has its place");

static void enable_vectors(uc_engine *uc)
{
	uint64_t fpen = 3 << 20;

	uc_reg_write(uc, UC_ARM64_REG_CPACR_EL1, &fpen);
}

static void nothing(uc_engine *uc)
{
	(void)uc;
}

static const struct kind kinds[] = {
	{
		.machine = EM_X86_64,
		.arch = UC_ARCH_X86,
		.mode = UC_MODE_64,
		.cpu = -1,
		.pc = UC_X86_REG_RIP,
		.sp = UC_X86_REG_RSP,
		.thread = UC_X86_REG_FS_BASE,
		.flags = UC_X86_REG_EFLAGS,
		.flags_mask = 0xcd5, /* overflow, direction, sign, zero, adjust, parity, carry */
		.flags_fixed = 0x2,
		.red_zone = 128,
		.regs = x64_regs,
		.nr_regs = LP_ARRAY_SIZE(x64_regs),
		.prepare = nothing,
	},
	{
		.machine = EM_AARCH64,
		.arch = UC_ARCH_ARM64,
		.mode = UC_MODE_ARM,
		.cpu = UC_CPU_ARM64_MAX,
		.pc = UC_ARM64_REG_PC,
		.sp = UC_ARM64_REG_SP,
		.thread = UC_ARM64_REG_TPIDR_EL0,
		.flags = UC_ARM64_REG_NZCV,
		.flags_mask = 0xf0000000,
		.red_zone = 0,
		.regs = a64_regs,
		.nr_regs = LP_ARRAY_SIZE(a64_regs),
		.prepare = enable_vectors,
	},
};

struct write {
	lp_addr at;
	unsigned len;
	uint8_t before[64];
};

struct machine {
	const struct kind *kind;
	uc_engine *uc;
	uc_context *fresh;
	struct machine_state start;
	/* of the run that is on: */
	struct run *run;
	unsigned steps;
	LP_VEC(struct write) writes;
};

static void check(uc_err rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "%s: %s\n", what, uc_strerror(rc));
	abort();
}

/* ---- numbers that look like those of a program ---- */

static uint64_t next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	return *seed ^= *seed << 17;
}

static uint64_t pointer_or_number(uint64_t *seed)
{
	uint64_t v = next(seed);

	switch (v >> 60) {
	case 0:
		return 0;
	case 1:
	case 2:
		return v >> 8 & 0xff;
	case 3:
		return v >> 8 & 0xffffffff;
	case 4:
		return -(v >> 8 & 0xfff);
	default:
		return HEAP + HEAP_SIZE / 4 + (v >> 8) % (HEAP_SIZE / 2) / 8 * 8;
	}
}

static void fill(struct machine *m, lp_addr at, size_t size, uint64_t *seed)
{
	uint64_t *words = lp_alloc(size);

	for (size_t i = 0; i < size / 8; i++)
		words[i] = pointer_or_number(seed);
	machine_write(m, at, words, size);
	lp_free(words);
}

static size_t reg_index(const struct machine *m, int id)
{
	for (size_t i = 0;; i++) {
		if (m->kind->regs[i].id == id)
			return i;
	}
}

static uint64_t *general(const struct machine *m, struct machine_state *s, int id)
{
	return (uint64_t *)s->regs[reg_index(m, id)];
}

void machine_shuffle(struct machine *m, uint64_t seed)
{
	const struct kind *k = m->kind;

	seed = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	uc_context_restore(m->uc, m->fresh);
	for (size_t i = 0; i < k->nr_regs; i++) {
		uint64_t v[2] = {pointer_or_number(&seed), next(&seed)};

		memset(m->start.regs[i], 0, sizeof m->start.regs[i]);
		if (k->regs[i].what == CONTROL)
			uc_reg_read(m->uc, k->regs[i].id, m->start.regs[i]);
		else
			memcpy(m->start.regs[i], v, k->regs[i].what == VECTOR ? 16 : 8);
	}
	*general(m, &m->start, k->sp) = STACK + STACK_SIZE / 2 + (next(&seed) & 0xfff0);
	*general(m, &m->start, k->flags) = (next(&seed) & k->flags_mask) | k->flags_fixed;
}

/* ---- opening ---- */

static void write_begins(uc_engine *uc, uc_mem_type type, uint64_t at, int size, int64_t value, void *arg)
{
	struct machine *m = arg;
	struct write *w = lp_vec_add(&m->writes);

	w->at = at;
	w->len = (unsigned)size < sizeof w->before ? (unsigned)size : sizeof w->before;
	if (uc_mem_read(uc, at, w->before, w->len))
		m->writes.nr--; /* it will fault */
}

static void insn_begins(uc_engine *uc, uint64_t at, uint32_t size, void *arg)
{
	struct machine *m = arg;
	struct run *r = m->run;

	if (!lp_range_has(r->stay, at))
		r->end = RUN_LEFT;
	else if (at == r->stop_at && m->steps)
		r->end = RUN_STOPPED;
	else if (m->steps++ == STEPS_MAX)
		r->end = RUN_ENDLESS;
	else
		return;
	r->pc = at;
	uc_emu_stop(uc);
}

static const struct kind *kind_of(const struct lp_isa *isa)
{
	for (size_t i = 0;; i++) {
		if (kinds[i].machine == isa->elf_machine)
			return &kinds[i];
	}
}

struct machine *machine_open(const struct lp_isa *isa)
{
	struct machine *m = lp_alloc(sizeof *m);
	uint64_t seed = 88172645463325252u;
	uc_hook hook;

	m->kind = kind_of(isa);
	check(uc_open(m->kind->arch, m->kind->mode, &m->uc), "uc_open");
	if (m->kind->cpu >= 0)
		check(uc_ctl_set_cpu_model(m->uc, m->kind->cpu), "uc_ctl_set_cpu_model");
	machine_map(m, 0, LOW_SIZE);
	machine_map(m, HEAP, HEAP_SIZE);
	machine_map(m, STACK, STACK_SIZE);
	fill(m, 0, LOW_SIZE, &seed);
	fill(m, HEAP, HEAP_SIZE, &seed);
	fill(m, STACK, STACK_SIZE, &seed);
	m->kind->prepare(m->uc);
	uc_reg_write(m->uc, m->kind->thread, &(uint64_t){HEAP + HEAP_SIZE / 2});
	check(uc_hook_add(m->uc, &hook, UC_HOOK_MEM_WRITE, (void *)write_begins, m, 1, 0), "uc_hook_add");
	check(uc_hook_add(m->uc, &hook, UC_HOOK_CODE, (void *)insn_begins, m, 1, 0), "uc_hook_add");
	check(uc_context_alloc(m->uc, &m->fresh), "uc_context_alloc");
	check(uc_context_save(m->uc, m->fresh), "uc_context_save");
	return m;
}

void machine_close(struct machine *m)
{
	uc_context_free(m->fresh);
	uc_close(m->uc);
	lp_vec_free(&m->writes);
	lp_free(m);
}

void machine_map(struct machine *m, lp_addr at, size_t size)
{
	check(uc_mem_map(m->uc, at, lp_align_up(size, LP_PAGE), UC_PROT_READ | UC_PROT_WRITE), "uc_mem_map");
}

void machine_map_code(struct machine *m, lp_addr at, size_t size)
{
	lp_addr start = lp_align_down(at, LP_PAGE), end = lp_align_up(at + size, LP_PAGE);

	check(uc_mem_protect(m->uc, start, end - start, UC_PROT_ALL), "uc_mem_protect");
}

void machine_write(struct machine *m, lp_addr at, const void *bytes, size_t len)
{
	check(uc_mem_write(m->uc, at, bytes, len), "uc_mem_write");
}

/* ---- running ---- */

static int by_address(const void *a, const void *b)
{
	const struct touched *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

static void undo(struct machine *m)
{
	while (m->writes.nr) {
		const struct write *w = &m->writes.items[--m->writes.nr];

		uc_mem_write(m->uc, w->at, w->before, w->len);
	}
}

/* Each byte once, although several writes may have hit it. */
static void sort(struct run *r)
{
	size_t kept = 0;

	if (r->memory.nr)
		qsort(r->memory.items, r->memory.nr, sizeof *r->memory.items, by_address);
	for (size_t i = 0; i < r->memory.nr; i++) {
		if (!kept || r->memory.items[kept - 1].at != r->memory.items[i].at)
			r->memory.items[kept++] = r->memory.items[i];
	}
	r->memory.nr = kept;
}

static void collect(struct machine *m, struct run *r)
{
	for (size_t i = 0; i < m->writes.nr; i++) {
		for (unsigned k = 0; k < m->writes.items[i].len; k++) {
			struct touched *t = lp_vec_add(&r->memory);

			t->at = m->writes.items[i].at + k;
			uc_mem_read(m->uc, t->at, &t->after, 1);
		}
	}
	undo(m);
	for (size_t i = 0; i < r->memory.nr; i++)
		uc_mem_read(m->uc, r->memory.items[i].at, &r->memory.items[i].before, 1);
	sort(r);
}

static void load_state(struct machine *m, const struct machine_state *s)
{
	uc_context_restore(m->uc, m->fresh);
	for (size_t i = 0; i < m->kind->nr_regs; i++)
		uc_reg_write(m->uc, m->kind->regs[i].id, s->regs[i]);
}

static void save_state(struct machine *m, struct machine_state *s)
{
	memset(s, 0, sizeof *s);
	for (size_t i = 0; i < m->kind->nr_regs; i++)
		uc_reg_read(m->uc, m->kind->regs[i].id, s->regs[i]);
}

/* Where the emulator itself stops, between two blocks.  In the midst of one its flags are not always up to date. */
static lp_addr until(const struct run *r)
{
	return r->stop_at ? r->stop_at : r->stay.end;
}

/* How the run ended, when insn_begins() did not see it; false: it did not, an exit of an earlier run was in the way. */
static bool find_end(struct machine *m, struct run *r, uc_err rc)
{
	uc_reg_read(m->uc, m->kind->pc, &r->pc);
	if (!rc && r->stop_at && r->pc == r->stop_at)
		r->end = RUN_STOPPED;
	else if (!lp_range_has(r->stay, r->pc))
		r->end = RUN_LEFT;
	else
		return rc != UC_ERR_OK;
	return true;
}

void machine_run(struct machine *m, struct run *r)
{
	uc_err rc;

	if (!r->go_on) {
		undo(m);
		load_state(m, &m->start);
	}
	m->run = r;
	m->steps = 0;
	r->end = RUN_FAULT;
	do
		rc = uc_emu_start(m->uc, r->pc, until(r), 0, 0);
	while (r->end == RUN_FAULT && !find_end(m, r, rc));
	save_state(m, &r->state);
	if (!r->keep)
		collect(m, r);
}

void run_free(struct run *r)
{
	lp_vec_free(&r->memory);
}

/* ---- comparing ---- */

static const struct touched *find(const struct run *r, lp_addr at)
{
	const struct touched key = {.at = at};

	return r->memory.nr ? bsearch(&key, r->memory.items, r->memory.nr, sizeof key, by_address) : NULL;
}

static bool registers_differ(struct machine *m, const struct run *a, const struct run *b, struct allowance may,
			     struct lp_buf *why)
{
	for (size_t i = 0; i < m->kind->nr_regs; i++) {
		const struct reg *r = &m->kind->regs[i];

		if (!memcmp(a->state.regs[i], b->state.regs[i], 16) || (r->what == SCRATCH && may.scratch_registers))
			continue;
		lp_buf_printf(why, "%s is %" PRIx64 "'%016" PRIx64 " instead of %" PRIx64 "'%016" PRIx64, r->name,
			      lp_get64(b->state.regs[i] + 8), lp_get64(b->state.regs[i]),
			      lp_get64(a->state.regs[i] + 8), lp_get64(a->state.regs[i]));
		return true;
	}
	return false;
}

static lp_addr stack_floor(struct machine *m, const struct run *a, struct allowance may)
{
	size_t sp = reg_index(m, m->kind->sp);
	lp_addr before = may.below_stack == DEAD_ALL ? 0 : lp_get64(m->start.regs[sp]),
		after = lp_get64(a->state.regs[sp]);

	return (before > after ? before : after) - (may.below_stack == DEAD_ALL ? 0 : m->kind->red_zone);
}

static bool memory_differs(struct machine *m, const struct run *a, const struct run *b, struct allowance may,
			   struct lp_buf *why)
{
	const lp_addr floor = may.below_stack ? stack_floor(m, a, may) : 0;

	for (size_t i = 0; i < a->memory.nr; i++) {
		const struct touched *x = &a->memory.items[i], *y = find(b, x->at);
		uint8_t after = y ? y->after : x->before;

		if (after == x->after)
			continue;
		lp_buf_printf(why, "the byte at " LP_ADDR " is %02x instead of %02x", x->at, after, x->after);
		return true;
	}
	for (size_t i = 0; i < b->memory.nr; i++) {
		const struct touched *y = &b->memory.items[i];

		if (y->after == y->before || find(a, y->at) || (y->at < floor && floor - y->at < 4096))
			continue;
		lp_buf_printf(why, "the byte at " LP_ADDR " has become %02x", y->at, y->after);
		return true;
	}
	return false;
}

bool machine_differ(struct machine *m, const struct run *a, const struct run *b, struct allowance may,
		    struct lp_buf *why)
{
	if (a->end != b->end) {
		lp_buf_printf(why, "ends by %d at " LP_ADDR " instead of by %d at " LP_ADDR, b->end, b->pc, a->end,
			      a->pc);
		return true;
	}
	return registers_differ(m, a, b, may, why) || memory_differs(m, a, b, may, why);
}
