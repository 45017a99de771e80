/*
 * Moving x86-64 instructions to another place.
 *
 * Constraints.  Registers, flags and the red zone (128 bytes below the stack
 * pointer) are as they would be in the old place; nothing is known about any
 * register, so none is free.
 *
 *     as it is       everything that does not look at rip
 *     mov x(%rip)    the displacement counts from the new place; out of reach:
 *                    lea -128(%rsp); push scratch; movabs $x,scratch; mov (scratch); pop scratch; lea 128(%rsp)
 *                    with a scratch register that the instruction has nothing to do with
 *     jmp, jcc       with 32 bits of distance; out of reach: through a literal, jcc inverted around that
 *     loop, jrcxz    know 8 bits only: over a short jump, to the long one
 *     call           pushes the old return address and jumps (move.h); where threads have shadow stacks, such a
 *                    return would kill them, so there it stays a call, which returns to the copy
 *
 * A syscall leaves the address behind it in rcx; the copy leaves another one.
 * No program can have a use for it.
 *
 * Not moved: int3 (a breakpoint hides what really stands there), far calls,
 * branches that 16 bits would cut on some CPUs, what reads rip as 32 bits.
 */
#include "base/bits.h"
#include "isa/move.h"
#include "isa/x64/encode.h"
#include "isa/x64/parse.h"

enum { JMP_NEAR = X64_JMP32_LEN, JMP_FAR = 6 /* jmp *literal(%rip) */, RSP = 4 };

/* One instruction that moves. */
struct moving {
	struct lp_mover *m;
	const uint8_t *bytes;
	lp_addr at;
	struct lp_x64_fields in;
};

#define PUT(m, ...) lp_move_put((m), (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static int fail(const struct moving *i, int code, const char *why)
{
	return lp_move_fail(i->m, code, i->at, why);
}

static void bind(uint8_t *field, lp_addr at, lp_addr dest)
{
	lp_put32(field, (uint32_t)(dest - (at + 4)));
}

/* An opcode whose 4 last bytes, put here, are a displacement to a literal. */
static void put_literal(struct lp_mover *m, uint64_t value)
{
	lp_move_literal(m, m->out->len, value);
	PUT(m, 0, 0, 0, 0);
}

/* ---- direct branches ---- */

/* `dest` can be told by 32 bits at the end of an instruction of `len` bytes that comes next. */
static bool is_near(const struct lp_mover *m, size_t len, lp_addr dest)
{
	return lp_fits_signed((int64_t)(dest - (lp_move_here(m) + len)), 32);
}

static bool is_branch_near(const struct lp_mover *m, size_t len, lp_addr dest)
{
	return lp_move_takes(m, dest) || is_near(m, len, dest);
}

static void put_rel32(struct lp_mover *m, lp_addr dest)
{
	uint8_t field[4];

	if (lp_move_takes(m, dest))
		lp_move_link(m, m->out->len, dest);
	bind(field, lp_move_here(m), dest);
	lp_move_put(m, field, sizeof field);
}

/* Near from here, and from behind the few bytes that come first. */
static bool is_jump_near(const struct lp_mover *m, lp_addr dest)
{
	return is_branch_near(m, 0, dest) && is_branch_near(m, 16, dest);
}

static size_t jump_len(const struct lp_mover *m, lp_addr dest)
{
	return is_jump_near(m, dest) ? JMP_NEAR : JMP_FAR;
}

static void put_jump(struct lp_mover *m, size_t len, lp_addr dest)
{
	if (len == JMP_NEAR) {
		PUT(m, 0xe9); /* jmp dest */
		put_rel32(m, dest);
	} else {
		PUT(m, 0xff, 0x25); /* jmp *literal(%rip) */
		put_literal(m, dest);
	}
}

static int jump(struct lp_mover *m, lp_addr dest)
{
	put_jump(m, jump_len(m, dest), dest);
	return 0;
}

static int move_jcc(const struct moving *i, lp_addr dest)
{
	const uint8_t condition = i->in.opcode & 15;

	if (is_branch_near(i->m, 6, dest)) {
		PUT(i->m, 0x0f, 0x80 | condition); /* jcc dest */
		put_rel32(i->m, dest);
	} else {
		PUT(i->m, 0x70 | (condition ^ 1), JMP_FAR); /* jncc 1f */
		put_jump(i->m, JMP_FAR, dest);		    /* jmp dest; 1: */
	}
	return 0;
}

