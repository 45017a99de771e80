// flags: -O2 | -O2 -ftls-model=local-dynamic | -O2 -ftls-model=global-dynamic | -O2 -ftls-model=initial-exec | -O0
// link: shared
// expect: function-changed bump
// bound: private
static __thread int private = 4;
__thread int public;

__attribute__((noinline, noipa)) int bump(int x)
{
	private += x;
#ifdef AFTER
	public += private * 3;
#else
	public += private * 7;
#endif
	return public;
}

int main(int argc, char **argv)
{
	return bump(argc);
}
