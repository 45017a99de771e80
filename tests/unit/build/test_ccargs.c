#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "build/ccargs.h"

#define PARSE(a, ...)                                                                                  \
	do {                                                                                           \
		const char *words[] = {__VA_ARGS__};                                                   \
		lp_ccargs_parse(a, (char *const *)words, sizeof words / sizeof words[0], false, true); \
	} while (0)

static void what_a_command_does_is_told_from_its_words(void **state)
{
	static const struct {
		const char *words[8];
		enum lp_cc_does does;
	} cases[] = {
		{{"-c", "foo.c", "-o", "foo.o"}, LP_CC_COMPILE},
		{{"-c", "foo.S"}, LP_CC_COMPILE},
		{{"-O2", "foo.c", "-o", "foo"}, LP_CC_COMPILE_LINK},
		{{"foo.c", "bar.o", "libx.a"}, LP_CC_COMPILE_LINK},
		{{"foo.o", "-lm", "-o", "foo"}, LP_CC_LINK},
		{{"-shared", "foo.o", "-o", "libfoo.so"}, LP_CC_LINK},
		{{"-E", "foo.c"}, LP_CC_NOTHING},
		{{"-E", "-c", "foo.c"}, LP_CC_NOTHING},
		{{"-c", "-E", "foo.c"}, LP_CC_NOTHING},
		{{"-MM", "foo.c"}, LP_CC_NOTHING},
		{{"-S", "foo.c"}, LP_CC_ASSEMBLY},
		{{"-v"}, LP_CC_NOTHING},
		{{"--version"}, LP_CC_NOTHING},
		{{"-print-search-dirs"}, LP_CC_NOTHING},
		{{"-dumpmachine"}, LP_CC_NOTHING},
		{{"-c", "-x", "c", "-"}, LP_CC_COMPILE},
	};
	(void)state;
	for (size_t i = 0; i < LP_ARRAY_SIZE(cases); i++) {
		struct lp_ccargs a;
		size_t nr = 0;
		while (nr < 8 && cases[i].words[nr])
			nr++;
		lp_ccargs_parse(&a, (char *const *)cases[i].words, nr, false, false);
		if (a.does != cases[i].does)
			fail_msg("case %zu (%s %s): %d", i, cases[i].words[0],
				 cases[i].words[1] ? cases[i].words[1] : "", a.does);
		lp_ccargs_free(&a);
	}
}

static void values_of_options_are_no_inputs(void **state)
{
	struct lp_ccargs a;
	(void)state;
	PARSE(&a, "-c", "-I", "dir.c", "-include", "pre.c", "-MF", "foo.c", "-D", "x.c", "real.c", "-o", "out.o");
	assert_int_equal(a.inputs.nr, 1);
	assert_string_equal(a.inputs.items[0].path, "real.c");
	assert_string_equal(a.output, "out.o");
	assert_string_equal(a.dep_file, "foo.c");
	assert_true(a.wants_deps);
	lp_ccargs_free(&a);
}

static void an_output_may_be_joined_to_its_option(void **state)
{
	struct lp_ccargs a;
	(void)state;
	PARSE(&a, "-c", "foo.c", "-oout.o");
	assert_string_equal(a.output, "out.o");
	lp_ccargs_free(&a);
}

static void standard_input_and_x_are_odd(void **state)
{
	struct lp_ccargs a;
	(void)state;
	PARSE(&a, "-c", "-xc", "-", "-o", "a.o");
	assert_true(a.odd);
	lp_ccargs_free(&a);
	PARSE(&a, "-c", "a.c");
	assert_false(a.odd);
	lp_ccargs_free(&a);
}

static void the_last_word_about_lto_counts(void **state)
{
	struct lp_ccargs a;
	(void)state;
	PARSE(&a, "-flto=auto", "-c", "a.c");
	assert_true(a.lto);
	lp_ccargs_free(&a);
	PARSE(&a, "-flto", "-fno-lto", "-c", "a.c");
	assert_false(a.lto);
	lp_ccargs_free(&a);
}

static void a_map_that_the_command_asks_for_is_found(void **state)
{
	struct lp_ccargs a;
	(void)state;
	PARSE(&a, "a.o", "-Wl,--gc-sections,-Map=own.map", "-o", "a");
	assert_string_equal(a.map, "own.map");
	lp_ccargs_free(&a);
	PARSE(&a, "a.o", "-Wl,-Map,own.map", "-o", "a");
	assert_string_equal(a.map, "own.map");
	lp_ccargs_free(&a);
}

