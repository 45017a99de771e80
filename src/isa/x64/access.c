/*
 * What one instruction does to registers, from Zydis' operands.  Where those
 * say less than the manual, the doubt goes to the safe side: a value may be
 * read, and is not certainly gone.
 *
 *     xor %ecx,%ecx        the decoder sees a read; the result does not depend on it
 *     mov %cl,..           8 and 16 bit writes keep the rest of the register
 *     cvtsi2sd, movhps     legacy SSE merges into the destination, and the decoder calls it a plain write
 *     vzeroupper           hits the upper parts of 16 registers that are no operands
 *     xsave, syscall       use registers that are no operands
 */
#include "isa/x64/access.h"

#include <Zydis/Zydis.h>

#define VECTORS_0_15 (UINT64_C(0xffff) << X64_XMM0)

/* Indexed by ZydisRegister - RAX; the callee-saved ones and rsp have no bit. */
static const int8_t general_bits[16] = {X64_RAX, X64_RCX, X64_RDX, -1,	    -1, -1, X64_RSI, X64_RDI,
					X64_R8,	 X64_R9,  X64_R10, X64_R11, -1, -1, -1,	     -1};

static lp_regs bit_of(ZydisRegister reg)
{
	ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);

	if (whole >= ZYDIS_REGISTER_RAX && whole <= ZYDIS_REGISTER_R15) {
		int bit = general_bits[whole - ZYDIS_REGISTER_RAX];
		return bit < 0 ? 0 : X64_BIT(bit);
	}
	if (whole >= ZYDIS_REGISTER_ZMM0 && whole <= ZYDIS_REGISTER_ZMM31)
		return X64_BIT(X64_XMM0 + (whole - ZYDIS_REGISTER_ZMM0));
	if (reg >= ZYDIS_REGISTER_K0 && reg <= ZYDIS_REGISTER_K7)
		return X64_BIT(X64_K0 + (reg - ZYDIS_REGISTER_K0));
	return 0;
}

static bool is_legacy(const ZydisDecodedInstruction *in)
{
	return in->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
}

/* Legacy SSE instructions that replace all 128 bits; those not listed are taken to merge. */
static bool fills_xmm(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_MOVAPS:
	case ZYDIS_MNEMONIC_MOVAPD:
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVDQA:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_MOVD:
	case ZYDIS_MNEMONIC_MOVQ:
	case ZYDIS_MNEMONIC_LDDQU:
	case ZYDIS_MNEMONIC_PSHUFD:
	case ZYDIS_MNEMONIC_PSHUFLW:
	case ZYDIS_MNEMONIC_PSHUFHW:
	case ZYDIS_MNEMONIC_CVTDQ2PS:
	case ZYDIS_MNEMONIC_CVTDQ2PD:
	case ZYDIS_MNEMONIC_CVTPS2PD:
	case ZYDIS_MNEMONIC_CVTTPS2DQ:
		return true;
	case ZYDIS_MNEMONIC_MOVSS:
	case ZYDIS_MNEMONIC_MOVSD:
		return ops[1].type == ZYDIS_OPERAND_TYPE_MEMORY;
	default:
		return false;
	}
}

/* Does writing this operand leave nothing of the register's old value? */
static bool replaces(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops, const ZydisDecodedOperand *op)
{
	if (op->actions & (ZYDIS_OPERAND_ACTION_CONDWRITE | ZYDIS_OPERAND_ACTION_MASK_READ))
		return false;
	lp_regs bit = bit_of(op->reg.value);
	if (bit & X64_GENERAL)
		return ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, op->reg.value) >= 32;
	if (bit & X64_VECTORS)
		return is_legacy(in) ? fills_xmm(in, ops)
				     : in->avx.mask.mode != ZYDIS_MASK_MODE_MERGING &&
					       in->mnemonic != ZYDIS_MNEMONIC_VZEROUPPER;
	return true;
}

