/*
 * Functions diverted to others, with a way to call what they were.
 *
 *     fn:        [endbr64] jmp replacement          (or to an island near by, which jumps on)
 *     original:  [endbr64] the instructions that the jump replaced; jmp fn + so many
 *
 * A function too short for the jump gets a short one to the padding beside it
 * (lp_isa.entry finds where); then two pieces of code change, the far one
 * first.
 */
#include <errno.h>
#include <string.h>

#include "base/vec.h"
#include "self/maps.h"
#include "self/private.h"
#include "self/quarantine.h"

#define BEFORE 64	 /* bytes before the function that are looked at for padding */
#define BEHIND 64	 /* and behind it */
#define PAD_MAX 16	 /* between two functions, as compilers align them */
#define BODY_MAX 1048576 /* of a function that is looked through for branches */
#define WINDOW_MAX 32	 /* of which instructions a jump may take the place */
#define UNIT 16

struct piece {
	struct lp_piece now;	  /* what stands there when the hook does */
	uint8_t old[LP_JUMP_MAX]; /* what stood there before */
	struct lp_self_move moves[LP_MOVE_MAX + 1];
	size_t nr_moves;
};

struct lp_self_site {
	lp_addr fn;
	bool installed;
	struct lp_entry entry;
	lp_addr code; /* of the original */
	size_t code_size;
	lp_addr island;	   /* 0: the replacement is within reach */
	lp_addr island_to; /* where it leads */
	struct piece pieces[2];
	size_t nr;
	struct lp_moved moved;
	size_t lead; /* bytes of endbr64 or bti that stay in front of the jump */
};

static LP_VEC(struct lp_self_site *) sites;

/* ---- what is known of the function ---- */

struct body {
	struct lp_range range; /* its first byte may lie before fn; empty, at fn, when nobody knows */
	uint8_t *bytes;	       /* from `first` on */
	lp_addr first;
	size_t len;
	size_t before, size, pad; /* around fn */
	/* Where other functions come in behind the beginning, if they do: what is there must stay there. */
	struct lp_entered entered;
	size_t own; /* bytes of `size` that only who calls fn executes first */
};

static void body_free(struct body *b)
{
	lp_free(b->bytes);
}

/* Bytes behind the function that no other function has. */
static size_t find_pad(lp_addr end)
{
	struct lp_range next;
	size_t pad = 0;

	while (pad < PAD_MAX && !lp_self_function(end + pad, &next))
		pad++;
	return pad;
}

/* The function is as short as if it ended where others come in. */
static void locate_entered(struct body *b, lp_addr fn)
{
	struct lp_range window = {fn + 1, fn + (b->size < WINDOW_MAX ? b->size : WINDOW_MAX)};

	if (!lp_self_entered(b->range, window, &b->entered))
		return;
	b->own = b->entered.to - fn;
	b->pad = 0;
}

/* Asks the loader, so not under our lock. */
static void body_locate(struct body *b, lp_addr fn)
{
	struct lp_range r;

	*b = (struct body){.range = {fn, fn}};
	if (!lp_self_function(fn, &r) || r.end - r.start > BODY_MAX)
		return;
	b->range = r;
	b->size = b->own = r.end - fn;
	b->pad = b->size < PAD_MAX ? find_pad(r.end) : 0;
	locate_entered(b, fn);
}

static int body_read(struct body *b, lp_addr fn, struct lp_err *err)
{
	uint8_t byte;

	b->first = b->range.start - BEFORE;
	if (lp_self_read(b->first, &byte, 1) != 1) /* the page before is not there */
		b->first = b->range.start;
	b->before = fn - b->first;
	b->bytes = lp_alloc(b->before + b->size + BEHIND);
	b->len = lp_self_read(b->first, b->bytes, b->before + b->size + BEHIND);
	if (b->len < b->before + (b->size ? b->size : 1))
		return lp_fail(err, LP_EUNMAPPED, "cannot read the code at " LP_ADDR, fn);
	return 0;
}

static int find_entry(const struct body *b, lp_addr fn, struct lp_entry *out, struct lp_err *err)
{
	struct lp_entry_request req = {.addr = fn,
				       .code = b->bytes + b->before,
				       .code_len = b->len - b->before,
				       .size = b->own,
				       .pad = b->pad,
				       .before = b->bytes,
				       .before_len = b->before,
				       .body_stays_live = true};

	int rc = lp_self_isa()->entry(&req, out, err);
	if (!rc || b->own == b->size)
		return rc;
	return lp_fail(err, LP_EBRANCHED,
		       "the code at " LP_ADDR " jumps to " LP_ADDR ", and before that there is no room for a jump",
		       b->entered.from, b->entered.to);
}

