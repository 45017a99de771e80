/*
 * A target of the engine (core/), another process or a guest, as memory that a
 * LivePatchSystem changes: asked through patchsets that are made here.
 *
 * A commit is one patchset, one transaction of the engine, one entry in the
 * ledger of the target: `livepatch list` shows it, `livepatch revert` undoes it.
 * Edits become `inline` (code) and `set` (data) with the bytes that are expected
 * before; a divert becomes `jmp`, with all that the engine knows about
 * replacing functions.  Between calls a process is not traced.
 *
 * Undoing a part.  An entry of the ledger is undone as a whole or not at all.
 * When some edits of a commit go and others stay, a new entry puts back what
 * those that go had replaced, on top of the first.  The two are one *group*
 * from then on: once its last edit goes, all entries of the group are reverted
 * in one transaction, and nothing is left in the ledger.  Where an entry that
 * is not ours, or not of the group, builds on one of them, the last edit goes
 * by an entry on top as well, and the group is reverted when it can be.
 *
 * An exchange is one entry too.  It lies on top of what it undoes, which is
 * why they are one group from the start.
 *
 * Rooms are mapped before anything refers to them and belong to no entry, as
 * their name, "livepatch-room.0", says.  What was dropped is not used again: a
 * thread, or a coroutine, may be in it for as long as it likes.
 */
#include "space/code.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"
#include "core/functions.h"

#define PATIENCE_MS 5000 /* for functions in use, and for other livepatches */
#define CHUNK (UINT64_C(64) << 10)
#define CODE_ALIGN 16u
#define ROOM_ID 0     /* no patch has this number */
#define PLACE_TRIES 8 /* times an address that we chose may be taken by the program before we can have it */

/* Entries of the ledger that go together. */
struct group {
	LP_VEC(uint64_t) ids;
	size_t live; /* edits in it that stand */
};

/* A commit, by its entry; edits have that id as their token. */
struct commit {
	uint64_t id;
	struct group *group;
};

struct chunk {
	struct lp_range range;
	lp_addr free;
};

struct target_code {
	struct lp_code_space space;
	struct lp_code_ops ops; /* with our name */
	struct lp_target *target;
	pthread_mutex_t lock;
	LP_VEC(struct commit) commits; /* by rising id */
	LP_VEC(struct group *) groups;
	LP_VEC(struct chunk) chunks;
};

struct divert {
	struct lp_code_divert divert;
	struct {
		uint8_t old_bytes[LP_JUMP_MAX], new_bytes[LP_JUMP_MAX];
	} bytes[2];
};

static struct target_code *code_of(struct lp_code_space *s)
{
	return (struct target_code *)s;
}

static struct divert *divert_of(struct lp_code_divert *d)
{
	return (struct divert *)d;
}

static struct lp_apply_opts opts_of(unsigned flags)
{
	return (struct lp_apply_opts){.timeout_ms = PATIENCE_MS, .allow_active = flags & LP_CODE_ALLOW_ACTIVE};
}

/* ---- what is asked of the engine ---- */

static struct lp_patchset *new_patchset(void)
{
	char *name = lp_sprintf("livepatch.h (%s)", program_invocation_short_name);
	struct lp_patchset *ps = lp_patch_new(name);
	lp_free(name);
	return ps;
}

static struct lp_addr_expr number(lp_addr at)
{
	return (struct lp_addr_expr){.kind = LP_ADDR_INT, .number = at};
}

static void add_bytes(struct lp_patchset *ps, enum lp_op_kind kind, const struct lp_code_edit *e, const uint8_t *before,
		      const uint8_t *after, struct lp_range body)
{
	struct lp_op op = {.kind = kind,
			   .at = number(e->at),
			   .value = lp_memdup(after, e->len),
			   .value_len = e->len,
			   .type_name = "hex",
			   .expect = lp_memdup(before, e->len),
			   .expect_len = e->len,
			   .body = body};
	lp_patch_add_op(ps, &op);
}

static void add_jump(struct lp_patchset *ps, lp_addr from, lp_addr to)
{
	struct lp_op op = {.kind = LP_OP_JMP, .at = number(from), .to = number(to)};
	lp_patch_add_op(ps, &op);
}

static void add_edit(struct lp_patchset *ps, const struct lp_code_edit *e)
{
	if (!e->divert)
		add_bytes(ps, e->is_data ? LP_OP_SET : LP_OP_INLINE, e, e->old_bytes, e->new_bytes, e->body);
	else if (e->at == e->divert->edits[0].at)
		add_jump(ps, e->divert->from, e->divert->to);
}

