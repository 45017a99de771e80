/*
 * kpatch_gensrc: any two texts (the input, cut at its first line of four dashes) give a merged file or a sentence; a
 * file compared with itself has no changes and comes out as it is; what the filter gives, it gives again.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "build/gensrc.h"

static void require(bool truth)
{
	if (!truth)
		abort();
}

static void compare(const struct lp_gensrc_input *before, const struct lp_gensrc_input *after, bool same)
{
	struct lp_gensrc_options o = {.syntax = LP_ASM_GUESS, .force_gotpcrel = true};
	struct lp_gensrc_summary sum = {0};
	struct lp_buf out = {0};
	struct lp_err err = {0};
	int rc = lp_gensrc_diff(&o, before, after, &out, &sum, &err);
	require(rc == 0 || (rc < 0 && err.text[0]));
	if (rc == 0 && same)
		require(sum.changed + sum.added + sum.variables == 0 && out.len >= before->len &&
			(!before->len || !memcmp(out.data, before->text, before->len)));
	lp_buf_free(&out);
}

static void filter(const struct lp_gensrc_input *in)
{
	struct lp_buf once = {0}, twice = {0};
	if (lp_gensrc_filter(in, LP_FILTER_CFI | LP_FILTER_EH_FRAME, LP_ASM_PERCENT, &once, NULL) == 0) {
		struct lp_gensrc_input again = {"again.s", lp_buf_cstr(&once), once.len};
		if (lp_gensrc_filter(&again, LP_FILTER_CFI | LP_FILTER_EH_FRAME, LP_ASM_PERCENT, &twice, NULL) == 0)
			require(once.len == twice.len && (!once.len || !memcmp(once.data, twice.data, once.len)));
	}
	lp_buf_free(&once);
	lp_buf_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char cut[] = "\n----\n";
	if (size > 65536) /* pairs of symbols are looked at one by one */
		return 0;
	const uint8_t *middle = memmem(data, size, cut, sizeof cut - 1);
	size_t first = middle ? (size_t)(middle - data) + 1 : size;
	size_t second = middle ? first + sizeof cut - 2 : size;
	struct lp_gensrc_input before = {"before.s", (const char *)data, first};
	struct lp_gensrc_input after = {"after.s", (const char *)data + second, size - second};
	compare(&before, &after, false);
	compare(&before, &before, true);
	filter(&before);
	return 0;
}