static void dependency_options_are_spanned_with_their_values(void **state)
{
	struct lp_ccargs a;
	(void)state;
	PARSE(&a, "-MD", "-MF", "x.d", "-MTx.o", "-Wp,-MMD,y.d", "-O2");
	assert_int_equal(lp_ccargs_dependency_span(&a, 0), 1);
	assert_int_equal(lp_ccargs_dependency_span(&a, 1), 2);
	assert_int_equal(lp_ccargs_dependency_span(&a, 3), 1);
	assert_int_equal(lp_ccargs_dependency_span(&a, 4), 1);
	assert_int_equal(lp_ccargs_dependency_span(&a, 5), 0);
	assert_string_equal(a.dep_file, "y.d");
	lp_ccargs_free(&a);
}

static void response_files_are_read_with_their_quotes(void **state)
{
	char path[] = "/tmp/lp-ccargs-XXXXXX";
	int fd = mkstemp(path);
	struct lp_ccargs a;
	(void)state;
	dprintf(fd, "-c 'a b.c'\n\"-DX=\\\"y\\\"\"\t-o\nout\\ put.o\n");
	close(fd);
	char *word = lp_sprintf("@%s", path);
	PARSE(&a, word, "-O1");
	assert_int_equal(a.does, LP_CC_COMPILE);
	assert_int_equal(a.words.nr, 6);
	assert_string_equal(a.inputs.items[0].path, "a b.c");
	assert_string_equal(a.words.items[2], "-DX=\"y\"");
	assert_string_equal(a.output, "out put.o");
	lp_ccargs_free(&a);
	lp_free(word);
	unlink(path);
}

static void a_response_file_that_includes_itself_ends(void **state)
{
	char path[] = "/tmp/lp-ccargs-XXXXXX";
	int fd = mkstemp(path);
	struct lp_ccargs a;
	(void)state;
	dprintf(fd, "@%s", path);
	close(fd);
	char *word = lp_sprintf("@%s", path);
	PARSE(&a, word);
	assert_int_equal(a.words.nr, 1);
	lp_ccargs_free(&a);
	lp_free(word);
	unlink(path);
}

static void an_object_is_named_after_its_source(void **state)
{
	static const char *const cases[][2] = {
		{"foo.c", "foo.o"}, {"dir.d/foo.tab.cc", "foo.tab.o"}, {"noext", "noext.o"}};
	(void)state;
	for (size_t i = 0; i < LP_ARRAY_SIZE(cases); i++) {
		char *object = lp_ccargs_default_object(cases[i][0]);
		assert_string_equal(object, cases[i][1]);
		lp_free(object);
	}
}

static void compilers_are_known_by_name(void **state)
{
	static const char *const yes[] = {"cc",
					  "gcc",
					  "g++",
					  "c++",
					  "clang",
					  "clang++-14",
					  "gcc-12",
					  "x86_64-linux-gnu-gcc",
					  "x86_64-linux-gnu-g++-12",
					  "gcc-12.2"};
	static const char *const no[] = {"gcc-ar",  "gcc-nm-12", "clang-format", "ccache", "gccgo",
					 "c++filt", "clangd",	 "occ",		 "distcc"};
	(void)state;
	for (size_t i = 0; i < LP_ARRAY_SIZE(yes); i++)
		if (!lp_is_compiler_name(yes[i]))
			fail_msg("%s is a compiler", yes[i]);
	for (size_t i = 0; i < LP_ARRAY_SIZE(no); i++)
		if (lp_is_compiler_name(no[i]))
			fail_msg("%s is no compiler", no[i]);
	assert_true(lp_is_linker_name("ld"));
	assert_true(lp_is_linker_name("x86_64-linux-gnu-ld.gold"));
	assert_false(lp_is_linker_name("ldd"));
}

static void a_linker_called_by_its_own_name_has_objects_only(void **state)
{
	const char *words[] = {"-r", "-o", "all.o", "a.o", "b.o", "-m", "elf_x86_64", "-M"};
	struct lp_ccargs a;
	(void)state;
	lp_ccargs_parse(&a, (char *const *)words, LP_ARRAY_SIZE(words), true, false);
	assert_int_equal(a.does, LP_CC_LINK);
	assert_true(a.relocatable);
	assert_int_equal(a.inputs.nr, 2);
	lp_ccargs_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_command_does_is_told_from_its_words),
		cmocka_unit_test(values_of_options_are_no_inputs),
		cmocka_unit_test(an_output_may_be_joined_to_its_option),
		cmocka_unit_test(standard_input_and_x_are_odd),
		cmocka_unit_test(the_last_word_about_lto_counts),
		cmocka_unit_test(a_map_that_the_command_asks_for_is_found),
		cmocka_unit_test(dependency_options_are_spanned_with_their_values),
		cmocka_unit_test(response_files_are_read_with_their_quotes),
		cmocka_unit_test(a_response_file_that_includes_itself_ends),
		cmocka_unit_test(an_object_is_named_after_its_source),
		cmocka_unit_test(compilers_are_known_by_name),
		cmocka_unit_test(a_linker_called_by_its_own_name_has_objects_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
