#include "work.h"

static int calls;
static int state = 5; /* main.c has one, too */

static __attribute__((noinline)) int step(int n)
{
	static int previous = 100;
	int p = previous;
	previous = n;
	calls++;
	if (n < 0)
		state = n;
	return p + state;
}

int work(int n)
{
	return step(n) + work_scale(n);
}

const char *work_name(void)
{
	return calls > 1000 ? "busy" : "original";
}
