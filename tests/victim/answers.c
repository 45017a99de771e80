/*
 * Threads that call functions which somebody changes meanwhile, and abort when
 * an answer is none of those that make sense.  Each function is as compilers
 * make it, or smaller.
 *
 *     answers [THREADS]
 */
#include <sched.h>

#include "victim.h"

/* What callers know of it is its name. */
#ifdef __clang__
#define ALONE __attribute__((noinline))
#else
#define ALONE __attribute__((noipa))
#endif

int nine(void);
int add(int a, int b);
int subtract(int a, int b);
int twice(int a, int b);
int linger(int fd);
int count(void);

/* mov of an immediate: one instruction to be replaced, in a function that is too short for most things. */
#ifdef __x86_64__
__asm__(".text\n.p2align 4\n.globl nine\n.type nine,@function\n"
	"nine: mov $9,%eax\n ret\n.size nine,.-nine\n"
	".skip 64\n");
#else
__asm__(".text\n.p2align 4\n.globl nine\n.type nine,%function\n"
	"nine: mov w0,#9\n ret\n.size nine,.-nine\n"
	".skip 64\n");
#endif

static volatile int base = 100;
volatile int kept = 100; /* by nobody read */

ALONE int add(int a, int b)
{
	return base + a + b;
}

ALONE int subtract(int a, int b)
{
	return base + a - b;
}

ALONE int twice(int a, int b)
{
	return base + 2 * (a + b);
}

/* Somebody is in here for as long as nothing comes. */
ALONE int linger(int fd)
{
	char byte;
	return read(fd, &byte, 1) == 1 ? byte : -1;
}

ALONE int count(void)
{
	static int calls;
	return __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
}

static bool makes_sense(int nines, int sum)
{
	return nines >= 1 && nines <= 9 && (sum == 112 || sum == 108 || sum == 124);
}

static void *call(void *arg)
{
	struct victim_slot *slot = arg;
	for (;;) {
		int nines = nine(), sum = add(10, 2);
		victim_check(slot, makes_sense(nines, sum), "an answer that makes no sense");
		slot->extra = (uint64_t)nines * 1000 + (uint64_t)sum;
		slot->beats++;
		sched_yield();
	}
	return NULL;
}

static void *stay(void *arg)
{
	int ends[2];
	if (pipe(ends))
		abort();
	victim_page->slots[VICTIM_SLOTS - 1].extra = (uint64_t)linger(ends[0]);
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t t;
	victim_open();
	/* They are called by whoever changes them. */
	if (subtract(10, 2) != 108 || twice(10, 2) != 124 || count() != 1 || pthread_create(&t, NULL, stay, NULL))
		abort();
	int threads = argc > 1 ? atoi(argv[1]) : 1;
	for (int i = 1; i < threads; i++) {
		if (pthread_create(&t, NULL, call, &victim_page->slots[i]))
			abort();
	}
	for (int i = 0; i < threads; i++)
		victim_ready();
	call(&victim_page->slots[0]);
}
