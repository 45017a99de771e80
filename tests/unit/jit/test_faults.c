/*
 * A fault in every kind of memory access.  Each row of a64.def that loads or stores is the middle of a loop with flags and
 * vector registers that are used behind it, and its address is good at first and bad the last time round.  What is seen
 * when it faults, and what comes of it when memory has been put right, is the same by the interpreter, translated for this
 * host, translated for those that have less, and as a region.
 *
 * Rows are taken from the table: a new one is tested without a word here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emu/access_address.h"
#include "emu/emu.h"
#include "emu/fp.h"
#include "isa/a64/table.h"
#include "isa/isa.h"
#include "jit/jit.h"

enum { WORDS_OF_A_ROW = 3, ROUNDS = 3, MAX_SLOTS = 2400, SLOT = 24, TARGET = 9, PAGE = 4096, MAX_TOLD = 12 };

/* Code, and three pages, within reach of literals: a good one, one that is not what it should be, a good one. */
#define IC_IVAU UINT32_C(0xd50b7520) /* looks at no page here */
#define CODE UINT64_C(0x50000000)
#define DATA (CODE + (1 << 19))
#define BAD (DATA + PAGE)

/* What the middle page is, and where the access begins. */
enum page { UNMAPPED, NO_ACCESS, READ_ONLY, GOOD };
static const struct place {
	enum page page;
	uint64_t at;
} places[] = {
	{UNMAPPED, BAD + 0x340},      {UNMAPPED, BAD - 1},	   {UNMAPPED, BAD - 4},
	{UNMAPPED, BAD - 8},	      {UNMAPPED, BAD - 16},	   {UNMAPPED, BAD - 24},
	{UNMAPPED, BAD - 32},	      {UNMAPPED, BAD - 48},	   {NO_ACCESS, BAD + 0x348},
	{NO_ACCESS, BAD + PAGE - 1},  {NO_ACCESS, BAD + PAGE - 8}, {NO_ACCESS, BAD + PAGE - 16},
	{NO_ACCESS, BAD + PAGE - 48}, {READ_ONLY, BAD + 0x340},	   {READ_ONLY, BAD - 1},
	{READ_ONLY, BAD - 8},	      {READ_ONLY, BAD - 16},	   {READ_ONLY, BAD - 32},
	{READ_ONLY, BAD + PAGE - 8},  {GOOD, BAD + 0x341},
};
enum { NR_PLACES = sizeof places / sizeof places[0] };

/* Registers of the loop's own. */
enum { BASE_NOW = 23, SUM = 24, INDEX = 25, GOOD_BASE = 26, BAD_BASE = 27, LEFT = 28 };

struct slot {
	enum lp_a64_op op;
	uint32_t word;
	int8_t place; /* of a literal, whose address is its own; -1: any */
};

struct seen {
	uint64_t x[32], pc, v[32][2], addr, esr, memory;
	uint32_t nzcv, fpsr, signal, code;
};

struct outcome {
	struct seen fault, end;
	uint64_t nr_faults;
};

static struct {
	struct slot slots[MAX_SLOTS];
	size_t nr_slots;
	/* In memory that all processes share: what the interpreter has found. */
	struct outcome *expected;
	size_t *nr_faulted;
} all;

static uint64_t seed;
static uint64_t any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * UINT64_C(0x2545f4914f6cdd1d);
}

static void check(bool right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "%s\n", what);
	_exit(1);
}

/* ---- rows and words ---- */

/* DDI 0487 C4.1.88: loads and stores. */
static bool is_access(uint32_t word)
{
	return word >> 27 & 1 && !(word >> 25 & 1);
}
static bool is_literal(uint32_t word)
{
	return (word & 0x3b000000) == 0x18000000;
}
static bool is_prefetch(enum lp_a64_op op)
{
	return !strncmp(lp_a64_row(op)->name, "prf", 3);
}
/* dc and ic. */
static bool is_cache(uint32_t word)
{
	return word >> 24 == 0xd5;
}
static bool is_exclusive_store(uint32_t word)
{
	return (word & 0x3fc00000) == 0x08000000 && (word >> 31 || !(word >> 21 & 1));
}
/* ldraa, ldrab */
static bool is_signed(uint32_t word)
{
	return (word & 0xff200400) == 0xf8200400;
}
static bool is_indexed(uint32_t word)
{
	return (word & 0x3b200c00) == 0x38200800;
}
/* ldapur, stlur */
static bool is_ordered_unscaled(uint32_t word)
{
	return (word & 0x3f200c00) == 0x19000000;
}
static unsigned base_of(uint32_t word)
{
	return is_cache(word) ? word & 31 : word >> 5 & 31;
}
static bool is_own(unsigned reg)
{
	return reg >= BASE_NOW && reg <= LEFT;
}

