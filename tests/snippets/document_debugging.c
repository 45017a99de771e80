/* As printed it stands behind the header: the calls tell what there is, the definition is for the next file. */
#include "check.h"

static uint32_t memory[1024];

int main(void)
{
	LivePatchSystem *system = livepatch_init(memory, sizeof(memory), 0x4000000);

	check((livepatch_create_nop)(system, 0x4000100, "Disable check") == 0);

#include SNIPPET

	check(LIVEPATCH_DEBUG == 1);
	livepatch_cleanup(system);
	return 0;
}
