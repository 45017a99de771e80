/*
 * Threads call functions while another thread hooks them, turns the hooks to
 * other replacements, and takes them away again.
 *
 *     torture SECONDS VARIANT
 *
 * Every call must return what the function returns, or what one of its
 * replacements makes of that; the thread that changes them knows which of the
 * three it must be.  Ends with 0 when that was so, and prints the counts.
 *
 *     plain    two threads that do nothing but call
 *     deaf     they block every signal that can be blocked
 *     stacks   they handle signals on stacks of their own, and hooked functions are called from handlers
 *     storm    a timer's signals rain down on all of them, and handlers call as well
 *     churn    threads come and go all the time
 *     forks    children are forked all the time, and call
 *     sleepers threads that sleep in calls which an interruption would cut short; none may be, where /proc tells
 *              who sleeps (not under an emulator)
 *     naive    the jump is written as everybody writes it, to see that this program notices: must die, or be wrong
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/vec.h"
#include "self/self.h"
#include "self/threads.h"
#include "self_victims.h"

#define CALLERS 2
#define SLEEPERS 8

#define REFUSALS_SHOWN 3

#define ADDED_BY_ONE 1000
#define ADDED_BY_TWO 2000

struct victim {
	const char *name;
	int (*call)(int);
	int (*one)(int);
	int (*two)(int);
	int (*volatile original)(int);
	struct lp_self_hook hook;
	int added; /* by what is installed now, as the changing thread knows */
};

#define REPLACEMENTS(name)            \
	static int one_##name(int x); \
	static int two_##name(int x);
SELF_VICTIMS(REPLACEMENTS)

#define VICTIM(n) {.name = #n, .call = victim_##n, .one = one_##n, .two = two_##n},
static struct victim victims[] = {SELF_VICTIMS(VICTIM)};

enum {
#define INDEX(n) INDEX_##n,
	SELF_VICTIMS(INDEX) VICTIMS
};

#undef REPLACEMENTS
#define REPLACEMENTS(name)                                               \
	static int one_##name(int x)                                     \
	{                                                                \
		return victims[INDEX_##name].original(x) + ADDED_BY_ONE; \
	}                                                                \
	static int two_##name(int x)                                     \
	{                                                                \
		return victims[INDEX_##name].original(x) + ADDED_BY_TWO; \
	}
SELF_VICTIMS(REPLACEMENTS)

static _Atomic bool stop;
static _Atomic unsigned long calls, diverted, wrong, handled, came, children, cut_short;
static unsigned long changes, refused;

/* ---- those who call ---- */

static bool is_right(int x, int got)
{
	return got == 2 * x || got == 2 * x + ADDED_BY_ONE || got == 2 * x + ADDED_BY_TWO;
}

static void call_all(int x)
{
	unsigned long other = 0;

	for (size_t i = 0; i < VICTIMS; i++) {
		int got = victims[i].call(x);

		if (!is_right(x, got))
			atomic_fetch_add(&wrong, 1);
		other += got != 2 * x;
	}
	atomic_fetch_add(&calls, VICTIMS);
	atomic_fetch_add(&diverted, other);
}

static void *caller(void *arg)
{
	for (int x = 1; !atomic_load(&stop); x = x % 255 + 1)
		call_all(x);
	return NULL;
}

static void *deaf_caller(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, SIGTRAP);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	return caller(arg);
}

static void on_signal(int sig)
{
	int saved = errno;

	call_all(7);
	atomic_fetch_add(&handled, 1);
	errno = saved;
}

static void *caller_with_stack(void *arg)
{
	stack_t stack = {.ss_size = 64 * 1024}, before;

	stack.ss_sp = lp_alloc(stack.ss_size);
	sigaltstack(&stack, &before);
	for (int x = 1; !atomic_load(&stop); x = x % 255 + 1) {
		call_all(x);
		if (x % 16 == 0)
			pthread_kill(pthread_self(), SIGUSR1);
	}
	sigaltstack(&before, NULL);
	lp_free(stack.ss_sp);
	return NULL;
}

/* ---- those who make it harder ---- */

static void *short_life(void *arg)
{
	for (int x = 1; x < 50; x++)
		call_all(x);
	atomic_fetch_add(&came, 1);
	return NULL;
}

static void *churn(void *arg)
{
	while (!atomic_load(&stop)) {
		pthread_t t;

		if (!pthread_create(&t, NULL, short_life, NULL))
			pthread_join(t, NULL);
	}
	return NULL;
}

static void *forker(void *arg)
{
	while (!atomic_load(&stop)) {
		int status;
		pid_t child = fork();

		if (!child) {
			unsigned long before = wrong;

			for (int x = 1; x < 50; x++)
				call_all(x);
			_exit(wrong != before);
		}
		if (child < 0 || waitpid(child, &status, 0) != child || status)
			atomic_fetch_add(&wrong, 1);
		atomic_fetch_add(&children, 1);
	}
	return NULL;
}

static int never[2]; /* a pipe that says nothing until the end */

static void *sleeper(void *arg)
{
	struct pollfd p = {.fd = never[0], .events = POLLIN};

	call_all(3);
	if (poll(&p, 1, -1) < 0) /* EINTR: somebody sent us a signal */
		atomic_fetch_add(&cut_short, 1);
	call_all(3);
	return NULL;
}

static void handle(int sig, int flags)
{
	struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESTART | flags};

	sigaction(sig, &a, NULL);
}

