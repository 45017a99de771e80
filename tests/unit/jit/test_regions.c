/*
 * Random loops in loops, as regions and interpreted: the same registers, flags, memory and faults come of them.
 * REGIONS=NUMBER tries so many programs, from REGIONS_FROM=NUMBER on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emu/emu.h"
#include "emu/mem.h"
#include "jit/private.h"

enum { CODE_SIZE = 32768, DATA_SIZE = 4096, NR_PROGRAMS = 400, WORDS_MAX = 4000 };
enum { BASE = 19, FIRST_COUNTER = 24, NR_COUNTERS = 3, NOWHERE = 27, LINK = 30 }; /* before registers are renamed */

/* What a program leaves behind. */
struct left {
	uint64_t x[32], v[32][2], nzcv, data, faults, nr_faults;
	struct lp_jit_stats stats;
	bool is_complete;
};

/* ---- programs ---- */

struct program {
	uint64_t random;
	uint8_t reg[31]; /* which register plays which part */
	uint32_t words[WORDS_MAX];
	unsigned nr, leaf;
};

static uint32_t below(struct program *p, uint32_t limit)
{
	p->random = p->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)((p->random >> 32) * limit >> 32);
}

static void put(struct program *p, uint32_t word)
{
	if (p->nr < WORDS_MAX)
		p->words[p->nr++] = word;
}

static uint32_t part(const struct program *p, unsigned which)
{
	return p->reg[which];
}

/* One that instructions may overwrite. */
static uint32_t any(struct program *p)
{
	unsigned which;

	do
		which = below(p, 30);
	while (which == BASE || (which >= FIRST_COUNTER && which <= NOWHERE));
	return part(p, which);
}

static uint32_t vector(struct program *p)
{
	return below(p, p->random >> 20 & 1 ? 6 : 20);
}

static void put_constant(struct program *p, uint32_t reg, uint64_t value)
{
	for (uint32_t k = 0; k < 4; k++)
		put(p, (k ? 0xf2800000 : 0xd2800000) | k << 21 | (uint32_t)(value >> (k * 16) & 0xffff) << 5 | reg);
}

/* Sums, logic, shifts and products of registers, in both widths. */
static void put_sum(struct program *p)
{
	static const uint32_t rows[] = {0x0b000000, 0x2b000000, 0x4b000000, 0x6b000000, 0x0a000000, 0x2a000000,
					0x4a000000, 0x6a000000, 0x6a200000, 0x1a000000, 0x3a000000, 0x5a000000,
					0x7a000000, 0x1ac02000, 0x1ac02400, 0x1b000000, 0x1ac00800, 0x1ac00c00};
	uint32_t row = rows[below(p, sizeof rows / sizeof rows[0])];
	uint32_t shift = (row & 0x1f000000) <= 0x0b000000 && !below(p, 3) ? below(p, 31) << 10 : 0;

	put(p, row | below(p, 2) << 31 | shift | any(p) << 16 | any(p) << 5 | any(p));
}

static void put_immediate(struct program *p)
{
	static const uint32_t rows[] = {0x11000000, 0x31000000, 0x51000000, 0x71000000};

	put(p, rows[below(p, 4)] | below(p, 2) << 31 | below(p, 4096) << 10 | any(p) << 5 | any(p));
}

static void put_conditional(struct program *p)
{
	static const uint32_t rows[] = {0x1a800000, 0x1a800400, 0x5a800000, 0x5a800400, 0x7a400000, 0x3a400800};
	uint32_t row = rows[below(p, 6)],
		 word = row | below(p, 2) << 31 | below(p, 16) << 12 | any(p) << 16 | any(p) << 5;

	put(p, word | (row & 0x20000000 ? below(p, 16) : any(p)));
}

static void put_access(struct program *p)
{
	static const uint32_t rows[] = {0xf9400000, 0xf9000000, 0xb9400000, 0xb9000000,
					0x39400000, 0x39000000, 0x79800000, 0xb9800000};

	put(p, rows[below(p, 8)] | below(p, 64) << 10 | part(p, BASE) << 5 | any(p));
}

