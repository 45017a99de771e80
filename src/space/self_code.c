/*
 * This process as memory that a LivePatchSystem changes: src/self writes, the
 * engine's eyes (names, the ledger, the lock of all livepatches) look.
 *
 * A change is up to four steps (bytes, hooks that go, that lead elsewhere, that
 * come), each of them all or nothing; when a later one cannot be, those before
 * are taken back.  While it lasts no livepatch of another process may begin,
 * and bytes that one has changed are left alone: it would find something else
 * there than it left.  The other way round it finds that by itself, since it
 * compares what is in memory with what it expects.
 *
 * Threads that are inside of a function when it is diverted finish in the code
 * that they began in, whatever the flags say: nobody can wait for himself.
 *
 * Locks.  Names are looked up with the dynamic linker's lock held, so that the
 * list of libraries stands still; constructors and destructors of libraries,
 * which run with that lock held, may call us.  So it is never waited for with
 * ours held.
 *
 * fork().  A child begins with every lock free, since the forking thread held
 * them all; those of self/ are taken after ours, here as everywhere.  What it
 * inherits of our eyes still sees the parent, and is closed at once.
 *
 * Scripts are not for this space: the engine applies them in a pause of the
 * whole process, and whoever would make that pause is part of it.
 */
#include "space/code.h"

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/core.h"
#include "self/self.h"
#include "space/space.h"

#define PATIENCE_MS 5000 /* for livepatches of other processes */

#define BEGINNING 32u /* bytes of a function: all that a hook may have moved, and more */

/*
 * A function that is hooked, prepared to be, or was.  Two diverts have it while one is to take the place of the other.
 * Without any it stays for the next: who is in the replacement may still call what the function was, long after the
 * hook has gone, and nobody can tell when the last one has.
 */
struct hooked {
	struct lp_self_hook hook;
	unsigned refs;
	uint8_t beginning[BEGINNING]; /* of the function, unhooked */
	size_t len;
};

struct divert {
	struct lp_code_divert divert;
	struct hooked *hooked;
	struct {
		uint8_t old_bytes[LP_JUMP_MAX], new_bytes[LP_JUMP_MAX];
	} bytes[2];
};

struct self_code {
	struct lp_code_space space;
	pthread_mutex_t lock;  /* of what follows, and of changes */
	struct lp_target *own; /* opened when first needed; NULL: not yet, or impossible */
	uint64_t adds, subs;   /* libraries loaded and unloaded when own was asked last */
	LP_VEC(struct hooked *) hooked;
	LP_VEC(struct hooked *) disowned; /* kept for diverts that were never committed */
};

static struct self_code *code_of(struct lp_code_space *s)
{
	return (struct self_code *)s;
}

static struct divert *divert_of(struct lp_code_divert *d)
{
	return (struct divert *)d;
}

/* ---- fork ---- */

static pthread_mutex_t spaces_lock = PTHREAD_MUTEX_INITIALIZER;
static LP_VEC(struct self_code *) spaces;

static void before_fork(void)
{
	pthread_mutex_lock(&spaces_lock);
	for (size_t i = 0; i < spaces.nr; i++)
		pthread_mutex_lock(&spaces.items[i]->lock);
}

static void after_fork(void)
{
	for (size_t i = spaces.nr; i-- > 0;)
		pthread_mutex_unlock(&spaces.items[i]->lock);
	pthread_mutex_unlock(&spaces_lock);
}

static void in_child(void)
{
	for (size_t i = 0; i < spaces.nr; i++) {
		lp_target_close(spaces.items[i]->own);
		spaces.items[i]->own = NULL;
	}
	after_fork();
}

/* What is registered last is called first before a fork: the first call into self/ has it register what it wants. */
static void mind_forks(void)
{
	lp_self_poke(NULL, 0, NULL);
	pthread_atfork(before_fork, after_fork, in_child);
}

static void add_space(struct self_code *sc)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, mind_forks);
	pthread_mutex_lock(&spaces_lock);
	lp_vec_push(&spaces, sc);
	pthread_mutex_unlock(&spaces_lock);
}

