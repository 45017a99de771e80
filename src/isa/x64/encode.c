#include "isa/x64/encode.h"

#include "base/bits.h"

/* Displacements count from the end of the instruction. */
static int64_t displacement(lp_addr end, lp_addr to)
{
	return (int64_t)(to - end);
}

bool lp_x64_jmp32_reaches(lp_addr at, lp_addr to)
{
	return lp_fits_signed(displacement(at + X64_JMP32_LEN, to), 32);
}

bool lp_x64_jmp8_reaches(lp_addr at, lp_addr to)
{
	return lp_fits_signed(displacement(at + X64_JMP8_LEN, to), 8);
}

void lp_x64_put_jmp32(uint8_t out[X64_JMP32_LEN], lp_addr at, lp_addr to)
{
	out[0] = 0xe9;
	lp_put32(out + 1, (uint32_t)displacement(at + X64_JMP32_LEN, to));
}

void lp_x64_put_jmp8(uint8_t out[X64_JMP8_LEN], lp_addr at, lp_addr to)
{
	out[0] = 0xeb;
	out[1] = (uint8_t)displacement(at + X64_JMP8_LEN, to);
}

/* No register may be touched: r11 is free by the psABI, but not to a tail call's caller that knows its callee. */
static const uint8_t island[] = {
	0xff, 0x25, 0x00, 0x00, 0x00, 0x00,	  /* jmp *0(%rip)	*/
	0,    0,    0,	  0,	0,    0,    0, 0, /* .quad dest	*/
};
_Static_assert(sizeof island <= LP_ISLAND_MAX, "an island fits its slot");

size_t lp_x64_island(uint8_t *out, lp_addr at, lp_addr dest)
{
	(void)at; /* position independent */
	memcpy(out, island, sizeof island);
	lp_put64(out + 6, dest);
	return sizeof island;
}

/*
 * The stand-in for an IFUNC.  The slow path runs between a caller and its
 * callee, so every register that can carry an argument survives: rdi rsi rdx
 * rcx r8 r9, rax (number of vector arguments), r10 (static chain), xmm0-7,
 * and r11 for good measure.  The upper halves of ymm0-7 survive because a
 * legacy-SSE load leaves them alone and resolvers, which only read CPU
 * features, do not touch them.  rbp holds the frame because the caller's
 * stack need not be aligned (hand-written code) when the resolver's must be.
 *
 * Two threads may both take the slow path: the resolver gives both the same
 * answer, and the 8-byte store is a single one.
 */
