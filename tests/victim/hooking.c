/* A library that hooks a function of the program as it is loaded, takes the hook back as it goes, and has a function to be
 * hooked. */
#include "livepatch.h"

extern int add_more(int a, int b);
extern int constructor_said;
int constructor_said = 1;

static int seven(int a, int b)
{
	return 7;
}

int library_sum(int a, int b);
int library_sum(int a, int b)
{
	return a + b + 1;
}

__attribute__((constructor)) static void come(void)
{
	constructor_said = livepatch_hook((void *)(uintptr_t)add_more, (void *)(uintptr_t)seven, NULL);
}

__attribute__((destructor)) static void go(void)
{
	livepatch_unhook((void *)(uintptr_t)add_more);
}
