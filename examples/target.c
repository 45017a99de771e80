/*
 * A program to try livepatch on: says once a second what func_J answers and
 * what str_P points to.  See README.md; patch.c is the other half.
 */
#include <stdio.h>
#include <unistd.h>

int func_J(int n);

/* volatile: the compiler must read the pointer each time, or a change of it would go unnoticed. */
char *volatile str_P = "original message";

/* noinline: what was inlined into its callers has no entry to put a jump on. */
__attribute__((noinline)) int func_J(int n)
{
	return n * 2;
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int n = 1;; n++) {
		printf("func_J(%d) = %d, %s\n", n, func_J(n), str_P);
		sleep(1);
	}
}
