#include "isa/a64/encode.h"

#include "base/bits.h"

/* ---- reading ---- */

/* Bits [lsb, lsb+width) of insn as a signed number of `unit` bytes. */
static lp_addr signed_field(uint32_t insn, unsigned lsb, unsigned width, unsigned unit)
{
	return (lp_addr)((int64_t)((uint64_t)insn << (64 - lsb - width)) >> (64 - width)) * unit;
}

bool lp_a64_direct_target(uint32_t insn, lp_addr at, lp_addr *target)
{
	if ((insn & 0x7c000000) == 0x14000000) /* b, bl */
		*target = at + signed_field(insn, 0, 26, 4);
	else if ((insn & 0xff000000) == 0x54000000) /* b.cond, bc.cond */
		*target = at + signed_field(insn, 5, 19, 4);
	else if ((insn & 0x7e000000) == 0x34000000) /* cbz, cbnz */
		*target = at + signed_field(insn, 5, 19, 4);
	else if ((insn & 0x7e000000) == 0x36000000) /* tbz, tbnz */
		*target = at + signed_field(insn, 5, 14, 4);
	else if ((insn & 0x9f000000) == 0x10000000) /* adr */
		*target = at + signed_field(insn, 5, 19, 4) + (insn >> 29 & 3);
	else
		return false;
	return true;
}

bool lp_a64_ends_code(uint32_t insn)
{
	return (insn & 0xfc000000) == 0x14000000 || /* b */
	       (insn & 0xfefff000) == 0xd61f0000 || /* br, braaz, brabz; braa, brab */
	       (insn & 0xfffff000) == 0xd65f0000 || /* ret, retaa, retab */
	       lp_a64_is_udf(insn);
}

/* ---- writing ---- */

bool lp_a64_b_reaches(lp_addr at, lp_addr to)
{
	return (to - at) % A64_INSN == 0 && lp_fits_signed((int64_t)(to - at), 28);
}

uint32_t lp_a64_b(lp_addr at, lp_addr to)
{
	return 0x14000000 | ((uint32_t)((to - at) >> 2) & 0x03ffffff);
}

/*
 * x16 (IP0) may be changed between a caller and its callee (AAPCS64 6.1.1), and
 * `br x16` may land on `bti c`, which `br` through another register may not.
 */
size_t lp_a64_island(uint8_t *out, lp_addr at, lp_addr dest)
{
	(void)at;		       /* position independent */
	lp_put32(out + 0, 0x58000050); /* ldr x16, 8 */
	lp_put32(out + 4, 0xd61f0200); /* br x16     */
	lp_put64(out + 8, dest);       /* .quad dest */
	_Static_assert(16 <= LP_ISLAND_MAX, "an island fits its slot");
	return 16;
}

/*
 * The stand-in for an IFUNC.  The slow path runs between a caller and its
 * callee: everything that can carry an argument survives (x0-x7, x8 for a
 * result in memory, q0-q7), and lr.  x16 and x17 are free there.  Registers
 * that only the SVE calling convention uses do not survive; symbols with that
 * convention are marked (STO_AARCH64_VARIANT_PCS) and are never IFUNCs.
 *
 * The resolver is called with no hwcap (x0 = x1 = 0): without the bit that
 * says "there is a second argument", it must fall back to what it can find
 * out itself, or to the baseline.
 *
 * Two threads may both take the slow path: the resolver gives both the same
 * answer, and the 8-byte store is a single one.
 */