/* What calls of a diverted function are in now must be left before they are in the old one again. */
static void add_inverse(struct target_code *tc, struct lp_patchset *ps, const struct lp_code_edit *e)
{
	struct lp_range body = {0, 0};
	if (e->divert)
		lp_function_around(tc->target, e->divert->to, &body);
	add_bytes(ps, LP_OP_SET, e, e->new_bytes, e->old_bytes, body);
}

/* What we know of the target's files may be of before it loaded another one. */
static int make_plan(struct target_code *tc, const struct lp_patchset *ps, unsigned flags, struct lp_plan **plan,
		     struct lp_err *err)
{
	struct lp_apply_opts opts = opts_of(flags);
	if (lp_plan_make(plan, tc->target, ps, &opts, NULL) == 0)
		return 0;
	tc->target->ops->refresh(tc->target);
	return lp_plan_make(plan, tc->target, ps, &opts, err);
}

static const struct lp_write *write_at(const struct lp_plan *plan, lp_addr at, size_t len)
{
	size_t nr;
	const struct lp_write *writes = lp_plan_writes(plan, &nr);
	for (size_t i = 0; i < nr; i++)
		if (writes[i].at == at && writes[i].len == len)
			return &writes[i];
	return NULL;
}

/* ---- diverts ---- */

static int describe_divert(struct divert *d, const struct lp_plan *plan, struct lp_err *err)
{
	size_t nr;
	const struct lp_write *writes = lp_plan_writes(plan, &nr);
	if (nr == 0 || nr > LP_ARRAY_SIZE(d->divert.edits))
		return lp_fail(err, LP_EINTERNAL, "a jump on " LP_ADDR " takes %zu writes", d->divert.from, nr);
	d->divert.nr = nr;
	for (size_t i = 0; i < nr; i++) {
		memcpy(d->bytes[i].old_bytes, writes[i].old_bytes, writes[i].len);
		memcpy(d->bytes[i].new_bytes, writes[i].new_bytes, writes[i].len);
		d->divert.edits[i] = (struct lp_code_edit){.at = writes[i].at,
							   .len = (uint32_t)writes[i].len,
							   .old_bytes = d->bytes[i].old_bytes,
							   .new_bytes = d->bytes[i].new_bytes,
							   .body = writes[i].body,
							   .divert = &d->divert};
	}
	return 0;
}

static int target_divert_make(struct lp_code_space *s, lp_addr from, lp_addr to, unsigned flags,
			      struct lp_code_divert **out, struct lp_err *err)
{
	struct target_code *tc = code_of(s);
	struct divert *d = lp_alloc(sizeof *d);
	d->divert = (struct lp_code_divert){.from = from, .to = to};
	struct lp_patchset *ps = new_patchset();
	struct lp_plan *plan = NULL;
	add_jump(ps, from, to);
	pthread_mutex_lock(&tc->lock);
	int rc = make_plan(tc, ps, flags, &plan, err);
	rc = rc ? rc : describe_divert(d, plan, err);
	pthread_mutex_unlock(&tc->lock);
	lp_plan_free(plan);
	lp_patchset_free(ps);
	if (rc < 0) {
		lp_free(d);
		return rc;
	}
	*out = &d->divert;
	return 0;
}

static void target_divert_free(struct lp_code_space *s, struct lp_code_divert *d)
{
	lp_free(d);
}

/* Somebody else may have been here since the divert was made. */
static int check_divert(const struct lp_code_divert *d, const struct lp_plan *plan, struct lp_err *err)
{
	for (size_t i = 0; i < d->nr; i++) {
		const struct lp_write *w = write_at(plan, d->edits[i].at, d->edits[i].len);
		if (!w || memcmp(w->old_bytes, d->edits[i].old_bytes, w->len) != 0)
			return lp_fail(err, LP_ECHANGED, "the code at " LP_ADDR " has changed since it was looked at",
				       d->edits[i].at);
	}
	return 0;
}

static int check_diverts(const struct lp_code_edit *edits, size_t nr, const struct lp_plan *plan, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < nr && rc == 0; i++)
		if (edits[i].divert)
			rc = check_divert(edits[i].divert, plan, err);
	return rc;
}

/* The plan was made anew when it was applied, and may lead over another island now. */
static void learn_jump(struct lp_code_divert *d, const struct lp_plan *plan)
{
	for (size_t i = 0; i < d->nr; i++) {
		const struct lp_write *w = write_at(plan, d->edits[i].at, d->edits[i].len);
		if (w)
			memcpy(divert_of(d)->bytes[i].new_bytes, w->new_bytes, w->len);
	}
}

