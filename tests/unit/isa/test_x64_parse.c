/*
 * Our decoder of x86-64, beside Zydis (x64_oracle.h): instructions as compilers make them, and all opcodes with all that
 * may stand before and behind them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "isa/x64/parse.h"
#include "object.h"
#include "x64_oracle.h"

/* What was compared so far. */
static struct {
	size_t tried, accepted;
} sum;

static void fail_on(const uint8_t *code, size_t len, const char *what)
{
	char hex[3 * X64_INSN_MAX + 1] = "", text[96];

	for (size_t i = 0; i < X64_INSN_MAX && i < len; i++)
		snprintf(hex + 3 * i, 4, "%02x ", code[i]);
	if (!lp_x64_disasm(code, len, 0x401000, text, sizeof text))
		strcpy(text, "no instruction");
	fail_msg("%s: %s(%s)", what, hex, text);
}

/* Returns how many bytes to go on by. */
static size_t compare(const uint8_t *code, size_t len)
{
	size_t n;
	const char *difference = x64_difference(code, len, &n);

	if (difference)
		fail_on(code, len, difference);
	sum.tried++;
	sum.accepted += n != 0;
	return n ? n : 1;
}

/* ---- code as compilers make it ---- */

static void compare_text(const char *path)
{
	if (access(path, R_OK))
		return;
	struct object o = object_open(path);
	const Elf64_Shdr *text = object_section(&o, ".text");
	const uint8_t *code = o.bytes + text->sh_offset;
	const size_t before = sum.accepted;

	for (size_t at = 0; at < text->sh_size;)
		at += compare(code + at, text->sh_size - at);
	print_message("%s: %zu instructions\n", path, sum.accepted - before);
	object_close(&o);
}

static void every_instruction_of_large_programs_is_as_zydis_has_it(void **state)
{
	static const char *const paths[] = {
		"/lib/x86_64-linux-gnu/libc.so.6",
		"/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
		"/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
		"/usr/lib/x86_64-linux-gnu/libLLVM-14.so.1",
		"/usr/bin/redis-server",
		"/usr/bin/python3",
	};

	sum.accepted = 0;
	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
		compare_text(paths[i]);
	assert_true(sum.accepted > 100000);
}

/* ---- all opcodes ---- */

static uint64_t seed;

