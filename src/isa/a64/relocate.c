/*
 * Moving aarch64 instructions to another place.
 *
 * Whatever is within reach of the same instruction in the new place stays that
 * instruction.  Out of reach:
 *
 *     adr, adrp           ldr xd, =address
 *     ldr wt, =.. (xt)    ldr xt, =address; ldr wt, [xt]
 *     ldr qt, =.. (xzr)   str x17, [sp, #-16]!; ldr x17, =address; ldr qt, [x17]; ldr x17, [sp], #16
 *     prfm                nop: a hint
 *     b                   ldr x17, =address; br x17
 *     b.cond, cbz, tbz    inverted, around a b
 *     bl, blr             always: ldr x30, =old return address; then as b or br (move.h)
 *
 * Only the far jump needs a register that is free.  x16 and x17 are between
 * functions and at calls, where a linker may put a veneer that changes them
 * (AAPCS64 6.1.1); inside of a function one must be seen to be written before
 * it is read on every way from the jump's destination.
 *
 * In BTI pages only code that was made for it may be jumped to through a
 * register, except by `ret`, which goes everywhere.  The copy itself stands in
 * a page without BTI.
 */
#include "isa/a64/a64.h"
#include "isa/a64/encode.h"

#include "base/bits.h"
#include "isa/move.h"

enum { IP0 = 16, IP1 = 17, LR = 30, ZR = 31 };

#define LDR_X_LITERAL 0x58000000u
#define PUSH_IP1 0xf81f0ff1u /* str x17, [sp, #-16]! */
#define POP_IP1 0xf84107f1u  /* ldr x17, [sp], #16 */
#define BR 0xd61f0000u
#define RET 0xd65f0000u
#define BLR_IS_CALL 0x00200000u /* the bit that tells blr from br, and blraa from braa */
#define BRK_0 0xd4200000u	/* what a debugger writes */

static bool is_adr(uint32_t insn)
{
	return (insn & 0x9f000000) == 0x10000000;
}

static bool is_adrp(uint32_t insn)
{
	return (insn & 0x9f000000) == 0x90000000;
}

static bool is_literal(uint32_t insn)
{
	return (insn & 0x3b000000) == 0x18000000;
}

static bool is_b(uint32_t insn)
{
	return (insn & 0xfc000000) == 0x14000000;
}

static bool is_bl(uint32_t insn)
{
	return (insn & 0xfc000000) == 0x94000000;
}

static bool is_blr(uint32_t insn)
{
	return (insn & 0xfffffc1f) == 0xd63f0000 || (insn & 0xfefff800) == 0xd63f0800;
}

/* b.cond, bc.cond */
static bool is_b_cond(uint32_t insn)
{
	return (insn & 0xff000000) == 0x54000000;
}

/* cbz, cbnz, tbz, tbnz */
static bool is_compare_branch(uint32_t insn)
{
	return (insn & 0x7c000000) == 0x34000000;
}

/* Newer ones that look at the pc: compare and branch (CMPBR), and signing with the pc (PAuth_LR). */
static bool is_unknown_relative(uint32_t insn)
{
	return (insn & 0x7e000000) == 0x74000000 || (insn & 0xff000000) == 0x55000000 ||
	       (insn & 0xffc00000) == 0xf3800000 || (insn & 0xffff8000) == 0xdac18000;
}

/* ---- distances ---- */

/* A field that holds a distance in words. */
struct field {
	uint32_t mask, match;
	uint8_t lsb, width;
};

static const struct field fields[] = {
	{0x7c000000, 0x14000000, 0, 26}, /* b, bl */
	{0xff000000, 0x54000000, 5, 19}, /* b.cond */
	{0x7e000000, 0x34000000, 5, 19}, /* cbz, cbnz */
	{0x7e000000, 0x36000000, 5, 14}, /* tbz, tbnz */
	{0x3b000000, 0x18000000, 5, 19}, /* literals */
};

static bool set_distance(uint32_t *insn, int64_t distance)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(fields); i++) {
		const struct field *f = &fields[i];
		const uint32_t ones = (UINT32_C(1) << f->width) - 1;

		if ((*insn & f->mask) != f->match)
			continue;
		if (distance % A64_INSN || !lp_fits_signed(distance, f->width + 2u))
			return false;
		*insn = (*insn & ~(ones << f->lsb)) | ((uint32_t)(distance / A64_INSN) & ones) << f->lsb;
		return true;
	}
	return false;
}

/* adr, adrp: 21 bits in two fields */
static bool set_address_distance(uint32_t *insn, int64_t distance)
{
	if (!lp_fits_signed(distance, 21))
		return false;
	*insn = (*insn & 0x9f00001f) | ((uint32_t)distance & 3) << 29 | ((uint32_t)(distance >> 2) & 0x7ffff) << 5;
	return true;
}

