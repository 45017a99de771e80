// flags: -O2 -fcf-protection | -O0 -fcf-protection
// compiler: gcc | clang
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
