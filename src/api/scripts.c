/*
 * Patch scripts (dl, jmp, set, ...) of a system whose space has a core target:
 * each is one transaction of the core, and a part of one of ours.
 *
 * A script is kept as the text that it means: whether it changed is then a
 * question of strings, and it can be applied again when what came with it
 * fails.
 */
#include <inttypes.h>
#include <string.h>

#include "api/api.h"
#include "api/txn.h"
#include "base/buf.h"

struct part {
	LivePatchSystem *system;
	struct lp_txn *txn;
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

/* Without its places. */
static struct lp_script copy_of(const struct lp_script *s)
{
	return (struct lp_script){.file = s->file, .text = lp_strdup(s->text), .id = s->id};
}

static void free_script(struct lp_script *s)
{
	for (size_t i = 0; i < s->places.nr; i++)
		lp_free(s->places.items[i].bytes);
	lp_vec_free(&s->places);
	lp_free(s->text);
}

static unsigned flags_of(LivePatchSystem *s)
{
	return atomic_load(&s->flags) & LIVEPATCH_ALLOW_ACTIVE ? LP_CODE_ALLOW_ACTIVE : 0;
}

/* ---- the system's list ---- */

/* Takes over its places; the text stays the caller's. */
static void enlist(LivePatchSystem *system, struct lp_script *s)
{
	struct lp_script listed = copy_of(s);

	listed.places = s->places;
	s->places = (lp_script_places){0};
	pthread_mutex_lock(&system->lock);
	lp_vec_push(&system->scripts, listed);
	pthread_mutex_unlock(&system->lock);
}

void lp_scripts_delist(LivePatchSystem *s, uint64_t id)
{
	size_t nr = 0;

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->scripts.nr; i++) {
		if (s->scripts.items[i].id == id)
			free_script(&s->scripts.items[i]);
		else
			s->scripts.items[nr++] = s->scripts.items[i];
	}
	s->scripts.nr = nr;
	pthread_mutex_unlock(&s->lock);
}

void lp_scripts_free(LivePatchSystem *s)
{
	for (size_t i = 0; i < s->scripts.nr; i++)
		free_script(&s->scripts.items[i]);
	lp_vec_free(&s->scripts);
}

/* ---- whose bytes are these? ---- */

static bool covers(const struct lp_script *s, struct lp_range range)
{
	for (size_t i = 0; i < s->places.nr; i++) {
		const struct lp_script_place *p = &s->places.items[i];
		if (lp_range_overlaps((struct lp_range){p->at, p->at + p->len}, range))
			return true;
	}
	return false;
}

/* The one over these bytes that the transaction does not take back; its number, or 0. */
static uint64_t find_over(struct lp_txn *t, struct lp_range range, uint32_t *file)
{
	LivePatchSystem *system = t->system;
	uint64_t id = 0;

	pthread_mutex_lock(&system->lock);
	for (size_t i = 0; !id && i < system->scripts.nr; i++) {
		const struct lp_script *s = &system->scripts.items[i];
		if (!covers(s, range) || lp_txn_takes_script(t, s->id))
			continue;
		id = s->id;
		*file = s->file;
	}
	pthread_mutex_unlock(&system->lock);
	return id;
}

int lp_scripts_check(struct lp_txn *t, lp_addr at, uint64_t size, struct lp_err *err)
{
	uint32_t file = 0;
	uint64_t id = t->system->space->alone ? find_over(t, (struct lp_range){at, at + size}, &file) : 0;

	if (!id)
		return 0;
	if (err)
		err->addr = at;
	return lp_fail(err, LP_EOVERLAP, LP_ADDR " is changed by %s (#%" PRIu64 ") already: take that back first", at,
		       lp_system_file_name(t->system, file), id);
}

static void lay_original(const struct lp_script *s, lp_addr at, uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < s->places.nr; i++) {
		const struct lp_script_place *p = &s->places.items[i];
		for (size_t k = 0; k < p->len; k++)
			if (p->at + k - at < len)
				bytes[p->at + k - at] = p->bytes[p->len + k];
	}
}

void lp_scripts_lay_original(struct lp_txn *t, bool all, lp_addr at, uint8_t *bytes, size_t len)
{
	LivePatchSystem *system = t->system;

	pthread_mutex_lock(&system->lock);
	for (size_t i = 0; system->space->alone && i < system->scripts.nr; i++) {
		const struct lp_script *s = &system->scripts.items[i];
		if (covers(s, (struct lp_range){at, at + len}) && (all || lp_txn_takes_script(t, s->id)))
			lay_original(s, at, bytes, len);
	}
	pthread_mutex_unlock(&system->lock);
}

