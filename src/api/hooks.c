/*
 * Hooks in our own process.
 *
 * A hook is a patch of the one system over this process: of the type
 * FUNCTION_REDIRECT, with a divert of the space's that knows what calls the
 * function as it was.  That system is made when it is first needed and stays
 * for good, since hooks do.
 */
#include "api/files.h"
#include "api/system.h"

#undef livepatch_init_self

static pthread_mutex_t self_lock = PTHREAD_MUTEX_INITIALIZER;
static LivePatchSystem *self_system; /* made once, under the lock */

/* ---- the system ---- */

/* A child of fork() begins with the locks free, and with nothing that another thread was in the middle of. */
static struct lp_held forking;
static pthread_mutex_t *forking_files;

static void before_fork(void)
{
	lp_watches_hold();
	forking_files = lp_files_lock(self_system);
	pthread_mutex_lock(forking_files);
	lp_txns_hold();
	pthread_mutex_lock(&self_lock);
	forking = lp_table_lock_all(self_system->table);
	pthread_mutex_lock(&self_system->lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&self_system->lock);
	lp_table_unlock(self_system->table, forking);
	pthread_mutex_unlock(&self_lock);
	lp_txns_release();
	pthread_mutex_unlock(forking_files);
	lp_watches_release();
}

static bool release_self(LivePatchSystem *system)
{
	pthread_mutex_lock(&self_lock);
	bool is_last = system->users && !--system->users;
	pthread_mutex_unlock(&self_lock);
	if (is_last)
		lp_system_rest(system);
	return true;
}

static void make_self(struct lp_err *err)
{
	struct lp_code_space *space;

	if (lp_code_open_self(&space, err) < 0)
		return;
	self_system = lp_system_new(space);
	self_system->stays = release_self;
	/* After the space's: what is registered last is called first before a fork, and our locks are taken first. */
	pthread_atfork(before_fork, after_fork, after_fork);
}

static LivePatchSystem *get_self(struct lp_err *err)
{
	pthread_mutex_lock(&self_lock);
	if (!self_system)
		make_self(err);
	LivePatchSystem *s = self_system;
	pthread_mutex_unlock(&self_lock);
	return s;
}

LivePatchSystem *livepatch_init_self(void)
{
	LivePatchSystem *s = get_self(lp_enter());

	if (s) {
		pthread_mutex_lock(&self_lock);
		s->users++;
		pthread_mutex_unlock(&self_lock);
	}
	return s;
}

/* ---- hooks ---- */

static lp_addr address(const void *p)
{
	return (lp_addr)(uintptr_t)p;
}

static bool is_hook(const struct lp_patch *p, lp_addr fn)
{
	return p && p->at == fn && p->type == PATCH_FUNCTION_REDIRECT && !p->is_word && p->more->divert;
}

static struct lp_patch *find_in(const struct lp_table *table, lp_addr at)
{
	return table ? lp_table_find(table, at) : NULL;
}

/* The hook on fn as it will be after the transaction; NULL = none.  fn's shard is held. */
static struct lp_patch_more *find_hook(struct lp_txn *t, lp_addr fn)
{
	const struct lp_patch *p = find_in(t->puts, fn), *taken = find_in(t->takes, fn);

	if (p)
		return is_hook(p, fn) ? p->more : NULL;
	p = lp_table_find(t->system->table, fn);
	if (!is_hook(p, fn) || (taken && taken->generation == p->generation))
		return NULL;
	return p->more;
}

static bool is_hooked(struct lp_txn *t, void *fn)
{
	struct lp_held held = lp_table_lock(t->system->table, address(fn), 1);
	bool hooked = find_hook(t, address(fn)) != NULL;

	lp_table_unlock(t->system->table, held);
	return hooked;
}

static int need_hook(struct lp_txn *t, void *fn, struct lp_err *err)
{
	return is_hooked(t, fn) ? 0
				: lp_fail(err, LP_ENOPATCH, "the function at " LP_ADDR " is not hooked", address(fn));
}

static int check_functions(void *fn, void *replacement, struct lp_err *err)
{
	return fn && replacement ? 0 : lp_fail(err, LP_EUSAGE, "a hook needs a function and its replacement");
}

