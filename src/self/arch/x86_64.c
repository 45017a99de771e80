#include "self/arch/arch.h"

#include <elf.h>
#include <stddef.h>
#include <sys/syscall.h>

#define ARCH_SHSTK_STATUS 0x5005 /* since Linux 6.6 */
#define ARCH_SHSTK_SHSTK 1

#define CS_SS 0x002b000000000033	/* selectors of 64-bit user code: cs, gs, fs, ss as sigcontext packs them */
#define EFLAGS_FIXED 0x2		/* always one */
#define EFLAGS_NEVER 0xffffffffffc08028 /* reserved bits, always zero */

static lp_addr get_pc(const ucontext_t *uc)
{
	return (lp_addr)uc->uc_mcontext.gregs[REG_RIP];
}

static void set_pc(ucontext_t *uc, lp_addr pc)
{
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)pc;
}

static lp_addr get_sp(const ucontext_t *uc)
{
	return (lp_addr)uc->uc_mcontext.gregs[REG_RSP];
}

/* As behind a call: what was on the stack there, and below it, is nobody's any more. */
static void divert(ucontext_t *uc, void (*to)(void))
{
	uc->uc_mcontext.gregs[REG_RSP] = (greg_t)lp_align_down(get_sp(uc), 16) - 8;
	set_pc(uc, (lp_addr)(uintptr_t)to);
}

/* int3 is reported behind itself, as SI_KERNEL; single steps and hardware breakpoints have codes of their own. */
static bool trapped(const siginfo_t *info, const ucontext_t *uc, lp_addr *at)
{
	*at = get_pc(uc) - 1;
	return info->si_code == SI_KERNEL;
}

/* struct sigcontext: ..., sp, ip, flags, cs|gs|fs|ss, err, ... */
static bool frame(const uint64_t w[LP_FRAME_WORDS])
{
	return w[3] == CS_SS && (w[2] & EFLAGS_FIXED) && !(w[2] & EFLAGS_NEVER);
}

/* The return from the handler is an iret, which serializes. */
static void serialize(void)
{
}

/* A thread with a shadow stack dies when a call that was only imitated returns. */
static bool guarded(void)
{
	uint64_t features = 0;

	return !lp_self_syscall(SYS_arch_prctl, ARCH_SHSTK_STATUS, (long)&features, 0, 0, 0, 0) &&
	       features & ARCH_SHSTK_SHSTK;
}

static size_t probe(uint8_t out[16], uint16_t value)
{
	out[0] = 0xb8; /* mov eax, value */
	out[1] = (uint8_t)value;
	out[2] = (uint8_t)(value >> 8);
	out[3] = out[4] = 0;
	out[5] = 0xc3; /* ret */
	return 6;
}

const struct lp_self_arch lp_self_arch = {
	.machine = EM_X86_64,
	.trap = {0xcc}, /* int3 */
	.trap_len = 1,
	.pc = get_pc,
	.set_pc = set_pc,
	.sp = get_sp,
	.divert = divert,
	.trapped = trapped,
	.frame = frame,
	.frame_stack = offsetof(ucontext_t, uc_mcontext.gregs[REG_RSP]) - offsetof(ucontext_t, uc_stack),
	.serialize = serialize,
	.guarded = guarded,
	.probe = probe,
};

long lp_self_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long rc;

	__asm__ volatile("syscall"
			 : "=a"(rc)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return rc;
}
