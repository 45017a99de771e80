#include "check.h"

LIVEPATCH_HOOKABLE int open_door(int key);
LIVEPATCH_HOOKABLE int close_door(int key);

int open_door(int key)
{
	return key + 1;
}

int close_door(int key)
{
	return key - 1;
}

static int (*original_open)(int key), (*original_close)(int key);

static int open_door_checked(int key)
{
	return key < 0 ? 0 : original_open(key);
}

static int close_door_checked(int key)
{
	return key < 0 ? 0 : original_close(key);
}

int main(void)
{
	LivePatchSystem *again;

	{
#include SNIPPET
	}

	answered("livepatch_begin", 0, NULL);
	answered("livepatch_hook", 0, NULL);
	answered("livepatch_hook", 0, NULL);
	answered("livepatch_commit", 0, NULL);
	answered_no_more();
	check(open_door(3) == 4 && open_door(-3) == 0 && close_door(3) == 2 && close_door(-3) == 0);
	again = livepatch_init_self();
	check((livepatch_revert_all)(again) == 2);
	check(open_door(-3) == -2 && close_door(-3) == -4);
	livepatch_cleanup(again);
	livepatch_cleanup(again);
	return 0;
}
