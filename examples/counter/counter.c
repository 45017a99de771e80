/*
 * A program to try `livepatch build` on: every hundredth customer wins, and
 * every second one is the hundredth.  fix.patch is what its author meant.
 */
#include <stdio.h>
#include <unistd.h>

static unsigned customers;

static int wins(unsigned customer)
{
	return customer % 2 == 0;
}

/* noinline: main never returns, so what is inlined into it cannot be replaced. */
__attribute__((noinline)) static void serve(void)
{
	customers++;
	printf("customer %u%s\n", customers, wins(customers) ? " wins a car" : "");
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (;;) {
		serve();
		sleep(1);
	}
}
