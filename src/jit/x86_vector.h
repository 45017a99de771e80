/*
 * x86-64's vector instructions (x86.h): one function a form, the instruction itself is a value (x86_vector.def).
 *
 *	lp_x86_vex(x, LP_VPADDD, 0, dst, src1, lp_rm_reg(src2))		// vpaddd xmm, xmm, xmm
 *	lp_x86_vex_rm(x, LP_VMOVDQU, 1, dst, lp_rm_mem(LP_RBP, 64))	// vmovdqu ymm, [rbp+64]
 *	lp_x86_vex_to(x, LP_VMOVSS_TO, 0, lp_rm_mem(LP_RAX, 0), src)	// vmovss [rax], xmm
 *
 * Registers are 0 to 31, masks 0 to 7.  VEX is written where it can be, EVEX (AVX-512VL) where a register is above 15 or
 * the instruction has nothing else; which of these the host has is the caller's to know.  Where a register above 15 or a
 * mask has no place in the encoding, out_of_reach is set.  What is above the operation's length in the destination is
 * cleared.
 *
 * Which form takes which function: RVM vex, RM and FLAGS vex_rm, MR vex_to, with an I behind ..._imm, VMI vex_shift,
 * RVMR vex_blend.
 * The ..._sse functions write the same instructions for hosts without AVX, as far as these have them.
 */
#ifndef LP_JIT_X86_VECTOR_H
#define LP_JIT_X86_VECTOR_H

#include "jit/x86_emit.h"

/* opcode | map << 8 | pp << 10 | W of VEX << 12 | W of EVEX << 13 | digit << 14 | memory << 17 | the flags below */
enum {
	LP_VOP_MAP = 8,
	LP_VOP_PP = 10,
	LP_VOP_W = 12,
	LP_VOP_EVEX_W = 13,
	LP_VOP_DIGIT = 14,
	LP_VOP_MEM = 17,	/* bytes as a shift */
	LP_VOP_GROWS = 1 << 20, /* they double with the length */
	LP_VOP_VEX = 1 << 21,
	LP_VOP_EVEX = 1 << 22,
	LP_VOP_FLAGS = 1 << 23,
	LP_VOP_SSE = 1 << 24,

	LP_VOP_MAP_0F = LP_MAP_0F << LP_VOP_MAP,
	LP_VOP_MAP_0F38 = LP_MAP_0F38 << LP_VOP_MAP,
	LP_VOP_MAP_0F3A = LP_MAP_0F3A << LP_VOP_MAP,

	LP_VOP_PP_NP = LP_PP_NONE << LP_VOP_PP,
	LP_VOP_PP_66 = LP_PP_66 << LP_VOP_PP,
	LP_VOP_PP_F3 = LP_PP_F3 << LP_VOP_PP,
	LP_VOP_PP_F2 = LP_PP_F2 << LP_VOP_PP,

	LP_VOP_W_W0 = 0,
	LP_VOP_W_W1 = 1 << LP_VOP_W,

	LP_VOP_ENC_V = LP_VOP_VEX,
	LP_VOP_ENC_E0 = LP_VOP_EVEX,
	LP_VOP_ENC_E1 = LP_VOP_EVEX | 1 << LP_VOP_EVEX_W,
	LP_VOP_ENC_VE0 = LP_VOP_VEX | LP_VOP_ENC_E0,
	LP_VOP_ENC_VE1 = LP_VOP_VEX | LP_VOP_ENC_E1,
	LP_VOP_ENC_SV = LP_VOP_SSE | LP_VOP_ENC_V,
	LP_VOP_ENC_SVE0 = LP_VOP_SSE | LP_VOP_ENC_VE0,
	LP_VOP_ENC_SVE1 = LP_VOP_SSE | LP_VOP_ENC_VE1,