static void put_vector(struct program *p)
{
	static const uint32_t rows[] = {0x1e602800, 0x1e600800, 0x1e202800, 0x4ee08400,
					0x6e201c00, 0x4ea01c00, 0x0ea08400};

	switch (below(p, 6)) {
	case 0:
		put(p, 0x9e670000 | any(p) << 5 | vector(p)); /* fmov d, x */
		return;
	case 1:
		put(p, 0x9e660000 | vector(p) << 5 | any(p)); /* fmov x, d */
		return;
	case 2:
		put(p, 0x1e602000 | vector(p) << 16 | vector(p) << 5); /* fcmp */
		return;
	case 3:
		put(p, (below(p, 2) ? 0x3dc00000 : 0x3d800000) | below(p, 16) << 10 | part(p, BASE) << 5 | vector(p));
		return;
	default:
		put(p, rows[below(p, 7)] | vector(p) << 16 | vector(p) << 5 | vector(p));
	}
}

/* Rows that functions of the interpreter execute, a fault, flags as a number. */
static void put_rare(struct program *p)
{
	switch (below(p, 5)) {
	case 0:
		put(p, 0xd53b4200 | any(p)); /* mrs nzcv */
		return;
	case 1:
		put(p, 0xd51b4200 | any(p)); /* msr nzcv */
		return;
	case 2:
		put(p, 0xf9400000 | below(p, 8) << 10 | part(p, NOWHERE) << 5 | any(p));
		return;
	case 3:
		put(p, 0xd53b4420 | any(p)); /* mrs fpsr */
		return;
	default:
		put(p, 0xdac143e0 | any(p)); /* xpaci */
	}
}

static void put_some(struct program *p, unsigned nr);

/* Over a few instructions, some of the time to a call. */
static void put_branch(struct program *p)
{
	uint32_t at = p->nr, which = below(p, 3), distance;

	put(p, 0);
	if (!below(p, 5)) {
		put(p, 0x94000000 | ((p->leaf - p->nr) & 0x3ffffff));
		put_some(p, below(p, 2));
	} else {
		put_some(p, 1 + below(p, 4));
	}
	distance = p->nr - at;
	if (which == 0)
		p->words[at] = 0x54000000 | distance << 5 | below(p, 15);
	else if (which == 1)
		p->words[at] = 0x34000000 | below(p, 2) << 31 | below(p, 2) << 24 | distance << 5 | any(p);
	else
		p->words[at] = 0x36000000 | below(p, 2) << 24 | below(p, 32) << 19 | distance << 5 | any(p);
}

static void put_some(struct program *p, unsigned nr)
{
	while (nr-- > 0)
		switch (below(p, 16)) {
		case 0:
		case 1:
		case 2:
		case 3:
			put_sum(p);
			break;
		case 4:
		case 5:
			put_immediate(p);
			break;
		case 6:
		case 7:
			put_conditional(p);
			break;
		case 8:
		case 9:
		case 10:
			put_access(p);
			break;
		case 11:
		case 12:
			put_vector(p);
			break;
		case 13:
			if (!below(p, 4))
				put_rare(p);
			break;
		default:
			put_branch(p);
		}
}

/* A loop with another one in it, or two; entered at its begin or in its middle. */
static void put_loop(struct program *p, unsigned depth)
{
	uint32_t counter = part(p, FIRST_COUNTER + depth), begin, entry = 0;
	bool sets_flags = below(p, 2);

	put(p, 0xd2800000 | (1 + below(p, 6)) << 5 | counter);
	if (!below(p, 3)) {
		entry = p->nr;
		put(p, 0);
	}
	begin = p->nr;
	put_some(p, below(p, 10));
	for (unsigned k = below(p, 3); depth + 1 < NR_COUNTERS && k > 0; k--) {
		put_loop(p, depth + 1);
		put_some(p, below(p, 6));
	}
	if (entry)
		p->words[entry] = 0x14000000 | (p->nr - entry);
	put_some(p, below(p, 5));
	put(p, (sets_flags ? 0xf1000400 : 0xd1000400) | counter << 5 | counter);
	put(p, (sets_flags ? 0x54000001 : 0xb5000000 | counter) | ((begin - p->nr) & 0x7ffff) << 5);
}

