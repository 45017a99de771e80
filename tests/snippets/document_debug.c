/* With SNIPPET and without: what it makes the library say is on standard error. */
#ifdef SNIPPET
#include SNIPPET
#endif
#include <livepatch.h>

static uint32_t memory[1024];

int main(void)
{
	LivePatchSystem *system = livepatch_init(memory, sizeof(memory), 0x4000000);
	int rc = livepatch_create_nop(system, 0x4000100, "Disable check");

	livepatch_cleanup(system);
	return rc;
}
