/* Code in relocatable files: which instruction holds an address, and which a number. */
#include "isa/a64/a64.h"

#include <elf.h>

#include "base/bits.h"
#include "isa/a64/encode.h"

static bool is_bl(uint32_t insn)
{
	return (insn & 0xfc000000) == 0x94000000;
}

static bool is_blr(uint32_t insn)
{
	return (insn & 0xfffffc1f) == 0xd63f0000 || (insn & 0xfefff800) == 0xd63f0800;
}

/* Only b and bl reach from a function to anywhere else; adr, b.cond, tbz and literals stay near. */
static uint32_t distance_type(uint32_t insn)
{
	if (is_bl(insn))
		return R_AARCH64_CALL26;
	return (insn & 0xfc000000) == 0x14000000 ? R_AARCH64_JUMP26 : 0;
}

/* ldr (literal), of general and vector registers, and ldrsw; DDI 0487 C4.1.66 */
static bool literal_target(uint32_t insn, lp_addr at, lp_addr *target)
{
	if ((insn & 0x3b000000) != 0x18000000)
		return false;
	*target = at + (uint64_t)((int64_t)(int32_t)(insn << 8) >> 13) * 4;
	return true;
}

/* movz to w0..w7, x0..x7, not shifted */
static void find_argument(uint32_t insn, struct lp_insn *out)
{
	if ((insn & 0x7fe00000) != 0x52800000 || (insn & 31) > 7)
		return;
	out->loads_argument = true;
	out->argument = insn & 31;
	out->imm_len = A64_INSN;
	out->imm = insn >> 5 & 0xffff;
}

bool lp_a64_insn(const uint8_t *code, size_t len, lp_addr at, struct lp_insn *out)
{
	if (len < A64_INSN)
		return false;
	uint32_t insn = lp_get32(code);
	*out = (struct lp_insn){
		.len = A64_INSN,
		.is_padding = insn == A64_NOP,
		.falls_through = !lp_a64_ends_code(insn),
		.is_call = is_bl(insn) || is_blr(insn),
	};
	if (lp_a64_direct_target(insn, at, &out->target)) {
		out->has_target = true;
		out->target_is_code = is_bl(insn) || lp_a64_is_jump(insn);
	} else {
		out->has_target = literal_target(insn, at, &out->target);
	}
	out->distance_type = distance_type(insn);
	find_argument(insn, out);
	return true;
}

/* Calls have one relocation whoever they lead to; the page of a GOT slot and its offset are two instructions apart. */
uint32_t lp_a64_relax(uint32_t type, uint8_t *bytes, size_t field, int64_t addend, bool near)
{
	(void)bytes;
	(void)field;
	(void)addend;
	(void)near;
	return type;
}
