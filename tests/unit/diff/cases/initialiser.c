// refuse: changed-initialiser level
// refuse: changed-initialiser names
#ifdef AFTER
int level = 8;
static const char *names[] = {"a", "c"};
#else
int level = 7;
static const char *names[] = {"a", "b"};
#endif

__attribute__((noinline, noipa)) const char *name(int i)
{
	const char *s = names[i];
	names[i] = "used";
	level++;
	return s;
}

int main(int argc, char **argv)
{
	return name(argc & 1)[0];
}
