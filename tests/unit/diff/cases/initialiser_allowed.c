// allow: changed-initialiser:level
// no change is expected
#ifdef AFTER
int level = 8;
#else
int level = 7;
#endif

int main(void)
{
	return level++;
}
