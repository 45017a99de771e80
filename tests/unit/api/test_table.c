/* The table of patches against a plain list of them, over many random changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/table.h"
#include "base/vec.h"

#define SPAN 0x6000 /* bytes of addresses: six pages */
#define BASE UINT64_C(0x7f0000001000)

static uint32_t seed = 1;

static uint32_t random_below(uint32_t n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % n;
}

/* Which patch covers each byte; 0 = none, else its address less BASE plus one. */
struct model {
	uint32_t over[SPAN];
	size_t nr;
};

static bool is_free(const struct model *m, uint32_t at, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++) {
		if (at + i >= SPAN || m->over[at + i])
			return false;
	}
	return true;
}

static void paint(struct model *m, uint32_t at, uint32_t size, uint32_t with)
{
	for (uint32_t i = 0; i < size; i++)
		m->over[at + i] = with;
}

static void change(struct lp_table *t, struct model *m, unsigned align)
{
	uint32_t at = random_below(SPAN / align) * align;
	uint32_t size = (1 + random_below(random_below(8) ? 3 : 1500)) * align;
	struct lp_patch *p = lp_table_find(t, BASE + at);

	if (p) {
		assert_int_equal(p->at - BASE + 1, m->over[at]);
		paint(m, (uint32_t)(p->at - BASE), p->extent, 0);
		lp_table_remove(t, p);
		m->nr--;
	} else if (is_free(m, at, size)) {
		assert_null(lp_table_overlap(t, BASE + at, size));
		p = lp_table_add(t, &(struct lp_patch){.at = BASE + at, .extent = size, .generation = at});
		assert_int_equal(p->generation, at);
		paint(m, at, size, at + 1);
		m->nr++;
	} else if (at + size <= SPAN) {
		assert_non_null(lp_table_overlap(t, BASE + at, size));
	}
}

static void compare(const struct lp_table *t, const struct model *m, unsigned align)
{
	size_t nr;
	struct lp_patch **sorted = lp_table_sorted(t, &nr);

	assert_int_equal(nr, m->nr);
	assert_int_equal(nr, lp_table_count(t));
	for (size_t i = 0; i < nr; i++) {
		assert_int_equal(m->over[sorted[i]->at - BASE], sorted[i]->at - BASE + 1);
		assert_true(!i || sorted[i - 1]->at < sorted[i]->at);
	}
	for (uint32_t at = 0; at < SPAN; at += align) {
		const struct lp_patch *p = lp_table_find(t, BASE + at);
		assert_int_equal(p ? p->at - BASE + 1 : 0, m->over[at]);
	}
	lp_free(sorted);
}

static void torture(unsigned align, bool shared)
{
	struct lp_table *t = lp_table_new(align, shared);
	struct model *m = lp_alloc(sizeof *m);
	struct lp_held held = lp_table_lock_all(t);

	for (int round = 0; round < 40; round++) {
		for (int i = 0; i < 500; i++)
			change(t, m, align);
		compare(t, m, align);
	}
	lp_table_unlock(t, held);
	lp_table_free(t);
	lp_free(m);
}

static void words_shared_by_threads(void **state)
{
	torture(4, true);
}

static void words_of_one_thread(void **state)
{
	torture(4, false);
}

static void bytes_shared_by_threads(void **state)
{
	torture(1, true);
}

static void bytes_of_one_thread(void **state)
{
	torture(1, false);
}

/* Addresses that differ by 4 GiB of instructions have the same tag. */
static void addresses_far_apart_are_told_apart(void **state)
{
	struct lp_table *t = lp_table_new(4, false);
	const uint64_t step = UINT64_C(4) << 32;

	for (uint64_t i = 0; i < 100; i++)
		lp_table_add(t, &(struct lp_patch){.at = BASE + i * step, .extent = 4, .generation = i});
	for (uint64_t i = 0; i < 100; i += 2)
		lp_table_remove(t, lp_table_find(t, BASE + i * step));
	for (uint64_t i = 0; i < 100; i++) {
		const struct lp_patch *p = lp_table_find(t, BASE + i * step);
		assert_int_equal(p != NULL, i % 2);
		assert_true(!p || p->generation == i);
	}
	lp_table_free(t);
}

static void a_patch_is_held_by_all_shards_of_its_pages(void **state)
{
	struct lp_table *t = lp_table_new(4, true);
	struct lp_patch p = {.at = BASE + 0x800, .extent = 0x4000};
	struct lp_held one = lp_table_lock(t, p.at, 4);

	assert_false(lp_table_holds(t, one, &p));
	lp_table_unlock(t, one);
	struct lp_held all = lp_table_lock(t, p.at, p.extent);
	assert_true(lp_table_holds(t, all, &p));
	lp_table_unlock(t, all);
	lp_table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_shared_by_threads),
		cmocka_unit_test(words_of_one_thread),
		cmocka_unit_test(bytes_shared_by_threads),
		cmocka_unit_test(bytes_of_one_thread),
		cmocka_unit_test(addresses_far_apart_are_told_apart),
		cmocka_unit_test(a_patch_is_held_by_all_shards_of_its_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
