/*
 * x86-64's general registers, flags and jumps (x86.h).
 */
#ifndef LP_JIT_X86_INTEGER_H
#define LP_JIT_X86_INTEGER_H

#include "jit/x86_emit.h"

/* ---- arithmetic ---- */

enum lp_x86_alu {
	LP_ALU_ADD,
	LP_ALU_OR,
	LP_ALU_ADC,
	LP_ALU_SBB,
	LP_ALU_AND,
	LP_ALU_SUB,
	LP_ALU_XOR,
	LP_ALU_CMP,
};

/* op reg, rm */
static inline void lp_x86_alu(struct lp_x86 *x, enum lp_x86_alu op, unsigned w, unsigned reg, struct lp_x86_rm rm)
{
	x->flags_clobbered = true;
	lp_x86_op(x, (unsigned)op << 3 | 3, w, reg, rm, 0);
}

/* op rm, reg */
static inline void lp_x86_alu_to(struct lp_x86 *x, enum lp_x86_alu op, unsigned w, struct lp_x86_rm rm, unsigned reg)
{
	x->flags_clobbered = true;
	lp_x86_op(x, (unsigned)op << 3 | 1, w, reg, rm, 0);
}

/* op rm, imm of operands of 1, 2, 4 or 8 bytes; that of 8 is sign-extended from 32 bits. */
static inline void lp_x86_alu_imm_sized(struct lp_x86 *x, enum lp_x86_alu op, unsigned bytes, struct lp_x86_rm rm,
					int32_t imm)
{
	unsigned len = bytes > 4 ? 4 : bytes;

	x->flags_clobbered = true;
	if (bytes == 2)
		imm = (int16_t)imm;
	if (bytes > 1 && imm == (int8_t)imm) {
		lp_x86_group_sized(x, 0x82, bytes, op, rm, 1);
		lp_x86_put8(x, (uint8_t)imm);
		return;
	}
	lp_x86_group_sized(x, 0x80, bytes, op, rm, len);
	lp_x86_put_imm(x, len, imm);
}

/* op rm, imm; of 64 bits: sign-extended. */
static inline void lp_x86_alu_imm(struct lp_x86 *x, enum lp_x86_alu op, unsigned w, struct lp_x86_rm rm, int32_t imm)
{
	lp_x86_alu_imm_sized(x, op, w ? 8 : 4, rm, imm);
}

/* The same on 8 and 16 bits. */
static inline void lp_x86_alu_sized(struct lp_x86 *x, enum lp_x86_alu op, unsigned bytes, unsigned reg,
				    struct lp_x86_rm rm)
{
	x->flags_clobbered = true;
	lp_x86_op_sized(x, (unsigned)op << 3 | 2, bytes, reg, rm);
}

static inline void lp_x86_alu_to_sized(struct lp_x86 *x, enum lp_x86_alu op, unsigned bytes, struct lp_x86_rm rm,
				       unsigned reg)
{
	x->flags_clobbered = true;
	lp_x86_op_sized(x, (unsigned)op << 3, bytes, reg, rm);
}

static inline void lp_x86_test_sized(struct lp_x86 *x, unsigned bytes, struct lp_x86_rm rm, unsigned reg)
{
	x->flags_clobbered = true;
	lp_x86_op_sized(x, 0x84, bytes, reg, rm);
}

static inline void lp_x86_test(struct lp_x86 *x, unsigned w, struct lp_x86_rm rm, unsigned reg)
{
	lp_x86_test_sized(x, w ? 8 : 4, rm, reg);
}

static inline void lp_x86_test_imm_sized(struct lp_x86 *x, unsigned bytes, struct lp_x86_rm rm, int32_t imm)
{
	unsigned len = bytes > 4 ? 4 : bytes;

	x->flags_clobbered = true;
	lp_x86_group_sized(x, 0xf6, bytes, 0, rm, len);
	lp_x86_put_imm(x, len, imm);
}

static inline void lp_x86_test_imm(struct lp_x86 *x, unsigned w, struct lp_x86_rm rm, int32_t imm)
{
	lp_x86_test_imm_sized(x, w ? 8 : 4, rm, imm);
}

/* No flags. */
static inline void lp_x86_not(struct lp_x86 *x, unsigned w, struct lp_x86_rm rm)
{
	lp_x86_op(x, 0xf7, w, 2, rm, 0);
}

