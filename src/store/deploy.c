#include "store/deploy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bits.h"
#include "base/log.h"
#include "patch/kpatch.h"
#include "space/space.h"
#include "store/scripts.h"

#define SCRIPT_MS 60000

/* ---- what is there ---- */

void lp_deploy_status_free(struct lp_deploy_status *s)
{
	for (size_t i = 0; i < s->objects.nr; i++) {
		struct lp_deploy_object *o = &s->objects.items[i];
		for (size_t k = 0; k < o->patches.nr; k++)
			lp_free(o->patches.items[k].id);
		lp_vec_free(&o->patches);
		lp_free(o->name);
	}
	lp_vec_free(&s->objects);
}

const struct lp_deploy_object *lp_deploy_object_of(const struct lp_deploy_status *s, const char *build_id)
{
	for (size_t i = 0; i < s->objects.nr; i++)
		if (strcmp(s->objects.items[i].build_id, build_id) == 0)
			return &s->objects.items[i];
	return NULL;
}

unsigned lp_deploy_level(const struct lp_deploy_object *o)
{
	unsigned level = 0;
	for (size_t i = 0; i < o->patches.nr; i++)
		level = o->patches.items[i].level > level ? o->patches.items[i].level : level;
	return level;
}

static struct lp_deploy_object *object_for(struct lp_deploy_status *s, const char *build_id)
{
	for (size_t i = 0; i < s->objects.nr; i++)
		if (strcmp(s->objects.items[i].build_id, build_id) == 0)
			return &s->objects.items[i];
	struct lp_deploy_object *o = lp_vec_add(&s->objects);
	snprintf(o->build_id, sizeof o->build_id, "%s", build_id);
	return o;
}

static void take_object(struct lp_deploy_status *s, uint64_t ledger, const struct lp_listed_object *l)
{
	struct lp_deploy_object *o = object_for(s, l->build_id);
	struct lp_deploy_patch *p = lp_vec_add(&o->patches);
	p->id = lp_strdup(l->id);
	p->ledger = ledger;
	p->level = l->level;
	for (size_t i = 0; p->level && i + 1 < o->patches.nr; i++)
		if (o->patches.items[i].level && o->patches.items[i].level < p->level)
			o->patches.items[i].superseded = true;
	if (!o->name)
		o->name = lp_strdup(l->object);
}

static int take_foreign(struct lp_deploy_status *s, struct lp_target *t, struct lp_err *err)
{
	struct lp_foreign_list list = {0};
	int rc = lp_foreign_patches(t, &list, err);
	for (size_t i = 0; rc == 0 && i < list.items.nr; i++) {
		const struct lp_foreign_patch *f = &list.items.items[i];
		struct lp_deploy_object *o = object_for(s, f->build_id);
		struct lp_deploy_patch *p = lp_vec_add(&o->patches);
		p->id = lp_strdup(f->id);
		p->foreign = f->memory.start;
		p->level = f->level;
		if (!o->name)
			o->name = lp_strdup(f->object);
	}
	lp_foreign_free(&list);
	return rc;
}

/* By what is mapped; the patch's own word for it is what is left when that was unloaded. */
static void name_objects(struct lp_deploy_status *s, const struct lp_seen *seen)
{
	for (size_t i = 0; i < s->objects.nr; i++) {
		struct lp_deploy_object *o = &s->objects.items[i];
		for (size_t k = 0; k < seen->objects.nr; k++)
			if (strcmp(seen->objects.items[k].build_id, o->build_id) == 0) {
				lp_free(o->name);
				o->name = lp_strdup(lp_seen_name(&seen->objects.items[k]));
				break;
			}
	}
}

