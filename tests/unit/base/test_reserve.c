#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/reserve.h"
#include "base/vec.h"
#include "dies.h"

#define LARGE ((size_t)1 << 20) /* more than a heap has left over */

static char said[256];

/* From here on the kernel gives this process no memory. */
static void exhaust(void)
{
	struct rlimit none = {1, 1};
	if (setrlimit(RLIMIT_AS, &none))
		abort();
}

#define ensure(what) ((what) ? (void)0 : (fprintf(stderr, "%s\n", #what), _exit(1)))

static bool is_zero(const uint8_t *p, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (p[i])
			return false;
	return true;
}

static void alloc_without_a_reserve(void)
{
	exhaust();
	lp_alloc(LARGE);
}

static void alloc_with_a_reserve(void)
{
	lp_reserve_make();
	char *small = lp_strdup("small");
	exhaust();
	for (int i = 0; i < 10; i++) {
		uint8_t *p = lp_alloc(LARGE);
		ensure(is_zero(p, LARGE));
		memset(p, 0xee, LARGE);
		lp_free(p);
	}
	small = lp_realloc(small, LARGE);
	ensure(!strcmp(small, "small"));
	small = lp_realloc(small, 2 * LARGE - 1000);
	ensure(!strcmp(small, "small"));
	small = lp_realloc(small, 10); /* back to the heap, which has so much */
	ensure(!strcmp(small, "small") && !lp_reserve_is_low());
	lp_free(small);
}

static void ask_for_what_may_be_large(void)
{
	struct lp_buf b = {0};
	LP_VEC(uint64_t) v = {0};
	lp_reserve_make();
	exhaust();
	ensure(!lp_try_realloc(NULL, LARGE));
	ensure(lp_buf_has_room(&b, 10) && !lp_buf_has_room(&b, LARGE));
	lp_buf_str(&b, "still there");
	ensure(!strcmp(lp_buf_cstr(&b), "still there"));
	uint64_t n = 0;
	for (; lp_vec_has_room(&v); n++)
		lp_vec_push(&v, n);
	ensure(n && v.nr == v.cap && v.items[n - 1] == n - 1);
	lp_vec_push(&v, n); /* from the reserve */
	ensure(v.items[n] == n && v.items[n - 1] == n - 1 && v.items[0] == 0);
}

static void use_it_up(void)
{
	void *p[3];
	lp_reserve_make();
	exhaust();
	for (size_t i = 0; i < LP_ARRAY_SIZE(p); i++) {
		ensure(!lp_reserve_is_low());
		p[i] = lp_alloc(LARGE - 1000);
	}
	ensure(lp_reserve_is_low());
	for (size_t i = 0; i < LP_ARRAY_SIZE(p); i++)
		lp_free(p[i]);
	ensure(!lp_reserve_is_low());
	lp_alloc(4 * LARGE);
}

static void without_a_reserve_no_memory_is_the_end(void **state)
{
	assert_true(dies(alloc_without_a_reserve, said, sizeof said));
	assert_string_equal(said, "livepatch: out of memory\n");
}

static void with_one_it_is_not(void **state)
{
	assert_false(dies(alloc_with_a_reserve, said, sizeof said));
	assert_string_equal(said, "");
}

static void what_may_be_large_is_not_taken_from_it(void **state)
{
	bool died = dies(ask_for_what_may_be_large, said, sizeof said);
	assert_string_equal(said, "");
	assert_false(died);
	assert_string_equal(said, "");
}

static void it_says_when_it_is_low_and_ends_some_day(void **state)
{
	assert_true(dies(use_it_up, said, sizeof said));
	assert_string_equal(said, "livepatch: out of memory\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_reserve_no_memory_is_the_end),
		cmocka_unit_test(with_one_it_is_not),
		cmocka_unit_test(what_may_be_large_is_not_taken_from_it),
		cmocka_unit_test(it_says_when_it_is_low_and_ends_some_day),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
