/*
 * var ...: variables that are what they were registered as, and some that are
 * not.
 */
#include "run.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096

int unregistered_global = 5;
const int constant_global = 7;

static int registered_as(const char *name, enum hotpatch_type type, void *at)
{
	hotpatch_unregister_variable(name);
	return hotpatch_register_variable(name, type, at);
}

/* ---- what works ---- */

static void every_type_is_read_and_written(void **state)
{
	static union {
		bool b;
		char c;
		int8_t i8;
		uint64_t u64;
		float f;
		double d;
	} v;
	static const struct {
		enum hotpatch_type type;
		const char *name, *value;
	} types[] = {
		{HOTPATCH_BOOL, "bool", "true"},	 {HOTPATCH_CHAR, "char", "x"},
		{HOTPATCH_INT8, "int8", "-5"},		 {HOTPATCH_UINT8, "uint8", "200"},
		{HOTPATCH_INT16, "short", "-3000"},	 {HOTPATCH_UINT16, "ushort", "60000"},
		{HOTPATCH_INT32, "int", "-2000000000"},	 {HOTPATCH_UINT32, "uint", "4000000000"},
		{HOTPATCH_INT64, "long", "-5000000000"}, {HOTPATCH_UINT64, "ulong", "18000000000000000000"},
		{HOTPATCH_FLOAT, "float", "0.25"},	 {HOTPATCH_DOUBLE, "double", "1e+100"},
	};

	for (size_t i = 0; i < LP_ARRAY_SIZE(types); i++) {
		memset(&v, 0, sizeof v);
		assert_int_equal(registered_as("v", types[i].type, &v), 0);
		assert_answer("", "var set %s v %s", types[i].name, types[i].value);
		assert_answer(types[i].value, "var get %s v", types[i].name);
	}
	hotpatch_unregister_variable("v");
}

static void integers_of_one_size_and_sign_are_one_type(void **state)
{
	static long long v = 9;

	assert_int_equal(registered_as("v", HOTPATCH_INT64, &v), 0);
	assert_answer("9", "var get long v");
	assert_answer("9", "var get 'long long' v");
	assert_answer("9", "var get int64_t v");
	assert_refused(LP_ETYPE, "var get ulong v");
	assert_refused(LP_ETYPE, "var get double v");
	assert_refused(LP_ETYPE, "var get int v");
	assert_refused(LP_ETYPE, "var get string v");
	hotpatch_unregister_variable("v");
}

static void a_list_is_in_the_order_of_names(void **state)
{
	static int a = 1, b = 2, c = 3;

	registered_as("m", HOTPATCH_INT, &b);
	registered_as("z", HOTPATCH_INT, &c);
	registered_as("a", HOTPATCH_INT, &a);
	assert_int_equal(run("var list"), 0);
	const char *at_a = strstr(answer, "Get variable: a, "), *at_m = strstr(answer, "Get variable: m, ");
	const char *at_z = strstr(answer, "Get variable: z, ");
	assert_true(at_a && at_m && at_z && at_a < at_m && at_m < at_z);
	hotpatch_unregister_variable("m");
	assert_answer("1", "var get int a");
	assert_answer("3", "var get int z");
	assert_refused(LP_ENOVARIABLE, "var get int m");
	hotpatch_unregister_variable("a");
	hotpatch_unregister_variable("z");
}

static void a_name_is_copied(void **state)
{
	static int v = 4;
	char name[] = "first";

	assert_int_equal(registered_as(name, HOTPATCH_INT, &v), 0);
	memcpy(name, "other", sizeof name);
	assert_answer("4", "var get int first");
	assert_int_equal(hotpatch_unregister_variable("first"), 0);
}

