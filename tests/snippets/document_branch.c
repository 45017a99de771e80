#include "check.h"

static uint32_t memory[64 * 1024 / 4];

int main(void)
{
	LivePatchSystem *system = livepatch_init(memory, sizeof(memory), 0x4000000);

	memory[0x1000 / 4] = 0x34000080; /* cbz w0, .+16 */

#include SNIPPET

	answered("livepatch_create_branch", 0, NULL);
	answered_no_more();
	check(memory[0x1000 / 4] == 0x14000400); /* b .+0x1000 */
	check((livepatch_revert)(system, 0x4001000) == 0);
	check(memory[0x1000 / 4] == 0x34000080);
	livepatch_cleanup(system);
	return 0;
}
