/* Patch files loaded again: the difference, all of it or nothing. */
#include "files.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

static int take_generation(const livepatch_info *info, void *arg)
{
	*(uint64_t *)arg = info->generation;
	return 1;
}

static uint64_t generation_of(uint64_t addr)
{
	uint64_t generation = 0;
	assert_int_equal(livepatch_find(sys, addr, take_generation, &generation, NULL), 1);
	return generation;
}

static void a_reload_applies_what_is_different_and_leaves_the_rest_untouched(void **state)
{
	write_file("fix.lpatch", "401000 D503201F stays\n401004 D503201F changes\n401008 D503201F goes\n");
	assert_loads("fix.lpatch", 3);
	write_file("fix.lpatch", "40100C D503201F comes\n401004 D65F03C0 changes\n401000 D503201F stays\n");
	assert_int_equal(livepatch_reload(sys), 3);
	assert_int_equal(word(0x401000), NOP);
	assert_int_equal(word(0x401004), RET);
	assert_int_equal(word(0x401008), original(0x1008 / 4));
	assert_int_equal(word(0x40100c), NOP);
	assert_int_equal(generation_of(0x401000), 1);
	assert_int_equal(generation_of(0x401004), 2);
	assert_int_equal(generation_of(0x40100c), 2);
	assert_int_equal(counts().active, 3);
	assert_int_equal(counts().generation, 2);
	assert_int_equal(counts().reloads, 1);
}

static void a_reload_of_the_same_file_changes_nothing(void **state)
{
	write_file("fix.lpatch", "401000 D503201F stays\n");
	assert_loads("fix.lpatch", 1);
	write_file("fix.lpatch", "# commented now\n00401000 0xd503201f   stays\n");
	assert_int_equal(livepatch_reload(sys), 0);
	assert_int_equal(counts().generation, 1);
	assert_int_equal(counts().reloads, 1);
}

static void a_new_description_is_a_difference(void **state)
{
	write_file("fix.lpatch", "401000 D503201F old\n");
	assert_loads("fix.lpatch", 1);
	write_file("fix.lpatch", "401000 D503201F new\n");
	assert_int_equal(livepatch_reload(sys), 1);
	assert_int_equal(word(0x401000), NOP);
	assert_int_equal(counts().active, 1);
}

static void a_broken_file_keeps_the_old_set_and_the_error(void **state)
{
	write_file("fix.lpatch", "401000 D503201F one\n401004 D503201F two\n");
	assert_loads("fix.lpatch", 2);
	write_file("fix.lpatch", "401000 D65F03C0 one\n401004 broken\n");
	assert_int_equal(livepatch_reload(sys), -1);
	assert_string_equal(livepatch_last_error()->file, "fix.lpatch");
	assert_int_equal(livepatch_last_error()->line, 2);
	assert_int_equal(word(0x401000), NOP);
	assert_int_equal(word(0x401004), NOP);
	livepatch_counts c = counts();
	assert_int_equal(c.active, 2);
	assert_int_equal(c.generation, 1);
	assert_int_equal(c.reload_errors, 1);
	assert_string_equal(c.last_reload_error,
			    "fix.lpatch:2:9: `broken` is not an instruction: `r` is not a hex digit");
	write_file("fix.lpatch", "401000 D65F03C0 one\n");
	assert_int_equal(livepatch_reload(sys), 2);
	assert_int_equal(word(0x401000), RET);
	assert_int_equal(word(0x401004), original(0x1004 / 4));
	assert_string_equal(counts().last_reload_error, "");
}

static void a_file_that_cannot_be_applied_keeps_the_old_set(void **state)
{
	write_file("fix.lpatch", "401000 D503201F one\n");
	assert_loads("fix.lpatch", 1);
	write_file("fix.lpatch", "401000 D65F03C0 one\n10 D503201F outside\n");
	assert_int_equal(livepatch_reload(sys), -1);
	assert_string_equal(livepatch_last_error()->name, "out-of-range");
	assert_int_equal(livepatch_last_error()->line, 2);
	assert_int_equal(word(0x401000), NOP);
	assert_int_equal(counts().active, 1);
	assert_int_equal(counts().generation, 1);
}

static void a_file_that_is_gone_keeps_the_old_set(void **state)
{
	write_file("fix.lpatch", "401000 D503201F one\n");
	assert_loads("fix.lpatch", 1);
	assert_int_equal(unlink("fix.lpatch"), 0);
	assert_int_equal(livepatch_reload(sys), -1);
	assert_int_equal(livepatch_last_error()->code, -ENOENT);
	assert_int_equal(word(0x401000), NOP);
	assert_string_equal(counts().last_reload_error, "cannot open fix.lpatch: No such file or directory");
}

