/*
 * Several changes as one.
 *
 * Puts and takes are kept by address, like the system's own patches, so that a
 * file of a million entries is checked against itself as fast as against what
 * is there.  A taken patch stays the system's until commit: of it only the
 * address and the generation are remembered, and at commit it must still be
 * the same.
 */
#include "api/txn.h"

#include <string.h>
#include <time.h>

void lp_txn_init(struct lp_txn *t, LivePatchSystem *system)
{
	*t = (struct lp_txn){.system = system};
}

static unsigned align_of(const struct lp_txn *t)
{
	return t->system->space->isa->insn_align;
}

static struct lp_patch *find_in(const struct lp_table *table, lp_addr at)
{
	return table ? lp_table_find(table, at) : NULL;
}

static struct lp_patch *add_to(struct lp_txn *t, struct lp_table **table, const struct lp_patch *p)
{
	if (!*table)
		*table = lp_table_new(align_of(t), false);
	return lp_table_add(*table, p);
}

static int fail_at(struct lp_err *err, int rc, lp_addr at)
{
	if (err)
		err->addr = at;
	return rc;
}

static struct lp_txn_step *add_step(struct lp_txn *t, int kind, lp_addr at)
{
	struct lp_txn_step *s = lp_vec_add(&t->steps);

	s->kind = kind;
	s->at = at;
	return s;
}

/* ---- what will be there ---- */

static bool is_taken(const struct lp_txn *t, const struct lp_patch *p)
{
	const struct lp_patch *take = find_in(t->takes, p->at);

	return take && take->generation == p->generation;
}

/* The system's patch over [at, at + size) that is not to go.  Shards of it are held. */
static const struct lp_patch *find_staying(const struct lp_txn *t, lp_addr at, uint64_t size)
{
	for (uint64_t i = 0; i < size; i += align_of(t)) {
		const struct lp_patch *p = lp_table_find(t->system->table, at + i);
		if (p && !is_taken(t, p))
			return p;
	}
	return NULL;
}

static int fail_overlap(const struct lp_patch *p, lp_addr at, struct lp_err *err)
{
	return fail_at(err,
		       lp_fail(err, LP_EOVERLAP, LP_ADDR " is changed by the patch at " LP_ADDR "%s%s%s already", at,
			       p->at, p->description ? " (" : "", p->description ? p->description : "",
			       p->description ? ")" : ""),
		       p->at);
}

static int check_against_puts(struct lp_txn *t, lp_addr at, uint64_t size, struct lp_err *err)
{
	const struct lp_patch *p = t->puts ? lp_table_overlap(t->puts, at, size) : NULL;

	return p ? fail_overlap(p, at, err) : 0;
}

static int check_against_system(struct lp_txn *t, lp_addr at, uint64_t size, struct lp_err *err)
{
	const struct lp_patch *p = find_staying(t, at, size);

	return p ? fail_overlap(p, at, err) : 0;
}

int lp_txn_check(struct lp_txn *t, lp_addr at, uint64_t size, struct lp_err *err)
{
	int rc = check_against_puts(t, at, size, err);

	if (rc)
		return rc;
	struct lp_held held = lp_table_lock(t->system->table, at, size);
	rc = check_against_system(t, at, size, err);
	lp_table_unlock(t->system->table, held);
	return rc ? rc : lp_scripts_check(t, at, size, err);
}

int lp_txn_check_script(struct lp_txn *t, lp_addr at, uint64_t size, struct lp_err *err)
{
	int rc = check_against_puts(t, at, size, err);

	rc = rc ? rc : check_against_system(t, at, size, err);
	return rc ? rc : lp_scripts_check(t, at, size, err);
}

bool lp_txn_takes_script(const struct lp_txn *t, uint64_t id)
{
	for (size_t i = 0; i < t->steps.nr; i++) {
		const struct lp_txn_step *s = &t->steps.items[i];
		if (s->kind == LP_STEP_PART && s->part.takes == id)
			return true;
	}
	return false;
}

/* ---- a patch as the space has it ---- */