static inline void lp_x86_neg(struct lp_x86 *x, unsigned w, struct lp_x86_rm rm)
{
	x->flags_clobbered = true;
	lp_x86_op(x, 0xf7, w, 3, rm, 0);
}

/* RDX:RAX = RAX * rm */
static inline void lp_x86_mul(struct lp_x86 *x, unsigned w, struct lp_x86_rm rm)
{
	x->flags_clobbered = true;
	lp_x86_op(x, 0xf7, w, 4, rm, 0);
}

static inline void lp_x86_imul1(struct lp_x86 *x, unsigned w, struct lp_x86_rm rm)
{
	x->flags_clobbered = true;
	lp_x86_op(x, 0xf7, w, 5, rm, 0);
}

/* RAX, RDX = RDX:RAX / rm, and what remains */
static inline void lp_x86_div(struct lp_x86 *x, unsigned w, struct lp_x86_rm rm)
{
	x->flags_clobbered = true;
	lp_x86_op(x, 0xf7, w, 6, rm, 0);
}

static inline void lp_x86_idiv(struct lp_x86 *x, unsigned w, struct lp_x86_rm rm)
{
	x->flags_clobbered = true;
	lp_x86_op(x, 0xf7, w, 7, rm, 0);
}

static inline void lp_x86_imul(struct lp_x86 *x, unsigned w, unsigned reg, struct lp_x86_rm rm)
{
	x->flags_clobbered = true;
	lp_x86_op(x, LP_OP_0F | 0xaf, w, reg, rm, 0);
}

/* reg = rm * imm */
static inline void lp_x86_imul_imm(struct lp_x86 *x, unsigned w, unsigned reg, struct lp_x86_rm rm, int32_t imm)
{
	bool small = imm == (int8_t)imm;

	x->flags_clobbered = true;
	lp_x86_op(x, small ? 0x6b : 0x69, w, reg, rm, small ? 1 : 4);
	lp_x86_put_imm(x, small ? 1 : 4, imm);
}

/* ---- shifts ---- */

enum lp_x86_shift {
	LP_SHIFT_ROL,
	LP_SHIFT_ROR,
	LP_SHIFT_RCL,
	LP_SHIFT_RCR,
	LP_SHIFT_SHL,
	LP_SHIFT_SHR,
	LP_SHIFT_SAR = 7
};

static inline void lp_x86_shift_imm(struct lp_x86 *x, enum lp_x86_shift op, unsigned w, struct lp_x86_rm rm, unsigned n)
{
	x->flags_clobbered = true;
	if (n == 1) {
		lp_x86_op(x, 0xd1, w, op, rm, 0);
		return;
	}
	lp_x86_op(x, 0xc1, w, op, rm, 1);
	lp_x86_put8(x, n);
}

/* By CL. */
static inline void lp_x86_shift_cl(struct lp_x86 *x, enum lp_x86_shift op, unsigned w, struct lp_x86_rm rm)
{
	x->flags_clobbered = true;
	lp_x86_op(x, 0xd3, w, op, rm, 0);
}

/* rm to the left by n, filled with the upper bits of reg */
static inline void lp_x86_shld(struct lp_x86 *x, unsigned w, struct lp_x86_rm rm, unsigned reg, unsigned n)
{
	x->flags_clobbered = true;
	lp_x86_op(x, LP_OP_0F | 0xa4, w, reg, rm, 1);
	lp_x86_put8(x, n);
}

/* rm to the right by n, filled with the lower bits of reg */
static inline void lp_x86_shrd(struct lp_x86 *x, unsigned w, struct lp_x86_rm rm, unsigned reg, unsigned n)
{
	x->flags_clobbered = true;
	lp_x86_op(x, LP_OP_0F | 0xac, w, reg, rm, 1);
	lp_x86_put8(x, n);
}

/* BMI2: no flags, any count register. */
static inline void lp_x86_shlx(struct lp_x86 *x, unsigned w, unsigned dst, struct lp_x86_rm rm, unsigned count)
{
	lp_x86_vex_op(x, LP_PP_66, LP_MAP_0F38, w, 0xf7, 0, dst, count, rm, 0);
}

static inline void lp_x86_shrx(struct lp_x86 *x, unsigned w, unsigned dst, struct lp_x86_rm rm, unsigned count)
{
	lp_x86_vex_op(x, LP_PP_F2, LP_MAP_0F38, w, 0xf7, 0, dst, count, rm, 0);
}