/* The same register twice, and a result that does not depend on it. */
static bool is_constant_idiom(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
	size_t first = is_legacy(in) ? 0 : 1;

	if (in->operand_count_visible < first + 2 || ops[first].type != ZYDIS_OPERAND_TYPE_REGISTER ||
	    ops[first + 1].type != ZYDIS_OPERAND_TYPE_REGISTER || ops[first].reg.value != ops[first + 1].reg.value)
		return false;
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_XOR:
	case ZYDIS_MNEMONIC_SUB:
	case ZYDIS_MNEMONIC_SBB: /* 0 or -1, by the carry */
		return ops[0].size >= 32;
	case ZYDIS_MNEMONIC_PXOR:
	case ZYDIS_MNEMONIC_XORPS:
	case ZYDIS_MNEMONIC_XORPD:
	case ZYDIS_MNEMONIC_PCMPEQB:
	case ZYDIS_MNEMONIC_PCMPEQW:
	case ZYDIS_MNEMONIC_PCMPEQD:
	case ZYDIS_MNEMONIC_PCMPEQQ:
	case ZYDIS_MNEMONIC_VPXOR:
	case ZYDIS_MNEMONIC_VXORPS:
	case ZYDIS_MNEMONIC_VXORPD:
	case ZYDIS_MNEMONIC_VPCMPEQB:
	case ZYDIS_MNEMONIC_VPCMPEQW:
	case ZYDIS_MNEMONIC_VPCMPEQD:
	case ZYDIS_MNEMONIC_VPCMPEQQ:
		return in->encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX;
	default:
		return false;
	}
}

