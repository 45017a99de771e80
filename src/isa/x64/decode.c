#include "isa/x64/x64.h"

#include <Zydis/Zydis.h>

/*
 * What gas, LLVM, MSVC-minded linkers and hand-written assembly fill gaps
 * with: 90, 66 90, [66...][2e] 0f 1f /0, cc.  Not every instruction without
 * effect is padding: endbr64 and pause are NOPs to the decoder, and landing
 * pads or spin loops to us.
 */
static bool is_padding(const ZydisDecodedInstruction *in)
{
	if (in->mnemonic == ZYDIS_MNEMONIC_INT3)
		return true;
	if (in->mnemonic != ZYDIS_MNEMONIC_NOP)
		return false;
	for (unsigned i = 0; i < in->raw.prefix_count; i++) {
		if (in->raw.prefixes[i].value != 0x66 && in->raw.prefixes[i].value != 0x2e)
			return false;
	}
	return (in->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && in->opcode == 0x90) ||
	       (in->opcode_map == ZYDIS_OPCODE_MAP_0F && in->opcode == 0x1f && in->raw.modrm.reg == 0);
}

static bool falls_through(const ZydisDecodedInstruction *in)
{
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
	case ZYDIS_MNEMONIC_HLT:
	case ZYDIS_MNEMONIC_INT3:
		return false;
	case ZYDIS_MNEMONIC_XABORT: /* a branch to Zydis; outside of a transaction it does nothing */
		return true;
	default:
		return in->meta.category != ZYDIS_CATEGORY_UNCOND_BR && in->meta.category != ZYDIS_CATEGORY_RET;
	}
}

static bool is_pc_relative_lea(const ZydisDecodedInstruction *in)
{
	return in->mnemonic == ZYDIS_MNEMONIC_LEA && in->raw.modrm.mod == 0 && in->raw.modrm.rm == 5;
}

static void find_target(const ZydisDecodedInstruction *in, lp_addr end, struct lp_x64_insn *out)
{
	if (in->raw.imm[0].is_relative) {
		out->has_target = true;
		out->is_jump = !out->is_call;
		out->target = end + (uint64_t)in->raw.imm[0].value.s;
	} else if (is_pc_relative_lea(in)) {
		out->has_target = true;
		out->target = end + (uint64_t)in->raw.disp.value;
	}
}

bool lp_x64_decode(const uint8_t *code, size_t len, lp_addr at, struct lp_x64_insn *out)
{
	ZydisDecoder decoder;
	ZydisDecodedInstruction in;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, code, len, &in)))
		return false;
	*out = (struct lp_x64_insn){
		.len = in.length,
		.is_padding = is_padding(&in),
		.falls_through = falls_through(&in),
		.is_call = in.meta.category == ZYDIS_CATEGORY_CALL,
		.repeats = in.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE),
	};
	find_target(&in, at + in.length, out);
	return true;
}

size_t lp_x64_insn_length(const uint8_t *code, size_t len, lp_addr at)
{
	struct lp_x64_insn in;

	return lp_x64_decode(code, len, at, &in) ? in.len : 0;
}

bool lp_x64_allocated(const uint8_t *code, size_t len)
{
	return lp_x64_insn_length(code, len, 0) != 0;
}
