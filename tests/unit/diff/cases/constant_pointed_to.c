// expect: constant-changed limits
// expect: function-changed low
// refuse: changed-constant limits
static const int limits[] = {1,	    10, 100, 1000,
#ifdef AFTER
			     10001, 5,
#else
			     10000, 6,
#endif
			     7,	    8,	9};
const int *current = limits;

__attribute__((noinline, noipa)) int low(int i)
{
	return limits[i];
}

int main(int argc, char **argv)
{
	current++;
	return low(argc) + *current;
}
