/* Patchsets to patches and back: what files, reloading and saving stand on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/system.h"
#include "base/buf.h"

#define BASE 0x400000
#define NOP 0xd503201fu
#define RET 0xd65f03c0u
#define MOV_X0_1 0xd2800020u

static uint32_t memory[65536];
static LivePatchSystem *sys;
static struct lp_patchset *set;
static struct lp_err err;

static uint32_t word(lp_addr at)
{
	return memory[(at - BASE) / 4];
}

static int setup(void **state)
{
	memset(memory, 0, sizeof memory);
	for (size_t i = 0; i < 0x1000; i++)
		memory[i] = MOV_X0_1;
	err = (struct lp_err){0};
	sys = livepatch_init(memory, sizeof memory, BASE);
	return !sys;
}

static int teardown(void **state)
{
	lp_patchset_free(set);
	set = NULL;
	livepatch_cleanup(sys);
	return 0;
}

static void parse(const char *json)
{
	lp_patchset_free(set);
	set = NULL;
	if (lp_patch_parse(&set, json, strlen(json), "test.json", &err))
		fail_msg("%s", err.text);
}

static int load(const char *json)
{
	struct lp_txn_use use;
	struct lp_sourced s = {.file = lp_system_file(sys, "test.json")};

	parse(json);
	s.set = set;
	int rc = lp_txn_done(&use, lp_sets_put(lp_txn_use(&use, sys), &s, &err), &err);
	if (rc < 0)
		print_message("%s\n", err.text);
	return rc;
}

static int reload(const char *json)
{
	struct lp_txn_use use;
	struct lp_sourced s = {.file = lp_system_file(sys, "test.json")};

	parse(json);
	s.set = set;
	return lp_txn_done(&use, lp_sets_replace(lp_txn_use(&use, sys), &s, 1, &err), &err);
}

static size_t active(void)
{
	livepatch_counts c;

	livepatch_get_counts(sys, &c);
	return c.active;
}

static uint64_t generation_at(lp_addr at)
{
	const struct lp_patch *p = lp_table_find(sys->table, at);

	assert_non_null(p);
	return p->generation;
}

static const char all_kinds[] =
	"[{\"type\": \"NEW_FUNC\", \"name\": \"one\", \"code\": \"200080d2c0035fd6\"},"
	" {\"type\": \"INLINE\", \"addr\": \"0x400000\", \"instr\": \"0xD503201F\", \"desc\": \"nothing\"},"
	" {\"type\": \"INLINE\", \"addr\": \"0x400010\", \"instr\": [\"0xD503201F\", \"0xD65F03C0\"]},"
	" {\"type\": \"NOP\", \"addr\": \"0x400020\"},"
	" {\"type\": \"BRANCH\", \"addr\": \"0x400024\", \"target\": \"0x400000\"},"
	" {\"type\": \"BRANCH\", \"addr\": \"0x400028\", \"target\": \"$one\"},"
	" {\"type\": \"REDIRECT\", \"addr\": \"0x400100\", \"target\": \"$one\"}]";

static void every_kind_is_applied_at_once(void **state)
{
	lp_addr one;

	assert_int_equal(load(all_kinds), 7);
	assert_int_equal(active(), 7);
	assert_true(lp_names_find(&sys->names, "one", 3, &one));
	assert_int_equal(word(one), MOV_X0_1);
	assert_int_equal(word(0x400000), NOP);
	assert_int_equal(word(0x400014), RET);
	assert_int_equal(word(0x400024), 0x17fffff7);
	assert_int_equal(word(0x400028), 0x14000000 | (uint32_t)((one - 0x400028) / 4));
	assert_int_equal(generation_at(0x400000), 1);
	assert_int_equal(generation_at(0x400100), 1);
}

static void one_bad_entry_and_nothing_is_changed(void **state)
{
	static uint32_t before[65536];

	memcpy(before, memory, 0x4000);
	assert_int_equal(load("[{\"type\": \"NOP\", \"addr\": \"0x400000\"},\n"
			      " {\"type\": \"NOP\", \"addr\": \"0x900000\"}]"),
			 -LP_EOUTSIDE);
	assert_memory_equal(memory, before, 0x4000);
	assert_int_equal(active(), 0);
	assert_non_null(strstr(err.text, "test.json:2:"));
	assert_int_equal(livepatch_last_error()->code, 0);
}

static void the_same_file_again_changes_nothing(void **state)
{
	load(all_kinds);
	assert_int_equal(load(all_kinds), 7);
	assert_int_equal(active(), 7);
	assert_int_equal(reload(all_kinds), 0);
	assert_int_equal(generation_at(0x400028), 1);
	assert_int_equal(livepatch_revert(sys, 0x400000), 0);
	assert_int_equal(word(0x400000), MOV_X0_1);
}

static void only_the_difference_is_applied(void **state)
{
	load(all_kinds);
	assert_int_equal(reload("[{\"type\": \"NEW_FUNC\", \"name\": \"one\", \"code\": \"200080d2c0035fd6\"},"
				" {\"type\": \"INLINE\", \"addr\": \"0x400000\", \"instr\": \"0xD65F03C0\"},"
				" {\"type\": \"BRANCH\", \"addr\": \"0x400028\", \"target\": \"$one\"},"
				" {\"type\": \"NOP\", \"addr\": \"0x400040\"}]"),
			 6); /* one changed, four gone, one new */
	assert_int_equal(active(), 4);
	assert_int_equal(word(0x400000), RET);
	assert_int_equal(word(0x400010), MOV_X0_1);
	assert_int_equal(word(0x400100), MOV_X0_1);
	assert_int_equal(word(0x400040), NOP);
	assert_int_equal(generation_at(0x400028), 1);
	assert_int_equal(generation_at(0x400000), 2);
	assert_int_equal(livepatch_revert(sys, 0x400000), 0);
	assert_int_equal(word(0x400000), MOV_X0_1); /* not what the first file made of it */
}

