#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "build/linkmap.h"

static const char gnu[] = "Archive member included to satisfy reference by file (symbol)\n\n"
			  "libx.a(y.o)                   main.o (y)\n\n"
			  "Discarded input sections\n\n"
			  " .text.dead     0x0000000000000000       0x12 main.o\n\n"
			  "Memory Configuration\n\nName             Origin             Length             Attributes\n"
			  "*default*        0x0000000000000000 0xffffffffffffffff\n\n"
			  "Linker script and memory map\n\n"
			  "LOAD main.o\n"
			  ".text           0x0000000000001050      0x1d3\n"
			  " *(.text.unlikely .text.*_unlikely .text.unlikely.*)\n"
			  " *(.text .stub .text.*)\n"
			  " .text          0x0000000000001050       0x20 main.o\n"
			  "                0x0000000000001050                main\n"
			  " *fill*         0x0000000000001070       0x10 \n"
			  " .text.a_name_longer_than_the_column\n"
			  "                0x0000000000001080       0x15 dir/with space/libx.a(y.o)\n"
			  "                0x0000000000001080                y\n"
			  " .text          0x0000000000001095        0x0 empty.o\n\n"
			  ".rodata         0x0000000000002000       0x30\n"
			  " .rodata.str1.1\n"
			  "                0x0000000000002004        0xf main.o\n"
			  "                                         0x12 (size before relaxing)\n"
			  ".a_long_output_section\n"
			  "                0x0000000000003000       0x10\n"
			  " .mine          0x0000000000003000       0x10 main.o\n"
			  ".debug_info     0x0000000000000000      0x5bf\n"
			  " .debug_info    0x0000000000000000      0x2df main.o\n"
			  " .debug_info    0x00000000000002df      0x2e0 libx.a(y.o)\n"
			  "OUTPUT(prog elf64-x86-64)\n";

static const char lld[] = "             VMA              LMA     Size Align Out     In      Symbol\n"
			  "             1c8              1c8       1c     1 .interp\n"
			  "             1c8              1c8       1c     1         <internal>:(.interp)\n"
			  "            1650             1650      153    16 .text\n"
			  "            1650             1650       20    16         main.o:(.text)\n"
			  "            1650             1650       20     1                 main\n"
			  "            1670             1670       15    16         libx.a(y.o):(.text.y)\n"
			  "            1670             1670       15     1                 y\n"
			  "               0                0      2df     1 .debug_info\n"
			  "               0                0      2df     1         main.o:(.debug_info)\n";

static const char mold[] = "               VMA       Size Align Out     In      Symbol\n"
			   "            201000         35    16 .text\n"
			   "            201000         20    16         main.o:(.text)\n"
			   "            201000          0     0                 main\n"
			   "            201020         15    16         libx.a(y.o):(.text.y)\n";

static struct lp_linkmap parse(const char *text, bool relocatable)
{
	struct lp_linkmap map;
	assert_int_equal(lp_linkmap_parse(&map, text, strlen(text), relocatable, NULL), 0);
	return map;
}

static void assert_row(const struct lp_linkmap_row *row, const char *file, const char *member, const char *section,
		       uint64_t addr, uint64_t size)
{
	assert_string_equal(row->file, file);
	if (member)
		assert_string_equal(row->member, member);
	else
		assert_null(row->member);
	assert_string_equal(row->section, section);
	assert_int_equal(row->addr, addr);
	assert_int_equal(row->size, size);
}

static void gnu_ld_says_where_each_section_of_each_object_went(void **state)
{
	struct lp_linkmap map = parse(gnu, false);
	(void)state;
	assert_int_equal(map.rows.nr, 5);
	assert_row(&map.rows.items[0], "main.o", NULL, ".text", 0x1050, 0x20);
	assert_row(&map.rows.items[1], "dir/with space/libx.a", "y.o", ".text.a_name_longer_than_the_column", 0x1080,
		   0x15);
	assert_row(&map.rows.items[2], "empty.o", NULL, ".text", 0x1095, 0);
	assert_row(&map.rows.items[3], "main.o", NULL, ".rodata.str1.1", 0x2004, 0xf);
	assert_row(&map.rows.items[4], "main.o", NULL, ".mine", 0x3000, 0x10);
	assert_string_equal(map.rows.items[4].output, ".a_long_output_section");
	lp_linkmap_free(&map);
}

