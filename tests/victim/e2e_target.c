/*
 * The target that the example of the 2004 livepatch patches: func_J answers,
 * str_P is printed.  With N threads that call func_J all the time and check
 * their own arithmetic.
 *
 *     e2e_target [THREADS]
 *     ask     ok <calls> <func_J's answer> | <str_P>
 *     ints    the values that `set` can change
 *     got     who answers getppid(): "kernel" or "patch"
 *     eintr   number of calls that were interrupted
 */
#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "e2e_serve.h"

const char *func_J(int n);
char *str_P = "original message";

/* What `set` writes; each stands between guards that must keep their value. */
struct guarded {
	uint64_t before;
	char bytes[32];
	uint64_t after;
};
#define GUARD UINT64_C(0x5afe5afe5afe5afe)
struct guarded set_here = {GUARD, "abcdefghijklmnopqrstuvwxyz", GUARD};
int32_t set_int = 1;

static _Atomic unsigned long calls;
static _Atomic(const char *) wrong;

PATCHED const char *func_J(int n)
{
	return n < 0 ? "negative" : "original J";
}

static void check_answer(const char *answer)
{
	if (strcmp(answer, "original J") && strcmp(answer, "patched J"))
		atomic_store(&wrong, "func_J");
}

static void *work(void *arg)
{
	uint64_t reg = 1, steps = 0;
	volatile uint64_t mem = 1;
	double sum = 0;
	const struct timespec pause = {.tv_nsec = 1000000};

	for (;;) {
		for (int i = 0; i < 200; i++, steps++) {
			reg = reg * 6364136223846793005u + 1;
			mem = mem * 6364136223846793005u + 1;
			sum += 0.5;
		}
		if (reg != mem || sum != steps * 0.5)
			atomic_store(&wrong, "arithmetic");
		check_answer(func_J(1));
		atomic_fetch_add(&calls, 1);
		/* The first spins; many spinning ones would only measure the scheduler. */
		if (arg && nanosleep(&pause, NULL))
			atomic_fetch_add(&interrupted_calls, 1);
	}
	return NULL;
}

static void say_bytes(void)
{
	char hex[2 * sizeof set_here.bytes + 1];

	for (size_t i = 0; i < sizeof set_here.bytes; i++)
		snprintf(hex + 2 * i, 3, "%02x", (unsigned char)((volatile char *)set_here.bytes)[i]);
	if (set_here.before != GUARD || set_here.after != GUARD)
		say("wrong: the guards around the bytes changed");
	else
		say("int %d bytes %s", *(volatile int32_t *)&set_int, hex);
}

static void answer(char *request)
{
	const char *what = atomic_load(&wrong);

	if (what)
		say("wrong: %s", what);
	else if (!strcmp(request, "ask"))
		say("ok %lu %s | %s", atomic_load(&calls), func_J(1), *(char *volatile *)&str_P);
	else if (!strcmp(request, "ints"))
		say_bytes();
	else if (!strcmp(request, "got"))
		say("%s", getppid() == 4711 ? "patch" : "kernel");
	else if (!strcmp(request, "eintr"))
		say("%lu", atomic_load(&interrupted_calls));
	else
		say("what is %s?", request);
}

int main(int argc, char **argv)
{
	long threads = argc > 1 ? atol(argv[1]) : 1;

	for (long i = 1; i < threads; i++) {
		pthread_t t;

		if (pthread_create(&t, NULL, work, i == 1 ? NULL : &threads))
			return 1;
	}
	serve(answer);
	return 0;
}
