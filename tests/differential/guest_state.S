/*
 * The guest's way into a stream and out of it: every register is loaded before
 * and stored after it.  TPIDR_EL0 carries x30 across the last branch in and the
 * first load out, so that streams have all registers to themselves.
 */
#include "case.h"

	.text
	.global _start
_start:
	mov	x0, sp
	bl	guest_main

	// void guest_enter(const struct diff_state *in)
	.global guest_enter
guest_enter:
	stp	x29, x30, [sp, #-96]!
	stp	x19, x20, [sp, #16]
	stp	x21, x22, [sp, #32]
	stp	x23, x24, [sp, #48]
	stp	x25, x26, [sp, #64]
	stp	x27, x28, [sp, #80]
	adrp	x1, guest_sp
	mov	x2, sp
	str	x2, [x1, :lo12:guest_sp]
	clrex
	ldr	x1, [x0, #DIFF_AT_NZCV]
	ldr	x2, [x0, #DIFF_AT_FPCR]
	ldr	x3, [x0, #DIFF_AT_FPSR]
	ldr	x4, [x0, #240]
	ldr	x5, [x0, #DIFF_AT_SP]
	msr	nzcv, x1
	msr	fpcr, x2
	msr	fpsr, x3
	msr	tpidr_el0, x4
	mov	sp, x5
	mov	x30, x0
	add	x0, x0, #DIFF_AT_V
	.irp	n, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
	ldr	q\n, [x0, #16 * \n]
	.endr
	.irp	n, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
	ldr	q\n, [x0, #16 * \n]
	.endr
	ldp	x0, x1, [x30]
	ldp	x2, x3, [x30, #16]
	ldp	x4, x5, [x30, #32]
	ldp	x6, x7, [x30, #48]
	ldp	x8, x9, [x30, #64]
	ldp	x10, x11, [x30, #80]
	ldp	x12, x13, [x30, #96]
	ldp	x14, x15, [x30, #112]
	ldp	x16, x17, [x30, #128]
	ldp	x18, x19, [x30, #144]
	ldp	x20, x21, [x30, #160]
	ldp	x22, x23, [x30, #176]
	ldp	x24, x25, [x30, #192]
	ldp	x26, x27, [x30, #208]
	ldp	x28, x29, [x30, #224]
	ldr	x30, [x30, #DIFF_AT_PC]
	ret			// which may go to any instruction of a guarded page

	// After a signal: guest_out is filled in, the handler has set sp.
	.global guest_leave
guest_leave:
	msr	fpcr, xzr
	ldp	x19, x20, [sp, #16]
	ldp	x21, x22, [sp, #32]
	ldp	x23, x24, [sp, #48]
	ldp	x25, x26, [sp, #64]
	ldp	x27, x28, [sp, #80]
	ldp	x29, x30, [sp], #96
	ret

	.global guest_clear_dit, guest_clear_ssbs
guest_clear_dit:
	.inst	0xd51b42bf	// msr dit, xzr
	b	guest_exit
guest_clear_ssbs:
	.inst	0xd51b42df	// msr ssbs, xzr
	b	guest_exit

	// At DIFF_EXIT; x30 is in TPIDR_EL0.
	.section .diff_exit, "ax"
	.global guest_exit
guest_exit:
	adrp	x30, guest_out
	add	x30, x30, :lo12:guest_out
	stp	x0, x1, [x30]
	stp	x2, x3, [x30, #16]
	stp	x4, x5, [x30, #32]
	stp	x6, x7, [x30, #48]
	stp	x8, x9, [x30, #64]
	stp	x10, x11, [x30, #80]
	stp	x12, x13, [x30, #96]
	stp	x14, x15, [x30, #112]
	stp	x16, x17, [x30, #128]
	stp	x18, x19, [x30, #144]
	stp	x20, x21, [x30, #160]
	stp	x22, x23, [x30, #176]
	stp	x24, x25, [x30, #192]
	stp	x26, x27, [x30, #208]
	stp	x28, x29, [x30, #224]
	mrs	x0, tpidr_el0
	mov	x1, sp
	stp	x0, x1, [x30, #240]
	mrs	x0, nzcv
	mrs	x1, fpcr
	mrs	x2, fpsr
	str	xzr, [x30, #DIFF_AT_PC]
	str	x0, [x30, #DIFF_AT_NZCV]
	str	x1, [x30, #DIFF_AT_FPCR]
	str	x2, [x30, #DIFF_AT_FPSR]
	add	x0, x30, #DIFF_AT_V
	.irp	n, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
	str	q\n, [x0, #16 * \n]
	.endr
	.irp	n, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
	str	q\n, [x0, #16 * \n]
	.endr
	adrp	x1, guest_sp
	ldr	x2, [x1, :lo12:guest_sp]
	mov	sp, x2
	b	guest_leave