static void remove_space(const struct self_code *sc)
{
	size_t kept = 0;
	pthread_mutex_lock(&spaces_lock);
	for (size_t i = 0; i < spaces.nr; i++)
		if (spaces.items[i] != sc)
			spaces.items[kept++] = spaces.items[i];
	spaces.nr = kept;
	pthread_mutex_unlock(&spaces_lock);
}

/* ---- our own eyes ---- */

static int open_eyes(struct self_code *sc, struct lp_err *err)
{
	return sc->own ? 0 : lp_target_open_own(&sc->own, err);
}

/* ---- memory ---- */

/* Where /proc is not to be had. */
static int read_by_call(lp_addr at, void *data, size_t len, struct lp_err *err)
{
	for (size_t done = 0; done < len;) {
		struct iovec local = {(uint8_t *)data + done, len - done};
		struct iovec remote = {(void *)(uintptr_t)(at + done), len - done};
		ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
		if (n <= 0)
			return n < 0 && errno != EFAULT
				       ? lp_fail_sys(err, errno, "cannot read our own memory")
				       : lp_fail(err, LP_EUNMAPPED, "nothing to be read at " LP_ADDR, at + done);
		done += (size_t)n;
	}
	return 0;
}

static int read_own(struct self_code *sc, lp_addr at, void *data, size_t len, struct lp_err *err)
{
	return open_eyes(sc, NULL) == 0 ? sc->own->ops->read(sc->own, at, data, len, err)
					: read_by_call(at, data, len, err);
}

static int self_read(struct lp_code_space *s, lp_addr at, void *data, size_t len, struct lp_err *err)
{
	struct self_code *sc = code_of(s);
	pthread_mutex_lock(&sc->lock);
	int rc = read_own(sc, at, data, len, err);
	pthread_mutex_unlock(&sc->lock);
	return rc;
}

/* ---- strangers ---- */

static int refuse_strangers(const struct lp_listed *e, const struct lp_listed_write *w, lp_addr at, struct lp_err *err)
{
	int rc = lp_fail(err, LP_EOVERLAP,
			 "the bytes at " LP_ADDR " were changed from outside of this process (patch %" PRIu64
			 ", %s); revert that one first",
			 at, e->id, w->symbol);
	if (err)
		err->addr = w->at;
	return rc;
}

static int check_against(const struct lp_listed *e, struct lp_range there, struct lp_err *err)
{
	for (size_t k = 0; k < e->nr_writes; k++) {
		const struct lp_listed_write *w = &e->writes[k];
		if (lp_range_overlaps(there, (struct lp_range){w->at, w->at + w->len}))
			return refuse_strangers(e, w, there.start, err);
	}
	return 0;
}

static int check_listing(const struct lp_listing *list, const struct lp_code_edit *edits, size_t nr, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < list->nr && rc == 0; i++)
		for (size_t k = 0; k < nr && rc == 0 && list->items[i].state != LP_REVERTED; k++)
			rc = check_against(&list->items[i], (struct lp_range){edits[k].at, edits[k].at + edits[k].len},
					   err);
	return rc;
}

/* Without eyes there is no lock either: whoever is outside cannot look in, nor patch. */
static int keep_strangers_out(struct self_code *sc, const struct lp_code_edit *undone, size_t nr_undone,
			      const struct lp_code_edit *edits, size_t nr, struct lp_err *err)
{
	struct lp_listing list;
	if (open_eyes(sc, NULL) < 0)
		return 0;
	int rc = lp_ledger_list(sc->own, &list, err);
	if (rc < 0)
		return rc;
	rc = check_listing(&list, undone, nr_undone, err);
	rc = rc ? rc : check_listing(&list, edits, nr, err);
	lp_listing_free(&list);
	return rc ? rc : sc->own->ops->lock(sc->own, PATIENCE_MS, err);
}

/* Names come before changes: the files that they were looked up in are not kept for ever. */
static void let_strangers_in(struct self_code *sc)
{
	if (!sc->own)
		return;
	sc->own->ops->unlock(sc->own);
	sc->own->ops->refresh(sc->own);
}

/* ---- whole instructions ---- */

