#include "tool/tool.h"

static void show(const struct args *a, const struct lp_result *r)
{
	if (a->on[OPT_JSON]) {
		json_emit(json_answer(a->pid, json_result(r)));
		return;
	}
	if (a->on[OPT_QUIET])
		return;
	out_printf(r->recovered ? "what an earlier livepatch left unfinished is cleaned up\n"
				: "nothing was left unfinished\n");
}

static int recover(const struct args *a, struct lp_err *err)
{
	struct lp_target *target = NULL;
	struct lp_result result = {0};
	struct lp_apply_opts opts = opts_of(a);
	signals_catch();
	int rc = lp_target_open_process(&target, a->pid, NULL, err);
	if (rc == 0)
		rc = lp_recover(target, &opts, &result, err);
	if (rc == 0)
		show(a, &result);
	lp_target_close(target);
	return rc;
}

int verb_recover(const struct args *a, struct lp_err *err)
{
	int status;
	return supervise(a, &status) ? recover(a, err) : status;
}
