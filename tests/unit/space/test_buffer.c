/* Memory of the caller's: words that change together or not at all, and room for code in the middle of zeroes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/bits.h"
#include "space/code.h"

#define BASE 0x10000
#define WORDS 4096

static uint32_t memory[WORDS];
static struct lp_code_space *space;
static struct lp_err err;

static int setup(void **state)
{
	for (uint32_t i = 0; i < WORDS; i++)
		memory[i] = i < WORDS / 2 ? 0x1000 + i : 0;
	err = (struct lp_err){0};
	return lp_code_open_buffer(&space, memory, sizeof memory, BASE, &err);
}

static int teardown(void **state)
{
	space->ops->close(space);
	return 0;
}

/* A change of words from what is there (plus `off`) to `value`, `value` + 1, ... */
struct change {
	uint8_t old_bytes[32], new_bytes[32];
	struct lp_code_edit edit;
};

static struct lp_code_edit make(struct change *c, size_t first, size_t nr, uint32_t value, uint32_t off)
{
	for (size_t i = 0; i < nr; i++) {
		lp_put32(c->old_bytes + 4 * i, memory[first + i] + off);
		lp_put32(c->new_bytes + 4 * i, value + (uint32_t)i);
	}
	return c->edit = (struct lp_code_edit){.at = BASE + 4 * first,
					       .len = (uint32_t)(4 * nr),
					       .old_bytes = c->old_bytes,
					       .new_bytes = c->new_bytes};
}

static void words_change_together_and_back(void **state)
{
	struct change a, b;
	struct lp_code_edit edits[2] = {make(&a, 0, 3, 7, 0), make(&b, 100, 1, 70, 0)};

	assert_int_equal(space->ops->commit(space, edits, 2, 0, &err), 0);
	assert_int_equal(memory[0], 7);
	assert_int_equal(memory[2], 9);
	assert_int_equal(memory[3], 0x1003);
	assert_int_equal(memory[100], 70);
	assert_int_equal(space->ops->undo(space, edits, 2, 0, &err), 0);
	assert_int_equal(memory[0], 0x1000);
	assert_int_equal(memory[2], 0x1002);
	assert_int_equal(memory[100], 0x1064);
}

static void one_word_that_is_another_and_none_changes(void **state)
{
	struct change a, b;
	struct lp_code_edit edits[2] = {make(&a, 0, 3, 7, 0), make(&b, 100, 1, 70, 1)};

	assert_int_equal(space->ops->commit(space, edits, 2, 0, &err), -LP_ECHANGED);
	assert_int_equal(err.addr, BASE + 400);
	assert_int_equal(memory[0], 0x1000);
	assert_int_equal(space->ops->commit(space, &edits[1], 1, 0, &err), -LP_ECHANGED);
	assert_int_equal(memory[100], 0x1064);
}

static void the_same_word_twice_is_undone_to_its_beginning(void **state)
{
	struct change a, b;
	struct lp_code_edit edits[2] = {make(&a, 0, 1, 7, 0), make(&b, 0, 1, 9, 0)};

	assert_int_equal(space->ops->commit(space, edits, 2, 0, &err), -LP_ECHANGED);
	assert_int_equal(memory[0], 0x1000);
}

static void an_exchange_goes_from_one_value_to_the_other(void **state)
{
	struct change two, one;
	struct lp_code_edit out = make(&two, 0, 2, 7, 0), in = make(&one, 1, 1, 50, 0);

	assert_int_equal(space->ops->commit(space, &out, 1, 0, &err), 0);
	assert_int_equal(space->ops->exchange(space, &out, 1, &in, 1, 0, &err), 0);
	assert_int_equal(memory[0], 0x1000);
	assert_int_equal(memory[1], 50);
	assert_int_equal(space->ops->undo(space, &in, 1, 0, &err), 0);
	assert_int_equal(memory[1], 0x1001);
}

static void an_exchange_that_cannot_be_changes_nothing(void **state)
{
	struct change two, one;
	struct lp_code_edit out = make(&two, 0, 2, 7, 0), in = make(&one, 1, 1, 50, 5);

	assert_int_equal(space->ops->commit(space, &out, 1, 0, &err), 0);
	assert_int_equal(space->ops->exchange(space, &out, 1, &in, 1, 0, &err), -LP_ECHANGED);
	assert_int_equal(memory[0], 7);
	assert_int_equal(memory[1], 8);
}

static void halves_and_what_lies_outside_are_refused(void **state)
{
	struct change c;
	struct lp_code_edit e = make(&c, 0, 1, 7, 0);

	e.at = BASE + 2;
	assert_int_equal(space->ops->commit(space, &e, 1, 0, &err), -LP_EMISALIGNED);
	e.at = BASE - 4;
	assert_int_equal(space->ops->commit(space, &e, 1, 0, &err), -LP_EOUTSIDE);
	e.at = BASE + sizeof memory;
	assert_int_equal(space->ops->commit(space, &e, 1, 0, &err), -LP_EOUTSIDE);
	e.at = UINT64_MAX - 3;
	assert_int_equal(space->ops->commit(space, &e, 1, 0, &err), -LP_EOUTSIDE);
	e.at = BASE;
	e.len = 0;
	assert_int_equal(space->ops->commit(space, &e, 1, 0, &err), -LP_EMISALIGNED);
}

