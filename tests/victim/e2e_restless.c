/*
 * A program that does not keep still, and notices a wrong register, a lost call, half a jump, or a child that somebody hurt.
 *
 *     ask     ok <behaviour> <rounds of each thing it does>     or, for ever after a failed check, wrong <what>
 *
 * <behaviour> has a letter for each function that a patch changes, `o` old, `n` new; they lie in different pages, so that
 * no single write changes both.  Each argument is a thing that it does all the time:
 *
 *     threads     are born and die
 *     fork        children are forked, look at everything, and end
 *     spawn       programs are run (vfork)
 *     exec        it is replaced by itself, every few milliseconds
 *     mayfly      children live for some milliseconds, with threads of their own
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "e2e_serve.h"

#define OWN_PAGE PATCHED __attribute__((aligned(4096)))

int first(int n);
const char *second(int n);

static _Atomic unsigned long rounds[5];
static _Atomic(const char *) wrong;
static _Atomic int alive;

OWN_PAGE int first(int n)
{
	return n + 1;
}

OWN_PAGE const char *second(int n)
{
	return n < 0 ? "negative" : "old";
}

static void check(int right, const char *what)
{
	const char *nothing = NULL;

	if (!right)
		atomic_compare_exchange_strong(&wrong, &nothing, what);
}

static char letter_of_first(void)
{
	int n = first(40);

	return n == 41 ? 'o' : n == 42 ? 'n' : '?';
}

static char letter_of_second(void)
{
	const char *text = second(1);

	return !strcmp(text, "old") ? 'o' : !strcmp(text, "new") ? 'n' : '?';
}

/* The reference is computed in memory, the copy in registers. */
static void look(void)
{
	volatile uint64_t in_memory = 1;
	uint64_t in_register = 1;
	double sum = 0;

	for (int i = 0; i < 500; i++) {
		in_register = in_register * 6364136223846793005u + 1442695040888963407u;
		in_memory = in_memory * 6364136223846793005u + 1442695040888963407u;
		sum += 0.5;
	}
	check(in_register == in_memory, "integer registers");
	check(sum == 250, "floating point registers");
	check(letter_of_first() != '?', "first()");
	check(letter_of_second() != '?', "second()");
}

static void end_child(void)
{
	_exit(atomic_load(&wrong) ? 1 : 0);
}

static void wait_for_child(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		atomic_fetch_add(&interrupted_calls, 1);
	check(WIFEXITED(status), "a child was killed");
	check(!WIFEXITED(status) || WEXITSTATUS(status) == 0, "a child noticed something");
}

/* ---- what it does ---- */

static void *live_briefly(void *arg)
{
	look();
	atomic_fetch_sub(&alive, 1);
	return arg;
}

static void bear_threads(void)
{
	pthread_attr_t detached;
	pthread_t t;

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&detached, 64 << 10);
	for (int i = 0; i < 4 && atomic_load(&alive) < 32; i++) {
		atomic_fetch_add(&alive, 1);
		if (pthread_create(&t, &detached, live_briefly, NULL))
			atomic_fetch_sub(&alive, 1);
	}
	pthread_attr_destroy(&detached);
	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void fork_child(void)
{
	pid_t child = fork();

	if (child == 0) {
		look();
		end_child();
	}
	check(child > 0, "fork");
	wait_for_child(child);
}

static void run_program(void)
{
	extern char **environ;
	char *argv[] = {"true", NULL};
	pid_t child;

	check(posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ) == 0, "posix_spawn");
	wait_for_child(child);
}

static void *look_for_ever(void *arg)
{
	for (;;)
		look();
	return arg;
}

static void live_as_mayfly(void)
{
	pthread_t t;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < 2; i++)
		if (pthread_create(&t, NULL, look_for_ever, NULL))
			_exit(2);
	for (int i = 0; i < 20; i++) {
		look();
		nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
	}
	end_child();
}

static void bear_mayflies(void)
{
	pid_t children[3];

	for (int i = 0; i < 3; i++) {
		children[i] = fork();
		if (children[i] == 0)
			live_as_mayfly();
		check(children[i] > 0, "fork");
	}
	for (int i = 0; i < 3; i++)
		wait_for_child(children[i]);
}

enum { THREADS, FORK, SPAWN, EXEC, MAYFLY };

static const struct {
	const char *name;
	void (*once)(void);
} things[] = {[THREADS] = {"threads", bear_threads},
	      [FORK] = {"fork", fork_child},
	      [SPAWN] = {"spawn", run_program},
	      [EXEC] = {"exec", NULL},
	      [MAYFLY] = {"mayfly", bear_mayflies}};
#define NR_THINGS (sizeof things / sizeof things[0])

static void *do_all_the_time(void *arg)
{
	size_t i = (size_t)arg;

	for (;;) {
		things[i].once();
		atomic_fetch_add(&rounds[i], 1);
	}
	return NULL;
}

/* ---- being asked ---- */

static void answer(char *request)
{
	const char *what = atomic_load(&wrong);

	if (what)
		say("wrong %s", what);
	else if (atomic_load(&interrupted_calls))
		say("wrong: a call was interrupted");
	else
		say("ok %c%c %lu %lu %lu %lu %lu", letter_of_first(), letter_of_second(), rounds[0], rounds[1],
		    rounds[2], rounds[3], rounds[4]);
}

/* What it has seen so far goes along: the other threads end as they are, and whatever they have not told yet is lost. */
static void be_replaced(char **argv)
{
	char text[32];

	if (atomic_load(&wrong) || atomic_load(&interrupted_calls))
		return;
	snprintf(text, sizeof text, "%lu", atomic_load(&rounds[EXEC]) + 1);
	setenv("RESTLESS_EXECS", text, 1);
	execv("/proc/self/exe", argv);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static void serve_and_be_replaced(char **argv)
{
	char line[256];
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

	if (!getenv("RESTLESS_EXECS"))
		say("ready");
	else
		rounds[EXEC] = strtoul(getenv("RESTLESS_EXECS"), NULL, 10);
	/* Lives of all lengths: some end before a change has begun, some while it is made, some after it. */
	for (int64_t end = now_ms() + 2 + (int64_t)(rounds[EXEC] * 7 % 50);;) {
		int64_t left = end - now_ms();
		int ready = left > 0 ? poll(&input, 1, left < 1000 ? (int)left : 1000) : 0;

		if (ready == 0 && left < 1000)
			be_replaced(argv);
		else if (ready < 0)
			check(errno == EINTR, "poll");
		else if (read_line(STDIN_FILENO, line, sizeof line))
			answer(line);
		else
			exit(0);
		if (ready == 0)
			end = INT64_MAX / 2; /* it has noticed something, and stays to tell */
	}
}

int main(int argc, char **argv)
{
	int execs = 0;

	for (int i = 1; i < argc; i++)
		for (size_t k = 0; k < NR_THINGS; k++) {
			pthread_t t;

			if (strcmp(argv[i], things[k].name))
				continue;
			execs |= k == EXEC;
			if (things[k].once && pthread_create(&t, NULL, do_all_the_time, (void *)k))
				return 1;
		}
	if (execs)
		serve_and_be_replaced(argv);
	serve(answer);
	return 0;
}
