/* The table of system calls beside the header that arm64 programs are compiled with. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/vec.h"

#define HEADER "/usr/aarch64-linux-gnu/include/asm-generic/unistd.h"

enum { PASS_ROW, WAIT_ROW, OURS_ROW, FAIL_ROW, NR_MAX = 512 };

static const struct row {
	unsigned number;
	const char *name, *args, *why;
	int way, error;
} rows[] = {
#define PASS(number, name, args) {number, #name, args, "", PASS_ROW, 0},
#define WAIT(number, name, args) {number, #name, args, "", WAIT_ROW, 0},
#define OURS(number, name, args) {number, #name, args, "", OURS_ROW, 0},
#define FAIL(number, name, error, args, why) {number, #name, args, why, FAIL_ROW, error},
#include "emu/syscall.def"
#undef PASS
#undef WAIT
#undef OURS
#undef FAIL
};

static const char *const words[] = {
#define KIND(word) #word,
#define STRUCT(word) #word,
#include "emu/strace_kinds.def"
#undef KIND
#undef STRUCT
#define VALUES(word) #word,
#define BITS(word, zero) #word,
#define NAME(value)
#define NAME_AS(text, value)
#define END
#include "emu/strace_names.def"
};

static const struct row *row_of(unsigned number)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(rows); i++)
		if (rows[i].number == number)
			return &rows[i];
	return NULL;
}

/* "#define __NR_name 17" or "#define __NR3264_name 25": the name, and its number; false: another line. */
static int read_define(const char *line, char name[64], unsigned long *number)
{
	static const char *const prefixes[] = {"#define __NR_", "#define __NR3264_"};

	for (size_t i = 0; i < LP_ARRAY_SIZE(prefixes); i++) {
		const char *p = line + strlen(prefixes[i]);
		size_t len;
		char *end;

		if (strncmp(line, prefixes[i], strlen(prefixes[i])))
			continue;
		len = strcspn(p, " \t");
		if (len >= 64)
			return 0;
		memcpy(name, p, len);
		name[len] = 0;
		*number = strtoul(p + len, &end, 10);
		return end != p + len && *number < NR_MAX;
	}
	return 0;
}

/* Names that a number has beside the one of the row. */
static int is_no_call(const char *name)
{
	return !strcmp(name, "arch_specific_syscall") || !strcmp(name, "syscalls");
}

static void every_call_of_the_header_has_a_row_with_its_name(void **state)
{
	static int named[NR_MAX], is_call[NR_MAX];
	FILE *header = fopen(HEADER, "re");
	char line[256], name[64];
	unsigned long number;

	if (!header)
		skip();
	while (fgets(line, sizeof line, header)) {
		const struct row *row;

		if (!read_define(line, name, &number) || is_no_call(name))
			continue;
		is_call[number] = 1;
		row = row_of((unsigned)number);
		if (!row)
			fail_msg("no row for %s, %lu", name, number);
		named[number] |=
			!strcmp(row->name, name) || (!strcmp(name, "fstatat") && !strcmp(row->name, "newfstatat"));
	}
	fclose(header);
	for (unsigned nr = 0; nr < NR_MAX; nr++)
		if (is_call[nr] && !named[nr])
			fail_msg("%u is not called %s in " HEADER, nr, row_of(nr)->name);
	assert_true(is_call[0] && is_call[220] && is_call[450]);
}

static void numbers_ascend(void **state)
{
	for (size_t i = 1; i < LP_ARRAY_SIZE(rows); i++)
		assert_true(rows[i - 1].number < rows[i].number);
	assert_int_equal(rows[LP_ARRAY_SIZE(rows) - 1].number, 450);
}

static int is_word(const char *word, size_t len)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(words); i++)
		if (strlen(words[i]) == len && !memcmp(words[i], word, len))
			return 1;
	return 0;
}

static void arguments_are_of_known_kinds_and_at_most_six(void **state)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(rows); i++) {
		unsigned nr = 0;

		for (const char *p = rows[i].args; *p; p += strspn(p, " ")) {
			int is_result = *p == '>';
			size_t len = strcspn(p += is_result, " ");

			if (!is_word(p, len))
				fail_msg("%s: what is \"%.*s\"?", rows[i].name, (int)len, p);
			nr += !is_result;
			p += len;
		}
		assert_true(nr <= 6);
	}
}

static void a_call_that_is_not_offered_says_why(void **state)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(rows); i++)
		if (rows[i].way == FAIL_ROW) {
			assert_true(rows[i].error == ENOSYS || rows[i].error == EPERM || rows[i].error == EINTR);
			assert_true(strlen(rows[i].why) > 10);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_call_of_the_header_has_a_row_with_its_name),
		cmocka_unit_test(numbers_ascend),
		cmocka_unit_test(arguments_are_of_known_kinds_and_at_most_six),
		cmocka_unit_test(a_call_that_is_not_offered_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