static const uint32_t ifunc_stub[] = {
	/* fast path: */
	0xd503245f, /* 00  bti c			*/
	0x90000010, /* 04  adrp x16, slot		*/
	0xf9400210, /* 08  ldr x16, [x16, :lo12:slot]	*/
	0xd61f0200, /* 0c  br x16			*/
	/* slow path: */
	0xd503245f, /* 10  bti c			*/
	0xa9b27bfd, /* 14  stp x29, x30, [sp, #-224]!	*/
	0x910003fd, /* 18  mov x29, sp			*/
	0xa90107e0, /* 1c  stp x0, x1, [sp, #16]	*/
	0xa9020fe2, /* 20  stp x2, x3, [sp, #32]	*/
	0xa90317e4, /* 24  stp x4, x5, [sp, #48]	*/
	0xa9041fe6, /* 28  stp x6, x7, [sp, #64]	*/
	0xf9002be8, /* 2c  str x8, [sp, #80]		*/
	0xad0307e0, /* 30  stp q0, q1, [sp, #96]	*/
	0xad040fe2, /* 34  stp q2, q3, [sp, #128]	*/
	0xad0517e4, /* 38  stp q4, q5, [sp, #160]	*/
	0xad061fe6, /* 3c  stp q6, q7, [sp, #192]	*/
	0xd2800000, /* 40  mov x0, #0			*/
	0xd2800001, /* 44  mov x1, #0			*/
	0x58000210, /* 48  ldr x16, resolver		*/
	0xd63f0200, /* 4c  blr x16			*/
	0xaa0003f0, /* 50  mov x16, x0			*/
	0x90000011, /* 54  adrp x17, slot		*/
	0xf9000230, /* 58  str x16, [x17, :lo12:slot]	*/
	0xad461fe6, /* 5c  ldp q6, q7, [sp, #192]	*/
	0xad4517e4, /* 60  ldp q4, q5, [sp, #160]	*/
	0xad440fe2, /* 64  ldp q2, q3, [sp, #128]	*/
	0xad4307e0, /* 68  ldp q0, q1, [sp, #96]	*/
	0xf9402be8, /* 6c  ldr x8, [sp, #80]		*/
	0xa9441fe6, /* 70  ldp x6, x7, [sp, #64]	*/
	0xa94317e4, /* 74  ldp x4, x5, [sp, #48]	*/
	0xa9420fe2, /* 78  ldp x2, x3, [sp, #32]	*/
	0xa94107e0, /* 7c  ldp x0, x1, [sp, #16]	*/
	0xa8ce7bfd, /* 80  ldp x29, x30, [sp], #224	*/
	0xd61f0200, /* 84  br x16			*/
	0, 0,	    /* 88  resolver: .quad		*/
};
_Static_assert(sizeof ifunc_stub <= LP_IFUNC_STUB_MAX, "a stub fits its room");

enum { IFUNC_SLOW = 0x10, IFUNC_RESOLVER = 0x88 };
_Static_assert(sizeof ifunc_stub == IFUNC_RESOLVER + 8, "the offsets in the comments are true");

/* adrp + 64-bit load or store that together name the slot. */
static const uint8_t ifunc_adrp_at[] = {0x04, 0x54};

static bool put_page_and_offset(uint8_t *out, lp_addr at, lp_addr slot)
{
	int64_t pages = (int64_t)(lp_align_down(slot, 4096) - lp_align_down(at, 4096)) >> 12;
	uint32_t immlo = (uint32_t)pages & 3, immhi = (uint32_t)(pages >> 2) & 0x7ffff;

	if (!lp_fits_signed(pages, 21) || slot % 8)
		return false;
	lp_put32(out, lp_get32(out) | immlo << 29 | immhi << 5);
	lp_put32(out + 4, lp_get32(out + 4) | (uint32_t)(slot % 4096 / 8) << 10);
	return true;
}

size_t lp_a64_ifunc_stub(uint8_t *out, lp_addr at, lp_addr slot, lp_addr resolver, lp_addr *initial)
{
	memcpy(out, ifunc_stub, sizeof ifunc_stub);
	for (size_t i = 0; i < sizeof ifunc_adrp_at; i++) {
		if (!put_page_and_offset(out + ifunc_adrp_at[i], at + ifunc_adrp_at[i], slot))
			return 0;
	}
	lp_put64(out + IFUNC_RESOLVER, resolver);
	*initial = at + IFUNC_SLOW;
	return sizeof ifunc_stub;
}
