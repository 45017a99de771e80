/*
 * Threads that are born and die by the thousand each second, from several
 * parents at once, detached, with some that only make further threads.
 *
 *     ask     ok <threads so far> <func_J's answer>
 *
 * First argument: how many threads breed.  Second: "spawn" and each of them
 * also runs a program now and then, as fast as it can.
 */
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "e2e_serve.h"

const char *func_J(int n);

static _Atomic unsigned long born;
static _Atomic int wrong;
static _Atomic int alive;
static int spawns;
static pthread_attr_t detached;

PATCHED const char *func_J(int n)
{
	return n < 0 ? "negative" : "original J";
}

static void check(void)
{
	const char *answer = func_J(1);

	if (strcmp(answer, "original J") && strcmp(answer, "patched J"))
		atomic_store(&wrong, 1);
}

static void *live_briefly(void *arg)
{
	check();
	atomic_fetch_sub(&alive, 1);
	return NULL;
}

static int bear(void *(*life)(void *))
{
	pthread_t t;

	atomic_fetch_add(&alive, 1);
	if (pthread_create(&t, &detached, life, NULL) == 0) {
		atomic_fetch_add(&born, 1);
		return 1;
	}
	atomic_fetch_sub(&alive, 1);
	return 0;
}

static void *bear_two(void *arg)
{
	bear(live_briefly);
	bear(live_briefly);
	return live_briefly(arg);
}

static void run_a_program(void)
{
	extern char **environ;
	char *argv[] = {"true", NULL};
	pid_t child;

	if (posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ) == 0)
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
}

static void *breed(void *arg)
{
	for (unsigned i = 0;; i++) {
		if (atomic_load(&alive) > 64)
			sched_yield();
		else
			bear(i % 8 ? live_briefly : bear_two);
		if (spawns && i % 16 == 0)
			run_a_program();
	}
	return NULL;
}

static void answer(char *request)
{
	if (atomic_load(&wrong) || atomic_load(&interrupted_calls))
		say("wrong");
	else
		say("ok %lu %s", atomic_load(&born), func_J(1));
}

int main(int argc, char **argv)
{
	pthread_t t;
	int parents = argc > 1 ? atoi(argv[1]) : 4;

	spawns = argc > 2 && !strcmp(argv[2], "spawn");
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&detached, 64 << 10);
	for (int i = 0; i < parents; i++)
		if (pthread_create(&t, NULL, breed, NULL))
			return 1;
	serve(answer);
	return 0;
}