static lp_addr adrp_target(uint32_t insn, lp_addr at)
{
	int64_t pages = (int64_t)((uint64_t)(insn >> 5 & 0x7ffff) << 45) >> 43 | (insn >> 29 & 3);

	return lp_align_down(at, 4096) + (lp_addr)pages * 4096;
}

static lp_addr literal_target(uint32_t insn, lp_addr at)
{
	return at + (uint64_t)((int64_t)(int32_t)(insn << 8) >> 13) * A64_INSN;
}

static void bind(uint8_t *field, lp_addr at, lp_addr dest)
{
	uint32_t insn = lp_get32(field);

	set_distance(&insn, (int64_t)(dest - at));
	lp_put32(field, insn);
}

/* ---- writing ---- */

static void put(struct lp_mover *m, uint32_t insn)
{
	uint8_t bytes[A64_INSN];

	lp_put32(bytes, insn);
	lp_move_put(m, bytes, sizeof bytes);
}

/* ldr xt, =value */
static void put_constant(struct lp_mover *m, unsigned reg, uint64_t value)
{
	lp_move_literal(m, m->out->len, value);
	put(m, LDR_X_LITERAL | reg);
}

/* The instruction with its distance to `dest` as it is from here; false, and nothing, when that does not fit. */
static bool put_retargeted(struct lp_mover *m, uint32_t insn, lp_addr dest)
{
	if (lp_move_takes(m, dest))
		lp_move_link(m, m->out->len, dest);
	else if (!set_distance(&insn, (int64_t)(dest - lp_move_here(m))))
		return false;
	put(m, insn);
	return true;
}

/* ---- which register is free ---- */

#define WALK_MAX 256  /* instructions looked at */
#define BRANCH_MAX 16 /* ways to follow */

struct walk {
	const struct lp_move_request *req;
	lp_addr todo[BRANCH_MAX];
	size_t nr_todo;
	size_t steps;
};

/* NULL where the bytes are not known. */
static const uint8_t *bytes_at(const struct lp_move_request *req, lp_addr at)
{
	if (at - req->function < req->function_size && req->function_size - (at - req->function) >= A64_INSN)
		return req->function_code + (at - req->function);
	if (at - req->from < req->code_len && req->code_len - (at - req->from) >= A64_INSN)
		return req->code + (at - req->from);
	return NULL;
}

static bool is_outside_function(const struct lp_move_request *req, lp_addr at)
{
	return req->from - req->function < req->function_size && at - req->function >= req->function_size;
}

/* Fields that hold the number of a general register. */
enum { D = 1, N = 2, A = 4, M = 8, ALL = D | N | A | M };

/* The instructions that functions are full of; DDI 0487 C4.1.  Of any other, each field that could be read is. */
static const struct shape {
	uint32_t mask, match;
	uint8_t reads;
	bool writes_d; /* and leaves nothing of what it was */
} shapes[] = {
	{0xfc000000, 0x14000000, 0, false},	    /* b */
	{0xff000000, 0x54000000, 0, false},	    /* b.cond */
	{0x7c000000, 0x34000000, D, false},	    /* cbz, cbnz, tbz, tbnz */
	{0x1f000000, 0x10000000, 0, true},	    /* adr, adrp */
	{0xbf000000, 0x18000000, 0, true},	    /* ldr (literal) */
	{0x3f000000, 0x1c000000, 0, false},	    /* ... of a vector register */
	{0x5f800000, 0x12800000, 0, true},	    /* movn */
	{0x7f800000, 0x52800000, 0, true},	    /* movz */
	{0x7f800000, 0x72800000, D, false},	    /* movk */
	{0x1f800000, 0x11000000, N, true},	    /* add, sub (immediate) */
	{0x1f800000, 0x12000000, N, true},	    /* and, orr, eor (immediate) */
	{0x1f800000, 0x13000000, D | N, false},	    /* sbfm, bfm, ubfm */
	{0x1f200000, 0x0b000000, N | M, true},	    /* add, sub (shifted register) */
	{0x1f000000, 0x0a000000, N | M, true},	    /* and, orr, eor (shifted register), mov */
	{0x3e000000, 0x28000000, D | N | A, false}, /* stp, ldp */
	{0x3e000000, 0x2c000000, N, false},	    /* ... of vector registers */
	{0x3f000000, 0x39000000, D | N, false},	    /* str, ldr (unsigned offset) */
	{0x3f000000, 0x3d000000, N, false},	    /* ... of a vector register */
	{0x3f200000, 0x38000000, D | N, false},	    /* str, ldr (other offsets) */
	{0x3f200000, 0x3c000000, N, false},	    /* ... of a vector register */
};

