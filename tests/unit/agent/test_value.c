/*
 * Values as text and as bytes: what goes in comes out, and what does not fit
 * stays outside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <locale.h>
#include <math.h>

#include "agent/value.h"
#include "base/vec.h"

static const struct lp_type *type(const char *name)
{
	const struct lp_type *t = lp_type_named(name);

	assert_non_null(t);
	return t;
}

/* What is shown of a value that was read from `text`; "" when it is none. */
static const char *again(const char *name, const char *text)
{
	static char shown[128];
	uint8_t bytes[LP_VALUE_MAX];
	struct lp_buf out = {0};
	struct lp_err err = {0};
	int rc = lp_value_parse(type(name), text, bytes, &err);

	shown[0] = 0;
	if (rc < 0) {
		assert_int_equal(rc, -LP_EVALUE);
		assert_string_not_equal(err.text, "");
		return shown;
	}
	lp_value_print(type(name), bytes, &out);
	snprintf(shown, sizeof shown, "%s", lp_buf_cstr(&out));
	lp_buf_free(&out);
	return shown;
}

static void every_name_of_a_type_is_that_type(void **state)
{
	static const struct {
		const char *name;
		size_t size;
	} sizes[] = {{"bool", 1},
		     {"char", 1},
		     {"signed char", 1},
		     {"uint8_t", 1},
		     {"short", sizeof(short)},
		     {"unsigned short", 2},
		     {"int", sizeof(int)},
		     {"unsigned", sizeof(unsigned)},
		     {"long", sizeof(long)},
		     {"long long", sizeof(long long)},
		     {"size_t", sizeof(size_t)},
		     {"float", sizeof(float)},
		     {"double", sizeof(double)},
		     {"char*", sizeof(char *)}};

	for (size_t i = 0; i < LP_ARRAY_SIZE(sizes); i++)
		assert_int_equal(type(sizes[i].name)->size, sizes[i].size);
	assert_null(lp_type_named("void"));
	assert_null(lp_type_named("doble"));
	assert_null(lp_type_named(""));
	assert_ptr_equal(type("int"), type("int32_t"));
	assert_ptr_equal(type("string"), type("std::string"));
}

static void types_have_the_numbers_of_the_header(void **state)
{
	for (int id = HOTPATCH_BOOL; id <= HOTPATCH_UNTYPED; id++) {
		assert_non_null(lp_type_of(id));
		assert_int_equal(lp_type_of(id)->id, id);
	}
	assert_null(lp_type_of((enum hotpatch_type)0));
	assert_null(lp_type_of((enum hotpatch_type)(HOTPATCH_UNTYPED + 1)));
	assert_ptr_equal(lp_type_sized(4, true), type("int"));
	assert_ptr_equal(lp_type_sized(8, false), type("ulong"));
	assert_null(lp_type_sized(3, true));
}

/* {type, text, what is shown of it; "" when it is refused} */
static const char *const cases[][3] = {
	{"bool", "true", "true"},
	{"bool", "1", "true"},
	{"bool", "yes", "true"},
	{"bool", "on", "true"},
	{"bool", "false", "false"},
	{"bool", "0", "false"},
	{"bool", "2", ""},
	{"bool", "TRUE", ""},
	{"bool", "", ""},
	{"char", "a", "a"},
	{"char", "5", "5"},
	{"char", "05", "05"},
	{"char", "65", "A"},
	{"char", "-1", "-1"},
	{"char", "255", "-1"},
	{"char", "256", ""},
	{"char", "-129", ""},
	{"char", "ab", ""},
	{"char", "", ""},
	{"int8", "127", "127"},
	{"int8", "-128", "-128"},
	{"int8", "128", ""},
	{"int8", "-129", ""},
	{"uint8", "255", "255"},
	{"uint8", "256", ""},
	{"uint8", "-1", ""},
	{"short", "32767", "32767"},
	{"short", "-32768", "-32768"},
	{"short", "32768", ""},
	{"ushort", "65535", "65535"},
	{"ushort", "65536", ""},
	{"int", "2147483647", "2147483647"},
	{"int", "-2147483648", "-2147483648"},
	{"int", "2147483648", ""},
	{"int", "-2147483649", ""},
	{"int", "+5", "5"},
	{"int", "0x20", "32"},
	{"int", "-0x20", "-32"},
	{"int", "010", "10"},
	{"int", "0x", ""},
	{"int", "", ""},
	{"int", " 5", ""},
	{"int", "5 ", ""},
	{"int", "\t5", ""},
	{"int", "12abc", ""},
	{"int", "1.5", ""},
	{"int", "1e3", ""},
	{"int", "--5", ""},
	{"int", "99999999999999999999999", ""},
	{"uint", "4294967295", "4294967295"},
	{"uint", "4294967296", ""},
	{"uint", "-0", ""},
	{"long", "9223372036854775807", "9223372036854775807"},
	{"long", "-9223372036854775808", "-9223372036854775808"},
	{"long", "9223372036854775808", ""},
	{"ulong", "18446744073709551615", "18446744073709551615"},
	{"ulong", "0xffffffffffffffff", "18446744073709551615"},
	{"ulong", "18446744073709551616", ""},
	{"ulong", "-1", ""},
	{"float", "0.1", "0.1"},
	{"float", "16777217", "16777216"},
	{"float", "3.4028235e38", "3.4028235e+38"},
	{"float", "3.5e38", ""},
	{"float", "1e-45", "1.4013e-45"},
	{"float", "inf", "inf"},
	{"double", "0.1", "0.1"},
	{"double", "-2.5e-300", "-2.5e-300"},
	{"double", "1.7976931348623157e308", "1.7976931348623157e+308"},
	{"double", "4.9406564584124654e-324", "4.94065645841247e-324"},
	{"double", "1e309", ""},
	{"double", "0.30000000000000004", "0.30000000000000004"},
	{"double", "1,5", ""},
	{"double", "", ""},
	{"double", " 1", ""},
	{"double", "1 ", ""},
	{"double", "one", ""},
};