	LP_VOP_FORM_RVM = 0,
	LP_VOP_FORM_RM = 0,
	LP_VOP_FORM_MR = 0,
	LP_VOP_FORM_RVMI = 0,
	LP_VOP_FORM_RMI = 0,
	LP_VOP_FORM_MRI = 0,
	LP_VOP_FORM_RVMR = 0,
	LP_VOP_FORM_FLAGS = LP_VOP_FLAGS,
	LP_VOP_FORM_VMI0 = 0,
	LP_VOP_FORM_VMI1 = 1 << LP_VOP_DIGIT,
	LP_VOP_FORM_VMI2 = 2 << LP_VOP_DIGIT,
	LP_VOP_FORM_VMI3 = 3 << LP_VOP_DIGIT,
	LP_VOP_FORM_VMI4 = 4 << LP_VOP_DIGIT,
	LP_VOP_FORM_VMI6 = 6 << LP_VOP_DIGIT,
	LP_VOP_FORM_VMI7 = 7 << LP_VOP_DIGIT,

	LP_VOP_MEM_NONE = 0,
	LP_VOP_MEM_M1 = 0,
	LP_VOP_MEM_M2 = 1 << LP_VOP_MEM,
	LP_VOP_MEM_M4 = 2 << LP_VOP_MEM,
	LP_VOP_MEM_M8 = 3 << LP_VOP_MEM,
	LP_VOP_MEM_M16 = 4 << LP_VOP_MEM,
	LP_VOP_MEM_EIGHTH = 1 << LP_VOP_MEM | LP_VOP_GROWS,
	LP_VOP_MEM_QUARTER = 2 << LP_VOP_MEM | LP_VOP_GROWS,
	LP_VOP_MEM_HALF = 3 << LP_VOP_MEM | LP_VOP_GROWS,
	LP_VOP_MEM_FULL = 4 << LP_VOP_MEM | LP_VOP_GROWS,
};

enum lp_x86_vop {
#define VOP(name, pp, map, w, opcode, form, registers, memory, length, encodings)                      \
	LP_##name = (opcode) | LP_VOP_PP_##pp | LP_VOP_MAP_##map | LP_VOP_W_##w | LP_VOP_FORM_##form | \
		    LP_VOP_MEM_##memory | LP_VOP_ENC_##encodings,
#include "jit/x86_vector.def"
#undef VOP
};

/* Comparisons: the immediate of LP_VCMP..; ordered ones are false where an operand is a NaN. */
enum lp_x86_vcmp {
	LP_VCMP_EQ = 0, /* quiet: only a signalling NaN raises Invalid */
	LP_VCMP_LT = 1, /* signalling: any NaN does */
	LP_VCMP_LE = 2,
	LP_VCMP_UNORD = 3,	 /* quiet */
	LP_VCMP_NEQ = 4,	 /* quiet; true for NaNs */
	LP_VCMP_EQ_OR_UNORD = 8, /* quiet */
	LP_VCMP_GE = 13,
	LP_VCMP_GT = 14,
	LP_VCMP_LT_QUIET = 17,
	LP_VCMP_LE_QUIET = 18,
	LP_VCMP_NOT_LT_QUIET = 21, /* true for NaNs */
	LP_VCMP_GE_QUIET = 29,
	LP_VCMP_GT_QUIET = 30,
};

/* Rounding: the immediate of LP_VROUND..; | LP_ROUND_EXACT: without Inexact. */
enum lp_x86_round {
	LP_ROUND_NEAREST,
	LP_ROUND_DOWN,
	LP_ROUND_UP,
	LP_ROUND_ZERO,
	LP_ROUND_MXCSR,
	LP_ROUND_EXACT = 8,
};

/* ---- encodings ---- */

/* What a mask does to elements that it has no bit for: they stay, or they are cleared. */
enum { LP_MASK_MERGE = 0, LP_MASK_ZERO = 8, LP_MASK_BROADCAST = 16 };

/* mask: the number of a mask register, 1 to 7, and one of the above; 0: no mask.  LP_MASK_BROADCAST besides: rm is an
 * element in memory, taken for all; 64 bits with W1 of EVEX, else 32. */
void lp_x86_evex_op(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, unsigned mask, unsigned reg, unsigned vvvv,
		    struct lp_x86_rm rm, unsigned imm_len);

static inline void lp_x86_vector_op(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, unsigned reg, unsigned vvvv,
				    struct lp_x86_rm rm, unsigned imm_len)
{
	bool above15 = ((reg | vvvv | rm.base) & 16) != 0;