/* loop, loope, loopne, jrcxz, jecxz: with all prefixes, one of which tells ecx from rcx */
static int move_loop(const struct moving *i, lp_addr dest)
{
	size_t len;

	lp_move_put(i->m, i->bytes, i->in.len - 1u);
	PUT(i->m, 2); /* loop 1f */
	len = jump_len(i->m, dest);
	PUT(i->m, 0xeb, (uint8_t)len); /* jmp 2f */
	put_jump(i->m, len, dest);     /* 1: jmp dest; 2: */
	return 0;
}

static int move_xbegin(const struct moving *i, lp_addr dest)
{
	if (i->in.len != 6)
		return fail(i, LP_EENCODING, "is a transaction with prefixes");
	if (!is_branch_near(i->m, 6, dest))
		return fail(i, LP_EREACH, "is a transaction whose other end is out of reach");
	PUT(i->m, 0xc7, 0xf8); /* xbegin dest */
	put_rel32(i->m, dest);
	return 0;
}

/* ---- calls ---- */

/* What a call pushes, in one instruction: no signal handler sees a stack that was never there. */
static void push_return(const struct moving *i)
{
	PUT(i->m, 0xff, 0x35); /* push literal(%rip) */
	put_literal(i->m, i->at + i->in.len);
	i->m->goes_on = false; /* ... but to there */
}

static bool has_shadow_stack(const struct moving *i)
{
	return i->m->req->guarded;
}

static int move_call(const struct moving *i, lp_addr dest)
{
	/* A call of what comes next only asks for rip, and is no call to a shadow stack (SDM vol. 1, 17.2). */
	const bool asks_rip = dest == i->at + i->in.len;
	/* A function that calls itself means what stands at its entry now, not the copy. */
	const bool is_far = dest == i->m->req->from || !is_jump_near(i->m, dest);

	if (!has_shadow_stack(i) || asks_rip) {
		push_return(i);
		put_jump(i->m, is_far ? JMP_FAR : JMP_NEAR, dest);
	} else if (!is_far) {
		PUT(i->m, 0xe8); /* call dest */
		put_rel32(i->m, dest);
	} else {
		PUT(i->m, 0xff, 0x15); /* call *literal(%rip) */
		put_literal(i->m, dest);
	}
	return 0;
}

static bool is_jcc(const struct lp_x64_fields *in)
{
	return (in->map == X64_MAP_ONE && (in->opcode & 0xf0) == 0x70) ||
	       (in->map == X64_MAP_TWO && (in->opcode & 0xf0) == 0x80);
}

static bool is_loop(const struct lp_x64_fields *in)
{
	return in->map == X64_MAP_ONE && (in->opcode & 0xfc) == 0xe0;
}

static bool is_xbegin(const struct lp_x64_fields *in)
{
	return in->map == X64_MAP_ONE && in->opcode == 0xc7;
}

static int move_branch(const struct moving *i)
{
	const lp_addr dest = i->at + i->in.len + (uint64_t)i->in.imm;

	if ((i->in.prefixes & X64_PREFIX_66) && !(i->in.rex & X64_REX_W))
		return fail(i, LP_EENCODING, "is a branch that some CPUs cut to 16 bits");
	if (lp_x64_goes(&i->in) == X64_GOES_CALL)
		return move_call(i, dest);
	if (lp_x64_goes(&i->in) == X64_GOES_JUMP)
		return jump(i->m, dest);
	if (is_xbegin(&i->in))
		return move_xbegin(i, dest);
	if (is_loop(&i->in))
		return move_loop(i, dest);
	if (is_jcc(&i->in))
		return move_jcc(i, dest);
	return fail(i, LP_EENCODING, "is a branch of an unknown kind");
}

/* ---- memory relative to rip ---- */

static void put_near_memory(const struct moving *i, const uint8_t *insn, lp_addr memory)
{
	const size_t field = i->in.disp_at, behind = field + 4;
	uint8_t disp[4];

	lp_put32(disp, (uint32_t)(memory - (lp_move_here(i->m) + i->in.len)));
	lp_move_put(i->m, insn, field);
	lp_move_put(i->m, disp, sizeof disp);
	lp_move_put(i->m, insn + behind, i->in.len - behind);
}