/* `or $-1,%reg` and `and $0,%reg`: what -Os makes of a constant. */
static bool is_constant_by_mask(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
	if (in->operand_count_visible != 2 || ops[0].type != ZYDIS_OPERAND_TYPE_REGISTER || ops[0].size < 32 ||
	    ops[1].type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return false;
	return (in->mnemonic == ZYDIS_MNEMONIC_OR && ops[1].imm.value.s == -1) ||
	       (in->mnemonic == ZYDIS_MNEMONIC_AND && ops[1].imm.value.s == 0);
}

static void note_register(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops,
			  const ZydisDecodedOperand *op, struct lp_x64_access *out)
{
	lp_regs bit = bit_of(op->reg.value);

	if (op->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
		out->reads |= bit;
	if (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
		out->writes |= bit;
	if ((op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) && replaces(in, ops, op))
		out->kills |= bit;
	if (bit & X64_VECTORS) {
		unsigned width = ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, op->reg.value) / 8;
		out->vector_bytes = width > out->vector_bytes ? (uint8_t)width : out->vector_bytes;
	}
	/* What a masked instruction merges into it, it reads. */
	if ((bit & X64_VECTORS) && in->avx.mask.mode == ZYDIS_MASK_MODE_MERGING)
		out->reads |= bit;
}

static void note_memory(const ZydisDecodedOperand *op, struct lp_x64_access *out)
{
	out->reads |= bit_of(op->mem.base) | bit_of(op->mem.index);
	out->writes_memory |= op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	/* The hidden store of a push and load of a pop are the stack's own. */
	if (op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
		return;
	if (op->mem.base == ZYDIS_REGISTER_RSP)
		out->base = X64_BASE_SP;
	else if (op->mem.base == ZYDIS_REGISTER_RBP)
		out->base = X64_BASE_BP;
	out->disp = op->mem.disp.value;
}

static void note_operands(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops, struct lp_x64_access *out)
{
	for (size_t i = 0; i < in->operand_count; i++) {
		if (ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER)
			note_register(in, ops, &ops[i], out);
		else if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			note_memory(&ops[i], out);
	}
	/* A no-op's operands are not used. */
	if (in->mnemonic == ZYDIS_MNEMONIC_NOP) {
		out->reads = 0;
		out->base = X64_BASE_NONE;
	}
	if (is_constant_idiom(in, ops)) {
		out->zeroes_rax = in->mnemonic == ZYDIS_MNEMONIC_XOR && (out->writes & X64_BIT(X64_RAX));
		out->kills |= out->writes;
		out->reads &= ~(bit_of(ops[0].reg.value) & out->writes);
		if (!is_legacy(in))
			out->reads &= ~bit_of(ops[1].reg.value);
	} else if (is_constant_by_mask(in, ops)) {
		out->kills |= out->writes;
		out->reads = 0;
	}
}

static void note_hidden(const ZydisDecodedInstruction *in, struct lp_x64_access *out)
{
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_VZEROUPPER:
		out->soils = VECTORS_0_15;
		out->writes = out->kills = 0;
		break;
	case ZYDIS_MNEMONIC_VZEROALL:
		out->writes |= VECTORS_0_15;
		break;
	case ZYDIS_MNEMONIC_SYSCALL: /* psABI A.2.1 */
	case ZYDIS_MNEMONIC_INT:
		out->reads |= X64_ARGUMENTS & X64_GENERAL;
		out->writes |= X64_BIT(X64_RAX) | X64_BIT(X64_RCX) | X64_BIT(X64_R11);
		break;
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_XSAVE:
	case ZYDIS_MNEMONIC_XSAVE64:
	case ZYDIS_MNEMONIC_XSAVEC:
	case ZYDIS_MNEMONIC_XSAVEC64:
	case ZYDIS_MNEMONIC_XSAVEOPT:
	case ZYDIS_MNEMONIC_XSAVEOPT64:
	case ZYDIS_MNEMONIC_XSAVES:
	case ZYDIS_MNEMONIC_XSAVES64:
		out->reads |= X64_VECTORS | X64_MASKS;
		break;
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64:
	case ZYDIS_MNEMONIC_XRSTOR:
	case ZYDIS_MNEMONIC_XRSTOR64:
	case ZYDIS_MNEMONIC_XRSTORS:
	case ZYDIS_MNEMONIC_XRSTORS64:
		out->soils = X64_VECTORS | X64_MASKS;
		break;
	default:
		break;
	}
}

/* ---- where it goes ---- */

static bool is_rip_relative(const ZydisDecodedOperand *op)
{
	return op->type == ZYDIS_OPERAND_TYPE_MEMORY && op->mem.base == ZYDIS_REGISTER_RIP;
}

static bool stops(const ZydisDecodedInstruction *in)
{
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
	case ZYDIS_MNEMONIC_HLT:
	case ZYDIS_MNEMONIC_INT3:
		return true;
	default:
		return false;
	}
}

static void note_flow(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops, lp_addr at,
		      struct lp_x64_access *out)
{
	bool direct = in->raw.imm[0].is_relative;

	if (direct)
		out->target = at + in->length + (uint64_t)in->raw.imm[0].value.s;
	else if (is_rip_relative(&ops[0]))
		out->slot = at + in->length + (uint64_t)ops[0].mem.disp.value;
	if (stops(in))
		out->flow = X64_STOP;
	else if (in->meta.category == ZYDIS_CATEGORY_CALL)
		out->flow = direct ? X64_CALL : X64_CALL_UNKNOWN;
	else if (in->meta.category == ZYDIS_CATEGORY_RET)
		out->flow = X64_RETURN;
	else if (in->meta.category == ZYDIS_CATEGORY_UNCOND_BR)
		out->flow = direct ? X64_JUMP : is_rip_relative(&ops[0]) ? X64_JUMP_THROUGH : X64_JUMP_COMPUTED;
	else if (direct)
		out->flow = X64_BRANCH;
	out->skips_if_zero = in->mnemonic == ZYDIS_MNEMONIC_JZ;
	out->tests_al = in->mnemonic == ZYDIS_MNEMONIC_TEST && ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
			ops[0].reg.value == ZYDIS_REGISTER_AL && ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
			ops[1].reg.value == ZYDIS_REGISTER_AL;
}

/* ---- the stack ---- */

static bool is_register(const ZydisDecodedOperand *op, ZydisRegister reg)
{
	return op->type == ZYDIS_OPERAND_TYPE_REGISTER && op->reg.value == reg;
}

static bool writes_register(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops, ZydisRegister reg)
{
	for (size_t i = 0; i < in->operand_count; i++) {
		if (ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER && (ops[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
		    ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, ops[i].reg.value) == reg)
			return true;
	}
	return false;
}

static void moves_by(struct lp_x64_access *out, int64_t by)
{
	out->stack = X64_STACK_MOVES;
	out->stack_by = by;
}

static void note_push_pop(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops, struct lp_x64_access *out)
{
	bool is_push = in->mnemonic == ZYDIS_MNEMONIC_PUSH;

	moves_by(out, is_push ? -(in->operand_width / 8) : in->operand_width / 8);
	if (ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER)
		*(is_push ? &out->to_stack : &out->from_stack) = bit_of(ops[0].reg.value);
	out->pops_frame = !is_push && is_register(&ops[0], ZYDIS_REGISTER_RBP);
	if (!is_push && is_register(&ops[0], ZYDIS_REGISTER_RSP))
		out->stack = X64_STACK_LOST;
}

/* An instruction whose visible destination is rsp. */
static void note_set_sp(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops, struct lp_x64_access *out)
{
	bool by_constant = ops[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;

	out->stack = X64_STACK_LOST;
	if (in->mnemonic == ZYDIS_MNEMONIC_ADD && by_constant)
		moves_by(out, ops[1].imm.value.s);
	else if (in->mnemonic == ZYDIS_MNEMONIC_SUB && by_constant)
		moves_by(out, -ops[1].imm.value.s);
	else if (in->mnemonic == ZYDIS_MNEMONIC_SUB || (in->mnemonic == ZYDIS_MNEMONIC_AND && by_constant))
		out->stack = X64_STACK_LOWER;
	else if (in->mnemonic == ZYDIS_MNEMONIC_MOV && is_register(&ops[1], ZYDIS_REGISTER_RBP))
		out->stack = X64_STACK_LEAVE;
	else if (in->mnemonic == ZYDIS_MNEMONIC_LEA && ops[1].mem.index == ZYDIS_REGISTER_NONE) {
		if (ops[1].mem.base == ZYDIS_REGISTER_RSP)
			moves_by(out, ops[1].mem.disp.value);
		else if (ops[1].mem.base == ZYDIS_REGISTER_RBP) {
			out->stack = X64_STACK_LEAVE;
			out->stack_by = ops[1].mem.disp.value;
		}
		out->base = X64_BASE_NONE; /* an address that only moves rsp is not taken */
	}
}

static void note_frame_access(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops,
			      struct lp_x64_access *out)
{
	if (!out->base || in->mnemonic == ZYDIS_MNEMONIC_LEA || in->operand_count_visible < 2)
		return;
	if (ops[0].type == ZYDIS_OPERAND_TYPE_MEMORY && ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER)
		out->to_stack = bit_of(ops[1].reg.value);
	else if (ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER && ops[1].type == ZYDIS_OPERAND_TYPE_MEMORY)
		out->from_stack = bit_of(ops[0].reg.value);
}

static void note_stack(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops, struct lp_x64_access *out)
{
	if (in->meta.category == ZYDIS_CATEGORY_CALL || in->meta.category == ZYDIS_CATEGORY_RET)
		return; /* what it pushes the callee pops */
	if (in->mnemonic == ZYDIS_MNEMONIC_PUSH || in->mnemonic == ZYDIS_MNEMONIC_POP) {
		note_push_pop(in, ops, out);
	} else if (in->mnemonic == ZYDIS_MNEMONIC_PUSHFQ || in->mnemonic == ZYDIS_MNEMONIC_POPFQ) {
		moves_by(out, in->mnemonic == ZYDIS_MNEMONIC_PUSHFQ ? -8 : 8);
	} else if (in->mnemonic == ZYDIS_MNEMONIC_LEAVE) {
		out->stack = X64_STACK_LEAVE;
		out->stack_by = 8;
		out->pops_frame = true;
	} else if (in->mnemonic == ZYDIS_MNEMONIC_MOV && is_register(&ops[1], ZYDIS_REGISTER_RSP)) {
		if (is_register(&ops[0], ZYDIS_REGISTER_RBP))
			out->stack = X64_STACK_FRAME;
		else
			out->copies_sp = true;
	} else if (in->operand_count_visible >= 2 && writes_register(in, ops, ZYDIS_REGISTER_RSP)) {
		note_set_sp(in, ops, out);
	} else if (writes_register(in, ops, ZYDIS_REGISTER_RSP)) {
		out->stack = X64_STACK_LOST;
	} else {
		note_frame_access(in, ops, out);
	}
	out->loses_frame =
		!out->pops_frame && out->stack != X64_STACK_FRAME && writes_register(in, ops, ZYDIS_REGISTER_RBP);
}

bool lp_x64_access(const uint8_t *code, size_t len, lp_addr at, struct lp_x64_access *out)
{
	ZydisDecoder decoder;
	ZydisDecodedInstruction in;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT] = {0};

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, len, &in, ops)))
		return false;
	*out = (struct lp_x64_access){.len = in.length};
	note_operands(&in, ops, out);
	note_hidden(&in, out);
	note_flow(&in, ops, at, out);
	note_stack(&in, ops, out);
	return true;
}

const char *lp_x64_reg_name(unsigned bit)
{
	static const char names[X64_NR_REGS][6] = {
		"rax",	 "rcx",	  "rdx",   "rsi",   "rdi",   "r8",    "r9",    "r10",	"r11",	 "xmm0",
		"xmm1",	 "xmm2",  "xmm3",  "xmm4",  "xmm5",  "xmm6",  "xmm7",  "xmm8",	"xmm9",	 "xmm10",
		"xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20",
		"xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30",
		"xmm31", "k0",	  "k1",	   "k2",    "k3",    "k4",    "k5",    "k6",	"k7",
	};

	return bit < X64_NR_REGS ? names[bit] : "?";
}
