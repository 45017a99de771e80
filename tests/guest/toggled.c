/*
 * Threads that run through three functions for ever, while those are patched:
 *
 *     pair       two instructions that are replaced together: what they give must be equal
 *     plain      which calls of may be redirected to `twin`: either gives what only the whole of it can
 *     grows      before which code may be inserted
 *
 * Any other answer ends the program with a line about it.  Arguments: how many
 * threads; after how many rounds each gives way to another one (sched_yield(2)),
 * by default never.  Input: a line is answered by the number of rounds so far.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* mov w0, #1; mov w1, #1; cmp w0, w1; cset w0, eq; ret */
__asm__(".text; .globl pair; .type pair, %function; pair: mov w0, #1; mov w1, #1; cmp w0, w1; cset w0, eq; ret; .size "
	"pair, . - pair");
__asm__(".text; .globl grows; .type grows, %function; grows: mov w0, #5; add w0, w0, #1; ret; .size grows, . - grows");

int pair(void);
int grows(void);

__attribute__((noipa)) long plain(long x)
{
	return x * 3 + 1;
}
__attribute__((noipa)) long twin(long x)
{
	return x * 7 + 2;
}

static atomic_ulong rounds;
static long burst;

static void fail(const char *what, long answer)
{
	printf("mixture: %s gave %ld\n", what, answer);
	fflush(stdout);
	_exit(1);
}

/* Threads have bursts of different lengths, so that they are met at different places. */
static void *run(void *arg)
{
	long number = (long)arg, left = burst + number;

	for (long i = 0;; i++) {
		long p = plain(i);
		if (pair() != 1)
			fail("pair", 0);
		if (p != i * 3 + 1 && p != i * 7 + 2)
			fail("plain", p);
		if (grows() != 6)
			fail("grows", grows());
		atomic_fetch_add_explicit(&rounds, 1, memory_order_relaxed);
		if (burst && --left == 0) {
			left = burst + number;
			sched_yield();
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	char line[64];
	pthread_t thread;

	burst = argc > 2 ? atoi(argv[2]) : 0;
	for (long i = argc > 1 ? atoi(argv[1]) : 64; i > 0; i--)
		pthread_create(&thread, NULL, run, (void *)i);
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		printf("%lu\n", atomic_load(&rounds));
		fflush(stdout);
	}
	return 0;
}