static void bytes_are_read_at_any_alignment(void **state)
{
	uint8_t bytes[7];

	assert_int_equal(space->ops->read(space, BASE + 3, bytes, sizeof bytes, &err), 0);
	assert_memory_equal(bytes, (uint8_t *)memory + 3, sizeof bytes);
	assert_int_equal(space->ops->read(space, BASE + sizeof memory - 3, bytes, 4, &err), -LP_EOUTSIDE);
}

static void room_is_far_from_both_ends_of_the_zeroes(void **state)
{
	lp_addr at, next;

	assert_int_equal(space->ops->room_make(space, 0, 40, &at, &err), 0);
	assert_int_equal(at, BASE + sizeof memory * 3 / 4);
	assert_int_equal(space->ops->room_make(space, 0, 40, &next, &err), 0);
	assert_int_equal(next, at + 48);
	assert_int_equal(space->ops->room_make(space, 0, sizeof memory, &next, &err), -LP_ENOROOM);
}

static void what_the_guest_wrote_into_the_zeroes_meanwhile_is_left_alone(void **state)
{
	lp_addr at, next;

	assert_int_equal(space->ops->room_make(space, 0, 16, &at, &err), 0);
	memory[(at + 16 - BASE) / 4 + 2] = 5;
	assert_int_equal(space->ops->room_make(space, 0, 16, &next, &err), 0);
	assert_int_equal(next, at + 32);
}

static void all_of_the_zeroes_are_used_in_the_end(void **state)
{
	lp_addr at;
	size_t got = 0;

	while (space->ops->room_make(space, 0, 16, &at, &err) == 0) {
		const uint32_t code[4] = {1, 2, 3, 4};
		assert_int_equal(memory[(at - BASE) / 4], 0);
		assert_int_equal(space->ops->room_fill(space, at, code, sizeof code, &err), 0);
		got += 16;
	}
	assert_true(got > sizeof memory / 2 - 256);
	assert_int_equal(memory[WORDS / 2 - 1], 0x1000 + WORDS / 2 - 1);
}

static void room_in_a_large_memory_is_within_reach(void **state)
{
	const size_t size = UINT64_C(300) << 20;
	void *large = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct lp_code_space *s;
	static const uint64_t nears[] = {0x100000, 0x100000 + (150u << 20), 0x100000 + (299u << 20)};
	lp_addr at;

	assert_true(large != MAP_FAILED);
	assert_int_equal(lp_code_open_buffer(&s, large, size, 0x100000, &err), 0);
	for (size_t i = 0; i < LP_ARRAY_SIZE(nears); i++) {
		assert_int_equal(s->ops->room_make(s, nears[i], 64, &at, &err), 0);
		uint64_t distance = at > nears[i] ? at - nears[i] : nears[i] - at;
		assert_true(distance < s->isa->reach);
	}
	s->ops->close(s);
	munmap(large, size);
}

static void room_that_was_named_is_the_only_one(void **state)
{
	lp_addr at;

	assert_int_equal(space->ops->room_add(space, BASE + 0x3000, 32, &err), 0);
	assert_int_equal(space->ops->room_make(space, 0, 32, &at, &err), 0);
	assert_int_equal(at, BASE + 0x3000);
	assert_int_equal(space->ops->room_make(space, 0, 16, &at, &err), -LP_ENOROOM);
	assert_int_equal(space->ops->room_add(space, BASE + 0x3010, 32, &err), -LP_EOVERLAP);
	assert_int_equal(space->ops->room_add(space, BASE + sizeof memory - 16, 32, &err), -LP_EOUTSIDE);
	assert_int_equal(space->ops->room_add(space, BASE + 0x3202, 32, &err), -LP_EMISALIGNED);
}

static void dropped_room_comes_back_last_and_in_one_piece(void **state)
{
	lp_addr at[3], again;

	space->ops->room_add(space, BASE + 0x3000, 48, &err);
	for (int i = 0; i < 3; i++)
		assert_int_equal(space->ops->room_make(space, 0, 16, &at[i], &err), 0);
	space->ops->room_drop(space, at[1], 16);
	space->ops->room_drop(space, at[0], 16);
	assert_int_equal(space->ops->room_make(space, 0, 32, &again, &err), 0);
	assert_int_equal(again, at[0]);
	assert_int_equal(space->ops->room_make(space, 0, 16, &again, &err), -LP_ENOROOM);
	space->ops->room_drop(space, at[2], 16);
	assert_int_equal(space->ops->room_make(space, 0, 16, &again, &err), 0);
	assert_int_equal(again, at[2]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(words_change_together_and_back),
		T(one_word_that_is_another_and_none_changes),
		T(the_same_word_twice_is_undone_to_its_beginning),
		T(an_exchange_goes_from_one_value_to_the_other),
		T(an_exchange_that_cannot_be_changes_nothing),
		T(halves_and_what_lies_outside_are_refused),
		T(bytes_are_read_at_any_alignment),
		T(room_is_far_from_both_ends_of_the_zeroes),
		T(what_the_guest_wrote_into_the_zeroes_meanwhile_is_left_alone),
		T(all_of_the_zeroes_are_used_in_the_end),
		T(room_in_a_large_memory_is_within_reach),
		T(room_that_was_named_is_the_only_one),
		T(dropped_room_comes_back_last_and_in_one_piece),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
