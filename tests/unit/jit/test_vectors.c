/*
 * Vector registers that are in host registers alone: whoever looks at a thread in the middle of translated code finds what
 * the interpreter would have there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <elf.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emu/emu.h"
#include "isa/isa.h"
#include "jit/private.h"

enum { CODE_SIZE = 1 << 16, DATA_SIZE = 1 << 16, TEXT_MAX = 8192, PATIENCE_MS = 60000, RIGHT = 42 };
enum { SEEN_MAX = 1024, NR_PROGRAMS = 250, LINES_MAX = 40 };

/* A thread where it faulted, or at its end. */
struct seen {
	uint64_t pc, x1;
	union lp_vreg v[32];
};

struct left {
	struct lp_jit_stats stats;
	unsigned nr, looks;
	struct seen seen[SEEN_MAX];
};

struct world {
	const char *text;
	bool interprets;
	struct lp_jit_options options;
	unsigned seed;
	void (*control)(struct world *w, struct lp_range code);
	struct lp_emu *emu;
	struct left *left;
};

static void check(bool right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "%s\n", what);
	_exit(1);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* ---- a world ---- */

#define END "mov x8, #94\nsvc #0\n"

static void keep(struct world *w, const struct lp_cpu *cpu)
{
	struct seen *seen = &w->left->seen[w->left->nr++];

	check(w->left->nr <= SEEN_MAX, "too many faults");
	seen->pc = cpu->pc - cpu->x[20];
	seen->x1 = cpu->x[1] - cpu->x[19];
	memcpy(seen->v, cpu->vr, sizeof seen->v);
}

/* Goes on behind the instruction. */
static bool keep_fault(struct lp_guest_thread *t, void *arg)
{
	keep(arg, &t->cpu);
	t->cpu.pc += 4;
	return true;
}

static void keep_end(struct lp_emu *emu, int status, void *arg)
{
	struct world *w = arg;

	keep(w, &emu->main->cpu);
	if (!w->interprets)
		lp_jit_stats(emu, &w->left->stats);
}

struct controlled {
	struct world *w;
	struct lp_range code;
};

static void *run_control(void *arg)
{
	struct controlled *c = arg;

	lp_signals_keep_out();
	c->w->control(c->w, c->code);
	return NULL;
}

/* Numbers of which some are none. */
static uint64_t some_double(uint32_t *seed)
{
	double d = ((double)next_random(seed) - 8e6) / (1 + next_random(seed) % 1000);
	float f[2] = {(float)d, (float)(next_random(seed) % 17)};
	uint64_t bits;

	switch (next_random(seed) % 8) {
	case 0:
		return 0x7ff0000000000001 | (uint64_t)next_random(seed) << 20;
	case 1:
		return 0;
	case 2:
		memcpy(&bits, f, sizeof bits);
		return bits;
	default:
		memcpy(&bits, &d, sizeof bits);
		return bits;
	}
}

/* x1 goes up to where nothing may be read. */
static void set_registers(struct world *w, struct lp_cpu *cpu, uint64_t code, uint64_t data)
{
	uint32_t seed = w->seed;

	cpu->pc = code;
	cpu->x[1] = data + DATA_SIZE / 2 - 16 * (1 + next_random(&seed) % 8);
	cpu->x[3] = data;
	cpu->x[19] = data;
	cpu->x[20] = code;
	cpu->x[LP_SP] = data + 1024;
	for (unsigned i = 0; i < 64; i++)
		cpu->vr[i / 2].d[i % 2] = some_double(&seed);
	for (unsigned i = 0; i < DATA_SIZE / 16; i++)
		((uint64_t *)data)[i] = some_double(&seed);
	lp_mem_protect(w->emu, data + DATA_SIZE / 2, DATA_SIZE / 2, PROT_NONE);
}