static struct lp_code_edit word_edit(const struct lp_patch *p)
{
	return (struct lp_code_edit){
		.at = p->at,
		.len = sizeof p->word.original,
		.old_bytes = (const uint8_t *)&p->word.original,
		.new_bytes = (const uint8_t *)&p->word.patched,
	};
}

static struct lp_code_edit more_edit(const struct lp_patch *p)
{
	return (struct lp_code_edit){
		.at = p->at + p->more->lead,
		.len = p->more->size,
		.old_bytes = p->more->original,
		.new_bytes = p->more->patched,
		.moved = p->more->moved,
		.moved_to = p->more->moved_to,
		.token = p->more->tokens[0],
	};
}

/* How many edits a patch is, and the space's word for the i-th. */
static size_t edits_of(const struct lp_patch *p)
{
	if (p->is_word)
		return 1;
	return p->more->divert ? p->more->divert->nr : p->more->size != 0;
}

static struct lp_code_edit edit_of(const struct lp_patch *p, size_t i)
{
	if (p->is_word)
		return word_edit(p);
	if (!p->more->divert)
		return more_edit(p);
	struct lp_code_edit e = p->more->divert->edits[i];
	e.divert = p->more->divert;
	e.token = p->more->tokens[i];
	return e;
}

/* ---- what is there without it ---- */

/* What `p` covers of [at, at + len) becomes its original. */
static void lay_original(const struct lp_patch *p, lp_addr at, uint8_t *bytes, size_t len)
{
	for (size_t k = 0; k < edits_of(p); k++) {
		struct lp_code_edit e = edit_of(p, k);

		for (size_t i = 0; i < e.len; i++) {
			if (e.at + i - at < len)
				bytes[e.at + i - at] = e.old_bytes[i];
		}
	}
}

static int read_below(struct lp_txn *t, bool all, lp_addr at, void *bytes, size_t len, struct lp_err *err)
{
	struct lp_table *table = t->system->table;
	struct lp_held held = lp_table_lock(table, at, len);
	int rc = t->system->space->ops->read(t->system->space, at, bytes, len, err);

	for (size_t i = 0; !rc && (all || t->takes) && i < len; i += align_of(t)) {
		const struct lp_patch *p = lp_table_find(table, at + i);
		if (p && (all || is_taken(t, p)))
			lay_original(p, at, bytes, len);
	}
	lp_table_unlock(table, held);
	if (!rc)
		lp_scripts_lay_original(t, all, at, bytes, len);
	return rc;
}

int lp_txn_read(struct lp_txn *t, lp_addr at, void *bytes, size_t len, struct lp_err *err)
{
	return read_below(t, false, at, bytes, len, err);
}

int lp_txn_read_original(struct lp_txn *t, lp_addr at, void *bytes, size_t len, struct lp_err *err)
{
	return read_below(t, true, at, bytes, len, err);
}

bool lp_txn_name(struct lp_txn *t, const char *name, size_t len, lp_addr *at)
{
	LivePatchSystem *s = t->system;

	if (lp_names_find(&t->names, name, len, at))
		return true;
	pthread_mutex_lock(&s->lock);
	bool found = lp_names_find(&s->names, name, len, at);
	pthread_mutex_unlock(&s->lock);
	return found && !find_in(t->takes, *at);
}

/* ---- adding to it ---- */

static const char *name_of(const struct lp_patch *p)
{
	return p->is_word ? NULL : p->more->name;
}

static int check_name(struct lp_txn *t, const char *name, struct lp_err *err)
{
	lp_addr at;

	if (!name || !lp_txn_name(t, name, strlen(name), &at))
		return 0;
	return fail_at(err, lp_fail(err, LP_EOVERLAP, "there is a function called %s already, at " LP_ADDR, name, at),
		       at);
}

static int check_count(const struct lp_txn *t, struct lp_err *err)
{
	if (t->puts && lp_table_count(t->puts) >= LP_TABLE_MAX - 1)
		return lp_fail(err, LP_ENOROOM, "more than %u patches in one transaction", LP_TABLE_MAX - 1);
	return 0;
}

static void put(struct lp_txn *t, const struct lp_patch *p)
{
	add_to(t, &t->puts, p);
	if (name_of(p))
		lp_names_add(&t->names, name_of(p), p->at);
}

