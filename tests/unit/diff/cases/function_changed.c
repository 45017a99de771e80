// flags: -O2 | -O0 | -O1 | -O3 | -Os | -O2 -g
// link: program | no-pie | static
// expect: function-changed answer
// record: answer
#include <stdio.h>

__attribute__((noinline, noipa)) int answer(int x)
{
#ifdef AFTER
	return x * 3 + 7;
#else
	return x * 5 + 1;
#endif
}

__attribute__((noinline, noipa)) int other(int x)
{
	return answer(x) + 1;
}

int main(int argc, char **argv)
{
	return printf("%d\n", other(argc)) < 0;
}
