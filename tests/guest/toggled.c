/*
 * Threads that run through functions for ever, while those are patched:
 *
 *     pair       two instructions that are replaced together: what they give must be equal
 *     plain      which calls of may be redirected to `twin`: either gives what only the whole of it can
 *     grows      before which code may be inserted
 *     turns      the like of pair, at the head of a loop that counts turns in which what they gave was not equal
 *     laps       whose calls may be redirected to `longer` while others are in its loop
 *     widens     a loop at whose head code may be inserted: each turn counts once
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

__asm__(".text; .globl turns; .type turns, %function; turns: mov w2, #20; mov w3, #0; "
	".globl turn; turn: mov w0, #1; mov w1, #1; cmp w0, w1; cinc w3, w3, ne; subs w2, w2, #1; b.ne turn; "
	"mov w0, w3; ret; .size turns, . - turns");
__asm__(".text; .globl widens; .type widens, %function; widens: mov w2, #20; mov w0, #0; "
	".globl widen; widen: add w0, w0, #1; subs w2, w2, #1; b.ne widen; ret; .size widens, . - widens");
__asm__(".text; .globl laps; .type laps, %function; laps: mov x2, #20; mov x1, #1; "
	"1: add x1, x1, x0; subs x2, x2, #1; b.ne 1b; mov x0, x1; ret; .size laps, . - laps");
__asm__(".text; .globl longer; .type longer, %function; longer: mov x2, #30; mov x1, #2; "
	"1: add x1, x1, x0; subs x2, x2, #1; b.ne 1b; mov x0, x1; ret; .size longer, . - longer");

int pair(void);
int grows(void);
int turns(void);
int widens(void);
long laps(long x);

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

static void through_loops(long i)
{
	long l = laps(i), t = turns(), w = widens();

	if (t != 0)
		fail("turns", t);
	if (l != i * 20 + 1 && l != i * 30 + 2)
		fail("laps", l);
	if (w != 20)
		fail("widens", w);
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
		through_loops(i);
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
