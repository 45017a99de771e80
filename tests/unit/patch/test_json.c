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
	return parsed_by((struct reader){lp_patch_parse_json, "t.json"}, text);
}

static void refused_len(const char *text, size_t len, const char *expected)
{
	refused_by((struct reader){lp_patch_parse_json, "t"}, text, len, expected);
}

static void refused(const char *text, const char *expected)
{
	refused_len(text, strlen(text), expected);
}

/* ---- what it means ---- */

static void the_documented_entries_read_as_printed(void **state)
{
	struct lp_patchset *ps = parse_ok("[\n"
					  "  {\"type\": \"INLINE\", \"addr\": \"0x4001000\", \"instr\": "
					  "\"0xD503201F\", \"desc\": \"NOP patch\"},\n"
					  "  {\"type\": \"INSERT\", \"addr\": \"0x4002000\", \"code\": \"1F2003D5\", "
					  "\"desc\": \"Вставка кода\"}\n"
					  "]\n");
	assert_int_equal(ps->nr, 2);
	const struct lp_op *word = &ps->ops[0], *insert = &ps->ops[1];
	assert_int_equal(word->kind, LP_OP_INLINE);
	assert_int_equal(word->at.number, 0x4001000);
	assert_int_equal(word->value_len, 4);
	assert_int_equal(lp_get32(word->value), 0xd503201f);
	assert_string_equal(word->desc, "NOP patch");
	assert_null(word->expect);
	assert_int_equal(insert->kind, LP_OP_INSERT);
	assert_int_equal(insert->at.number, 0x4002000);
	assert_memory_equal(insert->value, "\x1f\x20\x03\xd5", 4);
	assert_string_equal(insert->desc, "Вставка кода");
	assert_int_equal(insert->where.line, 3);
	assert_int_equal(insert->where.column, 3);
	lp_patchset_free(ps);
}

static void every_type_is_read_by_all_its_names(void **state)
{
	static const struct {
		const char *text;
		enum lp_op_kind kind;
	} rows[] = {
		{"[{\"type\": \"INLINE\", \"addr\": \"10\", \"instr\": \"0\"}]", LP_OP_INLINE},
		{"[{\"type\": \"REPLACE\", \"addr\": \"10\", \"instr\": \"0\"}]", LP_OP_INLINE},
		{"[{\"type\": \"INSERT\", \"addr\": \"10\", \"instr\": \"0\"}]", LP_OP_INSERT},
		{"[{\"type\": \"NEW_FUNC\", \"instr\": \"0\"}]", LP_OP_FUNC},
		{"[{\"type\": \"REDIRECT\", \"addr\": \"10\", \"target\": \"0x20\"}]", LP_OP_REDIRECT},
		{"[{\"type\": \"FUNCTION_REDIRECT\", \"addr\": \"10\", \"target\": \"0x20\"}]", LP_OP_REDIRECT},
		{"[{\"type\": \"NOP\", \"addr\": \"10\"}]", LP_OP_NOP},
		{"[{\"type\": \"BRANCH\", \"addr\": \"10\", \"target\": \"0x20\"}]", LP_OP_BRANCH},
	};
	for (size_t i = 0; i < LP_ARRAY_SIZE(rows); i++) {
		struct lp_patchset *ps = parse_ok(rows[i].text);
		assert_int_equal(ps->nr, 1);
		assert_int_equal(ps->ops[0].kind, rows[i].kind);
		lp_patchset_free(ps);
	}
}

static void an_entry_holds_a_place_code_expected_bytes_and_a_file(void **state)
{
	struct lp_patchset *ps = parse_ok("[{\"type\":\"INLINE\",\"symbol\":\"verify.c:check\",\"offset\":\"0x10\","
					  "\"instr\":[\"0x52800000\",3596551104],\"expect\":\"aa bb CC\\tdd\"},"
					  "{\"type\":\"NOP\",\"addr\":4096,\"file\":\"libfoo.so\"},"
					  "{\"type\":\"INSERT\",\"addr\":\"0x2000\",\"asm\":\"nop; b #0x10\"}]");
	const struct lp_op *op = &ps->ops[0];
	assert_int_equal(op->at.kind, LP_ADDR_SYMBOL);
	assert_string_equal(op->at.symbol, "verify.c:check");
	assert_int_equal(op->at.number, 0x10);
	assert_int_equal(op->value_len, 8);
	assert_int_equal(lp_get32(op->value + 4), 0xd65f03c0);
	assert_int_equal(op->expect_len, 4);
	assert_memory_equal(op->expect, "\xaa\xbb\xcc\xdd", 4);
	assert_string_equal(op->desc, "");
	assert_string_equal(ps->ops[1].file, "libfoo.so");
	assert_int_equal(ps->ops[1].at.number, 4096);
	assert_string_equal(ps->ops[2].assembly, "nop; b #0x10");
	assert_null(ps->ops[2].value);
	lp_patchset_free(ps);
}