static void rain(void)
{
	struct itimerval every = {{0, 200}, {0, 200}};

	setitimer(ITIMER_REAL, &every, NULL);
}

/* ---- the one who changes ---- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what, const struct lp_err *err)
{
	printf("%s: %s\n", what, err->text);
	exit(1);
}

static void prepare_all(void)
{
	struct lp_err err = {0};

	for (size_t i = 0; i < VICTIMS; i++) {
		struct victim *v = &victims[i];

		v->hook = (struct lp_self_hook){.fn = (lp_addr)(uintptr_t)v->call,
						.replacement = (lp_addr)(uintptr_t)v->one};
		if (lp_self_prepare(&v->hook, &err))
			die(v->name, &err);
		v->original = (int (*)(int))(uintptr_t)v->hook.original;
	}
}

static void check_all(void)
{
	for (size_t i = 0; i < VICTIMS; i++) {
		for (int x = 1; x < 4; x++) {
			if (victims[i].call(x) != 2 * x + victims[i].added) {
				printf("%s is not what it was made\n", victims[i].name);
				atomic_fetch_add(&wrong, 1);
			}
		}
	}
}

static void count(int rc, const char *what, const struct lp_err *err)
{
	if (!rc)
		changes++;
	else if (rc == -LP_EBUSY && refused++ < REFUSALS_SHOWN)
		printf("%s: %s\n", what, err->text);
	else if (rc != -LP_EBUSY)
		die(what, err);
}

/* Installs the hooks of some that have none, or removes some, in one go. */
static void change_some(bool install)
{
	struct lp_self_hook *some[VICTIMS];
	struct lp_err err = {0};
	size_t nr = 0;
	int rc;

	for (size_t i = 0; i < VICTIMS; i++) {
		if (!victims[i].added == install && rand() % 2)
			some[nr++] = &victims[i].hook;
	}
	if (!nr)
		return;
	rc = install ? lp_self_commit(some, nr, &err) : lp_self_remove(some, nr, &err);
	count(rc, install ? "commit" : "remove", &err);
	for (size_t i = 0; i < VICTIMS && !rc; i++) {
		struct victim *v = &victims[i];

		for (size_t k = 0; k < nr; k++) {
			if (some[k] == &v->hook)
				v->added = !install					       ? 0
					   : v->hook.replacement == (lp_addr)(uintptr_t)v->one ? ADDED_BY_ONE
											       : ADDED_BY_TWO;
		}
	}
}

static void turn_one(void)
{
	struct victim *v = &victims[rand() % VICTIMS];
	bool to_two = v->hook.replacement == (lp_addr)(uintptr_t)v->one;
	struct lp_err err = {0};
	int rc = lp_self_retarget(&v->hook, (lp_addr)(uintptr_t)(to_two ? v->two : v->one), &err);

	count(rc, "retarget", &err);
	if (!rc && v->added)
		v->added = to_two ? ADDED_BY_TWO : ADDED_BY_ONE;
}

static void change_until(double end)
{
	while (now() < end) {
		switch (rand() % 3) {
		case 0:
			change_some(true);
			break;
		case 1:
			change_some(false);
			break;
		default:
			turn_one();
		}
		check_all();
	}
}

