/*
 * For tests of patch files: a directory of its own, which is the working
 * directory, and memory with something in it to patch.
 *
 * The first CODE words are instructions, each another one; the rest is zeros
 * for new code.
 */
#ifndef LP_TESTS_API_FILES_H
#define LP_TESTS_API_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "livepatch.h"

#define BASE 0x400000
#define WORDS 65536
#define CODE 16384
#define NOP 0xd503201fu
#define RET 0xd65f03c0u

static uint32_t memory[WORDS];
static LivePatchSystem *sys;
static char directory[PATH_MAX];

/* MOVZ x0, #i: what stands in the memory at first. */
static inline uint32_t original(size_t i)
{
	return 0xd2800000 | (uint32_t)(i & 0xffff) << 5;
}

static inline void fill(uint32_t *words)
{
	memset(words, 0, sizeof memory);
	for (size_t i = 0; i < CODE; i++)
		words[i] = original(i);
}

static inline uint32_t word(uint64_t addr)
{
	return __atomic_load_n(&memory[(addr - BASE) / 4], __ATOMIC_ACQUIRE);
}

static inline int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	return remove(path);
}

static inline int enter_directory(void **state)
{
	snprintf(directory, sizeof directory, "/tmp/test-files-XXXXXX");
	fill(memory);
	sys = livepatch_init(memory, sizeof memory, BASE);
	return sys && mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

static inline int leave_directory(void **state)
{
	livepatch_cleanup(sys);
	return chdir("/") == 0 ? nftw(directory, remove_one, 16, FTW_DEPTH | FTW_PHYS) : -1;
}

static inline void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

/* As deployers do it. */
static inline void replace_file(const char *path, const char *text)
{
	char draft[PATH_MAX];
	snprintf(draft, sizeof draft, "%s.new", path);
	write_file(draft, text);
	assert_int_equal(rename(draft, path), 0);
}

static inline livepatch_counts counts(void)
{
	livepatch_counts c;
	assert_int_equal(livepatch_get_counts(sys, &c), 0);
	return c;
}

static inline const char *last_text(void)
{
	return livepatch_last_error()->text;
}

static inline void assert_loads(const char *path, int count)
{
	int rc = livepatch_load_from_file(sys, path);
	if (rc != count)
		fail_msg("%s: %d, %s", path, rc, last_text());
}

static inline void assert_untouched(void)
{
	for (size_t i = 0; i < WORDS; i++)
		assert_int_equal(memory[i], i < CODE ? original(i) : 0);
	assert_int_equal(counts().active, 0);
}

#endif