static void a_target_is_an_address_a_symbol_or_a_function_of_the_set(void **state)
{
	struct lp_patchset *ps = parse_ok("[{\"type\":\"NEW_FUNC\",\"name\":\"fix\",\"code\":\"C0035FD6 C0035FD6\"},"
					  "{\"type\":\"BRANCH\",\"addr\":\"0\",\"target\":\"0xDEAD0\"},"
					  "{\"type\":\"BRANCH\",\"addr\":\"4\",\"target\":1048576},"
					  "{\"type\":\"BRANCH\",\"addr\":\"8\",\"target\":\"deadbeef+0x10\"},"
					  "{\"type\":\"BRANCH\",\"addr\":\"C\",\"target\":\"$fix:4\"},"
					  "{\"type\":\"REDIRECT\",\"symbol\":\"f\",\"target\":\"7zip.c:main\"},"
					  "{\"type\":\"REDIRECT\",\"symbol\":\"g\",\"target\":\"$fix\"}]");
	assert_string_equal(ps->ops[0].mem, "fix");
	assert_int_equal(ps->ops[1].to.number, 0xdead0);
	assert_int_equal(ps->ops[2].to.number, 1048576);
	assert_int_equal(ps->ops[3].to.kind, LP_ADDR_SYMBOL);
	assert_string_equal(ps->ops[3].to.symbol, "deadbeef");
	assert_int_equal(ps->ops[3].to.number, 16);
	assert_int_equal(ps->ops[4].to.kind, LP_ADDR_MEM);
	assert_string_equal(ps->ops[4].to.mem, "fix");
	assert_int_equal(ps->ops[4].to.number, 4);
	assert_string_equal(ps->ops[5].to.symbol, "7zip.c:main");
	assert_int_equal(ps->ops[6].to.kind, LP_ADDR_MEM);
	lp_patchset_free(ps);
}

static void escapes_in_keys_and_values_mean_what_they_say(void **state)
{
	struct lp_patchset *ps =
		parse_ok("[{\"t\\u0079pe\":\"N\\u004fP\",\"addr\":\"0x\\u0031\",\"desc\":\"a\\\"]}\\n\\\\\"}]");
	assert_int_equal(ps->ops[0].kind, LP_OP_NOP);
	assert_int_equal(ps->ops[0].at.number, 1);
	assert_string_equal(ps->ops[0].desc, "a\"]}\n\\");
	lp_patchset_free(ps);
}

static void a_byte_order_mark_and_crlf_change_nothing(void **state)
{
	struct lp_patchset *ps = parse_ok("\xef\xbb\xbf[\r\n{\r\n\"type\":\"NOP\",\r\n\"addr\":\"0x10\"\r\n}\r\n]\r\n");
	assert_int_equal(ps->nr, 1);
	assert_int_equal(ps->ops[0].where.line, 2);
	lp_patchset_free(ps);
}

/* ---- what is no JSON ---- */