static int look(struct lp_target *t, const struct lp_seen *seen, struct lp_deploy_status *out, struct lp_err *err)
{
	struct lp_listing l;
	*out = (struct lp_deploy_status){0};
	int rc = lp_ledger_list(t, &l, err);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < l.nr; i++) {
		const struct lp_listed *e = &l.items[i];
		for (size_t k = 0; e->state == LP_APPLIED && k < e->nr_objects; k++)
			take_object(out, e->id, &e->objects[k]);
	}
	lp_listing_free(&l);
	if (seen->foreign) /* those of other tools were there first, or below ours: nobody can say */
		rc = take_foreign(out, t, err);
	name_objects(out, seen);
	return rc;
}

int lp_deploy_look(pid_t pid, struct lp_deploy_status *out, struct lp_err *err)
{
	struct lp_target *t = NULL;
	struct lp_seen seen;
	*out = (struct lp_deploy_status){0};
	int rc = lp_scan_process(pid, &seen, err);
	if (rc < 0)
		return rc;
	rc = lp_target_open_process(&t, pid, NULL, err);
	rc = rc ? rc : look(t, &seen, out, err);
	lp_target_close(t);
	lp_seen_free(&seen);
	return rc;
}

/* ---- what would fit ---- */

/* FNV-1a */
static uint64_t mix(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;
	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return h;
}

static uint64_t mix_file(uint64_t h, const struct lp_store_patch *p)
{
	struct stat st;
	h = mix(h, p->path, strlen(p->path));
	h = mix(h, &p->level, sizeof p->level);
	if (stat(p->path, &st) == 0) {
		h = mix(h, &st.st_ino, sizeof st.st_ino);
		h = mix(h, &st.st_size, sizeof st.st_size);
		h = mix(h, &st.st_mtim, sizeof st.st_mtim);
	}
	return h;
}

int lp_deploy_fits(const struct lp_store *s, const struct lp_seen *seen, uint64_t *out, struct lp_err *err)
{
	int rc = 0;
	*out = 0;
	for (size_t i = 0; rc == 0 && i < seen->objects.nr; i++) {
		struct lp_store_found found;
		if (!seen->objects.items[i].build_id[0])
			continue;
		rc = lp_store_find(s, seen->objects.items[i].build_id, &found, err);
		for (size_t k = 0; rc == 0 && k < found.nr; k++)
			if (!found.items[k].only_description)
				*out = mix_file(*out ? *out : UINT64_C(0xcbf29ce484222325), &found.items[k]);
		lp_store_found_free(&found);
	}
	return rc;
}

/* A patch that is to go in. */
struct wanted {
	struct lp_kpatch *kpatch; /* until a patchset has it */
	size_t round;		  /* of several patches for one object each is a transaction of its own, in order */
};

struct deploy {
	pid_t pid;
	const struct lp_store *store;
	const struct lp_apply_opts *opts;
	struct lp_target *target;
	struct lp_seen seen;
	struct lp_deploy_status status;
	LP_VEC(struct wanted) wanted;
	size_t nr_rounds;
	struct lp_deployed *done;
};

static const struct lp_deploy_patch *applied(const struct lp_deploy_object *o, const struct lp_kpatch *k)
{
	for (size_t i = 0; o && i < o->patches.nr; i++) {
		const struct lp_deploy_patch *p = &o->patches.items[i];
		if (strcmp(p->id, k->id) == 0 && p->level == k->level)
			return p;
	}
	return NULL;
}

/* The level is the store's to say, by where the file lies; the process keeps it in the header that it keeps. */
static void set_level(struct lp_kpatch *k, unsigned level)
{
	const struct lp_kpatch_layout *layout = lp_kpatch_layout(k->variant);
	if (!level)
		return;
	k->level = level;
	lp_put32(k->bytes + layout->entries + 4 * LP_KPATCH_ENTRY_LEVEL, level);
}

static int already(const struct deploy *d, const struct lp_kpatch *k, struct lp_err *err)
{
	return lp_fail(err, LP_EAPPLIED, "A patch with patch-id(%s) is already applied by %s", k->id, d->seen.comm);
}