static void make_program(struct program *p, uint64_t number)
{
	*p = (struct program){.random = number * UINT64_C(0x9e3779b97f4a7c15) + 1};
	for (unsigned i = 0; i < 31; i++)
		p->reg[i] = (uint8_t)i;
	for (unsigned i = 29; i > 0; i--) {
		unsigned k = below(p, i + 1);
		uint8_t reg = p->reg[i];
		p->reg[i] = p->reg[k];
		p->reg[k] = reg;
	}
	put(p, 0xaa1303e0 | part(p, BASE)); /* where the data is: from x19 */
	for (unsigned i = 0; i < 30; i++)
		if (i != BASE)
			put_constant(p, part(p, i),
				     i == NOWHERE  ? 8
				     : below(p, 3) ? (uint64_t)below(p, 1000) << below(p, 50)
						   : below(p, 9) - UINT64_C(4));
	for (unsigned i = 0; i < 20; i++)
		put(p, 0x9e670000 | any(p) << 5 | i);
	put(p, 0x14000003);
	p->leaf = p->nr;
	put_sum(p);
	put(p, 0xd65f03c0);
	for (unsigned k = 1 + below(p, 3); k > 0; k--)
		put_loop(p, 0);
	put(p, 0xd2800bc8); /* mov x8, #94 */
	put(p, 0xd4000001);
}

/* ---- worlds ---- */

struct world {
	struct left *left;
	uint64_t data;
};

static void check(bool right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "%s\n", what);
	_exit(1);
}

static uint64_t mixed(uint64_t sum, uint64_t value)
{
	sum = (sum ^ value) * UINT64_C(0x9e3779b97f4a7c15);
	return sum ^ sum >> 29;
}

/* All that a handler of the program's would be shown, but for flags, which nobody may have asked for. */
static bool note_fault(struct lp_guest_thread *t, void *arg)
{
	struct left *left = ((struct world *)arg)->left;

	left->faults = mixed(left->faults, t->cpu.pc);
	for (unsigned r = 0; r < 32; r++)
		left->faults = mixed(left->faults, t->cpu.x[r]);
	for (unsigned i = 0; i < 32; i++)
		left->faults = mixed(mixed(left->faults, t->cpu.vr[i].d[0]), t->cpu.vr[i].d[1]);
	left->nr_faults++;
	t->cpu.pc += 4;
	return true;
}

static void note_end(struct lp_emu *emu, int status, void *arg)
{
	struct world *w = arg;
	const struct lp_cpu *cpu = &emu->main->cpu;

	memcpy(w->left->x, cpu->x, sizeof w->left->x);
	memcpy(w->left->v, cpu->vr, sizeof w->left->v);
	w->left->nzcv = lp_cpu_nzcv(cpu);
	for (unsigned i = 0; i < DATA_SIZE; i += 8)
		w->left->data = mixed(w->left->data, *(const uint64_t *)(w->data + i));
	if (emu->engine)
		lp_jit_stats(emu, &w->left->stats);
	w->left->is_complete = true;
}

