/*
 * Applying a plan.  lp_plan_apply() is the table of contents.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "core/actions.h"
#include "core/inside.h"
#include "core/plan.h"
#include "core/txn.h"

#define PLACE_TRIES 8 /* times an address that we chose may be taken by the program before we can have it */

/* ---- before: the ledger, the loader, a plan that is still true ---- */

static int open_ledger(struct lp_plan *p, struct lp_result *out, struct lp_err *err)
{
	int rc = lp_recover_locked(p->t, &p->opts, out, err);
	rc = rc ? rc : lp_ledger_open(&p->ledger, p->t, err);
	if (rc == 0 && !p->ledger.present)
		rc = lp_ledger_create(&p->ledger, err);
	return rc;
}

static int ask_loader(struct lp_plan *p, struct lp_err *err)
{
	for (size_t i = 0; i < p->ps->nr; i++) {
		const struct lp_op *op = &p->ps->ops[i];
		if (!op->dlopen || lp_plan_opened(p, op))
			continue;
		char path[4096];
		if (!realpath(op->path, path))
			return lp_at_where(err, lp_fail_sys(err, errno, "cannot find %s", op->path), &op->where);
		struct lp_opened o = {.op = op};
		size_t image;
		int rc = p->t->ops->dlopen(p->t, path, p->opts.timeout_ms, &o.handle, &image, err);
		const struct lp_image *images;
		size_t nr;
		rc = rc ? rc : p->t->ops->images(p->t, &images, &nr, err);
		if (rc < 0)
			return lp_at_where(err, rc, &op->where);
		o.base = images[image].bias;
		lp_vec_push(&p->opened, o);
	}
	return 0;
}

static void give_back_loader(struct lp_plan *p)
{
	for (size_t i = p->opened.nr; i-- > 0;)
		p->t->ops->dlclose(p->t, p->opened.items[i].handle, p->opts.timeout_ms, NULL);
	p->opened.nr = 0;
}

/* The plan was made without the lock: make it again, now that nobody else can change the target. */
static int bring_up_to_date(struct lp_plan *p, struct lp_err *err)
{
	p->t->ops->refresh(p->t);
	return lp_plan_build(p, err);
}

/* ---- prepare: everything the target cannot see yet ---- */

static struct lp_ledger_entry describe(const struct lp_plan *p)
{
	struct lp_ledger_entry e = {.id = p->ledger.h.next_id,
				    .state = LP_PREPARED,
				    .time = time(NULL),
				    .tool_pid = (uint32_t)getpid(),
				    .name = p->ps->name,
				    .nr_writes = p->writes.nr,
				    .nr_rooms = p->rooms.nr,
				    .deps = p->deps.items,
				    .nr_deps = p->deps.nr};
	e.writes = lp_alloc(p->writes.nr * sizeof *e.writes);
	for (size_t i = 0; i < p->writes.nr; i++) {
		const struct lp_write *w = &p->writes.items[i];
		e.writes[i] = (struct lp_entry_write){.at = w->at,
						      .len = (uint32_t)w->len,
						      .kind = w->kind,
						      .over = w->over,
						      .body = w->body,
						      .cold = w->cold,
						      .replacement = w->replacement,
						      .symbol = w->symbol,
						      .old_bytes = w->old_bytes,
						      .new_bytes = w->new_bytes};
	}
	e.rooms = lp_alloc(p->rooms.nr * sizeof *e.rooms);
	for (size_t i = 0; i < p->rooms.nr; i++) {
		const struct lp_room *r = &p->rooms.items[i];
		e.rooms[i] = (struct lp_entry_room){.range = r->range,
						    .kind = r->kind,
						    .handle = r->handle,
						    .used = r->used,
						    .name = r->name,
						    .path = r->path};
	}
	return e;
}

/* The intent first: from here on a successor can find and remove whatever we leave. */
static int record_intent(struct lp_plan *p, uint64_t *off, struct lp_err *err)
{
	struct lp_ledger_entry e = describe(p);
	int rc = lp_ledger_begin(&p->ledger, err);
	rc = rc ? rc : lp_ledger_add(&p->ledger, &e, off, err);
	lp_free(e.writes);
	lp_free(e.rooms);
	return rc;
}

