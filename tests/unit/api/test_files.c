/* Patch files into a system and back. */
#include "files.h"

#include <errno.h>
#include <sys/stat.h>

/* ---- loading ---- */

static void a_text_file_is_applied_and_its_patches_are_counted(void **state)
{
	write_file("fix.lpatch", "# addr instruction description\n"
				 "401000 D503201F NOP patch\n"
				 "402000 14000001 Branch to handler\n");
	assert_loads("fix.lpatch", 2);
	assert_int_equal(word(0x401000), NOP);
	assert_int_equal(word(0x402000), 0x14000001);
	assert_int_equal(counts().active, 2);
	assert_int_equal(counts().generation, 1);
}

static void a_json_file_applies_every_kind_of_patch(void **state)
{
	char text[1024];
	uint32_t old = __builtin_bswap32(word(0x406000)); /* as bytes read */
	snprintf(
		text, sizeof text,
		"[{\"type\": \"NEW_FUNC\", \"name\": \"fix\", \"instr\": [\"0x52800000\", \"0xD65F03C0\"]},\n"
		" {\"type\": \"INLINE\", \"addr\": \"0x401000\", \"instr\": \"0xD503201F\", \"desc\": \"NOP patch\"},\n"
		" {\"type\": \"INSERT\", \"addr\": \"0x402000\", \"code\": \"1F2003D5\", \"desc\": \"Insert code\"},\n"
		" {\"type\": \"BRANCH\", \"addr\": \"0x403000\", \"target\": \"$fix\"},\n"
		" {\"type\": \"REDIRECT\", \"addr\": \"0x404000\", \"target\": \"0x405000\"},\n"
		" {\"type\": \"NOP\", \"addr\": \"0x406000\", \"expect\": \"%08x\"}]\n",
		old);
	write_file("fix.json", text);
	assert_int_equal(livepatch_load_json(sys, "fix.json"), 6);
	livepatch_counts c = counts();
	assert_int_equal(c.active, 6);
	for (int type = PATCH_REPLACE; type <= PATCH_BRANCH; type++)
		assert_int_equal(c.of_type[type], 1);
	assert_int_equal(word(0x401000), NOP);
	assert_int_equal(word(0x402000) >> 26, 5); /* b */
	assert_int_equal(word(0x406000), NOP);
	uint64_t fix = 0x403000 + 4 * (int64_t)((int32_t)(word(0x403000) << 6) >> 6);
	assert_int_equal(word(fix), 0x52800000);
	assert_int_equal(word(fix + 4), RET);
	assert_int_equal(word(0x404000), 0x14000400);
	assert_int_equal(livepatch_revert_all(sys), 6);
	for (size_t i = 0; i < CODE; i++)
		assert_int_equal(memory[i], original(i));
}

static int check_file_name(const livepatch_info *info, void *arg)
{
	assert_string_equal(info->file, "d/fix.txt");
	assert_string_equal(info->description, "Переход");
	(*(int *)arg)++;
	return 0;
}

static void a_patch_knows_the_file_that_it_came_from(void **state)
{
	int seen = 0;
	assert_int_equal(mkdir("d", 0755), 0);
	write_file("d/fix.txt", "401000 D503201F Переход\n");
	assert_loads("d/fix.txt", 1);
	livepatch_foreach(sys, check_file_name, &seen);
	assert_int_equal(seen, 1);
}

static void write_words(const char *path, const uint32_t *words, size_t nr)
{
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(words, sizeof *words, nr, f), nr);
	assert_int_equal(fclose(f), 0);
}

static void code_stands_in_a_file_beside_the_patch_file(void **state)
{
	static const uint32_t zero[] = {0x52800000, RET}, one[] = {0x52800020, RET};
	assert_int_equal(mkdir("d", 0755), 0);
	write_words("d/zero.bin", zero, 2);
	write_file("d/fix.json", "[{\"type\": \"NEW_FUNC\", \"name\": \"zero\", \"code_file\": \"zero.bin\"},\n"
				 " {\"type\": \"INLINE\", \"addr\": \"0x401000\", \"code_file\": \"./zero.bin\"},\n"
				 " {\"type\": \"BRANCH\", \"addr\": \"0x402000\", \"target\": \"$zero\"}]\n");
	assert_loads("d/fix.json", 3);
	assert_int_equal(word(0x401000), zero[0]);
	assert_int_equal(word(0x401004), RET);
	write_words("d/zero.bin", one, 2); /* the file is read again, not only the one that names it */
	assert_int_equal(livepatch_reload(sys), 3);
	assert_int_equal(word(0x401000), one[0]);
	unlink("d/zero.bin");
	assert_int_equal(livepatch_reload(sys), -1);
	assert_int_equal(word(0x401000), one[0]);
}

