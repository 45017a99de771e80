/*
 * Replaces itself by exec when the test says so (slot 0, extra).
 */
#include "victim.h"

int main(int argc, char **argv)
{
	victim_open();
	victim_page->slots[0].extra = 0;
	victim_ready();
	while (!victim_page->slots[0].extra) {
		nanosleep(&(struct timespec){0, 100000}, NULL);
		victim_page->slots[0].beats++;
	}
	execv("/proc/self/exe", argv);
	return 1;
}