static int make_rooms(struct lp_plan *p, uint64_t id, struct lp_err *err)
{
	LP_VEC(struct lp_room_request) want = {0};
	for (size_t i = 0; i < p->rooms.nr; i++)
		if (p->rooms.items[i].kind != LP_ROOM_HANDLE)
			lp_vec_push(&want, p->rooms.items[i].request);
	int rc = want.nr ? p->t->ops->make_rooms(p->t, id, want.items, want.nr, err) : 0;
	lp_vec_free(&want);
	return rc;
}

/* Pages that stay zero are not touched: they cost the target nothing. */
static int fill_room(struct lp_plan *p, const struct lp_room *r, struct lp_err *err)
{
	static const uint8_t zero[LP_PAGE];
	for (lp_addr page = r->range.start; page < r->range.end; page += LP_PAGE) {
		const uint8_t *bytes = r->bytes + (page - r->range.start);
		if (memcmp(bytes, zero, LP_PAGE) == 0)
			continue;
		int rc = p->t->ops->write(p->t, page, bytes, LP_PAGE, err);
		if (rc < 0)
			return lp_err_context(err, rc, "filling %s at " LP_ADDR, r->name, r->range.start);
	}
	return 0;
}

static int fill_rooms(struct lp_plan *p, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < p->rooms.nr && rc == 0; i++)
		if (p->rooms.items[i].bytes && p->rooms.items[i].kind != LP_ROOM_HANDLE)
			rc = fill_room(p, &p->rooms.items[i], err);
	return rc;
}

static int enter_in_index(struct lp_plan *p, uint64_t off, struct lp_ledger_entry *e, struct lp_err *err)
{
	int rc = lp_ledger_read(&p->ledger, off, e, err);
	rc = rc ? rc : lp_ledger_index_add(&p->ledger, e, err);
	return rc ? rc : lp_ledger_add_dependents(&p->ledger, e, 1, err);
}

static int prepare(struct lp_plan *p, struct lp_ledger_entry *e, struct lp_err *err)
{
	for (int try = 0;; try++) {
		uint64_t off;
		uint64_t id = p->ledger.h.next_id;
		int rc = record_intent(p, &off, err);
		if (rc < 0)
			return rc;
		rc = make_rooms(p, id, err);
		if (rc == 0) {
			rc = fill_rooms(p, err);
			rc = rc ? rc : enter_in_index(p, off, e, err);
			if (rc < 0) /* whatever is half done: recover knows how to remove a prepared entry */
				lp_abandon(&p->ledger, off, NULL);
			return rc;
		}
		lp_abandon(&p->ledger, off, NULL);
		if (rc != -EEXIST || try == PLACE_TRIES)
			return rc;
		lp_debug("an address that the plan chose was taken meanwhile; choosing again");
		rc = bring_up_to_date(p, err);
		if (rc < 0)
			return rc;
	}
}

/* ---- what the patch has the target do, before it is live and after ---- */

/* A patch that may throw must be known to those who catch. */
static int register_frames(struct lp_plan *p, struct lp_err *err)
{
	for (size_t i = 0; i < p->mems.nr; i++) {
		const struct lp_mem *m = &p->mems.items[i];
		struct lp_err why = {0};
		if (!m->relink || m->relink->eh_frame.start == m->relink->eh_frame.end)
			continue;
		int rc = lp_frames_register(p->t, p->rooms.items[m->room].range, m->relink->eh_frame.start,
					    p->opts.timeout_ms, &why);
		if (rc < 0 && lp_elf_section_find(m->relink->k->elf, ".kpatch.gcc_except_table")) {
			if (err)
				*err = why;
			return rc;
		}
		if (rc < 0)
			lp_warn("%s; nothing can be unwound through the patch's functions", why.text);
	}
	return 0;
}

static int run_hooks(struct lp_plan *p, enum lp_kpatch_hook kind, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < p->mems.nr && rc == 0; i++) {
		const struct lp_relink *r = p->mems.items[i].relink;
		if (r)
			rc = lp_hooks_run(p->t, r->hooks.items, r->hooks.nr, kind, p->opts.timeout_ms, err);
	}
	return rc;
}

/* A thread may be in the patch's code for as long as it likes: its memory stays, as after a revert. */
static void leave_to_hook(struct lp_plan *p, struct lp_ledger_entry *e)
{
	size_t kept = 0;
	if (lp_ledger_set_state(&p->ledger, e->off, LP_REVERTED, NULL) == 0 &&
	    lp_retire(&p->ledger, e, false, &kept, NULL) == 0)
		lp_ledger_end(&p->ledger, NULL);
}

