// flags: -O2 | -O0 | -O3 | -Os
// link: program | shared
// no change is expected
#include <stdio.h>
#include <string.h>

static int calls;
static const char *const names[] = {"zero", "one", "two"};

int visit(int x)
{
	static int seen;
	switch (x) {
	case 0:
		puts("a");
		break;
	case 1:
		puts("b");
		break;
	case 2:
		puts("c");
		break;
	case 3:
		puts("d");
		break;
	case 4:
		puts("e");
		break;
	case 5:
		puts("f");
		break;
	}
	calls++;
	return seen++ + (int)strlen(names[x % 3]);
}

double scale(double x)
{
	return x * 3.25 + 1.5;
}

int main(int argc, char **argv)
{
	return visit(argc) + (int)scale(argc);
}
