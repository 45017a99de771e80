/*
 * Creates and joins threads as fast as it can; each checks that it got its own
 * argument and stack.
 */
#include "victim.h"

static void *child(void *arg)
{
	struct victim_slot *slot = arg;
	volatile uint64_t sum = 0;
	for (uint64_t i = 0; i < 100; i++)
		sum += i;
	victim_check(slot, sum == 4950, "a short-lived thread miscounted");
	return arg;
}

static void *churn(void *arg)
{
	struct victim_slot *slot = arg;
	for (;;) {
		pthread_t t[4];
		for (int i = 0; i < 4; i++)
			victim_check(slot, pthread_create(&t[i], NULL, child, slot) == 0, "pthread_create failed");
		for (int i = 0; i < 4; i++) {
			void *got;
			victim_check(slot, pthread_join(t[i], &got) == 0 && got == slot, "pthread_join failed");
		}
		slot->beats++;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	return victim_run(argc > 1 ? atoi(argv[1]) : 2, churn);
}
