/* Saved, loaded: the file says what is already so, and nothing is patched twice. */
#include "check.h"

static uint32_t memory[64 * 1024 / 4];

int main(void)
{
	LivePatchSystem *system = livepatch_init(memory, sizeof(memory), 0x4000000);

	check((livepatch_create_nop)(system, 0x4001000, "Disable check") == 0);
	check((livepatch_create_branch)(system, 0x4002000, 0x4003000, "Jump to handler") == 0);

#include SNIPPET

	answered("livepatch_save_to_file", 2, NULL);
	answered("livepatch_load_from_file", 2, NULL);
	answered_no_more();
	check(memory[0x1000 / 4] == 0xd503201f && memory[0x2000 / 4] == 0x14000400);
	check((livepatch_revert_all)(system) == 2);
	check(memory[0x1000 / 4] == 0 && memory[0x2000 / 4] == 0);
	check((livepatch_load_from_file)(system, "my_patches.txt") == 2);
	check(memory[0x1000 / 4] == 0xd503201f && memory[0x2000 / 4] == 0x14000400);
	livepatch_cleanup(system);
	return 0;
}
