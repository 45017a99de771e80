/* Code in relocatable files: which of an instruction's bytes are an address, and which a number. */
#include "isa/x64/x64.h"

#include <elf.h>
#include <Zydis/Zydis.h>

/* By register number as instructions encode it: rdi, rsi, rdx, rcx, r8, r9 carry integer arguments (psABI 3.2.3). */
static int argument_of(unsigned reg)
{
	static const int8_t arguments[16] = {-1, 3, 2, -1, -1, -1, 1, 0, 4, 5, -1, -1, -1, -1, -1, -1};

	return arguments[reg & 15];
}

/* mov $imm,%reg (b8+r, c7 /0) and push $imm (68, 6a). */
static int argument_loaded(const ZydisDecodedInstruction *in)
{
	if (in->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
		return -1;
	if (in->mnemonic == ZYDIS_MNEMONIC_PUSH && (in->opcode == 0x68 || in->opcode == 0x6a))
		return 6;
	if (in->mnemonic != ZYDIS_MNEMONIC_MOV)
		return -1;
	if (in->opcode >= 0xb8 && in->opcode <= 0xbf)
		return argument_of((in->opcode & 7u) | (in->raw.rex.B ? 8u : 0));
	if (in->opcode == 0xc7 && in->raw.modrm.mod == 3)
		return argument_of(in->raw.modrm.rm | (in->raw.rex.B ? 8u : 0));
	return -1;
}

static void find_argument(const ZydisDecodedInstruction *in, struct lp_insn *out)
{
	int argument = argument_loaded(in);

	if (argument < 0 || !in->raw.imm[0].size)
		return;
	out->loads_argument = true;
	out->argument = (uint8_t)argument;
	out->imm_at = in->raw.imm[0].offset;
	out->imm_len = in->raw.imm[0].size / 8;
	out->imm = in->raw.imm[0].value.s;
}

static bool is_rip_relative(const ZydisDecodedInstruction *in)
{
	return (in->attributes & ZYDIS_ATTRIB_HAS_MODRM) && in->raw.modrm.mod == 0 && in->raw.modrm.rm == 5 &&
	       in->raw.disp.size == 32;
}

static void find_distance(const ZydisDecodedInstruction *in, lp_addr end, struct lp_insn *out)
{
	if (in->raw.imm[0].is_relative) {
		out->has_target = out->target_is_code = true;
		out->target = end + (uint64_t)in->raw.imm[0].value.s;
		out->target_at = in->raw.imm[0].offset;
		out->distance_type = in->raw.imm[0].size == 32 ? R_X86_64_PC32 : 0;
	} else if (is_rip_relative(in)) {
		out->has_target = true;
		out->target = end + (uint64_t)in->raw.disp.value;
		out->target_at = in->raw.disp.offset;
		out->distance_type = R_X86_64_PC32;
	}
}

bool lp_x64_insn(const uint8_t *code, size_t len, lp_addr at, struct lp_insn *out)
{
	ZydisDecoder decoder;
	ZydisDecodedInstruction in;
	struct lp_x64_insn shape;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, code, len, &in)) ||
	    !lp_x64_decode(code, len, at, &shape))
		return false;
	*out = (struct lp_insn){
		.len = in.length,
		.is_padding = shape.is_padding,
		.falls_through = shape.falls_through,
		.is_call = shape.is_call,
		.pc_at = in.length,
	};
	find_distance(&in, at + in.length, out);
	find_argument(&in, out);
	return true;
}

/* mov foo@GOTPCREL(%rip),%reg: 8b with mod 0, rm 5 in front of the field.  The addend is -4 in all that loads the slot. */
static bool is_got_load(const uint8_t *bytes, size_t field, int64_t addend)
{
	return field >= 2 && addend == -4 && bytes[field - 2] == 0x8b && (bytes[field - 1] & 0xc7) == 0x05;
}

uint32_t lp_x64_relax(uint32_t type, uint8_t *bytes, size_t field, int64_t addend, bool near)
{
	switch (type) {
	case R_X86_64_PLT32:
		return R_X86_64_PC32;
	case R_X86_64_GOTPCRELX:
	case R_X86_64_REX_GOTPCRELX:
		if (!near || !is_got_load(bytes, field, addend))
			return type;
		bytes[field - 2] = 0x8d; /* lea */
		return R_X86_64_PC32;
	default:
		return type;
	}
}

/* Variant II of "ELF Handling For Thread-Local Storage": the block ends at the thread pointer. */
int64_t lp_x64_tp_offset(uint64_t vaddr, uint64_t memsz, uint64_t align, uint64_t value)
{
	uint64_t first = align ? vaddr & (align - 1) : 0;
	return (int64_t)(value - (lp_align_up(memsz + first, align ? align : 1) - first));
}
