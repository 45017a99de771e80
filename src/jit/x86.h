/*
 * x86-64 machine code, one instruction a function, appended to a buffer.  What the translator calls for every guest
 * instruction, so everything is inline and nothing is checked that the caller can check once (struct lp_x86).
 *
 *	struct lp_x86 x = {.at = buffer, .end = buffer + size, .run_offset = where it will run - buffer};
 *
 *	if (lp_x86_room(&x) < ...)			// once for each guest instruction
 *	lp_x86_alu(&x, LP_ALU_SUB, 1, LP_RAX, lp_rm_mem(LP_RBP, 8));	// sub rax, qword ptr [rbp+8]
 *	struct lp_x86_fixup zero = lp_x86_jcc_forward(&x, LP_CC_E);	// jz zero
 *	...
 *	lp_x86_bind(&x, zero);						// zero:
 *
 * Operands stand in Intel's order, the destination first; `w` is the operand's size (0: 32 bits, 1: 64), `bytes` is the
 * same in 1, 2, 4, 8.  Vectors say `l256` (0: 128 bits or a scalar, 1: 256).  General registers are 0 to 15, those of
 * vectors 0 to 31; an immediate is cut to its field.
 *
 * Whatever writes EFLAGS, in whole or in part, or leaves them undefined, sets flags_clobbered; nothing clears it but the
 * caller.  Jumps, calls and returns leave it alone.
 *
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2: sections 2.1 (legacy), 2.2 (REX), 2.3
 * (VEX) and 2.7 (EVEX), chapters 3 to 5 (the instructions), appendix B.  Thread-safe as far as the struct is the caller's
 * own.
 */
#ifndef LP_JIT_X86_H
#define LP_JIT_X86_H

#include "jit/x86_integer.h"
#include "jit/x86_vector.h"

#endif
