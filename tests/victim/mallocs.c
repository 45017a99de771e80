/*
 * Threads that allocate and free without pause and check what they stored; the
 * first one sleeps in a system call between rounds.
 */
#include "victim.h"

static void *loop(void *arg)
{
	struct victim_slot *slot = arg;
	bool first = slot == victim_page->slots;
	for (;;) {
		size_t size = 16 + slot->beats % 4000;
		unsigned char *p = malloc(size), *q = malloc(2 * size);
		victim_check(slot, p && q, "malloc failed");
		memset(p, (int)size & 0xff, size);
		memset(q, ~(int)size & 0xff, 2 * size);
		if (first)
			nanosleep(&(struct timespec){0, 300000}, NULL);
		victim_check(slot,
			     p[0] == (size & 0xff) && p[size - 1] == (size & 0xff) && q[2 * size - 1] == (~size & 0xff),
			     "memory changed under us");
		free(p);
		free(q);
		slot->beats++;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	return victim_run(argc > 1 ? atoi(argv[1]) : 3, loop);
}
