/*
 * A thread that always stands in a function that can be patched: outer() reads
 * the requests itself, and comes back for the next one only on "again".
 *
 *     who         which outer() is reading
 *     inner N     inner(N)
 *     again       outer() returns and is called anew
 */
#include "e2e_serve.h"

PATCHED int inner(int n)
{
	return n + 1;
}

PATCHED int deep(int n)
{
	volatile char room[200];

	for (size_t i = 0; i < sizeof room; i++)
		room[i] = (char)n;
	return n ? deep(n - 1) + room[n % 200] - (char)n : inner(n);
}

PATCHED void take(char *line, const char *name)
{
	if (strncmp(line, "inner ", 6) == 0)
		say("%d", inner(atoi(line + 6)) + 0 * deep(5));
	else
		say("%s", name);
}

PATCHED int outer(void)
{
	char line[64];

	while (read_line(STDIN_FILENO, line, sizeof line)) {
		take(line, "old");
		if (strcmp(line, "again") == 0)
			return 1;
	}
	return 0;
}

int main(void)
{
	say("ready");
	while (outer())
		;
	serve(NULL);
}
