// flags: -O2 -fno-inline | -O0
// expect: function-changed entry
// expect: function-new added
// expect: function-new added_too
// expect: data-new counter
// expect: data-new exported
// why: added called by entry
// why: counter used by added
#include <stdio.h>

#ifdef AFTER
static int counter;
int exported = 17;
__attribute__((noinline, noipa)) static int added_too(int x)
{
	__asm__ volatile("");
	return x + exported;
}
__attribute__((noinline, noipa)) static int added(int x)
{
	__asm__ volatile("");
	return counter++ + added_too(x);
}
#endif

__attribute__((noinline, noipa)) int entry(int x)
{
	__asm__ volatile("" : "+r"(x));
#ifdef AFTER
	return added(x);
#else
	return x;
#endif
}

int main(int argc, char **argv)
{
	printf("%d\n", entry(argc));
	return 0;
}
