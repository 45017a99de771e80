// A new static local of the same name renumbers the old one: it keeps its value all the same.
// compiler: gcc
// expect: function-changed second
// expect: data-new n.0
// bound: n.0
#include <stdio.h>

int first(void)
{
	static int n = 3;
	return n++;
}

int second(void)
{
#ifdef AFTER
	static int n = 50;
	return n += 2;
#else
	return 1;
#endif
}

int third(void)
{
	static int n = 100;
	return n += 3;
}

int main(void)
{
	return first() + second() + third();
}
