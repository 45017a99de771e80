#include "x64_oracle.h"

#include <Zydis/Zydis.h>

#include "isa/x64/parse.h"

struct both {
	ZydisDecodedInstruction in;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	struct lp_x64_fields f;
};

static bool is_knc(const ZydisDecodedInstruction *in)
{
	return in->encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX || in->meta.isa_ext == ZYDIS_ISA_EXT_KNC ||
	       in->meta.isa_ext == ZYDIS_ISA_EXT_KNCE || in->meta.isa_ext == ZYDIS_ISA_EXT_KNCV;
}

static bool returns_from_kernel(const ZydisDecodedInstruction *in)
{
	return in->mnemonic == ZYDIS_MNEMONIC_SYSRET || in->mnemonic == ZYDIS_MNEMONIC_SYSEXIT ||
	       in->mnemonic == ZYDIS_MNEMONIC_RSM || in->mnemonic == ZYDIS_MNEMONIC_UIRET;
}

static enum lp_x64_goes goes(const ZydisDecodedInstruction *in)
{
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
	case ZYDIS_MNEMONIC_HLT:
	case ZYDIS_MNEMONIC_INT3:
		return X64_GOES_NOWHERE;
	case ZYDIS_MNEMONIC_XABORT: /* a branch to Zydis; outside of a transaction it does nothing */
		return X64_GOES_ON;
	default:
		break;
	}
	if (returns_from_kernel(in) || in->meta.category == ZYDIS_CATEGORY_RET)
		return X64_GOES_RETURN;
	if (in->meta.category == ZYDIS_CATEGORY_CALL)
		return X64_GOES_CALL;
	if (in->meta.category == ZYDIS_CATEGORY_UNCOND_BR)
		return X64_GOES_JUMP;
	return in->raw.imm[0].is_relative ? X64_GOES_BRANCH : X64_GOES_ON;
}

static bool is_rip_relative(const ZydisDecodedInstruction *in)
{
	return (in->attributes & ZYDIS_ATTRIB_HAS_MODRM) && in->raw.modrm.mod == 0 && in->raw.modrm.rm == 5 &&
	       in->raw.disp.size == 32;
}

static const char *compare_fields(const struct both *b)
{
	const ZydisDecodedInstruction *in = &b->in;

	if (in->raw.disp.size / 8 != b->f.disp_len ||
	    (b->f.disp_len && (in->raw.disp.offset != b->f.disp_at || in->raw.disp.value != b->f.disp)))
		return "another displacement";
	if (is_rip_relative(in) != lp_x64_is_rip_relative(&b->f))
		return "relative to rip to one of them";
	if ((in->raw.imm[0].size + in->raw.imm[1].size) / 8 != b->f.imm_len ||
	    (b->f.imm_len && in->raw.imm[0].offset != b->f.imm_at))
		return "another immediate";
	if (in->raw.imm[0].is_relative != b->f.is_relative || (b->f.is_relative && in->raw.imm[0].value.s != b->f.imm))
		return "another distance";
	if (goes(in) != lp_x64_goes(&b->f))
		return "goes on in another way";
	if (!!(in->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) !=
	    (b->f.last_repeat && (b->f.has & X64_REPEATS)))
		return "repeated to one of them";
	if (is_rip_relative(in) && !(b->f.has & X64_REG_BOUND) &&
	    in->address_width != (b->f.prefixes & X64_PREFIX_67 ? 32 : 64))
		return "addresses of another width";
	if ((in->attributes & ZYDIS_ATTRIB_HAS_MODRM) && in->raw.modrm.offset != b->f.modrm_at)
		return "ModRM in another place";
	return NULL;
}

/* Its bit among the general registers, 0 for others. */
static unsigned general(ZydisRegister reg)
{
	ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);

	return whole >= ZYDIS_REGISTER_RAX && whole <= ZYDIS_REGISTER_R15 ? 1u << (whole - ZYDIS_REGISTER_RAX) : 0;
}

/* With 67 and REX.B, Zydis takes the base that is none (SIB 101, mod 0: SDM vol. 2, table 2-3) for r13d. */
static bool has_base(const ZydisDecodedInstruction *in)
{
	return !(in->attributes & ZYDIS_ATTRIB_HAS_SIB) || in->raw.modrm.mod != 0 || in->raw.sib.base != 5;
}

static const char *compare_registers(const struct both *b)
{
	unsigned named = 0, all = 0;

	for (size_t i = 0; i < b->in.operand_count; i++) {
		const ZydisDecodedOperand *o = &b->ops[i];
		unsigned regs = 0;

		if (o->type == ZYDIS_OPERAND_TYPE_REGISTER)
			regs = general(o->reg.value);
		else if (o->type == ZYDIS_OPERAND_TYPE_MEMORY)
			regs = (has_base(&b->in) ? general(o->mem.base) : 0) | general(o->mem.index);
		all |= regs;
		if (o->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
			named |= regs;
	}
	if (named & ~lp_x64_named(&b->f))
		return "names a register that we do not see";
	if (all & ~(lp_x64_named(&b->f) | lp_x64_implied(&b->f)))
		return "uses a register that we do not know of";
	return NULL;
}

const char *x64_difference(const uint8_t *code, size_t len, size_t *n)
{
	ZydisDecoder decoder;
	struct both b;
	const char *difference;
	bool theirs, ours;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	theirs = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, len, &b.in, b.ops));
	ours = lp_x64_parse(code, len, &b.f);
	*n = 0;
	if (theirs && is_knc(&b.in))
		return ours ? "an instruction of Xeon Phi to us too" : NULL;
	if (theirs != ours)
		return theirs ? "an instruction to Zydis only" : "an instruction to us only";
	if (!theirs)
		return NULL;
	*n = b.f.len;
	if (b.in.length != b.f.len)
		return "another length";
	difference = compare_fields(&b);
	return difference ? difference : compare_registers(&b);
}
