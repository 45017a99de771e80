/*
 * The first thread exits, the others go on: the process is a zombie by name
 * and alive in fact.  With an argument it does so when slot 2 says so.
 */
#include <sched.h>

#include "victim.h"

static void *spin(void *arg)
{
	struct victim_slot *slot = arg;
	victim_ready();
	for (;;)
		slot->beats++;
	return NULL;
}

int main(int argc, char **argv)
{
	victim_open();
	for (int i = 0; i < 2; i++) {
		pthread_t t;
		if (pthread_create(&t, NULL, spin, &victim_page->slots[i]))
			abort();
	}
	while (argc > 1 && !victim_page->slots[2].extra)
		sched_yield();
	pthread_exit(NULL);
}
