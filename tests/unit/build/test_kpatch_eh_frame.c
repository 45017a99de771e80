#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "build/kpatch_eh_frame.h"

#define FUNCTION UINT64_C(0x1000)

/* Functions by plain addresses, each with an exception table. */
static const uint8_t cie[] = {
	16, 0,	 0,   0,   0, 0, 0, 0, /* length, id */
	1,  'z', 'L', 'R', 0,	       /* version, what follows */
	1,  120, 16,		       /* factors, return address */
	2,  0,	 0,		       /* lsda and function: 8 bytes, absolute */
	0,
};

/* In memory that ends where the table ends: whoever reads on is seen by a sanitizer. */
static int pick(uint8_t fde_len, struct eh_tables *out)
{
	uint8_t fde[64] = {fde_len, 0, 0, 0, sizeof cie + 4, 0, 0, 0, FUNCTION & 0xff, FUNCTION >> 8};
	fde[24] = 8;	/* of the data that follow */
	fde[26] = 0x20; /* the exception table's address: 0x2000 */
	size_t len = sizeof cie + 4 + fde_len;
	uint8_t *table = malloc(len);
	assert_non_null(table);
	memcpy(table, cie, sizeof cie);
	memcpy(table + sizeof cie, fde, 4u + fde_len);
	int rc = eh_tables_pick(table, len, 0x400000, FUNCTION, FUNCTION + 1, out, NULL);
	free(table);
	return rc;
}

static void a_function_s_tables_are_found(void **state)
{
	struct eh_tables t = {.handlers = false};
	assert_int_equal(pick(32, &t), 0);
	assert_true(t.handlers);
	assert_int_equal(t.pointers.nr, 2);
	assert_int_equal(t.pointers.items[0].to, FUNCTION);
	assert_int_equal(t.pointers.items[1].to, 0x2000);
	eh_tables_free(&t);
}

static void an_entry_that_ends_anywhere_is_refused_and_not_read_beyond(void **state)
{
	for (uint8_t len = 4; len < 29; len++) {
		struct eh_tables t = {.handlers = false};
		int rc = pick(len, &t);
		if (rc >= 0)
			fail_msg("an entry of %u bytes is taken for a whole one", len);
		eh_tables_free(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_function_s_tables_are_found),
		cmocka_unit_test(an_entry_that_ends_anywhere_is_refused_and_not_read_beyond),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
