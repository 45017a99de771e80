/*
 * Where a jump can stand in an x86-64 function.
 *
 * Constraints.  The jump is 5 bytes (e9 rel32).  endbr64 at the entry stays,
 * because an indirect call into code that runs with CET must land on one.
 * Whatever else lies under the 5 bytes is lost, so nothing may ever execute
 * there again except through jump_at: no other function (the bytes belong to
 * this one, or to nobody), no branch of a body that stays live, no thread
 * (the caller looks at the threads; we look at the code).
 *
 * Mechanism, first match wins:
 *
 *     long enough        [endbr64] e9 rel32 | old bytes nobody executes any more
 *     padding behind it  [endbr64] e9 rel32   over the function's last bytes and the padding
 *     a hole near by     [endbr64] eb rel8 ... padding: e9 rel32
 *
 * Padding is trusted little, because a NOP can also be somebody's entry
 * (-fpatchable-function-entry) or be fallen into (a loop head's alignment).
 * Bytes are padding only if (1) they decode as NOPs of the forms that
 * assemblers pad with, or int3; (2) the instruction before them does not fall
 * through, or is a call (of a function that does not return: else the
 * compiler would not have ended the function there); (3) behind the function,
 * they lie before the next 16-byte boundary, for that is where an unnamed
 * function of a stripped file would begin; and (4) no branch we can see leads
 * there.
 *
 * Backwards, x86 does not decode.  But some instruction starts in any 15
 * bytes of code, so we decode forward from each of the first 15 positions of
 * req->before: one of those walks is the true one.  The walks that arrive
 * exactly at the entry must all agree that padding lies before it.
 *
 * An entry that already holds a 5-byte jump (an earlier patch, or a thunk) is
 * replaced as it is: the old jump is whole, and behind it may lie the rest of
 * an instruction that the earlier patch cut, so decoding cannot be expected to
 * go on there.
 *
 * When not to use it: for bytes that are data.  A table that happens to decode
 * is not told from code; that the address is executable is for the caller to
 * know.  Branches through registers and jump tables are not seen either; no
 * compiler aims one at a function's first instructions.
 */
#include "isa/x64/x64.h"

#include "base/bits.h"
#include "isa/x64/encode.h"

static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};

#define LANDING_LINE 16 /* alignment of function entries */

/* What is known of the code, as offsets from req->addr.  start <= end <= pad_end <= limit. */
struct site {
	const struct lp_entry_request *req;
	size_t limit;	  /* nobody else's code before this offset, as far as symbols tell; bytes readable up to it */
	size_t start;	  /* 0, or behind endbr64: where the jump goes */
	size_t end;	  /* where the function's own code ends (or where the judging of it stopped) */
	size_t pad_end;	  /* where the padding directly behind it ends */
	bool end_is_dead; /* nothing falls through `end` */
	bool jump_whole;  /* a 5-byte jump stands at start already */
};

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

static lp_addr address(const struct site *s, size_t offset)
{
	return s->req->addr + offset;
}

static bool decode(const struct site *s, size_t offset, size_t end, struct lp_x64_insn *in)
{
	return lp_x64_decode(s->req->code + offset, min(end - offset, X64_INSN_MAX), address(s, offset), in);
}

static struct lp_range range_of(const struct site *s, size_t offset, size_t len)
{
	return (struct lp_range){address(s, offset), address(s, offset) + len};
}

static int fail_at(struct lp_err *err, int rc, lp_addr at)
{
	if (err)
		err->addr = at;
	return rc;
}

/* ---- how far the function reaches ---- */

static size_t find_limit(const struct lp_entry_request *req)
{
	size_t rest = req->code_len - req->size;

	/* With neither size nor boundary known, what could be read is all there is to go by. */
	return req->size || req->pad ? req->size + min(req->pad, rest) : rest;
}

static bool starts_with_endbr64(const struct lp_entry_request *req)
{
	return req->code_len >= sizeof endbr64 && !memcmp(req->code, endbr64, sizeof endbr64);
}

static bool has_whole_jump(const struct site *s)
{
	return s->start + X64_JMP32_LEN <= s->limit && s->req->code[s->start] == 0xe9;
}

/*
 * Walks the function: with a known size to its end, otherwise until a jump
 * would fit or the code certainly ends before that (nothing falls through, and
 * no branch seen so far leads farther).
 */
static int find_end(struct site *s, struct lp_err *err)
{
	const size_t stop = s->req->size ? s->req->size : s->limit;
	size_t offset = 0, farthest = 0;
	struct lp_x64_insn in;

	while (offset < stop) {
		if (!decode(s, offset, stop, &in)) {
			lp_fail(err, LP_EENCODING, "the bytes at entry+%zu (" LP_ADDR ") are no instruction", offset,
				address(s, offset));
			return fail_at(err, -LP_EENCODING, address(s, offset));
		}
		offset += in.len;
		s->end_is_dead = !in.falls_through || in.is_call;
		if (s->req->size)
			continue;
		if (in.has_target && in.target - s->req->addr < stop && in.target - s->req->addr > farthest)
			farthest = in.target - s->req->addr;
		if (offset >= s->start + X64_JMP32_LEN || (!in.falls_through && farthest < offset))
			break;
	}
	s->end = offset;
	return 0;
}

