// flags: -O2
// compiler: gcc
// expect: function-changed work
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline, noipa, cold)) void complain(const char *s)
{
	fputs(s, stderr);
}

__attribute__((noinline, noipa)) int work(int x)
{
	if (x == 7) {
		complain("seven");
#ifdef AFTER
		complain("and more of it");
#endif
		abort();
	}
	return x * 2;
}

int main(int argc, char **argv)
{
	return work(argc);
}
