/*
 * Many threads at one system.  In the plain build, what they see and what is
 * left; compiled once more with the thread sanitizer, that nothing of it is a
 * race.
 */
#include <livepatch.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BASE UINT64_C(0x400000)
#define WORDS 65536
#define CODE 16384 /* words that are patched; the rest is room */
#define THREADS 6
#define ROUNDS 3000
#define NOP 0xd503201fu
#define RET 0xd65f03c0u
#define MOV 0xd2800020u

static uint32_t memory[WORDS];
static LivePatchSystem *sys;
static atomic_bool over;
static atomic_long done, refused;

static void check(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "not so: %s (%s)\n", what, livepatch_last_error()->text);
	exit(1);
}

static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Only a refusal that others can cause. */
static void note(int rc)
{
	const char *name = livepatch_last_error()->name;

	if (rc >= 0)
		atomic_fetch_add(&done, 1);
	else
		atomic_fetch_add(&refused, 1);
	check(rc >= 0 || !strcmp(name, "overlap") || !strcmp(name, "no-such-patch") || !strcmp(name, "memory-changed"),
	      "threads refuse each other only what is taken");
}

static void change_some(uint32_t *seed, uint64_t at)
{
	const uint32_t code[] = {NOP, RET, NOP};
	uint64_t func;

	switch (next(seed) % 8) {
	case 0:
		note(livepatch_apply_code(sys, at, code, sizeof code, NULL, "three words"));
		break;
	case 1:
		note(livepatch_create_branch(sys, at, BASE + 64, "branch"));
		break;
	case 2:
		note(livepatch_insert(sys, at, code, 4, "insert"));
		break;
	case 3:
		if (livepatch_new_func(sys, NULL, code, sizeof code, &func, "function") == 0)
			note(livepatch_revert(sys, func));
		break;
	default:
		note(livepatch_apply(sys, at, NOP, "word"));
		break;
	}
	if (next(seed) % 2)
		note(livepatch_revert(sys, at));
}

static void change_several(uint32_t *seed, uint64_t at)
{
	note(livepatch_begin(sys));
	for (unsigned i = 0; i < 4; i++)
		note(livepatch_apply(sys, at + 4096 * i % (CODE * 4), NOP, "one of four"));
	note(next(seed) % 2 ? livepatch_commit(sys) : livepatch_abort(sys));
}

static void *change(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t at = BASE + next(&seed) % CODE * 4;
		if (i % 16 == 15)
			change_several(&seed, at);
		else
			change_some(&seed, at);
	}
	return NULL;
}

static int look_at(const livepatch_info *info, void *arg)
{
	uint64_t *last = arg;

	check(info->addr > *last, "patches come by rising address");
	*last = info->addr;
	return 0;
}

/* Whoever executes the memory sees old or new instructions, whole. */
static void *read_words(void *arg)
{
	while (!atomic_load(&over)) {
		for (size_t i = 0; i < CODE; i++) {
			uint32_t w = __atomic_load_n(&memory[i], __ATOMIC_ACQUIRE);
			check(w == MOV || w == NOP || w == RET || w >> 26 == 5, "a word is old or new");
		}
	}
	return NULL;
}

static void *look(void *arg)
{
	livepatch_counts counts;

	while (!atomic_load(&over)) {
		uint64_t last = 0;
		livepatch_foreach(sys, look_at, &last);
		livepatch_find(sys, BASE + 128, NULL, NULL, NULL);
		livepatch_get_counts(sys, &counts);
		check(counts.applied - counts.reverted == counts.active, "the counts agree");
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS], reader, looker;
	livepatch_counts counts;

	for (size_t i = 0; i < CODE; i++)
		memory[i] = MOV;
	sys = livepatch_init(memory, sizeof memory, BASE);
	check(sys, "there is a system");
	pthread_create(&reader, NULL, read_words, NULL);
	pthread_create(&looker, NULL, look, NULL);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, change, (void *)(i + 1));
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&over, true);
	pthread_join(reader, NULL);
	pthread_join(looker, NULL);

	livepatch_get_counts(sys, &counts);
	check(livepatch_revert_all(sys) == (int)counts.active, "all that is active is taken back");
	for (size_t i = 0; i < CODE; i++)
		check(memory[i] == MOV, "the memory is what it was");
	livepatch_get_counts(sys, &counts);
	check(counts.active == 0 && counts.applied == counts.reverted, "nothing is left");
	livepatch_cleanup(sys);
	printf("%ld changes, %ld refusals\n", atomic_load(&done), atomic_load(&refused));
	return 0;
}
