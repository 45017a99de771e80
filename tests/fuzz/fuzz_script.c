/*
 * The script reader: any bytes give a patchset or complaints in their form; a
 * patchset survives dump and parse; the prompt agrees with the file reader
 * about every line.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/vec.h"
#include "patch/patch.h"

#define NAME "f"

static void require(bool truth)
{
	if (!truth)
		abort();
}

/* "f:LINE:COLUMN: sentence" or "..." on each line. */
static void check_complaints(const struct lp_err *err, int rc)
{
	require(rc == -LP_EPARSE && err->code == rc);
	for (const char *line = err->text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		unsigned at[2];
		int after = 0;
		require(strcmp(line, "...") == 0 || (sscanf(line, NAME ":%u:%u: %n", &at[0], &at[1], &after) == 2 &&
						     after && at[0] && at[1] && line[after]));
	}
}

static bool same_text(const char *a, const char *b)
{
	return !a || !b ? a == b : strcmp(a, b) == 0;
}

static bool same_expr(const struct lp_addr_expr *a, const struct lp_addr_expr *b)
{
	return a->kind == b->kind && a->number == b->number && same_text(a->mem, b->mem) &&
	       same_text(a->symbol, b->symbol);
}

static bool same_op(const struct lp_op *a, const struct lp_op *b)
{
	return a->kind == b->kind && same_expr(&a->at, &b->at) && same_expr(&a->to, &b->to) &&
	       a->value_len == b->value_len && (!a->value_len || memcmp(a->value, b->value, a->value_len) == 0) &&
	       same_text(a->type_name, b->type_name) && same_text(a->mem, b->mem) && same_text(a->path, b->path) &&
	       a->size == b->size && a->dlopen == b->dlopen && a->allow_active == b->allow_active &&
	       a->value_is_addr == b->value_is_addr;
}

static void same_patchset(const struct lp_patchset *a, const struct lp_patchset *b)
{
	require(a->nr == b->nr);
	for (size_t i = 0; i < a->nr; i++)
		require(same_op(&a->ops[i], &b->ops[i]));
}

static void check_round_trip(const struct lp_patchset *ps)
{
	struct lp_buf dump = {0};
	struct lp_patchset *again;
	struct lp_err err = {0};
	lp_patch_dump(ps, &dump);
	require(lp_patch_parse_script(&again, lp_buf_cstr(&dump), dump.len, NAME, &err) == 0);
	same_patchset(ps, again);
	lp_patchset_free(again);
	lp_buf_free(&dump);
}

/* Line by line as typed; refused lines leave no trace. */
static void check_prompt(const char *text, size_t len, const struct lp_patchset *whole)
{
	struct lp_patchset *ps = NULL;
	const char *end = text + len;
	bool refused = false;
	for (unsigned nr = 1; text < end; nr++) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		size_t line_len = (size_t)((newline ? newline : end) - text), before = ps ? ps->nr : 0;
		char *line = lp_alloc(line_len + 1);
		struct lp_err err = {0};
		memcpy(line, text, line_len);
		int rc = lp_patch_parse_line(&ps, line, nr, NAME, &err);
		if (rc < 0) {
			check_complaints(&err, rc);
			require((ps ? ps->nr : 0) == before);
			refused = true;
		}
		lp_free(line);
		text += line_len + 1;
	}
	if (whole && ps && !refused)
		same_patchset(whole, ps);
	lp_patchset_free(ps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct lp_patchset *ps;
	struct lp_err err = {0};
	const char *text = (const char *)data;
	int rc = lp_patch_parse_script(&ps, text, size, NAME, &err);
	if (rc < 0)
		check_complaints(&err, rc);
	else
		check_round_trip(ps);
	check_prompt(text, size, ps);
	lp_patchset_free(ps);
	return 0;
}
