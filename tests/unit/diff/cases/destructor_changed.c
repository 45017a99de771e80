// expect: function-changed stop
// What runs after main has not run yet.
#include <unistd.h>

__attribute__((destructor, noinline, noipa)) static void stop(void)
{
#ifdef AFTER
	_exit(1);
#else
	_exit(2);
#endif
}

int main(void)
{
	return 0;
}