static inline void lp_x86_sarx(struct lp_x86 *x, unsigned w, unsigned dst, struct lp_x86_rm rm, unsigned count)
{
	lp_x86_vex_op(x, LP_PP_F3, LP_MAP_0F38, w, 0xf7, 0, dst, count, rm, 0);
}

static inline void lp_x86_rorx(struct lp_x86 *x, unsigned w, unsigned dst, struct lp_x86_rm rm, unsigned n)
{
	lp_x86_vex_op(x, LP_PP_F2, LP_MAP_0F3A, w, 0xf0, 0, dst, 0, rm, 1);
	lp_x86_put8(x, n);
}

/* ---- bits ---- */

/* dst = ~src1 & rm */
static inline void lp_x86_andn(struct lp_x86 *x, unsigned w, unsigned dst, unsigned src1, struct lp_x86_rm rm)
{
	x->flags_clobbered = true;
	lp_x86_vex_op(x, LP_PP_NONE, LP_MAP_0F38, w, 0xf2, 0, dst, src1, rm, 0);
}

/* dst = bits of rm; control: the lowest one in its byte 0, how many in byte 1 */
static inline void lp_x86_bextr(struct lp_x86 *x, unsigned w, unsigned dst, struct lp_x86_rm rm, unsigned control)
{
	x->flags_clobbered = true;
	lp_x86_vex_op(x, LP_PP_NONE, LP_MAP_0F38, w, 0xf7, 0, dst, control, rm, 0);
}

/* dst = as many of the lowest bits of rm as the lowest byte of n says */
static inline void lp_x86_bzhi(struct lp_x86 *x, unsigned w, unsigned dst, struct lp_x86_rm rm, unsigned n)
{
	x->flags_clobbered = true;
	lp_x86_vex_op(x, LP_PP_NONE, LP_MAP_0F38, w, 0xf5, 0, dst, n, rm, 0);
}

static inline void lp_x86_blsr(struct lp_x86 *x, unsigned w, unsigned dst, struct lp_x86_rm rm)
{
	x->flags_clobbered = true;
	lp_x86_vex_op(x, LP_PP_NONE, LP_MAP_0F38, w, 0xf3, 0, 1, dst, rm, 0);
}

static inline void lp_x86_blsi(struct lp_x86 *x, unsigned w, unsigned dst, struct lp_x86_rm rm)
{
	x->flags_clobbered = true;
	lp_x86_vex_op(x, LP_PP_NONE, LP_MAP_0F38, w, 0xf3, 0, 3, dst, rm, 0);
}

/* dst = bits of src1 scattered to (pdep), or gathered from (pext), where rm has ones; no flags */
static inline void lp_x86_pdep(struct lp_x86 *x, unsigned w, unsigned dst, unsigned src1, struct lp_x86_rm rm)
{
	lp_x86_vex_op(x, LP_PP_F2, LP_MAP_0F38, w, 0xf5, 0, dst, src1, rm, 0);
}

static inline void lp_x86_pext(struct lp_x86 *x, unsigned w, unsigned dst, unsigned src1, struct lp_x86_rm rm)
{
	lp_x86_vex_op(x, LP_PP_F3, LP_MAP_0F38, w, 0xf5, 0, dst, src1, rm, 0);
}

/* high:low = RDX * rm; no flags */
static inline void lp_x86_mulx(struct lp_x86 *x, unsigned w, unsigned high, unsigned low, struct lp_x86_rm rm)
{
	lp_x86_vex_op(x, LP_PP_F2, LP_MAP_0F38, w, 0xf6, 0, high, low, rm, 0);
}

static inline void lp_x86_bswap(struct lp_x86 *x, unsigned w, unsigned reg)
{
	lp_x86_op_plus(x, LP_OP_0F | 0xc8, w, reg);
}

static inline void lp_x86_lzcnt(struct lp_x86 *x, unsigned w, unsigned reg, struct lp_x86_rm rm)
{
	x->beyond_sse4 = true;
	x->flags_clobbered = true;
	lp_x86_op(x, LP_OP_F3 | LP_OP_0F | 0xbd, w, reg, rm, 0);
}

static inline void lp_x86_tzcnt(struct lp_x86 *x, unsigned w, unsigned reg, struct lp_x86_rm rm)
{
	x->beyond_sse4 = true;
	x->flags_clobbered = true;
	lp_x86_op(x, LP_OP_F3 | LP_OP_0F | 0xbc, w, reg, rm, 0);
}