static void an_array_of_characters_is_kept_terminated(void **state)
{
	static struct {
		char text[8], behind[8];
	} v = {"before", "behind"};

	assert_int_equal(hotpatch_register_chars("v", v.text, sizeof v.text), 0);
	assert_answer("before", "var get string v");
	assert_answer("", "var set string v 1234567");
	assert_string_equal(v.text, "1234567");
	assert_refused(LP_EVALUE, "var set string v 12345678");
	assert_answer("", "var set string v a b");
	assert_string_equal(v.text, "a b");
	memset(v.text, 'x', sizeof v.text);
	assert_answer("xxxxxxxx", "var get string v");
	assert_string_equal(v.behind, "behind");
	hotpatch_unregister_variable("v");
}

static void a_c_string_is_replaced_by_a_copy(void **state)
{
	static const char *v = "literal";

	assert_int_equal(registered_as("v", HOTPATCH_CSTRING, &v), 0);
	assert_answer("literal", "var get char* v");
	assert_answer("", "var set char* v another one");
	assert_string_equal(v, "another one");
	assert_answer("another one", "var get string v");
	free((void *)(uintptr_t)v);
	v = NULL;
	assert_answer("", "var get char* v");
	hotpatch_unregister_variable("v");
}

/* ---- accessors ---- */

static char text[1000] = "text";
static unsigned sets;

static size_t get_text(const void *variable, char *out, size_t size)
{
	size_t len = strlen(variable);

	memcpy(out, variable, len < size ? len : size);
	return len;
}

static int set_text(void *variable, const char *value, size_t len)
{
	sets++;
	if (!strcmp(value, "bad"))
		return -1;
	memcpy(variable, value, len + 1);
	return 0;
}

static const struct hotpatch_accessor accessor = {HOTPATCH_STRING, get_text, set_text};

static void an_accessor_may_be_long_and_may_refuse(void **state)
{
	char expected[901];

	assert_int_equal(hotpatch_register_accessor("v", &accessor, text), 0);
	memset(expected, 'y', 900);
	expected[900] = 0;
	assert_answer("", "var set string v %s", expected);
	assert_answer(expected, "var get string v");
	assert_refused(LP_EREJECTED, "var set string v bad");
	assert_answer(expected, "var get string v");
	hotpatch_unregister_variable("v");
}

static void a_refusal_takes_back_what_was_set_before_it(void **state)
{
	static int n = 1;

	strcpy(text, "before");
	assert_int_equal(registered_as("n", HOTPATCH_INT, &n), 0);
	assert_int_equal(hotpatch_register_accessor("v", &accessor, text), 0);
	assert_refused(LP_EREJECTED, "var set int n 2; var set string v after; var set string v bad");
	assert_int_equal(n, 1);
	assert_string_equal(text, "before");
	hotpatch_unregister_variable("n");
	hotpatch_unregister_variable("v");
}

static int unregister_other(void *variable, const char *value, size_t len)
{
	return hotpatch_unregister_variable("other");
}

/* Between what was prepared and what is done of it the program goes on. */
static void what_is_taken_back_before_the_commit_is_left_alone(void **state)
{
	static int other = 1;
	struct hotpatch_accessor takes_back = {HOTPATCH_STRING, get_text, unregister_other};

	assert_int_equal(registered_as("other", HOTPATCH_INT, &other), 0);
	assert_int_equal(hotpatch_register_accessor("v", &takes_back, text), 0);
	assert_refused(LP_ENOVARIABLE, "var set string v x; var set int other 2");
	assert_int_equal(other, 1);
	hotpatch_unregister_variable("v");
}

static void an_incomplete_accessor_is_not_registered(void **state)
{
	struct hotpatch_accessor broken[] = {
		{HOTPATCH_STRING, NULL, set_text}, {HOTPATCH_STRING, get_text, NULL}, {99, get_text, set_text}};

	for (size_t i = 0; i < LP_ARRAY_SIZE(broken); i++)
		assert_int_equal(hotpatch_register_accessor("v", &broken[i], text), -EINVAL);
	assert_int_equal(hotpatch_register_accessor("v", NULL, text), -EINVAL);
}