static void who_refers_to_a_changed_function_changes_too(void **state)
{
	lp_addr before, after;

	load(all_kinds);
	lp_names_find(&sys->names, "one", 3, &before);
	assert_int_equal(reload("[{\"type\": \"NEW_FUNC\", \"name\": \"one\", \"code\": \"400080d2c0035fd6\"},"
				" {\"type\": \"BRANCH\", \"addr\": \"0x400028\", \"target\": \"$one\"}]"),
			 7);
	assert_true(lp_names_find(&sys->names, "one", 3, &after));
	assert_int_not_equal(before, after);
	assert_int_equal(word(0x400028), 0x14000000 | (uint32_t)((after - 0x400028) / 4));
	assert_int_equal(active(), 2);
}

static void patches_of_the_program_itself_stay(void **state)
{
	livepatch_create_nop(sys, 0x400200, "mine");
	load(all_kinds);
	assert_int_equal(reload("[]"), 7);
	assert_int_equal(active(), 1);
	assert_int_equal(word(0x400200), NOP);
	assert_int_equal(reload("[{\"type\": \"BRANCH\", \"addr\": \"0x400200\", \"target\": \"0x400000\"}]"),
			 -LP_EOVERLAP);
	assert_int_equal(word(0x400200), NOP);
}

static void a_reload_that_is_refused_leaves_all_as_it_was(void **state)
{
	load(all_kinds);
	assert_int_equal(reload("[{\"type\": \"NOP\", \"addr\": \"0x400020\"},"
				" {\"type\": \"INLINE\", \"addr\": \"0x400000\", \"instr\": \"0xD65F03C0\"},"
				" {\"type\": \"NOP\", \"addr\": \"0x400022\"}]"),
			 -LP_EMISALIGNED);
	assert_int_equal(active(), 7);
	assert_int_equal(word(0x400000), NOP);
	assert_int_equal(word(0x400014), RET);
}

static void functions_without_a_name_are_known_by_their_code(void **state)
{
	static const char two[] = "[{\"type\": \"NEW_FUNC\", \"code\": \"200080d2c0035fd6\"},"
				  " {\"type\": \"NEW_FUNC\", \"code\": \"200080d2c0035fd6\"}]";

	assert_int_equal(load(two), 2);
	assert_int_equal(active(), 2);
	assert_int_equal(reload(two), 0);
	assert_int_equal(reload("[{\"type\": \"NEW_FUNC\", \"code\": \"200080d2c0035fd6\"}]"), 1);
	assert_int_equal(active(), 1);
}

static void assert_same_ops(const struct lp_patchset *a, const struct lp_patchset *b)
{
	assert_int_equal(a->nr, b->nr);
	for (size_t i = 0; i < a->nr; i++) {
		assert_int_equal(a->ops[i].kind, b->ops[i].kind);
		assert_int_equal(a->ops[i].value_len, b->ops[i].value_len);
		assert_memory_equal(a->ops[i].value, b->ops[i].value, a->ops[i].value_len);
		assert_int_equal(a->ops[i].at.number, b->ops[i].at.number);
		assert_int_equal(a->ops[i].to.kind, b->ops[i].to.kind);
		assert_int_equal(a->ops[i].to.number, b->ops[i].to.number);
	}
}

static void the_patches_are_listed_as_they_were_asked_for(void **state)
{
	struct lp_patchset *listed;

	load(all_kinds);
	assert_int_equal(lp_sets_list(sys, &listed, &err), 0);
	assert_same_ops(set, listed);
	assert_string_equal(listed->ops[1].desc, "nothing");
	assert_string_equal(listed->ops[5].to.mem, "one");
	lp_patchset_free(listed);
}

static void a_copied_function_is_listed_as_one(void **state)
{
	static const uint32_t code[] = {MOV_X0_1, RET};
	struct lp_patchset *listed;

	livepatch_insert_func(sys, 0x400000, (void *)(uintptr_t)code, NULL);
	assert_int_equal(lp_sets_list(sys, &listed, &err), 0);
	assert_int_equal(listed->nr, 2);
	assert_int_equal(listed->ops[0].kind, LP_OP_FUNC);
	assert_memory_equal(listed->ops[0].value, code, sizeof code);
	assert_int_equal(listed->ops[1].kind, LP_OP_REDIRECT);
	assert_string_equal(listed->ops[1].to.mem, listed->ops[0].mem);
	lp_patchset_free(listed);
}