/* ---- the copy of what the jump replaces ---- */

static const uint8_t *bytes_at(const struct body *b, lp_addr at)
{
	return b->bytes + (at - b->first);
}

static int move_code(struct lp_self_site *s, const struct body *b, struct lp_err *err)
{
	struct lp_move_request req = {.from = s->entry.jump_at,
				      .code = bytes_at(b, s->entry.jump_at),
				      .code_len = b->len - (s->entry.jump_at - b->first),
				      .need = s->entry.jump_len,
				      .to = s->code + s->lead,
				      .room = s->code_size - s->lead,
				      .guarded = lp_self_arch.guarded()};

	if (b->size) {
		req.function = b->range.start;
		req.function_code = bytes_at(b, b->range.start);
		req.function_size = b->range.end - b->range.start;
	}
	return lp_self_isa()->relocate(&req, &s->moved, err);
}

static void give_back_rest(struct lp_self_site *s, size_t used)
{
	size_t keep = lp_align_up(used, UNIT);

	if (keep < s->code_size)
		lp_room_release(s->code + keep, s->code_size - keep);
	s->code_size = keep;
}

static int make_original(struct lp_self_site *s, const struct body *b, struct lp_err *err)
{
	uint8_t code[LP_JUMP_MAX + LP_MOVED_MAX];
	int rc;

	s->lead = s->entry.jump_at - s->fn;
	if (s->lead > LP_JUMP_MAX)
		return lp_fail(err, LP_EINTERNAL, "the jump stands %zu bytes behind the entry", s->lead);
	s->code_size = s->lead + LP_MOVED_MAX;
	rc = lp_self_alloc_locked(s->entry.jump_at, true, s->code_size, &s->code, err);
	if (rc)
		return rc;
	rc = move_code(s, b, err);
	if (rc)
		return rc;
	memcpy(code, bytes_at(b, s->fn), s->lead);
	memcpy(code + s->lead, s->moved.bytes, s->moved.len);
	give_back_rest(s, s->lead + s->moved.len);
	return lp_self_fill_locked(s->code, code, s->lead + s->moved.len, err);
}

/* ---- the jump ---- */

static int make_island(lp_addr near, lp_addr dest, lp_addr *out, struct lp_err *err)
{
	uint8_t code[LP_ISLAND_MAX];
	int rc = lp_self_alloc_locked(near, true, sizeof code, out, err);

	return rc ? rc : lp_self_fill_locked(*out, code, lp_self_isa()->island(code, *out, dest), err);
}

/* Where the jump goes to arrive at dest: there, or to an island. */
static int find_aim(const struct lp_entry *e, lp_addr dest, lp_addr *island, lp_addr *aim, struct lp_err *err)
{
	int rc = 0;

	*island = 0;
	if (!lp_self_isa()->reaches(e, dest))
		rc = make_island(e->jump_at, dest, island, err);
	*aim = *island ? *island : dest;
	if (!rc && !lp_self_isa()->reaches(e, *aim))
		rc = lp_fail(err, LP_EREACH, "no place for an island within reach of " LP_ADDR, e->jump_at);
	return rc;
}

static void add_move(struct piece *p, lp_addr from, lp_addr to)
{
	p->moves[p->nr_moves++] = (struct lp_self_move){from, to};
}

/* Whom the jump's arrival finds on an instruction of the old code. */
static void add_moves(struct lp_self_site *s, struct piece *p)
{
	for (size_t i = 0; i < s->moved.nr_map; i++) {
		if (s->moved.map[i].from < p->now.len)
			add_move(p, p->now.at + s->moved.map[i].from, s->code + s->lead + s->moved.map[i].to);
	}
}

static int make_jump(struct lp_self_site *s, const struct body *b, lp_addr replacement, struct lp_err *err)
{
	struct lp_piece pieces[2];
	lp_addr aim;
	int rc = find_aim(&s->entry, replacement, &s->island, &aim, err);

	s->island_to = replacement;
	if (rc)
		return rc;
	s->nr = (size_t)lp_self_isa()->entry_bytes(&s->entry, aim, pieces);
	for (size_t i = 0; i < s->nr; i++) {
		struct piece *p = &s->pieces[i];

		p->now = pieces[i];
		memcpy(p->old, bytes_at(b, p->now.at), p->now.len);
		if (p->now.at == s->entry.jump_at)
			add_moves(s, p);
		else
			add_move(p, p->now.at, aim); /* padding: only our own short jump leads there */
	}
	return s->nr ? 0 : lp_fail(err, LP_EREACH, LP_ADDR " is out of reach of a jump at " LP_ADDR, aim, s->fn);
}