/* xorshift64: the same numbers on every run */
static uint64_t random_bits(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void fill(uint8_t *code, size_t from)
{
	for (; from < 16; from++)
		code[from] = (uint8_t)(random_bits() >> 24);
}

static size_t put(uint8_t *code, size_t at, const char *bytes)
{
	memcpy(code + at, bytes, strlen(bytes));
	return at + strlen(bytes);
}

static int begin(void **state)
{
	seed = UINT64_C(88172645463325252);
	sum.tried = sum.accepted = 0;
	return 0;
}

static int end(void **state)
{
	print_message("%zu of %zu are instructions\n", sum.accepted, sum.tried);
	return 0;
}

static void compare_all_modrm(const char *prefixes, const char *escape, unsigned opcode)
{
	uint8_t code[16];
	size_t n = put(code, put(code, 0, prefixes), escape);

	code[n] = (uint8_t)opcode;
	for (unsigned modrm = 0; modrm < 256; modrm++) {
		code[n + 1] = (uint8_t)modrm;
		fill(code, n + 2);
		compare(code, sizeof code);
	}
}

static void every_opcode_with_every_prefix_and_modrm_is_the_same_to_both(void **state)
{
	static const char *const prefixes[] = {
		"",	    "\x66",	    "\xf3",	"\xf2",	    "\x66\xf3", "\xf2\x66", "\xf3\xf2",
		"\xf0",	    "\x67",	    "\x48",	"\x44",	    "\x41",	"\x4f",	    "\x66\x48",
		"\xf3\x48", "\xf2\x48",	    "\x66\x67", "\x48\x66", "\x2e\x64", "\x48\x41", "\xf2\xf0",
		"\xf3\xf0", "\xf0\x66\x4c", "\x66\xf0", "\xf3\x4d", "\x67\x42",
	};
	static const char *const escapes[] = {"", "\x0f", "\x0f\x38", "\x0f\x3a"};

	for (size_t p = 0; p < sizeof prefixes / sizeof prefixes[0]; p++) {
		for (size_t e = 0; e < sizeof escapes / sizeof escapes[0]; e++) {
			for (unsigned opcode = 0; opcode < 256; opcode++)
				compare_all_modrm(prefixes[p], escapes[e], opcode);
		}
	}
	assert_true(sum.accepted > 1000000);
}

static void every_opcode_of_the_short_vex_is_the_same_to_both(void **state)
{
	char prefix[3] = "\xc5";

	for (unsigned byte = 1; byte < 256; byte += 2) { /* 0 would end the string; the rest has an even pp beside it */
		prefix[1] = (char)byte;
		for (unsigned opcode = 0; opcode < 256; opcode++)
			compare_all_modrm(prefix, "", opcode);
	}
	assert_true(sum.accepted > 100000);
}

/* c4 and 8f: R X B map, W vvvv L pp, opcode.  What vvvv is not used by is #UD for 15 of 16, so most are 1111. */
static void compare_vex3(uint8_t first, unsigned map, unsigned opcode, unsigned tries)
{
	uint8_t code[16] = {first};

	for (unsigned byte = 0; byte < 256; byte++) {
		for (unsigned i = 0; i < tries; i++) {
			fill(code, 1);
			code[1] = (uint8_t)((code[1] & 0xe0) | (i & 1 ? 0xe0 : 0) | map);
			code[2] = (uint8_t)byte;
			code[3] = (uint8_t)opcode;
			code[4] |= i & 2 ? 0xc0 : 0;
			compare(code, sizeof code);
		}
	}
}

static void every_opcode_of_vex_and_xop_is_the_same_to_both(void **state)
{
	for (unsigned map = 0; map < 32; map++) {
		for (unsigned opcode = 0; opcode < 256; opcode++) {
			compare_vex3(0xc4, map, opcode, map >= 1 && map <= 3 ? 8 : 1);
			if (map >= 8)
				compare_vex3(0x8f, map, opcode, map <= 10 ? 4 : 1);
		}
	}
	assert_true(sum.accepted > 100000);
}

/* Random bits, of which each try makes some what most instructions want: otherwise hardly any would be one. */
static void make_evex(uint8_t code[16], unsigned map, unsigned opcode, unsigned i)
{
	fill(code, 0);
	code[0] = 0x62;
	code[1] = (uint8_t)((code[1] & 0xf0) | (i & 1 ? 0xf0 : 0) | map);
	code[2] |= i % 16 ? 4 : 0;
	code[2] |= i & 2 ? 0x78 : 0;	/* vvvv */
	code[3] |= i & 2 ? 8 : 0;	/* V' */
	code[3] &= i & 4 ? 0xff : 0x6f; /* z, b */
	code[3] &= i & 8 ? 0xff : 0xf8; /* aaa */
	code[4] = (uint8_t)opcode;
	code[5] |= i & 16 ? 0xc0 : 0;
	if (i & 32 && !(i & 16))
		code[5] = (uint8_t)((code[5] & 0xf8) | 4);
}

static void every_opcode_of_evex_is_the_same_to_both(void **state)
{
	uint8_t code[16];

	for (unsigned map = 0; map < 16; map++) {
		for (unsigned opcode = 0; opcode < 256; opcode++) {
			for (unsigned i = 0; i < (map < 8 ? 4096 : 64); i++) {
				make_evex(code, map, opcode, i);
				compare(code, sizeof code);
			}
		}
	}
	assert_true(sum.accepted > 100000);
}

static void random_bytes_are_the_same_to_both(void **state)
{
	static const uint8_t likely[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x64, 0x48,
					 0x4f, 0x0f, 0xc4, 0xc5, 0x62, 0x8f, 0xff, 0x0f};
	uint8_t code[16];

	for (size_t i = 0; i < 2000000; i++) {
		fill(code, 0);
		for (size_t n = random_bits() % 4; n--;)
			code[n] = likely[random_bits() % sizeof likely];
		compare(code, 1 + random_bits() % sizeof code);
	}
	assert_true(sum.accepted > 500000);
}

/* ---- the table ---- */

static void the_table_is_in_order(void **state)
{
	for (const struct lp_x64_row *row = lp_x64_rows(0) + 1; row < lp_x64_rows_end; row++) {
		bool is_same = row->first == row[-1].first && row->last == row[-1].last;

		if (row->first > row->last || (!is_same && row->first <= row[-1].last))
			fail_msg("row %x to %x is out of order", row->first, row->last);
		if (is_same && (row->has & X64_HAS_MODRM) != (row[-1].has & X64_HAS_MODRM))
			fail_msg("row %x has a ModRM now and then", row->first);
	}
}

static void what_is_longer_than_fifteen_bytes_or_than_there_are_is_no_instruction(void **state)
{
	static const uint8_t nop[16] = {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
					0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90};
	struct lp_x64_fields f;

	assert_false(lp_x64_parse(nop, sizeof nop, &f));
	assert_true(lp_x64_parse(nop + 1, sizeof nop - 1, &f));
	assert_int_equal(f.len, 15);
	for (size_t len = 0; len < 15; len++)
		assert_false(lp_x64_parse(nop + 1, len, &f));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_is_in_order),
		cmocka_unit_test(what_is_longer_than_fifteen_bytes_or_than_there_are_is_no_instruction),
		cmocka_unit_test_setup_teardown(every_instruction_of_large_programs_is_as_zydis_has_it, begin, end),
		cmocka_unit_test_setup_teardown(every_opcode_with_every_prefix_and_modrm_is_the_same_to_both, begin,
						end),
		cmocka_unit_test_setup_teardown(every_opcode_of_the_short_vex_is_the_same_to_both, begin, end),
		cmocka_unit_test_setup_teardown(every_opcode_of_vex_and_xop_is_the_same_to_both, begin, end),
		cmocka_unit_test_setup_teardown(every_opcode_of_evex_is_the_same_to_both, begin, end),
		cmocka_unit_test_setup_teardown(random_bytes_are_the_same_to_both, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