/* ---- groups ---- */

static struct group *new_group(struct target_code *tc, uint64_t id, size_t live)
{
	struct group *g = lp_alloc(sizeof *g);
	g->live = live;
	lp_vec_push(&g->ids, id);
	lp_vec_push(&tc->groups, g);
	lp_vec_push(&tc->commits, ((struct commit){id, g}));
	return g;
}

static struct group *group_of(struct target_code *tc, uint64_t token)
{
	size_t lo = 0, hi = tc->commits.nr;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (tc->commits.items[mid].id < token)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < tc->commits.nr && tc->commits.items[lo].id == token ? tc->commits.items[lo].group : NULL;
}

static void free_group(struct group *g)
{
	lp_vec_free(&g->ids);
	lp_free(g);
}

static void leave_groups(struct target_code *tc, const struct group *g)
{
	size_t kept = 0;
	for (size_t i = 0; i < tc->groups.nr; i++)
		if (tc->groups.items[i] != g)
			tc->groups.items[kept++] = tc->groups.items[i];
	tc->groups.nr = kept;
}

static void remove_group(struct target_code *tc, struct group *g)
{
	size_t kept = 0;
	for (size_t i = 0; i < tc->commits.nr; i++)
		if (tc->commits.items[i].group != g)
			tc->commits.items[kept++] = tc->commits.items[i];
	tc->commits.nr = kept;
	leave_groups(tc, g);
	free_group(g);
}

static void merge_groups(struct target_code *tc, struct group *into, struct group *from)
{
	for (size_t i = 0; i < from->ids.nr; i++)
		lp_vec_push(&into->ids, from->ids.items[i]);
	into->live += from->live;
	for (size_t i = 0; i < tc->commits.nr; i++)
		if (tc->commits.items[i].group == from)
			tc->commits.items[i].group = into;
	leave_groups(tc, from);
	free_group(from);
}

/* ---- commit ---- */

static int apply_changes(struct target_code *tc, const struct lp_patchset *ps, struct lp_code_edit *edits, size_t nr,
			 unsigned flags, uint64_t *id, struct lp_err *err)
{
	struct lp_plan *plan = NULL;
	struct lp_result result;
	int rc = make_plan(tc, ps, flags, &plan, err);
	rc = rc ? rc : check_diverts(edits, nr, plan, err);
	rc = rc ? rc : lp_plan_apply(plan, &result, err);
	for (size_t i = 0; i < nr && rc == 0; i++)
		if (edits[i].divert)
			learn_jump(edits[i].divert, plan);
	if (rc == 0)
		*id = result.id;
	lp_plan_free(plan);
	return rc;
}

static void remember(struct target_code *tc, struct lp_code_edit *edits, size_t nr, uint64_t id)
{
	new_group(tc, id, nr);
	for (size_t i = 0; i < nr; i++) {
		edits[i].token = id;
		for (size_t k = 0; edits[i].divert && k < edits[i].divert->nr; k++)
			edits[i].divert->edits[k].token = id;
	}
}

static int target_commit(struct lp_code_space *s, struct lp_code_edit *edits, size_t nr, unsigned flags,
			 struct lp_err *err)
{
	struct target_code *tc = code_of(s);
	uint64_t id = 0;
	if (nr == 0)
		return 0;
	struct lp_patchset *ps = new_patchset();
	for (size_t i = 0; i < nr; i++)
		add_edit(ps, &edits[i]);
	pthread_mutex_lock(&tc->lock);
	int rc = apply_changes(tc, ps, edits, nr, flags, &id, err);
	if (rc == 0)
		remember(tc, edits, nr, id);
	pthread_mutex_unlock(&tc->lock);
	lp_patchset_free(ps);
	return rc;
}

static int target_divert_retarget(struct lp_code_space *s, struct lp_code_divert *d, lp_addr to, unsigned flags,
				  struct lp_err *err)
{
	struct target_code *tc = code_of(s);
	uint64_t id = 0;
	struct lp_patchset *ps = new_patchset();
	add_jump(ps, d->from, to);
	pthread_mutex_lock(&tc->lock);
	struct lp_plan *plan = NULL;
	struct lp_result result;
	struct group *g = group_of(tc, d->edits[0].token);
	int rc = g ? make_plan(tc, ps, flags, &plan, err)
		   : lp_fail(err, LP_ENOPATCH, "calls of " LP_ADDR " do not go elsewhere", d->from);
	rc = rc ? rc : lp_plan_apply(plan, &result, err);
	if (rc == 0) {
		learn_jump(d, plan);
		d->to = to;
		id = result.id;
		lp_vec_push(&g->ids, id);
	}
	pthread_mutex_unlock(&tc->lock);
	lp_plan_free(plan);
	lp_patchset_free(ps);
	return rc;
}

