/*
 * The first thread exits, the others go on: the process is a zombie by name
 * and alive in fact.
 */
#include "victim.h"

static void *spin(void *arg)
{
	struct victim_slot *slot = arg;
	victim_ready();
	for (;;)
		slot->beats++;
	return NULL;
}

int main(void)
{
	victim_open();
	for (int i = 0; i < 2; i++) {
		pthread_t t;
		if (pthread_create(&t, NULL, spin, &victim_page->slots[i]))
			abort();
	}
	pthread_exit(NULL);
}
