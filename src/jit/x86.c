/*
 * x86-64 machine code that is not worth having inline (x86.h).
 */
#include "jit/x86.h"

/* Recommended by the manual (NOP in volume 2B, table 4-12). */
static const uint8_t nops[9][9] = {
	{0x90},
	{0x66, 0x90},
	{0x0f, 0x1f, 0x00},
	{0x0f, 0x1f, 0x40, 0x00},
	{0x0f, 0x1f, 0x44, 0x00, 0x00},
	{0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
	{0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
	{0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
	{0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
};

void lp_x86_nop(struct lp_x86 *x, size_t n)
{
	while (n) {
		size_t len = n < 9 ? n : 9;

		memcpy(x->at, nops[len - 1], len);
		x->at += len;
		n -= len;
	}
}

static bool short_back(const struct lp_x86 *x, const uint8_t *written)
{
	return written - (x->at + 2) >= INT8_MIN;
}

static const void *where_it_runs(const struct lp_x86 *x, const uint8_t *written)
{
	return (const void *)((uintptr_t)written + (uintptr_t)x->run_offset);
}

void lp_x86_jmp_back(struct lp_x86 *x, const uint8_t *written)
{
	if (short_back(x, written)) {
		lp_x86_put8(x, 0xeb);
		lp_x86_put8(x, (uint8_t)(written - (x->at + 1)));
		return;
	}
	lp_x86_jmp(x, where_it_runs(x, written));
}

void lp_x86_jcc_back(struct lp_x86 *x, enum lp_x86_cc cc, const uint8_t *written)
{
	if (short_back(x, written)) {
		lp_x86_put8(x, 0x70 | (unsigned)cc);
		lp_x86_put8(x, (uint8_t)(written - (x->at + 1)));
		return;
	}
	lp_x86_jcc(x, cc, where_it_runs(x, written));
}

/* 2.7.1 */
void lp_x86_evex_op(struct lp_x86 *x, enum lp_x86_vop op, unsigned l256, unsigned mask, unsigned reg, unsigned vvvv,
		    struct lp_x86_rm rm, unsigned imm_len)
{
	uint8_t *at = x->at;
	unsigned extend = (unsigned)(rm.index << 3 | rm.base << 2); /* bit 6: an index, or a register above 15 */
	unsigned shift = mask & LP_MASK_BROADCAST ? 2 + (op >> LP_VOP_EVEX_W & 1)
						  : (op >> LP_VOP_MEM & 7) + (op & LP_VOP_GROWS ? l256 : 0);

	if (!(op & LP_VOP_EVEX))
		x->out_of_reach = true;
	if (op & LP_VOP_FLAGS)
		x->flags_clobbered = true;
	x->beyond_sse4 = true;
	*at++ = 0x62;
	*at++ = (uint8_t)((~reg & 8) << 4 | (~extend & 0x40) | (~rm.base & 8) << 2 | (~reg & 16) |
			  (op >> LP_VOP_MAP & 3));
	*at++ = (uint8_t)((op >> LP_VOP_EVEX_W & 1) << 7 | (~vvvv & 15) << 3 | 4 | (op >> LP_VOP_PP & 3));
	*at++ = (uint8_t)((mask & LP_MASK_ZERO) << 4 | l256 << 5 | (mask & LP_MASK_BROADCAST) | (~vvvv & 16) >> 1 |
			  (mask & 7));
	*at++ = (uint8_t)op;
	x->at = at;
	lp_x86_modrm_scaled(x, reg, rm, imm_len, shift);
}
