#include "check.h"

static uint32_t memory[64 * 1024 / 4];

#include SNIPPET

int main(void)
{
	LivePatchSystem *system = livepatch_init(memory, sizeof(memory), 0x4000000);

	check((livepatch_create_nop)(system, 0x4001004, "second") == 0);
	check((livepatch_create_nop)(system, 0x4001000, "first") == 0);
	print_patches(system, stdout);
	livepatch_cleanup(system);
	return 0;
}
