/* Declared twice: the compiler compares what is printed with what is installed. */
#include <livepatch.h>
#include SNIPPET

int main(void)
{
	return 0;
}
