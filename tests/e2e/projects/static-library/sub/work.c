static int total = 1; /* other/work.c has one, too, and an object of the same name */

int sub_work(int n)
{
	total += n;
	return total;
}
