/*
 * Code that stands between a caller and a function that changes more than the
 * caller believes:
 *
 *     push %rbp                    a frame like any other, so that whoever walks frame pointers gets past it
 *     mov %rsp,%rbp
 *     push ...                     the general registers
 *     sub $room,%rsp               the vector registers; the stack stays aligned as the caller had it
 *     movups %xmm7,0(%rsp) ...
 *     call *dest(%rip)             no register is free to hold the address
 *     movups 0(%rsp),%xmm7 ...
 *     add $room,%rsp
 *     pop ...
 *     pop %rbp
 *     ret
 *     dest: .quad
 *
 * The flags change, as they may in any call.  The callee finds its arguments in
 * registers as they came, but none on the stack: two return addresses and the
 * frame lie between.
 */
#include "isa/x64/liveness.h"

#include "base/bits.h"
#include "isa/x64/access.h"

struct pen {
	uint8_t *at;
};

static void put(struct pen *p, uint8_t byte)
{
	*p->at++ = byte;
}

static void put_all(struct pen *p, const uint8_t *bytes, size_t len)
{
	memcpy(p->at, bytes, len);
	p->at += len;
}

static void put_32(struct pen *p, uint32_t v)
{
	lp_put32(p->at, v);
	p->at += 4;
}

/* ---- general registers ---- */

/* As ModRM numbers them. */
static const uint8_t general_numbers[X64_XMM0] = {
	[X64_RAX] = 0, [X64_RCX] = 1, [X64_RDX] = 2,  [X64_RSI] = 6,  [X64_RDI] = 7,
	[X64_R8] = 8,  [X64_R9] = 9,  [X64_R10] = 10, [X64_R11] = 11,
};

#define PUSH 0x50
#define POP 0x58

static void put_push_pop(struct pen *p, uint8_t opcode, unsigned reg)
{
	uint8_t n = general_numbers[reg];

	if (n >= 8)
		put(p, 0x41);	  /* rex.b	*/
	put(p, opcode | (n & 7)); /* push/pop %reg */
}

/* ---- vector registers ---- */

#define LOAD 0x10
#define STORE 0x11

/* (%rsp + disp), 32 bits of displacement; reg is the low three bits of the register. */
static void put_rsp_operand(struct pen *p, unsigned reg, uint32_t disp)
{
	put(p, (uint8_t)(0x84 | (reg & 7) << 3)); /* modrm: mod 10, rm 100: a sib follows	*/
	put(p, 0x24);				  /* sib: base rsp, no index		*/
	put_32(p, disp);
}

static void put_movups_xmm(struct pen *p, uint8_t opcode, unsigned n, uint32_t disp)
{
	if (n >= 8)
		put(p, 0x44); /* rex.r				*/
	put(p, 0x0f);
	put(p, opcode); /* movups %xmm,disp(%rsp)		*/
	put_rsp_operand(p, n, disp);
}

static void put_vmovups_ymm(struct pen *p, uint8_t opcode, unsigned n, uint32_t disp)
{
	put(p, 0xc5);		      /* vex, 2 bytes				*/
	put(p, n >= 8 ? 0x7c : 0xfc); /* ~r, vvvv 1111, l 1 (256), pp 00	*/
	put(p, opcode);
	put_rsp_operand(p, n, disp);
}

static void put_vmovups_zmm(struct pen *p, uint8_t opcode, unsigned n, uint32_t disp)
{
	uint8_t extended = (uint8_t)((n & 8 ? 0 : 0x80) | (n & 16 ? 0 : 0x10));

	put(p, 0x62);		 /* evex					*/
	put(p, 0x61 | extended); /* ~r ~x ~b ~r', map 0f			*/
	put(p, 0x7c);		 /* w 0, vvvv 1111, pp 00		*/
	put(p, 0x48);		 /* no mask, l'l 10 (512), ~v' 1		*/
	put(p, opcode);
	put_rsp_operand(p, n, disp);
}

