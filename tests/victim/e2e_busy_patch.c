int new_outer(int wait);

int new_outer(int wait)
{
	return 1000 + wait;
}
