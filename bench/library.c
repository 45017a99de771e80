/*
 * What a patch costs, by how many there are: apply and revert by address in
 * one buffer, in random order, beside the least that could do the job (a plain
 * hash table's insert and a store, without locks, checks or descriptions).
 *
 *     bench/library [most patches]      1000000 when not said
 *
 * Every operation is timed by itself; the clock's own cost is taken off.
 * Patches are 64 bytes apart, so that no two of them share a line of the cache.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "livepatch.h"

#define BASE UINT64_C(0x400000)
#define APART 64
#define SAMPLES 200000
#define NOP 0xd503201fu

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "bench/library: %s: %s\n", what, livepatch_last_error()->text);
	exit(1);
}

/* ---- order ---- */

static uint32_t *shuffled(size_t nr)
{
	uint32_t *order = malloc(nr * sizeof *order);
	uint64_t seed = 88172645463325252;

	if (!order)
		die("malloc");
	for (size_t i = 0; i < nr; i++)
		order[i] = (uint32_t)i;
	for (size_t i = nr; i > 1; i--) {
		seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
		size_t k = seed % i;
		uint32_t other = order[k];
		order[k] = order[i - 1];
		order[i - 1] = other;
	}
	return order;
}

/* ---- samples ---- */

struct samples {
	uint32_t ns[SAMPLES];
	size_t nr;
};

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void note(struct samples *s, uint64_t ns)
{
	if (s->nr < SAMPLES)
		s->ns[s->nr++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

static uint32_t clock_cost;

static uint32_t quantile(struct samples *s, double q)
{
	qsort(s->ns, s->nr, sizeof *s->ns, by_size);
	uint32_t v = s->nr ? s->ns[(size_t)(q * (double)(s->nr - 1))] : 0;
	return v > clock_cost ? v - clock_cost : 0;
}

static void measure_clock(void)
{
	static struct samples s;

	for (size_t i = 0; i < SAMPLES; i++) {
		uint64_t before = now();
		note(&s, now() - before);
	}
	clock_cost = quantile(&s, 0.5);
}

/* ---- the floor ---- */

struct floor {
	struct entry {
		uint64_t addr; /* 0 = free */
		uint32_t was, gone;
	} * entries;
	size_t mask;
};

static struct entry *floor_slot(struct floor *f, uint64_t addr)
{
	size_t i = (addr * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & f->mask;

	while (f->entries[i].addr && f->entries[i].addr != addr)
		i = (i + 1) & f->mask;
	return &f->entries[i];
}

static void floor_apply(struct floor *f, uint32_t *word, uint64_t addr)
{
	struct entry *e = floor_slot(f, addr);

	*e = (struct entry){addr, *word, 0};
	*word = NOP;
}

static void floor_revert(struct floor *f, uint32_t *word, uint64_t addr)
{
	struct entry *e = floor_slot(f, addr);

	*word = e->was;
	e->gone = 1;
}

/* ---- one size ---- */

struct row {
	size_t patches;
	uint32_t apply, apply_99, revert, revert_99, floor_apply, floor_revert;
	double bytes, text_bytes;
};

struct run {
	uint32_t *memory;
	size_t size;
	const uint32_t *order;
	size_t nr; /* patches */
	size_t timed;
	struct samples apply, revert;
};

static uint64_t addr_of(const struct run *r, size_t i)
{
	return BASE + (uint64_t)r->order[i] * APART;
}

static uint32_t *word_of(const struct run *r, size_t i)
{
	return r->memory + (size_t)r->order[i] * APART / 4;
}

/* The last ones to come are timed, and the first ones to go: all while there are about nr. */
static void run_floor(struct run *r)
{
	struct floor f = {.mask = 1};

	while (f.mask < 2 * r->nr)
		f.mask = f.mask * 2 + 1;
	f.entries = calloc(f.mask + 1, sizeof *f.entries);
	for (size_t i = 0; i < r->nr; i++) {
		uint64_t before = now();
		floor_apply(&f, word_of(r, i), addr_of(r, i));
		if (i >= r->nr - r->timed)
			note(&r->apply, now() - before);
	}
	for (size_t i = 0; i < r->nr; i++) {
		uint64_t before = now();
		floor_revert(&f, word_of(r, i), addr_of(r, i));
		if (i < r->timed)
			note(&r->revert, now() - before);
	}
	free(f.entries);
}

static void run_library(struct run *r, struct row *row)
{
	LivePatchSystem *s = livepatch_init(r->memory, r->size, BASE);
	livepatch_counts counts;
	char text[32];

	for (size_t i = 0; i < r->nr; i++) {
		snprintf(text, sizeof text, "patch %zu", i);
		row->text_bytes += (double)strlen(text) + 1;
		uint64_t before = now();
		if (livepatch_apply(s, addr_of(r, i), NOP, text))
			die("livepatch_apply");
		if (i >= r->nr - r->timed)
			note(&r->apply, now() - before);
	}
	livepatch_get_counts(s, &counts);
	row->bytes = (double)counts.bytes;
	for (size_t i = 0; i < r->nr; i++) {
		uint64_t before = now();
		if (livepatch_revert(s, addr_of(r, i)))
			die("livepatch_revert");
		if (i < r->timed)
			note(&r->revert, now() - before);
	}
	livepatch_cleanup(s);
}

static struct row measure(uint32_t *memory, size_t size, size_t nr)
{
	static struct run r;
	uint32_t *order = shuffled(size / APART);
	struct row row = {.patches = nr};
	size_t rounds = nr < SAMPLES ? SAMPLES / nr : 1;

	r = (struct run){.memory = memory, .size = size, .order = order, .nr = nr};
	r.timed = nr < SAMPLES ? nr : SAMPLES;
	for (size_t i = 0; i < rounds; i++) {
		row.text_bytes = 0;
		run_library(&r, &row);
	}
	row.apply = quantile(&r.apply, 0.5), row.apply_99 = quantile(&r.apply, 0.99);
	row.revert = quantile(&r.revert, 0.5), row.revert_99 = quantile(&r.revert, 0.99);
	r.apply.nr = r.revert.nr = 0;
	for (size_t i = 0; i < rounds; i++)
		run_floor(&r);
	row.floor_apply = quantile(&r.apply, 0.5);
	row.floor_revert = quantile(&r.revert, 0.5);
	free(order);
	return row;
}

/* ---- several threads ---- */

struct worker {
	pthread_t thread;
	LivePatchSystem *system;
	size_t first, nr;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	for (size_t i = 0; i < w->nr; i++) {
		if (livepatch_apply(w->system, BASE + (w->first + i) * APART, NOP, "thread"))
			die("livepatch_apply");
	}
	for (size_t i = 0; i < w->nr; i++) {
		if (livepatch_revert(w->system, BASE + (w->first + i) * APART))
			die("livepatch_revert");
	}
	return NULL;
}

static double throughput(uint32_t *memory, size_t size, unsigned threads, size_t nr)
{
	struct worker workers[16];
	LivePatchSystem *s = livepatch_init(memory, size, BASE);
	uint64_t before = now();

	for (unsigned i = 0; i < threads; i++) {
		workers[i] = (struct worker){.system = s, .first = i * nr, .nr = nr};
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			die("pthread_create");
	}
	for (unsigned i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	uint64_t ns = now() - before;
	livepatch_cleanup(s);
	return 2.0 * (double)nr * threads * 1e3 / (double)ns;
}

int main(int argc, char **argv)
{
	size_t most = argc > 1 ? strtoull(argv[1], NULL, 0) : 1000000;
	size_t size = (most < 1000 ? 1000 : most) * APART;
	uint32_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("mmap");
	memset(memory, 0x1f, size);
	measure_clock();
	printf("| patches | apply ns | 99 %% | a hash table's insert and a store | revert ns | 99 %% | its look-up and "
	       "a "
	       "store | bytes a patch | and of description |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
	for (size_t nr = 1; nr <= most; nr *= 1000) {
		struct row r = measure(memory, size, nr);
		printf("| %zu | %u | %u | %u | %u | %u | %u | %.0f | %.0f |\n", r.patches, r.apply, r.apply_99,
		       r.floor_apply, r.revert, r.revert_99, r.floor_revert,
		       (r.bytes - r.text_bytes) / (double)r.patches, r.text_bytes / (double)r.patches);
		fflush(stdout);
	}
	for (unsigned threads = 1; threads <= 4; threads *= 2)
		printf("%s%u thread%s: %.1f million patches applied or reverted a second\n", threads == 1 ? "\n" : "",
		       threads, threads == 1 ? "" : "s", throughput(memory, size, threads, most / 4));
	munmap(memory, size);
	return 0;
}
