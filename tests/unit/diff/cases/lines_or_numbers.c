// Only the argument that is the line may differ: a size that the same call takes is a change.  A line that is loaded above
// the jump to the call is none.
// flags: -O2 | -O0 | -Os
// expect: function-changed grows
// expect: function-changed keeps
#include <assert.h>
#include <stdlib.h>
#ifdef AFTER
#line 200
#endif
__attribute__((noinline, noipa)) void *CRYPTO_malloc(size_t size, const char *file, int line)
{
	return line && file ? malloc(size) : NULL;
}

#ifdef AFTER
#define SIZE 24
#else
#define SIZE 16
#endif

__attribute__((noinline, noipa)) void *grows(void)
{
	return CRYPTO_malloc(SIZE, __FILE__, 9);
}

__attribute__((noinline, noipa)) void *moves(void)
{
	return CRYPTO_malloc(16, __FILE__, __LINE__);
}

__attribute__((noinline, noipa)) void tell(int a, int b, int c)
{
	__asm__ volatile("" : : "r"(a), "r"(b), "r"(c));
}

__attribute__((noinline, noipa)) void keeps(int x)
{
	tell(1, 2, SIZE);
	assert(x);
}

__attribute__((noinline, noipa)) int twice(int x)
{
	return x * 2;
}

__attribute__((noinline, noipa)) int hoists(int op, int x)
{
	switch (op) {
	case 0:
		assert(x != 1);
		return twice(x);
	case 1:
		assert(x != 2);
		return twice(x + 7);
	case 2:
		assert(x != 3);
		return twice(x) + 1;
	case 3:
		return x ^ 0x55;
	case 4:
		return x * 17;
	default:
		assert(!"no such operation");
		return -1;
	}
}

int main(int argc, char **argv)
{
	keeps(argc);
	return hoists(argc, 1) + !grows() + !moves();
}