static inline void lp_x86_popcnt(struct lp_x86 *x, unsigned w, unsigned reg, struct lp_x86_rm rm)
{
	x->flags_clobbered = true;
	lp_x86_op(x, LP_OP_F3 | LP_OP_0F | 0xb8, w, reg, rm, 0);
}

/* CF = the bit; then it is left, set, reset or complemented. */
enum lp_x86_bit { LP_BIT_TEST, LP_BIT_SET, LP_BIT_RESET, LP_BIT_COMPLEMENT };

/* With rm in memory the bit's number is not taken modulo the operand's size: it reaches beyond. */
static inline void lp_x86_bt(struct lp_x86 *x, enum lp_x86_bit op, unsigned w, struct lp_x86_rm rm, unsigned reg)
{
	x->flags_clobbered = true;
	lp_x86_op(x, LP_OP_0F | (0xa3 + ((unsigned)op << 3)), w, reg, rm, 0);
}

static inline void lp_x86_bt_imm(struct lp_x86 *x, enum lp_x86_bit op, unsigned w, struct lp_x86_rm rm, unsigned n)
{
	x->flags_clobbered = true;
	lp_x86_op(x, LP_OP_0F | 0xba, w, 4 + (unsigned)op, rm, 1);
	lp_x86_put8(x, n);
}

/* reg = CRC-32C of reg and an operand of so many bytes; no flags */
static inline void lp_x86_crc32(struct lp_x86 *x, unsigned bytes, unsigned reg, struct lp_x86_rm rm)
{
	if (bytes == 2)
		lp_x86_put8(x, 0x66);
	lp_x86_op(x, LP_OP_F2 | LP_OP_0F38 | 0xf0 | (bytes == 1 ? LP_OP_RM8 : 1), bytes == 8, reg, rm, 0);
}

/* ---- moves: no flags ---- */

static inline void lp_x86_mov(struct lp_x86 *x, unsigned w, unsigned reg, struct lp_x86_rm rm)
{
	lp_x86_op(x, 0x8b, w, reg, rm, 0);
}

static inline void lp_x86_mov_to(struct lp_x86 *x, unsigned w, struct lp_x86_rm rm, unsigned reg)
{
	lp_x86_op(x, 0x89, w, reg, rm, 0);
}

/* The lowest bytes of reg. */
static inline void lp_x86_store(struct lp_x86 *x, unsigned bytes, struct lp_x86_rm rm, unsigned reg)
{
	lp_x86_op_sized(x, 0x88, bytes, reg, rm);
}

/* Sign-extended to 64 bits where bytes is 8. */
static inline void lp_x86_store_imm(struct lp_x86 *x, unsigned bytes, struct lp_x86_rm rm, int32_t imm)
{
	unsigned len = bytes > 4 ? 4 : bytes;

	lp_x86_group_sized(x, 0xc6, bytes, 0, rm, len);
	lp_x86_put_imm(x, len, imm);
}

/* Zero-extended to 64 bits. */
static inline void lp_x86_mov_imm32(struct lp_x86 *x, unsigned reg, uint32_t imm)
{
	lp_x86_op_plus(x, 0xb8, 0, reg);
	lp_x86_put32(x, imm);
}

/* Sign-extended to 64 bits. */
static inline void lp_x86_mov_simm32(struct lp_x86 *x, unsigned reg, int32_t imm)
{
	lp_x86_op(x, 0xc7, 1, 0, lp_rm_reg(reg), 4);
	lp_x86_put32(x, (uint32_t)imm);
}

static inline void lp_x86_mov_imm64(struct lp_x86 *x, unsigned reg, uint64_t imm)
{
	lp_x86_op_plus(x, 0xb8, 1, reg);
	lp_x86_put64(x, imm);
}

/* The shortest of the three. */
static inline void lp_x86_mov_imm(struct lp_x86 *x, unsigned reg, uint64_t imm)
{
	if (imm <= UINT32_MAX)
		lp_x86_mov_imm32(x, reg, (uint32_t)imm);
	else if ((int64_t)imm == (int32_t)imm)
		lp_x86_mov_simm32(x, reg, (int32_t)imm);
	else
		lp_x86_mov_imm64(x, reg, imm);
}

/* The same for an address that would be another if the guest's code were elsewhere: what would then not be code of the same
 * length is that of addresses below 4 GiB. */
