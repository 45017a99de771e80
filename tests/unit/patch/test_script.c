#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/buf.h"
#include "parse.h"

static struct lp_patchset *parse_ok(const char *text)
{
	return parsed_by((struct reader){lp_patch_parse_script, "t.lp"}, text);
}

static void refused_len(const char *text, size_t len, const char *expected)
{
	refused_by((struct reader){lp_patch_parse_script, "t.lp"}, text, len, expected);
}

static void refused(const char *text, const char *expected)
{
	refused_len(text, strlen(text), expected);
}

static void value_is(const char *script, const void *bytes, size_t len)
{
	struct lp_patchset *ps = parse_ok(script);
	assert_int_equal(ps->nr, 1);
	assert_int_equal(ps->ops[0].kind, LP_OP_SET);
	assert_int_equal(ps->ops[0].value_len, len);
	assert_memory_equal(ps->ops[0].value, bytes, len);
	lp_patchset_free(ps);
}

/* ---- what the language means ---- */

static void the_example_of_the_first_livepatch_reads_as_it_always_did(void **state)
{
	struct lp_patchset *ps = parse_ok("dl foo patch.so\njmp func_J $foo:func1\nset str_P addr $foo:patch_message");
	assert_string_equal(ps->name, "t.lp");
	assert_int_equal(ps->nr, 3);

	const struct lp_op *dl = &ps->ops[0], *jmp = &ps->ops[1], *set = &ps->ops[2];
	assert_int_equal(dl->kind, LP_OP_DL);
	assert_string_equal(dl->mem, "foo");
	assert_string_equal(dl->path, "patch.so");
	assert_false(dl->dlopen);

	assert_int_equal(jmp->kind, LP_OP_JMP);
	assert_int_equal(jmp->at.kind, LP_ADDR_SYMBOL);
	assert_string_equal(jmp->at.symbol, "func_J");
	assert_int_equal(jmp->to.kind, LP_ADDR_MEMSYM);
	assert_string_equal(jmp->to.mem, "foo");
	assert_string_equal(jmp->to.symbol, "func1");
	assert_false(jmp->allow_active);

	assert_int_equal(set->kind, LP_OP_SET);
	assert_string_equal(set->type_name, "addr");
	assert_true(set->value_is_addr);
	assert_string_equal(set->to.symbol, "patch_message");
	assert_int_equal(set->where.line, 3);
	assert_int_equal(set->where.column, 1);
	assert_int_equal(set->to.where.column, 16);
	assert_string_equal(set->to.where.file, "t.lp");
	lp_patchset_free(ps);
}

static void comments_blank_lines_leading_blanks_and_a_byte_order_mark_change_nothing(void **state)
{
	struct lp_patchset *ps = parse_ok("\xef\xbb\xbf# first\n\n \t \n\t jmp  a\t b  # why\n  #x\nnew m 16 #");
	assert_int_equal(ps->nr, 2);
	assert_int_equal(ps->ops[0].where.line, 4);
	assert_int_equal(ps->ops[0].where.column, 3);
	assert_string_equal(ps->ops[0].to.symbol, "b");
	assert_int_equal(ps->ops[1].size, 16);
	lp_patchset_free(ps);
}

static void crlf_line_ends_are_not_part_of_values(void **state)
{
	struct lp_patchset *ps = parse_ok("set s str abc\r\nload m file name\r\nset n int 5\r");
	assert_int_equal(ps->nr, 3);
	assert_int_equal(ps->ops[0].value_len, 4);
	assert_string_equal((char *)ps->ops[0].value, "abc");
	assert_string_equal(ps->ops[1].path, "file name");
	assert_int_equal(ps->ops[2].value[0], 5);
	lp_patchset_free(ps);
}

