/*
 * One x86-64 instruction, reduced to the questions that following register
 * values asks.
 *
 * Bits of lp_regs: the general registers that a callee may change by the
 * psABI (3.2.1), the vector registers as wholes, the mask registers.  Flags,
 * x87 and MMX are left out: no compiler keeps a value in them across a call.
 */
#ifndef LP_ISA_X64_ACCESS_H
#define LP_ISA_X64_ACCESS_H

#include "isa/x64/x64.h"

enum {
	X64_RAX,
	X64_RCX,
	X64_RDX,
	X64_RSI,
	X64_RDI,
	X64_R8,
	X64_R9,
	X64_R10,
	X64_R11,
	X64_XMM0,		/* .. xmm31 */
	X64_K0 = X64_XMM0 + 32, /* .. k7 */
	X64_NR_REGS = X64_K0 + 8,
};
_Static_assert(X64_NR_REGS <= 64, "every register has its bit");

#define X64_BIT(reg) (UINT64_C(1) << (reg))
#define X64_GENERAL (X64_BIT(X64_XMM0) - 1)
#define X64_VECTORS (X64_BIT(X64_K0) - X64_BIT(X64_XMM0))
#define X64_MASKS (X64_BIT(X64_NR_REGS) - X64_BIT(X64_K0))
#define X64_ALL (X64_GENERAL | X64_VECTORS | X64_MASKS)

/* psABI 3.2.3: integers, vectors, al (how many vectors, for `...`), r10 (static chain). */
#define X64_ARGUMENTS                                                                                  \
	(X64_BIT(X64_RDI) | X64_BIT(X64_RSI) | X64_BIT(X64_RDX) | X64_BIT(X64_RCX) | X64_BIT(X64_R8) | \
	 X64_BIT(X64_R9) | X64_BIT(X64_RAX) | X64_BIT(X64_R10) | UINT64_C(0xff) << X64_XMM0)
#define X64_RESULTS (X64_BIT(X64_RAX) | X64_BIT(X64_RDX) | UINT64_C(3) << X64_XMM0)

enum lp_x64_flow {
	X64_NEXT,
	X64_JUMP,	   /* to target */
	X64_BRANCH,	   /* to target or on */
	X64_CALL,	   /* of target */
	X64_CALL_UNKNOWN,  /* through a register or memory */
	X64_JUMP_THROUGH,  /* jmp *x(%rip): a call of another function in tail position, as a PLT entry makes it */
	X64_JUMP_COMPUTED, /* a switch, or a tail call through a pointer */
	X64_RETURN,
	X64_STOP, /* does not go on: ud2, hlt, int3 */
};

/* How the stack pointer moves, and what is touched relative to it. */
enum lp_x64_stack {
	X64_STACK_SAME,
	X64_STACK_MOVES, /* by stack_by */
	X64_STACK_FRAME, /* mov %rsp,%rbp */
	X64_STACK_LEAVE, /* rsp = rbp + stack_by, for `leave` and `lea x(%rbp),%rsp`; see pops_frame */
	X64_STACK_LOWER, /* somewhere farther down: alloca, alignment */
	X64_STACK_LOST,
};

enum lp_x64_base { X64_BASE_NONE, X64_BASE_SP, X64_BASE_BP };

struct lp_x64_access {
	uint8_t len;
	uint8_t vector_bytes; /* widest vector register named; 0 = none */
	bool pops_frame;      /* rbp is loaded: pop %rbp, leave */
	bool loses_frame;     /* rbp changes in another way */
	lp_regs reads;	      /* the result depends on them */
	lp_regs writes;	      /* may change as registers */
	lp_regs kills;	      /* of writes: nothing of the old value is left */
	lp_regs soils;	      /* lose their upper part only (vzeroupper) */
	lp_regs to_stack;     /* push, or a store to the frame */
	lp_regs from_stack;   /* pop, or a load from the frame */
	enum lp_x64_flow flow;
	lp_addr target; /* JUMP, BRANCH, CALL */
	lp_addr slot;	/* CALL_UNKNOWN, JUMP_THROUGH: where the pointer lies, 0 when that is not fixed */
	enum lp_x64_stack stack;
	int64_t stack_by;
	/* A memory operand or taken address relative to the stack or frame pointer. */
	enum lp_x64_base base;
	int64_t disp;
	bool zeroes_rax;    /* xor %eax,%eax */
	bool tests_al;	    /* test %al,%al */
	bool skips_if_zero; /* BRANCH: je */
	bool copies_sp;	    /* the stack pointer goes into another register than rbp */
	bool writes_memory;
};

/* false when the first bytes at code are no instruction. */
bool lp_x64_access(const uint8_t *code, size_t len, lp_addr at, struct lp_x64_access *out);
const char *lp_x64_reg_name(unsigned bit);

#endif
