/* An object that only the target's own loader can load: TLS, a constructor, a needed library (libm). */
#include <math.h>

const char *func1(int n);

static __thread int calls_of_thread = 40;
static int constructed;

__attribute__((constructor)) static void construct(void)
{
	constructed = 1;
}

const char *func1(int n)
{
	calls_of_thread++;
	if (!constructed)
		return "not constructed";
	if (calls_of_thread < 41 || lrint(sqrt(n * 16.0)) != 4)
		return "no TLS or no libm";
	return "patched J";
}
