#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/wire.h"

#define LINE_MAX_ 64

/* ---- a request as text: "[var|get] [lib|list]", with what JSON adds, or the error's name ---- */

static void describe(struct lp_buf *out, const struct lp_request *r, int rc)
{
	lp_buf_str(out, r->json ? "J" : "T");
	lp_buf_str(out, r->lines ? "+" : "");
	if (r->id.len)
		lp_buf_printf(out, "(%s)", (const char *)r->id.data);
	if (rc < 0)
		lp_buf_str(out, lp_err_name(rc));
	for (size_t i = 0; i < r->commands.nr && rc > 0; i++) {
		const struct lp_words *w = &r->commands.items[i];
		for (size_t k = 0; k < w->nr; k++)
			lp_buf_printf(out, "%s%s", k ? "|" : "[", w->items[k]);
		lp_buf_str(out, "]");
	}
	lp_buf_str(out, "\n");
}

static void drain(struct lp_control_wire *w, struct lp_buf *out)
{
	while (lp_control_wire_has_line(w)) {
		struct lp_request r;
		struct lp_err err = {0};
		int rc = lp_control_wire_next(w, &r, &err);
		assert_int_equal(rc < 0, err.text[0] != 0);
		if (rc)
			describe(out, &r, rc);
		lp_request_free(&r);
	}
	struct lp_request none;
	assert_int_equal(lp_control_wire_next(w, &none, NULL), 0);
}

/* Fed in pieces of the lengths given by the bits of `cuts`: bit i = cut behind byte i. */
static char *requests_cut(const char *bytes, size_t len, uint64_t cuts)
{
	struct lp_control_wire w = {.line_max = LINE_MAX_};
	struct lp_buf out = {0};
	size_t from = 0;
	for (size_t i = 0; i < len; i++) {
		if (i + 1 < len && !(cuts >> (i % 64) & 1))
			continue;
		lp_control_wire_feed(&w, bytes + from, i + 1 - from);
		drain(&w, &out);
		from = i + 1;
	}
	lp_control_wire_finish(&w);
	drain(&w, &out);
	lp_control_wire_free(&w);
	char *text = lp_strdup(lp_buf_cstr(&out));
	lp_buf_free(&out);
	return text;
}

static void assert_requests(const char *bytes, const char *expected)
{
	char *text = requests_cut(bytes, strlen(bytes), 0);
	assert_string_equal(text, expected);
	lp_free(text);
}

/* ---- text ---- */

static void words_are_separated_by_blanks_and_commands_by_semicolons(void **state)
{
	assert_requests("gflags list\n", "T[gflags|list]\n");
	assert_requests("  var \t get int\vage  \r\n", "T[var|get|int|age]\n");
	assert_requests("a b;c ; d\n", "T[a|b][c][d]\n");
	assert_requests(";;a;;\n", "T[a]\n");
	assert_requests("a\nb\n\nc", "T[a]\nT[b]\nTusage\nT[c]\n");
}

static void a_line_at_the_end_needs_no_newline(void **state)
{
	assert_requests("var get string user_name", "T[var|get|string|user_name]\n");
	assert_requests("", "");
}

static void a_line_without_a_command_is_refused(void **state)
{
	assert_requests("\n", "Tusage\n");
	assert_requests(" \t\n", "Tusage\n");
	assert_requests(";;\n", "Tusage\n");
}

static void quoted_words_may_hold_anything(void **state)
{
	assert_requests("a 'b c' \"d;e\"\n", "T[a|b c|d;e]\n");
	assert_requests("a '' \"\"\n", "T[a||]\n");
	assert_requests("a 'b\\n\"' \"'\"\n", "T[a|b\\n\"|']\n");
	assert_requests("a \"\\a\\b\\f\\r\\t\\v\\\\\\\"\\'\\e\"\n", "T[a|\a\b\f\r\t\v\\\"'\033]\n");
	assert_requests("a \"x\\ny\\x41\\xfz\"\n", "T[a|x\nyA\x0fz]\n");
	assert_requests("'a';\"b\"\n", "T[a][b]\n");
}

/* As in the first HotPatch, where they were letters like any other. */
static void a_quote_inside_of_a_word_is_a_letter(void **state)
{
	assert_requests("a it's 5\" \\n\n", "T[a|it's|5\"|\\n]\n");
}

static void malformed_quoting_is_refused_and_the_next_line_is_read(void **state)
{
	static const char *const bad[] = {"'b",	     "\"b",	"\"b\\\"",   "'b'c", "\"b\"'c'",
					  "\"\\q\"", "\"\\x\"", "\"\\x00\"", "\"\\"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(bad); i++) {
		char *bytes = lp_sprintf("a %s\nb\n", bad[i]);
		assert_requests(bytes, "Tparse\nT[b]\n");
		lp_free(bytes);
	}
}

static void a_nul_byte_is_refused(void **state)
{
	char *text = requests_cut("a\0b\nc\n", 6, 0);
	assert_string_equal(text, "Tparse\nT[c]\n");
	lp_free(text);
}