int lp_txn_put(struct lp_txn *t, struct lp_patch *p, struct lp_err *err)
{
	int rc = lp_txn_check(t, p->at, p->extent, err);

	rc = rc ? rc : check_name(t, name_of(p), err);
	rc = rc ? rc : check_count(t, err);
	if (rc) {
		lp_patch_drop(t->system, p);
		return rc;
	}
	put(t, p);
	add_step(t, LP_STEP_PUT, p->at);
	return 0;
}

/* Takes it out of the puts; it is the caller's again. */
static struct lp_patch unput(struct lp_txn *t, struct lp_patch *p)
{
	struct lp_patch copy = *p;

	if (name_of(p))
		lp_names_remove(&t->names, name_of(p));
	lp_table_remove(t->puts, p);
	return copy;
}

static int fail_none(lp_addr at, const struct lp_patch *over, struct lp_err *err)
{
	int rc = over ? lp_fail(err, LP_ENOPATCH, "the patch over " LP_ADDR " is that of " LP_ADDR, at, over->at)
		      : lp_fail(err, LP_ENOPATCH, "there is no patch at " LP_ADDR, at);

	return fail_at(err, rc, at);
}

static int take_active(struct lp_txn *t, lp_addr at, struct lp_err *err)
{
	struct lp_held held = lp_table_lock(t->system->table, at, 1);
	const struct lp_patch *p = lp_table_find(t->system->table, at);
	bool ok = p && p->at == at && !is_taken(t, p);
	struct lp_patch mark = {.at = at};
	int rc = 0;

	if (ok)
		mark = (struct lp_patch){
			.at = at, .extent = align_of(t), .is_word = true, .generation = p->generation, .file = p->file};
	else
		rc = fail_none(at, p && p->at != at ? p : NULL, err);
	lp_table_unlock(t->system->table, held);
	if (rc)
		return rc;
	struct lp_patch *stale = find_in(t->takes, at);
	if (stale)
		lp_table_remove(t->takes, stale);
	add_to(t, &t->takes, &mark);
	add_step(t, LP_STEP_TAKE, at);
	return 0;
}

int lp_txn_take(struct lp_txn *t, lp_addr at, struct lp_err *err)
{
	struct lp_patch *p = find_in(t->puts, at);

	if (p && p->at == at) {
		struct lp_patch copy = unput(t, p);
		add_step(t, LP_STEP_UNPUT, at)->patch = copy;
		return 0;
	}
	if (p)
		return fail_none(at, p, err);
	return take_active(t, at, err);
}

int lp_txn_take_if(struct lp_txn *t, lp_addr at, struct lp_err *err)
{
	int rc = lp_txn_take(t, at, err);

	return rc == -LP_ENOPATCH ? 0 : rc ? rc : 1;
}

void lp_txn_add_part(struct lp_txn *t, const struct lp_txn_part *part)
{
	add_step(t, LP_STEP_PART, 0)->part = *part;
}

/* ---- taking back ---- */

static void take_back(struct lp_txn *t, struct lp_txn_step *s)
{
	struct lp_patch copy;

	switch (s->kind) {
	case LP_STEP_PUT:
		copy = unput(t, lp_table_find(t->puts, s->at));
		lp_patch_drop(t->system, &copy);
		break;
	case LP_STEP_TAKE:
		lp_table_remove(t->takes, lp_table_find(t->takes, s->at));
		break;
	case LP_STEP_UNPUT:
		put(t, &s->patch);
		break;
	case LP_STEP_PART:
		s->part.free(s->part.arg, false);
		break;
	}
}

size_t lp_txn_mark(const struct lp_txn *t)
{
	return t->steps.nr;
}

void lp_txn_rollback(struct lp_txn *t, size_t mark)
{
	while (t->steps.nr > mark) {
		take_back(t, &t->steps.items[t->steps.nr - 1]);
		t->steps.nr--;
	}
}

static void forget(struct lp_txn *t)
{
	lp_table_free(t->puts);
	lp_table_free(t->takes);
	lp_names_free(&t->names);
	lp_vec_free(&t->steps);
	*t = (struct lp_txn){.system = t->system, .next = t->next};
}