static uint64_t memory(struct lp_emu *emu, uint64_t at, uint64_t size)
{
	return lp_mem_map(emu, at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void run_program(const struct program *p, const struct lp_jit_options *options, struct left *left)
{
	enum { CODE = 0x10000ff0, PAGES = CODE & ~4095, DATA = 0x20000000 };
	static struct world w;
	struct lp_emu_options none = {0};
	struct lp_err err = {0};
	struct lp_emu *emu = lp_emu_new(&none, &err);

	check(emu && (!options || !lp_jit_attach(emu, options, &err)), err.text);
	w = (struct world){left, DATA};
	lp_emu_watch(emu, &(struct lp_emu_events){.exiting = note_end, .fault = note_fault, .arg = &w});
	check(memory(emu, PAGES, CODE_SIZE) == PAGES && memory(emu, DATA, DATA_SIZE) == DATA, "no memory");
	check(lp_mem_write(CODE, p->words, p->nr * sizeof p->words[0]) == 0, "no code");
	lp_mem_protect(emu, PAGES, CODE_SIZE, PROT_READ | PROT_EXEC);
	emu->main->cpu.pc = CODE;
	emu->main->cpu.x[19] = DATA;
	emu->main->cpu.x[LP_SP] = DATA + DATA_SIZE;
	lp_guest_thread_run(emu->main);
}

static void outcome(const struct program *p, const struct lp_jit_options *options, struct left *left)
{
	int status;
	pid_t pid;

	memset(left, 0, sizeof *left);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		alarm(60);
		run_program(p, options, left);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!left->is_complete)
		fprintf(stderr, "status %#x\n", (unsigned)status);
	assert_true(left->is_complete);
}

/* ---- tests ---- */

static uint64_t number_of(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static bool is_same(const struct left *is, const struct left *should, uint64_t number)
{
	if (memcmp(is, should, offsetof(struct left, stats)) == 0)
		return true;
	fprintf(stderr, "program %llu:\n", (unsigned long long)number);
	for (unsigned i = 0; i < 32; i++)
		if (is->x[i] != should->x[i])
			fprintf(stderr, "  x%u is %#llx, and should be %#llx\n", i, (unsigned long long)is->x[i],
				(unsigned long long)should->x[i]);
	for (unsigned i = 0; i < 32; i++)
		if (is->v[i][0] != should->v[i][0] || is->v[i][1] != should->v[i][1])
			fprintf(stderr, "  v%u is other\n", i);
	fprintf(stderr, "  nzcv %llx %llx, faults %llu %llu%s%s\n", (unsigned long long)is->nzcv,
		(unsigned long long)should->nzcv, (unsigned long long)is->nr_faults,
		(unsigned long long)should->nr_faults, is->faults != should->faults ? ", of other registers" : "",
		is->data != should->data ? ", memory" : "");
	return false;
}

static void loops_do_the_same_as_regions_and_interpreted(void **state)
{
	static const struct lp_jit_options modes[] = {{.tier = LP_JIT_TIER2}, {.tier = LP_JIT_BOTH, .hot = 3}};
	static struct program p;
	struct left *left = mmap(NULL, 2 * sizeof *left, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t from = number_of("REGIONS_FROM", 0), nr = number_of("REGIONS", NR_PROGRAMS), regions[2] = {0},
		 faults = 0, differ = 0, left_to_c = 0;

	assert_ptr_not_equal(left, MAP_FAILED);
	for (uint64_t i = from; i < from + nr; i++) {
		make_program(&p, i);
		assert_in_range(p.nr, 1, WORDS_MAX - 1);
		outcome(&p, NULL, &left[0]);
		for (size_t k = 0; k < sizeof modes / sizeof modes[0]; k++) {
			outcome(&p, &modes[k], &left[1]);
			regions[k] += left[1].stats.regions;
			faults += left[1].nr_faults;
			left_to_c += left[1].stats.left_to_c;
			differ += !is_same(&left[1], &left[0], i);
		}
	}
	print_message("%llu and %llu regions, %llu faults, %llu instructions left to C\n",
		      (unsigned long long)regions[0], (unsigned long long)regions[1], (unsigned long long)faults,
		      (unsigned long long)left_to_c);
	assert_int_equal(differ, 0);
	assert_true(regions[0] >= nr && regions[1] >= nr);
	munmap(left, 2 * sizeof *left);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loops_do_the_same_as_regions_and_interpreted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
