/*
 * Patch scripts (dl, jmp, set, ...) of a system whose space has a core target:
 * each is one transaction of the core, and a part of one of ours.
 *
 * A script is kept as the text that it means: whether it changed is then a
 * question of strings, and it can be applied again when what came with it
 * fails.
 */
#include <string.h>

#include "api/api.h"
#include "api/sets.h"
#include "base/buf.h"

struct part {
	LivePatchSystem *system;
	struct lp_script script; /* owned */
};

bool lp_set_is_script(LivePatchSystem *system, const struct lp_patchset *set)
{
	return system->space->ops->script && set->nr && !lp_op_is_patch(&set->ops[0]);
}

static char *text_of(const struct lp_patchset *set)
{
	struct lp_buf b = {0};

	lp_patch_dump(set, &b);
	lp_buf_cstr(&b);
	return b.data ? (char *)b.data : lp_strdup("");
}

static struct lp_script copy_of(const struct lp_script *s)
{
	return (struct lp_script){s->file, lp_strdup(s->text), s->id};
}

static unsigned flags_of(LivePatchSystem *s)
{
	return atomic_load(&s->flags) & LIVEPATCH_ALLOW_ACTIVE ? LP_CODE_ALLOW_ACTIVE : 0;
}

/* ---- the system's list ---- */

static void enlist(struct part *p)
{
	LivePatchSystem *s = p->system;

	pthread_mutex_lock(&s->lock);
	lp_vec_push(&s->scripts, copy_of(&p->script));
	pthread_mutex_unlock(&s->lock);
}

void lp_scripts_delist(LivePatchSystem *s, uint64_t id)
{
	size_t nr = 0;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->scripts.nr; i++) {
		if (s->scripts.items[i].id == id)
			lp_free(s->scripts.items[i].text);
		else
			s->scripts.items[nr++] = s->scripts.items[i];
	}
	s->scripts.nr = nr;
	pthread_mutex_unlock(&s->lock);
}

void lp_scripts_free(LivePatchSystem *s)
{
	for (size_t i = 0; i < s->scripts.nr; i++)
		lp_free(s->scripts.items[i].text);
	lp_vec_free(&s->scripts);
}

/* ---- one script as part of a transaction ---- */

static int apply(struct part *p, struct lp_err *err)
{
	struct lp_code_space *space = p->system->space;
	const char *name = lp_system_file_name(p->system, p->script.file);
	struct lp_patchset *set;
	int rc = lp_patch_parse_script(&set, p->script.text, strlen(p->script.text), name, err);

	if (rc)
		return rc;
	rc = space->ops->script(space, set, flags_of(p->system), &p->script.id, err);
	lp_patchset_free(set);
	if (!rc)
		enlist(p);
	return rc;
}

static int take_back(struct part *p, struct lp_err *err)
{
	struct lp_code_space *space = p->system->space;
	int rc = space->ops->unscript(space, p->script.id, flags_of(p->system), err);

	if (!rc)
		lp_scripts_delist(p->system, p->script.id);
	return rc;
}

static int commit_put(void *arg, struct lp_err *err)
{
	return apply(arg, err);
}

static void undo_put(void *arg)
{
	take_back(arg, NULL);
}

static int commit_take(void *arg, struct lp_err *err)
{
	return take_back(arg, err);
}

static void undo_take(void *arg)
{
	apply(arg, NULL);
}

static void free_part(void *arg, bool committed)
{
	struct part *p = arg;

	lp_free(p->script.text);
	lp_free(p);
}

static void add(struct lp_txn *t, struct lp_script script, bool put)
{
	struct part *p = lp_alloc(sizeof *p);

	*p = (struct part){t->system, script};
	lp_txn_add_part(t, &(struct lp_txn_part){.commit = put ? commit_put : commit_take,
						 .undo = put ? undo_put : undo_take,
						 .free = free_part,
						 .arg = p});
}

int lp_script_put(struct lp_txn *t, const struct lp_sourced *s, struct lp_err *err)
{
	add(t, (struct lp_script){.file = s->file, .text = text_of(s->set)}, true);
	return (int)s->set->nr;
}

/* ---- all of them ---- */

static size_t copy_list(LivePatchSystem *s, struct lp_script **out)
{
	pthread_mutex_lock(&s->lock);
	size_t nr = s->scripts.nr;
	*out = lp_alloc(nr * sizeof **out);
	for (size_t i = 0; i < nr; i++)
		(*out)[i] = copy_of(&s->scripts.items[i]);
	pthread_mutex_unlock(&s->lock);
	return nr;
}

void lp_system_each_script(LivePatchSystem *system,
			   void (*fn)(const char *file, const char *text, uint64_t id, void *arg), void *arg)
{
	struct lp_script *list;
	size_t nr = copy_list(system, &list);

	for (size_t i = 0; i < nr; i++) {
		fn(lp_system_file_name(system, list[i].file), list[i].text, list[i].id, arg);
		lp_free(list[i].text);
	}
	lp_free(list);
}

int lp_scripts_take_all(struct lp_txn *t)
{
	struct lp_script *list;
	size_t nr = copy_list(t->system, &list);

	for (size_t i = 0; i < nr; i++)
		add(t, list[i], false);
	lp_free(list);
	return (int)nr;
}

/* Is it among them?  Then it is not any more: each stands for one. */
static bool take_same(struct lp_script *list, size_t nr, uint32_t file, const char *text)
{
	for (size_t i = 0; i < nr; i++) {
		if (list[i].text && list[i].file == file && !strcmp(list[i].text, text)) {
			lp_free(list[i].text);
			list[i].text = NULL;
			return true;
		}
	}
	return false;
}

int lp_scripts_replace(struct lp_txn *t, const struct lp_sourced *sets, size_t nr, struct lp_err *err)
{
	struct lp_script *old;
	size_t nr_old = copy_list(t->system, &old);
	LP_VEC(struct lp_script) new = {0};
	int changed = 0;

	for (size_t i = 0; i < nr; i++) {
		struct lp_script s = {.file = sets[i].file};
		if (!lp_set_is_script(t->system, sets[i].set))
			continue;
		s.text = text_of(sets[i].set);
		if (take_same(old, nr_old, s.file, s.text))
			lp_free(s.text);
		else
			lp_vec_push(&new, s);
	}
	for (size_t i = 0; i < nr_old; i++) {
		if (old[i].text)
			add(t, old[i], false), changed++;
	}
	for (size_t i = 0; i < new.nr; i++, changed++)
		add(t, new.items[i], true);
	lp_free(old);
	lp_vec_free(&new);
	return changed;
}