static void run_world(struct world *w)
{
	static struct controlled c;
	static uint8_t bytes[TEXT_MAX];
	struct lp_emu_options options = {0};
	struct lp_err err = {0};
	uint64_t data, code;
	pthread_t thread;
	size_t len;

	w->emu = lp_emu_new(&options, &err);
	check(w->emu && (w->interprets || !lp_jit_attach(w->emu, &w->options, &err)), err.text);
	lp_emu_watch(w->emu, &(struct lp_emu_events){.exiting = keep_end, .fault = keep_fault, .arg = w});
	code = lp_mem_map(w->emu, 0, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	data = lp_mem_map(w->emu, 0, DATA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (lp_isa_of(EM_AARCH64)->assemble(w->text, code, NULL, bytes, sizeof bytes, &len, &err)) {
		fprintf(stderr, "%s\n", w->text);
		check(false, err.text);
	}
	check(lp_mem_write(code, bytes, len) == 0, "no memory for code");
	lp_mem_protect(w->emu, code, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
	set_registers(w, &w->emu->main->cpu, code, data);
	c = (struct controlled){w, {code, code + CODE_SIZE}};
	if (w->control)
		check(pthread_create(&thread, NULL, run_control, &c) == 0, "no thread");
	lp_guest_thread_run(w->emu->main);
}

/* The program's exit status; what it left is in `left`. */
static int status_of(struct world *w, struct left *left)
{
	int status;
	pid_t pid;

	memset(left, 0, sizeof *left);
	w->left = left;
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0)
		run_world(w);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static struct left *shared_left(void)
{
	struct left *left = mmap(NULL, sizeof *left, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(left, MAP_FAILED);
	return left;
}

/* ---- faults ---- */

static void assert_same(const struct left *seen, const struct left *should, const char *text)
{
	bool same = seen->nr == should->nr;

	for (unsigned i = 0; i < seen->nr && same; i++) {
		const struct seen *a = &seen->seen[i], *b = &should->seen[i];
		same = memcmp(a, b, sizeof *a) == 0;
		for (unsigned r = 0; r < 32; r++)
			if (memcmp(&a->v[r], &b->v[r], 16) != 0)
				print_error("stop %u, at %#llx: v%u is %016llx%016llx, not %016llx%016llx\n", i,
					    (unsigned long long)a->pc, r, (unsigned long long)a->v[r].d[1],
					    (unsigned long long)a->v[r].d[0], (unsigned long long)b->v[r].d[1],
					    (unsigned long long)b->v[r].d[0]);
	}
	if (!same)
		print_error("%u stops, not %u, in:\n%s", seen->nr, should->nr, text);
	assert_true(same);
}

/* As straight lines, and as regions; how many faults there were. */
static unsigned compare(const char *text, unsigned seed, unsigned without)
{
	static struct left *seen, *should;
	struct world interpreted = {.text = text, .seed = seed, .interprets = true};
	int status;

	if (!seen) {
		seen = shared_left();
		should = shared_left();
	}
	status = status_of(&interpreted, should);
	for (enum lp_jit_tier tier = LP_JIT_TIER1; tier <= LP_JIT_TIER2; tier++) {
		struct world translated = {.text = text, .seed = seed, .options = {.without = without, .tier = tier}};
		assert_int_equal(status_of(&translated, seen), status);
		assert_same(seen, should, text);
		assert_true(seen->stats.insns > 0);
		assert_int_equal(seen->stats.regions > 0, tier == LP_JIT_TIER2);
	}
	return should->nr - 1;
}

static void a_fault_in_a_loop_finds_what_earlier_rounds_have_left_in_registers(void **state)
{
	/* v0 to v2 are written in each round, before and behind the load; v3 is read alone. */
	assert_in_range(compare("mov x2, #12\n"
				"loop: fadd v0.2d, v0.2d, v3.2d\n"
				"ldr q4, [x1], #16\n"
				"fmla v1.4s, v0.4s, v3.4s\n"
				"add v2.16b, v2.16b, v4.16b\n"
				"sub x2, x2, #1\ncbnz x2, loop\nmov x0, #42\n" END,
				7, 0),
			4, 12);
}

static void the_first_half_of_a_pair_is_not_seen_when_the_second_faults(void **state)
{
	/* The boundary lies within the pair. */
	assert_in_range(compare("add x1, x1, #8\nmov x2, #12\n"
				"loop: add v0.2d, v0.2d, v1.2d\nadd v1.4s, v1.4s, v2.4s\n"
				"ldp q0, q1, [x1], #16\n"
				"ld4 {v0.4s, v1.4s, v2.4s, v3.4s}, [x1]\n"
				"ld2 {v1.s, v2.s}[2], [x1]\n"
				"add x1, x1, #4\n"
				"sub x2, x2, #1\ncbnz x2, loop\nmov x0, #42\n" END,
				8, 0),
			10, 36);
}

static void scalars_have_zeros_above_them_and_what_was_there_when_they_were_not_written(void **state)
{
	/* The first access of the first round faults as well: d0 is not written by then, and is dirty in later rounds. */
	const char *text = "mov x2, #9\nadd x1, x1, #128\n"
			   "loop: ldr d2, [x1]\n"
			   "fsub d0, d0, d1\nldr s3, [x1, #8]\n"
			   "fmadd s1, s4, s5, s1\n"
			   "sub x1, x1, #16\n"
			   "sub x2, x2, #1\ncbnz x2, loop\nmov x0, #42\n" END;

	for (unsigned seed = 1; seed < 20; seed++)
		assert_in_range(compare(text, seed, 0), 2, 18);
}

static void a_loop_that_is_entered_with_zeros_above_its_scalars_keeps_them_there(void **state)
{
	/* d1 is dirty from the first round on, and d0 behind the way out in the middle. */
	assert_in_range(compare("add x1, x1, #64\nmov x2, #12\nfmov d0, d0\nfmov d1, d1\nfmov s3, s3\n"
				"loop: fmadd d1, d2, d4, d1\n"
				"ldr d5, [x1], #8\n"
				"cbz x2, out\n"
				"fsub d0, d1, d0\n"
				"fmadd s3, s3, s4, s3\n"
				"sub x2, x2, #1\nb loop\nout: mov x0, #42\n" END,
				3, 0),
			5, 13);
}

/* A, B and C are registers, D follows A, and E is the line's number. */
static const char *const lines[] = {
	"ldr qA, [x1], #16",
	"ldr dA, [x1, #8]",
	"ldr sA, [x1, #4]",
	"ldr bA, [x1, #15]",
	"str qA, [x3, #16]",
	"str dA, [x1], #8",
	"stp qA, qB, [x1, #-16]",
	"ldp qA, qD, [x1]",
	"ldp dA, dD, [x1], #16",
	"ld1 {vA.16b, vD.16b}, [x1]",
	"ld2 {vA.4s, vD.4s}, [x1]",
	"ld1 {vA.s}[1], [x1]",
	"ld2 {vA.s, vD.s}[1], [x1]",
	"ld1r {vA.4s}, [x1]",
	"ld2r {vA.2s, vD.2s}, [x1]",
	"fadd dA, dB, dC",
	"fsub sA, sB, sC",
	"fmul dA, dA, dC",
	"fdiv dA, dB, dB",
	"fsqrt dA, dB",
	"fmadd dA, dB, dC, dA",
	"fmax sA, sB, sC",
	"fabs dA, dB",
	"fmov sA, sB",
	"fcvt dA, sB",
	"scvtf dA, x2",
	"scvtf dA, dB",
	"ucvtf sA, sB",
	"fcmp dA, dB\nfcsel dA, dC, dB, lt",
	"fadd vA.2d, vB.2d, vC.2d",
	"fmul vA.4s, vA.4s, vC.4s",
	"fmla vA.4s, vB.4s, vC.4s",
	"fmla vA.2s, vB.2s, vC.2s",
	"fcvtn2 vA.4s, vB.2d",
	"frecpe vA.4s, vB.4s",
	"add vA.4s, vB.4s, vC.4s",
	"add vA.4s, vA.4s, vC.4s",
	"ins vA.d[1], vB.d[0]",
	"ins vA.s[2], w2",
	"ext vA.16b, vB.16b, vC.16b, #3",
	"zip1 vA.8h, vB.8h, vC.8h",
	"tbl vA.16b, {vB.16b}, vC.16b",
	"mov vA.16b, vB.16b",
	"movi vA.4s, #1",
	"movi dA, #0",
	"saddl vA.4s, vB.4h, vC.4h",
	"add vA.2s, vB.2s, vC.2s",
	"dup dA, vB.d[1]",
	"fsub dA, dA, dB",
	"fmadd sA, sB, sC, sA",
	"umov x5, vA.d[1]\nadd x6, x6, x5",
	"sha512h qA, qB, vC.2d",
	"sha256h qA, qB, vC.4s\nsha256su0 vA.4s, vC.4s",
	"aese vA.16b, vB.16b\naesmc vA.16b, vA.16b",
	"mov vA.16b, vB.16b\nsha256h qB, qC, vD.4s\nsha256h2 qC, qA, vD.4s",
	"umlal vA.2d, vB.2s, vC.s[1]\numlal vD.2d, vB.2s, vC.s[3]",
	"smull2 vA.2d, vB.4s, vC.s[2]\numlsl2 vD.2d, vB.4s, vC.s[0]",
	"aesimc vA.16b, vB.16b",
	"pmull2 vA.1q, vB.2d, vC.2d",
	"cmgt vA.4s, vB.4s, vC.4s",
	"cbz x6, out",
	"tbz x2, #0, sE\nfadd dA, dB, dC\nsE:",
	"tbnz x2, #1, sE\nldr qA, [x1], #16\nsE:",
	"cmp x2, #5\nb.lt sE\nfmla vA.4s, vB.4s, vC.4s\nsE:",
};

static size_t write_line(char *to, const char *line, const unsigned numbers[5])
{
	char *at = to;

	for (; *line; line++)
		if (*line >= 'A' && *line <= 'E')
			at += sprintf(at, "%u", numbers[*line - 'A']);
		else
			*at++ = *line;
	*at++ = '\n';
	return (size_t)(at - to);
}

/* A loop of some of them; with many registers not all have a place. */
static const char *write_loop(uint32_t seed)
{
	static char text[TEXT_MAX];
	unsigned nr = 4 + next_random(&seed) % 28, nr_lines = 3 + next_random(&seed) % (LINES_MAX - 3);
	bool counts_down = next_random(&seed) % 2;
	char *at = text;

	at += sprintf(at, "mov x2, #14\nmov x6, #1\nloop:\n");
	for (unsigned i = 0; i < nr_lines; i++) {
		unsigned a = next_random(&seed) % nr, b = next_random(&seed) % nr, c = next_random(&seed) % nr;
		at += write_line(at, lines[next_random(&seed) % (sizeof lines / sizeof lines[0])],
				 (unsigned[]){a, b, c, (a + 1) % 32, i});
	}
	sprintf(at, "add x1, x1, #4\nsub x2, x2, #1\n%s loop\nout: mov x0, #42\n" END,
		counts_down ? "cbnz x2," : "cmp x2, #3\nb.gt");
	return text;
}

static void at_every_fault_of_any_loop_the_registers_are_the_interpreters(void **state)
{
	static const unsigned without[] = {0, LP_HOST_AVX512, LP_HOST_VAES, 0};
	unsigned faults = 0;

	for (unsigned i = 0; i < NR_PROGRAMS; i++)
		faults += compare(write_loop(i * 77 + 1), i, without[i % 4]);
	assert_true(faults > 5 * NR_PROGRAMS);
}

/* Up to four rotations in two halves each, with something between them that may ask for the first half or write what is
 * rotated, and of which the second half may be another's. */
static char *write_rotations(char *at, uint32_t *seed, unsigned nr)
{
	static const char *const halves[][2] = {{"ushr", "sli"}, {"shl", "sri"}, {"shl", "usra"}};
	static const struct {
		const char *name;
		unsigned bits;
	} lanes[] = {{"4s", 32}, {"4s", 32}, {"2d", 64}, {"8h", 16}, {"16b", 8}, {"2s", 32}};
	unsigned first = next_random(seed) % nr, count = 1 + next_random(seed) % 4, line, a;
	const uint32_t begin = *seed;

	for (unsigned half = 0; half < 2; half++) {
		uint32_t same = begin;
		for (unsigned i = 0; i < count; i++) {
			unsigned kind = next_random(&same) % 3, lane = next_random(&same) % 6,
				 n = next_random(&same) % nr,
				 by = next_random(&same) % 3 ? next_random(&same) % lanes[lane].bits : 8;
			by = by % (lanes[lane].bits - 1) + 1;
			at += sprintf(at, "%s v%u.%s, v%u.%s, #%u\n", halves[kind][half], first + i, lanes[lane].name,
				      n, lanes[lane].name, half ? lanes[lane].bits - by : by);
		}
		*seed = same;
		for (unsigned left = next_random(seed) % 3; left > 0 && !half; left--) {
			line = next_random(seed) % (sizeof lines / sizeof lines[0] - 3);
			a = next_random(seed) % 24;
			at += write_line(at, lines[line], (unsigned[]){a, next_random(seed) % 24, 1, a + 1, 0});
			at += sprintf(at, "ror w7, w7, #3\n");
		}
	}
	return at;
}

static void a_rotation_is_seen_half_done_by_who_looks_between_its_halves(void **state)
{
	static char text[TEXT_MAX];

	for (uint32_t i = 0; i < NR_PROGRAMS; i++) {
		uint32_t seed = i;
		char *at = text + sprintf(text, "mov x2, #5\nmov x6, #1\nloop:\n");
		for (unsigned group = 0; group < 3; group++)
			at = write_rotations(at, &seed, 12);
		sprintf(at, "sub x2, x2, #1\ncbnz x2, loop\nout: mov x0, #42\n" END);
		compare(text, i, i % 2 ? LP_HOST_AVX512 : 0);
	}
}

/* As programs have them, on v0 and v1 most often; and something between them, which may write one of the two. */
static char *write_rounds(char *at, uint32_t *seed)
{
	static const char *const usual[] = {
		"add vA.4s, vA.4s, vB.4s", "sha256su0 vA.4s, vB.4s", "sha256su1 vA.4s, vB.4s, vC.4s",
		"ld1 {vA.4s}, [x1]",	   "mov vA.16b, vB.16b",     "add x3, x3, #1",
		"ldr qA, [x1], #16",	   "sha256h qA, qB, vC.4s",
	};
	bool swapped = next_random(seed) % 6 == 0;
	unsigned words = 2 + next_random(seed) % 3;

	at += write_line(at, "mov vA.16b, vB.16b\nsha256h qB, qC, vD.4s\nsha256h2 qC, qA, vD.4s",
			 (unsigned[]){5, swapped, !swapped, words, 0});
	for (unsigned left = next_random(seed) % 4; left > 0; left--) {
		const char *line = next_random(seed) % 4
					   ? usual[next_random(seed) % (sizeof usual / sizeof usual[0])]
					   : lines[next_random(seed) % (sizeof lines / sizeof lines[0] - 3)];
		unsigned a = next_random(seed) % 4 ? 2 + next_random(seed) % 3 : next_random(seed) % 20;
		at += write_line(at, line, (unsigned[]){a, next_random(seed) % 8, next_random(seed) % 8, a + 1, 0});
	}
	return at;
}

static void rounds_of_sha256_go_on_with_what_the_ones_before_left(void **state)
{
	static char text[TEXT_MAX];

	for (uint32_t i = 0; i < NR_PROGRAMS; i++) {
		uint32_t seed = i * 31 + 7;
		char *at = text + sprintf(text, "mov x2, #5\nmov x6, #1\nloop:\n");
		for (unsigned rounds = 0; rounds < 6; rounds++)
			at = write_rounds(at, &seed);
		sprintf(at, "sub x2, x2, #1\ncbnz x2, loop\nout: mov x0, #42\n" END);
		compare(text, i, i % 2 ? LP_HOST_AVX512 : 0);
	}
}

/* ---- stops ---- */

/* All are written in each round, and one of them in a register of its own in each second. */
static void look_at_rounds(struct world *w, struct lp_range code)
{
	enum { ROUNDS = 2000, HEAD = 12 };

	while (w->left->looks < ROUNDS) {
		struct lp_cpu *cpu = &w->emu->main->cpu;
		check(lp_threads_stop(w->emu, PATIENCE_MS) == 0, "no stop");
		if (cpu->pc == code.start + HEAD && cpu->x[2] > 10) {
			check(cpu->vr[0].d[0] == cpu->x[2] && cpu->vr[0].d[1] == cpu->x[2], "v0 is of some time ago");
			check(cpu->vr[2].d[0] == 2 * cpu->x[2] && cpu->vr[2].d[1] == 0, "d2 is of some time ago");
			w->left->looks++;
			cpu->vr[3].d[1] =
				w->left->looks; /* what is written while it stands still is there afterwards */
		}
		if (w->left->looks == ROUNDS)
			cpu->x[4] = 0;
		lp_threads_go(w->emu);
		sched_yield();
	}
}

static void who_is_stopped_in_a_loop_has_its_vector_registers(void **state)
{
	struct left *left = shared_left();
	struct world w = {.text = "mov x2, #0\nmov x4, #1\nmov x5, #1\n"
				  "loop: dup v1.2d, x5\nadd x2, x2, #1\n"
				  "fmov d0, x2\nins v0.d[1], x2\nadd d2, d0, d0\n"
				  "orr v3.16b, v3.16b, v3.16b\n"
				  "cbnz x4, loop\numov x0, v3.d[1]\nsub x0, x0, #1958\n" END,
			  .control = look_at_rounds};

	assert_int_equal(status_of(&w, left), RIGHT);
	assert_int_equal(left->looks, 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_fault_in_a_loop_finds_what_earlier_rounds_have_left_in_registers),
		cmocka_unit_test(the_first_half_of_a_pair_is_not_seen_when_the_second_faults),
		cmocka_unit_test(scalars_have_zeros_above_them_and_what_was_there_when_they_were_not_written),
		cmocka_unit_test(a_loop_that_is_entered_with_zeros_above_its_scalars_keeps_them_there),
		cmocka_unit_test(at_every_fault_of_any_loop_the_registers_are_the_interpreters),
		cmocka_unit_test(a_rotation_is_seen_half_done_by_who_looks_between_its_halves),
		cmocka_unit_test(rounds_of_sha256_go_on_with_what_the_ones_before_left),
		cmocka_unit_test(who_is_stopped_in_a_loop_has_its_vector_registers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
