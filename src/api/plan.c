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

	/* The new code: as it was given, or what the text comes to where it will stand. */
	const uint8_t *code;
	size_t code_size;
	uint8_t *assembled;
	lp_addr near; /* what the text refers to, 0 = nothing */

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

/* ---- code ---- */

static bool find_symbol(struct plan *p, const char *name, size_t len, lp_addr *out)
{
	struct lp_addr_expr e = {.kind = LP_ADDR_SYMBOL, .symbol = lp_sprintf("%.*s", (int)len, name)};
	uint64_t size;
	bool found = p->space->ops->resolve(p->space, &e, out, &size, NULL) == 0;

	lp_free(e.symbol);
	return found;
}

/* Names in assembler text: functions of the patches (`$name` is nothing else), then the target's symbols. */
static bool look_up(void *arg, const char *name, size_t len, lp_addr *out)
{
	struct plan *p = arg;
	bool dollar = len && *name == '$';
	bool found =
		lp_txn_name(p->txn, name + dollar, len - dollar, out) || (!dollar && find_symbol(p, name, len, out));

	if (found)
		p->near = *out;
	return found;
}

static int assemble(struct plan *p, lp_addr at)
{
	const struct lp_asm_names names = {look_up, p};
	size_t cap = (strlen(p->r->assembly) + 1) * 4;

	if (!p->isa->assemble)
		return refuse(p, LP_EENCODING, at, "there is no assembler for %s", p->isa->name);
	if (!p->assembled)
		p->assembled = lp_alloc(cap);
	p->code = p->assembled;
	return p->isa->assemble(p->r->assembly, at, &names, p->assembled, cap, &p->code_size, p->err);
}

/* The code as it is at `at`, or near there. */
static int take_code(struct plan *p, lp_addr at)
{
	int rc;

	if (!p->r->assembly) {
		p->code = p->r->code;
		p->code_size = p->r->size;
		return 0;
	}
	rc = assemble(p, at);
	return rc == -LP_ERANGE && p->near ? assemble(p, p->near) : rc;
}

