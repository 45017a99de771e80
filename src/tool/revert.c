#include "tool/tool.h"

#include <stdio.h>
#include <string.h>

typedef LP_VEC(uint64_t) id_vec;

static void add_once(id_vec *ids, uint64_t id)
{
	for (size_t i = 0; i < ids->nr; i++)
		if (ids->items[i] == id)
			return;
	lp_vec_push(ids, id);
}

bool patch_is_called(const struct lp_listed *p, const char *word)
{
	uint64_t id;
	if (parse_decimal(word, UINT64_MAX, &id) && id == p->id)
		return true;
	bool called = p->name && strcmp(p->name, word) == 0;
	for (size_t i = 0; i < p->nr_objects; i++)
		called |= strcmp(p->objects[i].id, word) == 0;
	return called && p->state == LP_APPLIED;
}

/* The patch id (the name) of one applied patch.  *id is 0 when there is none: it may be another tool's. */
static int find_name(struct lp_target *t, const char *word, uint64_t *id, struct lp_err *err)
{
	struct lp_listing l = {0};
	size_t nr = 0;
	int rc = lp_ledger_list(t, &l, err);
	*id = 0;
	for (size_t i = 0; rc == 0 && i < l.nr; i++)
		if (patch_is_called(&l.items[i], word) && nr++ == 0)
			*id = l.items[i].id;
	lp_listing_free(&l);
	if (nr > 1)
		return lp_fail(err, LP_EAMBIGUOUS,
			       "%s has %zu applied patches called %s; give the number that list shows", t->label, nr,
			       word);
	return rc;
}

/* A number that list shows comes before a name; only a name needs the whole list. */
static int find_patch(struct lp_target *t, const char *word, uint64_t *id, struct lp_err *err)
{
	uint64_t number;
	if (!parse_decimal(word, UINT64_MAX, &number))
		return find_name(t, word, id, err);
	*id = number;
	if (lp_ledger_lists(t, number))
		return 0;
	int rc = find_name(t, word, id, err);
	if (rc == 0 && !*id)
		*id = number; /* the ledger says best what is wrong with it */
	return rc;
}

static bool is_foreign(const struct lp_foreign_list *l, const char *word)
{
	for (size_t i = 0; i < l->items.nr; i++) {
		char at[SHORT_TEXT];
		snprintf(at, sizeof at, LP_ADDR, l->items.items[i].memory.start);
		if (strcmp(l->items.items[i].id, word) == 0 || strcmp(at, word) == 0)
			return true;
	}
	return false;
}

/* What is none of ours is undone by a patchset of its own. */
static int add_foreign(struct lp_target *t, const char *word, struct lp_patchset **ps, struct lp_err *err)
{
	struct lp_foreign_list foreign;
	int rc = lp_foreign_patches(t, &foreign, err);
	bool is = rc == 0 && is_foreign(&foreign, word);
	lp_foreign_free(&foreign);
	if (rc < 0)
		return rc;
	if (is)
		return lp_patch_add_undo(ps, word, err);
	return lp_fail(err, LP_ENOPATCH,
		       "\"%s\" is not the ID of a patch in %s: neither a number that list shows nor a name", word,
		       t->label);
}

static int find_patches(const struct args *a, struct lp_target *t, id_vec *ids, struct lp_patchset **foreign,
			struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < a->nr_operands && rc == 0; i++) {
		uint64_t id = 0;
		rc = find_patch(t, a->operands[i], &id, err);
		if (rc == 0 && !id)
			rc = add_foreign(t, a->operands[i], foreign, err);
		else if (rc == 0)
			add_once(ids, id);
	}
	if (rc == 0 && ids->nr && *foreign)
		rc = lp_fail(err, LP_EUSAGE, "patches of livepatch and of another tool are not reverted as one");
	return rc;
}

static int undo_foreign(struct lp_target *t, const struct lp_patchset *ps, const struct lp_apply_opts *opts,
			struct lp_result *out, struct lp_err *err)
{
	struct lp_plan *plan = NULL;
	int rc = lp_plan_make(&plan, t, ps, opts, err);
	rc = rc ? rc : lp_plan_apply(plan, out, err);
	lp_plan_free(plan);
	out->nr_patches = ps->nr;
	return rc;
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

static int revert(const struct args *a, struct lp_err *err)
{
	struct lp_target *target = NULL;
	struct lp_result result = {0};
	struct lp_apply_opts opts = opts_of(a);
	struct lp_patchset *foreign = NULL;
	id_vec ids = {0};
	signals_catch();
	int rc = lp_target_open_process(&target, a->pid, NULL, err);
	rc = rc ? rc : find_patches(a, target, &ids, &foreign, err);
	if (rc == 0 && foreign)
		rc = undo_foreign(target, foreign, &opts, &result, err);
	else if (rc == 0)
		rc = lp_revert(target, ids.items, ids.nr, &opts, &result, err);
	if (rc == 0)
		show(a, &result);
	lp_vec_free(&ids);
	lp_patchset_free(foreign);
	lp_target_close(target);
	return rc;
}

int verb_revert(const struct args *a, struct lp_err *err)
{
	int status;
	return supervise(a, &status) ? revert(a, err) : status;
}