static int check_whole(const struct lp_isa *isa, lp_addr at, const uint8_t *bytes, size_t len, const char *which,
		       struct lp_err *err)
{
	size_t done = 0, n = 1;
	for (; n && done < len; done += n)
		n = isa->insn_length(bytes + done, len - done, at + done);
	if (n)
		return 0;
	return lp_fail(err, LP_EENCODING, "%s bytes at " LP_ADDR " are not whole instructions: %zu of %zu are", which,
		       at, done, len);
}

static int check_edit(const struct lp_isa *isa, const struct lp_code_edit *e, struct lp_err *err)
{
	int rc = 0;
	if (e->divert || e->is_data)
		return 0;
	if (e->at % isa->insn_align)
		rc = lp_fail(err, LP_EMISALIGNED, LP_ADDR " is not the address of an instruction", e->at);
	rc = rc ? rc : check_whole(isa, e->at, e->old_bytes, e->len, "the old", err);
	rc = rc ? rc : check_whole(isa, e->at, e->new_bytes, e->len, "the new", err);
	if (rc < 0 && err)
		err->addr = e->at;
	return rc;
}

/* ---- what is to be done ---- */

struct retarget {
	struct lp_self_hook *hook;
	lp_addr to, before;
};

/* In the order in which it is done. */
struct change {
	LP_VEC(struct lp_self_edit) pokes;
	LP_VEC(struct lp_self_hook *) removed;
	LP_VEC(struct retarget) retargets;
	LP_VEC(struct lp_self_hook *) added;
	LP_VEC(struct lp_self_move *) moves; /* arrays that pokes point to */
};

/* Those who stand on an instruction that leaves, but not as the first, go on in its copy. */
static void add_moves(struct change *c, struct lp_self_edit *poke, const struct lp_code_edit *e)
{
	struct lp_self_move *moves = lp_alloc(e->moved->nr_map * sizeof *moves);
	size_t n = 0;
	for (size_t i = 0; i < e->moved->nr_map; i++)
		if (e->moved->map[i].from > 0 && e->moved->map[i].from < e->len)
			moves[n++] =
				(struct lp_self_move){e->at + e->moved->map[i].from, e->moved_to + e->moved->map[i].to};
	lp_vec_push(&c->moves, moves);
	poke->moves = moves;
	poke->nr_moves = n;
}

/* A divert is dealt with when its first edit comes. */
static bool is_first(const struct lp_code_edit *e)
{
	return e->at == e->divert->edits[0].at;
}

static struct lp_self_hook *hook_of(const struct lp_code_edit *e)
{
	return &divert_of(e->divert)->hooked->hook;
}

/* Do they stand in the same place: equal bytes, or the same function's hook? */
static bool are_counterparts(const struct lp_code_edit *a, const struct lp_code_edit *b)
{
	return a->at == b->at && a->len == b->len && !a->divert == !b->divert &&
	       (!a->divert || hook_of(a) == hook_of(b));
}

static const struct lp_code_edit *counterpart(const struct lp_code_edit *edits, size_t nr, const struct lp_code_edit *e)
{
	for (size_t i = 0; i < nr; i++)
		if (are_counterparts(&edits[i], e))
			return &edits[i];
	return NULL;
}

static void add_undone(struct change *c, const struct lp_code_edit *e)
{
	if (!e->divert)
		lp_vec_push(&c->pokes,
			    ((struct lp_self_edit){
				    .at = e->at, .len = e->len, .old_bytes = e->new_bytes, .new_bytes = e->old_bytes}));
	else if (is_first(e))
		lp_vec_push(&c->removed, hook_of(e));
}

static void add_bytes(struct change *c, const struct lp_code_edit *e, const uint8_t *before)
{
	struct lp_self_edit poke = {.at = e->at, .len = e->len, .old_bytes = before, .new_bytes = e->new_bytes};
	if (e->moved)
		add_moves(c, &poke, e);
	lp_vec_push(&c->pokes, poke);
}

static void add_hook(struct change *c, const struct lp_code_edit *e, bool is_installed)
{
	struct lp_self_hook *h = hook_of(e);
	if (h->replacement != e->divert->to)
		lp_vec_push(&c->retargets, ((struct retarget){h, e->divert->to, h->replacement}));
	if (!is_installed)
		lp_vec_push(&c->added, h);
}