static inline void lp_x86_mov_address(struct lp_x86 *x, unsigned reg, uint64_t address)
{
	lp_x86_mov_imm(x, reg, address);
	if (address > UINT32_MAX && (int64_t)address != (int32_t)address)
		lp_x86_note(x, (struct lp_x86_ref){.at = (uint32_t)(x->at - 8 - x->begin),
						   .is_immediate = true,
						   .target = address});
}

/* And for one of the runner's own. */
static inline void lp_x86_mov_pointer(struct lp_x86 *x, unsigned reg, const void *pointer)
{
	lp_x86_mov_imm64(x, reg, (uint64_t)(uintptr_t)pointer);
	lp_x86_note(x, (struct lp_x86_ref){.at = (uint32_t)(x->at - 8 - x->begin),
					   .is_immediate = true,
					   .is_ours = true,
					   .target = (uint64_t)(uintptr_t)pointer});
}

/* To 64 bits. */
static inline void lp_x86_movzx8(struct lp_x86 *x, unsigned reg, struct lp_x86_rm rm)
{
	lp_x86_op(x, LP_OP_0F | LP_OP_RM8 | 0xb6, 0, reg, rm, 0);
}

static inline void lp_x86_movzx16(struct lp_x86 *x, unsigned reg, struct lp_x86_rm rm)
{
	lp_x86_op(x, LP_OP_0F | 0xb7, 0, reg, rm, 0);
}

/* To 64 bits, or to 32 and with zeros from there. */
static inline void lp_x86_movsx8(struct lp_x86 *x, unsigned w, unsigned reg, struct lp_x86_rm rm)
{
	lp_x86_op(x, LP_OP_0F | LP_OP_RM8 | 0xbe, w, reg, rm, 0);
}

static inline void lp_x86_movsx16(struct lp_x86 *x, unsigned w, unsigned reg, struct lp_x86_rm rm)
{
	lp_x86_op(x, LP_OP_0F | 0xbf, w, reg, rm, 0);
}

static inline void lp_x86_movsxd(struct lp_x86 *x, unsigned reg, struct lp_x86_rm rm)
{
	lp_x86_op(x, 0x63, 1, reg, rm, 0);
}

/* So many bytes, with zeros up to 64 bits. */
static inline void lp_x86_load(struct lp_x86 *x, unsigned bytes, unsigned reg, struct lp_x86_rm rm)
{
	if (bytes == 1)
		lp_x86_movzx8(x, reg, rm);
	else if (bytes == 2)
		lp_x86_movzx16(x, reg, rm);
	else
		lp_x86_mov(x, bytes == 8, reg, rm);
}

/* So many bytes (less than the register's), sign-extended to 32 or 64 bits. */
static inline void lp_x86_load_signed(struct lp_x86 *x, unsigned bytes, unsigned w, unsigned reg, struct lp_x86_rm rm)
{
	if (bytes == 1)
		lp_x86_movsx8(x, w, reg, rm);
	else if (bytes == 2)
		lp_x86_movsx16(x, w, reg, rm);
	else
		lp_x86_movsxd(x, reg, rm);
}

static inline void lp_x86_lea(struct lp_x86 *x, unsigned w, unsigned reg, struct lp_x86_rm rm)
{
	lp_x86_op(x, 0x8d, w, reg, rm, 0);
}

static inline void lp_x86_setcc(struct lp_x86 *x, enum lp_x86_cc cc, struct lp_x86_rm rm)
{
	lp_x86_op(x, LP_OP_0F | LP_OP_RM8 | 0x90 | (unsigned)cc, 0, 0, rm, 0);
}

/* With 32 bits the upper half is cleared even where the condition is false. */
static inline void lp_x86_cmov(struct lp_x86 *x, enum lp_x86_cc cc, unsigned w, unsigned reg, struct lp_x86_rm rm)
{
	lp_x86_op(x, LP_OP_0F | 0x40 | (unsigned)cc, w, reg, rm, 0);
}

/* EDX = sign of EAX; RDX = sign of RAX */
static inline void lp_x86_cdq(struct lp_x86 *x)
{
	lp_x86_put8(x, 0x99);
}

static inline void lp_x86_cqo(struct lp_x86 *x)
{
	lp_x86_put16(x, 0x9948);
}

static inline void lp_x86_push(struct lp_x86 *x, unsigned reg)
{
	lp_x86_op_plus(x, 0x50, 0, reg);
}