static void what_fits_comes_back_and_what_does_not_is_refused(void **state)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(cases); i++) {
		const char *shown = again(cases[i][0], cases[i][1]);

		if (strcmp(shown, cases[i][2]) != 0)
			fail_msg("%s \"%s\" became \"%s\", not \"%s\"", cases[i][0], cases[i][1], shown, cases[i][2]);
	}
}

static void every_char_comes_back_as_it_is_shown(void **state)
{
	for (int c = 0; c < 256; c++) {
		uint8_t bytes[LP_VALUE_MAX] = {(uint8_t)c}, back[LP_VALUE_MAX];
		struct lp_buf shown = {0};

		lp_value_print(type("char"), bytes, &shown);
		assert_int_equal(lp_value_parse(type("char"), lp_buf_cstr(&shown), back, NULL), 0);
		assert_int_equal(back[0], c);
		lp_buf_free(&shown);
	}
}

static void reals_come_back_bit_by_bit(void **state)
{
	uint64_t seed = 88172645463325252;

	for (int i = 0; i < 20000; i++) {
		uint8_t bytes[LP_VALUE_MAX], back[LP_VALUE_MAX];
		const struct lp_type *t = type(i % 2 ? "double" : "float");
		struct lp_buf shown = {0};
		double d;
		float f;

		seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
		memcpy(bytes, &seed, sizeof seed);
		memcpy(&d, bytes, sizeof d);
		memcpy(&f, bytes, sizeof f);
		if (i % 2 ? isnan(d) : isnan(f))
			continue;
		lp_value_print(t, bytes, &shown);
		assert_int_equal(lp_value_parse(t, lp_buf_cstr(&shown), back, NULL), 0);
		assert_memory_equal(bytes, back, t->size);
		lp_buf_free(&shown);
	}
}

static void numbers_are_those_of_c_whatever_the_locale(void **state)
{
	static const char *const with_comma[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "ru_RU.UTF-8"};
	const char *found = NULL;

	for (size_t i = 0; !found && i < LP_ARRAY_SIZE(with_comma); i++)
		found = setlocale(LC_ALL, with_comma[i]);
	if (!found)
		skip();
	assert_string_equal(localeconv()->decimal_point, ",");
	assert_string_equal(again("double", "1.5"), "1.5");
	assert_string_equal(again("double", "1,5"), "");
	assert_string_equal(localeconv()->decimal_point, ",");
	setlocale(LC_ALL, "C");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_name_of_a_type_is_that_type),
		cmocka_unit_test(types_have_the_numbers_of_the_header),
		cmocka_unit_test(what_fits_comes_back_and_what_does_not_is_refused),
		cmocka_unit_test(every_char_comes_back_as_it_is_shown),
		cmocka_unit_test(reals_come_back_bit_by_bit),
		cmocka_unit_test(numbers_are_those_of_c_whatever_the_locale),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