/* ---- prepare, release ---- */

/* 0 is no address of code, and left out. */
static int check_code(const lp_addr *at, size_t nr, struct lp_err *err)
{
	struct lp_self_maps maps;
	int rc = lp_self_maps_read(&maps, err);

	for (size_t i = 0; i < nr && !rc; i++)
		rc = at[i] ? lp_self_maps_check(&maps, at[i], 1, err) : 0;
	lp_self_maps_free(&maps);
	return rc;
}

static int check_new(const struct lp_self_hook *h, struct lp_err *err)
{
	for (size_t i = 0; i < sites.nr; i++) {
		if (sites.items[i]->fn == h->fn)
			return lp_fail(err, LP_EHOOKED, "the function at " LP_ADDR " is hooked already", h->fn);
	}
	return check_code((lp_addr[]){h->fn, h->replacement}, 2, err);
}

static void site_free(struct lp_self_site *s)
{
	lp_self_free_locked(s->code, s->code_size);
	lp_self_free_locked(s->island, s->island ? LP_ISLAND_MAX : 0);
	lp_free(s);
}

static int prepare(struct lp_self_hook *h, struct body *b, struct lp_err *err)
{
	struct lp_self_site *s = lp_alloc(sizeof *s);
	int rc = check_new(h, err);

	s->fn = h->fn;
	rc = rc ? rc : body_read(b, h->fn, err);
	rc = rc ? rc : find_entry(b, h->fn, &s->entry, err);
	rc = rc ? rc : make_original(s, b, err);
	rc = rc ? rc : make_jump(s, b, h->replacement, err);
	if (rc) {
		site_free(s);
		return rc;
	}
	h->original = s->code;
	h->site = s;
	lp_vec_push(&sites, s);
	return 0;
}

int lp_self_prepare(struct lp_self_hook *h, struct lp_err *err)
{
	struct body body;
	int rc;

	h->site = NULL;
	h->original = 0;
	lp_self_look_for_filters();
	body_locate(&body, h->fn);
	rc = lp_self_enter(err);
	if (rc)
		return rc;
	rc = prepare(h, &body, err);
	lp_self_leave();
	body_free(&body);
	if (rc && err)
		err->addr = err->addr ? err->addr : h->fn;
	return rc;
}

static void leave_sites(struct lp_self_hook *h)
{
	for (size_t i = 0; i < sites.nr; i++) {
		if (sites.items[i] == h->site)
			sites.items[i] = sites.items[--sites.nr];
	}
	h->site = NULL;
	h->original = 0;
}

void lp_self_release(struct lp_self_hook *h)
{
	struct lp_self_site *s = h->site;

	if (!s || lp_self_enter(NULL))
		return;
	if (!s->installed) {
		leave_sites(h);
		site_free(s);
	}
	lp_self_leave();
}

void lp_self_abandon(struct lp_self_hook *h)
{
	struct lp_self_site *s = h->site;

	if (!s || lp_self_enter(NULL))
		return;
	leave_sites(h);
	lp_free(s);
	lp_self_leave();
}

size_t lp_hook_islands(struct lp_range into, struct lp_way *out)
{
	size_t nr = 0;

	for (size_t i = 0; i < sites.nr; i++) {
		const struct lp_self_site *s = sites.items[i];

		if (!s->island || !lp_range_has(into, s->island_to))
			continue;
		if (out)
			out[nr] = (struct lp_way){.range = {s->island, s->island + LP_ISLAND_MAX}};
		nr++;
	}
	return nr;
}

/* ---- commit, remove, retarget ---- */

struct edits {
	LP_VEC(struct lp_self_edit) all;
};

static void add_edit(struct edits *e, const struct piece *p, const uint8_t *old, const uint8_t *new)
{
	lp_vec_push(&e->all, ((struct lp_self_edit){.at = p->now.at,
						    .len = p->now.len,
						    .old_bytes = old,
						    .new_bytes = new,
						    .moves = p->moves,
						    .nr_moves = p->nr_moves}));
}

