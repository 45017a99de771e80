/*
 * From a request to a patch that can be committed: where it is allowed, what
 * is there, what shall be there.
 *
 *     REPLACE   | old old |  ->  | new new |
 *     BRANCH    | old     |  ->  | b to    |            or  | b island |, island: jump to `to`
 *     INSERT    | old     |  ->  | b room  |            room: | code | old, moved | b back |
 *     REDIRECT  | pad old |  ->  | pad b to|            where the space does not make diverts itself
 *     NEW_FUNC                                          room: | code |
 */
#include <stdlib.h>
#include <string.h>

#include "api/txn.h"
#include "base/bits.h"
#include "base/buf.h"

#define SITE_MAX 64 /* bytes that are looked at, at most, to place one jump */
#define MOVED_GUESS 64
#define CODE_MAX (16u << 20)

/* A patch in the making. */
struct plan {
	struct lp_txn *txn;
	const struct lp_request *r;
	LivePatchSystem *system;
	struct lp_code_space *space;
	const struct lp_isa *isa;
	unsigned flags;
	struct lp_err *err;

	uint8_t *original, *patched; /* size of each, from at + lead on */
	size_t size, lead;
	lp_addr at;
	uint32_t extent;
	lp_addr room;
	size_t room_size;
	lp_addr target;
	struct lp_moved *moved;
	lp_addr moved_to;
	struct lp_code_divert *divert;
};

static int refuse_at(struct plan *p, int rc, lp_addr at)
{
	if (p->err)
		p->err->addr = at;
	return rc;
}

#define refuse(p, code, at, ...) refuse_at(p, lp_fail((p)->err, code, __VA_ARGS__), at)

/* ---- what may be refused ---- */

static int check_aligned(struct plan *p, lp_addr at, const char *what)
{
	if (at % p->isa->insn_align == 0)
		return 0;
	return refuse(p, LP_EMISALIGNED, at, "%s " LP_ADDR " is not a multiple of %u", what, at, p->isa->insn_align);
}

static int check_inside(struct plan *p, lp_addr at, size_t size)
{
	struct lp_range r = p->space->range;

	if (lp_range_has(r, at) && size <= r.end - at)
		return 0;
	return refuse(p, LP_EOUTSIDE, at, LP_ADDR " is outside of the memory, " LP_ADDR " to " LP_ADDR, at, r.start,
		      r.end);
}

static int check_size(struct plan *p, size_t size)
{
	if (!size)
		return refuse(p, LP_EUSAGE, p->at, "there is no code");
	if (size > CODE_MAX)
		return refuse(p, LP_ERANGE, p->at, "%zu bytes of code are more than %u", size, CODE_MAX);
	if (size % p->isa->insn_align)
		return refuse(p, LP_EMISALIGNED, p->at, "%zu bytes are not whole instructions of %u", size,
			      p->isa->insn_align);
	return 0;
}

static size_t insn_length(struct plan *p, const uint8_t *code, size_t len, lp_addr at)
{
	if (p->isa->insn_align > 1)
		return len < p->isa->insn_align ? 0 : p->isa->insn_align;
	return p->isa->insn_length(code, len, at);
}

static bool is_allocated(struct plan *p, const uint8_t *code, size_t len)
{
	return !p->isa->allocated || p->isa->allocated(code, len);
}

static int fail_unallocated(struct plan *p, const uint8_t *code, size_t offset)
{
	struct lp_buf hex = {0};

	lp_buf_hex(&hex, code, p->isa->insn_align > 1 ? p->isa->insn_align : 1);
	int rc = refuse(p, LP_EUNALLOCATED, p->at + offset, "no instruction is encoded as %s (at " LP_ADDR ")",
			lp_buf_cstr(&hex), p->at + offset);
	lp_buf_free(&hex);
	return rc;
}

/* Whole instructions from the first byte to the last, each of which exists. */
static int check_code(struct plan *p, const uint8_t *code, size_t size)
{
	int rc = check_size(p, size);

	for (size_t i = 0; !rc && i < size && !(p->flags & LIVEPATCH_ALLOW_UNALLOCATED);) {
		size_t len = insn_length(p, code + i, size - i, p->at + i);
		if (!len || !is_allocated(p, code + i, size - i))
			return fail_unallocated(p, code + i, i);
		i += len;
	}
	return rc;
}

