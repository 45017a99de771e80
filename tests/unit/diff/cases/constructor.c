// refuse: changed-static-initialisation .init_array
// A function that only the start of the program would call is not reached.
#include <unistd.h>
int ready;
#ifdef AFTER
__attribute__((constructor)) static void start(void)
{
	ready = getpid();
}
#endif

int main(void)
{
	return ready;
}