/* Of a field that the row leaves free; what stands elsewhere is no register. */
static bool names_own(enum lp_a64_op op, uint32_t word, unsigned lsb)
{
	return !(lp_a64_row(op)->mask >> lsb & 31) && is_own(word >> lsb & 31);
}

static bool is_fit(enum lp_a64_op op, uint32_t word)
{
	if (!lp_a64_is(op, word) || names_own(op, word, 0) || names_own(op, word, 10) || names_own(op, word, 16))
		return false;
	if (is_literal(word))
		return true;
	if (is_own(base_of(word)) || (is_signed(word) && base_of(word) == 31))
		return false;
	if (is_ordered_unscaled(word) && base_of(word) == 31 && word >> 12 & 15) /* would never be aligned */
		return false;
	return base_of(word) != (word >> 16 & 31);
}

static void add_slot(enum lp_a64_op op, uint32_t word, int place)
{
	if (all.nr_slots == MAX_SLOTS)
		fail_msg("there are more rows than slots");
	all.slots[all.nr_slots++] = (struct slot){op, word, (int8_t)place};
}

static uint64_t pc_of(size_t slot)
{
	return CODE + (slot * SLOT + TARGET) * 4;
}

/* Each place is another word. */
static void add_literal(enum lp_a64_op op)
{
	const struct lp_a64_row *row = lp_a64_row(op);

	for (int p = 0; p < NR_PLACES; p++) {
		uint32_t offset = (uint32_t)((places[p].at & ~UINT64_C(3)) - pc_of(all.nr_slots)) >> 2;
		add_slot(op, row->match | (offset & 0x7ffff) << 5 | ((uint32_t)any() & ~row->mask & 15), p);
	}
}

static void add_row(enum lp_a64_op op)
{
	const struct lp_a64_row *row = lp_a64_row(op);

	for (unsigned i = 0; i < WORDS_OF_A_ROW; i++) {
		uint32_t word;
		do
			word = ((uint32_t)(any() >> 32) & ~row->mask) | row->match;
		while (!is_fit(op, word));
		add_slot(op, word, -1);
	}
}

static int choose_words(void **state)
{
	/* ic ivau; dc zva, cvac, cvau, civac: of x2, x9 */
	static const uint32_t caches[] = {IC_IVAU | 2, 0xd50b7422, 0xd50b7429, 0xd50b7a22, 0xd50b7b29, 0xd50b7e22};

	seed = 7;
	for (enum lp_a64_op op = 0; op < A64_OP_COUNT; op++) {
		const struct lp_a64_row *row = lp_a64_row(op);
		if (!is_access(row->match) || !(row->mask >> 25 & 1) || !lp_cpu_offers(row->feature))
			continue;
		if (is_literal(row->match))
			add_literal(op);
		else
			add_row(op);
	}
	for (size_t i = 0; i < sizeof caches / sizeof caches[0]; i++)
		add_slot(A64_OP_SYS, caches[i], -1);
	return 0;
}

/* ---- code ---- */

static uint32_t assembled(uint64_t at, const char *text)
{
	struct lp_err err = {0};
	uint8_t bytes[16];
	uint32_t word;
	size_t len;

	check(!lp_isa_of(EM_AARCH64)->assemble(text, at, NULL, bytes, sizeof bytes, &len, &err), err.text);
	memcpy(&word, bytes, sizeof word);
	return word;
}

