// All who use a changed constant take the new one.
// flags: -O2 | -O0
// expect: function-changed low
// expect: function-changed high
// expect: constant-changed limits
// why: low limits
static const int limits[] = {1,	    10, 100, 1000,
#ifdef AFTER
			     10001, 5,
#else
			     10000, 6,
#endif
			     7,	    8,	9};

__attribute__((noinline, noipa)) int low(int i)
{
	return limits[i];
}

__attribute__((noinline, noipa)) int high(int i)
{
	return limits[i + 2];
}

__attribute__((noinline, noipa)) int none(int i)
{
	return i;
}

int main(int argc, char **argv)
{
	return low(argc) + high(argc) + none(argc);
}
