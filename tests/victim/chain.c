/*
 * Known chains of calls: main -> outer -> middle -> inner -> leaf, where leaf
 * blocks in a system call; the second thread has thread in place of main.
 */
#include "victim.h"

/* No copies specialised for one caller either: they have other names. */
#if __has_attribute(noipa)
#define NOINLINE __attribute__((noipa))
#else
#define NOINLINE __attribute__((noinline))
#endif

NOINLINE uint64_t leaf(struct victim_slot *slot);
NOINLINE uint64_t inner(struct victim_slot *slot, uint64_t n);
NOINLINE uint64_t middle(struct victim_slot *slot, uint64_t n);
NOINLINE uint64_t outer(struct victim_slot *slot, uint64_t n);

uint64_t leaf(struct victim_slot *slot)
{
	victim_ready();
	for (;;) {
		pause();
		slot->beats++;
	}
	return slot->beats;
}

/* Work after each call keeps it from becoming a jump. */
uint64_t inner(struct victim_slot *slot, uint64_t n)
{
	volatile uint64_t buffer[40] = {n};
	return leaf(slot) + buffer[n % 40];
}

uint64_t middle(struct victim_slot *slot, uint64_t n)
{
	return inner(slot, n + 1) * 3 + n;
}

uint64_t outer(struct victim_slot *slot, uint64_t n)
{
	return middle(slot, n ^ 5) + n;
}

static void *thread(void *arg)
{
	struct victim_slot *slot = arg;
	slot->extra = outer(slot, 7);
	return NULL;
}

int main(void)
{
	pthread_t t;
	victim_open();
	if (pthread_create(&t, NULL, thread, &victim_page->slots[1]))
		abort();
	victim_page->slots[0].extra = outer(&victim_page->slots[0], 3);
	return 0;
}