static void what_is_no_json_is_refused_where_it_is_wrong(void **state)
{
	refused("", "t:1:1: an array of patches, [{...}, ...] is expected where the file ends");
	refused("{\"type\": \"NOP\"}", "t:1:1: an array of patches, [{...}, ...] is expected instead of `{`");
	refused("[\n", "t:2:1: unexpected token near end of file");
	refused("[{\"type\": \"NOP\", \"addr\": \"10\"}", "t:1:31: `,` or `]` is expected where the file ends");
	refused("[{\"type\": \"NOP\", \"addr\": \"10\"} {", "t:1:32: `,` or `]` is expected instead of `{`");
	refused("[{\"type\": \"NOP\", \"addr\": \"10\"},\n ]", "t:2:2: unexpected token near `]`");
	refused("[{\"type\": \"NOP\",\n  'addr': 1}]", "t:2:3: string or '}' expected near `'`");
	refused("[{\"type\" \"NOP\"}]", "t:1:10: ':' expected near `\"NOP\"`");
	refused("[{\"type\":\n\n  NOPE}]", "t:3:3: invalid token near `NOPE`");
	refused("[] []", "t:1:4: the end of the file, after the array, is expected instead of `[`");
	refused("[]\nx", "t:2:1: the end of the file, after the array, is expected instead of `x`");
	refused_len("[]\0", 3, "t:1:3: the end of the file, after the array, is expected instead of `\\x00`");
	refused("[{\"type\": \"NOP\", \"addr\": 99999999999999999999}]",
		"t:1:26: too big integer near `99999999999999999999`");
}

static void a_member_that_is_there_twice_is_refused_where_it_comes_again(void **state)
{
	refused("[{\"type\": \"NOP\", \"addr\": \"10\",\n  \"addr\": \"20\"}]",
		"t:2:3: duplicate object key near `\"addr\"`");
}

static void text_that_is_not_utf8_is_refused(void **state)
{
	refused("[{\"type\": \"NOP\", \"addr\": \"\xff\"}]", "t:1:27: unable to decode byte 0xff");
}

static void deep_nesting_is_refused_and_harmless(void **state)
{
	struct lp_buf text = {0};
	lp_buf_fill(&text, '[', 1000000);
	struct lp_err err = {0};
	struct lp_patchset *ps;
	assert_int_equal(lp_patch_parse_json(&ps, lp_buf_cstr(&text), text.len, "t", &err), -LP_EPARSE);
	assert_non_null(strstr(err.text, "maximum parsing depth reached"));
	lp_buf_free(&text);
}

/* ---- what is JSON, but no patch ---- */

static void every_mistake_is_told_with_line_and_column(void **state)
{
	refused("[\n"
		"  {\"type\": \"inline\", \"addr\": \"0x10\", \"instr\": \"0\"},\n"
		"  {\"type\": \"INLINE\", \"adr\": \"0x10\", \"instr\": \"0\"},\n"
		"  {\"addr\": \"0x14\"},\n"
		"  {\"type\": 7, \"addr\": \"0x18\"},\n"
		"  {\"type\": \"NOP\", \"addr\": \"0x1G\"},\n"
		"  {\"type\": \"NOP\", \"addr\": -4},\n"
		"  {\"type\": \"NOP\", \"addr\": 4.0},\n"
		"  {\"type\": \"NOP\", \"addr\": null, \"desc\": 5},\n"
		"  {\"type\": \"NOP\", \"addr\": \"20\", \"target\": \"$x\",\n"
		"    \"instr\": \"0\"},\n"
		"  7, [], \"x\"\n"
		"]\n",
		"t:2:12: unknown type `inline`: INLINE, INSERT, NEW_FUNC, REDIRECT, NOP or BRANCH is expected\n"
		"t:3:3: `addr` or `symbol` is missing\n"
		"t:3:22: unknown member `adr` (did you mean `addr`?)\n"
		"t:4:3: `type` is missing\n"
		"t:5:12: `type` is an integer: a string is expected\n"
		"t:6:31: `0x1G` is not an address: `G` is not a hex digit\n"
		"t:7:27: `addr` is negative\n"
		"t:8:27: `addr` is not exact: write it as a string, \"0x...\"\n"
		"t:9:27: `addr` is null: an address as a string, \"0x...\", is expected\n"
		"t:9:41: `desc` is an integer: a string is expected\n"
		"t:10:43: NOP takes no `target`\n"
		"t:11:14: NOP takes no `instr`\n"
		"t:12:3: an entry is an integer: an object is expected, {\"type\": ...}\n"
		"t:12:6: an entry is an array: an object is expected, {\"type\": ...}\n"
		"t:12:10: an entry is a string: an object is expected, {\"type\": ...}");
}