/* ---- undo ---- */

/* How much of a group goes. */
struct share {
	struct group *group;
	size_t going;
};

typedef LP_VEC(struct share) share_vec;

static int find_shares(struct target_code *tc, const struct lp_code_edit *edits, size_t nr, share_vec *shares,
		       struct lp_err *err)
{
	for (size_t i = 0; i < nr; i++) {
		struct group *g = group_of(tc, edits[i].token);
		size_t k = 0;
		if (!g)
			return lp_fail(err, LP_ENOPATCH, "the change at " LP_ADDR " is not one of ours", edits[i].at);
		while (k < shares->nr && shares->items[k].group != g)
			k++;
		if (k == shares->nr)
			lp_vec_push(shares, ((struct share){.group = g}));
		shares->items[k].going++;
	}
	return 0;
}

static bool all_whole(const share_vec *shares)
{
	for (size_t i = 0; i < shares->nr; i++)
		if (shares->items[i].going < shares->items[i].group->live)
			return false;
	return true;
}

typedef LP_VEC(uint64_t) id_vec;

static void ids_of(const share_vec *shares, id_vec *ids)
{
	for (size_t i = 0; i < shares->nr; i++)
		for (size_t k = 0; k < shares->items[i].group->ids.nr; k++)
			lp_vec_push(ids, shares->items[i].group->ids.items[k]);
}

/* Entries of which a `livepatch revert` of somebody else's has made nothing, or memory. */
static int drop_reverted(struct target_code *tc, id_vec *ids, struct lp_err *err)
{
	struct lp_listing list;
	int rc = lp_ledger_list(tc->target, &list, err);
	if (rc < 0)
		return rc;
	size_t kept = 0;
	for (size_t i = 0; i < ids->nr; i++)
		for (size_t k = 0; k < list.nr; k++)
			if (list.items[k].id == ids->items[i] && list.items[k].state == LP_APPLIED) {
				ids->items[kept++] = ids->items[i];
				break;
			}
	ids->nr = kept;
	lp_listing_free(&list);
	return 0;
}

static int holds_old(struct target_code *tc, const struct lp_code_edit *e, struct lp_err *err)
{
	uint8_t *now = lp_alloc(e->len);
	int rc = tc->target->ops->read(tc->target, e->at, now, e->len, err);
	if (rc == 0 && memcmp(now, e->old_bytes, e->len) != 0)
		rc = lp_fail(err, LP_ECHANGED,
			     "somebody else has taken back the change at " LP_ADDR
			     ", and put something else there than what was there before",
			     e->at);
	lp_free(now);
	return rc;
}

/* Somebody has undone some of it from outside: what is left is ours to undo, if the rest is as it should be. */
static int revert_rest(struct target_code *tc, id_vec *ids, const struct lp_code_edit *edits, size_t nr,
		       const struct lp_apply_opts *opts, struct lp_err *err)
{
	struct lp_result result;
	tc->target->ops->refresh(tc->target);
	int rc = drop_reverted(tc, ids, err);
	if (rc == 0 && ids->nr)
		rc = lp_revert(tc->target, ids->items, ids->nr, opts, &result, err);
	for (size_t i = 0; i < nr && rc == 0; i++)
		rc = holds_old(tc, &edits[i], err);
	return rc;
}

/* Groups whose last edit could not go with their entries. */
static void bury_dead(struct target_code *tc, const struct lp_apply_opts *opts)
{
	struct lp_result result;
	for (size_t i = tc->groups.nr; i-- > 0;) {
		struct group *g = tc->groups.items[i];
		if (!g->live && lp_revert(tc->target, g->ids.items, g->ids.nr, opts, &result, NULL) == 0)
			remove_group(tc, g);
	}
}

static int undo_whole(struct target_code *tc, const struct lp_code_edit *edits, size_t nr, const share_vec *shares,
		      unsigned flags, struct lp_err *err)
{
	struct lp_apply_opts opts = opts_of(flags);
	struct lp_result result;
	id_vec ids = {0};
	ids_of(shares, &ids);
	int rc = lp_revert(tc->target, ids.items, ids.nr, &opts, &result, err);
	if (rc == -LP_ENOPATCH)
		rc = revert_rest(tc, &ids, edits, nr, &opts, err);
	lp_vec_free(&ids);
	for (size_t i = 0; i < shares->nr && rc == 0; i++)
		remove_group(tc, shares->items[i].group);
	if (rc == 0)
		bury_dead(tc, &opts);
	return rc;
}

