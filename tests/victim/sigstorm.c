/*
 * Arithmetic under a storm of signals: SIGALRM every 100 us, with a handler
 * that uses 400 bytes of stack and checks them (slot 0, extra: how often).
 * Real-time signals, which are queued and so can be counted: slot 1, extra.
 */
#include "victim.h"

#include <sys/time.h>

static void on_alarm(int signal)
{
	int saved = errno;
	volatile unsigned char mine[400];
	for (unsigned i = 0; i < sizeof mine; i++)
		mine[i] = (unsigned char)(i * 7);
	for (unsigned i = 0; i < sizeof mine; i++)
		victim_check(&victim_page->slots[0], mine[i] == (unsigned char)(i * 7), "the handler's stack changed");
	victim_page->slots[0].extra++;
	errno = saved;
}

static void on_counted(int signal)
{
	__atomic_add_fetch(&victim_page->slots[1].extra, 1, __ATOMIC_SEQ_CST);
}

static void *spin(void *arg)
{
	struct victim_slot *slot = arg;
	for (;;) {
		uint64_t a = slot->beats + 1, b = a * 5, c = b ^ 0x3333;
		double f = (double)(a & 0xfff) + 0.25;
		for (int i = 0; i < 50; i++)
			__asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), VICTIM_FP(f)::"cc");
		victim_check(slot, b == a * 5 && c == (b ^ 0x3333) && f == (double)(a & 0xfff) + 0.25,
			     "a register changed under us");
		slot->beats++;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	victim_open();
	struct sigaction sa = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	struct sigaction count = {.sa_handler = on_counted, .sa_flags = SA_RESTART};
	struct itimerval every = {{0, 100}, {0, 100}};
	if (sigaction(SIGALRM, &sa, NULL) || sigaction(SIGRTMIN, &count, NULL) || setitimer(ITIMER_REAL, &every, NULL))
		abort();
	return victim_run(argc > 1 ? atoi(argv[1]) : 1, spin);
}
