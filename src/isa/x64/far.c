/*
 * Loads of variables that are out of reach.
 *
 * A compiler that makes a program refers to a library's variable (stderr) as
 * if it lay nearby; the linker makes that true with a copy.  A patch comes too
 * late for copies.  One instruction can be helped, and it is by far the most
 * frequent one: a load needs no other register than the one it loads.
 *
 *     mov  var(%rip), %reg         jmp  stub               stub:  mov  slot(%rip), %reg64     var's address
 *     next                   ->    nop                            mov  offset(%reg64), %reg
 *                                  next                           jmp  next
 *
 * Flags, stack and red zone stay as they are.
 */
#include "base/bits.h"
#include "isa/x64/x64.h"

enum { REX = 0x40, REX_W = 8, REX_R = 4, REX_B = 1, MOV_LOAD = 0x8b, JMP = 0xe9, SIB_NO_INDEX = 0x24 };

struct load {
	size_t at, len; /* of the instruction in the code */
	uint8_t reg;
	bool wide; /* 64 bits, else 32 */
};

/* The instruction that holds the field, read from the function's start. */
static bool find(const uint8_t *code, size_t len, lp_addr at, size_t field, struct load *out)
{
	size_t i = 0, n;
	while (i < len && (n = lp_x64_insn_length(code + i, len - i, at + i)) != 0 && i + n <= field)
		i += n;
	if (i >= len || !n || field < i + 2 || field + 4 != i + n)
		return false;
	*out = (struct load){.at = i, .len = n};
	return true;
}

/* mov r32/r64, [rip + disp32]: an optional REX, 8b, ModRM with mod 00 and r/m 101 (SDM vol. 2, 2.1.5 and 2.2.1.6). */
static bool is_load(const uint8_t *code, size_t field, struct load *l)
{
	const uint8_t *insn = code + l->at;
	bool rex = (insn[0] & 0xf0) == REX;
	if (field - l->at != (rex ? 3u : 2u) || insn[rex] != MOV_LOAD || (insn[rex + 1] & 0xc7) != 5)
		return false;
	l->wide = rex && (insn[0] & REX_W);
	l->reg = (uint8_t)((insn[rex + 1] >> 3 & 7) | (rex && (insn[0] & REX_R) ? 8 : 0));
	return true;
}

static bool put_disp(uint8_t *field, lp_addr end, lp_addr to)
{
	int64_t disp = (int64_t)(to - end);
	lp_put32(field, (uint32_t)disp);
	return lp_fits_signed(disp, 32);
}

size_t lp_x64_far_load(uint8_t *code, size_t len, lp_addr at, size_t field, int32_t offset, lp_addr slot, uint8_t *stub,
		       lp_addr stub_at)
{
	struct load l;
	if (!find(code, len, at, field, &l) || !is_load(code, field, &l))
		return 0;
	uint8_t low = l.reg & 7, high = l.reg >> 3;
	size_t n = 0;
	stub[n++] = (uint8_t)(REX | REX_W | (high ? REX_R : 0));
	stub[n++] = MOV_LOAD;
	stub[n++] = (uint8_t)(low << 3 | 5);
	bool fits = put_disp(stub + n, stub_at + n + 4, slot);
	n += 4;
	stub[n++] = (uint8_t)(REX | (l.wide ? REX_W : 0) | (high ? REX_R | REX_B : 0));
	stub[n++] = MOV_LOAD;
	stub[n++] = (uint8_t)(0x80 | low << 3 | low);
	if (low == 4) /* rsp and r12 as a base want a SIB byte */
		stub[n++] = SIB_NO_INDEX;
	lp_put32(stub + n, (uint32_t)offset);
	n += 4;
	stub[n++] = JMP;
	fits = put_disp(stub + n, stub_at + n + 4, at + l.at + l.len) && fits;
	n += 4;

	uint8_t jump[5] = {JMP};
	fits = put_disp(jump + 1, at + l.at + sizeof jump, stub_at) && fits;
	if (!fits)
		return 0;
	memcpy(code + l.at, jump, sizeof jump);
	memset(code + l.at + sizeof jump, 0x90, l.len - sizeof jump);
	return n;
}