static void commands_of_one_line_have_a_bound(void **state)
{
	struct lp_control_wire w = {.line_max = 65536};
	struct lp_buf line = {0}, out = {0};
	for (int i = 0; i <= LP_REQUEST_COMMANDS_MAX; i++)
		lp_buf_str(&line, "a;");
	lp_buf_str(&line, "\n");
	lp_control_wire_feed(&w, line.data, line.len);
	drain(&w, &out);
	assert_string_equal(lp_buf_cstr(&out), "Tparse\n");
	lp_buf_free(&line);
	lp_buf_free(&out);
	lp_control_wire_free(&w);
}

/* ---- lines ---- */

static void a_line_that_is_too_long_is_refused_once_and_skipped(void **state)
{
	struct lp_buf bytes = {0};
	lp_buf_fill(&bytes, 'x', LINE_MAX_);
	lp_buf_str(&bytes, "\n");
	lp_buf_fill(&bytes, 'y', LINE_MAX_ + 1);
	lp_buf_str(&bytes, "\nz\n");
	lp_buf_fill(&bytes, 'w', 10 * LINE_MAX_);
	char *text = requests_cut((char *)bytes.data, bytes.len, 0);
	assert_non_null(strstr(text, "x]\nTtoo-long\nT[z]\nTtoo-long\n"));
	assert_null(strstr(text, "y"));
	lp_free(text);
	lp_buf_free(&bytes);
}

static void what_is_skipped_is_not_kept(void **state)
{
	struct lp_control_wire w = {.line_max = LINE_MAX_};
	char piece[1000];
	struct lp_buf out = {0};
	memset(piece, 'x', sizeof piece);
	for (int i = 0; i < 10000; i++) {
		lp_control_wire_feed(&w, piece, sizeof piece);
		if (lp_control_wire_has_line(&w))
			drain(&w, &out);
		assert_true(w.bytes.cap < 10 * sizeof piece);
	}
	assert_string_equal(lp_buf_cstr(&out), "Ttoo-long\n");
	assert_true(lp_control_wire_is_partial(&w));
	lp_buf_free(&out);
	lp_control_wire_free(&w);
}

static void silence_completes_a_line_and_the_next_bytes_begin_another(void **state)
{
	struct lp_control_wire w = {.line_max = LINE_MAX_};
	struct lp_buf out = {0};
	lp_control_wire_feed(&w, "var ge", 6);
	drain(&w, &out);
	assert_true(lp_control_wire_is_partial(&w));
	lp_control_wire_feed(&w, "t", 1);
	lp_control_wire_finish(&w);
	drain(&w, &out);
	assert_false(lp_control_wire_is_partial(&w));
	lp_control_wire_feed(&w, "lib", 3);
	drain(&w, &out);
	assert_string_equal(lp_buf_cstr(&out), "T[var|get]\n");
	assert_false(w.ends_lines);
	lp_control_wire_feed(&w, "\n", 1);
	drain(&w, &out);
	assert_string_equal(lp_buf_cstr(&out), "T[var|get]\nT[lib]\n");
	assert_true(w.ends_lines);
	lp_buf_free(&out);
	lp_control_wire_free(&w);
}

/* ---- JSON ---- */

static void json_gives_the_same_words(void **state)
{
	assert_requests("{\"cmd\": \"var set int age 20\", \"id\": 7}\n", "J(7)[var|set|int|age|20]\n");
	assert_requests("{\"cmd\": [\"var\", \"a;b c\"]}\n", "J[var|a;b c]\n");
	assert_requests("{\"cmd\":[[\"a\"],[\"b\",\"c\"]]}\n", "J[a][b|c]\n");
	assert_requests("{\"cmd\": \"a; b\"}", "J[a][b]\n");
	assert_requests("{\"text\":true,\"id\":\"q\\u0022\",\"cmd\":\"a\"}\r\n", "J+(\"q\\u0022\")[a]\n");
	assert_requests("{\"cmd\":\"a\"}\n\n  \n{\"cmd\":\"b\"}\n", "J[a]\nJ[b]\n");
}

