#include "check.h"

static uint32_t memory[64 * 1024 / 4];

int main(void)
{
	LivePatchSystem *system = livepatch_init(memory, sizeof(memory), 0x4000000);

#include SNIPPET

	answered("livepatch_create_branch", -1, "misaligned");
	answered_no_more();
	check(memory[0x1000 / 4] == 0);
	livepatch_cleanup(system);
	return 0;
}