/* Before commit: from then on somebody may be in the replacement, and call it. */
static void tell_original(const struct lp_patch *planned, void **original)
{
	if (original)
		__atomic_store_n(original, (void *)(uintptr_t)planned->more->divert->original, __ATOMIC_RELEASE);
}

static int plan_hook(struct lp_txn *t, void *fn, void *replacement, void **original, struct lp_err *err)
{
	struct lp_request r = {.type = PATCH_FUNCTION_REDIRECT, .at = address(fn), .target = address(replacement)};
	int rc = check_functions(fn, replacement, err);

	if (!rc && is_hooked(t, fn))
		rc = lp_fail(err, LP_EHOOKED, "the function at " LP_ADDR " is hooked already", address(fn));
	rc = rc ? rc : lp_plan(t, &r, NULL, err);
	if (!rc)
		tell_original(lp_table_find(t->puts, address(fn)), original);
	return rc;
}

int livepatch_hook(void *fn, void *replacement, void **original)
{
	struct lp_err *err = lp_enter();
	LivePatchSystem *s = get_self(err);
	void *before = original ? *original : NULL;
	struct lp_txn_use use;
	int rc = lp_system_check_enabled(s, err);

	if (rc < 0)
		return lp_leave(s, rc);
	rc = plan_hook(lp_txn_use(&use, s), fn, replacement, original, err);
	rc = lp_txn_done(&use, rc, err);
	if (rc < 0 && original)
		*original = before;
	return lp_leave(s, rc < 0 ? rc : 0);
}

int livepatch_unhook(void *fn)
{
	struct lp_err *err = lp_enter();
	LivePatchSystem *s = get_self(err);
	struct lp_txn_use use;
	int rc = lp_system_check(s, err);

	if (rc < 0)
		return lp_leave(s, rc);
	struct lp_txn *t = lp_txn_use(&use, s);
	rc = need_hook(t, fn, err);
	rc = rc ? rc : lp_txn_take(t, address(fn), err);
	rc = lp_txn_done(&use, rc, err);
	return lp_leave(s, rc < 0 ? rc : 0);
}

/* ---- another replacement ---- */

struct rehook {
	struct lp_txn *txn;
	void *fn;
	lp_addr to, before;
};

/* Part of a commit: all shards are held. */
static int retarget(struct rehook *r, lp_addr to, lp_addr *before, struct lp_err *err)
{
	struct lp_code_space *space = r->txn->system->space;
	struct lp_patch_more *hook = find_hook(r->txn, address(r->fn));
	int rc = hook ? space->ops->divert_retarget(space, hook->divert, to, 0, err)
		      : lp_fail(err, LP_ENOPATCH, "the function at " LP_ADDR " is not hooked any more", address(r->fn));

	if (rc)
		return rc;
	*before = hook->target;
	hook->target = to;
	return 0;
}

static int commit_rehook(void *arg, struct lp_err *err)
{
	struct rehook *r = arg;

	return retarget(r, r->to, &r->before, err);
}

static void undo_rehook(void *arg)
{
	struct rehook *r = arg;

	retarget(r, r->before, &r->to, NULL);
}

static void free_rehook(void *arg, bool committed)
{
	lp_free(arg);
}

static void add_rehook(struct lp_txn *t, void *fn, void *replacement)
{
	struct rehook *r = lp_alloc(sizeof *r);

	*r = (struct rehook){.txn = t, .fn = fn, .to = address(replacement)};
	lp_txn_add_part(
		t, &(struct lp_txn_part){.commit = commit_rehook, .undo = undo_rehook, .free = free_rehook, .arg = r});
}

int livepatch_rehook(void *fn, void *replacement)
{
	struct lp_err *err = lp_enter();
	LivePatchSystem *s = get_self(err);
	struct lp_txn_use use;
	int rc = lp_system_check_enabled(s, err);

	if (rc < 0)
		return lp_leave(s, rc);
	struct lp_txn *t = lp_txn_use(&use, s);
	rc = check_functions(fn, replacement, err);
	rc = rc ? rc : need_hook(t, fn, err);
	if (!rc)
		add_rehook(t, fn, replacement);
	rc = lp_txn_done(&use, rc, err);
	return lp_leave(s, rc < 0 ? rc : 0);
}