static const uint8_t ifunc_stub[] = {
	/* fast path: */
	0xf3, 0x0f, 0x1e, 0xfa,		    /* 00  endbr64			*/
	0xff, 0x25, 0, 0, 0, 0,		    /* 04  jmp *slot(%rip)		*/
	0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00, /* 0a  nopw 0(%rax,%rax,1)	*/
	/* slow path: */
	0xf3, 0x0f, 0x1e, 0xfa,			  /* 10  endbr64			*/
	0x55,					  /* 14  push %rbp		*/
	0x48, 0x89, 0xe5,			  /* 15  mov %rsp,%rbp		*/
	0x57,					  /* 18  push %rdi		*/
	0x56,					  /* 19  push %rsi		*/
	0x52,					  /* 1a  push %rdx		*/
	0x51,					  /* 1b  push %rcx		*/
	0x41, 0x50,				  /* 1c  push %r8			*/
	0x41, 0x51,				  /* 1e  push %r9			*/
	0x50,					  /* 20  push %rax		*/
	0x41, 0x52,				  /* 21  push %r10		*/
	0x41, 0x53,				  /* 23  push %r11		*/
	0x48, 0x83, 0xe4, 0xf0,			  /* 25  and $-16,%rsp		*/
	0x48, 0x81, 0xec, 0x80, 0x00, 0x00, 0x00, /* 29  sub $128,%rsp		*/
	0x0f, 0x11, 0x04, 0x24,			  /* 30  movups %xmm0,(%rsp)	*/
	0x0f, 0x11, 0x4c, 0x24, 0x10,		  /* 34  movups %xmm1,16(%rsp)	*/
	0x0f, 0x11, 0x54, 0x24, 0x20,		  /* 39  movups %xmm2,32(%rsp)	*/
	0x0f, 0x11, 0x5c, 0x24, 0x30,		  /* 3e  movups %xmm3,48(%rsp)	*/
	0x0f, 0x11, 0x64, 0x24, 0x40,		  /* 43  movups %xmm4,64(%rsp)	*/
	0x0f, 0x11, 0x6c, 0x24, 0x50,		  /* 48  movups %xmm5,80(%rsp)	*/
	0x0f, 0x11, 0x74, 0x24, 0x60,		  /* 4d  movups %xmm6,96(%rsp)	*/
	0x0f, 0x11, 0x7c, 0x24, 0x70,		  /* 52  movups %xmm7,112(%rsp)	*/
	0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0,	  /* 57  movabs $resolver,%rax	*/
	0xff, 0xd0,				  /* 61  call *%rax		*/
	0x48, 0x89, 0x05, 0, 0, 0, 0,		  /* 63  mov %rax,slot(%rip)	*/
	0x0f, 0x10, 0x04, 0x24,			  /* 6a  movups (%rsp),%xmm0	*/
	0x0f, 0x10, 0x4c, 0x24, 0x10,		  /* 6e  movups 16(%rsp),%xmm1	*/
	0x0f, 0x10, 0x54, 0x24, 0x20,		  /* 73  movups 32(%rsp),%xmm2	*/
	0x0f, 0x10, 0x5c, 0x24, 0x30,		  /* 78  movups 48(%rsp),%xmm3	*/
	0x0f, 0x10, 0x64, 0x24, 0x40,		  /* 7d  movups 64(%rsp),%xmm4	*/
	0x0f, 0x10, 0x6c, 0x24, 0x50,		  /* 82  movups 80(%rsp),%xmm5	*/
	0x0f, 0x10, 0x74, 0x24, 0x60,		  /* 87  movups 96(%rsp),%xmm6	*/
	0x0f, 0x10, 0x7c, 0x24, 0x70,		  /* 8c  movups 112(%rsp),%xmm7	*/
	0x48, 0x8d, 0x65, 0xb8,			  /* 91  lea -72(%rbp),%rsp	*/
	0x41, 0x5b,				  /* 95  pop %r11			*/
	0x41, 0x5a,				  /* 97  pop %r10			*/
	0x58,					  /* 99  pop %rax			*/
	0x41, 0x59,				  /* 9a  pop %r9			*/
	0x41, 0x58,				  /* 9c  pop %r8			*/
	0x59,					  /* 9e  pop %rcx			*/
	0x5a,					  /* 9f  pop %rdx			*/
	0x5e,					  /* a0  pop %rsi			*/
	0x5f,					  /* a1  pop %rdi			*/
	0x5d,					  /* a2  pop %rbp			*/
	0xff, 0x25, 0, 0, 0, 0,			  /* a3  jmp *slot(%rip)		*/
};
_Static_assert(sizeof ifunc_stub == 0xa9, "the offsets in the right column are true");
_Static_assert(sizeof ifunc_stub <= LP_IFUNC_STUB_MAX, "a stub fits its room");

enum { IFUNC_SLOW = 0x10, IFUNC_RESOLVER = 0x59 };

/* Where the displacements to the slot stand; each is the last field of its instruction. */
static const uint8_t ifunc_slot_at[] = {0x06, 0x66, 0xa5};

size_t lp_x64_ifunc_stub(uint8_t *out, lp_addr at, lp_addr slot, lp_addr resolver, lp_addr *initial)
{
	if (slot % 8) /* a store that crosses a cache line could be seen half done */
		return 0;
	memcpy(out, ifunc_stub, sizeof ifunc_stub);
	for (size_t i = 0; i < sizeof ifunc_slot_at; i++) {
		int64_t disp = displacement(at + ifunc_slot_at[i] + 4, slot);

		if (!lp_fits_signed(disp, 32))
			return 0;
		lp_put32(out + ifunc_slot_at[i], (uint32_t)disp);
	}
	lp_put64(out + IFUNC_RESOLVER, resolver);
	*initial = at + IFUNC_SLOW;
	return sizeof ifunc_stub;
}
