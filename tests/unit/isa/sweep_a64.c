/*
 * All 2^32 words: ours beside LLVM's verdict, allocated or not.  Every
 * difference is counted under its reason (a64_oracle.c); one without a reason
 * fails.
 *
 *     sweep_a64 [SLICE COUNT]      one of COUNT parts, from 0
 *
 * About an hour of one CPU, shared by as many threads as there are.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "a64_oracle.h"
#include "isa/a64/table.h"

#define CHUNK (UINT64_C(1) << 20)

struct worker {
	pthread_t thread;
	uint64_t allocated, differ[REASON_COUNT];
	struct oracle *llvm;
};

static _Atomic uint64_t next_word;
static uint64_t end_word;
static _Atomic unsigned complaints;

static void compare(struct worker *w, uint32_t word)
{
	bool ours = lp_a64_is_allocated(word);
	enum reason reason;

	w->allocated += ours;
	if (ours == oracle_allows(w->llvm, word))
		return;
	reason = reason_to_differ(word, ours);
	w->differ[reason]++;
	if (reason == OUGHT_TO_AGREE && complaints++ < 50)
		printf("# %08" PRIx32 ": ours is %s, LLVM says %s\n", word, lp_a64_row(lp_a64_decode(word))->name,
		       ours ? "unallocated" : "allocated");
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (;;) {
		uint64_t first = atomic_fetch_add(&next_word, CHUNK), end = first + CHUNK;
		if (first >= end_word)
			return NULL;
		for (uint64_t word = first; word < end && word < end_word; word++)
			compare(w, (uint32_t)word);
	}
}

static int summary(const struct worker *workers, long nr)
{
	struct worker sum = {0};

	for (long i = 0; i < nr; i++) {
		sum.allocated += workers[i].allocated;
		for (int r = 0; r < REASON_COUNT; r++)
			sum.differ[r] += workers[i].differ[r];
	}
	printf("# %" PRIu64 " words allocated\n", sum.allocated);
	for (int r = 0; r < REASON_COUNT; r++)
		printf("# %" PRIu64 " differ: %s\n", sum.differ[r], reason_text(r));
	printf("%s 1 - llvm_allocates_the_same_words_of_all_there_are\n", sum.differ[OUGHT_TO_AGREE] ? "not ok" : "ok");
	return sum.differ[OUGHT_TO_AGREE] != 0;
}

int main(int argc, char **argv)
{
	uint64_t slice = argc == 3 ? strtoull(argv[1], NULL, 10) : 0,
		 count = argc == 3 ? strtoull(argv[2], NULL, 10) : 1;
	long nr = sysconf(_SC_NPROCESSORS_ONLN);
	struct worker *workers = calloc((size_t)nr, sizeof *workers);

	if (!workers || !count || slice >= count)
		return 2;
	printf("1..1\n");
	next_word = (slice << 32) / count;
	end_word = ((slice + 1) << 32) / count;
	for (long i = 0; i < nr; i++) {
		workers[i].llvm = oracle_open();
		if (!workers[i].llvm) {
			printf("ok 1 # skip there is no LLVM 14 or 15\n");
			return 77;
		}
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return 2;
	}
	for (long i = 0; i < nr; i++) {
		pthread_join(workers[i].thread, NULL);
		oracle_close(workers[i].llvm);
	}
	int status = summary(workers, nr);
	free(workers);
	return status;
}