static void add_done(struct change *c, const struct lp_code_edit *e, const struct lp_code_edit *in_place_of)
{
	if (!e->divert)
		add_bytes(c, e, in_place_of ? in_place_of->new_bytes : e->old_bytes);
	else if (is_first(e))
		add_hook(c, e, in_place_of != NULL);
}

static void change_free(struct change *c)
{
	for (size_t i = 0; i < c->moves.nr; i++)
		lp_free(c->moves.items[i]);
	lp_vec_free(&c->moves);
	lp_vec_free(&c->pokes);
	lp_vec_free(&c->removed);
	lp_vec_free(&c->retargets);
	lp_vec_free(&c->added);
}

/* ---- doing it ---- */

static int poke(struct change *c, struct lp_err *err)
{
	return c->pokes.nr ? lp_self_poke(c->pokes.items, c->pokes.nr, err) : 0;
}

static void unpoke(struct change *c)
{
	for (size_t i = 0; i < c->pokes.nr; i++) {
		struct lp_self_edit *p = &c->pokes.items[i];
		const uint8_t *was = p->old_bytes;
		p->old_bytes = p->new_bytes;
		p->new_bytes = was;
		p->moves = NULL;
		p->nr_moves = 0;
	}
	poke(c, NULL);
}

static int remove_hooks(struct change *c, struct lp_err *err)
{
	return c->removed.nr ? lp_self_remove(c->removed.items, c->removed.nr, err) : 0;
}

static void unremove_hooks(struct change *c)
{
	if (c->removed.nr)
		lp_self_commit(c->removed.items, c->removed.nr, NULL);
}

static void unretarget(struct change *c, size_t nr)
{
	while (nr-- > 0)
		lp_self_retarget(c->retargets.items[nr].hook, c->retargets.items[nr].before, NULL);
}

static int retarget(struct change *c, struct lp_err *err)
{
	for (size_t i = 0; i < c->retargets.nr; i++) {
		int rc = lp_self_retarget(c->retargets.items[i].hook, c->retargets.items[i].to, err);
		if (rc < 0) {
			unretarget(c, i);
			return rc;
		}
	}
	return 0;
}

static int add_hooks(struct change *c, struct lp_err *err)
{
	return c->added.nr ? lp_self_commit(c->added.items, c->added.nr, err) : 0;
}

static int make_change(struct change *c, struct lp_err *err)
{
	int rc = poke(c, err);
	if (rc < 0)
		return rc;
	rc = remove_hooks(c, err);
	if (rc < 0)
		goto unpoke;
	rc = retarget(c, err);
	if (rc < 0)
		goto unremove_hooks;
	rc = add_hooks(c, err);
	if (rc == 0)
		return 0;
	unretarget(c, c->retargets.nr);
unremove_hooks:
	unremove_hooks(c);
unpoke:
	unpoke(c);
	return rc;
}

static int change_edits(const struct lp_code_edit *undone, size_t nr_undone, const struct lp_code_edit *edits,
			size_t nr, struct lp_err *err)
{
	struct change c = {0};
	for (size_t i = 0; i < nr_undone; i++)
		if (!counterpart(edits, nr, &undone[i]))
			add_undone(&c, &undone[i]);
	for (size_t i = 0; i < nr; i++)
		add_done(&c, &edits[i], counterpart(undone, nr_undone, &edits[i]));
	int rc = make_change(&c, err);
	change_free(&c);
	return rc;
}

/* ---- commit, undo, exchange ---- */

/* A hook's bytes are its own, and change when it leads elsewhere. */
static void describe_divert(struct divert *d)
{
	struct lp_self_edit edits[2];
	d->divert.nr = lp_self_hook_edits(&d->hooked->hook, edits);
	for (size_t i = 0; i < d->divert.nr; i++) {
		memcpy(d->bytes[i].old_bytes, edits[i].old_bytes, edits[i].len);
		memcpy(d->bytes[i].new_bytes, edits[i].new_bytes, edits[i].len);
		d->divert.edits[i] = (struct lp_code_edit){.at = edits[i].at,
							   .len = (uint32_t)edits[i].len,
							   .old_bytes = d->bytes[i].old_bytes,
							   .new_bytes = d->bytes[i].new_bytes,
							   .divert = &d->divert};
	}
}

