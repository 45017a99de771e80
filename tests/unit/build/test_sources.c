#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdio.h"
#include "build/sources.h"
#include "scratch.h"

static char *in(const char *name)
{
	return lp_sprintf("%s/%s", scratch, name);
}

static void put(const char *name, const char *text)
{
	char *path = in(name);
	char *slash = strrchr(path, '/');
	*slash = 0;
	assert_int_equal(lp_make_dirs(path, NULL), 0);
	*slash = '/';
	assert_int_equal(lp_write_file(path, text, strlen(text), NULL), 0);
	lp_free(path);
}

static void assert_text(const char *name, const char *expected)
{
	struct lp_buf text = {0};
	char *path = in(name);
	assert_int_equal(lp_read_file(path, &text, 1 << 16, NULL), 0);
	assert_string_equal(lp_buf_cstr(&text), expected);
	lp_buf_free(&text);
	lp_free(path);
}

static int apply(const char *diff, struct lp_err *err)
{
	put("diff", diff);
	char *tree = in("tree"), *file = in("diff"), *log = in("log");
	int rc = lp_apply_diff(tree, file, log, NULL, err);
	lp_free(tree);
	lp_free(file);
	lp_free(log);
	return rc;
}

static void a_diff_applies_at_whatever_depth_it_was_made(void **state)
{
	static const char *const lead[] = {"", "a/", "top/a/", "home/top/a/"};
	(void)state;
	for (size_t i = 0; i < LP_ARRAY_SIZE(lead); i++) {
		put("tree/sub/f", "one\n");
		char *diff = lp_sprintf("--- %ssub/f\n+++ %ssub/f\n@@ -1 +1 @@\n-one\n+two\n", lead[i], lead[i]);
		assert_int_equal(apply(diff, NULL), 0);
		assert_text("tree/sub/f", "two\n");
		lp_free(diff);
	}
}

static void a_series_in_one_file_may_change_a_file_twice(void **state)
{
	(void)state;
	put("tree/f", "one\n");
	assert_int_equal(
		apply("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-one\n+two\n--- a/f\n+++ b/f\n@@ -1 +1 @@\n-two\n+three\n", NULL),
		0);
	assert_text("tree/f", "three\n");
}

static void gits_renames_and_new_files_are_understood(void **state)
{
	(void)state;
	put("tree/old", "one\n");
	assert_int_equal(
		apply("diff --git a/old b/new\nsimilarity index 100%\nrename from old\nrename to new\n"
		      "diff --git a/made b/made\nnew file mode 100644\n--- /dev/null\n+++ b/made\n@@ -0,0 +1 @@\n+x\n",
		      NULL),
		0);
	assert_text("tree/new", "one\n");
	assert_text("tree/made", "x\n");
}

static void a_hunk_that_fails_is_named_with_its_file(void **state)
{
	struct lp_err err = {0};
	(void)state;
	put("tree/f", "other\n");
	assert_int_equal(apply("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-one\n+two\n", &err), -LP_EHUNK);
	assert_non_null(strstr(err.text, ": f: hunk #1"));
}

static void a_file_that_is_missing_and_text_that_is_no_diff_are_told(void **state)
{
	struct lp_err err = {0};
	(void)state;
	put("tree/f", "one\n");
	assert_int_equal(apply("--- a/g\n+++ b/g\n@@ -1 +1 @@\n-one\n+two\n", &err), -LP_EHUNK);
	assert_non_null(strstr(err.text, "not in the tree"));
	assert_int_equal(apply("hello\n", &err), -LP_EHUNK);
	assert_non_null(strstr(err.text, "garbage"));
}

static void a_diff_does_not_write_outside_of_the_tree(void **state)
{
	(void)state;
	put("tree/f", "one\n");
	put("victim", "one\n");
	assert_int_not_equal(apply("--- ../victim\n+++ ../victim\n@@ -1 +1 @@\n-one\n+two\n", NULL), 0);
	assert_text("victim", "one\n");
}

static void the_command_is_guessed_from_what_is_there(void **state)
{
	static const struct {
		const char *file, *command;
	} cases[] = {{"1/Makefile", "make -j3"},
		     {"2/build.ninja", "ninja -j3"},
		     {"3/CMakeLists.txt", "cmake -S . -B livepatch-build && cmake --build livepatch-build -j 3"}};
	(void)state;
	for (size_t i = 0; i < LP_ARRAY_SIZE(cases); i++) {
		put(cases[i].file, "");
		char *tree = in(cases[i].file);
		*strrchr(tree, '/') = 0;
		char *command = lp_guess_command(tree, 3);
		assert_string_equal(command, cases[i].command);
		lp_free(command);
		lp_free(tree);
	}
	put("4/CMakeLists.txt", "");
	put("4/out/CMakeCache.txt", "");
	char *tree = in("4"), *command = lp_guess_command(tree, 3);
	assert_string_equal(command, "cmake --build 'out' -j 3");
	lp_free(command);
	assert_null(lp_guess_command(scratch, 3));
	lp_free(tree);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)
	const struct CMUnitTest tests[] = {
		TEST(a_diff_applies_at_whatever_depth_it_was_made),
		TEST(a_series_in_one_file_may_change_a_file_twice),
		TEST(gits_renames_and_new_files_are_understood),
		TEST(a_hunk_that_fails_is_named_with_its_file),
		TEST(a_file_that_is_missing_and_text_that_is_no_diff_are_told),
		TEST(a_diff_does_not_write_outside_of_the_tree),
		TEST(the_command_is_guessed_from_what_is_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
