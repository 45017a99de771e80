// flags: -O0 -fno-function-sections -fno-data-sections | -O1 -fno-function-sections -fno-data-sections | -O2 -fno-function-sections -fno-data-sections
// compiler: gcc | clang
// link: program | no-pie
// expect: function-changed pick
// record: pick
// unbound: behind
#include <stdio.h>

/* The distances in its table are relocated as if they counted from each entry: the last ones would be in the next function. */
__attribute__((noinline, noipa)) int pick(int x)
{
	switch (x) {
	case 0:
		return printf("zero");
	case 1:
		return puts("one");
	case 2:
		return putchar('2');
	case 3:
		return printf("%d", x);
	case 4:
		return puts("four") + puts("times");
#ifdef AFTER
	case 5:
		return puts("cinq");
#else
	case 5:
		return puts("five");
#endif
	case 6:
		return fflush(NULL);
	case 7:
		return fputs("seven", stdout);
	}
	return 0;
}

__attribute__((noinline, noipa)) int behind(int x)
{
	return x + 1;
}

int main(int argc, char **argv)
{
	return pick(argc) + behind(argc);
}
