/* A replacement that calls through IFUNCs: its own, and libc's strlen and memcpy. */
#include <string.h>

const char *func1(int n);
int chosen(int n);

static int chosen_here(int n)
{
	return n * 3;
}

static int (*choose(void))(int)
{
	return chosen_here;
}

int chosen(int n) __attribute__((ifunc("choose")));

const char *func1(int n)
{
	static char buffer[32];
	const char *volatile text = "patched J"; /* volatile: the calls must be made, not folded */

	memcpy(buffer, text, strlen(text) + 1);
	return chosen(n) == 3 * n ? buffer : "wrong ifunc";
}
