#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"

/* RFC 3720 appendix B.4 (the bytes there are little endian). */
static void crc32c_gives_the_values_of_the_rfc(void **state)
{
	uint8_t bytes[32];
	memset(bytes, 0, sizeof bytes);
	assert_int_equal(lp_crc32c(0, bytes, sizeof bytes), 0x8a9136aa);
	memset(bytes, 0xff, sizeof bytes);
	assert_int_equal(lp_crc32c(0, bytes, sizeof bytes), 0x62a8ab43);
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)i;
	assert_int_equal(lp_crc32c(0, bytes, sizeof bytes), 0x46dd794e);
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(31 - i);
	assert_int_equal(lp_crc32c(0, bytes, sizeof bytes), 0x113fdb5c);
	assert_int_equal(lp_crc32c(0, "123456789", 9), 0xe3069283);
}

static void crc32c_can_be_taken_in_pieces(void **state)
{
	const char *text = "123456789";
	for (size_t cut = 0; cut <= 9; cut++)
		assert_int_equal(lp_crc32c(lp_crc32c(0, text, cut), text + cut, 9 - cut), 0xe3069283);
}

static void numbers_are_little_endian_at_any_alignment(void **state)
{
	uint8_t bytes[16] = {0};
	for (size_t at = 0; at < 8; at++) {
		lp_put64(bytes + at, 0x1122334455667788);
		assert_int_equal(bytes[at], 0x88);
		assert_int_equal(bytes[at + 7], 0x11);
		assert_int_equal(lp_get64(bytes + at), 0x1122334455667788);
		assert_int_equal(lp_get32(bytes + at), 0x55667788);
		assert_int_equal(lp_get16(bytes + at), 0x7788);
		lp_put32(bytes + at, 0xcafebabe);
		lp_put16(bytes + at, 0x0102);
		assert_int_equal(lp_get64(bytes + at), 0x11223344cafe0102);
	}
}

static void a_signed_field_holds_its_two_ends_and_no_more(void **state)
{
	static const unsigned widths[] = {8, 19, 26, 32, 63};
	for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
		int64_t end = INT64_C(1) << (widths[i] - 1);
		assert_true(lp_fits_signed(end - 1, widths[i]));
		assert_true(lp_fits_signed(-end, widths[i]));
		assert_false(lp_fits_signed(end, widths[i]));
		assert_false(lp_fits_signed(-end - 1, widths[i]));
	}
	assert_true(lp_fits_signed(INT64_MIN, 64));
	assert_true(lp_fits_signed(INT64_MAX, 64));
}

static void an_unsigned_field_holds_its_largest_and_no_more(void **state)
{
	assert_true(lp_fits_unsigned(0xfff, 12));
	assert_false(lp_fits_unsigned(0x1000, 12));
	assert_true(lp_fits_unsigned(UINT64_MAX, 64));
	assert_false(lp_fits_unsigned(UINT64_MAX, 63));
}

static void ranges_are_half_open(void **state)
{
	struct lp_range r = {0x1000, 0x1005};
	assert_false(lp_range_has(r, 0xfff));
	assert_true(lp_range_has(r, 0x1000));
	assert_true(lp_range_has(r, 0x1004));
	assert_false(lp_range_has(r, 0x1005));
	assert_true(lp_range_overlaps(r, (struct lp_range){0x1004, 0x2000}));
	assert_false(lp_range_overlaps(r, (struct lp_range){0x1005, 0x2000}));
	assert_false(lp_range_overlaps(r, (struct lp_range){0, 0x1000}));
}

static void a_thread_at_the_first_byte_is_not_inside(void **state)
{
	struct lp_range r = {0x1000, 0x1005};
	assert_false(lp_range_has_inside(r, 0x1000));
	assert_true(lp_range_has_inside(r, 0x1001));
	assert_true(lp_range_has_inside(r, 0x1004));
	assert_false(lp_range_has_inside(r, 0x1005));
}

static void aligning_moves_to_the_nearest_multiple(void **state)
{
	assert_int_equal(lp_align_down(0x1fff, LP_PAGE), 0x1000);
	assert_int_equal(lp_align_down(0x1000, LP_PAGE), 0x1000);
	assert_int_equal(lp_align_up(0x1001, LP_PAGE), 0x2000);
	assert_int_equal(lp_align_up(0x1000, LP_PAGE), 0x1000);
	assert_int_equal(lp_align_up(0, LP_PAGE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc32c_gives_the_values_of_the_rfc),
		cmocka_unit_test(crc32c_can_be_taken_in_pieces),
		cmocka_unit_test(numbers_are_little_endian_at_any_alignment),
		cmocka_unit_test(a_signed_field_holds_its_two_ends_and_no_more),
		cmocka_unit_test(an_unsigned_field_holds_its_largest_and_no_more),
		cmocka_unit_test(ranges_are_half_open),
		cmocka_unit_test(a_thread_at_the_first_byte_is_not_inside),
		cmocka_unit_test(aligning_moves_to_the_nearest_multiple),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
