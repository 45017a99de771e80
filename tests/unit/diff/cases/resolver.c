// flags: -O1
// compiler: gcc
// expect: function-changed chosen
// expect: function-new two
// expect: function-removed one
// refuse: changed-resolver chosen
// The function that the dynamic linker asks has the names of the asked and of the answer.
static int one(int x)
{
	return x + 1;
}

static int two(int x)
{
	return x + 2;
}

static int (*pick(void))(int)
{
#ifdef AFTER
	return two;
#else
	return one;
#endif
}

int chosen(int) __attribute__((ifunc("pick")));

int main(int argc, char **argv)
{
	return chosen(argc);
}