/* What reads the address before, for a store that is only done then; or signs it. */
static uint32_t companion(uint32_t word)
{
	if (is_exclusive_store(word)) {
		word = (word & ~UINT32_C(31)) | UINT32_C(1) << 22 | UINT32_C(31) << 16 | SUM;
		return word >> 21 & 1 ? (word & ~(UINT32_C(31) << 10)) | INDEX << 10 : word | UINT32_C(31) << 10;
	}
	if (is_signed(word))
		return (word >> 23 & 1 ? 0xdac12fe0 : 0xdac12be0) | base_of(word); /* pacdzb, pacdza */
	return 0xd503201f;
}

static void write_slot(size_t s)
{
	/* Who writes the flags that are live at the access, and who reads them behind it. */
	static const char *const writes[] = {
		"cmp x24, x25", "adds x24, x24, x28", "ands xzr, x24, x28", "fcmp d22, d23", "nop", "cmp w24, w28"};
	static const char *const reads[] = {"cset x24, lt", "adc x24, x24, x24",    "cset x24, ne",
					    "cset x24, mi", "ccmp x24, #3, #5, eq", "cmp x24, #9"};
	const struct slot *slot = &all.slots[s];
	unsigned flags = (unsigned)(s % 6), n = base_of(slot->word), i = 0;
	uint32_t *w = (uint32_t *)(CODE + s * SLOT * 4), *loop = w;
#define PUT(text) (w[i] = assembled((uint64_t)&w[i], text), i++)
	PUT("cmp x28, #1");
	PUT("csel x23, x27, x26, eq");
	w[i++] = is_literal(slot->word) ? 0xd503201f : 0x910002e0 | n; /* add n|sp, x23, #0 */
	w[i++] = is_indexed(slot->word) && (slot->word >> 16 & 31) != 31
			 ? UINT32_C(0xaa1903e0) | (slot->word >> 16 & 31) /* mov m, x25 */
			 : 0xd503201f;
	PUT("add v20.4s, v20.4s, v21.4s");
	PUT("fmul d22, d22, d23");
	PUT("fadd v24.4s, v24.4s, v25.4s");
	w[i++] = companion(slot->word);
	PUT(writes[flags]);
	check(i == TARGET, "the access is where it should be");
	w[i++] = slot->word;
	PUT(reads[flags]);
	PUT("add v21.4s, v21.4s, v20.4s");
	PUT("fadd d23, d22, d23");
	PUT("sub x28, x28, #1");
	w[i] = 0xb5000000 | LEFT | ((uint32_t)(loop - (w + i)) & 0x7ffff) << 5; /* cbnz x28, loop */
	i++;
	PUT("brk #0");
	check(i <= SLOT, "a slot is too small");
#undef PUT
}

/* ---- one case after the other, on the guest's thread ---- */

struct driver {
	struct lp_emu *emu;
	const char *engine; /* NULL: the interpreter */
	bool has_regions;
	size_t slot, place;
	enum page page;		   /* what is in the middle now */
	uint64_t good, bad, index; /* registers */
	struct outcome now;
	unsigned nr_told;
};

static void fill(uint64_t from, uint64_t to)
{
	for (uint64_t at = from; at < to; at += 8)
		*(volatile uint64_t *)at = (at ^ at << 21) * UINT64_C(0x9e3779b97f4a7c15);
}

