#include "tool/tool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void cleans_to(const char *text, size_t len, const char *expected)
{
	struct lp_buf clean = {0};
	text_clean(&clean, text, len);
	assert_string_equal(lp_buf_cstr(&clean), expected);
	lp_buf_free(&clean);
}

#define CLEANS_TO(text, expected) cleans_to(text, sizeof(text) - 1, expected)

static void plain_text_and_its_newlines_stay(void **state)
{
	CLEANS_TO("func_J+0x12\t(target)\n", "func_J+0x12\t(target)\n");
	CLEANS_TO("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa7",
		  "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\xa7");
}

static void controls_of_every_kind_are_escaped(void **state)
{
	CLEANS_TO("\033]0;x\007", "\\x1b]0;x\\x07");
	CLEANS_TO("a\0b\r\x7f", "a\\x00b\\x0d\\x7f");
	CLEANS_TO("\xc2\x9b"
		  "2J",
		  "\\xc2\\x9b2J");	   /* U+009B, which terminals take for ESC [ */
	CLEANS_TO("\xc2\xa0", "\xc2\xa0"); /* U+00A0 is the first that is not a control */
}

static void malformed_utf8_is_escaped_byte_by_byte(void **state)
{
	CLEANS_TO("\xff", "\\xff");
	CLEANS_TO("\xc0\x8a", "\\xc0\\x8a");		       /* overlong newline */
	CLEANS_TO("\xe0\x82\x9b", "\\xe0\\x82\\x9b");	       /* overlong U+009B */
	CLEANS_TO("\xed\xa0\x80", "\\xed\\xa0\\x80");	       /* a surrogate */
	CLEANS_TO("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* beyond U+10FFFF */
	CLEANS_TO("\xe2\x82", "\\xe2\\x82");		       /* cut short by the end ... */
	CLEANS_TO("\xe2\x82z", "\\xe2\\x82z");		       /* ... or by something else */
}

static void a_sequence_never_reaches_beyond_the_given_length(void **state)
{
	assert_int_equal(utf8_length("\xe2\x82\xac", 3), 3);
	assert_int_equal(utf8_length("\xe2\x82\xac", 2), 0);
	assert_int_equal(utf8_length("\xc3\xbc", 1), 0);
	assert_int_equal(utf8_length("", 0), 0);
}

static void width_counts_what_is_shown(void **state)
{
	assert_int_equal(text_width("gr\xc3\xbc\xc3\x9f"), 4);
	assert_int_equal(text_width("\033["), 5);
	assert_int_equal(text_width(""), 0);
}

static void sizes_are_shown_in_the_unit_that_fits(void **state)
{
	char out[SHORT_TEXT];
	assert_string_equal(size_text(0, out), "0 B");
	assert_string_equal(size_text(1023, out), "1023 B");
	assert_string_equal(size_text(8192, out), "8.0 KiB");
	assert_string_equal(size_text(3 << 20, out), "3.0 MiB");
	assert_string_equal(size_text(UINT64_MAX, out), "16.0 EiB");
}

static void pauses_are_shown_in_microseconds_as_long_as_those_are_readable(void **state)
{
	char out[SHORT_TEXT];
	assert_string_equal(duration_text(87123, out), "87 us");
	assert_string_equal(duration_text(9999999, out), "10000 us");
	assert_string_equal(duration_text(12345678, out), "12.3 ms");
}

static void nouns_are_counted(void **state)
{
	char out[SHORT_TEXT];
	assert_string_equal(count_text(1, "write", out), "1 write");
	assert_string_equal(count_text(0, "thread", out), "0 threads");
	assert_string_equal(count_text(2, "patch", out), "2 patches");
	assert_string_equal(count_text(3, "process", out), "3 processes");
}

static void a_time_that_no_calendar_holds_is_shown_as_a_number(void **state)
{
	char out[SHORT_TEXT];
	assert_string_equal(time_text(INT64_MAX, out), "9223372036854775807");
	assert_string_equal(time_text(INT64_MIN, out), "-9223372036854775808");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_text_and_its_newlines_stay),
		cmocka_unit_test(controls_of_every_kind_are_escaped),
		cmocka_unit_test(malformed_utf8_is_escaped_byte_by_byte),
		cmocka_unit_test(a_sequence_never_reaches_beyond_the_given_length),
		cmocka_unit_test(width_counts_what_is_shown),
		cmocka_unit_test(sizes_are_shown_in_the_unit_that_fits),
		cmocka_unit_test(pauses_are_shown_in_microseconds_as_long_as_those_are_readable),
		cmocka_unit_test(nouns_are_counted),
		cmocka_unit_test(a_time_that_no_calendar_holds_is_shown_as_a_number),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