static int undo_on_top(struct target_code *tc, const struct lp_code_edit *edits, size_t nr, const share_vec *shares,
		       unsigned flags, struct lp_err *err)
{
	struct lp_patchset *ps = new_patchset();
	uint64_t id = 0;
	for (size_t i = 0; i < nr; i++)
		add_inverse(tc, ps, &edits[i]);
	int rc = apply_changes(tc, ps, NULL, 0, flags, &id, err);
	lp_patchset_free(ps);
	if (rc < 0)
		return rc;
	struct group *g = shares->items[0].group;
	for (size_t i = 1; i < shares->nr; i++)
		merge_groups(tc, g, shares->items[i].group);
	lp_vec_push(&g->ids, id);
	g->live -= nr;
	return 0;
}

static int target_undo(struct lp_code_space *s, struct lp_code_edit *edits, size_t nr, unsigned flags,
		       struct lp_err *err)
{
	struct target_code *tc = code_of(s);
	share_vec shares = {0};
	if (nr == 0)
		return 0;
	pthread_mutex_lock(&tc->lock);
	int rc = find_shares(tc, edits, nr, &shares, err);
	if (rc == 0) {
		rc = all_whole(&shares) ? undo_whole(tc, edits, nr, &shares, flags, err) : -LP_EDEPENDED;
		if (rc == -LP_EDEPENDED)
			rc = undo_on_top(tc, edits, nr, &shares, flags, err);
		if (rc == 0 && err)
			*err = (struct lp_err){0};
	}
	pthread_mutex_unlock(&tc->lock);
	lp_vec_free(&shares);
	return rc;
}

/* ---- exchange ---- */

static const struct lp_code_edit *same_place(const struct lp_code_edit *edits, size_t nr, const struct lp_code_edit *e)
{
	for (size_t i = 0; i < nr; i++)
		if (edits[i].at == e->at && edits[i].len == e->len)
			return &edits[i];
	return NULL;
}

/* The engine stacks changes of the same bytes, and no others. */
static int check_stacking(const struct lp_code_edit *undone, size_t nr_undone, const struct lp_code_edit *e,
			  struct lp_err *err)
{
	struct lp_range mine = {e->at, e->at + e->len};
	for (size_t i = 0; i < nr_undone; i++) {
		struct lp_range theirs = {undone[i].at, undone[i].at + undone[i].len};
		if (lp_range_overlaps(mine, theirs) && (mine.start != theirs.start || mine.end != theirs.end))
			return lp_fail(err, LP_EOVERLAP,
				       "the change at " LP_ADDR " takes the place of one of other length at " LP_ADDR,
				       e->at, undone[i].at);
	}
	return 0;
}

static void add_exchange(struct target_code *tc, struct lp_patchset *ps, const struct lp_code_edit *undone,
			 size_t nr_undone, const struct lp_code_edit *edits, size_t nr)
{
	for (size_t i = 0; i < nr_undone; i++)
		if (!same_place(edits, nr, &undone[i]))
			add_inverse(tc, ps, &undone[i]);
	for (size_t i = 0; i < nr; i++) {
		struct lp_code_edit e = edits[i];
		const struct lp_code_edit *before = same_place(undone, nr_undone, &e);
		if (before)
			e.old_bytes = before->new_bytes;
		add_edit(ps, &e);
	}
}

/* What a divert found was one that goes; what it will leave behind is what that one found. */
static void inherit_old(const struct lp_code_edit *undone, size_t nr_undone, struct lp_code_edit *edits, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		const struct lp_code_edit *before = same_place(undone, nr_undone, &edits[i]);
		struct lp_code_divert *d = edits[i].divert;
		for (size_t k = 0; before && d && k < d->nr; k++)
			if (d->edits[k].at == edits[i].at)
				memcpy(divert_of(d)->bytes[k].old_bytes, before->old_bytes, before->len);
	}
}

static void join_groups(struct target_code *tc, const share_vec *shares, struct group *g)
{
	for (size_t i = 0; i < shares->nr; i++) {
		shares->items[i].group->live -= shares->items[i].going;
		merge_groups(tc, g, shares->items[i].group);
	}
}

