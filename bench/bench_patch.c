/* The same work as bench_0000 but for the last addition, so that the calls differ by the jump alone. */
int bench_0000_new(int n);

int bench_0000_new(int n)
{
	return (n ^ 5) + 1;
}