static inline void lp_x86_pop(struct lp_x86 *x, unsigned reg)
{
	lp_x86_op_plus(x, 0x58, 0, reg);
}

static inline void lp_x86_push_rm(struct lp_x86 *x, struct lp_x86_rm rm)
{
	lp_x86_op(x, 0xff, 0, 6, rm, 0);
}

static inline void lp_x86_pop_rm(struct lp_x86 *x, struct lp_x86_rm rm)
{
	lp_x86_op(x, 0x8f, 0, 0, rm, 0);
}

/* 64 bits, sign-extended. */
static inline void lp_x86_push_imm(struct lp_x86 *x, int32_t imm)
{
	bool small = imm == (int8_t)imm;

	lp_x86_put8(x, small ? 0x6a : 0x68);
	lp_x86_put_imm(x, small ? 1 : 4, imm);
}

static inline void lp_x86_prefetcht0(struct lp_x86 *x, struct lp_x86_rm rm)
{
	lp_x86_op(x, LP_OP_0F | 0x18, 0, 1, rm, 0);
}

/* ---- EFLAGS themselves ---- */

/* AH = SF, ZF, AF, PF, CF (bits 7, 6, 4, 2, 0); OF is not among them */
static inline void lp_x86_lahf(struct lp_x86 *x)
{
	lp_x86_put8(x, 0x9f);
}

static inline void lp_x86_sahf(struct lp_x86 *x)
{
	x->flags_clobbered = true;
	lp_x86_put8(x, 0x9e);
}

static inline void lp_x86_cmc(struct lp_x86 *x)
{
	x->flags_clobbered = true;
	lp_x86_put8(x, 0xf5);
}

static inline void lp_x86_clc(struct lp_x86 *x)
{
	x->flags_clobbered = true;
	lp_x86_put8(x, 0xf8);
}

static inline void lp_x86_stc(struct lp_x86 *x)
{
	x->flags_clobbered = true;
	lp_x86_put8(x, 0xf9);
}

/* ---- atomics ---- */

/* With memory: atomic, without a prefix; no flags. */
static inline void lp_x86_xchg(struct lp_x86 *x, unsigned bytes, struct lp_x86_rm rm, unsigned reg)
{
	lp_x86_op_sized(x, 0x86, bytes, reg, rm);
}

/* if (rm == RAX) rm = reg, ZF = 1; else RAX = rm, ZF = 0.  rm is memory here and below. */
static inline void lp_x86_lock_cmpxchg(struct lp_x86 *x, unsigned bytes, struct lp_x86_rm rm, unsigned reg)
{
	x->flags_clobbered = true;
	lp_x86_put8(x, 0xf0);
	lp_x86_op_sized(x, LP_OP_0F | 0xb0, bytes, reg, rm);
}

/* The same with RDX:RAX and RCX:RBX; rm is aligned, else #GP. */
static inline void lp_x86_lock_cmpxchg16b(struct lp_x86 *x, struct lp_x86_rm rm)
{
	x->flags_clobbered = true;
	lp_x86_put8(x, 0xf0);
	lp_x86_op(x, LP_OP_0F | 0xc7, 1, 1, rm, 0);
}

static inline void lp_x86_lock_xadd(struct lp_x86 *x, unsigned bytes, struct lp_x86_rm rm, unsigned reg)
{
	x->flags_clobbered = true;
	lp_x86_put8(x, 0xf0);
	lp_x86_op_sized(x, LP_OP_0F | 0xc0, bytes, reg, rm);
}

/* Anything but CMP. */
static inline void lp_x86_lock_alu(struct lp_x86 *x, enum lp_x86_alu op, unsigned bytes, struct lp_x86_rm rm,
				   unsigned reg)
{
	lp_x86_put8(x, 0xf0);
	lp_x86_alu_to_sized(x, op, bytes, rm, reg);
}

static inline void lp_x86_lock_alu_imm(struct lp_x86 *x, enum lp_x86_alu op, unsigned bytes, struct lp_x86_rm rm,
				       int32_t imm)
{
	lp_x86_put8(x, 0xf0);
	lp_x86_alu_imm_sized(x, op, bytes, rm, imm);
}

static inline void lp_x86_mfence(struct lp_x86 *x)
{
	lp_x86_put8(x, 0x0f);
	lp_x86_put16(x, 0xf0ae);
}