static int exchange_in_one(struct target_code *tc, const struct lp_code_edit *undone, size_t nr_undone,
			   struct lp_code_edit *edits, size_t nr, unsigned flags, struct lp_err *err)
{
	struct lp_patchset *ps = new_patchset();
	share_vec shares = {0};
	uint64_t id = 0;
	int rc = find_shares(tc, undone, nr_undone, &shares, err);
	add_exchange(tc, ps, undone, nr_undone, edits, nr);
	rc = rc ? rc : apply_changes(tc, ps, edits, nr, flags, &id, err);
	if (rc == 0) {
		inherit_old(undone, nr_undone, edits, nr);
		remember(tc, edits, nr, id);
		join_groups(tc, &shares, group_of(tc, id));
	}
	lp_vec_free(&shares);
	lp_patchset_free(ps);
	return rc;
}

static int target_exchange(struct lp_code_space *s, struct lp_code_edit *undone, size_t nr_undone,
			   struct lp_code_edit *edits, size_t nr, unsigned flags, struct lp_err *err)
{
	struct target_code *tc = code_of(s);
	int rc = 0;
	for (size_t i = 0; i < nr && rc == 0; i++)
		rc = check_stacking(undone, nr_undone, &edits[i], err);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&tc->lock);
	rc = exchange_in_one(tc, undone, nr_undone, edits, nr, flags, err);
	pthread_mutex_unlock(&tc->lock);
	return rc;
}

/* ---- rooms ---- */

static bool reaches(const struct lp_isa *isa, lp_addr near, struct lp_range room)
{
	uint64_t below = near > room.start ? near - room.start : 0, above = room.end > near ? room.end - near : 0;
	return !near || (below < isa->reach && above < isa->reach);
}

static struct chunk *find_chunk(struct target_code *tc, lp_addr near, size_t size)
{
	for (size_t i = 0; i < tc->chunks.nr; i++) {
		struct chunk *c = &tc->chunks.items[i];
		if (c->range.end - c->free >= size && reaches(tc->space.isa, near, c->range))
			return c;
	}
	return NULL;
}

static int map_chunk(struct target_code *tc, lp_addr near, uint64_t size, struct lp_range *out, struct lp_err *err)
{
	struct lp_target *t = tc->target;
	struct lp_range wanted = {near, near ? near + LP_JUMP_MAX : 0};
	int rc = -EEXIST;
	for (int try = 0; rc == -EEXIST && try < PLACE_TRIES; try++) {
		lp_addr at;
		rc = t->ops->near_hole(t, wanted, near ? t->isa->reach : 0, size, NULL, 0, &at, err);
		if (rc < 0)
			return rc;
		*out = (struct lp_range){at, at + size};
		struct lp_room_request room = {.range = *out, .nr_pieces = 1};
		room.pieces[0].range = *out;
		room.pieces[0].prot = LP_PROT_READ | LP_PROT_EXEC;
		rc = t->ops->make_rooms(t, ROOM_ID, &room, 1, err);
	}
	return rc;
}

static int make_chunk(struct target_code *tc, lp_addr near, size_t size, struct chunk **out, struct lp_err *err)
{
	struct lp_range range;
	int rc = tc->target->ops->lock(tc->target, PATIENCE_MS, err);
	if (rc < 0)
		return rc;
	rc = map_chunk(tc, near, lp_align_up(size > CHUNK ? size : CHUNK, LP_PAGE), &range, err);
	tc->target->ops->unlock(tc->target);
	if (rc < 0)
		return rc;
	*out = lp_vec_add(&tc->chunks);
	**out = (struct chunk){range, range.start};
	return 0;
}

static int target_room_make(struct lp_code_space *s, lp_addr near, size_t size, lp_addr *out, struct lp_err *err)
{
	struct target_code *tc = code_of(s);
	if (size == 0 || size > LP_NEW_MAX)
		return lp_fail(err, LP_ERANGE, "room of %zu bytes is not possible", size);
	size = lp_align_up(size, CODE_ALIGN);
	pthread_mutex_lock(&tc->lock);
	struct chunk *c = find_chunk(tc, near, size);
	int rc = c ? 0 : make_chunk(tc, near, size, &c, err);
	if (rc == 0) {
		*out = c->free;
		c->free += size;
	}
	pthread_mutex_unlock(&tc->lock);
	return rc;
}

static bool is_room(const struct target_code *tc, lp_addr at, size_t len)
{
	for (size_t i = 0; i < tc->chunks.nr; i++) {
		const struct chunk *c = &tc->chunks.items[i];
		if (at >= c->range.start && at <= c->free && len <= c->free - at)
			return true;
	}
	return false;
}