static void an_empty_file_takes_all_of_its_patches_away(void **state)
{
	write_file("a", "401000 D503201F\n");
	write_file("b", "401004 D503201F\n");
	assert_loads("a", 1);
	assert_loads("b", 1);
	write_file("a", "");
	assert_int_equal(livepatch_reload(sys), 1);
	assert_int_equal(word(0x401000), original(0x1000 / 4));
	assert_int_equal(word(0x401004), NOP);
}

static void a_patch_may_move_from_one_file_to_another(void **state)
{
	write_file("a", "401000 D503201F\n");
	write_file("b", "401004 D503201F\n");
	assert_loads("a", 1);
	assert_loads("b", 1);
	write_file("a", "401004 D65F03C0\n");
	write_file("b", "401000 D65F03C0\n");
	assert_true(livepatch_reload(sys) > 0);
	assert_int_equal(word(0x401000), RET);
	assert_int_equal(word(0x401004), RET);
	assert_int_equal(counts().active, 2);
}

static void patches_that_came_from_no_file_are_left_alone(void **state)
{
	assert_int_equal(livepatch_apply(sys, 0x402000, RET, "by hand"), 0);
	write_file("a", "401000 D503201F\n");
	assert_loads("a", 1);
	write_file("a", "401004 D503201F\n");
	assert_int_equal(livepatch_reload(sys), 2);
	assert_int_equal(word(0x402000), RET);
	write_file("a", "402000 D503201F\n");
	assert_int_equal(livepatch_reload(sys), -1);
	assert_string_equal(livepatch_last_error()->name, "overlap");
	assert_int_equal(word(0x402000), RET);
	assert_int_equal(word(0x401004), NOP);
}

static void what_was_reverted_by_hand_comes_back(void **state)
{
	write_file("a", "401000 D503201F\n401004 D503201F\n");
	assert_loads("a", 2);
	assert_int_equal(livepatch_revert(sys, 0x401000), 0);
	assert_int_equal(livepatch_reload(sys), 1);
	assert_int_equal(word(0x401000), NOP);
}

static void a_function_that_stays_keeps_its_place(void **state)
{
	write_file("a.json", "[{\"type\":\"NEW_FUNC\",\"name\":\"f\",\"instr\":[\"0x52800000\",\"0xD65F03C0\"]},"
			     " {\"type\":\"BRANCH\",\"addr\":\"0x401000\",\"target\":\"$f\"}]");
	assert_int_equal(livepatch_load_json(sys, "a.json"), 2);
	uint32_t branch = word(0x401000);
	write_file("a.json", "[{\"type\":\"NEW_FUNC\",\"name\":\"f\",\"instr\":[\"0x52800000\",\"0xD65F03C0\"]},"
			     " {\"type\":\"BRANCH\",\"addr\":\"0x401000\",\"target\":\"$f\"},"
			     " {\"type\":\"BRANCH\",\"addr\":\"0x401004\",\"target\":\"$f\"}]");
	assert_int_equal(livepatch_reload(sys), 1);
	assert_int_equal(word(0x401000), branch);
	assert_int_equal(word(0x401004), branch - 1);
	assert_int_equal(generation_of(0x401000), 1);
}

static void a_function_that_changes_takes_its_branches_along(void **state)
{
	write_file("a.json", "[{\"type\":\"NEW_FUNC\",\"name\":\"f\",\"instr\":[\"0x52800000\",\"0xD65F03C0\"]},"
			     " {\"type\":\"BRANCH\",\"addr\":\"0x401000\",\"target\":\"$f\"}]");
	assert_int_equal(livepatch_load_json(sys, "a.json"), 2);
	write_file("a.json", "[{\"type\":\"NEW_FUNC\",\"name\":\"f\",\"instr\":[\"0x52800020\",\"0xD65F03C0\"]},"
			     " {\"type\":\"BRANCH\",\"addr\":\"0x401000\",\"target\":\"$f\"}]");
	assert_true(livepatch_reload(sys) > 0);
	uint64_t to = 0x401000 + 4 * (int64_t)((int32_t)(word(0x401000) << 6) >> 6);
	assert_int_equal(word(to), 0x52800020);
	assert_int_equal(word(to + 4), RET);
}