static void code_that_is_no_code_is_told_where_it_goes_wrong(void **state)
{
	refused("[{\"type\": \"INSERT\", \"addr\": \"0x4002000\", \"code\": \"...\", \"desc\": \"Insert code\"}]",
		"t:1:51: `.` is not a hex digit");
	refused("[{\"type\": \"INSERT\", \"addr\": \"10\", \"code\": \"1f 2\"}]",
		"t:1:47: `2` has an odd number of hex digits: a byte is written with two");
	refused("[{\"type\": \"INSERT\", \"addr\": \"10\", \"code\": \"0xD503201F\"}]",
		"t:1:44: `code` is bytes in the order of memory, without 0x");
	refused("[{\"type\": \"INSERT\", \"addr\": \"10\", \"code\": \"1f #\"}]", "t:1:47: `#` is not a hex digit");
	refused("[{\"type\": \"INSERT\", \"addr\": \"10\", \"code\": \"\"}]", "t:1:43: `code` is empty");
	refused("[{\"type\": \"INSERT\", \"addr\": \"10\", \"code\": \"  \"}]", "t:1:43: `code` is empty");
	refused("[{\"type\": \"INSERT\", \"addr\": \"10\", \"instr\": []}]", "t:1:44: `instr` is empty");
	refused("[{\"type\": \"INSERT\", \"addr\": \"10\"}]",
		"t:1:2: code is missing: one of `instr`, `code`, `asm` and `code_file` is expected");
	refused("[{\"type\": \"INSERT\", \"addr\": \"10\", \"instr\": \"0\", \"asm\": \"nop\"}]",
		"t:1:2: more than one form of code: one of `instr`, `code`, `asm` and `code_file` is expected");
	refused("[{\"type\": \"INLINE\", \"addr\": \"10\", \"instr\": \"1D503201F\"}]",
		"t:1:45: `1D503201F` is not an instruction: it has more than 32 bits");
	refused("[{\"type\": \"INLINE\", \"addr\": \"10\", \"instr\": [\"0\",\n  \"x\", [1, \"]\"],\n 4294967296, "
		"\"0\"]}]",
		"t:2:4: `x` is not an instruction: `x` is not a hex digit\n"
		"t:2:8: `instr` is an array: an instruction as a string, \"0x...\", is expected\n"
		"t:3:2: 4294967296 is not an instruction: it has more than 32 bits");
}

static void places_that_contradict_are_refused(void **state)
{
	refused("[{\"type\":\"NOP\",\"addr\":\"1\",\"symbol\":\"f\"}]",
		"t:1:36: `addr` and `symbol` are two places: one of them");
	refused("[{\"type\":\"NOP\",\"addr\":\"1\",\"offset\":4}]",
		"t:1:36: `offset` is for a `symbol`: add it to the address");
	refused("[{\"type\":\"NOP\",\"symbol\":\"f+4\"}]",
		"t:1:26: `f+4` has an offset: only the symbol itself can be meant here");
	refused("[{\"type\":\"NOP\",\"symbol\":\"f\",\"file\":\"libc.so.6\"}]",
		"t:1:36: `file` is for addresses: a symbol of an object is written \"libc.so.6:symbol\"");
	refused("[{\"type\":\"NOP\",\"symbol\":\"f\",\"file\":\"a\\n\\u001b[2Jb\\u007f\"}]",
		"t:1:36: `file` is for addresses: a symbol of an object is written \"a??[2Jb?:symbol\"");
	refused("[{\"type\":\"NEW_FUNC\",\"addr\":\"1\",\"instr\":\"0\"}]", "t:1:28: NEW_FUNC takes no `addr`");
	refused("[{\"type\":\"BRANCH\",\"addr\":\"1\"}]",
		"t:1:2: `target` is missing: an address, a symbol or the $name of a NEW_FUNC");
}