static int target_room_fill(struct lp_code_space *s, lp_addr at, const void *bytes, size_t len, struct lp_err *err)
{
	struct target_code *tc = code_of(s);
	pthread_mutex_lock(&tc->lock);
	int rc = is_room(tc, at, len) ? tc->target->ops->write(tc->target, at, bytes, len, err)
				      : lp_fail(err, LP_EINTERNAL, LP_ADDR " is no room of ours", at);
	pthread_mutex_unlock(&tc->lock);
	return rc;
}

/* The top of this file says why nothing is to be done. */
static void target_room_drop(struct lp_code_space *s, lp_addr at, size_t size)
{
}

/* ---- what is there ---- */

static int target_read(struct lp_code_space *s, lp_addr at, void *data, size_t len, struct lp_err *err)
{
	struct target_code *tc = code_of(s);
	pthread_mutex_lock(&tc->lock);
	int rc = tc->target->ops->read(tc->target, at, data, len, err);
	pthread_mutex_unlock(&tc->lock);
	return rc;
}

static int target_resolve(struct lp_code_space *s, const struct lp_addr_expr *e, lp_addr *at, uint64_t *size,
			  struct lp_err *err)
{
	struct target_code *tc = code_of(s);
	pthread_mutex_lock(&tc->lock);
	int rc = lp_resolve_addr(tc->target, e, at, size, NULL);
	if (rc < 0) {
		tc->target->ops->refresh(tc->target);
		rc = lp_resolve_addr(tc->target, e, at, size, err);
	}
	pthread_mutex_unlock(&tc->lock);
	return rc;
}

static int target_in_object(struct lp_code_space *s, const char *object, uint64_t vaddr, lp_addr *at,
			    struct lp_err *err)
{
	struct target_code *tc = code_of(s);
	pthread_mutex_lock(&tc->lock);
	int rc = lp_resolve_in_object(tc->target, object, vaddr, at, NULL);
	if (rc < 0) {
		tc->target->ops->refresh(tc->target);
		rc = lp_resolve_in_object(tc->target, object, vaddr, at, err);
	}
	pthread_mutex_unlock(&tc->lock);
	return rc;
}

/* What is known may be of before the target loaded another object at that address: the area there knows. */
static bool target_whose(struct lp_code_space *s, lp_addr at, char **object, uint64_t *vaddr)
{
	struct target_code *tc = code_of(s);
	struct lp_target *t = tc->target;
	struct lp_area area;
	pthread_mutex_lock(&tc->lock);
	const struct lp_image *image = lp_target_image_at(t, at, vaddr, NULL);
	if (t->ops->area(t, at, &area, NULL) == 0 && (!image || strcmp(area.name, image->name) != 0)) {
		t->ops->refresh(t);
		image = lp_target_image_at(t, at, vaddr, NULL);
	}
	bool moves = image && image->bias;
	if (moves)
		*object = lp_strdup(image->name);
	pthread_mutex_unlock(&tc->lock);
	return moves;
}

static bool target_function(struct lp_code_space *s, lp_addr at, struct lp_range *out)
{
	struct target_code *tc = code_of(s);
	pthread_mutex_lock(&tc->lock);
	bool known = lp_function_around(tc->target, at, out);
	pthread_mutex_unlock(&tc->lock);
	return known;
}

/* ---- scripts ---- */

static struct lp_code_write shown(const struct lp_write *w)
{
	return (struct lp_code_write){.at = w->at,
				      .len = w->len,
				      .old_bytes = w->old_bytes,
				      .new_bytes = w->new_bytes,
				      .is_data = w->kind != LP_WRITE_CODE};
}

static int ask(const struct lp_plan *plan, const struct lp_code_witness *witness, struct lp_err *err)
{
	size_t nr;
	const struct lp_write *writes = lp_plan_writes(plan, &nr);
	int rc = 0;
	for (size_t i = 0; witness && i < nr && rc == 0; i++) {
		struct lp_code_write w = shown(&writes[i]);
		rc = witness->may(witness->arg, &w, err);
	}
	return rc;
}

static void tell(const struct lp_plan *plan, const struct lp_code_witness *witness)
{
	size_t nr;
	const struct lp_write *writes = lp_plan_writes(plan, &nr);
	for (size_t i = 0; witness && i < nr; i++) {
		struct lp_code_write w = shown(&writes[i]);
		witness->done(witness->arg, &w);
	}
}

