// flags: -O2 -fno-function-sections -fno-data-sections -fno-tree-vectorize -fno-merge-constants
// compiler: gcc
// link: no-pie
// expect: function-changed sum
// bound: table
// absent: .kpatch.rodata
static const int table[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
static const double behind = 4.5;

/* The end of the array, where a nameless constant may begin, is the array's. */
__attribute__((noinline, noipa)) int sum(int x)
{
	for (const int *p = table; p != table + 12; p++)
#ifdef AFTER
		x += *p * x;
#else
		x += *p;
#endif
	return x;
}

__attribute__((noinline, noipa)) double scale(double x)
{
	return x * 1.5 + behind;
}

int main(int argc, char **argv)
{
	return sum(argc) + (int)scale(argc);
}
