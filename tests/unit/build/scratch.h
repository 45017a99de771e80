/*
 * A directory of its own for each test:
 *
 *     cmocka_unit_test_setup_teardown(a_test, scratch_make, scratch_remove)
 *
 * Included after <cmocka.h> and what that wants.
 */
#ifndef LP_TEST_BUILD_SCRATCH_H
#define LP_TEST_BUILD_SCRATCH_H

#include <stdlib.h>

#include "build/remove.h"
#include "build/tree.h"

static char *scratch; /* its path, while a test runs */

static int scratch_make(void **state)
{
	char path[] = "/tmp/lp-build-XXXXXX";
	scratch = lp_strdup(mkdtemp(path));
	return scratch ? 0 : -1;
}

static int scratch_remove(void **state)
{
	lp_tree_remove(scratch, NULL);
	lp_free(scratch);
	return 0;
}

#endif
