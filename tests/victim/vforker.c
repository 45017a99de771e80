/*
 * One thread waits in vfork(), which no signal and no tracer interrupts, until
 * the test lets the child go (slot 2, extra); another spins.
 */
#include "victim.h"

static void *spin(void *arg)
{
	struct victim_slot *slot = arg;
	for (;;)
		slot->beats++;
	return NULL;
}

int main(void)
{
	pthread_t t;
	victim_open();
	if (pthread_create(&t, NULL, spin, &victim_page->slots[1]))
		abort();
	victim_ready();
	pid_t child = vfork();
	if (child == 0) {
		victim_ready();
		while (!victim_page->slots[2].extra && getppid() != 1)
			nanosleep(&(struct timespec){0, 1000000}, NULL);
		_exit(0);
	}
	spin(&victim_page->slots[0]);
	return 0;
}
