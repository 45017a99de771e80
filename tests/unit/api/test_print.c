/* What a person sees: tables on standard output, a demonstration, lines on standard error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "api/text.h"
#include "base/vec.h"
#include "livepatch.h"

#define BASE 0x400000
#define NOP 0xd503201fu

static uint32_t memory[1024];
static LivePatchSystem *sys;

/* What `show` wrote to the descriptor; lp_free() it. */
static char *captured(int fd, FILE *stream, void (*show)(LivePatchSystem *))
{
	int file = memfd_create("output", 0), before = dup(fd);
	char *text = lp_alloc(65536);

	fflush(stream);
	dup2(file, fd);
	show(sys);
	fflush(stream);
	dup2(before, fd);
	close(before);
	ssize_t len = pread(file, text, 65535, 0);
	assert_true(len >= 0);
	close(file);
	return text;
}

static void assert_shows(void (*show)(LivePatchSystem *), const char *expected)
{
	char *text = captured(STDOUT_FILENO, stdout, show);

	assert_string_equal(text, expected);
	lp_free(text);
}

static void assert_contains(const char *text, const char *part)
{
	if (!text || !strstr(text, part))
		fail_msg("\"%s\" is not in:\n%s", part, text ? text : "");
}

static int setup(void **state)
{
	memset(memory, 0x1f, sizeof memory);
	sys = livepatch_init(memory, sizeof memory, BASE);
	return !sys;
}

static int teardown(void **state)
{
	livepatch_set_debug(0);
	livepatch_cleanup(sys);
	return 0;
}

static void an_empty_list_says_so(void **state)
{
	assert_shows(livepatch_list, "no patches\n");
}

static void columns_are_as_wide_as_what_stands_in_them(void **state)
{
	livepatch_create_branch(sys, BASE + 0x100, BASE + 0x200, "Переход к обработчику");
	livepatch_apply(sys, BASE, NOP, "NOP patch");
	assert_shows(livepatch_list, "ADDRESS   TYPE     SIZE  BEFORE    NOW       TARGET    DESCRIPTION\n"
				     "0x400000  REPLACE  4     1f1f1f1f  d503201f            NOP patch\n"
				     "0x400100  BRANCH   4     1f1f1f1f  14000040  0x400200  Переход к обработчику\n");
}

static void what_moves_the_cursor_is_shown_and_not_done(void **state)
{
	livepatch_apply(sys, BASE, NOP, "a\x1b[2Jb\xff");
	char *text = captured(STDOUT_FILENO, stdout, livepatch_list);

	assert_contains(text, "a\\x1b[2Jb\\xff\n");
	lp_free(text);
}

static void text_is_measured_in_columns(void **state)
{
	assert_int_equal(lp_text_width("abc"), 3);
	assert_int_equal(lp_text_width("Обзор"), 5);
	assert_int_equal(lp_text_width("補丁"), 4);
	assert_int_equal(lp_text_width("e\xcc\x81"), 1); /* e and an acute accent over it */
	assert_int_equal(lp_text_width("\x80"), 4);
	assert_int_equal(lp_text_width("\xe0\x80\x80"), 12); /* too long for what it says */
	assert_int_equal(lp_text_width("\xf0\x9f\x98"), 12); /* cut off */
	assert_int_equal(lp_text_width(""), 0);
}

static void stats_tell_how_many_of_what(void **state)
{
	livepatch_apply(sys, BASE, NOP, NULL);
	livepatch_create_nop(sys, BASE + 4, NULL);
	livepatch_create_nop(sys, BASE + 4, NULL);
	livepatch_create_nop(sys, BASE + 8, NULL);
	livepatch_revert(sys, BASE);
	char *text = captured(STDOUT_FILENO, stdout, livepatch_stats);

	assert_contains(text, "target            buffer, aarch64, 0x400000 to 0x401000\n");
	assert_contains(text, "patching          enabled\n");
	assert_contains(text, "active patches    2\n");
	assert_contains(text, "  NOP             2\n");
	assert_contains(text, "applied           3\n");
	assert_contains(text, "reverted          1\n");
	assert_contains(text, "refused           1\n");
	assert_contains(text, "generation        4\n");
	assert_null(strstr(text, "REPLACE"));
	lp_free(text);
}

static void the_demonstration_leaves_the_memory_as_it_was(void **state)
{
	static uint32_t before[1024];

	livepatch_apply(sys, BASE, NOP, "mine");
	memcpy(before, memory, sizeof before);
	char *text = captured(STDOUT_FILENO, stdout, livepatch_demo);
	assert_contains(text, "a demonstration at 0x400020");
	assert_contains(text, "refused (overlap)");
	assert_contains(text, "refused (misaligned)");
	assert_contains(text, "the memory is what it was\n");
	assert_memory_equal(memory, before, sizeof before);
	lp_free(text);
}

static void do_something(LivePatchSystem *s)
{
	livepatch_apply(s, BASE, NOP, "something");
	livepatch_apply(s, BASE, NOP, "something");
	livepatch_revert(s, BASE);
}

static void debugging_tells_what_is_done(void **state)
{
	char *text = captured(STDERR_FILENO, stderr, do_something);

	assert_string_equal(text, "");
	lp_free(text);
	livepatch_set_debug(1);
	text = captured(STDERR_FILENO, stderr, do_something);
	assert_contains(text, "livepatch: applied at 0x400000: something\n");
	assert_contains(text, "livepatch: refused: 0x400000 is changed by the patch at 0x400000 already\n");
	assert_contains(text, "livepatch: reverted at 0x400000: something\n");
	lp_free(text);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_empty_list_says_so),
		T(columns_are_as_wide_as_what_stands_in_them),
		T(what_moves_the_cursor_is_shown_and_not_done),
		T(text_is_measured_in_columns),
		T(stats_tell_how_many_of_what),
		T(the_demonstration_leaves_the_memory_as_it_was),
		T(debugging_tells_what_is_done),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
