/*
 * A command of a client, run in this process; what it answers is kept, its
 * lines joined by "|".
 */
#ifndef TEST_AGENT_RUN_H
#define TEST_AGENT_RUN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/vec.h"
#include <hotpatch.h>

static char answer[65536];

static void keep(const char *line, void *arg)
{
	size_t len = strlen(answer);

	snprintf(answer + len, sizeof answer - len, "%s%s", len ? "|" : "", line);
}

static int run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *fmt, ...)
{
	char command[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	answer[0] = 0;
	return hotpatch_run(command, keep, NULL);
}

#define assert_answer(expected, ...)                     \
	do {                                             \
		assert_int_equal(run(__VA_ARGS__), 0);   \
		assert_string_equal(answer, (expected)); \
	} while (0)

/* Refused with that code and a sentence. */
#define assert_refused(code, ...)                                   \
	do {                                                        \
		assert_int_equal(run(__VA_ARGS__), -(code));        \
		assert_string_not_equal(hotpatch_last_error(), ""); \
	} while (0)

#endif
