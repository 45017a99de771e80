#include "self/arch/arch.h"

#include <elf.h>
#include <stddef.h>

#define FIRST_RECORD 0x0000021046508001 /* fpsimd_context: magic and size, first of what follows sigcontext's pstate */
#define PSTATE_NEVER 0xffffffff00000010 /* upper half; and 32-bit state */

static lp_addr get_pc(const ucontext_t *uc)
{
	return uc->uc_mcontext.pc;
}

static void set_pc(ucontext_t *uc, lp_addr pc)
{
	uc->uc_mcontext.pc = pc;
}

static lp_addr get_sp(const ucontext_t *uc)
{
	return uc->uc_mcontext.sp;
}

static void divert(ucontext_t *uc, void (*to)(void))
{
	set_pc(uc, (lp_addr)(uintptr_t)to);
}

static bool trapped(const siginfo_t *info, const ucontext_t *uc, lp_addr *at)
{
	*at = get_pc(uc);
	return info->si_code == TRAP_BRKPT;
}

/* struct sigcontext: ..., sp, pc, pstate, 8 bytes of nothing, records */
static bool frame(const uint64_t w[LP_FRAME_WORDS])
{
	return w[4] == FIRST_RECORD && !(w[2] & PSTATE_NEVER);
}

static void serialize(void)
{
	__asm__ volatile("isb" ::: "memory");
}

/* Pages differ, and nobody tells which have BTI; what suits those suits the others too. */
static bool guarded(void)
{
	return true;
}

static void put32(uint8_t *out, uint32_t insn)
{
	out[0] = (uint8_t)insn;
	out[1] = (uint8_t)(insn >> 8);
	out[2] = (uint8_t)(insn >> 16);
	out[3] = (uint8_t)(insn >> 24);
}

static size_t probe(uint8_t out[16], uint16_t value)
{
	put32(out, 0x52800000 | (uint32_t)value << 5); /* mov w0, #value */
	put32(out + 4, 0xd65f03c0);		       /* ret */
	return 8;
}

const struct lp_self_arch lp_self_arch = {
	.machine = EM_AARCH64,
	.trap = {0x00, 0x00, 0x20, 0xd4}, /* brk #0 */
	.trap_len = 4,
	.pc = get_pc,
	.set_pc = set_pc,
	.sp = get_sp,
	.divert = divert,
	.trapped = trapped,
	.frame = frame,
	.frame_stack = offsetof(ucontext_t, uc_mcontext.sp) - offsetof(ucontext_t, uc_stack),
	.serialize = serialize,
	.guarded = guarded,
	.probe = probe,
};

long lp_self_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}
