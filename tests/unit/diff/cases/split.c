// The original has one function under both names: a jump at its start would divert both.
// compiler: gcc | clang
// expect: function-changed first
// refuse: shared-code first
int first(int x)
{
#ifdef AFTER
	return x * 78 + (x ^ 5) / 3;
#else
	return x * 77 + (x ^ 5) / 3;
#endif
}

#ifdef AFTER
int second(int x)
{
	return x * 77 + (x ^ 5) / 3;
}
#else
int second(int x) __attribute__((alias("first")));
#endif

int main(void)
{
	return 0;
}
