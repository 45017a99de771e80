// Everything that exists is bound, nothing copied.
// link: program | no-pie
// expect: function-changed change_me
// bound: state
// bound: shared_state
// bound: helper
// import: getpid
#include <unistd.h>

static int state = 5;
int shared_state = 6;
static const int table[4] = {3, 1, 4, 1};

__attribute__((noinline, noipa)) static int helper(int x)
{
	__asm__("");
	return x + state + table[x & 3];
}

__attribute__((noinline, noipa)) int change_me(int x)
{
	state += x;
	shared_state++;
#ifdef AFTER
	state ^= getpid();
#else
	state &= getpid();
#endif
	return helper(state);
}

int main(int argc, char **argv)
{
	state = argc;
	return change_me(argc) + helper(argc);
}