static int may_change(void *arg, const struct lp_code_write *w, struct lp_err *err)
{
	struct part *p = arg;

	return p->system->space->alone ? lp_txn_check_script(p->txn, w->at, w->len, err) : 0;
}

static void note_place(void *arg, const struct lp_code_write *w)
{
	struct part *p = arg;
	struct lp_script_place place = {w->at, (uint32_t)w->len, w->is_data, lp_alloc(2 * w->len)};

	memcpy(place.bytes, w->new_bytes, w->len);
	memcpy(place.bytes + w->len, w->old_bytes, w->len);
	lp_vec_push(&p->script.places, place);
}

static int run(struct part *p, const struct lp_patchset *set, struct lp_err *err)
{
	const struct lp_code_witness witness = {may_change, note_place, p};
	struct lp_code_space *space = p->system->space;
	int rc = space->ops->script(space, set, flags_of(p->system), &witness, &p->script.id, err);

	if (!rc)
		enlist(p->system, &p->script);
	return rc;
}

/* ---- what became of them ---- */

/* Variables are the program's to change; code is not. */
static bool stands(LivePatchSystem *s, const struct lp_script_place *p)
{
	uint8_t *now = lp_alloc(p->len);
	bool same = p->is_data ||
		    (!s->space->ops->read(s->space, p->at, now, p->len, NULL) && !memcmp(now, p->bytes, p->len));

	lp_free(now);
	return same;
}

/* Places of the script that the target wrote over, or unmapped. */
static void find_lost(LivePatchSystem *s, const struct lp_script *script, lp_ranges *lost)
{
	for (size_t i = 0; i < script->places.nr; i++) {
		const struct lp_script_place *p = &script->places.items[i];
		if (!stands(s, p))
			lp_vec_push(lost, ((struct lp_range){p->at, p->at + p->len}));
	}
}

static bool is_lost(LivePatchSystem *s, const struct lp_script *script)
{
	lp_ranges lost = {0};

	find_lost(s, script, &lost);
	bool any = lost.nr;
	lp_vec_free(&lost);
	return any;
}

static struct lp_script whole_copy(const struct lp_script *s)
{
	struct lp_script copy = copy_of(s);

	for (size_t i = 0; i < s->places.nr; i++) {
		struct lp_script_place place = s->places.items[i];
		place.bytes = lp_memdup(place.bytes, 2 * (size_t)place.len);
		lp_vec_push(&copy.places, place);
	}
	return copy;
}

typedef LP_VEC(struct lp_script) script_vec;

/* The system's list as it is now: the target is not read with system->lock in hand. */
static script_vec list_now(LivePatchSystem *s)
{
	script_vec list = {0};

	pthread_mutex_lock(&s->lock);
	for (size_t i = 0; i < s->scripts.nr; i++)
		lp_vec_push(&list, whole_copy(&s->scripts.items[i]));
	pthread_mutex_unlock(&s->lock);
	return list;
}

static void free_list(script_vec *list)
{
	for (size_t i = 0; i < list->nr; i++)
		free_script(&list->items[i]);
	lp_vec_free(list);
}

/* False: there is no script of that number. */
static bool lost_places(LivePatchSystem *system, uint64_t id, lp_ranges *lost)
{
	script_vec list = list_now(system);
	bool found = false;

	for (size_t i = 0; !found && i < list.nr; i++) {
		found = list.items[i].id == id;
		if (found)
			find_lost(system, &list.items[i], lost);
	}
	free_list(&list);
	return found;
}

static int check_lost(LivePatchSystem *system, uint64_t id, lp_ranges *lost, struct lp_err *err)
{
	if (!lost_places(system, id, lost))
		return lp_fail(err, LP_ENOPATCH, "there is no script or .kpatch file #%" PRIu64, id);
	if (!lost->nr)
		return lp_fail(err, LP_EUSAGE, "#%" PRIu64 " stands as it was made: revert it", id);
	return 0;
}

int lp_system_forget_script(LivePatchSystem *system, uint64_t id, struct lp_err *err)
{
	struct lp_code_space *space = system->space;
	lp_ranges lost = {0};
	int rc = space->ops->unscript_place
			 ? check_lost(system, id, &lost, err)
			 : lp_fail(err, LP_EUSAGE, "a script is not forgotten here: its target remembers it");

	for (size_t i = 0; !rc && i < lost.nr; i++)
		rc = space->ops->unscript_place(space, id, lost.items[i], err);
	rc = rc ? rc : space->ops->unscript(space, id, flags_of(system), err);
	if (!rc)
		lp_scripts_delist(system, id);
	lp_vec_free(&lost);
	return rc;
}

/* ---- one script as part of a transaction ---- */

