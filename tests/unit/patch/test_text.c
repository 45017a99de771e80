#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/buf.h"
#include "base/vec.h"
#include "parse.h"

static struct lp_patchset *parse_ok(const char *text)
{
	return parsed_by((struct reader){lp_patch_parse, "t.lpatch"}, text);
}

static void refused_len(const char *text, size_t len, const char *expected)
{
	refused_by((struct reader){lp_patch_parse_text, "t"}, text, len, expected);
}

static void refused(const char *text, const char *expected)
{
	refused_len(text, strlen(text), expected);
}

static void is_word(const struct lp_op *op, lp_addr at, uint32_t word, const char *desc)
{
	assert_int_equal(op->kind, LP_OP_INLINE);
	assert_int_equal(op->at.kind, LP_ADDR_INT);
	assert_int_equal(op->at.number, at);
	assert_int_equal(op->value_len, 4);
	assert_int_equal(lp_get32(op->value), word);
	assert_string_equal(op->desc, desc);
}

static void the_documented_file_reads_as_printed(void **state)
{
	struct lp_patchset *ps = parse_ok("# Comment\n"
					  "# Format: address instruction description\n"
					  "4001000 D503201F NOP patch for debugging\n"
					  "4002000 14000001 Jump to error handler\n"
					  "4003000 12345678 Custom instruction\n");
	assert_string_equal(ps->name, "t.lpatch");
	assert_int_equal(ps->nr, 3);
	is_word(&ps->ops[0], 0x4001000, 0xd503201f, "NOP patch for debugging");
	is_word(&ps->ops[1], 0x4002000, 0x14000001, "Jump to error handler");
	is_word(&ps->ops[2], 0x4003000, 0x12345678, "Custom instruction");
	assert_int_equal(ps->ops[1].where.line, 4);
	assert_int_equal(ps->ops[1].where.column, 1);
	assert_string_equal(ps->ops[1].where.file, "t.lpatch");
	lp_patchset_free(ps);
}

static void numbers_are_hexadecimal_with_or_without_0x_in_either_case(void **state)
{
	struct lp_patchset *ps =
		parse_ok("0x10 0xd503201f\n0XfF 1f\nffffffffffffff00 00000000d503201F\n00000000000000000020 0\n");
	assert_int_equal(ps->nr, 4);
	is_word(&ps->ops[0], 0x10, 0xd503201f, "");
	is_word(&ps->ops[1], 0xff, 0x1f, "");
	is_word(&ps->ops[2], 0xffffffffffffff00, 0xd503201f, "");
	is_word(&ps->ops[3], 0x20, 0, "");
	lp_patchset_free(ps);
}

static void byte_order_mark_crlf_blank_lines_and_leading_blanks_change_nothing(void **state)
{
	struct lp_patchset *ps = parse_ok(
		"\xef\xbb\xbf# first\r\n\r\n \t\r\n\t 40  D503201F \t the text  \r\n  # x\r\n44 D503201F last\r");
	assert_int_equal(ps->nr, 2);
	is_word(&ps->ops[0], 0x40, 0xd503201f, "the text");
	is_word(&ps->ops[1], 0x44, 0xd503201f, "last");
	assert_int_equal(ps->ops[0].where.line, 4);
	assert_int_equal(ps->ops[0].where.column, 3);
	lp_patchset_free(ps);
}

static void a_description_is_the_rest_of_the_line_hash_signs_and_utf8_included(void **state)
{
	struct lp_patchset *ps = parse_ok("4002000 14000001 Переход # к обработчику, \"so\"\n4002004 14000001 # 7\n");
	is_word(&ps->ops[0], 0x4002000, 0x14000001, "Переход # к обработчику, \"so\"");
	is_word(&ps->ops[1], 0x4002004, 0x14000001, "# 7");
	lp_patchset_free(ps);
}

static void several_instructions_are_joined_by_commas(void **state)
{
	struct lp_patchset *ps = parse_ok("1000 52800000,0xD65F03C0 return 0\n");
	assert_int_equal(ps->nr, 1);
	assert_int_equal(ps->ops[0].value_len, 8);
	assert_int_equal(lp_get32(ps->ops[0].value), 0x52800000);
	assert_int_equal(lp_get32(ps->ops[0].value + 4), 0xd65f03c0);
	assert_string_equal(ps->ops[0].desc, "return 0");
	lp_patchset_free(ps);
}

static void a_file_without_entries_is_an_empty_set(void **state)
{
	static const char *const files[] = {"", "\n\n", "# nothing\n", "\xef\xbb\xbf", " \t", "[]", " [ ] \r\n"};
	for (size_t i = 0; i < LP_ARRAY_SIZE(files); i++) {
		struct lp_patchset *ps = parse_ok(files[i]);
		assert_int_equal(ps->nr, 0);
		lp_patchset_free(ps);
	}
}

static void each_bad_line_is_reported_with_its_place(void **state)
{
	refused("4001000 D503201F fine\n"
		"40O1000 D503201F a letter for a digit\n"
		"4002000\n"
		"4003000 D503201FF too long\n"
		"4004000 NOP\n"
		"12345678901234567 D503201F\n"
		"0x D503201F\n"
		"4005000 D503201F,\n"
		"4006000 # no instruction\n",
		"t:2:3: `40O1000` is not an address: `O` is not a hex digit\n"
		"t:3:8: an instruction is missing after the address\n"
		"t:4:9: `D503201FF` is not an instruction: it has more than 32 bits\n"
		"t:5:9: `NOP` is not an instruction: `N` is not a hex digit\n"
		"t:6:1: `12345678901234567` is not an address: it has more than 64 bits\n"
		"t:7:1: `0x` is not an address: digits are missing\n"
		"t:8:18: `` is not an instruction: digits are missing\n"
		"t:9:9: an instruction is missing after the address");
}

