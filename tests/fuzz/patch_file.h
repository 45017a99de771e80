/*
 * What must be true of every reader of patch files.
 */
#ifndef LP_TESTS_FUZZ_PATCH_FILE_H
#define LP_TESTS_FUZZ_PATCH_FILE_H

#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "patch/patch.h"

#define NAME "f"

typedef int reader_fn(struct lp_patchset **out, const char *text, size_t len, const char *name, struct lp_err *err);

static inline void require(bool truth)
{
	if (!truth)
		abort();
}

/* A patchset; or "f:LINE:COLUMN: sentence" or "..." on each line. */
static inline void check_outcome(const struct lp_patchset *ps, int rc, const struct lp_err *err)
{
	require(rc == 0 ? ps != NULL : !ps && rc == -LP_EPARSE && err->code == rc);
	for (const char *line = rc ? err->text : NULL; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		unsigned at[2];
		int after = 0;
		require(strcmp(line, "...") == 0 || (sscanf(line, NAME ":%u:%u: %n", &at[0], &at[1], &after) == 2 &&
						     after && at[0] && at[1] && line[after]));
	}
}

/* What was written reads as the same patchset; `written` is empty afterwards. */
static inline void check_reading_again(const struct lp_patchset *ps, struct lp_buf *written, reader_fn *read)
{
	struct lp_patchset *again;
	struct lp_err err = {0};
	require(read(&again, lp_buf_cstr(written), written->len, NAME, &err) == 0);
	require(ps->nr == again->nr);
	for (size_t i = 0; i < ps->nr; i++)
		require(lp_op_equal(&ps->ops[i], &again->ops[i]));
	lp_patchset_free(again);
	lp_buf_free(written);
}

/* Whatever format it is taken for. */
static inline void check_any_format(const uint8_t *data, size_t size)
{
	struct lp_patchset *ps;
	struct lp_err err = {0};
	int rc = lp_patch_parse(&ps, (const char *)data, size, NAME, &err);
	check_outcome(ps, rc, &err);
	lp_patchset_free(ps);
}

#endif
