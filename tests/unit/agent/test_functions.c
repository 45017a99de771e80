/*
 * func ... and lib ...: names, levels, and what is refused.  That threads can
 * call meanwhile is seen end to end.
 */
#include "run.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>

#define UNTOUCHED __attribute__((noinline, aligned(16)))

/* Through a pointer that the compiler cannot see through: what it returns is for the machine to say. */
static UNTOUCHED int twice(int n)
{
	__asm__ volatile("" : "+r"(n));
	return 2 * n;
}

static UNTOUCHED int thrice(int n)
{
	__asm__ volatile("" : "+r"(n));
	return 3 * n;
}

static int (*volatile call_twice)(int) = twice, (*volatile call_thrice)(int) = thrice;

static int load(void **state)
{
	hotpatch_register_function("agent_twice", (void *)(uintptr_t)twice);
	return run("lib load p %s", AGENT_PATCH);
}

static int unload(void **state)
{
	run("func rollback agent_twice 0");
	int rc = run("lib unload p");

	hotpatch_unregister_function("agent_twice");
	return rc;
}

static void calls_go_to_the_last_level_and_back(void **state)
{
	assert_int_equal(run("func upgrade p agent_twice"), 0);
	assert_int_equal(call_twice(4), 204);
	assert_int_equal(run("func upgrade p agent_twice agent_other"), 0);
	assert_int_equal(call_twice(4), 304);
	assert_int_equal(run("func rollback agent_twice"), 0);
	assert_int_equal(call_twice(4), 204);
	assert_int_equal(run("func rollback agent_twice"), 0);
	assert_int_equal(call_twice(4), 8);
	assert_refused(LP_ENOPATCH, "func rollback agent_twice");
}

static void a_line_of_upgrades_and_rollbacks_has_the_effect_of_its_end(void **state)
{
	assert_int_equal(
		run("func upgrade p agent_twice; func upgrade p agent_twice agent_other; func rollback agent_twice"),
		0);
	assert_int_equal(call_twice(4), 204);
	assert_int_equal(
		run("func rollback agent_twice; func upgrade p agent_twice agent_other; func rollback agent_twice"), 0);
	assert_int_equal(call_twice(4), 8);
}

static void a_refused_line_leaves_the_levels_as_they_were(void **state)
{
	assert_int_equal(run("func upgrade p agent_twice"), 0);
	assert_refused(LP_ENOFLAG, "func rollback agent_twice; gflags set no 1");
	assert_refused(LP_ENOSYM, "func upgrade p agent_twice agent_other; func upgrade p agent_twice nobody");
	assert_int_equal(call_twice(4), 204);
	assert_int_equal(run("func status agent_twice"), 0);
	assert_non_null(strstr(answer, "level 1, library: p, symbol: agent_twice"));
	assert_null(strstr(answer, "level 2"));
}

/* Prepared, and found too late: the world changes only when all of it has been looked at. */
static void functions_go_back_when_a_later_change_is_refused(void **state)
{
	static const int constant = 1;
	static int n;

	assert_int_equal(hotpatch_register_variable("n", HOTPATCH_INT, &n), 0);
	assert_int_equal(hotpatch_register_variable("c", HOTPATCH_INT, (void *)&constant), 0);
	assert_refused(LP_EREADONLY, "func upgrade p agent_twice; var set int n 1; var set int c 2");
	assert_int_equal(call_twice(4), 8);
	assert_int_equal(n, 0);
	hotpatch_unregister_variable("n");
	hotpatch_unregister_variable("c");
}

static int unregister_twice(void *variable, const char *value, size_t len)
{
	int *refused = variable;

	*refused = hotpatch_unregister_function("agent_twice");
	return -1;
}

static size_t get_nothing(const void *variable, char *out, size_t size)
{
	return 0;
}

/* The accessor runs when functions have been switched already; it refuses, and they go back. */
static void a_function_is_not_unregistered_in_the_middle_of_a_change(void **state)
{
	static int refused;
	struct hotpatch_accessor accessor = {HOTPATCH_STRING, get_nothing, unregister_twice};

	assert_int_equal(hotpatch_register_accessor("v", &accessor, &refused), 0);
	assert_refused(LP_EREJECTED, "func upgrade p agent_twice; var set string v x");
	assert_int_equal(refused, -EBUSY);
	assert_int_equal(call_twice(4), 8);
	hotpatch_unregister_variable("v");
}