static int apply(struct part *p, struct lp_err *err)
{
	const char *name = lp_system_file_name(p->system, p->script.file);
	struct lp_patchset *set;
	int rc = lp_patch_parse_script(&set, p->script.text, strlen(p->script.text), name, err);

	if (rc)
		return rc;
	rc = run(p, set, err);
	lp_patchset_free(set);
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

	free_script(&p->script);
	lp_free(p);
}

static void add(struct lp_txn *t, struct lp_script script, bool put)
{
	struct part *p = lp_alloc(sizeof *p);

	*p = (struct part){t->system, t, script};
	lp_txn_add_part(t, &(struct lp_txn_part){.takes = put ? 0 : script.id,
						 .commit = put ? commit_put : commit_take,
						 .undo = put ? undo_put : undo_take,
						 .free = free_part,
						 .arg = p});
}

/* Loading a file twice is no mistake; where patches may lie over each other it may even be meant. */
static bool is_there(struct lp_txn *t, uint32_t file, const char *text)
{
	bool found = false;

	pthread_mutex_lock(&t->system->lock);
	for (size_t i = 0; !found && t->system->space->alone && i < t->system->scripts.nr; i++) {
		const struct lp_script *s = &t->system->scripts.items[i];
		found = s->file == file && s->text && !strcmp(s->text, text) && !lp_txn_takes_script(t, s->id);
	}
	pthread_mutex_unlock(&t->system->lock);
	return found;
}

int lp_script_put(struct lp_txn *t, const struct lp_sourced *s, struct lp_err *err)
{
	char *text = text_of(s->set);

	if (is_there(t, s->file, text))
		lp_free(text);
	else
		add(t, (struct lp_script){.file = s->file, .text = text}, true);
	return (int)s->set->nr;
}

/* ---- .kpatch files ---- */

int lp_system_apply_object(LivePatchSystem *system, const char *path, uint64_t *id, struct lp_err *err)
{
	struct lp_txn nothing;
	struct part p = {system, &nothing, {0}};
	struct lp_patchset *set = NULL;
	int rc = lp_objects_check(system, err);

	rc = rc ? rc : lp_patch_open(&set, path, err);
	if (rc < 0)
		return rc;
	lp_txn_init(&nothing, system);
	p.script.file = lp_system_file(system, path);
	struct lp_held held = lp_table_lock_all(system->table);
	rc = run(&p, set, err);
	lp_table_unlock(system->table, held);
	*id = p.script.id;
	free_script(&p.script);
	lp_patchset_free(set);
	return rc;
}

/* ---- all of them ---- */

/* What a reload and `all` are about: not .kpatch files.  Nor, unless they are asked for, those that are lost. */
static size_t copy_list(LivePatchSystem *s, bool lost_too, struct lp_script **out)
{
	script_vec list = list_now(s);
	size_t nr = 0;

	*out = lp_alloc((list.nr + 1) * sizeof **out);
	for (size_t i = 0; i < list.nr; i++)
		if (list.items[i].text && (lost_too || !is_lost(s, &list.items[i])))
			(*out)[nr++] = copy_of(&list.items[i]);
	free_list(&list);
	return nr;
}

void lp_system_each_script(LivePatchSystem *system, void (*fn)(const struct lp_script_info *info, void *arg), void *arg)
{
	script_vec list = list_now(system);

	for (size_t i = 0; i < list.nr; i++) {
		const struct lp_script *s = &list.items[i];
		fn(&(struct lp_script_info){.file = lp_system_file_name(system, s->file),
					    .text = s->text,
					    .id = s->id,
					    .is_object = !s->text,
					    .is_lost = is_lost(system, s)},
		   arg);
	}
	free_list(&list);
}

int lp_scripts_take_all(struct lp_txn *t, bool lost_too)
{
	struct lp_script *list;
	size_t nr = copy_list(t->system, lost_too, &list);

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

int lp_scripts_replace(struct lp_txn *t, const struct lp_sourced *sets, size_t nr, bool puts)
{
	struct lp_script *old;
	size_t nr_old = copy_list(t->system, true, &old);
	int changed = 0;

	for (size_t i = 0; i < nr; i++) {
		struct lp_script s = {.file = sets[i].file};
		if (!lp_set_is_script(t->system, sets[i].set))
			continue;
		s.text = text_of(sets[i].set);
		if (take_same(old, nr_old, s.file, s.text) || !puts)
			lp_free(s.text);
		else
			add(t, s, true), changed++;
	}
	for (size_t i = 0; i < nr_old; i++) {
		if (old[i].text && !puts)
			add(t, old[i], false), changed++;
		else
			lp_free(old[i].text);
	}
	lp_free(old);
	return changed;
}