void lp_txn_abort(struct lp_txn *t)
{
	lp_txn_rollback(t, 0);
	forget(t);
}

/* ---- is it still there? ---- */

/* Does memory hold what the edit put there? */
static bool stands(LivePatchSystem *s, const struct lp_code_edit *e)
{
	uint8_t *now = lp_alloc(e->len);
	bool same = !s->space->ops->read(s->space, e->at, now, e->len, NULL) && !memcmp(now, e->new_bytes, e->len);

	lp_free(now);
	return same;
}

bool lp_patch_stands(LivePatchSystem *s, const struct lp_patch *p)
{
	bool stand = true;

	for (size_t i = 0; stand && i < edits_of(p); i++) {
		struct lp_code_edit e = edit_of(p, i);

		stand = stands(s, &e);
	}
	return stand;
}

/* A divert is made anew wherever it is told to be, and would cover what somebody else has put there. */
static int check_intact(LivePatchSystem *s, const struct lp_patch *p, struct lp_err *err)
{
	if (lp_patch_stands(s, p))
		return 0;
	return fail_at(err,
		       lp_fail(err, LP_ECHANGED,
			       "the patch at " LP_ADDR " is lost, what it changed was written over: forget it first",
			       p->at),
		       p->at);
}

/* ---- commit ---- */

/* A commit under way: what the space is told, and whom it concerns. */
struct commit {
	struct lp_txn *t;
	LP_VEC(struct lp_patch *) gone; /* the system's */
	LP_VEC(struct lp_patch *) come; /* the transaction's */
	LP_VEC(struct lp_code_edit) undone;
	LP_VEC(struct lp_code_edit) edits;
	unsigned flags;
	int rc;
	struct lp_err *err;
};

static void find_gone(struct lp_patch *mark, void *arg)
{
	struct commit *c = arg;
	struct lp_patch *p = lp_table_find(c->t->system->table, mark->at);

	if (!p || p->at != mark->at || p->generation != mark->generation)
		c->rc = c->rc ? c->rc : fail_none(mark->at, NULL, c->err);
	else
		lp_vec_push(&c->gone, p);
	if (p && c->t->system->space->alone)
		c->rc = c->rc ? c->rc : check_intact(c->t->system, p, c->err);
}

static void find_come(struct lp_patch *p, void *arg)
{
	struct commit *c = arg;

	c->rc = c->rc ? c->rc : check_against_system(c->t, p->at, p->extent, c->err);
	c->rc = c->rc ? c->rc : lp_scripts_check(c->t, p->at, p->extent, c->err);
	lp_vec_push(&c->come, p);
}

#define add_edits(list, p)                                  \
	do {                                                \
		for (size_t k = 0; k < edits_of(p); k++)    \
			lp_vec_push(list, edit_of((p), k)); \
	} while (0)

static void list_edits(struct commit *c)
{
	for (size_t i = 0; i < c->gone.nr; i++)
		add_edits(&c->undone, c->gone.items[i]);
	for (size_t i = 0; i < c->come.nr; i++)
		add_edits(&c->edits, c->come.items[i]);
}

static void keep_tokens(struct lp_patch *const *patches, size_t nr, const struct lp_code_edit *edits)
{
	for (size_t i = 0, e = 0; i < nr; i++) {
		struct lp_patch *p = patches[i];
		for (size_t k = 0; k < edits_of(p); k++, e++) {
			if (!p->is_word)
				p->more->tokens[k] = edits[e].token;
		}
	}
}

static int commit_edits(struct commit *c)
{
	struct lp_code_space *s = c->t->system->space;
	int rc = c->edits.nr ? s->ops->commit(s, c->edits.items, c->edits.nr, c->flags, c->err) : 0;

	if (!rc)
		keep_tokens(c->come.items, c->come.nr, c->edits.items);
	return rc;
}

static int undo_edits(struct commit *c)
{
	struct lp_code_space *s = c->t->system->space;

	return c->undone.nr ? s->ops->undo(s, c->undone.items, c->undone.nr, c->flags, c->err) : 0;
}