static void write_code(uint8_t *at, uint8_t byte)
{
	FILE *f = fopen("/proc/self/mem", "r+");

	assert_int_equal(fseek(f, (long)(uintptr_t)at, SEEK_SET), 0);
	assert_int_equal(fputc(byte, f), byte);
	assert_int_equal(fclose(f), 0);
}

static uint8_t original[16], *spoilt, spoilt_was;

/* Somebody writes over the upgraded function: it cannot go back. */
static int spoil_twice(void *variable, const char *value, size_t len)
{
	uint8_t *code = (uint8_t *)(uintptr_t)twice;
	size_t i = 0;

	while (code[i] == original[i])
		i++;
	spoilt = &code[i];
	spoilt_was = *spoilt;
	write_code(spoilt, spoilt_was ^ 1);
	return -1;
}

static void a_library_whose_loading_is_taken_back_stays_while_a_function_cannot_go_back(void **state)
{
	struct hotpatch_accessor accessor = {HOTPATCH_STRING, get_nothing, spoil_twice};

	assert_int_equal(hotpatch_register_accessor("v", &accessor, original), 0);
	memcpy(original, (void *)(uintptr_t)twice, sizeof original);
	assert_int_equal(run("lib unload p"), 0);
	assert_refused(LP_EREJECTED, "lib load p %s; func upgrade p agent_twice; var set string v x", AGENT_PATCH);
	write_code(spoilt, spoilt_was);
	assert_int_equal(call_twice(4), 204);
	assert_int_equal(run("lib list"), 0);
	assert_non_null(strstr(answer, "Get library: p, "));
	assert_refused(LP_EINUSE, "lib unload p");
	assert_int_equal(run("func rollback agent_twice"), 0);
	assert_int_equal(call_twice(4), 8);
	hotpatch_unregister_variable("v");
}

static void an_upgraded_function_stays_registered(void **state)
{
	assert_int_equal(run("func upgrade p agent_twice"), 0);
	assert_int_equal(hotpatch_unregister_function("agent_twice"), -EBUSY);
	assert_int_equal(run("func rollback agent_twice"), 0);
	assert_int_equal(hotpatch_unregister_function("agent_twice"), 0);
	assert_int_equal(hotpatch_unregister_function("agent_twice"), -LP_ENOFUNCTION);
}

static void a_name_is_of_one_function(void **state)
{
	assert_int_equal(hotpatch_register_function("agent_twice", (void *)(uintptr_t)twice), 0);
	assert_int_equal(hotpatch_register_function("agent_twice", (void *)(uintptr_t)thrice), -LP_EEXISTS);
	assert_int_equal(hotpatch_register_function(NULL, (void *)(uintptr_t)thrice), -EINVAL);
	assert_int_equal(hotpatch_register_function("", (void *)(uintptr_t)thrice), -EINVAL);
	assert_int_equal(hotpatch_register_function("thrice", NULL), -EINVAL);
	assert_int_equal(call_thrice(4), 12);
}

static void what_is_no_code_is_refused(void **state)
{
	static int data;

	assert_int_equal(hotpatch_register_function("data", &data), 0);
	assert_true(run("func upgrade p data agent_twice") < 0);
	assert_int_equal(hotpatch_unregister_function("data"), 0);
	assert_int_equal(hotpatch_register_function("wild", (void *)0x10), 0);
	assert_true(run("func upgrade p wild agent_twice") < 0);
	assert_int_equal(hotpatch_unregister_function("wild"), 0);
}

static void a_library_is_loaded_under_one_name_and_once(void **state)
{
	assert_refused(LP_EEXISTS, "lib load p %s", AGENT_PATCH);
	assert_refused(LP_EEXISTS, "lib load q %s", AGENT_PATCH);
	assert_refused(LP_EFILE, "lib load q /nonexistent");
	assert_refused(LP_EFILE, "lib load q /etc/passwd");
	assert_refused(LP_ENOLIBRARY, "lib unload q");
	assert_refused(LP_ENOLIBRARY, "lib unload p; lib unload p");
	assert_refused(LP_ENOLIBRARY, "lib unload p; func upgrade p agent_twice");
	assert_int_equal(run("lib list"), 0);
	assert_non_null(strstr(answer, "Get library: p, "));
}

static void a_library_comes_and_goes_in_one_line(void **state)
{
	assert_int_equal(run("lib unload p"), 0);
	assert_int_equal(run("lib load p %s; lib unload p", AGENT_PATCH), 0);
	assert_null(dlopen(AGENT_PATCH, RTLD_LAZY | RTLD_NOLOAD));
	assert_refused(LP_ENOLIBRARY, "lib load p %s; lib unload p; lib unload q", AGENT_PATCH);
	assert_null(dlopen(AGENT_PATCH, RTLD_LAZY | RTLD_NOLOAD));
	assert_int_equal(run("lib load p %s", AGENT_PATCH), 0);
}

