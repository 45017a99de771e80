/*
 * What the tests of the readers share: a text is read, or it is refused in
 * these very words.  Each test says once which reader it is about:
 *
 *     static struct lp_patchset *parse_ok(const char *text)
 *     {
 *             return parsed_by((struct reader){lp_patch_parse_json, "t.json"}, text);
 *     }
 *
 * Included after <cmocka.h> and what that wants.
 */
#ifndef LP_TEST_PATCH_PARSE_H
#define LP_TEST_PATCH_PARSE_H

#include <string.h>

#include "patch/patch.h"

/* lp_patch_parse() or one of its like, and the file name that it is told. */
struct reader {
	int (*parse)(struct lp_patchset **out, const char *text, size_t len, const char *name, struct lp_err *err);
	const char *name;
};

/* The caller frees it; the test fails when the text is refused. */
static inline struct lp_patchset *parsed_by(struct reader r, const char *text)
{
	struct lp_err err = {0};
	struct lp_patchset *ps = NULL;
	if (r.parse(&ps, text, strlen(text), r.name, &err) < 0)
		fail_msg("refused: %s\n%s", text, err.text);
	assert_non_null(ps);
	return ps;
}

/* The whole message: places, sentences, order. */
static inline void refused_by(struct reader r, const char *text, size_t len, const char *expected)
{
	struct lp_err err = {0};
	struct lp_patchset *ps = (void *)1;
	assert_int_equal(r.parse(&ps, text, len, r.name, &err), -LP_EPARSE);
	assert_null(ps);
	assert_int_equal(err.code, -LP_EPARSE);
	assert_string_equal(err.text, expected);
}

#endif