/* What was undone comes back, because the rest cannot be. */
static void redo_edits(struct commit *c)
{
	struct lp_code_space *s = c->t->system->space;

	for (size_t i = 0; i < c->undone.nr; i++)
		c->undone.items[i].token = 0;
	if (c->undone.nr && !s->ops->commit(s, c->undone.items, c->undone.nr, c->flags, NULL))
		keep_tokens(c->gone.items, c->gone.nr, c->undone.items);
}

/* -LP_EOVERLAP: what comes covers other bytes than what goes in its place, which not every space does in one. */
static int exchange_edits(struct commit *c)
{
	struct lp_code_space *s = c->t->system->space;

	if (!s->ops->exchange || !c->undone.nr || !c->edits.nr)
		return -LP_EOVERLAP;
	int rc = s->ops->exchange(s, c->undone.items, c->undone.nr, c->edits.items, c->edits.nr, c->flags, c->err);
	if (!rc)
		keep_tokens(c->come.items, c->come.nr, c->edits.items);
	return rc;
}

static int write_edits(struct commit *c)
{
	int rc = exchange_edits(c);

	if (rc != -LP_EOVERLAP)
		return rc;
	rc = undo_edits(c);
	if (rc)
		return rc;
	rc = commit_edits(c);
	if (rc)
		redo_edits(c);
	return rc;
}

static bool is_part(const struct lp_txn_step *s, bool early)
{
	return s->kind == LP_STEP_PART && (s->part.takes != 0) == early;
}

/* Those before the n-th step, in reverse. */
static void undo_parts(struct commit *c, bool early, size_t n)
{
	for (; n > 0; n--) {
		struct lp_txn_step *s = &c->t->steps.items[n - 1];
		if (is_part(s, early))
			s->part.undo(s->part.arg);
	}
}

/* The parts that are no patches, the early ones or the others: all, or none. */
static int commit_parts(struct commit *c, bool early)
{
	size_t i, nr = c->t->steps.nr;
	int rc = 0;

	for (i = 0; !rc && i < nr; i++) {
		struct lp_txn_step *s = &c->t->steps.items[i];
		rc = is_part(s, early) ? s->part.commit(s->part.arg, c->err) : 0;
	}
	if (rc)
		undo_parts(c, early, i - 1);
	return rc;
}

static void unwrite_edits(struct commit *c)
{
	struct lp_code_space *s = c->t->system->space;

	if (c->edits.nr)
		s->ops->undo(s, c->edits.items, c->edits.nr, c->flags, NULL);
	redo_edits(c);
}

static void leave_table(struct commit *c)
{
	LivePatchSystem *s = c->t->system;

	for (size_t i = 0; i < c->gone.nr; i++) {
		struct lp_patch copy = *c->gone.items[i];

		lp_table_remove(s->table, c->gone.items[i]);
		lp_system_note_gone(s, &copy);
		lp_patch_drop(s, &copy);
	}
}

static void enter_table(struct commit *c)
{
	LivePatchSystem *s = c->t->system;
	uint64_t generation = c->gone.nr || c->come.nr ? lp_system_next_generation(s) : 0;
	uint32_t now = (uint32_t)time(NULL);

	for (size_t i = 0; i < c->come.nr; i++) {
		struct lp_patch *p = c->come.items[i];

		p->generation = generation;
		p->applied = now;
		if (!p->is_word) {
			lp_free(p->more->moved);
			p->more->moved = NULL;
		}
		lp_table_add(s->table, p);
		lp_system_note_come(s, p);
	}
}

/* The steps are done; of what they held only patches that were taken back before commit are left. */
static void finish_steps(struct lp_txn *t)
{
	for (size_t i = 0; i < t->steps.nr; i++) {
		struct lp_txn_step *s = &t->steps.items[i];

		if (s->kind == LP_STEP_UNPUT)
			lp_patch_drop(t->system, &s->patch);
		else if (s->kind == LP_STEP_PART)
			s->part.free(s->part.arg, true);
	}
}

static int write_all(struct commit *c)
{
	int rc = write_edits(c);

	if (rc)
		return rc;
	rc = commit_parts(c, false);
	if (rc)
		unwrite_edits(c);
	return rc;
}

