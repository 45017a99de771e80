/*
 * What a function that the agent has upgraded costs who calls it.
 *
 *     build/rel/bench/upgrade >bench/results/upgrade.md
 *
 * Upgraded are one of this program and one of a library (bench/upgraded.c), by
 * `lib load` and `func upgrade`, to the same function of another library.  All
 * do the same work.  Medians over ROUNDS of the time for a call in a loop of
 * CALLS; the kinds take turns, so that a machine that slows down slows all.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

#include "base/vec.h"
#include "bench.h"
#include "hotpatch.h"

#define ROUNDS 301
#define CALLS 100000

#define NOT_INLINED __attribute__((noinline))

static volatile int sink;

/* The same work in all of them; the comment keeps compilers from making one of all. */
#define FUNCTION(name)                               \
	NOT_INLINED static int name(int x)           \
	{                                            \
		__asm__ volatile("/* " #name " */"); \
		sink = x;                            \
		return x + 1;                        \
	}

FUNCTION(plain)
FUNCTION(of_program)

/* ---- a jump through memory, as tables of imported functions have it ---- */

__attribute__((used)) static int (*jump_target)(int) = plain;
int by_indirect_jump(int x);

#if defined(__x86_64__)
__asm__(".pushsection .text; .p2align 4; .type by_indirect_jump, @function\n"
	"by_indirect_jump: jmp *jump_target(%rip)\n"
	".popsection");
#elif defined(__aarch64__)
__asm__(".pushsection .text; .p2align 4; .type by_indirect_jump, %function\n"
	"by_indirect_jump: adrp x16, jump_target; ldr x16, [x16, :lo12:jump_target]; br x16\n"
	".popsection");
#endif

/* ---- the kinds ---- */

struct kind {
	const char *what;
	int (*volatile fn)(int);
	double ns[ROUNDS];
};

enum { IN_PROGRAM, IN_LIBRARY, INDIRECT, OF_LIBRARY, OF_PROGRAM };

static struct kind kinds[] = {
	[IN_PROGRAM] = {.what = "a plain call, in the program", .fn = plain},
	[IN_LIBRARY] = {.what = "a plain call, in a library"},
	[INDIRECT] = {.what = "a call that arrives by an indirect jump", .fn = by_indirect_jump},
	[OF_LIBRARY] = {.what = "an upgraded function of a library"},
	[OF_PROGRAM] = {.what = "an upgraded function of the program", .fn = of_program},
};

static void die(const char *what)
{
	fprintf(stderr, "bench/upgrade: %s\n", what);
	exit(1);
}

static void command(const char *text)
{
	if (hotpatch_run(text, NULL, NULL) < 0)
		die(hotpatch_last_error());
}

static void *symbol(void *library, const char *name)
{
	void *at = library ? dlsym(library, name) : NULL;

	if (!at)
		die(dlerror());
	return at;
}

static void upgrade(void)
{
	void *before = dlopen(BENCH_OLD, RTLD_NOW);

	kinds[IN_LIBRARY].fn = (int (*)(int))symbol(before, "untouched");
	kinds[OF_LIBRARY].fn = (int (*)(int))symbol(before, "upgraded");
	hotpatch_register_function("of_library", (void *)kinds[OF_LIBRARY].fn);
	hotpatch_register_function("of_program", (void *)of_program);
	command("lib load new " BENCH_NEW);
	command("func upgrade new of_library upgraded; func upgrade new of_program upgraded");
	if (kinds[OF_LIBRARY].fn(1) != 3 || kinds[OF_PROGRAM].fn(1) != 3)
		die("what was upgraded is not what is called");
}

/* How far the upgrade's jump has to go, in mebibytes: whether it is one, or one to another that goes anywhere. */
static unsigned long long distance(int (*fn)(int))
{
	void *after = dlopen(BENCH_NEW, RTLD_NOW | RTLD_NOLOAD);
	uintptr_t from = (uintptr_t)fn, to = (uintptr_t)symbol(after, "upgraded");

	return (from < to ? to - from : from - to) >> 20;
}

/* ---- the figures ---- */

NOT_INLINED static double time_calls(int (*fn)(int))
{
	uint64_t begin = bench_now();

	for (int i = 0; i < CALLS; i++)
		fn(i);
	return (double)(bench_now() - begin) / CALLS;
}

static void measure(void)
{
	for (size_t round = 0; round < ROUNDS; round++) {
		for (size_t k = 0; k < LP_ARRAY_SIZE(kinds); k++)
			kinds[k].ns[round] = time_calls(kinds[k].fn);
	}
}

static void print(void)
{
	double floor = 0;

	printf("| what | ns, median | 90th percentile | beside the plain call |\n|---|--:|--:|--:|\n");
	for (size_t k = 0; k < LP_ARRAY_SIZE(kinds); k++) {
		struct bench_figure f = bench_figure_of(kinds[k].ns, ROUNDS);

		floor = k ? floor : f.median;
		printf("| %s | %.2f | %.2f | %.2f |\n", kinds[k].what, f.median, f.p90, f.median / floor);
	}
}

int main(int argc, char **argv)
{
	upgrade();
	measure();
	printf("# Calls of upgraded functions\n\n");
	bench_print_machine(argv);
	printf("\nFrom the function of the library to its replacement it is %llu MiB, from that of the program "
	       "%llu.\n\n",
	       distance(kinds[OF_LIBRARY].fn), distance(kinds[OF_PROGRAM].fn));
	print();
	return 0;
}
