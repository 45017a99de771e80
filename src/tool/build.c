#include "build/build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool/tool.h"

#define JOBS_MAX 4096

/* ---- progress ---- */

static void show_progress(const struct lp_build_progress *p, void *arg)
{
	char text[512], count[SHORT_TEXT];
	double seconds = (double)p->ns / 1e9;
	(void)arg;
	if (p->ended)
		snprintf(text, sizeof text, "%s: %s (%.1f s)", p->stage, p->result, seconds);
	else if (p->total && p->done <= p->total)
		snprintf(text, sizeof text, "%s: %zu of %s, %.0f s", p->stage, p->done,
			 count_text(p->total, p->noun, count), seconds);
	else if (p->done)
		snprintf(text, sizeof text, "%s: %s, %.0f s", p->stage, count_text(p->done, p->noun, count), seconds);
	else
		snprintf(text, sizeof text, "%s ...", p->stage);
	progress_line(text, p->ended);
}

/* ---- what came of it ---- */

static bool is_told_briefly(enum lp_diff_kind kind)
{
	return kind == LP_DIFF_FUNCTION_CHANGED || kind == LP_DIFF_FUNCTION_NEW || kind == LP_DIFF_DATA_NEW ||
	       kind == LP_DIFF_CONST_CHANGED || kind == LP_DIFF_HOOK;
}

static void print_change(const struct lp_diff_change *c, bool verbose)
{
	if (!verbose && !is_told_briefly(c->kind))
		return;
	out_printf("  %-16s %s", lp_diff_kind_name(c->kind), c->name);
	if (c->old_size && c->new_size)
		out_printf("  %" PRIu64 " -> %" PRIu64 " bytes", c->old_size, c->new_size);
	else
		out_printf("  %" PRIu64 " bytes", c->new_size ? c->new_size : c->old_size);
	out_printf("  %s", c->unit ? c->unit : "");
	if (c->why && *c->why)
		out_printf("  (%s)", c->why);
	out_printf("\n");
}

static void print_refusal(const struct lp_diff_refusal *r)
{
	out_printf("  %s: %s\n", r->code, r->sentence);
	if (r->unit)
		out_printf("    in %s\n", r->unit);
	if (r->remedy)
		out_printf("    instead: %s\n", r->remedy);
	if (r->allowable)
		out_printf("    or, when it is harmless here: --allow %s%s%s\n", r->code, r->culprit ? ":" : "",
			   r->culprit ? r->culprit : "");
}

static void print_heading(const struct lp_build_patch *p)
{
	char hex[2 * LP_BUILD_ID_MAX + 1], size[SHORT_TEXT];
	lp_build_id_hex(&p->build_id, hex);
	out_style(STYLE_BOLD);
	out_printf("%s", p->path ? p->path : p->target ? p->target : p->binary);
	out_style(STYLE_NONE);
	if (p->path)
		out_printf(": for %s, build-id %s, %s", p->target ? p->target : p->binary, hex,
			   size_text(p->size, size));
	else
		out_printf(": no live patch was made");
	out_printf("\n");
}

static void print_patch(const struct lp_build_patch *p, bool verbose)
{
	size_t nr;
	print_heading(p);
	if (p->why && (!p->diff || (lp_diff_refusals(p->diff, &nr), !nr)))
		out_printf("  %s\n", p->why);
	if (!p->diff)
		return;
	const struct lp_diff_change *changes = lp_diff_changes(p->diff, &nr);
	for (size_t i = 0; i < nr; i++)
		print_change(&changes[i], verbose);
	const struct lp_diff_refusal *refusals = lp_diff_refusals(p->diff, &nr);
	for (size_t i = 0; i < nr; i++)
		print_refusal(&refusals[i]);
}

static void print_build(const struct args *a, const struct lp_build *b)
{
	size_t nr;
	const struct lp_build_patch *patches = lp_build_patches(b, &nr);
	for (size_t i = 0; i < nr && !a->on[OPT_QUIET]; i++)
		print_patch(&patches[i], a->on[OPT_VERBOSE] || a->on[OPT_DEBUG]);
	if (!nr && !a->on[OPT_QUIET])
		out_printf("no difference: nothing that the build makes has other code or data with the diff; no file "
			   "was written\n");
	if (lp_build_kept(b))
		out_printf("kept: %s\n", lp_build_kept(b));
}

/* {"ok":..., then the members of lp_build_json(), and "error" when it was refused. */
static void answer_in_json(const struct lp_build *b, int rc, const struct lp_err *err)
{
	struct lp_buf text = {0};
	lp_build_json(b, &text);
	json_t *answer = rc < 0 ? json_error(err) : json_pack("{s:b}", "ok", 1);
	json_object_update_new(answer, json_loadb(lp_buf_cstr(&text), text.len, 0, NULL));
	lp_buf_free(&text);
	json_emit(answer);
}

static int answer(const struct args *a, const struct lp_build *b, int rc, struct lp_err *err)
{
	if (a->on[OPT_JSON]) {
		answer_in_json(b, rc, err);
		return rc < 0 ? EXIT_REFUSED : 0;
	}
	print_build(a, b);
	return rc;
}

/* ---- what was asked for ---- */

static int parse_jobs(const struct args *a, unsigned *jobs, struct lp_err *err)
{
	uint64_t n = 0;
	const char *text = a->value[OPT_JOBS];
	if (text && !parse_decimal(text, JOBS_MAX, &n))
		return lp_fail(err, LP_EUSAGE, "-j \"%s\": a number of compilers is expected, such as 4", text);
	*jobs = (unsigned)n;
	return 0;
}

int verb_build(const struct args *a, struct lp_err *err)
{
	struct lp_build_opts opts = {
		.srcdir = a->value[OPT_SRCDIR],
		.out = a->value[OPT_OUT],
		.id = a->value[OPT_ID],
		.command = a->value[OPT_BUILD_COMMAND],
		.cache = a->value[OPT_CACHE],
		.wrapper = getenv("LIVEPATCH_CC"),
		.diffs = (const char *const *)a->operands,
		.nr_diffs = a->nr_operands,
		.targets = a->values[OPT_TARGET].items,
		.nr_targets = a->values[OPT_TARGET].nr,
		.skip = a->values[OPT_SKIP].items,
		.nr_skip = a->values[OPT_SKIP].nr,
		.allow = a->values[OPT_ALLOW].items,
		.nr_allow = a->values[OPT_ALLOW].nr,
		.line_functions = a->values[OPT_LINE_FUNCTION].items,
		.nr_line_functions = a->values[OPT_LINE_FUNCTION].nr,
		.clean = a->on[OPT_CLEAN],
		.keep = a->on[OPT_KEEP],
		.interrupted = &interrupted,
		.progress = show_progress,
	};
	struct lp_build *b = NULL;
	int rc = parse_jobs(a, &opts.jobs, err);
	if (rc == 0 && opts.nr_targets && opts.nr_skip)
		rc = lp_fail(err, LP_EUSAGE, "--target names what is wanted and --skip what is not: one of the two");
	if (rc < 0)
		return rc;
	signals_catch();
	rc = lp_build_make(&b, &opts, err);
	if (b)
		rc = answer(a, b, rc, err);
	lp_build_free(b);
	return rc;
}
