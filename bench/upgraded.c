/* A function to upgrade, in a library that adds 1, and in another that adds 2. */
int upgraded(int x);
int untouched(int x);

static volatile int sink;

int upgraded(int x)
{
	sink = x;
	return x + ADDS;
}

/* The same, so that there is one to compare with. */
int untouched(int x)
{
	sink = x;
	return x + ADDS;
}
