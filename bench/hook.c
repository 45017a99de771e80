/*
 * What a hook costs whoever calls the function, and whoever installs it.
 *
 *     build/rel/bench/hook >bench/results/hook-$(uname -m).md
 *
 * Calls: medians over ROUNDS of the time for a call in a loop of CALLS; the
 * compared kinds take turns, so that a machine that slows down slows all.
 * Changes: medians over CHANGES, alone, and beside threads that run or sleep.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "base/vec.h"
#include "bench.h"
#include "self/self.h"

#define ROUNDS 301
#define CALLS 100000
#define CHANGES 501
#define MOST_THREADS 128

#define NOT_INLINED __attribute__((noinline))

/* ---- what is called ---- */

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
FUNCTION(hooked)
FUNCTION(hooked_far)
FUNCTION(called_through)
FUNCTION(replacement)

static int (*original)(int);

NOT_INLINED static int calls_original(int x)
{
	return original(x) + 1;
}

static struct lp_self_hook hook, hook_far, hook_through;
static int (*by_indirect_jump)(int);
static int (*through_original)(int);

/* ---- calls ---- */

struct kind {
	const char *what;
	int (*volatile fn)(int);
	double ns[ROUNDS];
};

static struct kind kinds[] = {
	{.what = "a plain call"},
	{.what = "a call that arrives by an indirect jump"},
	{.what = "a call of a hooked function, replacement within reach"},
	{.what = "a call of a hooked function, replacement out of reach (an island)"},
	{.what = "a call of `original`"},
	{.what = "a call of a hooked function whose replacement calls `original`"},
};

NOT_INLINED static double time_calls(int (*fn)(int))
{
	uint64_t begin = bench_now();

	for (int i = 0; i < CALLS; i++)
		fn(i);
	return (double)(bench_now() - begin) / CALLS;
}

static void measure_calls(void)
{
	int (*const fns[])(int) = {plain, by_indirect_jump, hooked, hooked_far, through_original, called_through};

	_Static_assert(LP_ARRAY_SIZE(fns) == LP_ARRAY_SIZE(kinds), "one function for each kind");
	for (size_t k = 0; k < LP_ARRAY_SIZE(kinds); k++)
		kinds[k].fn = fns[k];
	for (size_t round = 0; round < ROUNDS; round++) {
		for (size_t k = 0; k < LP_ARRAY_SIZE(kinds); k++)
			kinds[k].ns[round] = time_calls(kinds[k].fn);
	}
	printf("| what | ns, median | ns, 90th percentile |\n|---|---|---|\n");
	for (size_t k = 0; k < LP_ARRAY_SIZE(kinds); k++) {
		struct bench_figure f = bench_figure_of(kinds[k].ns, ROUNDS);

		printf("| %s | %.2f | %.2f |\n", kinds[k].what, f.median, f.p90);
	}
}

/* ---- changes ---- */

static _Atomic bool stop;
static int gate[2];

static void *run(void *arg)
{
	while (!atomic_load(&stop))
		plain(1);
	return NULL;
}

static void *rest(void *arg)
{
	char c;

	return read(gate[0], &c, 1) ? arg : NULL; /* until the other end is closed */
}

static void must(int rc, const struct lp_err *err)
{
	if (!rc)
		return;
	fprintf(stderr, "bench/hook: %s\n", err->text);
	exit(1);
}

static void measure_changes(size_t running, size_t resting)
{
	static double install[CHANGES], turn[CHANGES], removal[CHANGES];
	pthread_t threads[MOST_THREADS];
	struct lp_self_hook h = {.fn = (lp_addr)(uintptr_t)plain, .replacement = (lp_addr)(uintptr_t)replacement};
	struct lp_self_hook *hooks[] = {&h};
	struct lp_err err = {0};
	struct bench_figure f[3];

	if (pipe(gate))
		exit(1);
	atomic_store(&stop, false);
	for (size_t i = 0; i < running + resting; i++) {
		if (pthread_create(&threads[i], NULL, i < running ? run : rest, NULL))
			exit(1);
	}
	must(lp_self_prepare(&h, &err), &err);
	for (size_t i = 0; i < CHANGES; i++) {
		uint64_t begin = bench_now(), installed, turned;

		must(lp_self_commit(hooks, 1, &err), &err);
		installed = bench_now();
		must(lp_self_retarget(&h, (lp_addr)(uintptr_t)(i % 2 ? replacement : hooked), &err), &err);
		turned = bench_now();
		must(lp_self_remove(hooks, 1, &err), &err);
		removal[i] = (double)(bench_now() - turned) / 1000;
		turn[i] = (double)(turned - installed) / 1000;
		install[i] = (double)(installed - begin) / 1000;
	}
	lp_self_release(&h);
	atomic_store(&stop, true);
	close(gate[1]);
	for (size_t i = 0; i < running + resting; i++)
		pthread_join(threads[i], NULL);
	close(gate[0]);
	f[0] = bench_figure_of(install, CHANGES);
	f[1] = bench_figure_of(turn, CHANGES);
	f[2] = bench_figure_of(removal, CHANGES);
	printf("| %zu | %zu | %.1f (%.1f) | %.1f (%.1f) | %.1f (%.1f) |\n", running, resting, f[0].median, f[0].p90,
	       f[1].median, f[1].p90, f[2].median, f[2].p90);
}

/* ---- set-up ---- */

static struct lp_self_hook hook_to(int (*fn)(int), lp_addr to)
{
	struct lp_self_hook h = {.fn = (lp_addr)(uintptr_t)fn, .replacement = to};
	struct lp_err err = {0};

	must(lp_self_prepare(&h, &err), &err);
	return h;
}

static void install(struct lp_self_hook *h)
{
	struct lp_self_hook *hooks[] = {h};
	struct lp_err err = {0};

	must(lp_self_commit(hooks, 1, &err), &err);
}

/* A jump through memory, at a place that `near` reaches directly or does not. */
static lp_addr indirect_jump(int (*dest)(int), bool far)
{
	uint64_t reach = lp_self_isa()->reach;
	lp_addr to = (lp_addr)(uintptr_t)dest, wish = far ? lp_align_down(to - reach * 3, LP_PAGE) : 0;
	void *page = mmap((void *)(uintptr_t)wish, LP_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		exit(1);
	lp_self_isa()->island(page, (lp_addr)(uintptr_t)page, to);
	mprotect(page, LP_PAGE, PROT_READ | PROT_EXEC);
	__builtin___clear_cache(page, (char *)page + LP_PAGE);
	return (lp_addr)(uintptr_t)page;
}

int main(int argc, char **argv)
{
	by_indirect_jump = (int (*)(int))(uintptr_t)indirect_jump(plain, false);
	hook = hook_to(hooked, (lp_addr)(uintptr_t)replacement);
	hook_far = hook_to(hooked_far, indirect_jump(replacement, true));
	hook_through = hook_to(called_through, (lp_addr)(uintptr_t)calls_original);
	original = through_original = (int (*)(int))(uintptr_t)hook_through.original;
	install(&hook);
	install(&hook_far);
	install(&hook_through);

	printf("# Hooks in the own process\n\n");
	bench_print_machine(argv);
	printf("\n## Calls\n\n");
	measure_calls();
	printf("\n## Changes\n\nus for one hook, median (90th percentile); beside so many threads\n\n"
	       "| running | sleeping | install | turn to another replacement | remove |\n|---|---|---|---|---|\n");
	measure_changes(0, 0);
	measure_changes(1, 0);
	measure_changes(2, 0);
	measure_changes(0, 100);
	measure_changes(1, 100);
	return 0;
}