static void put_vector(struct pen *p, uint8_t opcode, unsigned n, unsigned bytes, uint32_t disp)
{
	if (bytes == 64)
		put_vmovups_zmm(p, opcode, n, disp);
	else if (bytes == 32)
		put_vmovups_ymm(p, opcode, n, disp);
	else
		put_movups_xmm(p, opcode, n, disp);
}

static void put_vectors(struct pen *p, uint8_t opcode, lp_regs keep, unsigned bytes)
{
	uint32_t disp = 0;

	for (unsigned n = 0; n < 32; n++) {
		if (!(keep & X64_BIT(X64_XMM0 + n)))
			continue;
		put_vector(p, opcode, n, bytes, disp);
		disp += bytes;
	}
}

/* Numbers above 15 exist only where 512 bits do. */
static unsigned bytes_to_keep(lp_regs keep, unsigned vector_bytes)
{
	if (vector_bytes > 32 || keep & UINT64_C(0xffff0000) << X64_XMM0)
		return 64;
	return vector_bytes > 16 ? 32 : 16;
}

/* ---- the whole ---- */

static const uint8_t enter_frame[] = {
	0x55,		  /* push %rbp		*/
	0x48, 0x89, 0xe5, /* mov %rsp,%rbp	*/
};
static const uint8_t leave_frame[] = {
	0x5d, /* pop %rbp		*/
	0xc3, /* ret			*/
};
static const uint8_t make_room[] = {0x48, 0x81, 0xec}; /* sub $imm32,%rsp	*/
static const uint8_t drop_room[] = {0x48, 0x81, 0xc4}; /* add $imm32,%rsp	*/
static const uint8_t call[] = {0xff, 0x15};	       /* call *disp32(%rip)	*/

/* Frame, 9 pushes and pops of 2 bytes, sub and add, 32 stores and loads of 11, call, int3 up to dest. */
_Static_assert(sizeof enter_frame + sizeof leave_frame + 2 * 9 * 2 + 2 * 7 + 2 * 32 * 11 + 6 + 7 + 8 <= LP_PRESERVE_MAX,
	       "the longest one fits");

size_t lp_x64_preserve(uint8_t *out, lp_addr at, lp_addr dest, lp_regs keep, unsigned vector_bytes)
{
	const unsigned nr_general = (unsigned)__builtin_popcountll(keep & X64_GENERAL);
	const unsigned nr_vectors = (unsigned)__builtin_popcountll(keep & X64_VECTORS);
	const unsigned width = bytes_to_keep(keep, vector_bytes);
	const uint32_t room = nr_vectors * width + nr_general % 2 * 8;
	struct pen p = {out};

	(void)at; /* position independent */
	if (keep & ~(X64_GENERAL | X64_VECTORS))
		return 0;
	put_all(&p, enter_frame, sizeof enter_frame);
	for (unsigned reg = 0; reg < X64_XMM0; reg++) {
		if (keep & X64_BIT(reg))
			put_push_pop(&p, PUSH, reg);
	}
	if (room) {
		put_all(&p, make_room, sizeof make_room);
		put_32(&p, room);
	}
	put_vectors(&p, STORE, keep, width);

	put_all(&p, call, sizeof call);
	uint8_t *to_dest = p.at;
	put_32(&p, 0);

	put_vectors(&p, LOAD, keep, width);
	if (room) {
		put_all(&p, drop_room, sizeof drop_room);
		put_32(&p, room);
	}
	for (unsigned reg = X64_XMM0; reg-- > 0;) {
		if (keep & X64_BIT(reg))
			put_push_pop(&p, POP, reg);
	}
	put_all(&p, leave_frame, sizeof leave_frame);

	while ((p.at - out) % 8)
		put(&p, 0xcc); /* int3 */
	lp_put32(to_dest, (uint32_t)(p.at - (to_dest + 4)));
	lp_put64(p.at, dest);
	return (size_t)(p.at + 8 - out);
}
