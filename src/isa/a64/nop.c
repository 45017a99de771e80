/* Instructions that do nothing. */
#include "isa/a64/a64.h"

#include "base/bits.h"
#include "isa/a64/encode.h"

void lp_a64_nops(uint8_t *out, size_t len)
{
	for (size_t i = 0; i + A64_INSN <= len; i += A64_INSN)
		lp_put32(out + i, A64_NOP);
}

/*
 * Hints by number (DDI 0487 C6.2 HINT): nop and yield do nothing, nor does dgh,
 * and numbers that stand for nothing execute as nop.  What is left out waits,
 * signals, orders memory, signs pointers or is a landing pad.
 */
static bool is_idle_hint(unsigned number)
{
	static const uint64_t does_something =
		UINT64_C(0x3c) |		    /* wfe, wfi, sev, sevl */
		UINT64_C(0x80) | UINT64_C(0x5500) | /* xpaclri, pacia1716, pacib1716, autia1716, autib1716 */
		UINT64_C(0x5f0000) |		    /* esb, psb, tsb, gcsb, csdb, clrbhb */
		UINT64_C(0xff000000) |		    /* pac and aut with sp or zero */
		UINT64_C(0x1d5) << 32;		    /* bti, pacm, chkfeat */

	return number > 63 || !(does_something >> number & 1);
}

bool lp_a64_is_nop(const uint8_t *code, size_t len)
{
	uint32_t insn = len >= A64_INSN ? lp_get32(code) : 0;

	return (insn & 0xfffff01f) == 0xd503201f && is_idle_hint(insn >> 5 & 0x7f);
}