/* ---- branches ---- */

/* What to look for. */
struct hunt {
	struct lp_range into; /* targets that count */
	struct lp_range gone; /* instructions that are about to be overwritten: they branch no more, but a call among
				 them still has its return ahead */
	bool jumps_only;      /* leave out calls and taken addresses */
};

struct branch {
	lp_addr at, target;
	bool is_return; /* a call that comes back to target */
};

static bool leads_into(const struct hunt *h, const struct lp_x64_insn *in, lp_addr at, struct branch *out)
{
	if (lp_range_has(h->gone, at)) {
		*out = (struct branch){at, at + in->len, true};
		return in->is_call && lp_range_has(h->into, out->target);
	}
	*out = (struct branch){at, in->target, false};
	return in->has_target && (in->is_jump || !h->jumps_only) && lp_range_has(h->into, out->target);
}

/* The first such branch in [from, to); ends early where decoding does. */
static bool find_branch_in(const struct site *s, size_t from, size_t to, const struct hunt *h, struct branch *out)
{
	struct lp_x64_insn in;

	for (size_t offset = from; offset < to && decode(s, offset, to, &in); offset += in.len) {
		if (leads_into(h, &in, address(s, offset), out))
			return true;
	}
	return false;
}

/* Behind an earlier patch's jump the next instruction starts within 15 bytes, nobody knows where: try all. */
static bool find_branch(const struct site *s, size_t to, const struct hunt *h, struct branch *out)
{
	if (!s->jump_whole)
		return find_branch_in(s, 0, to, h, out);
	for (size_t i = 0; i < X64_INSN_MAX; i++) {
		if (find_branch_in(s, s->start + X64_JMP32_LEN + i, to, h, out))
			return true;
	}
	return false;
}

static size_t body_end(const struct site *s)
{
	return s->req->size ? s->req->size : s->limit;
}

static int check_live_body(const struct site *s, const struct lp_entry *e, struct lp_err *err)
{
	const lp_addr entry = s->req->addr, end = e->jump_at + e->jump_len;
	const struct hunt h = {.into = {e->jump_at + 1, end}, .gone = {e->jump_at, end}};
	struct branch b;

	if (!find_branch(s, body_end(s), &h, &b))
		return 0;
	lp_fail(err, LP_EBRANCHED,
		"the %s at " LP_ADDR " (entry+%" PRIu64 ") leads to " LP_ADDR " (entry+%" PRIu64
		"), inside the bytes that the jump would replace",
		b.is_return ? "return of the call" : "branch", b.at, b.at - entry, b.target, b.target - entry);
	return fail_at(err, -LP_EBRANCHED, b.at);
}

static bool is_revisited(const struct site *s)
{
	const struct hunt h = {.into = {s->req->addr, address(s, s->start) + 1}, .jumps_only = true};
	struct lp_x64_insn in;
	struct branch b;

	return (decode(s, s->start, s->limit, &in) && in.repeats) || find_branch(s, body_end(s), &h, &b);
}

static bool is_branched_into(const struct site *s, struct lp_range into)
{
	const struct hunt h = {.into = into};
	struct branch b;

	return find_branch(s, s->limit, &h, &b);
}

/* ---- padding ---- */

/* Where the padding that begins at `offset` ends; `offset` itself when there is none. */
static size_t padding_end(const struct site *s, size_t offset)
{
	const lp_addr line = lp_align_up(address(s, offset), LANDING_LINE);
	const size_t stop = min(s->limit, line - s->req->addr);
	struct lp_x64_insn in;

	/* The NOP that crosses `stop` is whole: it is decoded from all that is there, and counted up to `stop`. */
	while (offset < stop && decode(s, offset, s->limit, &in) && in.is_padding)
		offset = min(offset + in.len, stop);
	return offset;
}

static void find_padding(struct site *s)
{
	s->pad_end = s->end_is_dead ? padding_end(s, s->end) : s->end;
	if (s->pad_end > s->end && is_branched_into(s, range_of(s, s->end, s->pad_end - s->end)))
		s->pad_end = s->end;
}

/* In nameless code behind the function: padding behind an instruction that does not fall through. */
static bool find_hole_behind(const struct site *s, lp_addr *hole)
{
	bool is_dead = s->end_is_dead;
	struct lp_x64_insn in;

	for (size_t offset = s->end; offset < s->limit; offset += in.len) {
		size_t end = is_dead ? padding_end(s, offset) : offset;

		if (end - offset >= X64_JMP32_LEN && lp_x64_jmp8_reaches(address(s, s->start), address(s, offset)) &&
		    !is_branched_into(s, range_of(s, offset, X64_JMP32_LEN))) {
			*hole = address(s, offset);
			return true;
		}
		if (!decode(s, offset, s->limit, &in))
			return false;
		is_dead = !in.falls_through;
	}
	return false;
}

enum verdict { NO_WAY_HERE, PADDED, NOT_PADDED };

