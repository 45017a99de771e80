// flags: -O2 -fcommon | -O0 -fcommon
// expect: function-changed use
// bound: tentative
int tentative;
int tentative_too;

__attribute__((noinline, noipa)) int use(int x)
{
	tentative += x;
#ifdef AFTER
	tentative_too += 3;
#else
	tentative_too += 5;
#endif
	return tentative;
}

int main(int argc, char **argv)
{
	return use(argc);
}
