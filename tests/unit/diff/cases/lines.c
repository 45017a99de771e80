// Lines move: that is no change, and neither is it in front of a function that is told to take a line.
// flags: -O2 | -O0 | -Os
// expect: function-changed really
#include <assert.h>
#include <stdlib.h>
#ifdef AFTER
#line 1000
#endif
__attribute__((noinline, noipa)) int checked(int x)
{
	assert(x > 0);
	if (x > 100)
		abort();
	assert(x != 13);
	return x;
}

__attribute__((noinline, noipa)) void level(int n)
{
	__asm__ volatile("" : : "r"(n));
}

__attribute__((noinline, noipa)) int really(int x)
{
#ifdef AFTER
	level(29);
#else
	level(27);
#endif
	return x;
}

int main(int argc, char **argv)
{
	return checked(argc) + really(argc);
}
