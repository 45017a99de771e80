/* Build-ids in notes of either alignment, in notes that lie, and as text. */
#include "fixture.h"

#include <stdlib.h>

#include "base/bits.h"
#include "base/buf.h"

static void add_note(struct lp_buf *b, uint32_t type, const char *name, const void *desc, uint32_t len, size_t align)
{
	uint32_t header[3] = {(uint32_t)strlen(name) + 1, len, type};
	lp_buf_add(b, header, sizeof header);
	lp_buf_add(b, name, header[0]);
	lp_buf_fill(b, 0, lp_align_up(b->len, align) - b->len);
	lp_buf_add(b, desc, len);
	lp_buf_fill(b, 0, lp_align_up(b->len, align) - b->len);
}

static const uint8_t id20[20] = {0xde, 0xad, 0xbe, 0xef, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 0xff};

static void a_build_id_is_found_behind_other_notes_of_either_alignment(void **state)
{
	static const size_t aligns[] = {4, 8};
	for (size_t i = 0; i < LP_ARRAY_SIZE(aligns); i++) {
		struct lp_buf b = {0};
		struct lp_build_id id;
		add_note(&b, NT_GNU_ABI_TAG, "GNU", id20, 16, aligns[i]);
		add_note(&b, NT_GNU_BUILD_ID, "XYZ", id20, 4, aligns[i]);
		add_note(&b, 77, "Longer name", id20, 9, aligns[i]);
		add_note(&b, NT_GNU_BUILD_ID, "GNU", id20, 20, aligns[i]);
		lp_elf_build_id_from_notes(b.data, b.len, &id);
		assert_int_equal(id.len, 20);
		assert_memory_equal(id.bytes, id20, 20);
		lp_buf_free(&b);
	}
}

static void a_note_cut_anywhere_gives_no_build_id(void **state)
{
	struct lp_buf b = {0};
	struct lp_build_id id;
	add_note(&b, NT_GNU_ABI_TAG, "GNU", id20, 16, 4);
	add_note(&b, NT_GNU_BUILD_ID, "GNU", id20, 20, 4);
	for (size_t len = 0; len < b.len; len++) {
		uint8_t *cut = lp_memdup(b.data, len);
		lp_elf_build_id_from_notes(cut, len, &id);
		assert_int_equal(id.len, 0);
		lp_free(cut);
	}
	lp_buf_free(&b);
}

static void sizes_that_lie_give_no_build_id(void **state)
{
	static const uint32_t lies[] = {0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff, LP_BUILD_ID_MAX + 1, 0};
	for (size_t i = 0; i < LP_ARRAY_SIZE(lies); i++) {
		for (size_t field = 0; field < 2; field++) {
			struct lp_buf b = {0};
			struct lp_build_id id;
			add_note(&b, NT_GNU_BUILD_ID, "GNU", id20, 20, 4);
			lp_buf_fill(&b, 0, 100);
			lp_put32(b.data + 4 * field, lies[i]);
			lp_elf_build_id_from_notes(b.data, b.len, &id);
			assert_int_equal(id.len, 0);
			lp_buf_free(&b);
		}
	}
}

static void hex_and_back_is_the_same_build_id(void **state)
{
	struct lp_build_id id, back;
	char hex[2 * LP_BUILD_ID_MAX + 1];
	memcpy(id.bytes, id20, sizeof id20);
	id.len = sizeof id20;
	lp_build_id_hex(&id, hex);
	assert_string_equal(hex, "deadbeef05060708090a0b0c0d0e0f10111213ff");
	assert_true(lp_build_id_parse(hex, &back));
	assert_true(lp_build_id_equal(&id, &back));
	assert_true(lp_build_id_parse("DEADbeef05060708090a0b0c0d0e0f10111213Ff", &back));
	assert_true(lp_build_id_equal(&id, &back));
	back.bytes[19] ^= 1;
	assert_false(lp_build_id_equal(&id, &back));
}

static void text_that_is_no_build_id_is_refused(void **state)
{
	static const char *const bad[] = {"", "a", "abc", "0x12", "12 4", "gg", "-1"};
	struct lp_build_id id;
	char too_long[2 * LP_BUILD_ID_MAX + 3];
	for (size_t i = 0; i < LP_ARRAY_SIZE(bad); i++)
		assert_false(lp_build_id_parse(bad[i], &id));
	memset(too_long, 'a', sizeof too_long - 1);
	too_long[sizeof too_long - 1] = 0;
	assert_false(lp_build_id_parse(too_long, &id));
	too_long[2 * LP_BUILD_ID_MAX] = 0;
	assert_true(lp_build_id_parse(too_long, &id));
	assert_int_equal(id.len, LP_BUILD_ID_MAX);
}

static void no_build_id_equals_nothing(void **state)
{
	struct lp_build_id none = {0}, also_none = {0};
	assert_false(lp_build_id_equal(&none, &also_none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_build_id_is_found_behind_other_notes_of_either_alignment),
		cmocka_unit_test(a_note_cut_anywhere_gives_no_build_id),
		cmocka_unit_test(sizes_that_lie_give_no_build_id),
		cmocka_unit_test(hex_and_back_is_the_same_build_id),
		cmocka_unit_test(text_that_is_no_build_id_is_refused),
		cmocka_unit_test(no_build_id_equals_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
