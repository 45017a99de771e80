/* What the tests load in place of functions of theirs. */
int agent_twice(int n);
int agent_twice(int n)
{
	return 200 + n;
}

int agent_other(int n);
int agent_other(int n)
{
	return 300 + n;
}