static void one_file_in_place_of_all_others(void **state)
{
	write_file("a", "401000 D503201F\n");
	write_file("b.json", "[{\"type\":\"NOP\",\"addr\":\"0x401004\"}]");
	assert_loads("a", 1);
	assert_int_equal(livepatch_reload_patches(sys, "a", 1), -1); /* no JSON */
	assert_int_equal(word(0x401000), NOP);
	assert_int_equal(livepatch_reload_patches(sys, NULL, 0), -1);
	assert_int_equal(livepatch_reload_patches(sys, "b.json", 1), 2);
	assert_int_equal(word(0x401000), original(0x1000 / 4));
	assert_int_equal(word(0x401004), NOP);
	write_file("a", "broken");
	assert_int_equal(livepatch_reload(sys), 0); /* is forgotten */
	assert_int_equal(counts().active, 1);
}

static void a_file_is_found_again_from_another_directory(void **state)
{
	write_file("a", "401000 D503201F\n");
	assert_loads("a", 1);
	write_file("a", "401004 D503201F\n");
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(livepatch_reload(sys), 2);
	assert_int_equal(chdir(directory), 0);
	assert_int_equal(word(0x401004), NOP);
}

static void a_reload_is_a_transaction_of_its_own(void **state)
{
	write_file("a", "401000 D503201F\n");
	assert_loads("a", 1);
	assert_int_equal(livepatch_begin(sys), 0);
	assert_int_equal(livepatch_reload(sys), -1);
	assert_string_equal(livepatch_last_error()->name, "transaction");
	assert_int_equal(livepatch_abort(sys), 0);
	assert_int_equal(livepatch_reload(sys), 0);
}

static void a_reload_without_files_does_nothing(void **state)
{
	assert_int_equal(livepatch_reload(sys), 0);
	assert_int_equal(livepatch_reload(NULL), -1);
	livepatch_set_enabled(sys, 0);
	assert_int_equal(livepatch_reload(sys), -1);
	assert_string_equal(livepatch_last_error()->name, "disabled");
}

/* ---- many threads ---- */

#define ROUNDS 200

static atomic_int failures;

static void *reload_often(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		if (livepatch_reload(sys) < 0) {
			fprintf(stderr, "%s\n", last_text());
			atomic_fetch_add(&failures, 1);
		}
	return NULL;
}

static void *write_often(void *arg)
{
	char text[64];
	for (int i = 0; i < ROUNDS; i++) {
		snprintf(text, sizeof text, "401000 D503201F %d\n4011%02X D503201F\n", i / 3, 4 * (i % 32));
		replace_file("shared", text);
	}
	return NULL;
}

static void *load_often(void *arg)
{
	char name[16], text[64];
	for (int i = 0; i < ROUNDS / 10; i++) {
		snprintf(name, sizeof name, "own%d", i);
		snprintf(text, sizeof text, "%X D503201F\n", 0x402000 + 4 * i);
		write_file(name, text);
		if (livepatch_load_from_file(sys, name) != 1)
			atomic_fetch_add(&failures, 1);
	}
	return NULL;
}

static void threads_that_load_and_reload_do_not_get_in_each_others_way(void **state)
{
	void *(*const work[])(void *) = {reload_often, reload_often, write_often, load_often};
	pthread_t threads[4];
	write_file("shared", "401000 D503201F start\n");
	assert_loads("shared", 1);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work[i], NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(failures, 0);
	assert_true(livepatch_reload(sys) >= 0);
	assert_int_equal(counts().active, 2 + ROUNDS / 10);
	assert_int_equal(counts().reload_errors, 0);
	for (int i = 0; i < ROUNDS / 10; i++)
		assert_int_equal(word(0x402000 + 4 * (uint64_t)i), NOP);
}

#define test(name) cmocka_unit_test_setup_teardown(name, enter_directory, leave_directory)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_reload_applies_what_is_different_and_leaves_the_rest_untouched),
		test(a_reload_of_the_same_file_changes_nothing),
		test(a_new_description_is_a_difference),
		test(a_broken_file_keeps_the_old_set_and_the_error),
		test(a_file_that_cannot_be_applied_keeps_the_old_set),
		test(a_file_that_is_gone_keeps_the_old_set),
		test(an_empty_file_takes_all_of_its_patches_away),
		test(a_patch_may_move_from_one_file_to_another),
		test(patches_that_came_from_no_file_are_left_alone),
		test(what_was_reverted_by_hand_comes_back),
		test(a_function_that_stays_keeps_its_place),
		test(a_function_that_changes_takes_its_branches_along),
		test(one_file_in_place_of_all_others),
		test(a_file_is_found_again_from_another_directory),
		test(a_reload_is_a_transaction_of_its_own),
		test(a_reload_without_files_does_nothing),
		test(threads_that_load_and_reload_do_not_get_in_each_others_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