static void names_are_defined_once_and_before_they_are_used(void **state)
{
	refused("[{\"type\":\"BRANCH\",\"addr\":\"0\",\"target\":\"$late\"},\n"
		" {\"type\":\"NEW_FUNC\",\"name\":\"late\",\"instr\":\"0\"},\n"
		" {\"type\":\"NEW_FUNC\",\"name\":\"late\",\"instr\":\"1\"},\n"
		" {\"type\":\"BRANCH\",\"addr\":\"4\",\"target\":\"$lost\"},\n"
		" {\"type\":\"BRANCH\",\"addr\":\"8\",\"target\":\"$late+4\"},\n"
		" {\"type\":\"BRANCH\",\"addr\":\"C\",\"target\":\"$late:sym\"},\n"
		" {\"type\":\"NEW_FUNC\",\"name\":\"$x\",\"instr\":\"0\"},\n"
		" {\"type\":\"NEW_FUNC\",\"name\":\"a b\",\"instr\":\"0\"}]",
		"t:1:40: `$late` is used before line 2 defines it\n"
		"t:3:2: the name `late` is taken: the entry on line 2 has it\n"
		"t:4:40: `$lost` is not defined: a NEW_FUNC of that name is missing\n"
		"t:5:40: offset 4 lies outside `$late`, which line 2 makes 4 bytes long\n"
		"t:6:39: `$late` has no symbols: it is a function\n"
		"t:7:28: `$x`: a name is defined without `$`\n"
		"t:8:28: `a b` is not a name: letters, digits and _ only, no digit first");
}

static void a_refused_function_still_defines_its_name(void **state)
{
	refused("[{\"type\":\"NEW_FUNC\",\"name\":\"f\",\"code\":\"x\"},{\"type\":\"BRANCH\",\"addr\":\"4\",\"target\":"
		"\"$f\"}]",
		"t:1:40: `x` is not a hex digit");
}

static void two_entries_for_the_same_place_are_refused(void **state)
{
	refused("[{\"type\":\"NOP\",\"symbol\":\"f\",\"offset\":4},\n"
		" {\"type\":\"NOP\",\"symbol\":\"f\",\"offset\":8},\n"
		" {\"type\":\"INLINE\",\"symbol\":\"f\",\"instr\":[0, 0]},\n"
		" {\"type\":\"NOP\",\"addr\":4, \"file\": \"a\"}, {\"type\":\"NOP\",\"addr\":4, \"file\": \"b\"},\n"
		" {\"type\":\"BRANCH\",\"addr\":4, \"target\":\"f\", \"file\": \"b\"}]",
		"t:3:2: f is patched already by the entry on line 1\n"
		"t:5:2: 0x4 is patched already by the entry on line 4");
}

static void a_hundred_thousand_entries_read_in_linear_time(void **state)
{
	struct lp_buf text = {0};
	lp_buf_str(&text, "[");
	for (unsigned i = 0; i < 100000; i++)
		lp_buf_printf(&text, "%s{\"type\":\"NOP\",\"addr\":%u}", i ? ",\n" : "", 4 * i);
	lp_buf_str(&text, "]");
	struct lp_patchset *ps = parse_ok(lp_buf_cstr(&text));
	assert_int_equal(ps->nr, 100000);
	assert_int_equal(ps->ops[99999].where.line, 100000);
	lp_patchset_free(ps);
	lp_buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_documented_entries_read_as_printed),
		cmocka_unit_test(every_type_is_read_by_all_its_names),
		cmocka_unit_test(an_entry_holds_a_place_code_expected_bytes_and_a_file),
		cmocka_unit_test(a_target_is_an_address_a_symbol_or_a_function_of_the_set),
		cmocka_unit_test(escapes_in_keys_and_values_mean_what_they_say),
		cmocka_unit_test(a_byte_order_mark_and_crlf_change_nothing),
		cmocka_unit_test(what_is_no_json_is_refused_where_it_is_wrong),
		cmocka_unit_test(a_member_that_is_there_twice_is_refused_where_it_comes_again),
		cmocka_unit_test(text_that_is_not_utf8_is_refused),
		cmocka_unit_test(deep_nesting_is_refused_and_harmless),
		cmocka_unit_test(every_mistake_is_told_with_line_and_column),
		cmocka_unit_test(code_that_is_no_code_is_told_where_it_goes_wrong),
		cmocka_unit_test(places_that_contradict_are_refused),
		cmocka_unit_test(names_are_defined_once_and_before_they_are_used),
		cmocka_unit_test(a_refused_function_still_defines_its_name),
		cmocka_unit_test(two_entries_for_the_same_place_are_refused),
		cmocka_unit_test(a_hundred_thousand_entries_read_in_linear_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
