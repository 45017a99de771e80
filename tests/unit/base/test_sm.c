#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/sm.h"
#include "dies.h"

enum { OPEN, PREPARED, COMMITTED, ABORTED };

static const struct lp_sm_state states[] = {
	[OPEN] = {"open", LP_SM(PREPARED) | LP_SM(ABORTED)},
	[PREPARED] = {"prepared", LP_SM(COMMITTED) | LP_SM(ABORTED)},
	[COMMITTED] = {"committed", 0},
	[ABORTED] = {"aborted", 0},
};

static struct lp_sm machine = {"a transaction", states, OPEN};

static void lawful_moves_are_made(void **state)
{
	struct lp_sm sm = machine;
	lp_sm_move(&sm, PREPARED);
	assert_int_equal(sm.now, PREPARED);
	lp_sm_move(&sm, COMMITTED);
	assert_int_equal(sm.now, COMMITTED);
}

static void only_what_the_row_lists_is_lawful(void **state)
{
	struct lp_sm sm = machine;
	assert_true(lp_sm_may(&sm, PREPARED));
	assert_true(lp_sm_may(&sm, ABORTED));
	assert_false(lp_sm_may(&sm, OPEN));
	assert_false(lp_sm_may(&sm, COMMITTED));
	assert_false(lp_sm_may(&sm, 32));
	sm.now = COMMITTED;
	for (unsigned to = OPEN; to <= ABORTED; to++)
		assert_false(lp_sm_may(&sm, to));
}

static void skip_preparation(void)
{
	lp_sm_move(&machine, COMMITTED);
}

static void an_unlawful_move_ends_the_program_saying_which(void **state)
{
	char said[4096];
	assert_true(dies(skip_preparation, said, sizeof said));
	assert_non_null(strstr(said, "a transaction may not go from open to committed"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lawful_moves_are_made),
		cmocka_unit_test(only_what_the_row_lists_is_lawful),
		cmocka_unit_test(an_unlawful_move_ends_the_program_saying_which),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
