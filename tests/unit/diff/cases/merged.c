// Compilers make one of two functions with equal code: the one that became equal has changed all the same.
// expect: function-changed second
// record: second
int first(int x)
{
	return x * 77 + (x ^ 5) / 3;
}

int second(int x)
{
#ifdef AFTER
	return x * 77 + (x ^ 5) / 3;
#else
	return x * 99 + (x ^ 5) / 3;
#endif
}

int main(void)
{
	return 0;
}