static struct shape shape_of(uint32_t insn)
{
	for (size_t i = 0; i < LP_ARRAY_SIZE(shapes); i++) {
		if ((insn & shapes[i].mask) == shapes[i].match)
			return shapes[i];
	}
	return (struct shape){.reads = ALL};
}

/* The hints that work on x16 and x17: signing (pacia1716 and its family) and chkfeat. */
static bool is_hint_of_ip(uint32_t insn)
{
	const unsigned hint = insn >> 5 & 127;

	return (hint >= 8 && hint < 16) || hint == 40;
}

static bool may_read(uint32_t insn, unsigned reg)
{
	const uint8_t reads = shape_of(insn).reads;

	if ((insn & 0xfffff01f) == A64_NOP)
		return is_hint_of_ip(insn);
	return ((reads & D) && (insn & 31) == reg) || ((reads & N) && (insn >> 5 & 31) == reg) ||
	       ((reads & A) && (insn >> 10 & 31) == reg) || ((reads & M) && (insn >> 16 & 31) == reg);
}

static bool kills(uint32_t insn, unsigned reg)
{
	return shape_of(insn).writes_d && (insn & 31) == reg;
}

enum step { ON, LIVE, DEAD };

static enum step step(struct walk *w, lp_addr at, unsigned reg, lp_addr *next)
{
	const uint8_t *bytes = bytes_at(w->req, at);
	uint32_t insn;

	if (is_outside_function(w->req, at))
		return DEAD;
	if (!bytes || w->steps++ == WALK_MAX)
		return LIVE;
	insn = lp_get32(bytes);
	if (is_bl(insn))
		return DEAD;
	if (may_read(insn, reg))
		return LIVE;
	if (kills(insn, reg) || is_blr(insn) || (insn & 0xfffff000) == RET)
		return DEAD;
	*next = at + A64_INSN;
	if (is_b(insn))
		lp_a64_direct_target(insn, at, next);
	else if (lp_a64_ends_code(insn))
		return LIVE; /* wherever it goes */
	else if ((is_b_cond(insn) || is_compare_branch(insn)) && w->nr_todo < BRANCH_MAX)
		lp_a64_direct_target(insn, at, &w->todo[w->nr_todo++]);
	else if (is_b_cond(insn) || is_compare_branch(insn))
		return LIVE; /* too many ways */
	return ON;
}

static bool is_free(const struct lp_move_request *req, unsigned reg, lp_addr from)
{
	struct walk w = {.req = req, .todo = {from}, .nr_todo = 1};

	while (w.nr_todo) {
		lp_addr at = w.todo[--w.nr_todo];
		enum step s;

		while ((s = step(&w, at, reg, &at)) == ON)
			;
		if (s == LIVE)
			return false;
	}
	return true;
}

static int find_free(const struct lp_move_request *req, lp_addr from)
{
	return is_free(req, IP1, from) ? IP1 : is_free(req, IP0, from) ? IP0 : -1;
}

/* ---- branches ---- */

static void put_far_jump(struct lp_mover *m, unsigned reg, lp_addr dest)
{
	put_constant(m, reg, dest);
	put(m, (m->req->guarded ? RET : BR) | reg << 5);
}

static int jump(struct lp_mover *m, lp_addr dest)
{
	int reg;

	if (put_retargeted(m, 0x14000000, dest))
		return 0;
	reg = find_free(m->req, dest);
	if (reg < 0)
		return lp_move_fail(m, LP_EREACH, dest,
				    "is out of reach of the copy, and no register is free for a longer jump there");
	put_far_jump(m, (unsigned)reg, dest);
	return 0;
}

static int move_conditional(struct lp_mover *m, uint32_t insn, lp_addr dest)
{
	const bool by_flags = is_b_cond(insn);
	size_t over;
	int rc;

	if (by_flags && (insn & 14) == 14) /* always: al, nv */
		return jump(m, dest);
	if (put_retargeted(m, insn, dest))
		return 0;
	over = m->out->len;
	put(m, insn ^ (by_flags ? 1u : UINT32_C(1) << 24));
	rc = jump(m, dest);
	if (!m->full)
		bind(m->out->bytes + over, m->req->to + over, lp_move_here(m));
	return rc;
}

static void leave_return_address(struct lp_mover *m, lp_addr at)
{
	put_constant(m, LR, at + A64_INSN);
	m->goes_on = false; /* ... but to there */
}

static int move_bl(struct lp_mover *m, lp_addr at, lp_addr dest)
{
	leave_return_address(m, at);
	/* A function that calls itself means what stands at its entry now, not the copy. */
	if (dest == m->req->from && lp_a64_b_reaches(lp_move_here(m), dest))
		put(m, lp_a64_b(lp_move_here(m), dest));
	else if (dest == m->req->from || !put_retargeted(m, 0x14000000, dest))
		put_far_jump(m, IP0, dest);
	return 0;
}

