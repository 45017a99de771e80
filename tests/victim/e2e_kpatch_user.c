/*
 * A program that uses e2e_kpatch_lib: both can be patched at once.
 *
 *     ask N      lib_answer(N) and own(N)
 *     state N    lib_state(N)
 */
#include "e2e_serve.h"

extern int lib_data;
int lib_answer(int n);
int lib_state(int what);

PATCHED int own(int n)
{
	return n - lib_data;
}

static void request(char *line)
{
	if (strncmp(line, "state ", 6) == 0)
		say("%d", lib_state(atoi(line + 6)));
	else
		say("%d %d", lib_answer(atoi(line + 4)), own(atoi(line + 4)));
}

int main(void)
{
	serve(request);
}