static int check_site(struct plan *p, size_t size)
{
	int rc = check_aligned(p, p->at, "the address");

	rc = rc ? rc : check_inside(p, p->at, size);
	return rc ? rc : lp_txn_check(p->txn, p->at, size, p->err);
}

static int check_expected(struct plan *p)
{
	const struct lp_request *r = p->r;
	uint8_t found[SITE_MAX];
	int rc = 0;

	for (size_t i = 0; !rc && r->expect && i < r->expect_size; i += sizeof found) {
		size_t n = r->expect_size - i < sizeof found ? r->expect_size - i : sizeof found;

		rc = lp_txn_read(p->txn, p->at + i, found, n, p->err);
		if (!rc && memcmp(found, (const uint8_t *)r->expect + i, n))
			rc = refuse(p, LP_ECHANGED, p->at, "what stands at " LP_ADDR " is not what the patch expects",
				    p->at);
	}
	return rc;
}

/* ---- what is there, what shall be there ---- */

static int read_original(struct plan *p)
{
	p->original = lp_alloc(p->size);
	p->patched = lp_alloc(p->size);
	return lp_txn_read(p->txn, p->at + p->lead, p->original, p->size, p->err);
}

/* The bytes at `at`, as many as there are up to `max`. */
static size_t read_site(struct plan *p, lp_addr at, uint8_t *code, size_t max)
{
	uint64_t left = p->space->range.end - at;
	size_t n = left < max ? left : max;

	while (n && lp_txn_read(p->txn, at, code, n, NULL))
		n = n > p->isa->insn_align ? n / 2 : 0;
	return n - n % p->isa->insn_align;
}

/* Where whole instructions first span `need` bytes; 0 = they do not decode. */
static size_t whole(struct plan *p, const uint8_t *code, size_t len, size_t need)
{
	size_t end = 0;

	while (end < need) {
		size_t n = insn_length(p, code + end, len - end, p->at + end);
		if (!n)
			return 0;
		end += n;
	}
	return end;
}

/* How many bytes must give way for a jump at the patch's address. */
static int size_jump(struct plan *p)
{
	uint8_t code[SITE_MAX];
	size_t len = read_site(p, p->at, code, sizeof code);

	p->size = whole(p, code, len, p->isa->jump_len);
	if (!p->size)
		return refuse(p, LP_EENCODING, p->at, "no instructions could be read at " LP_ADDR, p->at);
	return 0;
}

static int make_room(struct plan *p, lp_addr near, size_t size)
{
	int rc = p->space->ops->room_make(p->space, near, size, &p->room, p->err);

	p->room_size = rc ? 0 : size;
	return rc;
}

static void drop_room(struct plan *p)
{
	if (p->room_size)
		p->space->ops->room_drop(p->space, p->room, p->room_size);
	p->room_size = 0;
}

static int fill_room(struct plan *p, const void *bytes, size_t len)
{
	return p->space->ops->room_fill(p->space, p->room, bytes, len, p->err);
}

static int make_island(struct plan *p, lp_addr to)
{
	uint8_t code[LP_ISLAND_MAX];
	int rc = make_room(p, p->at, sizeof code);

	return rc ? rc : fill_room(p, code, p->isa->island(code, p->room, to));
}

/* A jump in the patched bytes: `e` says where, an island helps when that is too far. */
static int put_jump(struct plan *p, const struct lp_entry *e, lp_addr to)
{
	struct lp_piece piece[2];
	lp_addr aim = to;
	int rc = 0;

	if (!p->isa->reaches(e, to)) {
		rc = make_island(p, to);
		aim = p->room;
	}
	if (rc)
		return rc;
	if (p->isa->entry_bytes(e, aim, piece) != 1)
		return refuse(p, LP_EREACH, p->at, "a branch at " LP_ADDR " does not reach " LP_ADDR, p->at, aim);
	p->isa->nops(p->patched, p->size);
	memcpy(p->patched + (piece->at - p->at - p->lead), piece->bytes, piece->len);
	return 0;
}