static void remove_all(void)
{
	struct lp_err err = {0};

	for (size_t i = 0; i < VICTIMS; i++) {
		struct lp_self_hook *h = &victims[i].hook;

		if (victims[i].added && lp_self_remove(&h, 1, &err))
			die("the last remove", &err);
		victims[i].added = 0;
	}
	check_all();
}

/* ---- variants ---- */

struct variant {
	const char *name;
	void *(*callers)(void *);
	void *(*extra)(void *);
	size_t nr_extra;
	bool rains;
	int flags; /* of handlers */
};

static const struct variant variants[] = {
	{"plain", caller, NULL, 0, false, 0},
	{"deaf", deaf_caller, NULL, 0, false, 0},
	{"stacks", caller_with_stack, NULL, 0, false, SA_ONSTACK},
	{"storm", caller, NULL, 0, true, 0},
	{"churn", caller, churn, 2, false, 0},
	{"forks", caller, forker, 1, false, 0},
	{"sleepers", caller, sleeper, SLEEPERS, false, 0},
};

static void run(const struct variant *v, double seconds)
{
	pthread_t threads[CALLERS + SLEEPERS];
	size_t nr = 0;

	handle(SIGUSR1, v->flags);
	handle(SIGALRM, v->flags);
	if (pipe(never))
		abort();
	for (size_t i = 0; i < CALLERS + v->nr_extra; i++) {
		if (!pthread_create(&threads[nr], NULL, i < CALLERS ? v->callers : v->extra, NULL))
			nr++;
	}
	if (v->rains)
		rain();
	change_until(now() + seconds);
	remove_all();
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	atomic_store(&stop, true);
	close(never[1]);
	for (size_t i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
}

/* ---- naive ---- */

static void *call_one(void *arg)
{
	for (int x = 1; !atomic_load(&stop); x = x % 255 + 1) {
		if (!is_right(x, victim_line(x)))
			atomic_fetch_add(&wrong, 1);
	}
	return NULL;
}

/* What a call of any hook library comes to; in a child, as it does not end well. */
static void toggle_naively(double end)
{
	struct lp_self_edit edits[2];
	size_t nr = lp_self_hook_edits(&victims[INDEX_line].hook, edits);
	lp_addr page = lp_align_down(edits[0].at, LP_PAGE);
	pthread_t threads[CALLERS];

	if (nr != 1 || mprotect((void *)(uintptr_t)page, 2 * LP_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC))
		_exit(0);
	for (size_t i = 0; i < CALLERS; i++)
		pthread_create(&threads[i], NULL, call_one, NULL);
	while (now() < end && !wrong) {
		memcpy((void *)(uintptr_t)edits[0].at, edits[0].new_bytes, edits[0].len);
		memcpy((void *)(uintptr_t)edits[0].at, edits[0].old_bytes, edits[0].len);
	}
	_exit(wrong != 0);
}

static int run_naively(double seconds)
{
	double begin = now();
	int status = 0;
	pid_t child = fork();

	if (!child)
		toggle_naively(begin + seconds);
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 1;
	printf("naive: after %.3f s %s\n", now() - begin,
	       WIFSIGNALED(status) ? strsignal(WTERMSIG(status))
	       : status		   ? "a wrong result"
				   : "nothing was noticed");
	return !status;
}

int main(int argc, char **argv)
{
	double seconds = argc > 2 ? atof(argv[1]) : 0;
	const char *name = argc > 2 ? argv[2] : "";

	setvbuf(stdout, NULL, _IOLBF, 0);
	prepare_all();
	if (!strcmp(name, "naive"))
		return run_naively(seconds);
	for (size_t i = 0; i < LP_ARRAY_SIZE(variants); i++) {
		if (strcmp(variants[i].name, name))
			continue;
		run(&variants[i], seconds);
		printf("%s: %lu changes, %lu refused; %lu calls, %lu of them diverted, %lu wrong; %lu in handlers, %lu "
		       "threads, %lu children, %lu calls cut short\n",
		       name, changes, refused, calls, diverted, wrong, handled, came, children, cut_short);
		return wrong || (cut_short && lp_threads_tell_rest()) || !changes || !diverted || diverted == calls;
	}
	printf("usage: torture SECONDS plain|deaf|stacks|storm|churn|forks|sleepers|naive\n");
	return 2;
}
