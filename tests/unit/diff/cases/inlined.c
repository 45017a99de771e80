// A change in what was inlined is a change of every function it was inlined into.
// flags: -O2
// expect: function-changed a
// expect: function-changed b
static inline int common(int x)
{
#ifdef AFTER
	return x * 31;
#else
	return x * 33;
#endif
}

__attribute__((noinline, noipa)) int a(int x)
{
	return common(x) + 1;
}

__attribute__((noinline, noipa)) int b(int x)
{
	return common(x) - 1;
}

__attribute__((noinline, noipa)) int c(int x)
{
	return x;
}

int main(int argc, char **argv)
{
	return a(argc) + b(argc) + c(argc);
}
