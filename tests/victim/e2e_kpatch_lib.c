/*
 * A library with what makes patching libraries hard: thread-local variables
 * that the dynamic linker places, its own and exported ones, an IFUNC, calls
 * and data through the GOT.
 */
#include <stdint.h>
#include <string.h>

__thread int lib_tls = 40;
static __thread int lib_tls_static = 400;
int lib_data = 4;
static int lib_static = 44;

static int chosen(int n)
{
	return n * 3;
}

static int (*choose(void))(int)
{
	return chosen;
}

int lib_ifunc(int n) __attribute__((ifunc("choose")));

__attribute__((noipa)) int lib_helper(int n)
{
	return n + lib_data;
}

__attribute__((noipa)) int lib_answer(int n)
{
	lib_tls += 1;
	lib_tls_static += 1;
	lib_static += 1;
	return lib_helper(n) + (int)strlen("old");
}

int lib_state(int what)
{
	int state[] = {lib_tls, lib_tls_static, lib_static, lib_data, lib_ifunc(7)};
	return state[what];
}
