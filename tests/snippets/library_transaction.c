/* Twice: as it is meant, and with the second address taken. */
#include "check.h"

static uint32_t memory[64 * 1024 / 4];

static void change(LivePatchSystem *system)
{
#include SNIPPET
}

int main(void)
{
	LivePatchSystem *system = livepatch_init(memory, sizeof(memory), 0x4000000);

	change(system);
	answered("livepatch_begin", 0, NULL);
	answered("livepatch_apply", 0, NULL);
	answered("livepatch_create_nop", 0, NULL);
	answered("livepatch_commit", 0, NULL);
	answered_no_more();
	check(memory[0x1004 / 4] == 0x52800101 && memory[0x1000 / 4] == 0xd503201f);
	check((livepatch_revert_all)(system) == 2);

	check((livepatch_create_branch)(system, 0x4001000, 0x4002000, "Taken") == 0);
	change(system);
	answered("livepatch_begin", 0, NULL);
	answered("livepatch_apply", 0, NULL);
	answered("livepatch_create_nop", -1, "overlap");
	answered("livepatch_abort", 0, NULL);
	answered_no_more();
	check(memory[0x1004 / 4] == 0 && memory[0x1000 / 4] == 0x14000400);
	livepatch_cleanup(system);
	return 0;
}
