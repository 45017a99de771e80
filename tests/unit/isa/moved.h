/*
 * What the tests of moved instructions of both architectures ask; `isa` is the
 * one that a test is about.
 */
#ifndef LP_TEST_ISA_MOVED_H
#define LP_TEST_ISA_MOVED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "isa/isa.h"

static const struct lp_isa *const isa;

static struct lp_moved moved(struct lp_move_request req)
{
	struct lp_err err = {0};
	struct lp_moved out;

	if (isa->relocate(&req, &out, &err))
		fail_msg("refused: %s", err.text);
	return out;
}

static struct lp_err refused(struct lp_move_request req, int code)
{
	struct lp_err err = {0};
	struct lp_moved out;
	int rc = isa->relocate(&req, &out, &err);

	if (rc != -code)
		fail_msg("expected %s, got %d: %s", lp_err_name(code), rc, err.text);
	assert_int_equal(err.code, rc);
	assert_true(err.text[0]);
	return err;
}

/* Pairs of offsets, both ends included. */
static void assert_map_(const struct lp_moved *m, const uint16_t (*pairs)[2], size_t nr)
{
	assert_int_equal(m->nr_map, nr);
	for (size_t i = 0; i < nr; i++) {
		assert_int_equal(m->map[i].from, pairs[i][0]);
		assert_int_equal(m->map[i].to, pairs[i][1]);
	}
}
#define assert_map(m, ...)                                   \
	assert_map_((m), (const uint16_t[][2]){__VA_ARGS__}, \
		    sizeof((const uint16_t[][2]){__VA_ARGS__}) / sizeof(uint16_t[2]))

#endif