static void note_done(struct lp_code_edit *edits, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		edits[i].token = 1;
		if (edits[i].divert)
			describe_divert(divert_of(edits[i].divert));
	}
}

static int change(struct self_code *sc, const struct lp_code_edit *undone, size_t nr_undone, struct lp_code_edit *edits,
		  size_t nr, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < nr && rc == 0; i++)
		rc = check_edit(sc->space.isa, &edits[i], err);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&sc->lock);
	rc = keep_strangers_out(sc, undone, nr_undone, edits, nr, err);
	if (rc == 0) {
		rc = change_edits(undone, nr_undone, edits, nr, err);
		let_strangers_in(sc);
	}
	if (rc == 0)
		note_done(edits, nr);
	pthread_mutex_unlock(&sc->lock);
	return rc;
}

static int self_commit(struct lp_code_space *s, struct lp_code_edit *edits, size_t nr, unsigned flags,
		       struct lp_err *err)
{
	return change(code_of(s), NULL, 0, edits, nr, err);
}

static int self_undo(struct lp_code_space *s, struct lp_code_edit *edits, size_t nr, unsigned flags, struct lp_err *err)
{
	return change(code_of(s), edits, nr, NULL, 0, err);
}

/* Changes of other lengths in the same place take two steps, which are the caller's. */
static int check_exchange(const struct lp_code_edit *undone, size_t nr_undone, const struct lp_code_edit *e,
			  struct lp_err *err)
{
	struct lp_range mine = {e->at, e->at + e->len};
	for (size_t i = 0; i < nr_undone; i++) {
		struct lp_range theirs = {undone[i].at, undone[i].at + undone[i].len};
		if (lp_range_overlaps(mine, theirs) && !are_counterparts(&undone[i], e))
			return lp_fail(err, LP_EOVERLAP,
				       "the change at " LP_ADDR " takes the place of another kind of change", e->at);
	}
	return 0;
}

static int self_exchange(struct lp_code_space *s, struct lp_code_edit *undone, size_t nr_undone,
			 struct lp_code_edit *edits, size_t nr, unsigned flags, struct lp_err *err)
{
	int rc = 0;
	for (size_t i = 0; i < nr && rc == 0; i++)
		rc = check_exchange(undone, nr_undone, &edits[i], err);
	return rc ? rc : change(code_of(s), undone, nr_undone, edits, nr, err);
}

/* ---- diverts ---- */

static struct hooked *find_hooked(struct self_code *sc, lp_addr fn)
{
	for (size_t i = 0; i < sc->hooked.nr; i++)
		if (sc->hooked.items[i]->hook.fn == fn)
			return sc->hooked.items[i];
	return NULL;
}

static void remove_hooked(struct self_code *sc, const struct hooked *h)
{
	size_t kept = 0;
	for (size_t i = 0; i < sc->hooked.nr; i++)
		if (sc->hooked.items[i] != h)
			sc->hooked.items[kept++] = sc->hooked.items[i];
	sc->hooked.nr = kept;
}

static void free_hooked(struct hooked *h)
{
	if (h)
		lp_self_release(&h->hook);
	lp_free(h);
}

/* False: another library has come to where the function's was. */
static bool is_as_it_was(struct self_code *sc, const struct hooked *h)
{
	uint8_t now[BEGINNING];
	return read_own(sc, h->hook.fn, now, h->len, NULL) == 0 && memcmp(now, h->beginning, h->len) == 0;
}

/* One that is there already; *stale is one that is of no use any more. */
static struct hooked *share_hooked(struct self_code *sc, lp_addr fn, struct hooked **stale)
{
	pthread_mutex_lock(&sc->lock);
	struct hooked *h = find_hooked(sc, fn);
	*stale = h && !h->refs && !is_as_it_was(sc, h) ? h : NULL;
	if (*stale) {
		remove_hooked(sc, h);
		h = NULL;
	}
	if (h)
		h->refs++;
	pthread_mutex_unlock(&sc->lock);
	return h;
}