static struct lp_entry plain_entry(struct plan *p)
{
	return (struct lp_entry){.shape = LP_ENTRY_DIRECT, .jump_at = p->at, .jump_len = p->isa->jump_len};
}

/* ---- by type ---- */

static int check_whole(struct plan *p)
{
	uint8_t tail[SITE_MAX];
	size_t end = 0;

	if (p->isa->insn_align > 1)
		return 0;
	while (end < p->size) {
		size_t len = read_site(p, p->at + end, tail, sizeof tail), n = insn_length(p, tail, len, p->at + end);
		if (!n)
			return refuse(p, LP_EENCODING, p->at + end, "there is no instruction at " LP_ADDR, p->at + end);
		end += n;
	}
	if (end == p->size)
		return 0;
	return refuse(p, LP_EENCODING, p->at,
		      "%zu bytes at " LP_ADDR " end in the middle of an instruction (%zu would not)", p->size, p->at,
		      end);
}

static int plan_replace(struct plan *p)
{
	int rc = check_size(p, p->r->size);

	p->size = p->r->size;
	rc = rc ? rc : check_site(p, p->size);
	rc = rc ? rc : check_code(p, p->r->code, p->size);
	rc = rc ? rc : check_whole(p);
	rc = rc ? rc : read_original(p);
	if (!rc)
		memcpy(p->patched, p->r->code, p->size);
	return rc;
}

static int plan_nop(struct plan *p)
{
	uint8_t code[SITE_MAX];
	int rc = check_site(p, p->isa->insn_align);

	if (rc)
		return rc;
	p->size = whole(p, code, read_site(p, p->at, code, sizeof code), 1);
	if (!p->size)
		return refuse(p, LP_EENCODING, p->at, "there is no instruction at " LP_ADDR, p->at);
	rc = check_site(p, p->size);
	rc = rc ? rc : read_original(p);
	if (!rc)
		p->isa->nops(p->patched, p->size);
	return rc;
}

static int plan_branch(struct plan *p)
{
	struct lp_entry e = plain_entry(p);
	int rc = check_site(p, p->isa->jump_len);

	p->target = p->r->target;
	rc = rc ? rc : check_aligned(p, p->target, "the branch's target");
	rc = rc ? rc : size_jump(p);
	rc = rc ? rc : check_site(p, p->size);
	rc = rc ? rc : read_original(p);
	return rc ? rc : put_jump(p, &e, p->target);
}

/* Instructions that something may come back to in their middle cannot make way; the function's code tells. */
static void look_around(struct plan *p, struct lp_move_request *req, uint8_t **code)
{
	struct lp_range f;

	*code = NULL;
	if (p->isa->insn_align > 1 || !p->space->ops->function(p->space, p->at, &f) || f.end - f.start > CODE_MAX)
		return;
	*code = lp_alloc(f.end - f.start);
	if (lp_txn_read(p->txn, f.start, *code, f.end - f.start, NULL))
		return;
	req->function = f.start;
	req->function_code = *code;
	req->function_size = f.end - f.start;
}

/* The instructions that make way, behind the inserted code. */
static int move_original(struct plan *p, const uint8_t *site, size_t site_len, size_t room)
{
	struct lp_move_request req = {
		.from = p->at,
		.code = site,
		.code_len = site_len,
		.need = p->isa->jump_len,
		.to = p->room + p->r->size,
		.room = room,
	};
	uint8_t *function;

	look_around(p, &req, &function);
	int rc = p->isa->relocate(&req, p->moved, p->err);
	lp_free(function);
	return rc;
}

static int move_into_room(struct plan *p, const uint8_t *site, size_t site_len)
{
	static const size_t rooms[] = {MOVED_GUESS, LP_MOVED_MAX};
	int rc = 0;

	for (size_t i = 0; i < LP_ARRAY_SIZE(rooms); i++) {
		rc = make_room(p, p->at, p->r->size + rooms[i]);
		if (rc)
			return rc;
		rc = move_original(p, site, site_len, rooms[i]);
		if (rc != -LP_ERANGE)
			return rc;
		drop_room(p);
	}
	return rc;
}