static int move_blr(struct lp_mover *m, uint32_t insn, lp_addr at)
{
	const bool has_modifier = (insn & 0x01000800) == 0x01000800; /* blraa, blrab: another register */

	if ((insn >> 5 & 31) == LR || (has_modifier && (insn & 31) == LR))
		return lp_move_fail(m, LP_EENCODING, at, "is a call through the register of its return address");
	leave_return_address(m, at);
	put(m, insn & ~BLR_IS_CALL);
	return 0;
}

/* ---- addresses and literals ---- */

static int move_address(struct lp_mover *m, uint32_t insn, lp_addr memory)
{
	const lp_addr here = lp_move_here(m);
	int64_t distance =
		is_adrp(insn) ? (int64_t)(memory - lp_align_down(here, 4096)) / 4096 : (int64_t)(memory - here);

	if (set_address_distance(&insn, distance))
		put(m, insn);
	else
		put_constant(m, insn & 31, memory);
	return 0;
}

/* The load from [xn, #0] that loads the same as a literal's; 0 when there is none. */
static uint32_t load_of(uint32_t literal)
{
	static const uint32_t general[] = {0xb9400000, 0xf9400000, 0xb9800000, 0}; /* ldr w, ldr x, ldrsw, (prfm) */
	static const uint32_t vector[] = {0xbd400000, 0xfd400000, 0x3dc00000, 0};  /* ldr s, ldr d, ldr q */

	return (literal & 0x04000000 ? vector : general)[literal >> 30] | (literal & 31);
}

static void put_far_literal(struct lp_mover *m, uint32_t insn, lp_addr memory)
{
	const unsigned reg = insn & 31;

	if (!(insn & 0x04000000) && reg != ZR) {
		put_constant(m, reg, memory);
		put(m, load_of(insn) | reg << 5);
		return;
	}
	put(m, PUSH_IP1);
	put_constant(m, IP1, memory);
	put(m, load_of(insn) | IP1 << 5);
	put(m, POP_IP1);
}

static int move_literal(struct lp_mover *m, uint32_t insn, lp_addr at, lp_addr memory)
{
	const bool is_vector = insn & 0x04000000, is_last = insn >> 30 == 3;

	if (is_vector && is_last)
		return lp_move_fail(m, LP_EENCODING, at, "is a load of no defined size");
	if (set_distance(&insn, (int64_t)(memory - lp_move_here(m))))
		put(m, insn);
	else if (is_last)
		put(m, A64_NOP); /* prfm */
	else
		put_far_literal(m, insn, memory);
	return 0;
}

/* What refers to bytes that leave would see others there. */
static int check_memory(struct lp_mover *m, lp_addr at, lp_addr memory)
{
	if (memory == m->req->from || !lp_move_takes(m, memory))
		return 0;
	return lp_move_fail(m, LP_EBRANCHED, at, "refers to the bytes that leave");
}

/* ---- all of them ---- */

static int refuse(struct lp_mover *m, uint32_t insn, lp_addr at)
{
	if (lp_a64_is_udf(insn))
		return lp_move_fail(m, LP_EENCODING, at, "is none");
	if (insn == BRK_0)
		return lp_move_fail(m, LP_EENCODING, at, "is a breakpoint");
	if (is_unknown_relative(insn))
		return lp_move_fail(m, LP_EENCODING, at, "looks at where it stands in a way that is not known");
	return 0;
}

static int move(struct lp_mover *m, const uint8_t *bytes, size_t len, lp_addr at)
{
	const uint32_t insn = lp_get32(bytes);
	lp_addr dest = 0;
	int rc = refuse(m, insn, at);

	if (rc)
		return rc;
	if (is_adrp(insn))
		return move_address(m, insn, adrp_target(insn, at));
	if (is_literal(insn))
		return check_memory(m, at, literal_target(insn, at))
			       ?: move_literal(m, insn, at, literal_target(insn, at));
	if (is_blr(insn))
		return move_blr(m, insn, at);
	if (!lp_a64_direct_target(insn, at, &dest)) {
		put(m, insn);
		return 0;
	}
	if (is_adr(insn))
		return check_memory(m, at, dest) ?: move_address(m, insn, dest);
	if (is_bl(insn))
		return move_bl(m, at, dest);
	return is_b(insn) ? jump(m, dest) : move_conditional(m, insn, dest);
}

static const struct lp_move_rules rules = {
	.align = A64_INSN,
	.filler = 0,
	.decode = lp_a64_insn,
	.move = move,
	.jump = jump,
	.bind = bind,
};

int lp_a64_relocate(const struct lp_move_request *req, struct lp_moved *out, struct lp_err *err)
{
	return lp_move(&rules, req, out, err);
}