static void *in_the_library(const char *name)
{
	void *library = dlopen(AGENT_PATCH, RTLD_LAZY | RTLD_NOLOAD), *at = dlsym(library, name);

	dlclose(library);
	return at;
}

static void what_is_registered_in_a_library_goes_with_it(void **state)
{
	int (*code)(int) = (int (*)(int))(uintptr_t)in_the_library("agent_twice");
	struct hotpatch_accessor accessor = {HOTPATCH_STRING, (size_t(*)(const void *, char *, size_t))(uintptr_t)code,
					     (int (*)(void *, const char *, size_t))(uintptr_t)code};

	assert_int_equal(hotpatch_register_variable("there", HOTPATCH_INT, (void *)(uintptr_t)code), 0);
	assert_int_equal(hotpatch_register_accessor("asked", &accessor, &accessor), 0);
	assert_int_equal(hotpatch_register_function("inside", (void *)(uintptr_t)code), 0);
	assert_int_equal(run("func upgrade p inside agent_other"), 0);
	assert_refused(LP_EINUSE, "lib unload p");
	assert_int_equal(run("func rollback inside; lib unload p"), 0);
	assert_int_equal(run("var list; func list"), 0);
	assert_null(strstr(answer, "there"));
	assert_null(strstr(answer, "asked"));
	assert_null(strstr(answer, "inside"));
	assert_int_equal(run("lib load p %s", AGENT_PATCH), 0);
}

static void a_library_in_use_stays(void **state)
{
	assert_int_equal(run("func upgrade p agent_twice"), 0);
	assert_refused(LP_EINUSE, "lib unload p");
	assert_refused(LP_EINUSE, "func upgrade p agent_twice agent_other; lib unload p");
	assert_int_equal(run("func rollback agent_twice; lib unload p"), 0);
	assert_null(dlopen(AGENT_PATCH, RTLD_LAZY | RTLD_NOLOAD));
	assert_int_equal(call_twice(4), 8);
	assert_int_equal(run("lib load p %s", AGENT_PATCH), 0);
}

static void levels_are_numbers_below_the_current_one(void **state)
{
	static const char *const wrong[] = {"1", "2", "-1", "x", "''", "0x0", "99999999999999999999"};

	assert_int_equal(run("func upgrade p agent_twice"), 0);
	for (size_t i = 0; i < LP_ARRAY_SIZE(wrong); i++)
		assert_refused(LP_EVALUE, "func rollback agent_twice %s", wrong[i]);
	assert_int_equal(call_twice(4), 204);
	assert_int_equal(run("func rollback agent_twice 0"), 0);
}

/* In front of the loader's own. */
static bool loader_is_mute;

int dlinfo(void *handle, int request, void *out)
{
	int (*next)(void *, int, void *) = (int (*)(void *, int, void *))(uintptr_t)dlsym(RTLD_NEXT, "dlinfo");

	return loader_is_mute ? -1 : next(handle, request, out);
}

static void a_library_of_which_the_loader_tells_nothing_stays(void **state)
{
	loader_is_mute = true;
	assert_refused(LP_EINTERNAL, "lib unload p");
	loader_is_mute = false;
	assert_answer("Try to unload dynamic library: p", "lib unload p");
	assert_int_equal(run("lib load p %s", AGENT_PATCH), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, load, unload)
	const struct CMUnitTest tests[] = {
		TEST(calls_go_to_the_last_level_and_back),
		TEST(a_line_of_upgrades_and_rollbacks_has_the_effect_of_its_end),
		TEST(a_refused_line_leaves_the_levels_as_they_were),
		TEST(functions_go_back_when_a_later_change_is_refused),
		TEST(a_function_is_not_unregistered_in_the_middle_of_a_change),
		TEST(a_library_whose_loading_is_taken_back_stays_while_a_function_cannot_go_back),
		TEST(an_upgraded_function_stays_registered),
		TEST(a_name_is_of_one_function),
		TEST(what_is_no_code_is_refused),
		TEST(a_library_is_loaded_under_one_name_and_once),
		TEST(a_library_comes_and_goes_in_one_line),
		TEST(what_is_registered_in_a_library_goes_with_it),
		TEST(a_library_in_use_stays),
		TEST(a_library_of_which_the_loader_tells_nothing_stays),
		TEST(levels_are_numbers_below_the_current_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
