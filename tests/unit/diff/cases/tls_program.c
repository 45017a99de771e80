// flags: -O2 | -O0 | -O2 -fPIE
// compiler: gcc | clang
// link: program | no-pie | static
// expect: function-changed bump
// unbound: private
// unbound: public
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
