static int total = 1000;

int other_work(int n)
{
	total += n;
	return total;
}
