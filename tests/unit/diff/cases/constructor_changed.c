// expect: function-changed start
// refuse: changed-static-initialisation start
// What runs before main has run.
#include <unistd.h>
int ready;

__attribute__((constructor, noinline, noipa)) static void start(void)
{
#ifdef AFTER
	ready = getpid() + 1;
#else
	ready = getpid() + 2;
#endif
}

int main(void)
{
	return ready;
}
