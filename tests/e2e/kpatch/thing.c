/*
 * A library and a program that uses it from two threads.  Each line of input is answered with the library's view of the
 * main thread, another thread, a variable that the program has a copy of, and a function that the program overrides.
 */
#include <stdio.h>
#include <string.h>

#define API __attribute__((visibility("default")))

API extern int thing_shared;
API const char *thing_hook(void);
API int thing_step(int start);
API void thing_describe(char *out, size_t size);

#ifndef PROGRAM

/* Not in the order of their offsets: the one with a value comes first in the block, the other in the table of slots. */
static __thread int state;
static __thread int twin = -1;
API __thread int thing_exported_state;
API int thing_shared = 4;

API const char *thing_hook(void)
{
	return "library";
}

__attribute__((noinline)) static int advance(void)
{
#ifdef PATCHED
	twin += 100;
	state += 100;
	thing_exported_state += 100;
#else
	twin += 1;
	state += 1;
	thing_exported_state += 1;
#endif
	return state == thing_exported_state && state == twin ? state : -1;
}

API int thing_step(int start)
{
	if (!state)
		twin = state = thing_exported_state = start;
	return advance();
}

API void thing_describe(char *out, size_t size)
{
#ifdef PATCHED
	thing_shared++;
	snprintf(out, size, "shared %d hook %s, patched", thing_shared, thing_hook());
#else
	snprintf(out, size, "shared %d hook %s", thing_shared, thing_hook());
#endif
}

#else
#include <pthread.h>
#include <semaphore.h>

static sem_t go, done;
static int others;

const char *thing_hook(void)
{
	return "program";
}

static void *other(void *arg)
{
	for (;;) {
		sem_wait(&go);
		others = thing_step(20);
		sem_post(&done);
	}
	return arg;
}

int main(void)
{
	char line[100], text[100];
	pthread_t thread;
	setvbuf(stdout, NULL, _IOLBF, 0);
	sem_init(&go, 0, 0);
	sem_init(&done, 0, 0);
	pthread_create(&thread, NULL, other, NULL);
	thing_shared++; /* here, the program's copy */
	puts("ready");
	while (fgets(line, sizeof line, stdin)) {
		sem_post(&go);
		sem_wait(&done);
		int mine = thing_step(10);
		thing_describe(text, sizeof text);
		printf("main %d other %d %s\n", mine, others, text);
	}
	return 0;
}
#endif
