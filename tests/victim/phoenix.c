/*
 * Replaces itself by exec as many microseconds after as the test says (slot 0, extra).  Its argument is how many other
 * threads it has.
 */
#include <pthread.h>

#include "victim.h"

static void *idle(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static uint64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
	pthread_t t;
	victim_open();
	for (int i = argc > 1 ? atoi(argv[1]) : 0; i > 0; i--)
		pthread_create(&t, NULL, idle, NULL);
	victim_page->slots[0].extra = 0;
	victim_ready();
	while (!victim_page->slots[0].extra) {
		nanosleep(&(struct timespec){0, 100000}, NULL);
		victim_page->slots[0].beats++;
	}
	for (uint64_t when = now_us() + victim_page->slots[0].extra; now_us() < when;)
		;
	execv("/proc/self/exe", argv);
	return 1;
}