/* Decodes req->before from `offset`: does that lead to the entry, and over how much padding? */
static enum verdict walk_to_entry(const struct lp_entry_request *req, size_t offset)
{
	const size_t end = req->before_len;
	size_t padding_from = end;
	bool was_dead = false, padding_is_dead = false;
	struct lp_x64_insn in;

	for (; offset < end; offset += in.len) {
		if (!lp_x64_decode(req->before + offset, min(end - offset, X64_INSN_MAX), req->addr - (end - offset),
				   &in))
			return NO_WAY_HERE;
		if (!in.is_padding) {
			padding_from = end;
		} else if (padding_from == end) {
			padding_from = offset;
			padding_is_dead = was_dead;
		}
		was_dead = !in.falls_through || in.is_call;
	}
	return padding_is_dead && end - padding_from >= X64_JMP32_LEN ? PADDED : NOT_PADDED;
}

/* The bytes next to the entry: the padding's far end may already serve the function before. */
static bool find_hole_before(const struct site *s, lp_addr *hole)
{
	const struct lp_entry_request *req = s->req;
	bool found = false;

	*hole = req->addr - X64_JMP32_LEN;
	if (!lp_x64_jmp8_reaches(address(s, s->start), *hole))
		return false;
	for (size_t offset = 0; req->before && offset < min(X64_INSN_MAX, req->before_len); offset++) {
		enum verdict v = walk_to_entry(req, offset);

		if (v == NOT_PADDED)
			return false;
		found |= v == PADDED;
	}
	return found && !is_branched_into(s, (struct lp_range){*hole, req->addr});
}

/* ---- the entry ---- */

static int fail_too_short(const struct site *s, struct lp_err *err)
{
	size_t room = s->pad_end > s->start ? s->pad_end - s->start : 0;

	lp_fail(err, LP_ETOOSHORT, "the function at " LP_ADDR " has %zu byte%s%s where a jump needs %d, %s",
		s->req->addr, room, room == 1 ? "" : "s", s->start ? " behind its endbr64" : "", X64_JMP32_LEN,
		room < X64_JMP8_LEN ? "and a jump to a hole near by needs 2"
				    : "and no 5 bytes of padding lie within reach of a 2-byte jump");
	return fail_at(err, -LP_ETOOSHORT, s->req->addr);
}

static int choose_shape(struct site *s, struct lp_entry *out, struct lp_err *err)
{
	*out = (struct lp_entry){.shape = LP_ENTRY_DIRECT, .jump_at = address(s, s->start), .jump_len = X64_JMP32_LEN};
	if (s->jump_whole || s->end >= s->start + X64_JMP32_LEN)
		return 0;
	find_padding(s);
	if (s->pad_end >= s->start + X64_JMP32_LEN)
		return 0;
	if (s->pad_end < s->start + X64_JMP8_LEN)
		return fail_too_short(s, err);
	*out = (struct lp_entry){LP_ENTRY_HOP, address(s, s->start), X64_JMP8_LEN, 0, X64_JMP32_LEN, false};
	return find_hole_behind(s, &out->hole_at) || find_hole_before(s, &out->hole_at) ? 0 : fail_too_short(s, err);
}

int lp_x64_entry(const struct lp_entry_request *req, struct lp_entry *out, struct lp_err *err)
{
	int rc;

	*out = (struct lp_entry){0};
	if (req->code_len < req->size) {
		lp_fail(err, LP_EENCODING, "only %zu of the function's %zu bytes could be read", req->code_len,
			req->size);
		return fail_at(err, -LP_EENCODING, req->addr);
	}

	struct site s = {.req = req, .limit = find_limit(req), .start = starts_with_endbr64(req) ? sizeof endbr64 : 0};

	s.jump_whole = has_whole_jump(&s);
	if (!s.jump_whole && (rc = find_end(&s, err)))
		return rc;
	if ((rc = choose_shape(&s, out, err)))
		return rc;
	if (req->body_stays_live && (rc = check_live_body(&s, out, err)))
		return rc;
	out->revisited = is_revisited(&s);
	return 0;
}

/* ---- the bytes ---- */

static lp_addr long_jump_at(const struct lp_entry *e)
{
	return e->shape == LP_ENTRY_HOP ? e->hole_at : e->jump_at;
}

bool lp_x64_reaches(const struct lp_entry *e, lp_addr dest)
{
	return lp_x64_jmp32_reaches(long_jump_at(e), dest);
}

int lp_x64_entry_bytes(const struct lp_entry *e, lp_addr aim, struct lp_piece out[2])
{
	if (!lp_x64_reaches(e, aim))
		return 0;
	out[0] = (struct lp_piece){.at = long_jump_at(e), .len = X64_JMP32_LEN};
	lp_x64_put_jmp32(out[0].bytes, out[0].at, aim);
	if (e->shape == LP_ENTRY_DIRECT)
		return 1;
	out[1] = (struct lp_piece){.at = e->jump_at, .len = X64_JMP8_LEN};
	lp_x64_put_jmp8(out[1].bytes, e->jump_at, e->hole_at);
	return 2;
}
