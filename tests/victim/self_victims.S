/*
 * Functions with the beginnings that are difficult to hook while threads run
 * through them.  Each returns its argument twice, and finds out on the way if
 * its stack is not what it should be.
 */
#ifdef __x86_64__
#define PADDING 0xcc
#else
#define PADDING 0
#endif

	.text

	.macro begin name, offset=0, to=64
	.globl	\name
	.hidden	\name
	.type	\name, %function
	.balign	\to
	.fill	\offset, 1, PADDING
\name:
	.cfi_startproc
	.endm

	.macro end name
	.cfi_endproc
	.size	\name, . - \name
	.endm

#ifdef __x86_64__
	.macro body
	push	%rbp
	mov	%rsp, %rbp
	push	%rbx
	push	%rcx
	mov	%edi, %ebx
	lea	(%rbx, %rdi), %eax
	cmp	%rbp, %rsp
	jae	9f
	pop	%rcx
	pop	%rbx
	pop	%rbp
	ret
9:	ud2
	.endm

/* Four instructions in the first five bytes, in one cache line. */
begin victim_push, 0
	push	%rbp
	push	%rbx
	push	%rcx
	push	%rdx
	push	%rdi
	lea	(%rdi, %rdi), %eax
	pop	%rdi
	pop	%rdx
	pop	%rcx
	pop	%rbx
	pop	%rbp
	ret
end victim_push

/* What compilers write, across the end of a cache line, and of a page. */
begin victim_line, 61
	body
end victim_line

begin victim_page, 4094, 4096
	body
end victim_page

begin victim_landing, 59
	endbr64
	body
end victim_landing

/* Shorter than a jump; padding behind it. */
begin victim_short, 0
	lea	(%rdi, %rdi), %eax
	ret
end victim_short
	.balign	64, PADDING

/* The same without padding behind it: there is some before it, which a short jump reaches. */
begin victim_ahead, 0
	lea	1(%rdi), %eax
	ret
end victim_ahead
begin victim_hop, 0, 16
	lea	(%rdi, %rdi), %eax
	ret
end victim_hop
begin victim_behind, 0, 1
	lea	1(%rdi), %eax
	ret
end victim_behind

/* Another function goes on behind the first instruction: from near, from far, and where there is no padding. */
begin victim_enters, 0
	lea	1(%rdi), %eax
	jmp	victim_joined_body
end victim_enters
	.balign	64, PADDING
begin victim_before_joined, 0
	ret
end victim_before_joined
begin victim_joined, 0, 16
	mov	%edi, %eax
victim_joined_body:
	add	%edi, %eax
	nop
	ret
end victim_joined

begin victim_enters_far, 0
	lea	1(%rdi), %eax
	jmp	victim_joined_far_body
end victim_enters_far
	.fill	512, 1, PADDING
begin victim_before_joined_far, 0
	ret
end victim_before_joined_far
begin victim_joined_far, 0, 16
	mov	%edi, %eax
victim_joined_far_body:
	add	%edi, %eax
	nop
	ret
end victim_joined_far

begin victim_enters_tight, 0
	lea	1(%rdi), %eax
	jmp	victim_joined_tight_body
end victim_enters_tight
begin victim_joined_tight, 0, 1
	mov	%edi, %eax
victim_joined_tight_body:
	add	%edi, %eax
	nop
	ret
end victim_joined_tight
	.balign	64, PADDING

/* A branch among the bytes that go away. */
begin victim_branch, 62
	test	%edi, %edi
	je	1f
	lea	(%rdi, %rdi), %eax
	ret
1:	xor	%eax, %eax
	ret
end victim_branch

/* One instruction, longer than the jump. */
begin victim_wide, 60
	movabs	$0x1122334455667788, %rax
	lea	(%rdi, %rdi), %eax
	ret
end victim_wide

/* Reads a variable relative to itself. */
begin victim_special, 61
	mov	1f(%rip), %ecx
	lea	(%rdi, %rcx), %eax
	sub	1f(%rip), %eax
	add	%edi, %eax
	ret
	.balign	4, PADDING
1:	.long	1234567
end victim_special

/* A call behind a push. */
begin victim_call, 62
	push	%rbx
	call	victim_helper
	pop	%rbx
	ret
end victim_call

begin victim_helper, 0
	lea	(%rdi, %rdi), %eax
	ret
end victim_helper

/* An instruction in the middle that faults while victim_cell is not there. */
begin victim_fault, 0
	push	%rbp
	mov	(%rsi), %rax
	lea	(%rdi, %rdi), %eax
	pop	%rbp
	ret
end victim_fault
	.globl	victim_fault_end
	.hidden	victim_fault_end
victim_fault_end:

/* A loop within the bytes that a caller of lp_self_poke() replaces: ends when *argument is not 0. */
begin victim_loop, 0
	push	%rax
1:	cmpl	$0, (%rdi)
	je	1b
	pop	%rax
	ret
end victim_loop
	.globl	victim_loop_end
	.hidden	victim_loop_end
victim_loop_end:

/* Comes back to its second instruction, which the jump would cut. */
begin victim_back, 0
	xor	%eax, %eax
1:	add	$2, %eax
	dec	%edi
	jne	1b
	ret
end victim_back

/* A breakpoint that is the program's own. */
begin victim_trap, 0
	int3
	ret
end victim_trap

#else
	.macro body
	stp	x29, x30, [sp, #-32]!
	mov	x29, sp
	str	w0, [sp, #16]
	ldr	w1, [sp, #16]
	add	w0, w0, w1
	ldp	x29, x30, [sp], #32
	ret
	.endm

begin victim_push, 0
	body
end victim_push

begin victim_line, 60
	body
end victim_line

begin victim_page, 4092, 4096
	body
end victim_page

begin victim_landing, 60
	bti	c
	body
end victim_landing

/* The pad signs the return address: two instructions go away. */
begin victim_special, 60
	paciasp
	stp	x29, x30, [sp, #-16]!
	add	w0, w0, w0
	ldp	x29, x30, [sp], #16
	autiasp
	ret
end victim_special

begin victim_short, 0
	add	w0, w0, w0
	ret
end victim_short

begin victim_hop, 0
	b	1f
end victim_hop
begin victim_behind, 0, 4
1:	add	w0, w0, w0
	ret
end victim_behind

begin victim_branch, 60
	cbz	w0, 1f
	add	w0, w0, w0
	ret
1:	mov	w0, #0
	ret
end victim_branch

begin victim_wide, 60
	ldr	x1, 1f
	add	w0, w0, w0
	ret
	.balign	8
1:	.quad	0x1122334455667788
end victim_wide

begin victim_call, 60
	stp	x29, x30, [sp, #-16]!
	bl	victim_helper
	ldp	x29, x30, [sp], #16
	ret
end victim_call

begin victim_helper, 0
	add	w0, w0, w0
	ret
end victim_helper

begin victim_fault, 0
	nop
	ldr	x2, [x1]
	add	w0, w0, w0
	nop
	ret
end victim_fault
	.globl	victim_fault_end
	.hidden	victim_fault_end
victim_fault_end:

begin victim_loop, 0
	nop
1:	ldr	w1, [x0]
	cbz	w1, 1b
	ret
end victim_loop
	.globl	victim_loop_end
	.hidden	victim_loop_end
victim_loop_end:

begin victim_back, 0
	mov	w1, #0
1:	add	w1, w1, #2
	subs	w0, w0, #1
	b.ne	1b
	mov	w0, w1
	ret
end victim_back

begin victim_trap, 0
	brk	#0
	ret
end victim_trap

#endif
	.section .note.GNU-stack, "", %progbits
