/* patch.so of the 2004 example, with one thing more that it needs from the target: extern str_P. */
#include <string.h>
#include <unistd.h>

extern char *str_P;
const char *func1(int n);
pid_t fake_getppid(void);

char patch_message[] = "patched message";

const char *func1(int n)
{
	return n < 0 ? str_P : "patched J";
}

pid_t fake_getppid(void)
{
	return 4711;
}
