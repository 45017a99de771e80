/* Code in relocatable files: which of an instruction's bytes are an address, and which a number. */
#include "isa/x64/parse.h"

#include <elf.h>

/* By register number as instructions encode it: rdi, rsi, rdx, rcx, r8, r9 carry integer arguments (psABI 3.2.3). */
static int argument_of(unsigned reg)
{
	static const int8_t arguments[16] = {-1, 3, 2, -1, -1, -1, 1, 0, 4, 5, -1, -1, -1, -1, -1, -1};

	return arguments[reg & 15];
}

static int argument_numbered(const struct lp_x64_fields *f, unsigned low)
{
	return argument_of(low | (f->rex & X64_REX_B ? 8u : 0));
}

/* mov $imm,%reg (b8+r, c7 /0) and push $imm (68, 6a). */
static int argument_loaded(const struct lp_x64_fields *f)
{
	if (f->map != X64_MAP_ONE)
		return -1;
	if (f->opcode == 0x68 || f->opcode == 0x6a)
		return 6;
	if (f->opcode >= 0xb8 && f->opcode <= 0xbf)
		return argument_numbered(f, f->opcode & 7u);
	if (f->opcode == 0xc7 && !f->is_relative && f->modrm >> 6 == 3)
		return argument_numbered(f, f->modrm & 7u);
	return -1;
}

static void find_argument(const struct lp_x64_fields *f, struct lp_insn *out)
{
	int argument = argument_loaded(f);

	if (argument < 0)
		return;
	out->loads_argument = true;
	out->argument = (uint8_t)argument;
	out->imm_at = f->imm_at;
	out->imm_len = f->imm_len;
	out->imm = f->imm;
}

static void find_distance(const struct lp_x64_fields *f, lp_addr end, struct lp_insn *out)
{
	if (f->is_relative) {
		out->has_target = out->target_is_code = true;
		out->target = end + (uint64_t)f->imm;
		out->target_at = f->imm_at;
		out->distance_type = f->imm_len == 4 ? R_X86_64_PC32 : 0;
	} else if (lp_x64_is_rip_relative(f)) {
		out->has_target = true;
		out->target = end + (uint64_t)f->disp;
		out->target_at = f->disp_at;
		out->distance_type = R_X86_64_PC32;
	}
}

bool lp_x64_insn(const uint8_t *code, size_t len, lp_addr at, struct lp_insn *out)
{
	struct lp_x64_fields f;
	struct lp_x64_insn shape;

	if (!lp_x64_parse(code, len, &f) || !lp_x64_decode(code, len, at, &shape))
		return false;
	*out = (struct lp_insn){
		.len = f.len,
		.is_padding = shape.is_padding,
		.falls_through = shape.falls_through,
		.is_call = shape.is_call,
		.pc_at = f.len,
	};
	find_distance(&f, at + f.len, out);
	find_argument(&f, out);
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