static void refuses_code_file(const char *path, const char *why)
{
	char text[512], expected[512];
	snprintf(text, sizeof text,
		 "[{\"type\": \"NOP\", \"addr\": \"0x401000\"},\n"
		 " {\"type\": \"INSERT\", \"addr\": \"0x402000\", \"code_file\": \"%s\"}]\n",
		 path);
	write_file("fix.json", text);
	snprintf(expected, sizeof expected, "fix.json:2:2: %s", why);
	assert_int_equal(livepatch_load_from_file(sys, "fix.json"), -1);
	assert_string_equal(last_text(), expected);
	assert_int_equal(livepatch_last_error()->line, 2);
	assert_string_equal(livepatch_last_error()->file, "fix.json");
	assert_untouched();
}

static void a_code_file_that_is_none_is_refused_without_waiting_for_it(void **state)
{
	int fd = open("huge", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(ftruncate(fd, (16 << 20) + 1), 0);
	close(fd);
	write_file("empty", "");
	assert_int_equal(mkfifo("fifo", 0644), 0);
	assert_int_equal(mkdir("d", 0755), 0);
	assert_int_equal(symlink("loop", "loop"), 0);
	refuses_code_file("missing", "cannot open missing: No such file or directory");
	refuses_code_file("fifo", "fifo is not a regular file");
	refuses_code_file("/dev/zero", "/dev/zero is not a regular file");
	refuses_code_file("d", "d is not a regular file");
	refuses_code_file("loop", "cannot open loop: Too many levels of symbolic links");
	refuses_code_file("huge", "huge: larger than 16777216 bytes");
	refuses_code_file("empty", "empty is empty: code is expected");
}

static void a_malformed_file_changes_nothing_and_says_where(void **state)
{
	write_file("fix.lpatch", "401000 D503201F fine\n402000 D5O3201F a letter\n");
	assert_int_equal(livepatch_load_from_file(sys, "fix.lpatch"), -1);
	const livepatch_error *e = livepatch_last_error();
	assert_string_equal(e->name, "parse");
	assert_string_equal(e->text, "fix.lpatch:2:10: `D5O3201F` is not an instruction: `O` is not a hex digit");
	assert_string_equal(e->file, "fix.lpatch");
	assert_int_equal(e->line, 2);
	assert_int_equal(e->column, 10);
	assert_untouched();
}

static void a_file_whose_last_entry_cannot_be_applied_changes_nothing_and_says_where(void **state)
{
	write_file("fix.lpatch", "401000 D503201F fine\n# x\n  402002 D503201F misaligned\n");
	assert_int_equal(livepatch_load_from_file(sys, "fix.lpatch"), -1);
	assert_string_equal(livepatch_last_error()->name, "misaligned");
	assert_string_equal(livepatch_last_error()->file, "fix.lpatch");
	assert_int_equal(livepatch_last_error()->line, 3);
	assert_int_equal(livepatch_last_error()->column, 3);
	assert_untouched();
	write_file("fix.json",
		   "[{\"type\": \"NOP\", \"addr\": \"0x401000\"},\n {\"type\": \"NOP\", \"addr\": \"0x10\"}]");
	assert_int_equal(livepatch_load_json(sys, "fix.json"), -1);
	assert_string_equal(livepatch_last_error()->name, "out-of-range");
	assert_int_equal(livepatch_last_error()->line, 2);
	assert_int_equal(livepatch_last_error()->column, 2);
	assert_untouched();
}

static void bytes_that_are_not_as_expected_are_left_alone(void **state)
{
	write_file("fix.json", "[{\"type\": \"NOP\", \"addr\": \"0x401000\", \"expect\": \"00000000\"}]");
	assert_int_equal(livepatch_load_json(sys, "fix.json"), -1);
	assert_string_equal(livepatch_last_error()->name, "memory-changed");
	assert_untouched();
}

static void an_entry_over_another_patch_is_refused_one_that_is_there_already_is_not(void **state)
{
	write_file("fix.lpatch", "401000 D503201F NOP patch\n");
	assert_loads("fix.lpatch", 1);
	assert_loads("fix.lpatch", 1);
	assert_int_equal(counts().active, 1);
	assert_int_equal(counts().generation, 1);
	write_file("other.lpatch", "401004 D503201F NOP patch\n401000 D65F03C0 NOP patch\n");
	assert_int_equal(livepatch_load_from_file(sys, "other.lpatch"), -1);
	assert_string_equal(livepatch_last_error()->name, "overlap");
	assert_int_equal(livepatch_last_error()->line, 2);
	assert_int_equal(counts().active, 1);
	assert_int_equal(word(0x401000), NOP);
}

static void what_is_no_file_is_refused(void **state)
{
	assert_int_equal(livepatch_load_from_file(sys, "none"), -1);
	assert_int_equal(livepatch_last_error()->code, -ENOENT);
	assert_string_equal(livepatch_last_error()->file, "none");
	assert_int_equal(livepatch_load_from_file(sys, "/"), -1);
	assert_int_equal(livepatch_last_error()->code, -EISDIR);
	assert_int_equal(livepatch_load_from_file(sys, NULL), -1);
	assert_int_equal(livepatch_load_json(sys, NULL), -1);
	assert_int_equal(livepatch_save_to_file(sys, NULL), -1);
	assert_int_equal(livepatch_load_from_file(NULL, "none"), -1);
}

static void text_is_no_json_where_json_is_asked_for(void **state)
{
	write_file("fix.json", "401000 D503201F NOP patch\n");
	assert_int_equal(livepatch_load_from_json(sys, "fix.json"), -1);
	assert_string_equal(last_text(),
			    "fix.json:1:1: an array of patches, [{...}, ...] is expected instead of `401000`");
	assert_loads("fix.json", 1); /* else the content counts, not the name */
}

static void a_script_needs_a_process(void **state)
{
	write_file("fix.lp", "jmp func_J other\n");
	assert_int_equal(livepatch_load_from_file(sys, "fix.lp"), -1);
	assert_true(last_text()[0]);
	assert_untouched();
}

static void nothing_is_loaded_while_patching_is_disabled(void **state)
{
	write_file("fix.lpatch", "401000 D503201F NOP patch\n");
	livepatch_set_enabled(sys, 0);
	assert_int_equal(livepatch_load_from_file(sys, "fix.lpatch"), -1);
	assert_string_equal(livepatch_last_error()->name, "disabled");
	assert_untouched();
	livepatch_set_enabled(sys, 1);
	assert_loads("fix.lpatch", 1);
}

static void a_file_is_part_of_a_transaction(void **state)
{
	write_file("a", "401000 D503201F NOP patch\n");
	write_file("b", "401004 D503201F NOP patch\n");
	assert_int_equal(livepatch_begin(sys), 0);
	assert_loads("a", 1);
	assert_untouched();
	assert_int_equal(livepatch_abort(sys), 0);
	assert_untouched();
	assert_int_equal(livepatch_reload(sys), 0); /* it was never loaded */
	assert_untouched();

	assert_int_equal(livepatch_begin(sys), 0);
	assert_loads("a", 1);
	assert_int_equal(livepatch_load_from_file(sys, "none"), -1); /* refused, and the rest goes on */
	assert_loads("b", 1);
	assert_true(livepatch_commit(sys) >= 0);
	assert_int_equal(counts().active, 2);
	assert_int_equal(word(0x401000), NOP);
	assert_int_equal(word(0x401004), NOP);
	assert_int_equal(livepatch_reload(sys), 0);
	assert_int_equal(counts().active, 2);
}

/* ---- saving ---- */

static char *read_text(const char *path)
{
	static char text[65536];
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	text[fread(text, 1, sizeof text - 1, f)] = 0;
	fclose(f);
	return text;
}

static void a_saved_text_file_holds_the_words_by_address(void **state)
{
	assert_int_equal(livepatch_create_branch(sys, 0x403000, 0x403010, "skip"), 0);
	assert_int_equal(livepatch_apply(sys, 0x401000, RET, "return # early"), 0);
	assert_int_equal(livepatch_create_nop(sys, 0x402000, NULL), 0);
	assert_int_equal(livepatch_apply_code(sys, 0x404000, (uint32_t[]){0x52800000, RET}, 8, NULL, "return 0"), 0);
	assert_int_equal(livepatch_save_to_file(sys, "out.lpatch"), 4);
	assert_string_equal(read_text("out.lpatch"), "# address instruction description\n"
						     "401000 D65F03C0 return # early\n"
						     "402000 D503201F\n"
						     "403000 14000004 skip\n"
						     "404000 52800000,D65F03C0 return 0\n");
}

/* Into a system over the same memory as at first; what that saves is the same file. */
static void assert_survives(const char *path, const char *again)
{
	static uint32_t other[WORDS], now[WORDS];
	memcpy(now, memory, sizeof now);
	fill(other);
	LivePatchSystem *first = sys;
	sys = livepatch_init(other, sizeof other, BASE);
	livepatch_counts before = {0}, after;
	assert_int_equal(livepatch_get_counts(first, &before), 0);
	assert_loads(path, (int)before.active);
	assert_int_equal(livepatch_save_to_file(sys, again), before.active);
	assert_int_equal(livepatch_get_counts(sys, &after), 0);
	assert_int_equal(after.active, before.active);
	livepatch_cleanup(sys);
	sys = first;
	char *saved = strdup(read_text(path));
	assert_string_equal(read_text(again), saved);
	free(saved);
	assert_memory_equal(other, now, sizeof now);
}

static void what_was_saved_as_text_loads_as_the_same_patches(void **state)
{
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(livepatch_apply(sys, BASE + 8 * i, i % 2 ? NOP : RET, i % 3 ? "описание" : ""), 0);
	assert_int_equal(livepatch_create_branch(sys, 0x40f000, BASE, "back"), 0);
	assert_int_equal(livepatch_save_to_file(sys, "out"), 1001);
	assert_survives("out", "again");
}

static void what_was_saved_as_json_loads_as_the_same_patches(void **state)
{
	static const uint32_t code[] = {0x52800000, RET};
	uint64_t fix;
	assert_int_equal(livepatch_new_func(sys, "fix", code, sizeof code, &fix, "a \"fix\"\n\\"), 0);
	assert_int_equal(livepatch_apply(sys, 0x401000, NOP, "NOP"), 0);
	assert_int_equal(livepatch_apply_code(sys, 0x402000, code, sizeof code, NULL, NULL), 0);
	assert_int_equal(livepatch_insert(sys, 0x403000, code, 4, "insert"), 0);
	assert_int_equal(livepatch_create_branch(sys, 0x404000, fix, "branch"), 0);
	assert_int_equal(livepatch_create_nop(sys, 0x405000, "nop"), 0);
	assert_int_equal(livepatch_redirect_function(sys, 0x406000, fix, "redirect"), 0);
	assert_int_equal(livepatch_redirect_function(sys, 0x407000, 0x408000, "redirect"), 0);
	assert_int_equal(livepatch_save_to_file(sys, "out.json"), 8);
	assert_survives("out.json", "again.json");
}

static void a_name_that_no_file_could_say_is_refused(void **state)
{
	static const char *const names[] = {"two words", "1st", "a-b", "a\n", "$a"};
	static const uint32_t code[] = {RET};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		assert_int_equal(livepatch_new_func(sys, names[i], code, sizeof code, NULL, NULL), -1);
	assert_string_equal(last_text(), "`$a` is not a name: letters, digits and _ only, no digit first");
	assert_int_equal(livepatch_new_func(sys, "_a1", code, sizeof code, NULL, NULL), 0);
	assert_int_equal(livepatch_save_to_file(sys, "out.json"), 1);
	assert_survives("out.json", "again.json");
}

static void text_refuses_what_it_cannot_say_and_leaves_the_file(void **state)
{
	write_file("out.txt", "old");
	assert_int_equal(livepatch_insert(sys, 0x403000, (uint32_t[]){NOP}, 4, "insert"), 0);
	assert_int_equal(livepatch_save_to_file(sys, "out.txt"), -1);
	assert_string_equal(last_text(),
			    "out.txt: the patch at 0x403000 is of a kind that a text file cannot hold; JSON can");
	assert_string_equal(read_text("out.txt"), "old");
}

static void saving_nothing_makes_a_file_that_loads_nothing(void **state)
{
	assert_int_equal(livepatch_save_to_file(sys, "out.txt"), 0);
	assert_int_equal(livepatch_save_to_file(sys, "out.json"), 0);
	assert_loads("out.txt", 0);
	assert_loads("out.json", 0);
	assert_untouched();
}

static void what_cannot_be_written_is_refused(void **state)
{
	assert_int_equal(livepatch_save_to_file(sys, "none/out.txt"), -1);
	assert_int_equal(livepatch_last_error()->code, -ENOENT);
	assert_int_equal(livepatch_save_to_file(sys, "."), -1);
}

#define test(name) cmocka_unit_test_setup_teardown(name, enter_directory, leave_directory)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_text_file_is_applied_and_its_patches_are_counted),
		test(a_json_file_applies_every_kind_of_patch),
		test(a_patch_knows_the_file_that_it_came_from),
		test(code_stands_in_a_file_beside_the_patch_file),
		test(a_code_file_that_is_none_is_refused_without_waiting_for_it),
		test(a_malformed_file_changes_nothing_and_says_where),
		test(a_file_whose_last_entry_cannot_be_applied_changes_nothing_and_says_where),
		test(bytes_that_are_not_as_expected_are_left_alone),
		test(an_entry_over_another_patch_is_refused_one_that_is_there_already_is_not),
		test(what_is_no_file_is_refused),
		test(text_is_no_json_where_json_is_asked_for),
		test(a_script_needs_a_process),
		test(nothing_is_loaded_while_patching_is_disabled),
		test(a_file_is_part_of_a_transaction),
		test(a_saved_text_file_holds_the_words_by_address),
		test(what_was_saved_as_text_loads_as_the_same_patches),
		test(what_was_saved_as_json_loads_as_the_same_patches),
		test(a_name_that_no_file_could_say_is_refused),
		test(text_refuses_what_it_cannot_say_and_leaves_the_file),
		test(saving_nothing_makes_a_file_that_loads_nothing),
		test(what_cannot_be_written_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