static int target_script(struct lp_code_space *s, const struct lp_patchset *ps, unsigned flags,
			 const struct lp_code_witness *witness, uint64_t *id, struct lp_err *err)
{
	struct target_code *tc = code_of(s);
	struct lp_plan *plan = NULL;
	struct lp_result result;
	pthread_mutex_lock(&tc->lock);
	int rc = make_plan(tc, ps, flags, &plan, err);
	rc = rc ? rc : ask(plan, witness, err);
	rc = rc ? rc : lp_plan_apply(plan, &result, err);
	if (rc == 0) {
		*id = result.id;
		tell(plan, witness);
	}
	lp_plan_free(plan);
	pthread_mutex_unlock(&tc->lock);
	return rc;
}

static int target_unscript(struct lp_code_space *s, uint64_t id, unsigned flags, struct lp_err *err)
{
	struct target_code *tc = code_of(s);
	struct lp_apply_opts opts = opts_of(flags);
	struct lp_result result;
	pthread_mutex_lock(&tc->lock);
	int rc = lp_revert(tc->target, &id, 1, &opts, &result, err);
	if (rc == 0)
		bury_dead(tc, &opts);
	pthread_mutex_unlock(&tc->lock);
	return rc;
}

static int target_unscript_place(struct lp_code_space *s, uint64_t id, struct lp_range place, struct lp_err *err)
{
	struct target_code *tc = code_of(s);
	struct lp_apply_opts opts = opts_of(0);
	pthread_mutex_lock(&tc->lock);
	int rc = lp_forsake(tc->target, &id, 1, place, &opts, err);
	pthread_mutex_unlock(&tc->lock);
	return rc;
}

/* ---- giving up ---- */

static int forsake(struct target_code *tc, const struct lp_code_edit *e, struct lp_err *err)
{
	struct lp_apply_opts opts = opts_of(0);
	struct group *g = group_of(tc, e->token);
	if (!g)
		return lp_fail(err, LP_ENOPATCH, "the change at " LP_ADDR " is not one of ours", e->at);
	int rc = lp_forsake(tc->target, g->ids.items, g->ids.nr, (struct lp_range){e->at, e->at + e->len}, &opts, err);
	g->live -= rc == 0;
	return rc;
}

static int target_disown(struct lp_code_space *s, const struct lp_code_edit *edits, size_t nr, struct lp_err *err)
{
	struct target_code *tc = code_of(s);
	struct lp_apply_opts opts = opts_of(0);
	int rc = 0;
	pthread_mutex_lock(&tc->lock);
	for (size_t i = 0; i < nr && rc == 0; i++)
		rc = forsake(tc, &edits[i], err);
	if (rc == 0)
		bury_dead(tc, &opts);
	pthread_mutex_unlock(&tc->lock);
	if (rc == 0 && nr)
		target_divert_free(s, edits[0].divert);
	return rc;
}

/* ---- open, close ---- */

static void target_close(struct lp_code_space *s)
{
	struct target_code *tc = code_of(s);
	while (tc->groups.nr)
		remove_group(tc, tc->groups.items[0]);
	lp_vec_free(&tc->groups);
	lp_vec_free(&tc->commits);
	lp_vec_free(&tc->chunks);
	lp_target_close(tc->target);
	pthread_mutex_destroy(&tc->lock);
	lp_free(tc);
}

static const struct lp_code_ops target_ops = {
	.name = "target",
	.read = target_read,
	.commit = target_commit,
	.undo = target_undo,
	.exchange = target_exchange,
	.room_make = target_room_make,
	.room_fill = target_room_fill,
	.room_drop = target_room_drop,
	.divert_make = target_divert_make,
	.divert_retarget = target_divert_retarget,
	.divert_free = target_divert_free,
	.resolve = target_resolve,
	.in_object = target_in_object,
	.function = target_function,
	.script = target_script,
	.unscript = target_unscript,
	.close = target_close,
};

int lp_code_open_target(struct lp_code_space **out, struct lp_target *t, const char *name, bool alone)
{
	struct target_code *tc = lp_alloc(sizeof *tc);
	tc->ops = target_ops;
	tc->ops.name = name;
	if (alone) {
		tc->ops.disown = target_disown;
		tc->ops.unscript_place = target_unscript_place;
		tc->ops.whose = target_whose;
	}
	tc->space =
		(struct lp_code_space){.ops = &tc->ops, .isa = t->isa, .range = {LP_PAGE, UINT64_MAX}, .alone = alone};
	tc->target = t;
	pthread_mutex_init(&tc->lock, NULL);
	*out = &tc->space;
	return 0;
}
