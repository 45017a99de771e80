// flags: -O2 | -O0
// link: program | no-pie | shared
// expect: function-changed use
static int one(int x)
{
	return x + 1;
}

static int (*pick(void))(int)
{
	return one;
}

int chosen(int) __attribute__((ifunc("pick")));

__attribute__((noinline, noipa)) int use(int x)
{
#ifdef AFTER
	return chosen(x) * 3;
#else
	return chosen(x) * 5;
#endif
}

int main(int argc, char **argv)
{
	return use(argc);
}
