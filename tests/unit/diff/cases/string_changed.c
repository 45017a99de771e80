// link: program | no-pie | shared
// expect: function-changed greet
// why: greet string
// import: puts
#include <stdio.h>

__attribute__((noinline, noipa)) void other(void)
{
	puts("the same");
}

__attribute__((noinline, noipa)) void greet(void)
{
#ifdef AFTER
	puts("good bye");
#else
	puts("good day");
#endif
	puts("the same");
}

int main(void)
{
	other();
	greet();
	return 0;
}
