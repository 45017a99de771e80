/* The three steps in one program: SNIPPET is the header, then the beginning, then the end. */
#include SNIPPET_HEADER
#include "check.h"

struct state {
	void *memory;
	size_t mem_size;
	uint64_t base_addr;
};

static uint32_t memory[1024];

int main(void)
{
	struct state whole = {memory, sizeof(memory), 0x4000000}, *state = &whole;

#include SNIPPET_BEGIN

	check(livepatch_system && livepatch_get_system() == livepatch_system);
	check((livepatch_create_nop)(livepatch_get_system(), 0x4000100, "Disable check") == 0);
	check(memory[0x100 / 4] == 0xd503201f);

#include SNIPPET_END

	check(livepatch_get_system() == NULL);
	return 0;
}
