#include "tool/tool.h"

static void print_difference(const struct lp_check_item *c)
{
	struct lp_buf expected = {0}, found = {0};
	lp_buf_hex(&expected, c->expected, c->expected ? c->len : 0);
	lp_buf_hex(&found, c->found, c->found ? c->len : 0);
	out_style(STYLE_BAD);
	out_printf("patch %" PRIu64, c->id);
	out_style(STYLE_NONE);
	out_printf(": " LP_ADDR " %s (%s): expected %s, found %s\n", c->at, c->symbol ? c->symbol : "?",
		   lp_write_kind_name(c->kind), lp_buf_cstr(&expected),
		   c->found ? lp_buf_cstr(&found) : "nothing readable");
	lp_buf_free(&expected);
	lp_buf_free(&found);
}

static void print_report(const struct lp_check_report *r)
{
	char writes[SHORT_TEXT];
	if (r->unfinished)
		out_printf("a livepatch died while it worked here; `recover` cleans up\n");
	for (size_t i = 0; i < r->nr; i++)
		print_difference(&r->items[i]);
	count_text(r->nr_checked, "write", writes);
	if (!r->nr_checked)
		out_printf("there is nothing to check: no patch is active\n");
	else if (r->nr)
		out_printf("%zu of %s differ from what was written\n", r->nr, writes);
	else
		out_printf("%s checked, all as written\n", writes);
}

static void show(const struct args *a, const struct lp_check_report *r, bool intact)
{
	if (a->on[OPT_JSON]) {
		json_emit(json_answer(a->pid, json_check(r, intact)));
	} else if (!intact || !a->on[OPT_QUIET]) {
		print_report(r);
	}
}

int verb_check(const struct args *a, struct lp_err *err)
{
	struct lp_target *target = NULL;
	struct lp_check_report report = {0};
	int rc = lp_target_open_process(&target, a->pid, NULL, err);
	if (rc == 0)
		rc = lp_check(target, &report, err);
	bool intact = !report.nr && !report.unfinished;
	if (rc == 0)
		show(a, &report, intact);
	lp_check_report_free(&report);
	lp_target_close(target);
	return rc == 0 && !intact ? EXIT_REFUSED : rc;
}
