#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/vec.h"
#include "control/json.h"
#include "control/reply.h"

/* What a client sees when `r` ends well. */
static char *written(struct lp_reply *r)
{
	struct lp_buf out = {0};
	lp_reply_write(r, 0, NULL, &out);
	lp_reply_free(r);
	return (char *)out.data;
}

static void assert_written(struct lp_reply *r, const char *expected)
{
	char *text = written(r);
	assert_string_equal(text, expected);
	lp_free(text);
}

static void assert_refused(struct lp_reply *r, int rc, const struct lp_err *err, const char *expected)
{
	struct lp_buf out = {0};
	lp_reply_write(r, rc, err, &out);
	assert_string_equal(lp_buf_cstr(&out), expected);
	lp_buf_free(&out);
	lp_reply_free(r);
}

/* ---- rows ---- */

static void a_row_is_a_line_or_an_object(void **state)
{
	for (enum lp_reply_form form = LP_REPLY_TEXT; form <= LP_REPLY_LINES; form++) {
		static const char *const expected[] = {
			[LP_REPLY_TEXT] = "Success to run\nFlag name: v, value: 2\nFlag name: w, value: -3\n",
			[LP_REPLY_JSON] = ("{\"ok\": true, \"data\": [{\"name\": \"v\", \"value\": 2}, "
					   "{\"name\": \"w\", \"value\": -3}]}\n"),
			[LP_REPLY_LINES] =
				"{\"ok\": true, \"data\": [\"Flag name: v, value: 2\", \"Flag name: w, value: -3\"]}\n",
		};
		struct lp_reply r = {.form = form};
		lp_reply_row(&r, "Flag name: %, value: %", LP_STR("name", "v"), LP_INT("value", 2));
		lp_reply_row(&r, "Flag name: %, value: %", LP_STR("name", "w"), LP_INT("value", -3));
		assert_written(&r, expected[form]);
	}
}

static void no_rows_are_a_success_all_the_same(void **state)
{
	struct lp_reply text = {0}, json = {.form = LP_REPLY_JSON, .id = "7"};
	assert_written(&text, "Success to run\n");
	assert_written(&json, "{\"id\": 7, \"ok\": true, \"data\": []}\n");
}

static void fields_beyond_the_format_are_for_json(void **state)
{
	struct lp_reply text = {0}, json = {.form = LP_REPLY_JSON};
	lp_reply_row(&text, "%", LP_STR("value", "x"), LP_STR("type", "string"));
	lp_reply_row(&json, "%", LP_STR("value", "x"), LP_STR("type", "string"));
	assert_written(&text, "Success to run\nx\n");
	assert_written(&json, "{\"ok\": true, \"data\": [{\"value\": \"x\", \"type\": \"string\"}]}\n");
}

static void values_of_every_type_are_written(void **state)
{
	for (enum lp_reply_form form = LP_REPLY_TEXT; form <= LP_REPLY_JSON; form++) {
		struct lp_reply r = {.form = form};
		lp_reply_row(&r, "% % % % % % %", LP_STR("s", NULL), LP_INT("i", INT64_MIN), LP_UINT("u", UINT64_MAX),
			     LP_REAL("r", 0.1), LP_BOOLEAN("b", true), LP_BOOLEAN("c", false), LP_ADDRESS("a", 0x1000));
		assert_written(
			&r, form == LP_REPLY_TEXT
				    ? "Success to run\n(null) -9223372036854775808 18446744073709551615 0.1 true false "
				      "0x1000\n"
				    : "{\"ok\": true, \"data\": [{\"s\": null, \"i\": -9223372036854775808, \"u\": "
				      "18446744073709551615, \"r\": 0.1, \"b\": true, \"c\": false, \"a\": "
				      "\"0x1000\"}]}\n");
	}
}

static void reals_read_back_as_the_same(void **state)
{
	static const struct {
		double value;
		const char *text, *json;
	} cases[] = {
		{1, "1", "1"},
		{-2.5, "-2.5", "-2.5"},
		{1.0 / 3, "0.3333333333333333", "0.3333333333333333"},
		{1e300, "1e+300", "1e+300"},
		{INFINITY, "inf", "\"inf\""},
		{-INFINITY, "-inf", "\"-inf\""},
		{NAN, "nan", "\"nan\""},
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(cases); i++) {
		struct lp_reply text = {0}, json = {.form = LP_REPLY_JSON};
		lp_reply_row(&text, "%", LP_REAL("r", cases[i].value));
		lp_reply_row(&json, "%", LP_REAL("r", cases[i].value));
		char *line = lp_sprintf("Success to run\n%s\n", cases[i].text);
		char *object = lp_sprintf("{\"ok\": true, \"data\": [{\"r\": %s}]}\n", cases[i].json);
		assert_written(&text, line);
		assert_written(&json, object);
		lp_free(line);
		lp_free(object);
	}
}