/* ---- pointers that lead nowhere ---- */

static void nothing_is_registered_without_a_name_and_an_address(void **state)
{
	int v;
	char long_name[2000];

	memset(long_name, 'n', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = 0;
	assert_int_equal(hotpatch_register_variable(NULL, HOTPATCH_INT, &v), -EINVAL);
	assert_int_equal(hotpatch_register_variable("", HOTPATCH_INT, &v), -EINVAL);
	assert_int_equal(hotpatch_register_variable(long_name, HOTPATCH_INT, &v), -EINVAL);
	assert_int_equal(hotpatch_register_variable("v", HOTPATCH_INT, NULL), -EINVAL);
	assert_int_equal(hotpatch_register_variable("v", (enum hotpatch_type)77, &v), -EINVAL);
	assert_int_equal(hotpatch_register_variable("v", HOTPATCH_STRING, &v), -EINVAL);
	assert_int_equal(hotpatch_register_chars("v", NULL, 5), -EINVAL);
	assert_int_equal(hotpatch_register_chars("v", text, 0), -EINVAL);
	assert_int_equal(hotpatch_unregister_variable("v"), -LP_ENOVARIABLE);
	assert_int_equal(hotpatch_unregister_variable(NULL), -LP_ENOVARIABLE);
}

static void a_name_is_registered_once(void **state)
{
	static int a = 1, b = 2;

	assert_int_equal(registered_as("v", HOTPATCH_INT, &a), 0);
	assert_int_equal(hotpatch_register_variable("v", HOTPATCH_INT, &b), -LP_EEXISTS);
	assert_answer("1", "var get int v");
	hotpatch_unregister_variable("v");
}

static void a_wild_pointer_is_refused_and_listed_without_a_value(void **state)
{
	static const uintptr_t wild[] = {1, 0x10, 0xfffffffffffffff8, 0x800000000000, 0xdeadbeefdeadbeef};

	for (size_t i = 0; i < LP_ARRAY_SIZE(wild); i++) {
		assert_int_equal(registered_as("v", HOTPATCH_INT64, (void *)wild[i]), 0);
		assert_refused(LP_EUNMAPPED, "var get long v");
		assert_refused(LP_EUNMAPPED, "var set long v 1");
		assert_int_equal(run("var list"), 0);
		assert_non_null(strstr(answer, "value: ?"));
	}
	hotpatch_unregister_variable("v");
}

static void what_cannot_be_written_is_refused_before_anything_is(void **state)
{
	static int n = 1;

	assert_int_equal(registered_as("n", HOTPATCH_INT, &n), 0);
	assert_int_equal(registered_as("v", HOTPATCH_INT, (void *)&constant_global), 0);
	assert_answer("7", "var get int v");
	assert_refused(LP_EREADONLY, "var set int n 2; var set int v 8");
	assert_int_equal(n, 1);
	hotpatch_unregister_variable("n");
	hotpatch_unregister_variable("v");
}

/* The second page is not there, and the value is on both. */
static void a_value_that_is_half_there_is_not_there(void **state)
{
	char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(pages, MAP_FAILED);
	assert_int_equal(mprotect(pages + PAGE, PAGE, PROT_NONE), 0);
	assert_int_equal(registered_as("v", HOTPATCH_INT64, pages + PAGE - 4), 0);
	assert_refused(LP_EUNMAPPED, "var get long v");
	assert_refused(LP_EUNMAPPED, "var set long v 1");
	assert_int_equal(registered_as("v", HOTPATCH_INT32, pages + PAGE - 4), 0);
	assert_answer("", "var set int v 77");
	assert_int_equal(registered_as("v", HOTPATCH_INT32, pages + PAGE - 7), 0);
	assert_int_equal(run("var get int v"), 0);
	munmap(pages, 2 * PAGE);
	assert_refused(LP_EUNMAPPED, "var get int v");
	hotpatch_unregister_variable("v");
}

static void a_c_string_that_does_not_end_in_what_can_be_read_is_refused(void **state)
{
	static char *v;
	char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_int_equal(mprotect(pages + PAGE, PAGE, PROT_NONE), 0);
	v = pages + PAGE - 3;
	memcpy(v, "abc", 3);
	assert_int_equal(registered_as("v", HOTPATCH_CSTRING, &v), 0);
	assert_refused(LP_EUNMAPPED, "var get char* v");
	v[2] = 0;
	assert_answer("ab", "var get char* v");
	v = (char *)0x10;
	assert_refused(LP_EUNMAPPED, "var get char* v");
	assert_answer("", "var set char* v good");
	assert_string_equal(v, "good");
	hotpatch_unregister_variable("v");
	munmap(pages, 2 * PAGE);
}

/* ---- bare pointers, and symbols ---- */

static void a_bare_pointer_is_what_the_request_says(void **state)
{
	static double v = 0.5;

	assert_int_equal(registered_as("v", HOTPATCH_UNTYPED, &v), 0);
	assert_answer("0.5", "var get double v");
	assert_answer("", "var set double v 0.75");
	assert_true(v == 0.75);
	assert_refused(LP_ETYPE, "var get string v");
	assert_refused(LP_ETYPE, "var get untyped v");
	hotpatch_unregister_variable("v");
}

static void a_global_is_known_by_its_symbol_and_its_size(void **state)
{
	assert_answer("5", "var get int global:unregistered_global");
	assert_answer("", "var set int global:unregistered_global 6");
	assert_int_equal(unregistered_global, 6);
	assert_refused(LP_ETYPE, "var get long global:unregistered_global");
	assert_refused(LP_EREADONLY, "var set int global:constant_global 8");
	assert_refused(LP_ENOVARIABLE, "var get int global:nobody");
	assert_refused(LP_ETYPE, "var get int global:main");
}

/* ---- strings where the program is quiescent: the last test, for nothing takes that back ---- */

static void strings_wait_once_the_program_says_where(void **state)
{
	strcpy(text, "before");
	assert_int_equal(hotpatch_register_accessor("v", &accessor, text), 0);
	hotpatch_quiesce();
	assert_refused(EBUSY, "var set string v after");
	assert_string_equal(text, "before");
	assert_answer("", "var set --unsafe string v after");
	assert_string_equal(text, "after");
	hotpatch_unregister_variable("v");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_is_read_and_written),
		cmocka_unit_test(integers_of_one_size_and_sign_are_one_type),
		cmocka_unit_test(a_list_is_in_the_order_of_names),
		cmocka_unit_test(a_name_is_copied),
		cmocka_unit_test(an_array_of_characters_is_kept_terminated),
		cmocka_unit_test(a_c_string_is_replaced_by_a_copy),
		cmocka_unit_test(an_accessor_may_be_long_and_may_refuse),
		cmocka_unit_test(a_refusal_takes_back_what_was_set_before_it),
		cmocka_unit_test(what_is_taken_back_before_the_commit_is_left_alone),
		cmocka_unit_test(an_incomplete_accessor_is_not_registered),
		cmocka_unit_test(nothing_is_registered_without_a_name_and_an_address),
		cmocka_unit_test(a_name_is_registered_once),
		cmocka_unit_test(a_wild_pointer_is_refused_and_listed_without_a_value),
		cmocka_unit_test(what_cannot_be_written_is_refused_before_anything_is),
		cmocka_unit_test(a_value_that_is_half_there_is_not_there),
		cmocka_unit_test(a_c_string_that_does_not_end_in_what_can_be_read_is_refused),
		cmocka_unit_test(a_bare_pointer_is_what_the_request_says),
		cmocka_unit_test(a_global_is_known_by_its_symbol_and_its_size),
		cmocka_unit_test(strings_wait_once_the_program_says_where),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