static int fill_inserted(struct plan *p)
{
	uint8_t *code = lp_alloc(p->r->size + p->moved->len);

	memcpy(code, p->r->code, p->r->size);
	memcpy(code + p->r->size, p->moved->bytes, p->moved->len);
	int rc = fill_room(p, code, p->r->size + p->moved->len);
	lp_free(code);
	return rc;
}

static int plan_insert(struct plan *p)
{
	struct lp_entry e = plain_entry(p);
	uint8_t site[SITE_MAX];
	int rc = check_site(p, p->isa->jump_len);

	rc = rc ? rc : check_code(p, p->r->code, p->r->size);
	if (!rc && !p->isa->relocate)
		rc = refuse(p, LP_EENCODING, p->at, "instructions of %s cannot be moved", p->isa->name);
	if (rc)
		return rc;
	p->moved = lp_alloc(sizeof *p->moved);
	rc = move_into_room(p, site, read_site(p, p->at, site, sizeof site));
	if (rc)
		return rc;
	p->size = p->moved->taken;
	p->moved_to = p->room + p->r->size;
	rc = check_site(p, p->size);
	rc = rc ? rc : fill_inserted(p);
	rc = rc ? rc : read_original(p);
	return rc ? rc : put_jump(p, &e, p->room);
}

static int plan_new_func(struct plan *p)
{
	int rc = check_code(p, p->r->code, p->r->size);

	rc = rc ? rc : make_room(p, 0, p->r->size);
	rc = rc ? rc : fill_room(p, p->r->code, p->r->size);
	p->at = p->room;
	p->extent = p->isa->insn_align;
	return rc;
}

/* Behind a landing pad if there is one.  What is no code now, nobody executes: then any word makes way. */
static int find_entry(struct plan *p, struct lp_entry *e)
{
	uint8_t code[SITE_MAX];
	struct lp_entry_request req = {.addr = p->at, .code = code};
	int rc;

	req.code_len = read_site(p, p->at, code, sizeof code);
	rc = p->isa->entry(&req, e, p->err);
	if (rc != -LP_EENCODING || p->isa->insn_align == 1)
		return rc;
	*e = plain_entry(p);
	return 0;
}

static int plan_redirect_bytes(struct plan *p)
{
	struct lp_entry e;
	int rc = find_entry(p, &e);

	if (rc)
		return rc;
	p->lead = e.jump_at - p->at;
	p->size = e.jump_len;
	rc = check_site(p, p->lead + p->size);
	rc = rc ? rc : read_original(p);
	return rc ? rc : put_jump(p, &e, p->target);
}

/* The space's own; which bytes change is known, what they become only when they have. */
static int plan_divert(struct plan *p)
{
	unsigned flags = p->flags & LIVEPATCH_ALLOW_ACTIVE ? LP_CODE_ALLOW_ACTIVE : 0;
	int rc = p->space->ops->divert_make(p->space, p->at, p->target, flags, &p->divert, p->err);

	if (rc)
		return rc;
	p->extent = p->isa->insn_align;
	for (size_t i = 0; i < p->divert->nr; i++) {
		const struct lp_code_edit *e = &p->divert->edits[i];
		if (e->at - p->at < SITE_MAX && e->at + e->len - p->at > p->extent)
			p->extent = (uint32_t)(e->at + e->len - p->at);
	}
	return lp_txn_check(p->txn, p->at, p->extent, p->err);
}

static int plan_redirect(struct plan *p)
{
	int rc = check_site(p, p->isa->insn_align);

	p->target = p->r->target;
	rc = rc ? rc : check_aligned(p, p->target, "the new function");
	if (!rc && p->target == p->at)
		rc = refuse(p, LP_EUSAGE, p->at, "the function at " LP_ADDR " cannot be redirected to itself", p->at);
	if (rc)
		return rc;
	return p->space->ops->divert_make ? plan_divert(p) : plan_redirect_bytes(p);
}

/* The copied function is the target: an island that holds all of it. */
static int plan_copy(struct plan *p)
{
	int rc = check_site(p, p->isa->insn_align);

	rc = rc ? rc : check_code(p, p->r->code, p->r->size);
	rc = rc ? rc : make_room(p, p->at, p->r->size);
	rc = rc ? rc : fill_room(p, p->r->code, p->r->size);
	p->target = p->room;
	return rc ? rc : plan_redirect_bytes(p);
}

