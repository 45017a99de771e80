int work(int n)
{
	static int total;
	total += n;
	return total;
}