	if (!(op & LP_VOP_VEX) || above15) {
		lp_x86_evex_op(x, op, l256, 0, reg, vvvv, rm, imm_len);
		return;
	}
	if (op & LP_VOP_FLAGS)
		x->flags_clobbered = true;
	lp_x86_vex_op(x, op >> LP_VOP_PP & 3, op >> LP_VOP_MAP & 3, op >> LP_VOP_W & 1, op & 0xff, l256, reg, vvvv, rm,
		      imm_len);
}

/* ---- forms ---- */

static inline void lp_x86_vex(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, unsigned dst, unsigned src1,
			      struct lp_x86_rm rm)
{
	lp_x86_vector_op(x, op, l256, dst, src1, rm, 0);
}

static inline void lp_x86_vex_imm(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, unsigned dst, unsigned src1,
				  struct lp_x86_rm rm, unsigned imm)
{
	lp_x86_vector_op(x, op, l256, dst, src1, rm, 1);
	lp_x86_put8(x, imm);
}

static inline void lp_x86_vex_rm(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, unsigned dst, struct lp_x86_rm rm)
{
	lp_x86_vector_op(x, op, l256, dst, 0, rm, 0);
}

static inline void lp_x86_vex_rm_imm(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, unsigned dst,
				     struct lp_x86_rm rm, unsigned imm)
{
	lp_x86_vector_op(x, op, l256, dst, 0, rm, 1);
	lp_x86_put8(x, imm);
}

static inline void lp_x86_vex_to(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, struct lp_x86_rm rm, unsigned src)
{
	lp_x86_vector_op(x, op, l256, src, 0, rm, 0);
}

static inline void lp_x86_vex_to_imm(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, struct lp_x86_rm rm,
				     unsigned src, unsigned imm)
{
	lp_x86_vector_op(x, op, l256, src, 0, rm, 1);
	lp_x86_put8(x, imm);
}

/* dst = rm shifted by n (LP_..._IMM).  Only those of AVX-512 take memory. */
static inline void lp_x86_vex_shift(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, unsigned dst,
				    struct lp_x86_rm rm, unsigned n)
{
	lp_x86_vector_op(x, op, l256, (unsigned)op >> LP_VOP_DIGIT & 7, dst, rm, 1);
	lp_x86_put8(x, n);
}

/* dst = rm where the elements of mask have their highest bit set, else src1 */
static inline void lp_x86_vex_blend(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, unsigned dst, unsigned src1,
				    struct lp_x86_rm rm, unsigned mask)
{
	if (mask > 15)
		x->out_of_reach = true;
	lp_x86_vector_op(x, op, l256, dst, src1, rm, 1);
	lp_x86_put8(x, mask << 4);
}

/* With EVEX: elements that `mask` (| LP_MASK_...) has no bit for take no part, neither in faults nor in what MXCSR
 * collects. */
static inline void lp_x86_vex_masked(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, unsigned mask, unsigned dst,
				     unsigned src1, struct lp_x86_rm rm)
{
	lp_x86_evex_op(x, op, l256, mask, dst, src1, rm, 0);
}

static inline void lp_x86_vex_broadcast(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, unsigned dst,
					unsigned src1, struct lp_x86_rm rm)
{
	lp_x86_evex_op(x, op, l256, LP_MASK_BROADCAST, dst, src1, rm, 0);
}

static inline void lp_x86_vex_masked_imm(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, unsigned mask,
					 unsigned dst, unsigned src1, struct lp_x86_rm rm, unsigned imm)
{
	lp_x86_evex_op(x, op, l256, mask, dst, src1, rm, 1);
	lp_x86_put8(x, imm);
}

static inline void lp_x86_vex_rm_masked(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, unsigned mask,
					unsigned dst, struct lp_x86_rm rm)
{
	lp_x86_evex_op(x, op, l256, mask, dst, 0, rm, 0);
}

/* What has no bit is not stored; LP_MASK_MERGE only. */
static inline void lp_x86_vex_to_masked(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, unsigned mask,
					struct lp_x86_rm rm, unsigned src)
{
	lp_x86_evex_op(x, op, l256, mask, src, 0, rm, 0);
}

/* ---- the encodings that SSE to SSE4.2, AES and PCLMULQDQ have ---- */

/*
 * Two operands: the destination is what VEX has as first source.  Registers are 0 to 15, what is above 128 bits stays as
 * it is; whole registers in memory are aligned, else #GP (but for LP_VMOVDQU, LP_VMOVUPS and LP_VMOVUPD); LP_VCMP..
 * takes 0 to 7.  Where there is no such encoding, out_of_reach is set.
 */