static void a_nul_byte_and_control_characters_are_named(void **state)
{
	refused_len("10 D503201F\n14 D50\0 x\n", 22, "t:2:7: a NUL byte: a patch file is text");
	refused("10 D5\x1b[31m\n", "t:1:6: `D5\\x1b[31m` is not an instruction: `\\x1b` is not a hex digit");
}

static void two_entries_for_the_same_bytes_are_refused_where_the_second_stands(void **state)
{
	refused("1000 D503201F\n2000 D503201F,D503201F,D503201F\n1000 D65F03C0\n 2008 D65F03C0\n200C D65F03C0\n",
		"t:3:1: 0x1000 is patched already by the entry on line 1\n"
		"t:4:2: 0x2008 is patched already by the entry on line 2");
	refused("2004 D503201F\n2000 D503201F,D503201F\n", "t:2:1: 0x2000 is patched already by the entry on line 1");
}

static void an_entry_at_the_end_of_the_address_space_overlaps_only_itself(void **state)
{
	struct lp_patchset *ps = parse_ok("fffffffffffffffc D503201F\n0 D503201F\n");
	assert_int_equal(ps->nr, 2);
	lp_patchset_free(ps);
	refused("fffffffffffffff8 D503201F,D503201F\nfffffffffffffffc D503201F\n",
		"t:2:1: 0xfffffffffffffffc is patched already by the entry on line 1");
}

static void twenty_complaints_are_shown_and_then_dots(void **state)
{
	struct lp_buf text = {0}, expected = {0};
	for (int i = 1; i <= 30; i++) {
		lp_buf_str(&text, "4z\n");
		if (i <= 20)
			lp_buf_printf(&expected, "t:%d:2: `4z` is not an address: `z` is not a hex digit\n", i);
	}
	lp_buf_str(&expected, "...");
	refused(lp_buf_cstr(&text), lp_buf_cstr(&expected));
	lp_buf_free(&text);
	lp_buf_free(&expected);
}

static void a_hundred_thousand_lines_read_in_linear_time(void **state)
{
	struct lp_buf text = {0};
	for (unsigned i = 0; i < 100000; i++)
		lp_buf_printf(&text, "%x D503201F patch number %u\n", 0x400000 + 4 * (99999 - i), i);
	struct lp_patchset *ps = parse_ok(lp_buf_cstr(&text));
	assert_int_equal(ps->nr, 100000);
	is_word(&ps->ops[99999], 0x400000, 0xd503201f, "patch number 99999");
	lp_patchset_free(ps);
	lp_buf_free(&text);
}

/* ---- which format a file is in ---- */

static void the_format_is_told_by_content(void **state)
{
	static const struct {
		const char *text;
		enum lp_op_kind kind;
	} rows[] = {
		{"# script\n\njmp a b\n", LP_OP_JMP},
		{"\xef\xbb\xbf dl foo patch.so\n", LP_OP_DL},
		{"set s str 4001000 D503201F\n", LP_OP_SET},
		{"# text\nabc D503201F\n", LP_OP_INLINE},
		{"\r\n \n4001000 D503201F\n", LP_OP_INLINE},
		{"\xef\xbb\xbf\r\n [{\"type\": \"NOP\", \"addr\": \"0x10\"}]", LP_OP_NOP},
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(rows); i++) {
		struct lp_patchset *ps = parse_ok(rows[i].text);
		assert_int_equal(ps->nr, 1);
		assert_int_equal(ps->ops[0].kind, rows[i].kind);
		lp_patchset_free(ps);
	}
}

static void refused_as(const char *text, size_t len, const char *expected)
{
	struct lp_err err = {0};
	struct lp_patchset *ps;
	assert_int_equal(lp_patch_parse(&ps, text, len, "t", &err), -LP_EPARSE);
	assert_null(ps);
	assert_string_equal(err.text, expected);
}

static void what_was_meant_to_be_text_or_json_is_told_as_such(void **state)
{
	refused_as("4O01000 D503201F", 16, "t:1:2: `4O01000` is not an address: `O` is not a hex digit");
	refused_as("{}", 2, "t:1:1: an array of patches, [{...}, ...] is expected instead of `{`");
	refused_as("patch 10 D503201F", 17,
		   "t:1:1: unknown instruction `patch`: set, new, load, dl, jmp or got is expected");
	refused_as("KPATCH1", 8, "t:1:1: this is a .kpatch file: the tool applies it to a process");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_documented_file_reads_as_printed),
		cmocka_unit_test(numbers_are_hexadecimal_with_or_without_0x_in_either_case),
		cmocka_unit_test(byte_order_mark_crlf_blank_lines_and_leading_blanks_change_nothing),
		cmocka_unit_test(a_description_is_the_rest_of_the_line_hash_signs_and_utf8_included),
		cmocka_unit_test(several_instructions_are_joined_by_commas),
		cmocka_unit_test(a_file_without_entries_is_an_empty_set),
		cmocka_unit_test(each_bad_line_is_reported_with_its_place),
		cmocka_unit_test(a_nul_byte_and_control_characters_are_named),
		cmocka_unit_test(two_entries_for_the_same_bytes_are_refused_where_the_second_stands),
		cmocka_unit_test(an_entry_at_the_end_of_the_address_space_overlaps_only_itself),
		cmocka_unit_test(twenty_complaints_are_shown_and_then_dots),
		cmocka_unit_test(a_hundred_thousand_lines_read_in_linear_time),
		cmocka_unit_test(the_format_is_told_by_content),
		cmocka_unit_test(what_was_meant_to_be_text_or_json_is_told_as_such),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