static bool names(const struct moving *i, unsigned reg)
{
	return lp_x64_named(&i->in) >> reg & 1;
}

static bool uses(const struct moving *i, unsigned reg)
{
	return names(i, reg) || (lp_x64_implied(&i->in) >> reg & 1);
}

/* One of those that a ModRM byte can name as a base without more. */
static int find_scratch(const struct moving *i)
{
	static const uint8_t able[] = {0, 1, 2, 3, 6, 7}; /* rax rcx rdx rbx rsi rdi */

	for (size_t k = 0; k < sizeof able; k++) {
		if (!uses(i, able[k]))
			return able[k];
	}
	return -1;
}

/* The bits of prefixes that make a base register one of r8 to r31; they mean nothing to rip. */
static void clear_base_bits(const struct moving *i, uint8_t *insn)
{
	if (i->in.space == X64_SPACE_LEGACY) {
		if (i->in.rex)
			insn[i->in.prefix_at] &= (uint8_t)~X64_REX_B;
	} else if (i->in.prefix_len > 2) { /* inverted; the short VEX has none */
		insn[i->in.prefix_at + 1] |= 0x20;
	}
}

/* The same instruction on (scratch). */
static void put_indirect(const struct moving *i, uint8_t scratch)
{
	const size_t modrm = i->in.modrm_at, behind = i->in.disp_at + 4u;
	uint8_t insn[X64_INSN_MAX];

	memcpy(insn, i->bytes, i->in.len);
	clear_base_bits(i, insn);
	insn[modrm] = (uint8_t)((insn[modrm] & 0x38) | scratch);
	lp_move_put(i->m, insn, modrm + 1);
	lp_move_put(i->m, insn + behind, i->in.len - behind);
}

static void put_movabs(struct lp_mover *m, uint8_t reg, uint64_t value)
{
	uint8_t imm[8];

	lp_put64(imm, value);
	PUT(m, 0x48, 0xb8 | reg); /* movabs $value,%reg */
	lp_move_put(m, imm, sizeof imm);
}

static void put_load_rax(struct lp_mover *m, lp_addr memory)
{
	uint8_t address[8];

	lp_put64(address, memory);
	PUT(m, 0x48, 0xa1); /* movabs memory,%rax */
	lp_move_put(m, address, sizeof address);
}

static int move_far_memory(const struct moving *i, lp_addr memory)
{
	int scratch = find_scratch(i);

	if (scratch < 0 || uses(i, RSP))
		return fail(i, LP_EREACH, "refers to memory that is out of reach, and cannot be told otherwise");
	PUT(i->m, 0x48, 0x8d, 0x64, 0x24, 0x80); /* lea -128(%rsp),%rsp */
	PUT(i->m, (uint8_t)(0x50 | scratch));	 /* push %scratch */
	put_movabs(i->m, (uint8_t)scratch, memory);
	put_indirect(i, (uint8_t)scratch);
	PUT(i->m, (uint8_t)(0x58 | scratch));			   /* pop %scratch */
	PUT(i->m, 0x48, 0x8d, 0xa4, 0x24, 0x80, 0x00, 0x00, 0x00); /* lea 128(%rsp),%rsp */
	return 0;
}

/* rax lies where the value shall; they change places. */
static int push_far(const struct moving *i, lp_addr memory)
{
	PUT(i->m, 0x50); /* push %rax */
	put_load_rax(i->m, memory);
	PUT(i->m, 0x48, 0x87, 0x04, 0x24); /* xchg %rax,(%rsp) */
	return 0;
}

static int fail_far_jump(const struct moving *i)
{
	return fail(i, LP_EREACH, "goes where memory says that is out of reach");
}

/* Below the return address that was pushed, nothing of the caller's is left. */
static int call_far(const struct moving *i, lp_addr memory)
{
	if (has_shadow_stack(i))
		return fail_far_jump(i);
	push_return(i);
	push_far(i, memory);
	PUT(i->m, 0xc3); /* ret */
	return 0;
}

