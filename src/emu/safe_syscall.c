/*
 * A system call that a signal cannot slip past.
 *
 * The test for a signal and the `syscall` instruction are one range of addresses.
 * A handler that finds the thread in that range knows that the call has not been
 * made, and moves the thread behind it.  The kernel puts a call that it would make
 * again (SA_RESTART) back on the `syscall` instruction: the same range.  What tells
 * the two apart there is rcx: `syscall` leaves the address behind itself in it, and
 * it was 0 before.
 */
#include "emu/safe_syscall.h"

#include "emu/emu.h"

int64_t lp_safe_syscall_made(const _Atomic uint32_t *poll, long nr, const uint64_t args[6]);
extern const char lp_safe_syscall_begin[], lp_safe_syscall_call[], lp_safe_syscall_end[], lp_safe_syscall_not_made[],
	lp_safe_syscall_again[];

#define HIDDEN(name) ".globl " #name "\n.hidden " #name "\n"

/* rdi: poll, rsi: nr, rdx: args */
__asm__(".text\n" HIDDEN(lp_safe_syscall_made) HIDDEN(lp_safe_syscall_begin) HIDDEN(lp_safe_syscall_call)
		HIDDEN(lp_safe_syscall_end) HIDDEN(lp_safe_syscall_not_made)
			HIDDEN(lp_safe_syscall_again) ".type lp_safe_syscall_made, @function\n"
						      "lp_safe_syscall_made:\n"
						      "	.cfi_startproc\n"
						      "	push %rbx\n"
						      "	.cfi_adjust_cfa_offset 8\n"
						      "	.cfi_rel_offset rbx, 0\n"
						      "	mov %rdi, %rbx\n"
						      "	mov %rsi, %rax\n"
						      "	mov %rdx, %r11\n"
						      "	mov (%r11), %rdi\n"
						      "	mov 8(%r11), %rsi\n"
						      "	mov 16(%r11), %rdx\n"
						      "	mov 24(%r11), %r10\n"
						      "	mov 32(%r11), %r8\n"
						      "	mov 40(%r11), %r9\n"
						      "	xor %ecx, %ecx\n"
						      "lp_safe_syscall_begin:\n"
						      "	testl $1, (%rbx)\n" /* LP_POLL_SIGNAL */
						      "	jnz lp_safe_syscall_not_made\n"
						      "lp_safe_syscall_call:\n"
						      "	syscall\n"
						      "lp_safe_syscall_end:\n"
						      "	pop %rbx\n"
						      "	.cfi_remember_state\n"
						      "	.cfi_adjust_cfa_offset -8\n"
						      "	.cfi_restore rbx\n"
						      "	ret\n"
						      "	.cfi_restore_state\n"
						      "lp_safe_syscall_not_made:\n"
						      "	mov $-513, %rax\n" /* LP_ERESTARTNOINTR */
						      "	jmp lp_safe_syscall_end\n"
						      "lp_safe_syscall_again:\n"
						      "	mov $-512, %rax\n" /* LP_ERESTART */
						      "	jmp lp_safe_syscall_end\n"
						      "	.cfi_endproc\n"
						      ".size lp_safe_syscall_made, .-lp_safe_syscall_made\n");

_Static_assert(LP_POLL_SIGNAL == 1 && LP_ERESTART == 512 && LP_ERESTARTNOINTR == 513, "the numbers above");

int64_t lp_safe_syscall(struct lp_guest_thread *t, long nr, const uint64_t args[6])
{
	return lp_safe_syscall_made(&t->cpu.poll, nr, args);
}

void lp_safe_syscall_interrupt(ucontext_t *context)
{
	greg_t *regs = context->uc_mcontext.gregs;
	greg_t begin = (greg_t)lp_safe_syscall_begin, call = (greg_t)lp_safe_syscall_call,
	       end = (greg_t)lp_safe_syscall_end;

	if (regs[REG_RIP] < begin || regs[REG_RIP] >= end)
		return;
	if (regs[REG_RIP] == call && regs[REG_RCX] == end)
		regs[REG_RIP] = (greg_t)lp_safe_syscall_again;
	else
		regs[REG_RIP] = (greg_t)lp_safe_syscall_not_made;
}