static void add_site(struct edits *e, const struct lp_self_site *s, bool install)
{
	for (size_t i = 0; i < s->nr; i++) {
		const struct piece *p = &s->pieces[install ? i : s->nr - 1 - i];

		if (install)
			add_edit(e, p, p->old, p->now.bytes);
		else
			add_edit(e, p, p->now.bytes, p->old);
	}
}

static int check_state(struct lp_self_hook *const *hooks, size_t nr, bool installed, struct lp_err *err)
{
	for (size_t i = 0; i < nr; i++) {
		if (!hooks[i]->site)
			return lp_fail(err, EINVAL, "the hook of " LP_ADDR " is not prepared", hooks[i]->fn);
		if (hooks[i]->site->installed != installed)
			return lp_fail(err, installed ? LP_ENOPATCH : LP_EHOOKED, "the function at " LP_ADDR " is %s",
				       hooks[i]->fn, installed ? "not hooked" : "hooked already");
	}
	return 0;
}

static int set_installed(struct lp_self_hook *const *hooks, size_t nr, bool install, struct lp_err *err)
{
	struct edits e = {0};
	int rc = lp_self_enter(err);

	if (rc)
		return rc;
	rc = check_state(hooks, nr, !install, err);
	for (size_t i = 0; i < nr && !rc; i++)
		add_site(&e, hooks[i]->site, install);
	rc = rc ? rc : lp_self_poke_locked(e.all.items, e.all.nr, err);
	for (size_t i = 0; i < nr && !rc; i++)
		hooks[i]->site->installed = install;
	lp_vec_free(&e.all);
	lp_self_leave();
	return rc;
}

int lp_self_commit(struct lp_self_hook *const *hooks, size_t nr, struct lp_err *err)
{
	return set_installed(hooks, nr, true, err);
}

int lp_self_remove(struct lp_self_hook *const *hooks, size_t nr, struct lp_err *err)
{
	return set_installed(hooks, nr, false, err);
}

size_t lp_self_hook_edits(const struct lp_self_hook *h, struct lp_self_edit out[2])
{
	const struct lp_self_site *s = h->site;

	for (size_t i = 0; s && i < s->nr; i++) {
		const struct piece *p = &s->pieces[i];

		out[i] = (struct lp_self_edit){.at = p->now.at,
					       .len = p->now.len,
					       .old_bytes = p->old,
					       .new_bytes = p->now.bytes,
					       .moves = p->moves,
					       .nr_moves = p->nr_moves};
	}
	return s ? s->nr : 0;
}

/* ---- switch ---- */

/* A hook led elsewhere.  What the site had is kept here meanwhile. */
struct turn {
	struct lp_self_hook *hook;
	lp_addr replacement;
	struct lp_piece piece; /* the one with the real jump comes first, and is the only one that changes */
	lp_addr first_move_to;
	lp_addr island, island_to;
	struct lp_self_move go;
};

static int turn_make(struct turn *t, struct lp_err *err)
{
	const struct lp_self_site *s = t->hook->site;
	struct lp_piece pieces[2];
	lp_addr aim;
	int rc = find_aim(&s->entry, t->replacement, &t->island, &aim, err);

	t->island_to = t->replacement;
	if (!rc && lp_self_isa()->entry_bytes(&s->entry, aim, pieces) != (int)s->nr)
		rc = lp_fail(err, LP_EREACH, LP_ADDR " is out of reach of a jump at " LP_ADDR, aim, s->fn);
	if (rc)
		return rc;
	t->piece = pieces[0];
	t->go = (struct lp_self_move){pieces[0].at, aim};
	t->first_move_to = pieces[0].at != s->entry.jump_at ? aim : s->pieces[0].moves[0].to;
	return 0;
}

/* Once: the site gets what was made; twice: what it had. */
static void turn_swap(struct turn *t)
{
	struct lp_self_site *s = t->hook->site;
	struct turn had = {.piece = s->pieces[0].now,
			   .first_move_to = s->pieces[0].moves[0].to,
			   .island = s->island,
			   .island_to = s->island_to};

	s->pieces[0].now = t->piece;
	s->pieces[0].moves[0].to = t->first_move_to;
	s->island = t->island;
	s->island_to = t->island_to;
	t->piece = had.piece;
	t->first_move_to = had.first_move_to;
	t->island = had.island;
	t->island_to = had.island_to;
}

