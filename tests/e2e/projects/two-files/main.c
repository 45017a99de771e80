#include "serve.h"
#include "work.h"

static int state = 1;

static __attribute__((noinline)) int step(int n)
{
	return n + state++;
}

static void answer(char *out, size_t size)
{
	int n = step(0);
	int w = work(n);
	snprintf(out, size, "%s %d %d", work_name(), n, w);
}

int main(void)
{
	return serve(answer);
}