static int jump_far(const struct moving *i, lp_addr memory)
{
	if (has_shadow_stack(i))
		return fail_far_jump(i);
	PUT(i->m, 0x48, 0x8d, 0x64, 0x24, 0x80); /* lea -128(%rsp),%rsp */
	push_far(i, memory);
	PUT(i->m, 0xc2, 0x80, 0x00); /* ret $128 */
	return 0;
}

/* call *x becomes jmp *x: /2 to /4 */
static void call_to_jump(const struct moving *i, uint8_t *insn)
{
	uint8_t *modrm = &insn[i->in.modrm_at];

	*modrm = (uint8_t)((*modrm & 0xc7) | 4 << 3);
}

static bool is_push(const struct lp_x64_fields *in)
{
	return in->map == X64_MAP_ONE && in->opcode == 0xff && (in->modrm >> 3 & 7) == 6;
}

static int move_far(const struct moving *i, lp_addr memory)
{
	const bool plain = lp_x64_operand_bits(&i->in) == 64 && !(i->in.prefixes & X64_PREFIX_FS_GS);

	if (lp_x64_goes(&i->in) == X64_GOES_CALL)
		return plain ? call_far(i, memory) : fail_far_jump(i);
	if (lp_x64_goes(&i->in) == X64_GOES_JUMP)
		return plain && !(i->in.has & X64_IS_FAR) ? jump_far(i, memory) : fail_far_jump(i);
	if (is_push(&i->in) && plain)
		return push_far(i, memory);
	return move_far_memory(i, memory);
}

static int move_memory(const struct moving *i)
{
	const lp_addr memory = i->at + i->in.len + (uint64_t)i->in.disp;
	const bool is_call = lp_x64_goes(&i->in) == X64_GOES_CALL && !has_shadow_stack(i);
	uint8_t insn[X64_INSN_MAX];

	if (i->in.prefixes & X64_PREFIX_67)
		return fail(i, LP_EENCODING, "takes an address relative to 32 bits of rip");
	if (memory != i->m->req->from && lp_move_takes(i->m, memory))
		return fail(i, LP_EBRANCHED, "refers to the bytes that leave");
	/* The push of a return address comes first: 6 bytes. */
	if (!is_near(i->m, i->in.len, memory) || !is_near(i->m, i->in.len + 6u, memory))
		return move_far(i, memory);
	memcpy(insn, i->bytes, i->in.len);
	if (is_call) {
		push_return(i);
		call_to_jump(i, insn);
	}
	put_near_memory(i, insn, memory);
	return 0;
}

/* ---- the others ---- */

static int move_indirect_call(const struct moving *i)
{
	uint8_t insn[X64_INSN_MAX];

	memcpy(insn, i->bytes, i->in.len);
	if (!has_shadow_stack(i)) {
		/* The push has moved rsp, and written where it points, when the jump looks. */
		if (names(i, RSP))
			return fail(i, LP_EENCODING, "is a call through the stack");
		push_return(i);
		call_to_jump(i, insn);
	}
	lp_move_put(i->m, insn, i->in.len);
	return 0;
}

static int move(struct lp_mover *m, const uint8_t *insn, size_t len, lp_addr at)
{
	struct moving i = {.m = m, .bytes = insn, .at = at};

	if (!lp_x64_parse(insn, len, &i.in))
		return fail(&i, LP_EENCODING, "is no instruction");
	if (lp_x64_goes(&i.in) == X64_GOES_CALL && (i.in.has & X64_IS_FAR))
		return fail(&i, LP_EENCODING, "is a far call");
	if (i.in.is_relative)
		return move_branch(&i);
	if (lp_x64_is_rip_relative(&i.in))
		return move_memory(&i);
	if (lp_x64_goes(&i.in) == X64_GOES_CALL)
		return move_indirect_call(&i);
	lp_move_put(m, insn, len);
	return 0;
}

static const struct lp_move_rules rules = {
	.align = 1,
	.filler = 0xcc,
	.decode = lp_x64_insn,
	.move = move,
	.jump = jump,
	.bind = bind,
};

int lp_x64_relocate(const struct lp_move_request *req, struct lp_moved *out, struct lp_err *err)
{
	return lp_move(&rules, req, out, err);
}
