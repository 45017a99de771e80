/* The target is this test program: its own symbols are offered. */
#include "tool/tool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

int zz_complete_me(void);
int zz_complete_me_too(void);
int zz_data = 1;

__asm__(".data\n"
	".globl \"zz_odd:name\"\n"
	".type \"zz_odd:name\", @object\n"
	".size \"zz_odd:name\", 4\n"
	"\"zz_odd:name\": .long 2\n"
	".text\n");

int zz_complete_me(void)
{
	return zz_data;
}

int zz_complete_me_too(void)
{
	return zz_data + 1;
}

static struct lp_image loaded[] = {{.name = "self.so.6", .path = "/proc/self/exe"},
				   {.name = "self:odd.so", .path = "/proc/self/exe"}};

static int images(struct lp_target *t, const struct lp_image **out, size_t *nr, struct lp_err *err)
{
	*out = loaded;
	*nr = LP_ARRAY_SIZE(loaded);
	return 0;
}

static const struct lp_target_ops ops = {.images = images};
static struct lp_target target = {.ops = &ops};

static const char *const commands[] = {"apply", "list", NULL};

static int open_self(void **state)
{
	return lp_elf_open(&loaded[0].elf, loaded[0].path, NULL);
}

static int close_self(void **state)
{
	lp_elf_close(loaded[0].elf);
	return 0;
}

/* Candidates for the end of `line`, joined by blanks. */
static void offers_with(const struct lp_patchset *ps, const char *line, const char *expected)
{
	word_vec words = {0};
	struct lp_buf got = {0};
	size_t start;
	assert_true(complete_line(line, strlen(line), commands, ps, &target, &words, &start));
	for (size_t i = 0; i < words.nr; i++)
		lp_buf_printf(&got, "%s%s", i ? " " : "", words.items[i]);
	assert_string_equal(lp_buf_cstr(&got), expected);
	lp_buf_free(&got);
	words_free(&words);
}

static void offers(const char *line, const char *expected)
{
	offers_with(NULL, line, expected);
}

static void the_first_word_is_an_instruction_or_a_command(void **state)
{
	offers("", "apply dl got jmp list load new set");
	offers("  l", "list load");
	offers("x", "");
}

static void an_address_is_a_symbol_once_however_many_tables_name_it(void **state)
{
	offers("jmp zz_", "zz_complete_me zz_complete_me_too zz_data");
	offers("jmp zz_data zz_complete_me_", "zz_complete_me_too");
	offers("set zz_d", "zz_data");
	offers("set zz_o", ""); /* zz_odd:name would be name in zz_odd */
	offers("got zz_complete_me_t", "zz_complete_me_too");
}

static void a_module_is_offered_and_then_its_symbols(void **state)
{
	offers("jmp sel", "self.so.6:"); /* what has a colon in its name could not be asked for */
	offers("jmp self.so.6:zz_d", "self.so.6:zz_data");
	offers("jmp other.so:zz_d", "");
}

static void an_option_is_offered_before_the_first_operand_only(void **state)
{
	offers("jmp -", "--allow-active --clobber");
	offers("jmp --clobber -", "--allow-active");
	offers("dl -", "--dlopen");
	offers("jmp --allow-active zz_d", "zz_data");
	offers("jmp --allow-active zz_data zz_d", "zz_data");
	offers("jmp --allow-active --clobber zz_data zz_d", "zz_data");
	offers("set -", "");
}

static void a_type_follows_the_address_of_set_and_an_address_only_the_type_addr(void **state)
{
	offers("set zz_data ", "addr hex int int16 int32 int64 int8 str");
	offers("set zz_data addr zz_d", "zz_data");
	offers("set zz_data str zz_d", "");
}

static void nothing_is_offered_where_a_name_or_a_number_is_invented(void **state)
{
	offers("new ", "");
	offers("new zz 1", "");
	offers("jmp a b ", "");
	offers("nonsense zz_", "");
}

static void memory_names_come_from_the_collected_lines(void **state)
{
	struct lp_patchset *ps = NULL;
	struct lp_err err = {0};
	assert_int_equal(lp_patch_parse_line(&ps, "dl object /proc/self/exe", 1, "test", &err), 0);
	assert_int_equal(lp_patch_parse_line(&ps, "new other 16", 2, "test", &err), 0);
	offers_with(ps, "jmp zz_data $", "$object: $other");
	offers_with(ps, "jmp zz_data $object:zz_d", "$object:zz_data");
	offers_with(ps, "jmp zz_data $other:zz_d", "");
	offers_with(NULL, "jmp zz_data $", "");
	lp_patchset_free(ps);
}

static void a_file_is_completed_in_its_directory(void **state)
{
	char directory[] = "/tmp/livepatch-complete.XXXXXX", line[64], file[64];
	assert_non_null(mkdtemp(directory));
	char *path = lp_sprintf("%s/patch.so", directory), *odd = lp_sprintf("%s/pa\033x", directory);
	fclose(fopen(path, "w"));
	fclose(fopen(odd, "w")); /* cannot be typed, so is not offered */
	snprintf(line, sizeof line, "dl foo %s/pa", directory);
	snprintf(file, sizeof file, "%s/patch.so", directory);
	offers(line, file);
	offers("dl foo /proc/self/tas", "/proc/self/task/");
	unlink(path);
	unlink(odd);
	rmdir(directory);
	lp_free(path);
	lp_free(odd);
}

static void the_growing_word_begins_behind_the_last_blank(void **state)
{
	word_vec words = {0};
	size_t start;
	complete_line("set  zz_d and more", 9, commands, NULL, &target, &words, &start);
	assert_int_equal(start, 5);
	assert_int_equal(words.nr, 1);
	words_free(&words);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_word_is_an_instruction_or_a_command),
		cmocka_unit_test(an_address_is_a_symbol_once_however_many_tables_name_it),
		cmocka_unit_test(a_module_is_offered_and_then_its_symbols),
		cmocka_unit_test(an_option_is_offered_before_the_first_operand_only),
		cmocka_unit_test(a_type_follows_the_address_of_set_and_an_address_only_the_type_addr),
		cmocka_unit_test(nothing_is_offered_where_a_name_or_a_number_is_invented),
		cmocka_unit_test(memory_names_come_from_the_collected_lines),
		cmocka_unit_test(a_file_is_completed_in_its_directory),
		cmocka_unit_test(the_growing_word_begins_behind_the_last_blank),
	};
	return cmocka_run_group_tests(tests, open_self, close_self);
}