/* Of whichever of the two the site does not have. */
static void turn_end(struct turn *t)
{
	lp_self_free_locked(t->island, t->island ? LP_ISLAND_MAX : 0);
}

static void add_turn(struct edits *e, const struct turn *t)
{
	const struct lp_self_site *s = t->hook->site;

	if (!s->installed)
		add_site(e, s, true);
	else
		lp_vec_push(&e->all, ((struct lp_self_edit){.at = t->piece.at,
							    .len = t->piece.len,
							    .old_bytes = t->piece.bytes,
							    .new_bytes = s->pieces[0].now.bytes,
							    .moves = &t->go,
							    .nr_moves = 1}));
}

static int check_switch(const struct lp_self_switch *switches, size_t nr, struct lp_err *err)
{
	lp_addr *to = lp_alloc(nr * sizeof *to + 1);
	int rc = 0;

	for (size_t i = 0; i < nr && !rc; i++) {
		const struct lp_self_hook *h = switches[i].hook;

		to[i] = switches[i].replacement;
		if (!h->site)
			rc = lp_fail(err, EINVAL, "the hook of " LP_ADDR " is not prepared", h->fn);
		else if (!to[i] && !h->site->installed)
			rc = lp_fail(err, LP_ENOPATCH, "the function at " LP_ADDR " is not hooked", h->fn);
	}
	rc = rc ? rc : check_code(to, nr, err);
	lp_free(to);
	return rc;
}

/* The edits of `turns`, which have been swapped in already, and of what is taken out. */
static int switch_all(const struct lp_self_switch *switches, const struct turn *turns, size_t nr, struct lp_err *err)
{
	struct edits e = {0};
	int rc;

	for (size_t i = 0; i < nr; i++) {
		if (switches[i].replacement)
			add_turn(&e, &turns[i]);
		else
			add_site(&e, switches[i].hook->site, false);
	}
	rc = lp_self_poke_locked(e.all.items, e.all.nr, err);
	lp_vec_free(&e.all);
	return rc;
}

static int switch_locked(const struct lp_self_switch *switches, size_t nr, struct lp_err *err)
{
	struct turn *turns = lp_alloc(nr * sizeof *turns + 1);
	size_t made = 0;
	int rc = check_switch(switches, nr, err);

	for (; made < nr && !rc; made += !rc) {
		turns[made] = (struct turn){.hook = switches[made].hook, .replacement = switches[made].replacement};
		rc = turns[made].replacement ? turn_make(&turns[made], err) : 0;
	}
	for (size_t i = 0; i < nr && !rc; i++) {
		if (turns[i].replacement)
			turn_swap(&turns[i]);
	}
	bool swapped = !rc;
	rc = rc ? rc : switch_all(switches, turns, nr, err);
	for (size_t i = 0; i < nr && !rc; i++) {
		turns[i].hook->site->installed = turns[i].replacement != 0;
		if (turns[i].replacement)
			turns[i].hook->replacement = turns[i].replacement;
	}
	for (size_t i = 0; i < made; i++) {
		if (rc && swapped && turns[i].replacement)
			turn_swap(&turns[i]);
		turn_end(&turns[i]);
	}
	lp_free(turns);
	return rc;
}

int lp_self_switch(const struct lp_self_switch *switches, size_t nr, struct lp_err *err)
{
	int rc = lp_self_enter(err);

	if (rc)
		return rc;
	rc = switch_locked(switches, nr, err);
	lp_self_leave();
	return rc;
}

/* Nobody runs through the hook of one that is not installed: only what it will be changes. */
static int retarget(struct lp_self_hook *h, lp_addr replacement, struct lp_err *err)
{
	struct turn t = {.hook = h, .replacement = replacement};
	int rc = check_code(&replacement, 1, err);

	rc = rc ? rc : turn_make(&t, err);
	if (!rc) {
		turn_swap(&t);
		h->replacement = replacement;
	}
	turn_end(&t);
	return rc;
}

int lp_self_retarget(struct lp_self_hook *h, lp_addr replacement, struct lp_err *err)
{
	struct lp_self_switch one = {h, replacement};
	int rc;

	if (!h->site)
		return lp_fail(err, EINVAL, "the hook of " LP_ADDR " is not prepared", h->fn);
	rc = lp_self_enter(err);
	if (rc)
		return rc;
	rc = h->site->installed ? switch_locked(&one, 1, err) : retarget(h, replacement, err);
	lp_self_leave();
	return rc;
}