/* ---- hostile values ---- */

static void no_value_can_make_a_line_of_its_own(void **state)
{
	struct lp_reply r = {0};
	lp_reply_row(&r, "value: %", LP_STR("value", "x\nError: fake: y\r\n\nSuccess to run"));
	assert_written(&r, "Success to run\nvalue: x\\nError: fake: y\\r\\n\\nSuccess to run\n");
}

static void every_byte_stays_in_its_line_and_can_be_told_from_the_others(void **state)
{
	char *seen[256] = {NULL};
	for (int byte = 1; byte < 256; byte++) {
		const char value[] = {(char)byte, 0};
		struct lp_buf text = {0};
		lp_reply_escape(&text, value);
		for (size_t i = 0; i < text.len; i++)
			assert_in_range(text.data[i], 0x20, 0x7e);
		for (int other = 1; other < byte; other++)
			assert_string_not_equal(seen[other], lp_buf_cstr(&text));
		seen[byte] = (char *)text.data;
	}
	for (int byte = 1; byte < 256; byte++)
		lp_free(seen[byte]);
}

static void letters_of_all_the_world_stay_and_what_moves_the_cursor_does_not(void **state)
{
	struct lp_buf text = {0};
	lp_reply_escape(&text, "\xc3\xa9\xe2\x82\xac \033[2J \xc2\x9b"
			       "2J \x7f \xff\xc3");
	assert_string_equal(lp_buf_cstr(&text), "\xc3\xa9\xe2\x82\xac \\e[2J \\xc2\\x9b2J \\x7f \\xff\\xc3");
	lp_buf_free(&text);
}

static void an_empty_row_is_not_the_end_of_a_prompted_reply(void **state)
{
	struct lp_reply r = {.prompt = true};
	lp_reply_row(&r, "%", LP_STR("value", ""));
	lp_reply_row(&r, "%", LP_STR("value", "x"));
	assert_written(&r, "Success to run\n\"\"\nx\n\n");
}

static void json_of_hostile_values_is_json(void **state)
{
	struct lp_reply r = {.form = LP_REPLY_JSON};
	lp_reply_row(&r, "%", LP_STR("a\"b", "x\n\"}]}\xff"));
	assert_written(&r, "{\"ok\": true, \"data\": [{\"a\\\"b\": \"x\\n\\\"}]}\xef\xbf\xbd\"}]}\n");
}

/* ---- errors ---- */

static void a_refusal_is_one_line_without_the_rows(void **state)
{
	struct lp_err err = {0};
	int rc = lp_fail(&err, LP_ENOSYM, "no flag %s", "x\ny");
	struct lp_reply text = {0}, prompt = {.prompt = true}, json = {.form = LP_REPLY_JSON, .id = "\"q\""};
	lp_reply_row(&text, "%", LP_STR("v", "row"));
	lp_reply_row(&json, "%", LP_STR("v", "row"));
	assert_refused(&text, rc, &err, "Error: no-symbol: no flag x; y\n");
	assert_refused(&prompt, rc, &err, "Error: no-symbol: no flag x; y\n\n");
	assert_refused(&json, rc, &err,
		       "{\"id\": \"q\", \"ok\": false, \"error\": {\"code\": \"no-symbol\", \"message\": \"no flag "
		       "x\\ny\"}}\n");
}

static void a_refusal_without_a_sentence_gets_that_of_its_code(void **state)
{
	struct lp_err err = {0};
	struct lp_reply text = {0}, system = {0};
	assert_refused(&text, -LP_EBUSY, &err, "Error: busy: a thread is inside the code being replaced\n");
	assert_refused(&system, -2, &err, "Error: ENOENT: No such file or directory\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_is_a_line_or_an_object),
		cmocka_unit_test(no_rows_are_a_success_all_the_same),
		cmocka_unit_test(fields_beyond_the_format_are_for_json),
		cmocka_unit_test(values_of_every_type_are_written),
		cmocka_unit_test(reals_read_back_as_the_same),
		cmocka_unit_test(no_value_can_make_a_line_of_its_own),
		cmocka_unit_test(every_byte_stays_in_its_line_and_can_be_told_from_the_others),
		cmocka_unit_test(letters_of_all_the_world_stay_and_what_moves_the_cursor_does_not),
		cmocka_unit_test(an_empty_row_is_not_the_end_of_a_prompted_reply),
		cmocka_unit_test(json_of_hostile_values_is_json),
		cmocka_unit_test(a_refusal_is_one_line_without_the_rows),
		cmocka_unit_test(a_refusal_without_a_sentence_gets_that_of_its_code),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