static const char *name_of_longest(const struct lp_patchset *ps)
{
	const struct lp_op *longest = &ps->ops[0];

	for (size_t i = 1; i < ps->nr; i++)
		longest = ps->ops[i].value_len > longest->value_len ? &ps->ops[i] : longest;
	return longest->mem;
}

/* The names that were saved are given to others. */
static void a_function_without_a_name_gets_one_that_no_other_has(void **state)
{
	struct lp_patchset *listed;
	lp_addr at;
	char text[256];

	assert_int_equal(livepatch_new_func(sys, NULL, (uint32_t[]){MOV_X0_1, RET}, 8, &at, ""), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(lp_sets_list(sys, &listed, &err), 0);
		snprintf(text, sizeof text, "[{\"type\": \"NEW_FUNC\", \"name\": \"%s\", \"code\": \"c0035fd6\"}]",
			 name_of_longest(listed));
		assert_int_equal(load(text), 1);
		lp_patchset_free(listed);
	}
	assert_int_equal(active(), 3);
	assert_int_equal(lp_sets_list(sys, &listed, &err), 0);
	for (size_t i = 0; i < listed->nr; i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(listed->ops[i].mem, listed->ops[k].mem);
	lp_patchset_free(listed);
}

static void a_script_can_redirect_and_set_words(void **state)
{
	assert_int_equal(load("jmp 0x400000 0x400100\nset 0x400010 hex 1f2003d5\n"), 2);
	assert_int_equal(word(0x400000), 0x14000040);
	assert_int_equal(word(0x400010), NOP);
	assert_int_equal(load("dl foo foo.so\n"), -LP_EUSAGE);
	assert_non_null(strstr(err.text, "`dl` is for processes"));
}

static void a_function_is_called_by_the_same_name_in_assembler_text_and_as_a_target(void **state)
{
	assert_int_equal(
		load("[{\"type\": \"NEW_FUNC\", \"name\": \"one\", \"asm\": \"one: mov x0, #1; cbz x0, one; ret\"},"
		     " {\"type\": \"BRANCH\", \"addr\": \"0x400000\", \"target\": \"$one\"},"
		     " {\"type\": \"INLINE\", \"addr\": \"0x400004\", \"asm\": \"b $one\"},"
		     " {\"type\": \"INLINE\", \"addr\": \"0x400008\", \"asm\": \"cbz x0, $one\"}]"),
		4);
	assert_int_equal(word(0x400004), word(0x400000) - 1);
	assert_int_equal(load("[{\"type\": \"INLINE\", \"addr\": \"0x400010\", \"asm\": \"b $two\"}]"), -LP_ENOSYM);
	assert_int_equal(load("[{\"type\": \"INLINE\", \"addr\": \"0x400010\", \"asm\": \"two: b $two\"}]"),
			 -LP_ENOSYM);
	assert_int_equal(load("[{\"type\": \"INLINE\", \"addr\": \"0x400010\", \"asm\": \"b $ one\"}]"), -LP_EPARSE);
	assert_int_equal(load("[{\"type\": \"INLINE\", \"addr\": \"0x400010\", \"asm\": \"$b one\"}]"), -LP_EPARSE);
}

static void text_is_assembled_where_it_will_stand(void **state)
{
	lp_addr one;

	assert_int_equal(load("[{\"type\": \"NEW_FUNC\", \"name\": \"one\", \"asm\": \"mov x0, #1; b 0x400008\"},"
			      " {\"type\": \"INLINE\", \"addr\": \"0x400000\", \"asm\": \"bl one\"}]"),
			 2);
	lp_names_find(&sys->names, "one", 3, &one);
	assert_int_equal(word(one), MOV_X0_1);
	assert_int_equal(word(one + 4), 0x14000000 | (((0x400008 - (one + 4)) / 4) & 0x3ffffff));
	assert_int_equal(word(0x400000), 0x94000000 | (uint32_t)((one - 0x400000) / 4));
	assert_int_equal(reload("[{\"type\": \"NEW_FUNC\", \"name\": \"one\", \"asm\": \"mov x0, #1; b 0x400008\"},"
				" {\"type\": \"INLINE\", \"addr\": \"0x400000\", \"asm\": \"bl one\"}]"),
			 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(every_kind_is_applied_at_once),
		T(one_bad_entry_and_nothing_is_changed),
		T(the_same_file_again_changes_nothing),
		T(only_the_difference_is_applied),
		T(who_refers_to_a_changed_function_changes_too),
		T(patches_of_the_program_itself_stay),
		T(a_reload_that_is_refused_leaves_all_as_it_was),
		T(functions_without_a_name_are_known_by_their_code),
		T(the_patches_are_listed_as_they_were_asked_for),
		T(a_copied_function_is_listed_as_one),
		T(a_function_without_a_name_gets_one_that_no_other_has),
		T(a_script_can_redirect_and_set_words),
		T(text_is_assembled_where_it_will_stand),
		T(a_function_is_called_by_the_same_name_in_assembler_text_and_as_a_target),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
