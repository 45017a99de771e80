#include "tool/tool.h"

typedef LP_VEC(uint64_t) id_vec;

static void add_once(id_vec *ids, uint64_t id)
{
	for (size_t i = 0; i < ids->nr; i++)
		if (ids->items[i] == id)
			return;
	lp_vec_push(ids, id);
}

static int parse_ids(const struct args *a, id_vec *ids, struct lp_err *err)
{
	for (size_t i = 0; i < a->nr_operands; i++) {
		uint64_t id;
		if (!parse_decimal(a->operands[i], UINT64_MAX, &id))
			return lp_fail(err, LP_EUSAGE,
				       "\"%s\" is not the ID of a patch: a number as list shows it is expected",
				       a->operands[i]);
		add_once(ids, id);
	}
	return 0;
}

static void print_what(const struct lp_result *r)
{
	char patches[SHORT_TEXT];
	if (r->nr_patches == 1)
		out_printf("patch %" PRIu64 " reverted: ", r->id);
	else
		out_printf("%s reverted: ", count_text(r->nr_patches, "patch", patches));
}

void print_reverted(const struct lp_result *r)
{
	char writes[SHORT_TEXT], threads[SHORT_TEXT], pause[SHORT_TEXT], kept[SHORT_TEXT];
	if (r->recovered)
		out_printf("what an earlier livepatch left unfinished was cleaned up first\n");
	if (!r->nr_patches) {
		out_printf("there was nothing to revert\n");
		return;
	}
	print_what(r);
	out_printf("%s, %s paused for %s", count_text(r->nr_writes, "write", writes),
		   count_text(r->nr_threads, "thread", threads), duration_text(r->pause_ns, pause));
	if (r->nr_tries > 1)
		out_printf(", at attempt %u", r->nr_tries);
	out_printf("\n");
	if (r->kept_bytes)
		out_printf("%s of patch memory stay mapped, because the program may point there; revert --free unmaps "
			   "what "
			   "nothing points to\n",
			   size_text(r->kept_bytes, kept));
}

static void show(const struct args *a, const struct lp_result *r)
{
	if (a->on[OPT_JSON]) {
		json_emit(json_answer(a->pid, json_result(r)));
	} else if (!a->on[OPT_QUIET]) {
		print_reverted(r);
	}
}

static int revert(const struct args *a, const id_vec *ids, struct lp_err *err)
{
	struct lp_target *target = NULL;
	struct lp_result result = {0};
	struct lp_apply_opts opts = opts_of(a);
	signals_catch();
	int rc = lp_target_open_process(&target, a->pid, NULL, err);
	if (rc == 0)
		rc = lp_revert(target, ids->items, ids->nr, &opts, &result, err);
	if (rc == 0)
		show(a, &result);
	lp_target_close(target);
	return rc;
}

int verb_revert(const struct args *a, struct lp_err *err)
{
	id_vec ids = {0};
	int status, rc = parse_ids(a, &ids, err);
	if (rc == 0)
		rc = supervise(a, &status) ? revert(a, &ids, err) : status;
	lp_vec_free(&ids);
	return rc;
}