static void malformed_json_is_refused_with_the_id_if_it_was_seen(void **state)
{
	static const struct {
		const char *line, *expected;
	} bad[] = {
		{"{", "Jparse\n"},
		{"{}", "Jusage\n"},
		{"{\"id\":1}", "J(1)usage\n"},
		{"{\"cmd\":\"\"}", "Jusage\n"},
		{"{\"cmd\":5}", "Jparse\n"},
		{"{\"cmd\":[]}", "Jparse\n"},
		{"{\"cmd\":[[]]}", "Jparse\n"},
		{"{\"cmd\":[5]}", "Jparse\n"},
		{"{\"cmd\":[\"a\",[\"b\"]]}", "Jparse\n"},
		{"{\"cmd\":[[\"a\"],\"b\"]}", "Jparse\n"},
		{"{\"cmd\":[[[\"a\"]]]}", "Jparse\n"},
		{"{\"cmd\":\"a\\nb\"}", "Jparse\n"},
		{"{\"cmd\":\"a\",}", "Jparse\n"},
		{"{\"cmd\":\"a\"} x", "Jparse\n"},
		{"{\"cmd\":\"a\"}{}", "Jparse\n"},
		{"{\"cmd\":\"a\",\"cmd\":\"b\"}", "Jparse\n"},
		{"{\"id\":2,\"other\":1}", "J(2)parse\n"},
		{"{\"id\":[1]}", "Jparse\n"},
		{"{\"text\":1}", "Jparse\n"},
		{"{\"cmd\" \"a\"}", "Jparse\n"},
		{"{\"cmd\":\"a 'b\"}", "Jparse\n"},
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(bad); i++)
		assert_requests(bad[i].line, bad[i].expected);
}

static void an_id_has_a_bound(void **state)
{
	struct lp_control_wire w = {.line_max = 65536};
	struct lp_buf line = {0}, out = {0};
	lp_buf_str(&line, "{\"cmd\":\"a\",\"id\":\"");
	lp_buf_fill(&line, 'x', LP_REQUEST_ID_MAX);
	lp_buf_str(&line, "\"}\n");
	lp_control_wire_feed(&w, line.data, line.len);
	drain(&w, &out);
	assert_string_equal(lp_buf_cstr(&out), "Jparse\n");
	lp_buf_free(&line);
	lp_buf_free(&out);
	lp_control_wire_free(&w);
}

/* The first byte decides for the whole connection. */
static void a_json_connection_stays_one(void **state)
{
	assert_requests("{\"cmd\":\"a\"}\nlib list\n", "J[a]\nJparse\n");
	assert_requests("a\n{\"cmd\":\"a\"}\n", "T[a]\nT[{\"cmd\":\"a\"}]\n");
}

/* ---- cuts ---- */

static const char *const streams[] = {
	"a b\nc;d\n", "a 'b\nc'\r\n\"d", "\n\nx", "{\"cmd\":\"a\"}\n{\n\n", "{\"id\":1}\n ",
};

static void every_way_to_cut_the_bytes_gives_the_same_requests(void **state)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(streams); i++) {
		size_t len = strlen(streams[i]);
		char *whole = requests_cut(streams[i], len, 0);
		assert_true(len <= 17);
		for (uint64_t cuts = 1; cuts < UINT64_C(1) << (len - 1); cuts++) {
			char *text = requests_cut(streams[i], len, cuts);
			assert_string_equal(text, whole);
			lp_free(text);
		}
		lp_free(whole);
	}
}

static void lines_around_the_limit_are_the_same_however_they_are_cut(void **state)
{
	for (size_t length = LINE_MAX_ - 1; length <= LINE_MAX_ + 2; length++) {
		struct lp_buf bytes = {0};
		lp_buf_fill(&bytes, 'x', length);
		lp_buf_str(&bytes, "\nend\n");
		char *whole = requests_cut((char *)bytes.data, bytes.len, 0);
		assert_int_equal(strstr(whole, "too-long") != NULL, length > LINE_MAX_);
		for (int i = 0; i < 64; i++)
			for (int k = 0; k <= i; k++) {
				char *text = requests_cut((char *)bytes.data, bytes.len,
							  UINT64_C(1) << i | UINT64_C(1) << k);
				assert_string_equal(text, whole);
				lp_free(text);
			}
		char *bytewise = requests_cut((char *)bytes.data, bytes.len, UINT64_MAX);
		assert_string_equal(bytewise, whole);
		lp_free(bytewise);
		lp_free(whole);
		lp_buf_free(&bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_separated_by_blanks_and_commands_by_semicolons),
		cmocka_unit_test(a_line_at_the_end_needs_no_newline),
		cmocka_unit_test(a_line_without_a_command_is_refused),
		cmocka_unit_test(quoted_words_may_hold_anything),
		cmocka_unit_test(a_quote_inside_of_a_word_is_a_letter),
		cmocka_unit_test(malformed_quoting_is_refused_and_the_next_line_is_read),
		cmocka_unit_test(a_nul_byte_is_refused),
		cmocka_unit_test(commands_of_one_line_have_a_bound),
		cmocka_unit_test(a_line_that_is_too_long_is_refused_once_and_skipped),
		cmocka_unit_test(what_is_skipped_is_not_kept),
		cmocka_unit_test(silence_completes_a_line_and_the_next_bytes_begin_another),
		cmocka_unit_test(json_gives_the_same_words),
		cmocka_unit_test(malformed_json_is_refused_with_the_id_if_it_was_seen),
		cmocka_unit_test(an_id_has_a_bound),
		cmocka_unit_test(a_json_connection_stays_one),
		cmocka_unit_test(every_way_to_cut_the_bytes_gives_the_same_requests),
		cmocka_unit_test(lines_around_the_limit_are_the_same_however_they_are_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