static void what_gnu_ld_dropped_or_does_not_load_is_left_out(void **state)
{
	struct lp_linkmap map = parse(gnu, false);
	(void)state;
	for (size_t i = 0; i < map.rows.nr; i++) {
		assert_string_not_equal(map.rows.items[i].section, ".text.dead");
		assert_string_not_equal(map.rows.items[i].section, ".debug_info");
	}
	lp_linkmap_free(&map);
}

static void in_a_map_of_a_partial_link_addresses_are_offsets(void **state)
{
	struct lp_linkmap map = parse("Linker script and memory map\n\n"
				      ".text           0x0000000000000000       0x40\n"
				      " .text          0x0000000000000000       0x20 a.o\n"
				      " .text          0x0000000000000020       0x20 b.o\n",
				      true);
	(void)state;
	assert_int_equal(map.rows.nr, 2);
	assert_row(&map.rows.items[0], "a.o", NULL, ".text", 0, 0x20);
	assert_row(&map.rows.items[1], "b.o", NULL, ".text", 0x20, 0x20);
	lp_linkmap_free(&map);
}

static void lld_says_the_same_in_columns(void **state)
{
	struct lp_linkmap map = parse(lld, false);
	(void)state;
	assert_int_equal(map.rows.nr, 2);
	assert_row(&map.rows.items[0], "main.o", NULL, ".text", 0x1650, 0x20);
	assert_row(&map.rows.items[1], "libx.a", "y.o", ".text.y", 0x1670, 0x15);
	assert_string_equal(map.rows.items[1].output, ".text");
	lp_linkmap_free(&map);
}

static void mold_leaves_a_column_out(void **state)
{
	struct lp_linkmap map = parse(mold, false);
	(void)state;
	assert_int_equal(map.rows.nr, 2);
	assert_row(&map.rows.items[0], "main.o", NULL, ".text", 0x201000, 0x20);
	assert_row(&map.rows.items[1], "libx.a", "y.o", ".text.y", 0x201020, 0x15);
	lp_linkmap_free(&map);
}

static void anything_else_is_no_map(void **state)
{
	static const char *const texts[] = {"", "hello\n", "VMA\n", " .text 0x1 0x2 a.o\n"};
	(void)state;
	for (size_t i = 0; i < LP_ARRAY_SIZE(texts); i++) {
		struct lp_linkmap map;
		struct lp_err err = {0};
		assert_int_equal(lp_linkmap_parse(&map, texts[i], strlen(texts[i]), false, &err), -LP_EPARSE);
		lp_linkmap_free(&map);
	}
}

static void every_truncation_of_a_map_is_read_without_harm(void **state)
{
	static const char *const texts[] = {gnu, lld, mold};
	(void)state;
	for (size_t t = 0; t < LP_ARRAY_SIZE(texts); t++)
		for (size_t len = 0; len <= strlen(texts[t]); len++) {
			struct lp_linkmap map;
			char *cut = lp_memdup(texts[t], len);
			lp_linkmap_parse(&map, cut, len, false, NULL);
			lp_linkmap_free(&map);
			lp_free(cut);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gnu_ld_says_where_each_section_of_each_object_went),
		cmocka_unit_test(what_gnu_ld_dropped_or_does_not_load_is_left_out),
		cmocka_unit_test(in_a_map_of_a_partial_link_addresses_are_offsets),
		cmocka_unit_test(lld_says_the_same_in_columns),
		cmocka_unit_test(mold_leaves_a_column_out),
		cmocka_unit_test(anything_else_is_no_map),
		cmocka_unit_test(every_truncation_of_a_map_is_read_without_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