static int want(struct deploy *d, const struct lp_seen_object *o, const struct lp_store_patch *p, size_t *round,
		struct lp_err *err)
{
	const struct lp_deploy_object *there = lp_deploy_object_of(&d->status, o->build_id);
	struct lp_kpatch *k;
	if (p->only_description)
		return 0;
	int rc = lp_kpatch_open(&k, p->path, err);
	if (rc < 0)
		return rc;
	set_level(k, p->level);
	bool is_old = p->level && there && lp_deploy_level(there) >= p->level;
	if (is_old || applied(there, k)) {
		rc = lp_store_is_directory(d->store) ? 0 : already(d, k, err);
		lp_kpatch_free(k);
		return rc;
	}
	lp_vec_push(&d->wanted, ((struct wanted){k, (*round)++}));
	d->nr_rounds = *round > d->nr_rounds ? *round : d->nr_rounds;
	return 0;
}

static bool seen_before(const struct lp_seen *s, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(s->objects.items[k].build_id, s->objects.items[i].build_id) == 0)
			return true;
	return false;
}

static int choose(struct deploy *d, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < d->seen.objects.nr; i++) {
		const struct lp_seen_object *o = &d->seen.objects.items[i];
		struct lp_store_found found;
		size_t round = 0;
		if (!o->build_id[0] || seen_before(&d->seen, i))
			continue;
		rc = lp_store_find(d->store, o->build_id, &found, err);
		for (size_t k = 0; rc == 0 && k < found.nr; k++)
			rc = want(d, o, &found.items[k], &round, err);
		lp_store_found_free(&found);
	}
	return rc;
}

/* ---- putting it in ---- */

static void add_id(struct lp_deployed *done, const char *id)
{
	size_t used = strlen(done->ids);
	snprintf(done->ids + used, sizeof done->ids - used, "%s%s", used ? " " : "", id);
}

static void add_result(struct lp_deployed *done, const struct lp_result *r, size_t nr_objects)
{
	done->nr_objects += nr_objects;
	done->nr_patches += r->nr_patches;
	done->pause_ns = r->pause_ns > done->pause_ns ? r->pause_ns : done->pause_ns;
	done->nr_tries += r->nr_tries;
	done->nr_threads = r->nr_threads;
	done->recovered = done->recovered || r->recovered;
}

/* Patches that one of a higher level is about to stand in for. */
static void find_replaced(const struct deploy *d, const struct lp_patchset *ps, struct lp_apply_opts *opts)
{
	LP_VEC(uint64_t) ids = {0};
	for (size_t i = 0; i < ps->nr; i++) {
		char hex[2 * LP_BUILD_ID_MAX + 1];
		lp_build_id_hex(&ps->ops[i].kpatch->build_id, hex);
		const struct lp_deploy_object *o = lp_deploy_object_of(&d->status, hex);
		for (size_t k = 0; o && ps->ops[i].kpatch->level && k < o->patches.nr; k++)
			if (o->patches.items[k].level && !o->patches.items[k].superseded && o->patches.items[k].ledger)
				lp_vec_push(&ids, o->patches.items[k].ledger);
	}
	opts->replaces = ids.items;
	opts->nr_replaces = ids.nr;
}

static int apply(struct deploy *d, const struct lp_patchset *ps, struct lp_err *err)
{
	struct lp_plan *plan = NULL;
	struct lp_result result = {0};
	struct lp_apply_opts opts = *d->opts;
	find_replaced(d, ps, &opts);
	int rc = lp_plan_make(&plan, d->target, ps, &opts, err);
	rc = rc ? rc : lp_plan_apply(plan, &result, err);
	lp_plan_free(plan);
	lp_free((void *)(uintptr_t)opts.replaces);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ps->nr; i++)
		add_id(d->done, ps->ops[i].kpatch->id);
	add_result(d->done, &result, ps->nr);
	return 0;
}

