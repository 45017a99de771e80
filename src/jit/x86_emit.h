/*
 * The parts of which x86-64 instructions are made: the buffer, registers and memory, prefixes, ModRM (x86.h).
 */
#ifndef LP_JIT_X86_EMIT_H
#define LP_JIT_X86_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum lp_x86_reg {
	LP_RAX,
	LP_RCX,
	LP_RDX,
	LP_RBX,
	LP_RSP,
	LP_RBP,
	LP_RSI,
	LP_RDI,
	LP_R8,
	LP_R9,
	LP_R10,
	LP_R11,
	LP_R12,
	LP_R13,
	LP_R14,
	LP_R15,
};

/* Conditions, in the order in which they are encoded: the opposite one is ^ 1. */
enum lp_x86_cc {
	LP_CC_O,
	LP_CC_NO,
	LP_CC_B,
	LP_CC_AE,
	LP_CC_E,
	LP_CC_NE,
	LP_CC_BE,
	LP_CC_A,
	LP_CC_S,
	LP_CC_NS,
	LP_CC_P,
	LP_CC_NP,
	LP_CC_L,
	LP_CC_GE,
	LP_CC_LE,
	LP_CC_G,
};

/* No instruction is longer. */
enum { LP_X86_MAX = 15 };

/* Bytes that would be others if the code, or what it refers to, were elsewhere. */
struct lp_x86_ref {
	uint32_t at;	   /* from the begin of the buffer */
	uint8_t behind;	   /* of a displacement: bytes of its instruction that follow it */
	bool is_immediate; /* 8 bytes, the target; else 4, how far it is from the end of the instruction */
	bool is_ours;	   /* an immediate that is no address of the guest's */
	uint64_t target;
};

/* Where code is written.  The caller sees to it that what it is about to append has room: LP_X86_MAX bytes for each
 * function called. */
struct lp_x86 {
	uint8_t *at;	      /* the next byte */
	uint8_t *end;	      /* behind the last one */
	int64_t run_offset;   /* the address at which a byte will be executed, less the one at which it is written */
	bool flags_clobbered; /* something has written EFLAGS */
	bool beyond_sse4;     /* something has been written that takes more than SSE4.2 and POPCNT.  Stays set. */
	bool out_of_reach;    /* a displacement did not fit: what was written must not be executed.  Stays set. */

	/* For who wants to know: where code begins, and what it refers to.  NULL: nobody does. */
	const uint8_t *begin;
	struct lp_x86_ref *refs;
	unsigned nr_refs, max_refs; /* nr_refs is one more than there is room for when there were too many */
};

static inline size_t lp_x86_room(const struct lp_x86 *x)
{
	return (size_t)(x->end - x->at);
}

/* The address at which what is written next will be executed. */
static inline uint64_t lp_x86_here(const struct lp_x86 *x)
{
	return (uint64_t)(uintptr_t)x->at + (uint64_t)x->run_offset;
}

/* ---- operands that may be memory ---- */

enum lp_x86_rm_kind { LP_RM_REG, LP_RM_MEM, LP_RM_ABS, LP_RM_INDEX };

struct lp_x86_rm {
	uint8_t kind;
	uint8_t base;  /* or the register itself */
	uint8_t index; /* LP_RSP: none, as in the encoding */
	uint8_t scale; /* as a shift */
	int32_t disp;
	const void *address;
};

static inline struct lp_x86_rm lp_rm_reg(unsigned reg)
{
	return (struct lp_x86_rm){.kind = LP_RM_REG, .base = (uint8_t)reg};
}

/* [base + disp] */
static inline struct lp_x86_rm lp_rm_mem(unsigned base, int32_t disp)
{
	return (struct lp_x86_rm){.kind = LP_RM_MEM, .base = (uint8_t)base, .index = LP_RSP, .disp = disp};
}

/* [base + index * scale + disp]; scale is 1, 2, 4 or 8, index anything but RSP. */
static inline struct lp_x86_rm lp_rm_sib(unsigned base, unsigned index, unsigned scale, int32_t disp)
{
	return (struct lp_x86_rm){
		.kind = LP_RM_MEM,
		.base = (uint8_t)base,
		.index = (uint8_t)index,
		.scale = (uint8_t)__builtin_ctz(scale),
		.disp = disp,
	};
}

/* [index * scale + disp]: what lea shifts left with, leaving the flags alone. */
static inline struct lp_x86_rm lp_rm_index(unsigned index, unsigned scale, int32_t disp)
{
	struct lp_x86_rm rm = lp_rm_sib(LP_RBP, index, scale, disp);

	rm.kind = LP_RM_INDEX;
	return rm;
}

