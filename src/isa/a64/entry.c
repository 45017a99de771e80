/*
 * Where a jump can stand in an aarch64 function.
 *
 * One `b` replaces one instruction, so a function of 4 bytes is enough and
 * nothing can lead into the middle of it.  What needs care is the landing pad:
 * in memory mapped with PROT_BTI an indirect call must arrive at one.
 *
 *     bti c | ...       ->   bti c | b        the pad stays, the jump stands behind it
 *     paciasp | ...     ->   bti c | b        the pad is implicit and would sign lr, which the replacement
 *                                             does itself: both instructions are replaced
 *     anything else     ->   b                not a pad, so nobody arrives there indirectly, or the memory
 *                                             is not guarded
 *
 * `bti c` is a NOP to a CPU without BTI, so nothing is asked about the mapping.
 *
 * Only the second shape spans 8 bytes, and only there can a branch of a body
 * that stays live lead inside.  adrp + add pairs are not followed: nothing
 * takes the address of a function's second instruction that way.
 */
#include "isa/a64/a64.h"

#include "base/bits.h"
#include "isa/a64/encode.h"

static int fail_at(struct lp_err *err, int rc, lp_addr at)
{
	if (err)
		err->addr = at;
	return rc;
}

static uint32_t insn_at(const struct lp_entry_request *req, size_t offset)
{
	return lp_get32(req->code + offset);
}

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Bytes up to foreign code, as far as symbols tell; without a boundary, what could be read. */
static size_t find_limit(const struct lp_entry_request *req)
{
	size_t rest = req->code_len - req->size;

	return req->size || req->pad ? req->size + min(req->pad, rest) : rest;
}

/* The function's own bytes; with unknown size those that are certainly reached, at most as many as a jump takes. */
static size_t find_end(const struct lp_entry_request *req, size_t limit, size_t want)
{
	size_t end = 0;

	if (req->size)
		return req->size;
	while (end < want && end + A64_INSN <= limit) {
		end += A64_INSN;
		if (lp_a64_ends_code(insn_at(req, end - A64_INSN)))
			break;
	}
	return end;
}

/* Padding is a NOP that nothing falls into. */
static size_t find_padding_end(const struct lp_entry_request *req, size_t end, size_t limit)
{
	if (end < A64_INSN || !lp_a64_ends_code(insn_at(req, end - A64_INSN)))
		return end;
	while (end + A64_INSN <= limit && insn_at(req, end) == A64_NOP)
		end += A64_INSN;
	return end;
}

/* First branch (jumps only: leave out bl and adr) of [from, to) into `into`. */
static bool find_branch(const struct lp_entry_request *req, size_t from, size_t to, struct lp_range into,
			bool jumps_only, lp_addr *at, lp_addr *target)
{
	for (size_t offset = from; offset + A64_INSN <= to; offset += A64_INSN) {
		uint32_t insn = insn_at(req, offset);

		*at = req->addr + offset;
		if (lp_a64_direct_target(insn, *at, target) && lp_range_has(into, *target) &&
		    !(jumps_only && !lp_a64_is_jump(insn)))
			return true;
	}
	return false;
}

static int check_live_body(const struct lp_entry_request *req, size_t body, const struct lp_entry *e,
			   struct lp_err *err)
{
	const struct lp_range inside = {e->jump_at + 1, e->jump_at + e->jump_len};
	lp_addr at, target;

	if (!find_branch(req, inside.end - req->addr, body, inside, false, &at, &target))
		return 0;
	lp_fail(err, LP_EBRANCHED,
		"the branch at " LP_ADDR " (entry+%" PRIu64 ") leads to " LP_ADDR " (entry+%" PRIu64
		"), inside the bytes that the jump would replace",
		at, at - req->addr, target, target - req->addr);
	return fail_at(err, -LP_EBRANCHED, at);
}

static bool is_revisited(const struct lp_entry_request *req, size_t body, const struct lp_entry *e)
{
	lp_addr at, target;

	return find_branch(req, 0, body, (struct lp_range){req->addr, e->jump_at + 1}, true, &at, &target);
}

static int check_request(const struct lp_entry_request *req, struct lp_err *err)
{
	if (req->addr % A64_INSN || req->size % A64_INSN) {
		lp_fail(err, LP_EENCODING, "the function at " LP_ADDR " (%zu bytes) is not made of whole instructions",
			req->addr, req->size);
		return fail_at(err, -LP_EENCODING, req->addr);
	}
	if (req->code_len < req->size) {
		lp_fail(err, LP_EENCODING, "only %zu of the function's %zu bytes could be read", req->code_len,
			req->size);
		return fail_at(err, -LP_EENCODING, req->addr);
	}
	return 0;
}

static int fail_too_short(const struct lp_entry_request *req, size_t room, size_t need, struct lp_err *err)
{
	lp_fail(err, LP_ETOOSHORT, "the function at " LP_ADDR " has %zu bytes where a jump%s needs %zu", req->addr,
		room, need > A64_INSN ? " and its landing pad" : "", need);
	return fail_at(err, -LP_ETOOSHORT, req->addr);
}

int lp_a64_entry(const struct lp_entry_request *req, struct lp_entry *out, struct lp_err *err)
{
	int rc = check_request(req, err);

	*out = (struct lp_entry){0};
	if (rc)
		return rc;

	const size_t limit = find_limit(req);
	const uint32_t first = limit >= A64_INSN ? insn_at(req, 0) : 0;
	const size_t start = lp_a64_is_bti(first) ? A64_INSN : 0;
	const size_t need = start || lp_a64_is_signing_pad(first) ? 2 * A64_INSN : A64_INSN;
	const size_t room = find_padding_end(req, find_end(req, limit, need), limit);
	const size_t body = req->size ? req->size : lp_align_down(limit, A64_INSN);

	if (room < need)
		return fail_too_short(req, room, need, err);
	if (lp_a64_is_udf(first)) {
		lp_fail(err, LP_EENCODING, "the bytes at " LP_ADDR " are no instruction", req->addr);
		return fail_at(err, -LP_EENCODING, req->addr);
	}
	*out = (struct lp_entry){.shape = LP_ENTRY_DIRECT, .jump_at = req->addr + start, .jump_len = need - start};
	if (req->body_stays_live && (rc = check_live_body(req, body, out, err)))
		return rc;
	out->revisited = is_revisited(req, body, out);
	return 0;
}

/* The 8-byte shape begins with a landing pad of its own. */
static size_t pad_len(const struct lp_entry *e)
{
	return e->jump_len - A64_INSN;
}

bool lp_a64_reaches(const struct lp_entry *e, lp_addr dest)
{
	return lp_a64_b_reaches(e->jump_at + pad_len(e), dest);
}

int lp_a64_entry_bytes(const struct lp_entry *e, lp_addr aim, struct lp_piece out[2])
{
	if (!lp_a64_reaches(e, aim))
		return 0;
	out[0] = (struct lp_piece){.at = e->jump_at, .len = e->jump_len};
	if (pad_len(e))
		lp_put32(out[0].bytes, A64_BTI_C);
	lp_put32(out[0].bytes + pad_len(e), lp_a64_b(e->jump_at + pad_len(e), aim));
	return 1;
}