static int plan_type(struct plan *p)
{
	switch (p->r->type) {
	case PATCH_REPLACE:
		return plan_replace(p);
	case PATCH_NOP:
		return plan_nop(p);
	case PATCH_BRANCH:
		return plan_branch(p);
	case PATCH_INSERT:
		return plan_insert(p);
	case PATCH_NEW_FUNC:
		return plan_new_func(p);
	case PATCH_FUNCTION_REDIRECT:
		return p->r->code ? plan_copy(p) : plan_redirect(p);
	}
	return refuse(p, LP_EUSAGE, p->at, "there is no type of patch %d", (int)p->r->type);
}

/* ---- the patch ---- */

static bool keeps_code(const struct lp_request *r)
{
	return r->code && r->type != PATCH_REPLACE;
}

/* A word for a word, and all that is to be told about it follows from those. */
static bool fits_word(struct plan *p)
{
	return p->size == 4 && p->isa->insn_align == 4 && !p->lead && !p->room_size && !p->divert &&
	       p->space->concurrent;
}

static uint8_t *lay(uint8_t **at, const void *bytes, size_t size)
{
	uint8_t *to = *at;

	if (size)
		memcpy(to, bytes, size);
	*at += size;
	return to;
}

static struct lp_patch_more *make_more(struct plan *p)
{
	const struct lp_request *r = p->r;
	size_t name = r->name ? strlen(r->name) + 1 : 0, code = keeps_code(r) ? r->size : 0;
	size_t bytes = sizeof(struct lp_patch_more) + 2 * p->size + code + name;
	struct lp_patch_more *m = lp_alloc(bytes);
	uint8_t *behind = (uint8_t *)(m + 1);

	*m = (struct lp_patch_more){
		.lead = (uint32_t)p->lead,
		.size = (uint32_t)p->size,
		.original = lay(&behind, p->original, p->size),
		.patched = lay(&behind, p->patched, p->size),
		.code = lay(&behind, r->code, code),
		.code_size = (uint32_t)code,
		.room = p->room,
		.room_size = (uint32_t)p->room_size,
		.target = p->target,
		.name = name ? (char *)lay(&behind, r->name, name) : NULL,
		.divert = p->divert,
		.moved_to = p->moved_to,
		.bytes = (uint32_t)bytes,
	};
	if (p->moved && p->moved->nr_map > 2) {
		m->moved = p->moved;
		p->moved = NULL;
	}
	return m;
}

static struct lp_patch make_patch(struct plan *p)
{
	const char *text = p->r->description;
	struct lp_patch patch = {
		.at = p->at,
		.extent = p->extent ? p->extent : (uint32_t)(p->lead + p->size),
		.file = p->r->file,
		.type = (uint8_t)p->r->type,
		.is_word = fits_word(p),
		.description = text && *text ? lp_strdup(text) : NULL,
	};

	if (patch.is_word) {
		patch.word.original = lp_get32(p->original);
		patch.word.patched = lp_get32(p->patched);
	} else {
		patch.more = make_more(p);
	}
	return patch;
}

static void undo_plan(struct plan *p)
{
	drop_room(p);
	if (p->divert)
		p->space->ops->divert_free(p->space, p->divert);
}

int lp_plan(struct lp_txn *t, const struct lp_request *r, lp_addr *at, struct lp_err *err)
{
	struct plan p = {
		.txn = t,
		.r = r,
		.system = t->system,
		.space = t->system->space,
		.isa = t->system->space->isa,
		.flags = r->flags | atomic_load(&t->system->flags),
		.err = err,
		.at = r->at,
	};
	int rc = plan_type(&p);

	rc = rc ? rc : check_expected(&p);
	if (rc) {
		undo_plan(&p);
	} else {
		struct lp_patch patch = make_patch(&p);
		lp_addr key = patch.at;
		rc = lp_txn_put(t, &patch, err);
		if (at && !rc)
			*at = key;
	}
	lp_free(p.original);
	lp_free(p.patched);
	lp_free(p.moved);
	return rc;
}