static inline void lp_x86_sse_op(struct lp_x86 *x, enum lp_x86_vop op, unsigned reg, struct lp_x86_rm rm,
				 unsigned imm_len)
{
	unsigned prefix = 0xf2f36600U >> 8 * (op >> LP_VOP_PP & 3) & 0xff;
	unsigned map = op >> LP_VOP_MAP & 3;

	if (op & LP_VOP_FLAGS)
		x->flags_clobbered = true;
	if (!(op & LP_VOP_SSE) || (reg | rm.base) & 16)
		x->out_of_reach = true;
	lp_x86_op(x, prefix << 16 | map << 8 | (op & 0xff), op >> LP_VOP_W & 1, reg, rm, imm_len);
}

static inline void lp_x86_sse(struct lp_x86 *x, enum lp_x86_vop op, unsigned dst, struct lp_x86_rm rm)
{
	lp_x86_sse_op(x, op, dst, rm, 0);
}

static inline void lp_x86_sse_imm(struct lp_x86 *x, enum lp_x86_vop op, unsigned dst, struct lp_x86_rm rm, unsigned imm)
{
	lp_x86_sse_op(x, op, dst, rm, 1);
	lp_x86_put8(x, imm);
}

static inline void lp_x86_sse_to(struct lp_x86 *x, enum lp_x86_vop op, struct lp_x86_rm rm, unsigned src)
{
	lp_x86_sse_op(x, op, src, rm, 0);
}

static inline void lp_x86_sse_to_imm(struct lp_x86 *x, enum lp_x86_vop op, struct lp_x86_rm rm, unsigned src,
				     unsigned imm)
{
	lp_x86_sse_op(x, op, src, rm, 1);
	lp_x86_put8(x, imm);
}

static inline void lp_x86_sse_shift(struct lp_x86 *x, enum lp_x86_vop op, unsigned dst, unsigned n)
{
	lp_x86_sse_op(x, op, (unsigned)op >> LP_VOP_DIGIT & 7, lp_rm_reg(dst), 1);
	lp_x86_put8(x, n);
}

/* ---- others ---- */

/* Legacy encodings only: registers 0 to 15 (else out_of_reach is set), the destination is the first source too, what is above 128 bits stays. */
enum lp_x86_sha {
	LP_SHA1NEXTE = 0xc8,
	LP_SHA1MSG1 = 0xc9,
	LP_SHA1MSG2 = 0xca,
	LP_SHA256RNDS2 = 0xcb, /* XMM0 holds the two words */
	LP_SHA256MSG1 = 0xcc,
	LP_SHA256MSG2 = 0xcd,
};

static inline void lp_x86_sha(struct lp_x86 *x, enum lp_x86_sha op, unsigned dst, struct lp_x86_rm rm)
{
	x->beyond_sse4 = true;
	if ((dst | rm.base) & 16)
		x->out_of_reach = true;
	lp_x86_op(x, LP_OP_0F38 | (unsigned)op, 0, dst, rm, 0);
}

static inline void lp_x86_sha1rnds4(struct lp_x86 *x, unsigned dst, struct lp_x86_rm rm, unsigned function)
{
	x->beyond_sse4 = true;
	if ((dst | rm.base) & 16)
		x->out_of_reach = true;
	lp_x86_op(x, LP_OP_0F3A | 0xcc, 0, dst, rm, 1);
	lp_x86_put8(x, function);
}

static inline void lp_x86_ldmxcsr(struct lp_x86 *x, struct lp_x86_rm rm)
{
	lp_x86_op(x, LP_OP_0F | 0xae, 0, 2, rm, 0);
}

static inline void lp_x86_stmxcsr(struct lp_x86 *x, struct lp_x86_rm rm)
{
	lp_x86_op(x, LP_OP_0F | 0xae, 0, 3, rm, 0);
}

/* Before C code that was compiled for SSE: the upper halves of 0 to 15 are cleared. */
static inline void lp_x86_vzeroupper(struct lp_x86 *x)
{
	x->beyond_sse4 = true;
	lp_x86_put8(x, 0xc5);
	lp_x86_put16(x, 0x77f8);
}

#endif
