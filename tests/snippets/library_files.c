/* With patches.json in its directory; library_files mistaken: with a mistake in it. */
#include "check.h"

static uint32_t memory[64 * 1024 / 4];

int main(int argc, char **argv)
{
	LivePatchSystem *system = livepatch_init(memory, sizeof(memory), 0x4000000);
	int mistaken = argc > 1 && strcmp(argv[1], "mistaken") == 0;

#include SNIPPET

	answered("livepatch_load_from_file", mistaken ? -1 : 1, mistaken ? "parse" : NULL);
	answered("livepatch_save_to_file", !mistaken, NULL);
	answered_no_more();
	check(memory[0x1000 / 4] == (mistaken ? 0 : 0xd503201f));
	livepatch_cleanup(system);
	return 0;
}
