/*
 * Much of what compilers make of C in one file.  Answers each line of input with what it computes; with PATCHED, as the
 * fix has it.  State must survive a patch, and nothing but what differs may change.
 */
#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEP __attribute__((noinline, noclone))

static int calls = 100; /* of this file: must not be copied */
static __thread int per_thread = 7;
int exported = 5;
volatile int zero; /* so that nothing is computed in advance */

#ifdef PATCHED
static const char *const words[] = {"nil", "one", "two", "three", "four", "five"};
static int added_state = 40;
int added_global;
#else
static const char *const words[] = {"zero", "one", "two", "three", "four"};
#endif

/* Static variables of the same name in two functions, one of which changes. */
KEEP static int first_count(void)
{
	static int count = 10;
	return ++count;
}

#ifdef PATCHED
KEEP static int helper(int x)
{
	static int count = 1000;
	added_global += 2;
	return x + ++count + added_global;
}
#endif

KEEP static int second_count(void)
{
#ifdef PATCHED
	static int fresh = 500;
	fresh++;
#endif
	static int count = 20;
	count++;
#ifdef PATCHED
	return count + fresh - 501 + helper(0) - 1003;
#else
	return count;
#endif
}

/* A jump table. */
KEEP static const char *choose(int n)
{
	switch (n + zero) {
	case 0:
		return words[zero];
	case 1:
		return "uno";
	case 2:
		calls += 1;
		return "due";
	case 3:
		puts("");
		return "tre";
	case 4:
		return words[zero + 4];
	case 5:
#ifdef PATCHED
		return "cinque, fixed";
#else
		return "cinque";
#endif
	case 6:
		return "sei";
	default:
		return "?";
	}
}

KEEP static double scale(double x)
{
#ifdef PATCHED
	return x * 2.5 + zero;
#else
	return x * 1.5 + zero;
#endif
}

KEEP static int thread_local_sum(void)
{
#ifdef PATCHED
	per_thread += 3;
#else
	per_thread += 1;
#endif
	return per_thread;
}

/* Its address must stay what it was, also when the new code asks for it. */
KEEP int compare(const void *a, const void *b)
{
#ifdef PATCHED
	return *(const int *)b - *(const int *)a;
#else
	return *(const int *)a - *(const int *)b;
#endif
}

static int (*remembered)(const void *, const void *) = compare;

KEEP static int same_function(void)
{
#ifdef PATCHED
	int (*volatile now)(const void *, const void *) = compare;
	return now == remembered;
#else
	return remembered == compare;
#endif
}

/* Differs in nothing but the line that assert() tells. */
KEEP static int asserts(int x)
{
	assert(x >= zero);
	return x + 1;
}

/* New imports: functions and a variable that the program did not use. */
KEEP static int imports(const char *text)
{
#ifdef PATCHED
	extern char **environ;
	return toupper((unsigned char)text[0]) + (environ && strpbrk(text, "xyz") ? 1 : 0) + added_state;
#else
	return text[0] + (text[1] & zero); /* long enough for a jump */
#endif
}

/* Flags and the red zone are live around accesses to globals. */
KEEP static int arithmetic(int x)
{
	int y = x;
#ifdef PATCHED
	exported += x;
	y += 3;
#endif
	exported -= zero;
	return (exported > x ? y : -y) + (exported & 1);
}

KEEP static void answer(const char *line)
{
	int numbers[] = {3, 1, 2};
	calls++;
	qsort(numbers, 3, sizeof numbers[0], compare);
	printf("%d %d %d %s %s %.2f %d %d%d%d %d %d %d %d\n", calls, first_count(), second_count(), choose(zero), choose(5),
	       scale(2), thread_local_sum(), numbers[0], numbers[1], numbers[2], same_function(), asserts(1), imports(line),
	       arithmetic(4));
}

int main(void)
{
	char line[100];
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof line, stdin))
		answer(line);
	return 0;
}