/* In loops that wait. */
static inline void lp_x86_pause(struct lp_x86 *x)
{
	lp_x86_put16(x, 0x90f3);
}

/* ---- jumps ---- */

static inline void lp_x86_call_rm(struct lp_x86 *x, struct lp_x86_rm rm)
{
	lp_x86_op(x, 0xff, 0, 2, rm, 0);
}

static inline void lp_x86_jmp_rm(struct lp_x86 *x, struct lp_x86_rm rm)
{
	lp_x86_op(x, 0xff, 0, 4, rm, 0);
}

/* Targets are addresses at which code runs; the displacement is of 32 bits always. */
static inline void lp_x86_call(struct lp_x86 *x, const void *target)
{
	lp_x86_put8(x, 0xe8);
	lp_x86_put32(x, (uint32_t)lp_x86_distance(x, x->at, 0, target));
}

static inline void lp_x86_jmp(struct lp_x86 *x, const void *target)
{
	lp_x86_put8(x, 0xe9);
	lp_x86_put32(x, (uint32_t)lp_x86_distance(x, x->at, 0, target));
}

static inline void lp_x86_jcc(struct lp_x86 *x, enum lp_x86_cc cc, const void *target)
{
	lp_x86_put8(x, 0x0f);
	lp_x86_put8(x, 0x80 | (unsigned)cc);
	lp_x86_put32(x, (uint32_t)lp_x86_distance(x, x->at, 0, target));
}

static inline void lp_x86_ret(struct lp_x86 *x)
{
	lp_x86_put8(x, 0xc3);
}

static inline void lp_x86_ud2(struct lp_x86 *x)
{
	lp_x86_put16(x, 0x0b0f);
}

static inline void lp_x86_int3(struct lp_x86 *x)
{
	lp_x86_put8(x, 0xcc);
}

/* n bytes that do nothing, in as few instructions as 9 bytes each allow. */
void lp_x86_nop(struct lp_x86 *x, size_t n);

/* ---- jumps inside what is being written ---- */

/* To where code was written before (a value that x->at had): in the shorter of the two forms. */
void lp_x86_jmp_back(struct lp_x86 *x, const uint8_t *written);
void lp_x86_jcc_back(struct lp_x86 *x, enum lp_x86_cc cc, const uint8_t *written);

/* A jump whose target has not been written yet. */
struct lp_x86_fixup {
	uint8_t *next; /* behind its displacement */
	bool small;    /* which is of one byte */
};

static inline struct lp_x86_fixup lp_x86_jmp_forward(struct lp_x86 *x)
{
	lp_x86_put8(x, 0xe9);
	lp_x86_put32(x, 0);
	return (struct lp_x86_fixup){.next = x->at};
}

static inline struct lp_x86_fixup lp_x86_jcc_forward(struct lp_x86 *x, enum lp_x86_cc cc)
{
	lp_x86_put8(x, 0x0f);
	lp_x86_put8(x, 0x80 | (unsigned)cc);
	lp_x86_put32(x, 0);
	return (struct lp_x86_fixup){.next = x->at};
}

/* These reach over 127 bytes; out_of_reach is set where more are in between. */
static inline struct lp_x86_fixup lp_x86_jmp_forward_short(struct lp_x86 *x)
{
	lp_x86_put16(x, 0x00eb);
	return (struct lp_x86_fixup){.next = x->at, .small = true};
}

static inline struct lp_x86_fixup lp_x86_jcc_forward_short(struct lp_x86 *x, enum lp_x86_cc cc)
{
	lp_x86_put16(x, (uint16_t)(0x0070 | (unsigned)cc));
	return (struct lp_x86_fixup){.next = x->at, .small = true};
}

/* Where RCX is zero; reads no flags. */
static inline struct lp_x86_fixup lp_x86_jrcxz_forward_short(struct lp_x86 *x)
{
	lp_x86_put16(x, 0x00e3);
	return (struct lp_x86_fixup){.next = x->at, .small = true};
}

/* The jump goes to what is written next. */
static inline void lp_x86_bind(struct lp_x86 *x, struct lp_x86_fixup fixup)
{
	int32_t distance = (int32_t)(x->at - fixup.next);

	if (!fixup.small) {
		memcpy(fixup.next - 4, &distance, 4);
		return;
	}
	if (distance > INT8_MAX)
		x->out_of_reach = true;
	fixup.next[-1] = (uint8_t)distance;
}

#endif
