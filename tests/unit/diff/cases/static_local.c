// A new static local of the same name renumbers the old ones: each keeps its value all the same.
// compiler: gcc
// expect: function-changed first
// expect: function-changed second
// expect: data-new n.1
// why: first differs
#define APART __attribute__((noinline, noipa))
APART int first(void)
{
	static int n = 3;
#ifdef AFTER
	return n += 9;
#else
	return n += 8;
#endif
}

APART int second(void)
{
#ifdef AFTER
	static int n = 50;
	return n += 2;
#else
	return 1;
#endif
}

APART int third(void)
{
	static int n = 100;
	return n += 3;
}

int main(void)
{
	return first() + second() + third();
}