/* [rip + ...]: the address must be within 2 GiB of where the instruction will run, else out_of_reach is set. */
static inline struct lp_x86_rm lp_rm_abs(const void *address)
{
	return (struct lp_x86_rm){.kind = LP_RM_ABS, .base = LP_RBP, .index = LP_RSP, .address = address};
}

/* ---- bytes ---- */

static inline void lp_x86_put8(struct lp_x86 *x, unsigned byte)
{
	*x->at++ = (uint8_t)byte;
}

static inline void lp_x86_put16(struct lp_x86 *x, uint16_t value)
{
	memcpy(x->at, &value, sizeof(value));
	x->at += sizeof(value);
}

static inline void lp_x86_put32(struct lp_x86 *x, uint32_t value)
{
	memcpy(x->at, &value, sizeof(value));
	x->at += sizeof(value);
}

static inline void lp_x86_put64(struct lp_x86 *x, uint64_t value)
{
	memcpy(x->at, &value, sizeof(value));
	x->at += sizeof(value);
}

/* An immediate of an operand of so many bytes; those of 8 have one of 4. */
static inline void lp_x86_put_imm(struct lp_x86 *x, unsigned bytes, int32_t imm)
{
	if (bytes == 1)
		lp_x86_put8(x, (uint8_t)imm);
	else if (bytes == 2)
		lp_x86_put16(x, (uint16_t)imm);
	else
		lp_x86_put32(x, (uint32_t)imm);
}

static inline void lp_x86_note(struct lp_x86 *x, struct lp_x86_ref ref)
{
	if (!x->refs || x->nr_refs > x->max_refs)
		return;
	if (x->nr_refs < x->max_refs)
		x->refs[x->nr_refs] = ref;
	x->nr_refs++;
}

/* How far the target is from the end of an instruction which has so many bytes behind the displacement at `at`, once both
 * are where they run. */
static inline int32_t lp_x86_distance(struct lp_x86 *x, const uint8_t *at, unsigned behind, const void *target)
{
	int64_t distance = (int64_t)((uint64_t)(uintptr_t)target - ((uint64_t)(uintptr_t)at + 4 + behind) -
				     (uint64_t)x->run_offset);

	lp_x86_note(x, (struct lp_x86_ref){.at = (uint32_t)(at - x->begin),
					   .behind = (uint8_t)behind,
					   .target = (uint64_t)(uintptr_t)target});
	if (distance != (int32_t)distance)
		x->out_of_reach = true;
	return (int32_t)distance;
}

/* ---- ModRM, SIB, displacement ---- */

static inline uint8_t *lp_x86_disp32(uint8_t *at, int32_t disp)
{
	memcpy(at, &disp, sizeof(disp));
	return at + sizeof(disp);
}

/* imm_len: bytes of the instruction behind the operand, for what is relative to the end of it.
 * shift8: what a displacement of one byte is scaled by (2.7.5; 0 but for EVEX). */
static inline void lp_x86_modrm_scaled(struct lp_x86 *x, unsigned reg, struct lp_x86_rm rm, unsigned imm_len,
				       unsigned shift8)
{
	uint8_t *at = x->at;
	unsigned low = rm.base & 7;
	unsigned field = (reg & 7) << 3;

	if (rm.kind == LP_RM_REG) {
		*at++ = (uint8_t)(0xc0 | field | low);
	} else if (rm.kind == LP_RM_MEM) {
		int32_t disp8 = rm.disp >> shift8;
		bool fits8 = disp8 == (int8_t)disp8 && (uint32_t)disp8 << shift8 == (uint32_t)rm.disp;
		/* RBP and R13 without a displacement are encodings of something else */
		unsigned mod = rm.disp == 0 && low != LP_RBP ? 0 : fits8 ? 0x40 : 0x80;

		if (rm.index != LP_RSP || low == LP_RSP) {
			*at++ = (uint8_t)(mod | field | 4);
			*at++ = (uint8_t)(rm.scale << 6 | (rm.index & 7) << 3 | low);
		} else {
			*at++ = (uint8_t)(mod | field | low);
		}
		if (mod == 0x40)
			*at++ = (uint8_t)disp8;
		else if (mod == 0x80)
			at = lp_x86_disp32(at, rm.disp);
	} else if (rm.kind == LP_RM_ABS) {
		*at++ = (uint8_t)(field | 5);
		at = lp_x86_disp32(at, lp_x86_distance(x, at, imm_len, rm.address));
	} else {
		*at++ = (uint8_t)(field | 4);
		*at++ = (uint8_t)(rm.scale << 6 | (rm.index & 7) << 3 | low);
		at = lp_x86_disp32(at, rm.disp);
	}
	x->at = at;
}

