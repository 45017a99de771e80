// flags: -O0 -fno-function-sections -fno-data-sections | -O2 -fno-function-sections -fno-data-sections -fno-merge-constants
// compiler: gcc | clang
// expect: function-changed scale
// record: scale

/* Named and nameless constants share a section. */
static const char label[] = "label";
static const int table[] = {1, 2, 3};

__attribute__((noinline, noipa)) const char *name(int x)
{
	return label + table[x];
}

__attribute__((noinline, noipa)) double scale(double x)
{
#ifdef AFTER
	return x * 2.5;
#else
	return x * 1.5;
#endif
}

__attribute__((noinline, noipa)) double same(double x)
{
	return x * 3.25;
}

int main(int argc, char **argv)
{
	return (int)scale(argc) + (int)same(argc) + *name(argc);
}
