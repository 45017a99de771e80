// flags: -O2 | -O0
// link: program | no-pie
// expect: function-changed pick
#include <stdio.h>

__attribute__((noinline, noipa)) void pick(int x)
{
	switch (x) {
	case 0:
		puts("zero");
		break;
	case 1:
		printf("one %d\n", x);
		break;
	case 2:
		putchar('2');
		break;
	case 3:
		puts("three");
		putchar('x');
		break;
	case 4:
		puts("four");
		break;
#ifdef AFTER
	case 5:
		puts("cinq");
		putchar('5');
		break;
#else
	case 5:
		puts("five");
		break;
#endif
	case 6:
		fflush(NULL);
		break;
	case 7:
		puts("seven");
		puts("and");
		break;
	}
}

__attribute__((noinline, noipa)) int keep(int x)
{
	switch (x) {
	case 0:
		return puts("null");
	case 1:
		return printf("eins %d\n", x);
	case 2:
		return putchar('2');
	case 3:
		return puts("drei") + putchar('x');
	case 4:
		return puts("vier");
	case 5:
		return puts("fuenf");
	}
	return 0;
}

int main(int argc, char **argv)
{
	pick(argc);
	return keep(argc);
}