static int make_hooked(struct lp_code_space *s, lp_addr fn, lp_addr to, struct hooked **out, struct lp_err *err)
{
	struct hooked *h = lp_alloc(sizeof *h);
	struct lp_range f;
	*h = (struct hooked){.hook = {.fn = fn, .replacement = to}, .refs = 1, .len = BEGINNING};
	if (lp_self_function(fn, &f) && f.end - fn < BEGINNING)
		h->len = (size_t)(f.end - fn);
	if (h->len > LP_PAGE - fn % LP_PAGE)
		h->len = (size_t)(LP_PAGE - fn % LP_PAGE);
	int rc = self_read(s, fn, h->beginning, h->len, err);
	rc = rc ? rc : lp_self_prepare(&h->hook, err);
	if (rc < 0)
		lp_free(h);
	else
		*out = h;
	return rc;
}

/* Without the lock: to prepare is to look for functions, and so to wait for the linker. */
static int get_hooked(struct lp_code_space *s, lp_addr fn, lp_addr to, struct hooked **out, struct lp_err *err)
{
	struct self_code *sc = code_of(s);
	struct hooked *stale;
	*out = share_hooked(sc, fn, &stale);
	free_hooked(stale);
	if (*out)
		return 0;
	int rc = make_hooked(s, fn, to, out, err);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&sc->lock);
	lp_vec_push(&sc->hooked, *out);
	pthread_mutex_unlock(&sc->lock);
	return 0;
}

static void put_hooked(struct self_code *sc, struct hooked *h)
{
	pthread_mutex_lock(&sc->lock);
	h->refs--;
	pthread_mutex_unlock(&sc->lock);
}

static int self_divert_make(struct lp_code_space *s, lp_addr from, lp_addr to, unsigned flags,
			    struct lp_code_divert **out, struct lp_err *err)
{
	struct hooked *h;
	int rc = get_hooked(s, from, to, &h, err);
	if (rc < 0)
		return rc;
	struct divert *d = lp_alloc(sizeof *d);
	d->divert = (struct lp_code_divert){.from = from, .to = to, .original = h->hook.original};
	d->hooked = h;
	describe_divert(d);
	*out = &d->divert;
	return 0;
}

static int self_divert_retarget(struct lp_code_space *s, struct lp_code_divert *divert, lp_addr to, unsigned flags,
				struct lp_err *err)
{
	struct self_code *sc = code_of(s);
	struct divert *d = divert_of(divert);
	pthread_mutex_lock(&sc->lock);
	int rc = keep_strangers_out(sc, NULL, 0, divert->edits, divert->nr, err);
	if (rc == 0) {
		rc = lp_self_retarget(&d->hooked->hook, to, err);
		let_strangers_in(sc);
	}
	if (rc == 0) {
		divert->to = to;
		describe_divert(d);
	}
	pthread_mutex_unlock(&sc->lock);
	return rc;
}

static void self_divert_free(struct lp_code_space *s, struct lp_code_divert *divert)
{
	if (!divert)
		return;
	put_hooked(code_of(s), divert_of(divert)->hooked);
	lp_free(divert_of(divert));
}

/* The next hook of the function begins with what it is now.  A divert that was to take this one's place still has it. */
static int self_disown(struct lp_code_space *s, const struct lp_code_edit *edits, size_t nr, struct lp_err *err)
{
	struct self_code *sc = code_of(s);
	struct lp_code_divert *divert = nr ? edits[0].divert : NULL;
	if (!divert)
		return 0;
	struct hooked *h = divert_of(divert)->hooked;
	pthread_mutex_lock(&sc->lock);
	remove_hooked(sc, h);
	lp_self_abandon(&h->hook);
	lp_vec_push(&sc->disowned, h);
	pthread_mutex_unlock(&sc->lock);
	lp_free(divert_of(divert));
	return 0;
}

/* ---- rooms ---- */

static int self_room_make(struct lp_code_space *s, lp_addr near, size_t size, lp_addr *out, struct lp_err *err)
{
	return lp_self_code_alloc(near, near != 0, size, out, err);
}

static int self_room_fill(struct lp_code_space *s, lp_addr at, const void *bytes, size_t len, struct lp_err *err)
{
	return lp_self_code_fill(at, bytes, len, err);
}

static void self_room_drop(struct lp_code_space *s, lp_addr at, size_t size)
{
	lp_self_code_free(at, size);
}

