/*
 * Threads that are born and die as fast as the machine can make them; each
 * calls func_J once and checks its answer.
 *
 *     ask     ok <threads so far> <func_J's answer>
 */
#include <pthread.h>

#include "e2e_serve.h"

const char *func_J(int n);

static _Atomic unsigned long born;
static _Atomic int wrong;

PATCHED const char *func_J(int n)
{
	return n < 0 ? "negative" : "original J";
}

static void *live_briefly(void *arg)
{
	const char *answer = func_J(1);

	if (strcmp(answer, "original J") && strcmp(answer, "patched J"))
		atomic_store(&wrong, 1);
	return NULL;
}

static void *breed(void *arg)
{
	for (;;) {
		pthread_t t[4];

		for (int i = 0; i < 4; i++)
			if (pthread_create(&t[i], NULL, live_briefly, NULL))
				_exit(1);
		for (int i = 0; i < 4; i++)
			pthread_join(t[i], NULL);
		atomic_fetch_add(&born, 4);
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

int main(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, breed, NULL))
		return 1;
	serve(answer);
	return 0;
}
