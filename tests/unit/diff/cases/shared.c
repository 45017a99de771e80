// What a library exports may be defined by somebody else: it is looked up, as the linker made the library do.
// link: shared
// expect: function-changed change_me
// bound: state
// bound: quiet
// import: shared_state
// import: exported
static int state = 5;
int shared_state = 6;
__attribute__((visibility("hidden"))) int quiet = 7;

__attribute__((noinline, noipa)) int exported(int x)
{
	return x + state;
}

__attribute__((noinline, noipa)) int change_me(int x)
{
	state += x;
	shared_state++;
#ifdef AFTER
	quiet += 4;
#else
	quiet -= 4;
#endif
	return exported(state);
}