static int apply_round(struct deploy *d, size_t round, struct lp_err *err)
{
	struct lp_patchset *ps = NULL;
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < d->wanted.nr; i++) {
		struct wanted *w = &d->wanted.items[i];
		if (w->round != round)
			continue;
		rc = lp_patch_add_object(&ps, w->kpatch, err);
		w->kpatch = NULL; /* taken over */
	}
	rc = rc || !ps ? rc : apply(d, ps, err);
	lp_patchset_free(ps);
	return rc;
}

static int run_script(const struct deploy *d, const char *name, struct lp_err *err)
{
	const char *path = lp_store_script(d->store, name);
	return path ? lp_script_run(path, d->pid, SCRIPT_MS, err) : 0;
}

/* `after` is run whenever `before` was: it may have something to take back. */
static int apply_wanted(struct deploy *d, struct lp_err *err)
{
	struct lp_err after = {0};
	int rc = run_script(d, "before", err);
	if (rc < 0)
		return rc;
	for (size_t round = 0; rc == 0 && round < d->nr_rounds; round++)
		rc = apply_round(d, round, err);
	if (run_script(d, "after", &after) < 0)
		lp_warn("%s", after.text);
	return rc;
}

static void release(struct deploy *d)
{
	for (size_t i = 0; i < d->wanted.nr; i++)
		lp_kpatch_free(d->wanted.items[i].kpatch);
	lp_vec_free(&d->wanted);
	lp_deploy_status_free(&d->status);
	lp_target_close(d->target);
	lp_seen_free(&d->seen);
}

int lp_deploy_apply(pid_t pid, const struct lp_store *s, const struct lp_apply_opts *opts, struct lp_deployed *out,
		    struct lp_err *err)
{
	struct deploy d = {.pid = pid, .store = s, .opts = opts, .done = out};
	uint64_t fits;
	*out = (struct lp_deployed){0};
	int rc = lp_scan_process(pid, &d.seen, err);
	if (rc < 0)
		return rc;
	rc = lp_deploy_fits(s, &d.seen, &fits, err);
	if (rc == 0 && fits) {
		rc = lp_target_open_process(&d.target, pid, NULL, err);
		rc = rc ? rc : look(d.target, &d.seen, &d.status, err);
		rc = rc ? rc : choose(&d, err);
		rc = rc || !d.wanted.nr ? rc : apply_wanted(&d, err);
	}
	release(&d);
	return rc;
}

/* ---- taking it out ---- */

static bool is_object(const struct lp_deploy_object *o, const struct lp_deploy_which *w)
{
	for (size_t i = 0; i < w->nr_objects; i++)
		if (strcmp(w->objects[i], o->name) == 0 || strcmp(w->objects[i], o->build_id) == 0)
			return true;
	return w->nr_objects == 0;
}

typedef LP_VEC(uint64_t) id_vec;

static bool add_once(id_vec *ids, uint64_t id)
{
	for (size_t i = 0; i < ids->nr; i++)
		if (ids->items[i] == id)
			return false;
	lp_vec_push(ids, id);
	return true;
}

/* What is to go: entries of the ledger, and where the memory of other tools' patches is. */
struct chosen {
	id_vec ids, foreign;
};

static void choose_patch(struct chosen *c, const struct lp_deploy_patch *p, struct lp_deployed *done)
{
	if (add_once(p->ledger ? &c->ids : &c->foreign, p->ledger ? p->ledger : p->foreign) && !p->superseded)
		add_id(done, p->id);
}

/* Those that a chosen one has superseded go with it: below a level 3 there is no level 2 to go back to. */
static void choose_of(const struct lp_deploy_object *o, const struct lp_deploy_which *w, struct chosen *c,
		      struct lp_deployed *done)
{
	bool leveled = false;
	for (size_t i = o->patches.nr; i-- > 0;) {
		const struct lp_deploy_patch *p = &o->patches.items[i];
		if (p->superseded ? !leveled : w->id && strcmp(p->id, w->id) != 0)
			continue;
		leveled = leveled || p->level;
		choose_patch(c, p, done);
	}
}

