/*
 * Where a function ends that nobody has a symbol for, found by following it.
 *
 * Every way through the code is walked, calls into it included, and the
 * literals that it loads are part of it.  What it computes from the page it
 * stands on (adrp) means something else elsewhere, and where a jump through a
 * register leads is only known when no address of the code is taken.
 */
#include "isa/a64/a64.h"

#include "base/bits.h"
#include "isa/a64/encode.h"

#define EXTENT_MAX (64u << 10)
#define WORDS (EXTENT_MAX / A64_INSN / 64)

struct walk {
	const uint8_t *code;
	size_t len;
	lp_addr at;
	uint64_t seen[WORDS], waiting[WORDS]; /* a bit for each instruction */
	size_t end;			      /* of code and literals so far */
	size_t address_end;		      /* behind the last place whose address is taken */
	bool jumps_anywhere;
	struct lp_err *err;
};

static bool has(const uint64_t *set, size_t offset)
{
	return set[offset / A64_INSN / 64] >> offset / A64_INSN % 64 & 1;
}

static void put(uint64_t *set, size_t offset)
{
	set[offset / A64_INSN / 64] |= UINT64_C(1) << offset / A64_INSN % 64;
}

static int refuse(struct walk *w, int code, size_t offset, const char *why)
{
	int rc = lp_fail(w->err, code, "the instruction at " LP_ADDR " (function+0x%zx) %s", w->at + offset, offset,
			 why);

	if (w->err)
		w->err->addr = w->at + offset;
	return rc;
}

/* Of a load of a literal; 0 for anything else.  (prfm has nothing to copy, but an address.) */
static size_t literal_size(uint32_t insn)
{
	static const uint8_t general[] = {4, 8, 4, 4}, vector[] = {4, 8, 16, 0};

	if ((insn & 0x3b000000) != 0x18000000)
		return 0;
	return (insn >> 26 & 1 ? vector : general)[insn >> 30];
}

static lp_addr literal_target(uint32_t insn, lp_addr at)
{
	return at + (uint64_t)((int64_t)(int32_t)(insn << 8) >> 13) * 4;
}

static void grow(size_t *end, size_t to)
{
	if (*end < to)
		*end = to;
}

static int take_literal(struct walk *w, size_t offset, uint32_t insn)
{
	size_t size = literal_size(insn);
	lp_addr target = literal_target(insn, w->at + offset) - w->at;

	if (target >= w->len || w->len - target < size)
		return refuse(w, LP_EREACH, offset, "loads from outside of the function");
	grow(&w->end, target + size);
	return 0;
}

static int take_target(struct walk *w, size_t offset, uint32_t insn, lp_addr target)
{
	bool is_adr = (insn & 0x9f000000) == 0x10000000;

	target -= w->at;
	if (target >= w->len || (!is_adr && target % A64_INSN))
		return refuse(w, LP_EREACH, offset, "leads out of the function");
	if (is_adr)
		grow(&w->address_end, target + 1);
	else
		put(w->waiting, target);
	return 0;
}

/* br and its pac forms: not ret, not blr */
static bool is_br(uint32_t insn)
{
	return (insn & 0xfffffc1f) == 0xd61f0000 || (insn & 0xfefff800) == 0xd61f0800;
}

static int take(struct walk *w, size_t offset, uint32_t insn)
{
	lp_addr target;

	if (lp_a64_is_udf(insn))
		return refuse(w, LP_EENCODING, offset, "is none");
	if ((insn & 0x9f000000) == 0x90000000)
		return refuse(w, LP_EREACH, offset, "(adrp) counts from the page it stands on");
	w->jumps_anywhere |= is_br(insn);
	if (literal_size(insn))
		return take_literal(w, offset, insn);
	if (lp_a64_direct_target(insn, w->at + offset, &target))
		return take_target(w, offset, insn, target);
	return 0;
}

static int walk_from(struct walk *w, size_t offset)
{
	for (; !has(w->seen, offset); offset += A64_INSN) {
		uint32_t insn = lp_get32(w->code + offset);
		int rc = take(w, offset, insn);

		if (rc)
			return rc;
		put(w->seen, offset);
		grow(&w->end, offset + A64_INSN);
		if (lp_a64_ends_code(insn))
			return 0;
		if (offset + 2 * A64_INSN > w->len)
			return refuse(w, LP_EREACH, offset, "is the last that can be seen, and the function goes on");
	}
	return 0;
}

static bool next_waiting(struct walk *w, size_t *offset)
{
	for (size_t i = 0; i < WORDS; i++) {
		uint64_t open = w->waiting[i] & ~w->seen[i];

		if (open) {
			*offset = (i * 64 + (unsigned)__builtin_ctzll(open)) * A64_INSN;
			return true;
		}
	}
	return false;
}

int lp_a64_extent(const uint8_t *code, size_t len, lp_addr at, size_t *out, struct lp_err *err)
{
	struct walk w = {.code = code, .len = len < EXTENT_MAX ? len : EXTENT_MAX, .at = at, .err = err};
	size_t offset = 0;
	int rc;

	w.len -= w.len % A64_INSN;
	if (at % A64_INSN || !w.len)
		return lp_fail(err, LP_EENCODING, "there is no instruction at " LP_ADDR, at);
	put(w.waiting, 0);
	while (next_waiting(&w, &offset)) {
		if ((rc = walk_from(&w, offset)))
			return rc;
	}
	if (w.address_end > w.end)
		return lp_fail(err, LP_EREACH, "the function at " LP_ADDR " takes an address behind its end", at);
	if (w.address_end && w.jumps_anywhere)
		return lp_fail(err, LP_EENCODING, "the function at " LP_ADDR " has a computed jump", at);
	*out = lp_align_up(w.end, A64_INSN);
	return 0;
}
