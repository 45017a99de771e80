// The address of a function stays that of the original, whoever takes it.
// expect: function-changed callback
// expect: function-changed install
// bound: callback
#include <stdlib.h>

int (*installed)(int);

__attribute__((noinline, noipa)) static int callback(int x)
{
#ifdef AFTER
	return x + 2;
#else
	return x + 1;
#endif
}

__attribute__((noinline, noipa)) void install(int x)
{
#ifdef AFTER
	if (x == 1000)
		abort();
#endif
	installed = callback;
}

int main(int argc, char **argv)
{
	install(argc);
	return installed(argc) + callback(argc);
}