static bool has(const id_vec *ids, uint64_t id)
{
	for (size_t i = 0; i < ids->nr; i++)
		if (ids->items[i] == id)
			return true;
	return false;
}

/* How many objects lose patches: those that were patched together with a chosen one lose theirs, too. */
static size_t count_objects(const struct lp_deploy_status *s, const id_vec *ids, bool foreign)
{
	size_t n = 0;
	for (size_t i = 0; i < s->objects.nr; i++) {
		const struct lp_deploy_object *o = &s->objects.items[i];
		bool loses = false;
		for (size_t k = 0; k < o->patches.nr; k++)
			loses = loses || (!o->patches.items[k].ledger == foreign &&
					  has(ids, foreign ? o->patches.items[k].foreign : o->patches.items[k].ledger));
		n += loses;
	}
	return n;
}

static int revert_ours(struct deploy *d, const id_vec *ids, struct lp_err *err)
{
	struct lp_result result = {0};
	int rc = lp_revert(d->target, ids->items, ids->nr, d->opts, &result, err);
	if (rc == 0)
		add_result(d->done, &result, count_objects(&d->status, ids, false));
	return rc;
}

static int undo_one(struct deploy *d, lp_addr at, struct lp_err *err)
{
	struct lp_patchset *ps = NULL;
	struct lp_plan *plan = NULL;
	struct lp_result result = {0};
	char *word = lp_sprintf(LP_ADDR, at);
	int rc = lp_patch_add_undo(&ps, word, err);
	rc = rc ? rc : lp_plan_make(&plan, d->target, ps, d->opts, err);
	rc = rc ? rc : lp_plan_apply(plan, &result, err);
	if (rc == 0) {
		result.nr_patches = 1;
		add_result(d->done, &result, 0);
	}
	lp_plan_free(plan);
	lp_patchset_free(ps);
	lp_free(word);
	return rc;
}

/* One at a time, from the top.  Which of them is on top they do not say: it is the one that can be undone. */
static int undo_foreign(struct deploy *d, const id_vec *at, struct lp_err *err)
{
	id_vec left = {0};
	int rc = 0;
	for (size_t i = 0; i < at->nr; i++)
		lp_vec_push(&left, at->items[i]);
	while (left.nr) {
		size_t kept = 0;
		for (size_t i = 0; i < left.nr; i++) {
			rc = undo_one(d, left.items[i], err);
			if (rc < 0)
				left.items[kept++] = left.items[i];
		}
		if (kept == left.nr)
			break;
		left.nr = kept;
	}
	d->done->nr_objects += left.nr < at->nr ? count_objects(&d->status, at, true) : 0;
	if (!left.nr)
		rc = 0;
	lp_vec_free(&left);
	return rc;
}

static int revert(struct deploy *d, const struct lp_deploy_which *w, struct lp_err *err)
{
	struct chosen c = {0};
	int rc = 0;
	for (size_t i = 0; i < d->status.objects.nr; i++)
		if (is_object(&d->status.objects.items[i], w))
			choose_of(&d->status.objects.items[i], w, &c, d->done);
	if (c.ids.nr)
		rc = revert_ours(d, &c.ids, err);
	if (rc == 0 && c.foreign.nr)
		rc = undo_foreign(d, &c.foreign, err);
	lp_vec_free(&c.ids);
	lp_vec_free(&c.foreign);
	return rc;
}

int lp_deploy_revert(pid_t pid, const struct lp_deploy_which *which, const struct lp_apply_opts *opts,
		     struct lp_deployed *out, struct lp_err *err)
{
	struct deploy d = {.pid = pid, .opts = opts, .done = out};
	*out = (struct lp_deployed){0};
	int rc = lp_scan_process(pid, &d.seen, err);
	if (rc < 0)
		return rc;
	rc = lp_target_open_process(&d.target, pid, NULL, err);
	rc = rc ? rc : look(d.target, &d.seen, &d.status, err);
	rc = rc ? rc : revert(&d, which, err);
	release(&d);
	return rc;
}