static int make_ready(struct lp_plan *p, struct lp_ledger_entry *e, struct lp_err *err)
{
	int rc = register_frames(p, err);
	rc = rc ? rc : run_hooks(p, LP_HOOK_PRE_APPLY, err);
	if (rc < 0 && lp_hook_may_run(rc))
		leave_to_hook(p, e);
	else if (rc < 0)
		lp_abandon(&p->ledger, e->off, NULL);
	return rc;
}

/* An undoing leaves nothing behind that could be reverted. */
static bool is_undoing(const struct lp_plan *p)
{
	for (size_t i = 0; i < p->ps->nr; i++)
		if (p->ps->ops[i].kind != LP_OP_UNDO)
			return false;
	return p->ps->nr > 0;
}

static void finish(struct lp_plan *p, struct lp_ledger_entry *e)
{
	struct lp_err err = {0};
	size_t kept = 0;
	if (is_undoing(p) && lp_ledger_set_state(&p->ledger, e->off, LP_REVERTED, &err) == 0)
		lp_retire(&p->ledger, e, true, &kept, &err);
	if (run_hooks(p, LP_HOOK_POST_APPLY, &err) < 0)
		lp_warn("%s; the patch is applied all the same", err.text);
}

/* ---- commit ---- */

static void stage_writes(struct lp_plan *p, const struct lp_ledger_entry *e, struct lp_txn *x)
{
	for (size_t i = 0; i < e->nr_writes; i++) {
		const struct lp_entry_write *w = &e->writes[i];
		bool is_data = w->kind == LP_WRITE_DATA;
		lp_txn_edit(x, (struct lp_edit){.at = w->at,
						.len = w->len,
						.expect = w->old_bytes,
						.put = w->new_bytes,
						.kind = (enum lp_write_kind)w->kind,
						.accept = is_data ? LP_ACCEPT_ANY : LP_ACCEPT_OLD,
						.keep = is_data ? lp_ledger_addr(&p->ledger, w->old_off) : 0,
						.symbol = w->symbol});
		if (!p->writes.items[i].allow_active) {
			lp_txn_watch(x, w->body, LP_WATCH_BODY, w->symbol);
			lp_txn_watch(x, w->cold, LP_WATCH_BODY, w->symbol);
		}
	}
	for (size_t i = 0; i < p->guards.nr; i++)
		lp_txn_watch(x, p->guards.items[i].range, LP_WATCH_BODY, p->guards.items[i].symbol);
	lp_txn_entry(x, e->off, LP_PREPARED, LP_APPLYING, LP_APPLIED);
}

static int commit(struct lp_plan *p, const struct lp_ledger_entry *e, struct lp_result *out, struct lp_err *err)
{
	struct lp_txn x;
	struct lp_quiesce_stats stats = {0};
	lp_txn_open(&x, p->t, &p->ledger);
	stage_writes(p, e, &x);
	int rc = lp_txn_prepare(&x, err);
	rc = rc ? rc : lp_txn_commit(&x, &p->opts, &stats, err);
	if (rc < 0 && !x.torn)
		lp_abandon(&p->ledger, e->off, NULL);
	out->pause_ns = stats.pause_ns;
	out->nr_tries = stats.nr_tries;
	out->nr_threads = stats.nr_threads;
	lp_txn_close(&x);
	return rc;
}

static void report(const struct lp_plan *p, const struct lp_ledger_entry *e, struct lp_result *out)
{
	out->id = e->id;
	out->nr_patches = 1;
	out->nr_writes = p->writes.nr;
}

int lp_plan_apply(struct lp_plan *p, struct lp_result *out, struct lp_err *err)
{
	*out = (struct lp_result){0};
	struct lp_ledger_entry e = {0};
	int rc = p->t->ops->lock(p->t, p->opts.timeout_ms, err);
	if (rc < 0)
		return rc;
	rc = open_ledger(p, out, err);
	rc = rc ? rc : ask_loader(p, err);
	rc = rc ? rc : bring_up_to_date(p, err);
	rc = rc ? rc : prepare(p, &e, err);
	rc = rc ? rc : make_ready(p, &e, err);
	rc = rc ? rc : commit(p, &e, out, err);
	if (rc == 0) {
		report(p, &e, out);
		finish(p, &e);
		/* The patch is in.  A ledger that stays marked busy costs the next livepatch a rebuild, nothing else. */
		lp_ledger_end(&p->ledger, NULL);
	} else {
		give_back_loader(p);
	}
	lp_ledger_entry_free(&e);
	p->t->ops->unlock(p->t);
	return rc;
}