static void integers_take_the_notations_of_strtol_and_the_width_of_their_type(void **state)
{
	static const struct {
		const char *script;
		uint64_t value;
		size_t width;
	} rows[] = {
		{"set a int 42", 42, 4},
		{"set a int -1", 0xffffffff, 4},
		{"set a int +7", 7, 4},
		{"set a int 0", 0, 4},
		{"set a int 052", 42, 4},
		{"set a int 0x2A", 42, 4},
		{"set a int -0x80000000", 0x80000000, 4},
		{"set a int 4294967295", 0xffffffff, 4},
		{"set a int32 -2147483648", 0x80000000, 4},
		{"set a int8 255", 0xff, 1},
		{"set a int8 -128", 0x80, 1},
		{"set a int16 -2", 0xfffe, 2},
		{"set a int16 65535  # port", 0xffff, 2},
		{"set a int64 -9223372036854775808", UINT64_C(0x8000000000000000), 8},
		{"set a int64 0xffffffffffffffff", UINT64_MAX, 8},
		{"set a int64 01777777777777777777777", UINT64_MAX, 8},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		value_is(rows[i].script, &rows[i].value, rows[i].width);
}

static void a_string_is_the_rest_of_the_line_verbatim_and_a_nul(void **state)
{
	value_is("set a str hello", "hello", 6);
	value_is("set a str \t two  words # not a comment \\n \"q\" ", "two  words # not a comment \\n \"q\" ",
		 sizeof "two  words # not a comment \\n \"q\" ");
	value_is("set a str", "", 1);
	value_is("set a str   ", "", 1);
	value_is("set a str \xc3\xa9\x01", "\xc3\xa9\x01", 4);
	value_is("set a str tail\r\r\n", "tail\r", 6);
}

static void hex_is_pairs_of_digits_without_a_nul(void **state)
{
	value_is("set a hex 686578", "hex", 3);
	value_is("set a hex 68 65\t78 # hex", "hex", 3);
	value_is("set a hex FFfe", "\xff\xfe", 2);
}

static void file_names_reach_to_the_end_of_the_line_or_are_quoted(void **state)
{
	struct lp_patchset *ps =
		parse_ok("load a my file#1.bin \t\nload b \" x \\\"y\\\\ \"  # why\ndl --dlopen c ../c.so\n");
	assert_string_equal(ps->ops[0].path, "my file#1.bin");
	assert_string_equal(ps->ops[1].path, " x \"y\\ ");
	assert_string_equal(ps->ops[2].path, "../c.so");
	assert_true(ps->ops[2].dlopen);
	lp_patchset_free(ps);
}

static void sizes_may_be_written_in_any_base(void **state)
{
	struct lp_patchset *ps = parse_ok("new a 0x1000\nnew b 4294967296\nnew c 1\n");
	assert_int_equal(ps->ops[0].size, 4096);
	assert_int_equal(ps->ops[1].size, LP_NEW_MAX);
	assert_int_equal(ps->ops[2].size, 1);
	lp_patchset_free(ps);
}

static void options_are_kept(void **state)
{
	struct lp_patchset *ps = parse_ok("jmp --allow-active a b\ngot libc.so.6:malloc@GLIBC_2.2.5 0x10\n");
	assert_true(ps->ops[0].allow_active);
	assert_false(ps->ops[0].clobber);
	assert_int_equal(ps->ops[1].kind, LP_OP_GOT);
	assert_string_equal(ps->ops[1].at.symbol, "libc.so.6:malloc@GLIBC_2.2.5");
	assert_int_equal(ps->ops[1].to.number, 16);
	lp_patchset_free(ps);
	ps = parse_ok("jmp --clobber a b\njmp --clobber --allow-active a b\n");
	assert_true(ps->ops[0].clobber && !ps->ops[0].allow_active);
	assert_true(ps->ops[1].clobber && ps->ops[1].allow_active);
	lp_patchset_free(ps);
}

/* ---- addresses ---- */

static void every_form_of_address_is_told_apart(void **state)
{
	static const struct {
		const char *text;
		enum lp_addr_kind kind;
		const char *mem, *symbol;
		uint64_t number;
	} rows[] = {
		{"0x401000", LP_ADDR_INT, NULL, NULL, 0x401000},
		{"4198400", LP_ADDR_INT, NULL, NULL, 4198400},
		{"0777", LP_ADDR_INT, NULL, NULL, 0777},
		{"0xffffffffffffffff", LP_ADDR_INT, NULL, NULL, UINT64_MAX},
		{"$foo", LP_ADDR_MEM, "foo", NULL, 0},
		{"$foo:0x10", LP_ADDR_MEM, "foo", NULL, 16},
		{"$foo:16", LP_ADDR_MEM, "foo", NULL, 16},
		{"$foo+16", LP_ADDR_MEM, "foo", NULL, 16},
		{"$foo:func1", LP_ADDR_MEMSYM, "foo", "func1", 0},
		{"$foo:func1+4", LP_ADDR_MEMSYM, "foo", "func1", 4},
		{"$foo:file.c:func1", LP_ADDR_MEMSYM, "foo", "file.c:func1", 0},
		{"func_J", LP_ADDR_SYMBOL, NULL, "func_J", 0},
		{"func_J+0x10", LP_ADDR_SYMBOL, NULL, "func_J", 16},
		{"file.c:func_J", LP_ADDR_SYMBOL, NULL, "file.c:func_J", 0},
		{"libc.so.6:malloc@GLIBC_2.2.5", LP_ADDR_SYMBOL, NULL, "libc.so.6:malloc@GLIBC_2.2.5", 0},
		{"malloc@@GLIBC_2.2.5+1", LP_ADDR_SYMBOL, NULL, "malloc@@GLIBC_2.2.5", 1},
		{"libstdc++.so.6:_Znwm", LP_ADDR_SYMBOL, NULL, "libstdc++.so.6:_Znwm", 0},
		{"libstdc++.so.6:_Znwm+0x2", LP_ADDR_SYMBOL, NULL, "libstdc++.so.6:_Znwm", 2},
		{"/usr/lib/my-lib-2.so:f", LP_ADDR_SYMBOL, NULL, "/usr/lib/my-lib-2.so:f", 0},
		{"7zip.so:f", LP_ADDR_SYMBOL, NULL, "7zip.so:f", 0},
		{"_ZN3foo3barEv", LP_ADDR_SYMBOL, NULL, "_ZN3foo3barEv", 0},
		{"f.isra.0", LP_ADDR_SYMBOL, NULL, "f.isra.0", 0},
		{"_ZN4core3fmt$LT$impl$GT$17h0E", LP_ADDR_SYMBOL, NULL, "_ZN4core3fmt$LT$impl$GT$17h0E", 0},
		{"main.(*T).run", LP_ADDR_SYMBOL, NULL, "main.(*T).run", 0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct lp_err err = {0};
		struct lp_addr_expr e;
		if (lp_patch_parse_addr(&e, rows[i].text, &err) < 0)
			fail_msg("%s: %s", rows[i].text, err.text);
		assert_int_equal(e.kind, rows[i].kind);
		assert_true(!e.mem == !rows[i].mem && !e.symbol == !rows[i].symbol);
		if (e.mem)
			assert_string_equal(e.mem, rows[i].mem);
		if (e.symbol)
			assert_string_equal(e.symbol, rows[i].symbol);
		assert_true(e.number == rows[i].number);
		lp_addr_expr_free(&e);
	}
}

static void a_bad_address_says_what_and_why(void **state)
{
	static const struct {
		const char *text, *message;
	} rows[] = {
		{"", "address:1:1: an address is expected"},
		{"12ab", "address:1:3: `12ab` is not an address: `a` cannot stand in a decimal number"},
		{"089", "address:1:2: `089` is not an address: `8` cannot stand in an octal number"},
		{"0x", "address:1:2: `0x` is not an address: `x` cannot stand in an octal number"},
		{"0x10g", "address:1:5: `0x10g` is not an address: `g` cannot stand in a hexadecimal number"},
		{"-16", "address:1:1: `-16` is not an address: it is negative"},
		{"0x10000000000000000",
		 "address:1:1: `0x10000000000000000` is not an address: it has more than 64 bits"},
		{"$", "address:1:2: a memory name is expected after `$`: letters, digits and _"},
		{"$1a", "address:1:2: a memory name is expected after `$`: letters, digits and _"},
		{"$foo.bar", "address:1:5: `.` cannot follow the memory name in `$foo.bar`: `:` or `+` is expected"},
		{"$foo:", "address:1:6: a symbol or an offset is expected after `$foo:`"},
		{"$foo:1x", "address:1:7: `1x` is not an offset: `x` cannot stand in a decimal number"},
		{"$foo:-4", "address:1:6: `-4` is not an offset: it is negative"},
		{"f+x", "address:1:3: `x` is not an offset: `x` cannot stand in a decimal number"},
		{"f+", "address:1:3: `` is not an offset: digits are missing"},
		{"f-4", "address:1:2: an offset can only be added to a symbol: `f-4`"},
		{"f+1+2", "address:1:2: `f+1` has more than one offset"},
		{"libc.so.6:", "address:1:11: a symbol name is missing in `libc.so.6:`"},
		{"@V", "address:1:1: a symbol name is missing in `@V`"},
		{":f", "address:1:1: nothing stands before the `:` of `:f`: a module or a source file is expected"},
		{"f@", "address:1:2: a version is missing after the `@` of `f@`"},
		{"ns::f", "address:1:1: `ns::f` looks like a C++ name: write the mangled one (nm shows it)"},
		{"a b", "address:1:3: unexpected `b` after the address"},
		{"a\x1b[31m", "address:1:2: a control character (0x1b) cannot stand in an address"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct lp_err err = {0};
		struct lp_addr_expr e;
		assert_int_equal(lp_patch_parse_addr(&e, rows[i].text, &err), -LP_EPARSE);
		assert_string_equal(err.text, rows[i].message);
	}
}

/* ---- refusals ---- */

static void an_unknown_instruction_suggests_the_nearest(void **state)
{
	refused("jpm a b", "t.lp:1:1: unknown instruction `jpm` (did you mean `jmp`?): set, new, load, dl, jmp or got "
			   "is expected");
	refused("  laod a b", "t.lp:1:3: unknown instruction `laod` (did you mean `load`?): set, new, load, dl, jmp or "
			      "got is expected");
	refused("JMP a b", "t.lp:1:1: unknown instruction `JMP`: set, new, load, dl, jmp or got is expected");
	refused("frobnicate", "t.lp:1:1: unknown instruction `frobnicate`: set, new, load, dl, jmp or got is expected");
}

static void a_missing_operand_is_named_with_the_usage(void **state)
{
	refused("jmp", "t.lp:1:4: <addr1> is missing: jmp [--allow-active] [--clobber] <addr1> <addr2>");
	refused("jmp a # b", "t.lp:1:7: <addr2> is missing: jmp [--allow-active] [--clobber] <addr1> <addr2>");
	refused("dl foo", "t.lp:1:7: <filename> is missing: dl [--dlopen] <memname> <filename>");
	refused("set a", "t.lp:1:6: <type> <value> is missing: set <addr> <type> <value>");
	refused("set a int", "t.lp:1:10: a value of type int is missing");
	refused("set a hex  # none", "t.lp:1:12: a value of type hex is missing");
	refused("new m", "t.lp:1:6: <size> is missing: new <memname> <size>");
	refused("got f", "t.lp:1:6: <addr> is missing: got <symbol> <addr>");
}

static void what_follows_a_complete_instruction_is_refused(void **state)
{
	refused("jmp a b c", "t.lp:1:9: unexpected `c` after the end of the instruction: jmp [--allow-active] "
			     "[--clobber] <addr1> <addr2>");
	refused("set a int 1 2",
		"t.lp:1:13: unexpected `2` after the end of the instruction: set <addr> <type> <value>");
	refused("dl m \"a\" b",
		"t.lp:1:10: unexpected `b` after the end of the instruction: dl [--dlopen] <memname> <filename>");
}

static void wrong_options_are_refused(void **state)
{
	refused("jmp --alow-active a b",
		"t.lp:1:5: unknown option `--alow-active`: `jmp` takes --allow-active --clobber only");
	refused("set --force a int 1", "t.lp:1:5: unknown option `--force`: `set` takes none");
}

static void wrong_values_point_at_the_byte_that_is_wrong(void **state)
{
	refused("set a flaot 1",
		"t.lp:1:7: unknown type `flaot`: int, int8, int16, int32, int64, str, hex or addr is expected");
	refused("set a imt 1", "t.lp:1:7: unknown type `imt` (did you mean `int`?): int, int8, int16, int32, int64, "
			       "str, hex or addr is expected");
	refused("set a int 12abc", "t.lp:1:13: `12abc` is not an integer: `a` cannot stand in a decimal number");
	refused("set a int 1.5", "t.lp:1:12: `1.5` is not an integer: `.` cannot stand in a decimal number");
	refused("set a int -", "t.lp:1:11: `-` is not an integer: digits are missing");
	refused("set a int 4294967296", "t.lp:1:11: `4294967296` does not fit in int: -0x80000000 to 0xffffffff");
	refused("set a int -2147483649", "t.lp:1:11: `-2147483649` does not fit in int: -0x80000000 to 0xffffffff");
	refused("set a int8 256", "t.lp:1:12: `256` does not fit in int8: -0x80 to 0xff");
	refused("set a int64 18446744073709551616",
		"t.lp:1:13: `18446744073709551616` does not fit in int64: -0x8000000000000000 to 0xffffffffffffffff");
	refused("set a hex 6g", "t.lp:1:12: `g` is not a hex digit");
	refused("set a hex 68 6", "t.lp:1:14: `6` has an odd number of hex digits: a byte is written with two");
	refused("new m 0", "t.lp:1:7: `0` is not a usable size: 1 to 4294967296 bytes");
	refused("new m -1", "t.lp:1:7: `-1` is not a usable size: 1 to 4294967296 bytes");
	refused("new m 4k", "t.lp:1:8: `4k` is not a size: `k` cannot stand in a decimal number");
	refused("new $m 4", "t.lp:1:5: `$m`: a memory name is defined without `$`");
	refused("new a-b 4", "t.lp:1:6: `a-b` is not a memory name: letters, digits and _ only, no digit first");
	refused("load m \"abc", "t.lp:1:8: the file name's closing quote is missing");
	refused("load m \"\"", "t.lp:1:8: the file name is empty");
	refused("load m \"a\\n\"", "t.lp:1:10: unknown escape in the file name: only \\\" and \\\\ are known");
	refused("got 0x10 b", "t.lp:1:5: `0x10` is not a symbol: a name that some module imports is expected");
	refused("got f+4 b", "t.lp:1:5: `f+4` has an offset: only the symbol itself can be meant here");
}

static void a_nul_byte_is_refused_where_it_stands(void **state)
{
	static const char text[] = "jmp a b\nset a str x\0y\n";
	refused_len(text, sizeof text - 1, "t.lp:2:12: a NUL byte: a script is a text file");
}

static void a_memory_name_is_defined_once_and_before_it_is_used(void **state)
{
	refused("jmp a $foo", "t.lp:1:7: memory name `$foo` is not defined: new, load or dl defines one");
	refused("jmp a $foo\n\ndl foo f", "t.lp:1:7: memory name `$foo` is used before line 3 defines it");
	refused("dl foo f\n# x\nnew foo 4",
		"t.lp:3:1: memory name `foo` is defined a second time; the first is on line 1");
	refused("new b 4\njmp a $b:f", "t.lp:2:7: `$b` has no symbols: line 1 defines it with new, not with dl");
	refused("load b f\njmp a $b:f", "t.lp:2:7: `$b` has no symbols: line 1 defines it with load, not with dl");
}

static void what_lies_outside_new_memory_is_refused(void **state)
{
	lp_patchset_free(parse_ok("new b 8\nset $b:4 int 1\nset $b addr f\njmp f $b:7"));
	refused("new b 8\njmp a $b:8", "t.lp:2:7: offset 8 lies outside `$b`, which line 1 makes 8 bytes long");
	refused("new b 8\nset $b:5 int 1",
		"t.lp:2:5: 4 bytes at offset 5 do not fit in `$b`, which line 1 makes 8 bytes long");
	refused("new b 4\nset $b addr f",
		"t.lp:2:5: 8 bytes at offset 0 do not fit in `$b`, which line 1 makes 4 bytes long");
}

static void a_refused_definition_is_not_complained_about_again_where_it_is_used(void **state)
{
	refused("dl foo\njmp a $foo:f", "t.lp:1:7: <filename> is missing: dl [--dlopen] <memname> <filename>");
}

static void all_mistakes_are_told_in_the_order_of_the_text(void **state)
{
	refused("jmp a $x\nset b imt 1\nfoo\njmp $y c\n",
		"t.lp:1:7: memory name `$x` is not defined: new, load or dl defines one\n"
		"t.lp:2:7: unknown type `imt` (did you mean `int`?): int, int8, int16, int32, int64, str, hex or addr "
		"is expected\n"
		"t.lp:3:1: unknown instruction `foo`: set, new, load, dl, jmp or got is expected\n"
		"t.lp:4:5: memory name `$y` is not defined: new, load or dl defines one");
}

static size_t count_lines(const char *s)
{
	size_t n = 1;
	for (; *s; s++)
		n += *s == '\n';
	return n;
}

static void at_most_twenty_mistakes_are_told_and_only_in_whole_lines(void **state)
{
	struct lp_buf text = {0};
	struct lp_err err = {0};
	struct lp_patchset *ps;
	for (int i = 0; i < 20; i++)
		lp_buf_str(&text, "new m 4k\n");
	assert_int_equal(lp_patch_parse_script(&ps, lp_buf_cstr(&text), text.len, "f", &err), -LP_EPARSE);
	size_t twenty = count_lines(err.text);
	lp_buf_str(&text, "new m 4k\n");
	assert_int_equal(lp_patch_parse_script(&ps, lp_buf_cstr(&text), text.len, "f", &err), -LP_EPARSE);
	assert_true(twenty <= 21);
	assert_true(count_lines(err.text) <= 21);
	assert_string_equal(err.text + strlen(err.text) - 4, "\n...");

	text.len = 0;
	for (int i = 0; i < 100000; i++)
		lp_buf_str(&text, "x\n");
	assert_int_equal(lp_patch_parse_script(&ps, lp_buf_cstr(&text), text.len, "f", &err), -LP_EPARSE);
	assert_string_equal(err.text + strlen(err.text) - 4, "\n...");
	assert_int_equal(memcmp(err.text, "f:1:1: ", 7), 0);
	lp_buf_free(&text);
}

/* ---- and back ---- */

static void dump_is(const char *script, const char *expected)
{
	struct lp_patchset *ps = parse_ok(script);
	struct lp_buf once = {0}, twice = {0};
	lp_patch_dump(ps, &once);
	assert_string_equal(lp_buf_cstr(&once), expected);
	lp_patchset_free(ps);
	ps = parse_ok(lp_buf_cstr(&once));
	lp_patch_dump(ps, &twice);
	assert_string_equal(lp_buf_cstr(&twice), lp_buf_cstr(&once));
	lp_patchset_free(ps);
	lp_buf_free(&once);
	lp_buf_free(&twice);
}

static void a_patchset_comes_back_as_the_script_that_makes_it(void **state)
{
	dump_is("", "");
	dump_is(" dl  --dlopen foo \"p q.so\" # c\r\n\njmp --clobber --allow-active func_J+16 $foo:func1+0\n",
		"dl --dlopen foo p q.so\njmp --allow-active --clobber func_J+0x10 $foo:func1\n");
	dump_is("set 0100 int 0xffffffff\nset a int8 -1\nset a int64 -9223372036854775808\n",
		"set 0x40 int -1\nset a int8 -1\nset a int64 -9223372036854775808\n");
	dump_is("set a str  x # y \nset a str\nset a str z\r\r\n", "set a str x # y \nset a str \nset a str z\r\r\n");
	dump_is("set a hex 6865 78\nset a addr libc.so.6:malloc@GLIBC_2.2.5+1\n",
		"set a hex 68 65 78\nset a addr libc.so.6:malloc@GLIBC_2.2.5+0x1\n");
	dump_is("load a \"#x\"\nload b \"\\\"\"\nload c \" \"\nload d a\\b\nload e \"x\r\"\nload f \"a\\\\b \"",
		"load a \"#x\"\nload b \"\\\"\"\nload c \" \"\nload d a\\b\nload e \"x\r\"\nload f \"a\\\\b \"\n");
	dump_is("new b 0x20\nset $b:0x10 int 1\ngot f $b\n", "new b 32\nset $b:0x10 int 1\ngot f $b\n");
}

static void same_expr(const struct lp_addr_expr *a, const struct lp_addr_expr *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_true(a->number == b->number);
	assert_string_equal(a->mem ? a->mem : "-", b->mem ? b->mem : "-");
	assert_string_equal(a->symbol ? a->symbol : "-", b->symbol ? b->symbol : "-");
}

static void same_op(const struct lp_op *a, const struct lp_op *b)
{
	assert_int_equal(a->kind, b->kind);
	same_expr(&a->at, &b->at);
	same_expr(&a->to, &b->to);
	assert_int_equal(a->value_len, b->value_len);
	if (a->value_len)
		assert_memory_equal(a->value, b->value, a->value_len);
	assert_string_equal(a->type_name ? a->type_name : "-", b->type_name ? b->type_name : "-");
	assert_string_equal(a->mem ? a->mem : "-", b->mem ? b->mem : "-");
	assert_string_equal(a->path ? a->path : "-", b->path ? b->path : "-");
	assert_true(a->size == b->size && a->dlopen == b->dlopen && a->allow_active == b->allow_active &&
		    a->value_is_addr == b->value_is_addr);
}

static uint64_t random_state = 88172645463325252u;

static unsigned pick(unsigned n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state % n);
}

static const char *any_of(const char *const *words, unsigned nr)
{
	return words[pick(nr)];
}

/* A line out of fragments that mostly fit together. */
static void add_random_line(struct lp_buf *b, unsigned i)
{
	static const char *const addrs[] = {"0x10", "f",     "f+1",   "a.c:f",	   "l++.so:f@V+0x7",
					    "$m0",  "$m0:4", "$m0+0", "_Z1fv$x.0", "7"};
	static const char *const ints[] = {"0", "-1", "0x7f", "017", "-128", "127"};
	static const char *const ends[] = {"\n", " # c\n", "\r\n", "\t\n"};
	static const char *const types[] = {"int", "int8", "int16", "int32", "int64"};
	static const char *const texts[] = {"", " x", "\t#", " a\r", " \"", " a  b ", " \x7f\xff"};
	static const char *const files[] = {"f", "a b", "\"#\"", "\" \\\\ \"", "x\\y"};
	const char *a = any_of(addrs, 10), *c = any_of(addrs, 10), *end = any_of(ends, 4);
	switch (pick(7)) {
	case 0:
		lp_buf_printf(b, "set %s %s %s%s", a, any_of(types, 5), any_of(ints, 6), end);
		break;
	case 1:
		lp_buf_printf(b, "set %s str%s\n", a, any_of(texts, 7));
		break;
	case 2:
		lp_buf_printf(b, "set %s hex 00 ff%s", a, end);
		break;
	case 3:
		lp_buf_printf(b, "set %s addr %s%s", a, c, end);
		break;
	case 4:
		lp_buf_printf(b, "jmp %s%s%s %s%s", pick(2) ? "--allow-active " : "", pick(2) ? "--clobber " : "", a, c,
			      end);
		break;
	case 5:
		lp_buf_printf(b, "got libc.so.6:x@V %s%s", c, end);
		break;
	case 6:
		lp_buf_printf(b, "dl %sm%u %s\n", pick(2) ? "--dlopen " : "", i, any_of(files, 5));
		break;
	}
}

static void any_script_that_parses_survives_dump_and_parse_unchanged(void **state)
{
	for (int round = 0; round < 2000; round++) {
		struct lp_buf text = {0}, dump = {0};
		lp_buf_str(&text, "new m0 64\n");
		for (unsigned i = 1; i < 12; i++)
			add_random_line(&text, i);
		struct lp_patchset *first = parse_ok(lp_buf_cstr(&text));
		lp_patch_dump(first, &dump);
		struct lp_patchset *second = parse_ok(lp_buf_cstr(&dump));
		assert_int_equal(first->nr, 12);
		assert_int_equal(second->nr, 12);
		for (size_t i = 0; i < first->nr; i++)
			same_op(&first->ops[i], &second->ops[i]);
		lp_patchset_free(first);
		lp_patchset_free(second);
		lp_buf_free(&text);
		lp_buf_free(&dump);
	}
}

static void a_hundred_thousand_names_are_found_without_a_walk_over_all(void **state)
{
	struct lp_buf text = {0};
	for (int i = 0; i < 100000; i++)
		lp_buf_printf(&text, "new m%d 8\nset $m%d int %d\n", i, i, i);
	struct lp_patchset *ps = parse_ok(lp_buf_cstr(&text));
	assert_int_equal(ps->nr, 200000);
	assert_string_equal(ps->ops[199999].at.mem, "m99999");
	lp_patchset_free(ps);
	lp_buf_free(&text);
}

/* ---- the prompt ---- */

static void lines_of_the_prompt_grow_one_patchset(void **state)
{
	struct lp_err err = {0};
	struct lp_patchset *ps = NULL;
	assert_int_equal(lp_patch_parse_line(&ps, "dl foo patch.so\n", 1, "-", &err), 0);
	assert_int_equal(lp_patch_parse_line(&ps, "# nothing", 2, "-", &err), 0);
	assert_int_equal(lp_patch_parse_line(&ps, "jmp f $foo:g", 3, "-", &err), 0);
	assert_int_equal(ps->nr, 2);
	assert_int_equal(ps->ops[1].where.line, 3);
	assert_string_equal(ps->ops[1].where.file, "-");
	lp_patchset_free(ps);
}

static void a_refused_line_of_the_prompt_leaves_the_patchset_as_it_was(void **state)
{
	struct lp_err err = {0};
	struct lp_patchset *ps = NULL;
	assert_int_equal(lp_patch_parse_line(&ps, "jmp f", 1, "-", &err), -LP_EPARSE);
	assert_null(ps);
	assert_int_equal(lp_patch_parse_line(&ps, "new foo 16", 1, "-", &err), 0);

	static const struct {
		const char *line, *message;
	} rows[] = {
		{"new foo 8", "-:7:1: memory name `foo` is defined a second time; the first is on line 1"},
		{"jmp f $bar", "-:7:7: memory name `$bar` is not defined: new, load or dl defines one"},
		{"dl bar", "-:7:7: <filename> is missing: dl [--dlopen] <memname> <filename>"},
		{"jmp a b\njmp c d", "-:7:8: more than one line"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(lp_patch_parse_line(&ps, rows[i].line, 7, "-", &err), -LP_EPARSE);
		assert_string_equal(err.text, rows[i].message);
		assert_int_equal(ps->nr, 1);
	}
	assert_int_equal(lp_patch_parse_line(&ps, "new bar 8", 8, "-", &err), 0);
	assert_int_equal(ps->nr, 2);
	lp_patchset_free(ps);
}

static void the_tables_list_every_instruction_and_type(void **state)
{
	size_t nr;
	const struct lp_op_syntax *ops = lp_op_syntaxes(&nr);
	assert_int_equal(nr, 6);
	for (size_t i = 0; i < nr; i++) {
		assert_int_equal(ops[i].kind, i);
		assert_true(ops[i].operands[0].text[0] == '<' && ops[i].operands[1].text[0] == '<');
		assert_true(strlen(ops[i].help) > 0);
	}
	const struct lp_value_type *types = lp_value_types(&nr);
	assert_int_equal(nr, 8);
	assert_string_equal(types[0].name, "int");
	assert_int_equal(types[0].width, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_of_the_first_livepatch_reads_as_it_always_did),
		cmocka_unit_test(comments_blank_lines_leading_blanks_and_a_byte_order_mark_change_nothing),
		cmocka_unit_test(crlf_line_ends_are_not_part_of_values),
		cmocka_unit_test(integers_take_the_notations_of_strtol_and_the_width_of_their_type),
		cmocka_unit_test(a_string_is_the_rest_of_the_line_verbatim_and_a_nul),
		cmocka_unit_test(hex_is_pairs_of_digits_without_a_nul),
		cmocka_unit_test(file_names_reach_to_the_end_of_the_line_or_are_quoted),
		cmocka_unit_test(sizes_may_be_written_in_any_base),
		cmocka_unit_test(options_are_kept),
		cmocka_unit_test(every_form_of_address_is_told_apart),
		cmocka_unit_test(a_bad_address_says_what_and_why),
		cmocka_unit_test(an_unknown_instruction_suggests_the_nearest),
		cmocka_unit_test(a_missing_operand_is_named_with_the_usage),
		cmocka_unit_test(what_follows_a_complete_instruction_is_refused),
		cmocka_unit_test(wrong_options_are_refused),
		cmocka_unit_test(wrong_values_point_at_the_byte_that_is_wrong),
		cmocka_unit_test(a_nul_byte_is_refused_where_it_stands),
		cmocka_unit_test(a_memory_name_is_defined_once_and_before_it_is_used),
		cmocka_unit_test(what_lies_outside_new_memory_is_refused),
		cmocka_unit_test(a_refused_definition_is_not_complained_about_again_where_it_is_used),
		cmocka_unit_test(all_mistakes_are_told_in_the_order_of_the_text),
		cmocka_unit_test(at_most_twenty_mistakes_are_told_and_only_in_whole_lines),
		cmocka_unit_test(a_patchset_comes_back_as_the_script_that_makes_it),
		cmocka_unit_test(any_script_that_parses_survives_dump_and_parse_unchanged),
		cmocka_unit_test(a_hundred_thousand_names_are_found_without_a_walk_over_all),
		cmocka_unit_test(lines_of_the_prompt_grow_one_patchset),
		cmocka_unit_test(a_refused_line_of_the_prompt_leaves_the_patchset_as_it_was),
		cmocka_unit_test(the_tables_list_every_instruction_and_type),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