static int commit_locked(struct commit *c)
{
	if (c->t->takes)
		lp_table_each(c->t->takes, find_gone, c);
	if (c->t->puts)
		lp_table_each(c->t->puts, find_come, c);
	if (c->rc)
		return c->rc;
	list_edits(c);
	c->rc = commit_parts(c, true);
	if (c->rc)
		return c->rc;
	c->rc = write_all(c);
	if (c->rc) {
		undo_parts(c, true, c->t->steps.nr);
		return c->rc;
	}
	leave_table(c);
	enter_table(c);
	return (int)(c->gone.nr + c->come.nr);
}

/* One patch that comes concerns its own shards; everything else may concern any. */
static struct lp_held lock_for(const struct lp_txn *t)
{
	struct lp_table *table = t->system->table;
	const struct lp_patch *p;

	if (!t->system->space->concurrent || t->steps.nr != 1 || t->steps.items[0].kind != LP_STEP_PUT)
		return lp_table_lock_all(table);
	p = lp_table_find(t->puts, t->steps.items[0].at);
	return lp_table_lock(table, p->at, p->extent);
}

static unsigned space_flags(LivePatchSystem *s)
{
	return atomic_load(&s->flags) & LIVEPATCH_ALLOW_ACTIVE ? LP_CODE_ALLOW_ACTIVE : 0;
}

int lp_txn_apply(struct lp_txn *t, struct lp_err *err)
{
	struct commit c = {.t = t, .flags = space_flags(t->system), .err = err};
	struct lp_held held = lock_for(t);
	int rc = commit_locked(&c);

	lp_table_unlock(t->system->table, held);
	lp_vec_free(&c.gone);
	lp_vec_free(&c.come);
	lp_vec_free(&c.undone);
	lp_vec_free(&c.edits);
	if (rc < 0) {
		lp_txn_abort(t);
		return rc;
	}
	finish_steps(t);
	forget(t);
	return rc;
}

/* ---- giving up ---- */

static int check_overwritten(LivePatchSystem *s, const struct lp_patch *p, struct lp_err *err)
{
	if (!lp_patch_stands(s, p))
		return 0;
	return fail_at(err, lp_fail(err, LP_EUSAGE, "the patch at " LP_ADDR " stands as it was made: revert it", p->at),
		       p->at);
}

/* Its room is nobody's from now on. */
static int disown(LivePatchSystem *s, const struct lp_patch *p, struct lp_err *err)
{
	LP_VEC(struct lp_code_edit) edits = {0};

	add_edits(&edits, p);
	int rc = s->space->ops->disown(s->space, edits.items, edits.nr, err);
	lp_vec_free(&edits);
	return rc;
}

static void forget_patch(LivePatchSystem *s, struct lp_patch *p)
{
	struct lp_patch copy = *p;

	if (!copy.is_word) {
		copy.more->divert = NULL;
		copy.more->room_size = 0;
	}
	lp_table_remove(s->table, p);
	lp_system_next_generation(s);
	lp_system_note_gone(s, &copy);
	lp_patch_drop(s, &copy);
}

int lp_patch_forget(LivePatchSystem *s, lp_addr at, struct lp_err *err)
{
	struct lp_held held = lp_table_lock_all(s->table);
	struct lp_patch *p = lp_table_find(s->table, at);
	int rc = p && p->at == at ? check_overwritten(s, p, err) : fail_none(at, p, err);

	rc = rc ? rc : disown(s, p, err);
	if (!rc)
		forget_patch(s, p);
	lp_table_unlock(s->table, held);
	return rc;
}

/* ---- one call's share ---- */

struct lp_txn *lp_txn_use(struct lp_txn_use *use, LivePatchSystem *system)
{
	use->txn = lp_txn_current(system);
	if (!use->txn) {
		lp_txn_init(&use->own, system);
		use->txn = &use->own;
	}
	use->mark = lp_txn_mark(use->txn);
	return use->txn;
}

int lp_txn_done(struct lp_txn_use *use, int rc, struct lp_err *err)
{
	if (rc < 0) {
		lp_txn_rollback(use->txn, use->mark);
		if (use->txn == &use->own)
			forget(use->txn);
		return rc;
	}
	if (use->txn != &use->own)
		return rc;
	int done = lp_txn_apply(use->txn, err);
	return done < 0 ? done : rc;
}
