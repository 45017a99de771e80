/* A fix that changes a value in the process with hooks, and adds a field to an object that exists. */
#include <stdio.h>

struct thing {
	int limit;
};

static struct thing thing = {10};

#ifdef PATCHED
#include "livepatch-patch.h"

#define EXTRA LIVEPATCH_SHADOW_ID('t', 'e', 's', 't', 1)

static int raise_limit(void)
{
	thing.limit = 20;
	return 0;
}

static int lower_limit(void)
{
	thing.limit = 10;
	return 0;
}

LIVEPATCH_POST_APPLY(raise_limit);
LIVEPATCH_POST_REVERT(lower_limit);
#endif

__attribute__((noinline, noclone)) static void answer(struct thing *t)
{
#ifdef PATCHED
	int *extra = livepatch_shadow_get_or_attach(t, EXTRA, sizeof *extra);
	printf("limit %d, %d extra\n", t->limit, extra ? ++*extra : -1);
#else
	printf("limit %d, 0 extra\n", t->limit);
#endif
}

int main(void)
{
	char line[100];
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof line, stdin))
		answer(&thing);
	return 0;
}