static inline void lp_x86_modrm(struct lp_x86 *x, unsigned reg, struct lp_x86_rm rm, unsigned imm_len)
{
	lp_x86_modrm_scaled(x, reg, rm, imm_len, 0);
}

/* ---- legacy encodings ---- */

/* An opcode: its byte, its map, the prefix that belongs to it, and which operands are byte registers (SPL, BPL, SIL and
 * DIL have names only with a REX prefix). */
enum {
	LP_OP_0F = 1 << 8,
	LP_OP_0F38 = 2 << 8,
	LP_OP_0F3A = 3 << 8,
	LP_OP_MAP = 3 << 8,
	LP_OP_REG8 = 1 << 10,
	LP_OP_RM8 = 1 << 11,
	LP_OP_66 = 0x66 << 16,
	LP_OP_F2 = 0xf2 << 16,
	LP_OP_F3 = 0xf3 << 16,
};

/* [prefix] [REX] [0F [38|3A]] opcode ModRM; imm_len bytes are to follow. */
static inline void lp_x86_op(struct lp_x86 *x, unsigned op, unsigned w, unsigned reg, struct lp_x86_rm rm,
			     unsigned imm_len)
{
	uint8_t *at = x->at;
	unsigned rex = w << 3 | (reg & 8) >> 1 | (rm.index & 8) >> 2 | (rm.base & 8) >> 3;
	unsigned map = op & LP_OP_MAP;

	if (op >> 16)
		*at++ = (uint8_t)(op >> 16);
	if (rex || (op & LP_OP_REG8 && reg >= LP_RSP) || (op & LP_OP_RM8 && rm.kind == LP_RM_REG && rm.base >= LP_RSP))
		*at++ = (uint8_t)(0x40 | rex);
	if (map)
		*at++ = 0x0f;
	if (map >= LP_OP_0F38)
		*at++ = map == LP_OP_0F38 ? 0x38 : 0x3a;
	*at++ = (uint8_t)op;
	x->at = at;
	lp_x86_modrm(x, reg, rm, imm_len);
}

/* Opcodes that come in pairs, the even one for bytes: the operand is of 1, 2, 4 or 8 bytes; `reg` is a digit of the
 * opcode. */
static inline void lp_x86_group_sized(struct lp_x86 *x, unsigned op, unsigned bytes, unsigned digit,
				      struct lp_x86_rm rm, unsigned imm_len)
{
	op |= bytes == 1 ? LP_OP_RM8 : 1;
	if (bytes == 2)
		op |= LP_OP_66;
	lp_x86_op(x, op, bytes == 8, digit, rm, imm_len);
}

/* The same where `reg` is a register. */
static inline void lp_x86_op_sized(struct lp_x86 *x, unsigned op, unsigned bytes, unsigned reg, struct lp_x86_rm rm)
{
	lp_x86_group_sized(x, op | (bytes == 1 ? LP_OP_REG8 : 0), bytes, reg, rm, 0);
}

/* [REX] opcode + register */
static inline void lp_x86_op_plus(struct lp_x86 *x, unsigned op, unsigned w, unsigned reg)
{
	unsigned rex = w << 3 | (reg & 8) >> 3;

	if (rex)
		lp_x86_put8(x, 0x40 | rex);
	if (op & LP_OP_0F)
		lp_x86_put8(x, 0x0f);
	lp_x86_put8(x, (op & 0xff) + (reg & 7));
}

/* ---- VEX encodings (2.3) ---- */

enum lp_x86_pp { LP_PP_NONE, LP_PP_66, LP_PP_F3, LP_PP_F2 };
enum lp_x86_map { LP_MAP_0F = 1, LP_MAP_0F38, LP_MAP_0F3A };

/* VEX opcode ModRM; registers are 0 to 15, vvvv is 0 where there is no second source. */
static inline void lp_x86_vex_op(struct lp_x86 *x, unsigned pp, unsigned map, unsigned w, unsigned opcode,
				 unsigned l256, unsigned reg, unsigned vvvv, struct lp_x86_rm rm, unsigned imm_len)
{
	uint8_t *at = x->at;
	unsigned last = (~vvvv & 15) << 3 | l256 << 2 | pp;
	unsigned not_r = (~reg & 8) << 4;

	x->beyond_sse4 = true;
	if (map == LP_MAP_0F && !w && !((rm.base | rm.index) & 8)) {
		*at++ = 0xc5;
		*at++ = (uint8_t)(not_r | last);
	} else {
		*at++ = 0xc4;
		*at++ = (uint8_t)(not_r | (~rm.index & 8) << 3 | (~rm.base & 8) << 2 | map);
		*at++ = (uint8_t)(w << 7 | last);
	}
	*at++ = (uint8_t)opcode;
	x->at = at;
	lp_x86_modrm(x, reg, rm, imm_len);
}

#endif
