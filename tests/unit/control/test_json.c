#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/vec.h"
#include "control/json.h"

static int get_string(const char *text, struct lp_buf *out, struct lp_err *err)
{
	struct lp_json j = lp_json_of(text, strlen(text));
	return lp_json_get_string(&j, out, err);
}

static void strings_mean_what_they_say(void **state)
{
	static const struct {
		const char *text, *meaning;
	} cases[] = {
		{"\"\"", ""},
		{" \"a b\"", "a b"},
		{"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
		{"\"\\u0041\\u00e9\\u20ac\"", "A\xc3\xa9\xe2\x82\xac"},
		{"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80"},
		{"\"\xc3\xa9\"", "\xc3\xa9"},
		{"\"\\udcff\\udc80x\"", "\xff\x80x"},
		{"\"\\u007f\"", "\x7f"},
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(cases); i++) {
		struct lp_buf out = {0};
		assert_int_equal(get_string(cases[i].text, &out, NULL), 0);
		assert_string_equal(lp_buf_cstr(&out), cases[i].meaning);
		lp_buf_free(&out);
	}
}

static void what_is_no_string_is_refused_with_its_column(void **state)
{
	static const struct {
		const char *text, *column;
	} cases[] = {
		{"", "column 1:"},
		{"x", "column 1:"},
		{"\"ab", "column 4:"},
		{"\"a\nb\"", "column 3:"},
		{"\"\\q\"", "column 3:"},
		{"\"\\", "column 3:"},
		{"\"\\u12\"", "column 4:"},
		{"\"\\u00g0\"", "column 4:"},
		{"\"\\u0000\"", "column 8:"},
		{"\"\\ud83d\"", "column 8:"},
		{"\"\\ude00\"", "column 8:"},
		{"\"\\ud83d\\u0041\"", "column 8:"},
		{"\"\xff\"", "column 2:"},
		{"\"\xc0\x80\"", "column 2:"},
		{"\"\xed\xa0\x80\"", "column 2:"},
		{"\"\xe2\x82\"", "column 2:"},
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(cases); i++) {
		struct lp_buf out = {0};
		struct lp_err err = {0};
		assert_int_equal(get_string(cases[i].text, &out, &err), -LP_EPARSE);
		assert_non_null(strstr(err.text, cases[i].column));
		lp_buf_free(&out);
	}
}

static void scalars_come_as_they_stand(void **state)
{
	static const char *const good[] = {"0", "-12", "1.5e+10", "10E2", "true", "false", "null", "\"a\\n\""};
	static const char *const bad[] = {"", "-", "1.", "1e", ".5", "+1", "truth", "nul", "[1]", "{}", "\"a"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(good); i++) {
		struct lp_buf out = {0};
		struct lp_json j = lp_json_of(good[i], strlen(good[i]));
		assert_int_equal(lp_json_get_scalar(&j, &out, NULL), 0);
		assert_string_equal(lp_buf_cstr(&out), good[i]);
		assert_true(j.at == j.end);
		lp_buf_free(&out);
	}
	for (size_t i = 0; i < LP_ARRAY_SIZE(bad); i++) {
		struct lp_buf out = {0};
		struct lp_json j = lp_json_of(bad[i], strlen(bad[i]));
		assert_true(lp_json_get_scalar(&j, &out, NULL) < 0);
		lp_buf_free(&out);
	}
}

static void a_number_with_a_leading_zero_ends_behind_it(void **state)
{
	struct lp_buf out = {0};
	struct lp_json j = lp_json_of("012", 3);
	assert_int_equal(lp_json_get_scalar(&j, &out, NULL), 0);
	assert_string_equal(lp_buf_cstr(&out), "0");
	assert_int_equal(lp_json_peek(&j), '1');
	lp_buf_free(&out);
}

/* Every byte, alone and between others. */
static void what_is_written_is_read_back(void **state)
{
	for (int byte = 1; byte < 256; byte++) {
		const char text[] = {'a', (char)byte, 'b', (char)byte, 0};
		struct lp_buf json = {0}, again = {0};
		lp_json_put_string(&json, text, LP_JSON_ESCAPED);
		assert_int_equal(get_string(lp_buf_cstr(&json), &again, NULL), 0);
		assert_string_equal(lp_buf_cstr(&again), text);
		lp_buf_free(&json);
		lp_buf_free(&again);
	}
}

static void bytes_that_are_not_utf8_can_be_replaced(void **state)
{
	struct lp_buf json = {0};
	lp_json_put_string(&json, "a\xff\xc3\xa9\xe2\x82z", LP_JSON_REPLACED);
	assert_string_equal(lp_buf_cstr(&json), "\"a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbdz\"");
	lp_buf_free(&json);
}

static void characters_have_their_shortest_encoding(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
		uint32_t value;
	} cases[] = {
		{"a", 1, 'a'},
		{"\xc2\x80", 2, 0x80},
		{"\xc1\xbf", 0, 0},
		{"\xe0\xa0\x80", 3, 0x800},
		{"\xe0\x9f\xbf", 0, 0},
		{"\xf0\x90\x80\x80", 4, 0x10000},
		{"\xf0\x8f\xbf\xbf", 0, 0},
		{"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
		{"\xf4\x90\x80\x80", 0, 0},
		{"\xf5\x80\x80\x80", 0, 0},
		{"\xed\x9f\xbf", 3, 0xd7ff},
		{"\x80", 0, 0},
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(cases); i++) {
		uint32_t value = 0;
		assert_int_equal(lp_utf8_length(cases[i].bytes, strlen(cases[i].bytes), &value), cases[i].length);
		assert_int_equal(value, cases[i].value);
	}
	assert_int_equal(lp_utf8_length("", 0, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings_mean_what_they_say),
		cmocka_unit_test(what_is_no_string_is_refused_with_its_column),
		cmocka_unit_test(scalars_come_as_they_stand),
		cmocka_unit_test(a_number_with_a_leading_zero_ends_behind_it),
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(bytes_that_are_not_utf8_can_be_replaced),
		cmocka_unit_test(characters_have_their_shortest_encoding),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
