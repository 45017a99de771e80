#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/buf.h"
#include "build/archive.h"

static void add_header(struct lp_buf *b, const char *name, size_t size)
{
	lp_buf_printf(b, "%-16s%-12d%-6d%-6d%-8s%-10zu`\n", name, 0, 0, 0, "100644", size);
}

static void add_member(struct lp_buf *b, const char *name, const char *text)
{
	add_header(b, name, strlen(text));
	lp_buf_str(b, text);
	if (strlen(text) & 1)
		lp_buf_str(b, "\n");
}

static struct lp_buf sample(void)
{
	struct lp_buf b = {0};
	lp_buf_str(&b, "!<arch>\n");
	add_member(&b, "/", "symbols!");
	add_member(&b, "//", "a_name_of_more_than_15_chars.o/\nother_long_name_here.o/\n");
	add_member(&b, "x.o/", "xxx");
	add_member(&b, "/0", "long");
	add_member(&b, "/32", "longer");
	return b;
}

static void members_are_found_by_their_short_and_long_names(void **state)
{
	struct lp_buf b = sample();
	struct lp_archive a;
	(void)state;
	assert_int_equal(lp_archive_parse(&a, b.data, b.len, "t", NULL), 0);
	assert_int_equal(a.members.nr, 3);
	assert_string_equal(a.members.items[0].name, "x.o");
	assert_memory_equal(a.members.items[0].bytes, "xxx", 3);
	assert_string_equal(a.members.items[1].name, "a_name_of_more_than_15_chars.o");
	assert_string_equal(a.members.items[2].name, "other_long_name_here.o");
	assert_int_equal(a.members.items[2].len, 6);
	lp_archive_free(&a);
	lp_buf_free(&b);
}

static void a_thin_archive_names_files(void **state)
{
	struct lp_buf b = {0};
	struct lp_archive a;
	(void)state;
	lp_buf_str(&b, "!<thin>\n");
	add_member(&b, "//", "sub/x.o/\n");
	add_header(&b, "/0", 1000);
	assert_int_equal(lp_archive_parse(&a, b.data, b.len, "t", NULL), 0);
	assert_int_equal(a.members.nr, 1);
	assert_string_equal(a.members.items[0].name, "sub/x.o");
	assert_null(a.members.items[0].bytes);
	lp_archive_free(&a);
	lp_buf_free(&b);
}

static void a_name_of_bsd_stands_before_the_bytes(void **state)
{
	struct lp_buf b = {0};
	struct lp_archive a;
	(void)state;
	lp_buf_str(&b, "!<arch>\n");
	add_member(&b, "#1/8", "bsd_nameBYTES");
	assert_int_equal(lp_archive_parse(&a, b.data, b.len, "t", NULL), 0);
	assert_string_equal(a.members.items[0].name, "bsd_name");
	assert_int_equal(a.members.items[0].len, 5);
	lp_archive_free(&a);
	lp_buf_free(&b);
}

static void what_is_not_an_archive_is_refused(void **state)
{
	struct lp_archive a;
	struct lp_buf b = {0};
	(void)state;
	assert_int_equal(lp_archive_parse(&a, (const uint8_t *)"!<arch>", 7, "t", NULL), -LP_EELF);
	lp_buf_str(&b, "!<arch>\n");
	add_header(&b, "x.o/", 100); /* more than there is */
	assert_int_equal(lp_archive_parse(&a, b.data, b.len, "t", NULL), -LP_EELF);
	lp_buf_free(&b);
}

static void every_truncation_is_read_without_harm(void **state)
{
	struct lp_buf b = sample();
	(void)state;
	for (size_t len = 0; len <= b.len; len++) {
		struct lp_archive a;
		uint8_t *cut = lp_memdup(b.data, len);
		if (lp_archive_parse(&a, cut, len, "t", NULL) == 0)
			lp_archive_free(&a);
		lp_free(cut);
	}
	lp_buf_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_are_found_by_their_short_and_long_names),
		cmocka_unit_test(a_thin_archive_names_files),
		cmocka_unit_test(a_name_of_bsd_stands_before_the_bytes),
		cmocka_unit_test(what_is_not_an_archive_is_refused),
		cmocka_unit_test(every_truncation_is_read_without_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