static void set_page(struct driver *d, enum page page)
{
	static const int prot[] = {0, PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE};

	if (d->page == page)
		return;
	if (page == UNMAPPED)
		check(!lp_mem_failed(lp_mem_unmap(d->emu, BAD, PAGE)), "munmap");
	else if (d->page == UNMAPPED)
		check(lp_mem_map(d->emu, BAD, PAGE, prot[page], MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == BAD,
		      "mmap");
	else
		check(!lp_mem_failed(lp_mem_protect(d->emu, BAD, PAGE, prot[page])), "mprotect");
	if (page == GOOD && d->page == UNMAPPED)
		fill(BAD, BAD + PAGE);
	d->page = page;
}

static uint64_t hash(uint64_t h, uint64_t from, uint64_t to)
{
	for (uint64_t at = from; at < to; at += 8) {
		h = (h ^ *(const volatile uint64_t *)at) * UINT64_C(0xff51afd7ed558ccd);
		h ^= h >> 31;
	}
	return h;
}

static const struct place *place_of(const struct driver *d)
{
	const struct slot *slot = &all.slots[d->slot];

	return &places[slot->place < 0 ? d->place : (size_t)slot->place];
}

/* Where the access that faults may have stored some of its bytes: how many is nobody's business (DDI 0487 B2.2.2). */
static bool is_torn(const struct driver *d, uint64_t page)
{
	return place_of(d)->at - page < PAGE && place_of(d)->page != GOOD;
}

static uint64_t hash_memory(const struct driver *d, bool at_fault)
{
	uint64_t torn = (place_of(d)->at & ~UINT64_C(15)) - 16, h = 1;
	bool bad_is_there = d->page == READ_ONLY || d->page == GOOD;

	if (!at_fault)
		return hash(1, DATA, BAD + 2 * PAGE);
	for (uint64_t page = DATA; page < BAD + 2 * PAGE; page += PAGE)
		if (page != BAD || bad_is_there)
			h = is_torn(d, page) ? hash(h, page, torn) : hash(h, page, page + PAGE);
	return h;
}

static void see(const struct driver *d, const struct lp_cpu *cpu, struct seen *s)
{
	*s = (struct seen){
		.pc = cpu->pc,
		.addr = cpu->fault.addr,
		.esr = cpu->fault.esr,
		.memory = hash_memory(d, s == &d->now.fault),
		.nzcv = lp_cpu_nzcv(cpu) >> 28,
		.fpsr = lp_fpsr_read(cpu),
		.signal = (uint32_t)cpu->fault.signal,
		.code = (uint32_t)cpu->fault.code,
	};
	memcpy(s->x, cpu->x, sizeof s->x);
	memcpy(s->v, cpu->vr, sizeof s->v);
}

/* What the base must be for the access to begin there. */
static uint64_t base_for(struct lp_cpu *cpu, uint32_t word, uint64_t at)
{
	unsigned n = base_of(word);
	uint64_t from;
	bool write;

	if (is_cache(word))
		return at;
	if (is_signed(word))
		return at - (uint64_t)((word >> 22 & 1 ? -512 : 0) + (int)(word >> 12 & 511)) * 8;
	cpu->x[n] = 0;
	check(lp_access_address(cpu, 0, word, &from, &write), "an access without an address");
	return at - from;
}

/* Small, or small as the extension sees it. */
static uint64_t index_for(uint32_t word)
{
	uint64_t small = any() & 63, option = word >> 13 & 3;

	return option == 2 ? small | any() << 32 : small;
}

static void begin_case(struct driver *d)
{
	const struct slot *slot = &all.slots[d->slot];
	struct lp_cpu *cpu = &d->emu->main->cpu;
	const struct place *place = place_of(d);

	seed = d->slot * NR_PLACES + d->place + 1;
	d->now = (struct outcome){0};
	set_page(d, GOOD);
	fill(DATA, BAD + 2 * PAGE);
	for (unsigned i = 0; i < 31; i++)
		cpu->x[i] = any();
	cpu->x[LP_SP] = DATA + 0x800;
	for (unsigned i = 0; i < 64; i++)
		cpu->vr[i / 2].d[i % 2] = any() & 1 ? any() : any() & UINT64_C(0x3fffffff3fffffff);
	lp_fpsr_write(cpu, 0);
	lp_cpu_set_nzcv(cpu, (uint32_t)any() & 0xf0000000);
	cpu->exclusive.size = 0;
	memset(cpu->pauth, 0x5c, sizeof cpu->pauth);
	cpu->x[INDEX] = index_for(slot->word);
	if (is_indexed(slot->word) && (slot->word >> 16 & 31) != 31)
		cpu->x[slot->word >> 16 & 31] = cpu->x[INDEX];
	if (!is_literal(slot->word)) {
		d->good = base_for(cpu, slot->word, DATA + 0x100);
		d->bad = base_for(cpu, slot->word, place->at);
		if (base_of(slot->word) == 31) { /* of a misaligned sp the interpreter alone knows */
			d->good &= ~UINT64_C(15);
			d->bad &= ~UINT64_C(15);
		}
		cpu->x[GOOD_BASE] = d->good;
		cpu->x[BAD_BASE] = d->bad;
	}
	cpu->x[LEFT] = ROUNDS;
	cpu->pc = CODE + d->slot * SLOT * 4;
	set_page(d, place->page);
}

/* ---- judging ---- */

static void tell(struct driver *d, const char *what, uint64_t found, uint64_t expected)
{
	const struct slot *slot = &all.slots[d->slot];
	const struct place *p = place_of(d);

	fprintf(stderr, "%s: %s %08x (slot %zu) at %+ld of page %d: %s %#lx, not %#lx\n",
		d->engine ? d->engine : "interpreter", lp_a64_row(slot->op)->name, slot->word, d->slot,
		(long)(p->at - BAD), p->page, what, found, expected);
	if (++d->nr_told == MAX_TOLD)
		_exit(1);
}

#define SAME(what, member)                                                                      \
	do {                                                                                    \
		if (found->member != expected->member)                                          \
			tell(d, what, (uint64_t)(found->member), (uint64_t)(expected->member)); \
	} while (0)

static void compare(struct driver *d, const struct seen *found, const struct seen *expected)
{
	bool ended = found == &d->now.end;
	char name[40];

	for (unsigned i = 0; i < 32; i++) {
		snprintf(name, sizeof name, "%s x%u", ended ? "at the end" : "at the fault", i);
		SAME(name, x[i]);
	}
	for (unsigned i = 0; i < 64; i++) {
		snprintf(name, sizeof name, "%s v%u.d[%u]", ended ? "at the end" : "at the fault", i / 2, i % 2);
		SAME(name, v[i / 2][i % 2]);
	}
	SAME("pc", pc);
	SAME("nzcv", nzcv);
	SAME("fpsr", fpsr);
	SAME("signal", signal);
	SAME("si_code", code);
	SAME("si_addr", addr);
	SAME("esr", esr);
	SAME("memory", memory);
}

static bool stores(uint32_t word)
{
	static struct lp_cpu cpu;
	uint64_t addr;
	bool write = false;

	return lp_access_address(&cpu, 0, word, &addr, &write) && write;
}

/* What must be true of a fault whatever engine it is. */
static void judge(struct driver *d)
{
	const struct slot *slot = &all.slots[d->slot];
	const struct place *p = place_of(d);
	bool whole = p->at == BAD + 0x340, is_store = stores(slot->word);
	const struct seen *s = &d->now.fault;

	if (is_prefetch(slot->op)) {
		if (d->now.nr_faults)
			tell(d, "faults of a prefetch", d->now.nr_faults, 0);
		return;
	}
	if (whole && !d->now.nr_faults && slot->word >> 5 != IC_IVAU >> 5 &&
	    (p->page == UNMAPPED || (p->page == READ_ONLY && is_store)))
		tell(d, "faults", 0, 1);
	if (!d->now.nr_faults)
		return;
	++*all.nr_faulted;
	if (s->pc != pc_of(d->slot) && s->pc != pc_of(d->slot) - 8)
		tell(d, "pc", s->pc, pc_of(d->slot));
	if (s->signal == SIGSEGV && s->addr - BAD >= PAGE)
		tell(d, "si_addr", s->addr, BAD);
	if (is_literal(slot->word))
		return;
	if (!is_signed(slot->word) && s->x[base_of(slot->word)] != d->bad)
		tell(d, "base", s->x[base_of(slot->word)], d->bad);
	if (s->x[LEFT] != 1)
		tell(d, "rounds left", s->x[LEFT], 1);
}

static void end_case(struct driver *d)
{
	struct outcome *expected = &all.expected[d->slot * NR_PLACES + d->place];

	judge(d);
	if (!d->engine) {
		*expected = d->now;
		return;
	}
	if (d->now.nr_faults != expected->nr_faults)
		tell(d, "faults", d->now.nr_faults, expected->nr_faults);
	compare(d, &d->now.fault, &expected->fault);
	compare(d, &d->now.end, &expected->end);
}

static uint64_t regions_of(struct lp_emu *emu)
{
	struct lp_jit_stats stats;

	lp_jit_stats(emu, &stats);
	return stats.regions;
}

static void next_case(struct driver *d)
{
	bool has_places = all.slots[d->slot].place < 0;

	if (has_places && ++d->place < NR_PLACES)
		return;
	d->place = 0;
	if (++d->slot < all.nr_slots)
		return;
	check(!d->has_regions || regions_of(d->emu) > all.nr_slots / 2, "hardly any region");
	_exit(d->nr_told != 0);
}

/* Memory is put right where it is not, and else the address. */
static void put_right(struct driver *d, struct lp_cpu *cpu)
{
	uint32_t word = all.slots[d->slot].word;

	if (cpu->fault.signal == SIGSEGV && d->page != GOOD) {
		set_page(d, GOOD);
		return;
	}
	check(!is_literal(word), "a literal that faults where everything is right");
	cpu->x[base_of(word)] = d->good;
}

static bool handle_fault(struct lp_guest_thread *t, void *arg)
{
	struct driver *d = arg;
	struct lp_cpu *cpu = &t->cpu;

	if (cpu->fault.signal != SIGTRAP) {
		if (d->now.nr_faults++ == 0)
			see(d, cpu, &d->now.fault);
		if (d->now.nr_faults > 4) {
			tell(d, "faults", d->now.nr_faults, 1);
			_exit(1);
		}
		put_right(d, cpu);
		return true;
	}
	set_page(d, GOOD);
	see(d, cpu, &d->now.end);
	end_case(d);
	next_case(d);
	begin_case(d);
	return true;
}

static void run(const char *engine, enum lp_jit_tier tier, unsigned without)
{
	static const struct lp_emu_options plain;
	static struct driver d;
	struct lp_jit_options options = {.tier = tier, .without = without};
	struct lp_err err = {0};

	d.engine = engine;
	d.has_regions = tier == LP_JIT_TIER2;
	d.page = GOOD;
	d.emu = lp_emu_new(&plain, &err);
	check(d.emu, err.text);
	if (engine) {
		int rc = lp_jit_attach(d.emu, &options, &err);
		if (rc == -ENOTSUP)
			_exit(77);
		check(rc == 0, err.text);
	}
	lp_emu_watch(d.emu, &(struct lp_emu_events){.fault = handle_fault, .arg = &d});
	check(lp_mem_map(d.emu, CODE, DATA + 3 * PAGE - CODE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == CODE,
	      "no memory");
	for (size_t s = 0; s < all.nr_slots; s++)
		write_slot(s);
	check(CODE + all.nr_slots * SLOT * 4 < DATA, "no room for code");
	lp_mem_protect(d.emu, CODE, DATA - CODE, PROT_READ | PROT_EXEC);
	begin_case(&d);
	lp_guest_thread_run(d.emu->main);
}

static int status_of(const char *engine, enum lp_jit_tier tier, unsigned without)
{
	int status;
	pid_t pid = fork();

	assert_int_not_equal(pid, -1);
	if (pid == 0)
		run(engine, tier, without);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void *shared(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	return memory;
}

static void a_fault_shows_what_the_interpreter_shows_and_is_gone_on_from(void **state)
{
	static const struct {
		const char *name;
		enum lp_jit_tier tier;
		unsigned without;
	} others[] = {
		{"avx2", LP_JIT_TIER1, ~(unsigned)LP_HOST_V3},
		{"sse4", LP_JIT_TIER1, ~0U},
		{"regions", LP_JIT_TIER2, 0},
		{"regions, avx2", LP_JIT_TIER2, ~(unsigned)LP_HOST_V3},
	};
	int status;

	assert_true(all.nr_slots > 900);
	all.expected = shared(all.nr_slots * NR_PLACES * sizeof *all.expected);
	all.nr_faulted = shared(sizeof *all.nr_faulted);
	assert_int_equal(status_of(NULL, LP_JIT_TIER1, 0), 0);
	assert_true(*all.nr_faulted > 8000);
	*all.nr_faulted = 0;
	status = status_of("this host", LP_JIT_TIER1, 0);
	if (status == 77)
		skip(); /* not even SSE4.2 here */
	assert_int_equal(status, 0);
	assert_true(*all.nr_faulted > 8000);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		assert_int_equal(status_of(others[i].name, others[i].tier, others[i].without), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fault_shows_what_the_interpreter_shows_and_is_gone_on_from),
	};

	return cmocka_run_group_tests(tests, choose_words, NULL);
}
