/*
 * What target.c shall do instead.  A patch object is an ordinary shared
 * object: cc -shared -fPIC -o patch.so patch.c.  What it declares `extern`
 * is looked up in the target; func_J's own callers will arrive at func1.
 */
#include <stdio.h>

extern char *volatile str_P;
int func1(int n);

char patch_message[] = "patched message";

int func1(int n)
{
	if (n % 10 == 0)
		printf("func1 sees the target's str_P: %s\n", str_P);
	return n * 1000;
}
