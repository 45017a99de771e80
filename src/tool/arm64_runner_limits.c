/*
 * Limits of resources that the user has set, and what the runner does about them.
 *
 * They are meant for the program, which is under them as it would be natively;
 * the runner, in the same process, needs more than some programs do.
 *
 * Stack.  Threads have one of their own each.  The first one's is the kernel's,
 * and ends where RLIMIT_STACK says; where that is too little the work is done on
 * another one, and threads that would be made by the same limit get more too.
 *
 * Memory.  The runner's own counts, and a refusal could not be told.
 */
#include "tool/arm64_runner.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>
#include <unistd.h>

#define GOOD_STACK ((size_t)1 << 20)
#define GUARD ((size_t)64 << 10)
#define NEEDED ((size_t)4 << 20) /* tables of translations, heap, stacks of its threads */

/* ---- stack ---- */

static struct work {
	int (*run)(int argc, char **argv);
	int argc, status;
	char **argv;
} work;

static void do_work(void)
{
	work.status = work.run(work.argc, work.argv);
	/* The stack that main had is not gone back to: exit() may need more than there is. */
	exit(work.status);
}

static bool is_stack_good(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_STACK, &limit) || limit.rlim_cur >= GOOD_STACK;
}

static void give_threads_good_stacks(void)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, GOOD_STACK);
	pthread_setattr_default_np(&attr);
	pthread_attr_destroy(&attr);
}

/* The C library's choice for threads is the same limit, or eight megabytes, which a limit of data counts. */
static bool are_stacks_of_threads_good(void)
{
	struct rlimit data;

	return is_stack_good() && (getrlimit(RLIMIT_DATA, &data) || data.rlim_cur == RLIM_INFINITY);
}

int runner_on_good_stack(int (*run)(int argc, char **argv), int argc, char **argv)
{
	static ucontext_t context; /* nearly a kilobyte, where there may be little */
	char *stack;

	if (!are_stacks_of_threads_good())
		give_threads_good_stacks();
	if (is_stack_good())
		return run(argc, argv);
	stack = mmap(NULL, GUARD + GOOD_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		     0);
	if (stack == MAP_FAILED || mprotect(stack, GUARD, PROT_NONE))
		return run(argc, argv);
	work = (struct work){.run = run, .argc = argc, .argv = argv};
	getcontext(&context);
	context.uc_stack.ss_sp = stack + GUARD;
	context.uc_stack.ss_size = GOOD_STACK;
	makecontext(&context, do_work, 0);
	setcontext(&context);
	return RUNNER_FAILED; /* setcontext() has not come back so far */
}

/* ---- memory ---- */

static const struct {
	int which;
	char letter;
	const char *name;
} limits[] = {{RLIMIT_DATA, 'd', "data"}, {RLIMIT_AS, 'v', "address space"}};

static int too_little(struct lp_err *err)
{
	struct rlimit limit;
	size_t least = 0;
	rlim_t value = RLIM_INFINITY;

	for (size_t i = 0; i < LP_ARRAY_SIZE(limits); i++)
		if (getrlimit((__rlimit_resource_t)limits[i].which, &limit) == 0 && limit.rlim_cur < value) {
			value = limit.rlim_cur;
			least = i;
		}
	if (value == RLIM_INFINITY)
		return lp_fail(err, ENOMEM, "there is no memory: the runner needs %zu KB beside the program's",
			       NEEDED >> 10);
	return lp_fail(
		err, ENOMEM,
		"the limit of %s (ulimit -%c) is %llu KB, too little: the runner needs %zu KB beside the program's; "
		"raise it",
		limits[least].name, limits[least].letter, (unsigned long long)value >> 10, NEEDED >> 10);
}

int runner_limits_check(struct lp_err *err)
{
	void *room = mmap(NULL, NEEDED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (room == MAP_FAILED)
		return too_little(err);
	munmap(room, NEEDED);
	return 0;
}

/* ---- descriptors ---- */

void runner_limits_nofile(unsigned long nr)
{
	struct rlimit limit;

	if (!nr || getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = nr < limit.rlim_max ? nr : limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}
