/*
 * Pairs of objects from one source, compiled with and without -DAFTER, and the binary that the first was linked into.
 *
 *     struct pair_options o = {.compiler = "gcc", .flags = "-O2", .link = "program"};
 *     struct pair p;
 *     pair_make(&p, "/path/case.c", &o);
 *     ... p.unit, p.original ...
 *     pair_free(&p);
 */
#ifndef LP_TEST_DIFF_PAIRS_H
#define LP_TEST_DIFF_PAIRS_H

#include "diff/diff.h"

struct pair_options {
	const char *compiler; /* "gcc", "clang"; C++ sources are given to its other half */
	const char *flags;    /* for all compilations */
	const char *link;     /* "program", "no-pie", "shared", "static" */
	bool without_map;     /* no placements: names and files have to do */
};

struct pair {
	struct lp_elf *before, *after, *linked, *original;
	struct lp_diff_unit unit;
	struct lp_placement *placements;
	char *map;
};

bool have_compiler(const char *compiler, const char *source);
const char *scratch(void); /* a directory of this run's own, removed at exit */
void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void pair_make(struct pair *p, const char *source, const struct pair_options *o);
void pair_free(struct pair *p);

#endif
