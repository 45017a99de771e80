#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "build/compile.h"

static struct lp_record record(const char *const *words, size_t nr, const char *source)
{
	struct lp_record r = {.compiler = lp_strdup("/usr/bin/gcc"), .cwd = lp_strdup("/s")};
	for (size_t i = 0; i < nr; i++)
		lp_vec_push(&r.words, lp_strdup(words[i]));
	struct lp_record_unit *u = lp_vec_add(&r.units);
	u->source = lp_strdup(source);
	u->object = lp_strdup("/s/old.o");
	lp_ccargs_parse(&r.args, r.words.items, r.words.nr, false, false);
	return r;
}

/* The command for the only unit, as one text. */
static char *command(const char *const *words, size_t nr, const char *source, const struct lp_compile_how *how)
{
	struct lp_record r = record(words, nr, source);
	struct lp_compile c = {.record = &r, .object = (char *)"new.o"};
	lp_env_vec argv = {0};
	struct lp_buf text = {0};
	lp_compile_command(&argv, &c, how);
	for (size_t i = 0; i < argv.nr; i++)
		lp_buf_printf(&text, "%s%s", i ? " " : "", argv.items[i]);
	char *whole = lp_strdup(lp_buf_cstr(&text));
	lp_buf_free(&text);
	lp_env_free(&argv);
	lp_record_clear(&r);
	return whole;
}

#define SECTIONS "-ffunction-sections -fdata-sections -Wno-unused-command-line-argument"
#define ASSERT_COMMAND(how, source, expected, ...)                                        \
	do {                                                                              \
		const char *const words[] = {__VA_ARGS__};                                \
		char *text = command(words, sizeof words / sizeof words[0], source, how); \
		assert_string_equal(text, expected);                                      \
		lp_free(text);                                                            \
	} while (0)

static void output_and_dependency_files_are_replaced_and_flags_kept(void **state)
{
	struct lp_compile_how how = {0};
	(void)state;
	ASSERT_COMMAND(&how, "f.c", "/usr/bin/gcc -O2 -I inc -DX=1 " SECTIONS " -c f.c -o new.o", "-O2", "-I", "inc",
		       "-MD", "-MF", "x.d", "-c", "-o", "old.o", "-DX=1", "f.c", "-MTold.o", "-Wp,-MMD,y.d");
}

static void of_a_command_that_links_only_what_compiles_is_kept(void **state)
{
	struct lp_compile_how how = {0};
	(void)state;
	ASSERT_COMMAND(&how, "f.c", "/usr/bin/gcc -O2 -fPIE " SECTIONS " -c f.c -o new.o", "-O2", "-fPIE", "-pie",
		       "f.c", "g.o", "-L.", "-lm", "-Wl,--gc-sections", "-o", "f");
}

static void assembler_gets_no_flags_for_sections(void **state)
{
	struct lp_compile_how how = {.map = "/a=/b"};
	(void)state;
	ASSERT_COMMAND(&how, "f.S", "/usr/bin/gcc -c f.S -o new.o", "-c", "f.S");
}

static void the_prefix_map_comes_first_and_the_patch_header_last(void **state)
{
	struct lp_compile_how how = {.map = "/a=/b", .include = "/inc"};
	(void)state;
	ASSERT_COMMAND(&how, "f.c",
		       "/usr/bin/gcc -ffile-prefix-map=/a=/b -ffile-prefix-map=/b=. " SECTIONS
		       " -idirafter /inc -c f.c -o new.o",
		       "-ffile-prefix-map=/b=.", "-c", "f.c");
}

static void sections_that_are_there_already_need_no_compiler(void **state)
{
	static const char *const both[] = {"-ffunction-sections", "-fdata-sections", "-c", "f.c"};
	static const char *const one[] = {"-ffunction-sections", "-c", "f.c"};
	static const char *const no_longer[] = {"-ffunction-sections", "-fdata-sections", "-fno-function-sections",
						"-c", "f.c"};
	struct lp_record r = record(both, LP_ARRAY_SIZE(both), "f.c");
	(void)state;
	assert_true(lp_compile_is_needless(&r, 0));
	lp_record_clear(&r);
	r = record(one, LP_ARRAY_SIZE(one), "f.c");
	assert_false(lp_compile_is_needless(&r, 0));
	lp_record_clear(&r);
	r = record(no_longer, LP_ARRAY_SIZE(no_longer), "f.c");
	assert_false(lp_compile_is_needless(&r, 0));
	lp_record_clear(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(output_and_dependency_files_are_replaced_and_flags_kept),
		cmocka_unit_test(of_a_command_that_links_only_what_compiles_is_kept),
		cmocka_unit_test(assembler_gets_no_flags_for_sections),
		cmocka_unit_test(the_prefix_map_comes_first_and_the_patch_header_last),
		cmocka_unit_test(sections_that_are_there_already_need_no_compiler),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
