/*
 * Run every file of the directories or files named on the command line through
 * a fuzz target: what the fuzzers found once stays found, with any compiler
 * and any sanitizer.
 *
 *     replay_elf tests/fuzz/corpus/elf        prints "N inputs"; fails when there are none
 */
#include "fuzz.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

static size_t nr_inputs;

static int replay(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)where;
	if (kind != FTW_F)
		return 0;
	FILE *f = fopen(path, "rb");
	/* Its own allocation of exactly that size: then a sanitizer sees one byte too many. */
	uint8_t *data = malloc((size_t)st->st_size);
	if (!f || (st->st_size && !data) || fread(data, 1, (size_t)st->st_size, f) != (size_t)st->st_size) {
		fprintf(stderr, "replay: cannot read %s\n", path);
		exit(1);
	}
	fclose(f);
	fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(data, (size_t)st->st_size);
	free(data);
	nr_inputs++;
	return 0;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (nftw(argv[i], replay, 16, FTW_PHYS)) {
			perror(argv[i]);
			return 1;
		}
	}
	printf("%zu inputs\n", nr_inputs);
	return nr_inputs ? 0 : 1;
}