/* ---- names ---- */

struct question {
	struct self_code *sc;
	const struct lp_addr_expr *e; /* NULL: it is about an object */
	const char *object;
	uint64_t vaddr;
	lp_addr *at;
	uint64_t *size;
	struct lp_err *err;
};

/* Is what we know of the loaded libraries still true? */
static void freshen(struct self_code *sc, const struct dl_phdr_info *info)
{
	if (sc->adds == info->dlpi_adds && sc->subs == info->dlpi_subs)
		return;
	sc->adds = info->dlpi_adds;
	sc->subs = info->dlpi_subs;
	sc->own->ops->refresh(sc->own);
}

/* Called once, for the sake of the lock that it is called with. */
static int answer(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct question *q = arg;
	struct self_code *sc = q->sc;
	pthread_mutex_lock(&sc->lock);
	int rc = open_eyes(sc, q->err);
	if (rc == 0) {
		freshen(sc, info);
		rc = q->e ? lp_resolve_addr(sc->own, q->e, q->at, q->size, q->err)
			  : lp_resolve_in_object(sc->own, q->object, q->vaddr, q->at, q->err);
	}
	pthread_mutex_unlock(&sc->lock);
	return rc < 0 ? rc : 1;
}

static int self_resolve(struct lp_code_space *s, const struct lp_addr_expr *e, lp_addr *at, uint64_t *size,
			struct lp_err *err)
{
	struct question q = {.sc = code_of(s), .e = e, .at = at, .size = size, .err = err};
	uint8_t byte;
	if (e->kind != LP_ADDR_INT) {
		int rc = dl_iterate_phdr(answer, &q);
		return rc < 0 ? rc : 0;
	}
	*at = e->number;
	*size = 0;
	return self_read(s, e->number, &byte, 1, err);
}

static int self_in_object(struct lp_code_space *s, const char *object, uint64_t vaddr, lp_addr *at, struct lp_err *err)
{
	struct question q = {.sc = code_of(s), .object = object, .vaddr = vaddr, .at = at, .err = err};
	int rc = dl_iterate_phdr(answer, &q);
	return rc < 0 ? rc : 0;
}

static bool self_function(struct lp_code_space *s, lp_addr at, struct lp_range *out)
{
	return lp_self_function(at, out);
}

static bool self_entered(struct lp_code_space *s, struct lp_range own, struct lp_range window, lp_addr *from,
			 lp_addr *to)
{
	struct lp_entered in;
	bool entered = lp_self_entered(own, window, &in);

	*from = in.from;
	*to = in.to;
	return entered;
}

/* ---- open, close ---- */

static void self_close(struct lp_code_space *s)
{
	struct self_code *sc = code_of(s);
	remove_space(sc);
	for (size_t i = 0; i < sc->hooked.nr; i++)
		free_hooked(sc->hooked.items[i]);
	for (size_t i = 0; i < sc->disowned.nr; i++)
		lp_free(sc->disowned.items[i]);
	lp_target_close(sc->own);
	lp_vec_free(&sc->hooked);
	lp_vec_free(&sc->disowned);
	pthread_mutex_destroy(&sc->lock);
	lp_free(sc);
}

static const struct lp_code_ops self_ops = {
	.name = "self",
	.read = self_read,
	.commit = self_commit,
	.undo = self_undo,
	.exchange = self_exchange,
	.room_make = self_room_make,
	.room_fill = self_room_fill,
	.room_drop = self_room_drop,
	.divert_make = self_divert_make,
	.divert_retarget = self_divert_retarget,
	.divert_free = self_divert_free,
	.disown = self_disown,
	.resolve = self_resolve,
	.in_object = self_in_object,
	.function = self_function,
	.entered = self_entered,
	.close = self_close,
};

int lp_code_open_self(struct lp_code_space **out, struct lp_err *err)
{
	struct self_code *sc = lp_alloc(sizeof *sc);
	sc->space = (struct lp_code_space){
		.ops = &self_ops, .isa = lp_self_isa(), .range = {LP_PAGE, UINT64_MAX}, .is_own = true};
	pthread_mutex_init(&sc->lock, NULL);
	add_space(sc);
	*out = &sc->space;
	return 0;
}
