/*
 * load FILE: into memory at the addresses that the documents use, where a
 * program of NOPs stands, but for a mov w1, #10 at 0x4001004.  A refusal goes to standard error, as FILE LINE
 * COLUMN and what it says, and the exit code is 1.
 */
#include <livepatch.h>

#include <stdio.h>

static uint32_t memory[64 * 1024 / 4];

int main(int argc, char **argv)
{
	LivePatchSystem *system = livepatch_init(memory, sizeof(memory), 0x4000000);
	int loaded;

	for (size_t i = 0; i < 0x4000 / 4; i++)
		memory[i] = i == 0x1004 / 4 ? 0x52800141 : 0xd503201f;
	loaded = livepatch_load_from_file(system, argv[argc - 1]);
	if (loaded < 0) {
		const livepatch_error *error = livepatch_last_error();

		fprintf(stderr, "%s %u %u\n%s\n", error->file, error->line, error->column, error->text);
		return 1;
	}
	printf("%d loaded\n", loaded);
	livepatch_list(system);
	livepatch_cleanup(system);
	return 0;
}
