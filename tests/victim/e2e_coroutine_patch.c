/* func hands out a pointer into the patch, which outlives the patch. */
typedef int callback(int);
extern callback **kept;
int func1(int x);

static int from_patch(int x)
{
	return x + 7;
}

int func1(int x)
{
	*kept = from_patch;
	return x + 1000;
}
