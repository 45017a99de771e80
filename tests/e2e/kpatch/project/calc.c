/* The library. */
#include "calc.h"

static int uses;

static int count(void)
{
	return ++uses;
}

int calc_add(int a, int b)
{
	count();
	return a + b;
}

int calc_uses(void)
{
	return uses;
}