/* The code as it is at its final place, which was made for what take_code() gave. */
static int settle_code(struct plan *p, lp_addr at)
{
	size_t before = p->code_size;
	int rc = p->r->assembly ? assemble(p, at) : 0;

	if (!rc && p->code_size != before)
		rc = refuse(p, LP_EENCODING, at, "the code is %zu bytes at one place and %zu at another", before,
			    p->code_size);
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

/* Because there is nothing to be read, or what was read is none. */
static int fail_no_instruction(struct plan *p, lp_addr at)
{
	uint8_t unit[4];
	int rc = lp_txn_read(p->txn, at, unit, p->isa->insn_align, p->err);

	return rc ? rc : refuse(p, LP_EENCODING, at, "there is no instruction at " LP_ADDR, at);
}

/* How many bytes must give way for a jump at the patch's address. */
static int size_jump(struct plan *p)
{
	uint8_t code[SITE_MAX];
	size_t len = read_site(p, p->at, code, sizeof code);

	p->size = whole(p, code, len, p->isa->jump_len);
	return p->size ? 0 : fail_no_instruction(p, p->at);
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
	memcpy(p->patched, piece->bytes, piece->len);
	p->isa->nops(p->patched + piece->len, p->size - piece->len);
	return 0;
}

static struct lp_entry plain_entry(struct plan *p)
{
	return (struct lp_entry){.shape = LP_ENTRY_DIRECT, .jump_at = p->at, .jump_len = p->isa->jump_len};
}

/* ---- by type ---- */

#define FUNCTION_MAX 65536 /* bytes of a function that are looked through */

/* Where instructions have lengths of their own, only the function from its start tells where one begins. */
static int check_start(struct plan *p)
{
	struct lp_range f;
	size_t done = 0, n = 1;

	if (p->isa->insn_align > 1 || !p->space->ops->function(p->space, p->at, &f) || f.end - f.start > FUNCTION_MAX)
		return 0;
	uint8_t *code = lp_alloc(f.end - f.start);
	int rc = lp_txn_read_original(p->txn, f.start, code, f.end - f.start, p->err);
	for (; !rc && n && f.start + done < p->at; done += n)
		n = p->isa->insn_length(code + done, f.end - f.start - done, f.start + done);
	lp_free(code);
	if (!rc && n && f.start + done != p->at)
		rc = refuse(p, LP_EENCODING, p->at, LP_ADDR " is inside of an instruction", p->at);
	return rc;
}

static int check_whole(struct plan *p)
{
	uint8_t tail[SITE_MAX];
	size_t end = 0;

	if (p->isa->insn_align > 1)
		return 0;
	while (end < p->size) {
		size_t len = read_site(p, p->at + end, tail, sizeof tail), n = insn_length(p, tail, len, p->at + end);
		if (!n)
			return fail_no_instruction(p, p->at + end);
		end += n;
	}
	if (end == p->size)
		return 0;
	return refuse(p, LP_EENCODING, p->at,
		      "%zu bytes at " LP_ADDR " end in the middle of an instruction (%zu would not)", p->size, p->at,
		      end);
}

/* Another patch makes something else of that branch. */
static bool is_changed(struct plan *p, lp_addr branch)
{
	uint8_t was[SITE_MAX], is[SITE_MAX];
	size_t len = read_site(p, branch, is, sizeof is);

	len = insn_length(p, is, len, branch);
	return !len || lp_txn_read_original(p->txn, branch, was, len, NULL) || memcmp(was, is, len) != 0;
}

static bool begins_instruction(struct plan *p, lp_addr at)
{
	size_t done = 0, n = 1;

	for (; n && p->at + done < at; done += n)
		n = insn_length(p, p->patched + done, p->size - done, p->at + done);
	return p->at + done == at;
}

/* Code elsewhere, of other functions too, may jump to one of the instructions that make way: there must be one then. */
static int check_entered(struct plan *p)
{
	struct lp_range own = {p->at, p->at + p->size}, window = {p->at + 1, own.end};
	lp_addr from, to;

	while (p->space->ops->entered && window.start < window.end &&
	       p->space->ops->entered(p->space, own, window, &from, &to)) {
		if (!begins_instruction(p, to) && !is_changed(p, from))
			return refuse(p, LP_EBRANCHED, from,
				      "the code at " LP_ADDR " jumps to " LP_ADDR ", into the bytes to be replaced",
				      from, to);
		window.start = to + 1;
	}
	return 0;
}

static int plan_replace(struct plan *p)
{
	int rc = check_aligned(p, p->at, "the address");

	rc = rc ? rc : take_code(p, p->at);
	rc = rc ? rc : check_size(p, p->code_size);
	p->size = p->code_size;
	rc = rc ? rc : check_site(p, p->size);
	rc = rc ? rc : check_code(p, p->code, p->size);
	rc = rc ? rc : check_start(p);
	rc = rc ? rc : check_whole(p);
	rc = rc ? rc : read_original(p);
	if (rc)
		return rc;
	memcpy(p->patched, p->code, p->size);
	return check_entered(p);
}

static int plan_nop(struct plan *p)
{
	uint8_t code[SITE_MAX];
	int rc = check_site(p, p->isa->insn_align);

	rc = rc ? rc : check_start(p);
	if (rc)
		return rc;
	p->size = whole(p, code, read_site(p, p->at, code, sizeof code), 1);
	if (!p->size)
		return fail_no_instruction(p, p->at);
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
	rc = rc ? rc : check_start(p);
	rc = rc ? rc : size_jump(p);
	rc = rc ? rc : check_site(p, p->size);
	rc = rc ? rc : read_original(p);
	rc = rc ? rc : put_jump(p, &e, p->target);
	return rc ? rc : check_entered(p);
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
		.to = p->room + p->code_size,
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
		rc = make_room(p, p->at, p->code_size + rooms[i]);
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
	size_t len = p->code_size + p->moved->len;
	uint8_t *code = lp_alloc(len);

	memcpy(code, p->code, p->code_size);
	memcpy(code + p->code_size, p->moved->bytes, p->moved->len);
	int rc = fill_room(p, code, len);
	lp_free(code);
	return rc;
}

static int plan_insert(struct plan *p)
{
	struct lp_entry e = plain_entry(p);
	uint8_t site[SITE_MAX];
	int rc = check_site(p, p->isa->jump_len);

	rc = rc ? rc : take_code(p, p->at);
	rc = rc ? rc : check_code(p, p->code, p->code_size);
	rc = rc ? rc : check_start(p);
	if (!rc && !p->isa->relocate)
		rc = refuse(p, LP_EENCODING, p->at, "instructions of %s cannot be moved", p->isa->name);
	if (rc)
		return rc;
	p->moved = lp_alloc(sizeof *p->moved);
	rc = move_into_room(p, site, read_site(p, p->at, site, sizeof site));
	if (rc)
		return rc;
	p->size = p->moved->taken;
	p->moved_to = p->room + p->code_size;
	rc = check_site(p, p->size);
	rc = rc ? rc : settle_code(p, p->room);
	rc = rc ? rc : fill_inserted(p);
	rc = rc ? rc : read_original(p);
	rc = rc ? rc : put_jump(p, &e, p->room);
	return rc ? rc : check_entered(p);
}

/* Files must be able to say it. */
static int check_name(struct plan *p)
{
	const char *name = p->r->name;

	if (!name || lp_patch_is_name(name))
		return 0;
	return refuse(p, LP_EUSAGE, 0, "`%s` is not a name: letters, digits and _ only, no digit first", name);
}

static int plan_new_func(struct plan *p)
{
	int rc = check_name(p);

	rc = rc ? rc : take_code(p, p->space->range.start);

	rc = rc ? rc : check_code(p, p->code, p->code_size);
	rc = rc ? rc : make_room(p, p->near, p->code_size);
	rc = rc ? rc : settle_code(p, p->room);
	rc = rc ? rc : fill_room(p, p->code, p->code_size);
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
		/* A script that goes has gone when it is committed; the bytes are the divert's own. */
		lp_scripts_lay_original(p->txn, false, e->at, (uint8_t *)(uintptr_t)e->old_bytes, e->len);
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

	rc = rc ? rc : take_code(p, p->at);
	rc = rc ? rc : check_code(p, p->code, p->code_size);
	rc = rc ? rc : make_room(p, p->at, p->code_size);
	rc = rc ? rc : fill_room(p, p->code, p->code_size);
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

static size_t kept_code(const struct plan *p)
{
	return p->r->type == PATCH_REPLACE ? 0 : p->code_size;
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
	size_t name = r->name ? strlen(r->name) + 1 : 0, code = kept_code(p);
	size_t text = r->assembly ? strlen(r->assembly) + 1 : 0;
	size_t bytes = sizeof(struct lp_patch_more) + 2 * p->size + code + name + text;
	struct lp_patch_more *m = lp_alloc(bytes);
	uint8_t *behind = (uint8_t *)(m + 1);

	*m = (struct lp_patch_more){
		.lead = (uint32_t)p->lead,
		.size = (uint32_t)p->size,
		.original = lay(&behind, p->original, p->size),
		.patched = lay(&behind, p->patched, p->size),
		.code = lay(&behind, p->code, code),
		.code_size = (uint32_t)code,
		.room = p->room,
		.room_size = (uint32_t)p->room_size,
		.target = p->target,
		.name = name ? (char *)lay(&behind, r->name, name) : NULL,
		.assembly = text ? (const char *)lay(&behind, r->assembly, text) : NULL,
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

static struct plan make_plan(struct lp_txn *t, const struct lp_request *r, struct lp_err *err)
{
	return (struct plan){
		.txn = t,
		.r = r,
		.system = t->system,
		.space = t->system->space,
		.isa = t->system->space->isa,
		.flags = r->flags | atomic_load(&t->system->flags),
		.err = err,
		.at = r->at,
	};
}

static void free_plan(struct plan *p)
{
	lp_free(p->assembled);
	lp_free(p->original);
	lp_free(p->patched);
	lp_free(p->moved);
}

int lp_plan(struct lp_txn *t, const struct lp_request *r, lp_addr *at, struct lp_err *err)
{
	struct plan p = make_plan(t, r, err);
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
	free_plan(&p);
	return rc;
}

/* ---- is it there already? ---- */

static bool same_bytes(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
	return a_size == b_size && (!a_size || !memcmp(a, b, a_size));
}

static bool same_code(struct plan *p, const livepatch_info *i)
{
	lp_addr at = p->r->type == PATCH_REPLACE ? p->at : i->target;

	if (take_code(p, at) || settle_code(p, at))
		return false;
	if (p->r->type == PATCH_REPLACE)
		return same_bytes(p->code, p->code_size, i->patched, i->size);
	return same_bytes(p->code, p->code_size, i->code, i->code_size);
}

/* A text file says NOP and BRANCH as the words that they came to. */
static bool same_type(const struct lp_request *r, const livepatch_info *i)
{
	return r->type == i->type || (r->type == PATCH_REPLACE && (i->type == PATCH_NOP || i->type == PATCH_BRANCH));
}

static bool same(struct plan *p, const livepatch_info *i)
{
	const struct lp_request *r = p->r;

	if (!same_type(r, i) || strcmp(i->name, r->name ? r->name : "") ||
	    strcmp(i->description, r->description ? r->description : ""))
		return false;
	if (r->type != PATCH_NEW_FUNC && i->addr != r->at)
		return false;
	switch (r->type) {
	case PATCH_REPLACE:
	case PATCH_INSERT:
	case PATCH_NEW_FUNC:
		return same_code(p, i);
	case PATCH_BRANCH:
	case PATCH_FUNCTION_REDIRECT:
		return i->target == r->target;
	case PATCH_NOP:
		return true;
	}
	return false;
}

bool lp_plan_is_there(struct lp_txn *t, const struct lp_request *r, const struct lp_patch *there)
{
	struct plan p = make_plan(t, r, NULL);
	livepatch_info info;
	uint8_t words[8];

	lp_patch_info(t->system, there, &info, words);
	bool is_same = same(&p, &info);
	free_plan(&p);
	return is_same;
}
